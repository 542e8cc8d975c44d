"""Crystal structures: monolayers, their stacks, and which stackings look the same in projection."""

from __future__ import annotations

from picostem.structure.defect import hole, random_sites, substitutions, vacancies
from picostem.structure.equivalence import (
    SetDistance,
    SlipEquivalence,
    canonical_twist,
    trilayer_distance,
    twist_distance,
)
from picostem.structure.export import write_structure
from picostem.structure.materials import load_monolayer, material_names
from picostem.structure.monolayer import Monolayer
from picostem.structure.stack import Layer, Stack, image_from_crystal, rotation_matrix
from picostem.structure.symmetry import Operation, layer_operations

__all__ = [
    "Layer",
    "Monolayer",
    "Operation",
    "SetDistance",
    "SlipEquivalence",
    "Stack",
    "canonical_twist",
    "hole",
    "image_from_crystal",
    "layer_operations",
    "load_monolayer",
    "material_names",
    "random_sites",
    "rotation_matrix",
    "substitutions",
    "trilayer_distance",
    "twist_distance",
    "vacancies",
    "write_structure",
]
