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
from picostem.structure.materials import load_materials, load_monolayer, material_names
from picostem.structure.moire import beat_period, moire_period, moire_vectors
from picostem.structure.monolayer import Monolayer
from picostem.structure.relaxed import RelaxedMoire
from picostem.structure.stack import Layer, Stack, image_from_crystal, rotation_matrix
from picostem.structure.supercell import Commensurate, commensurate
from picostem.structure.symmetry import Operation, layer_operations

__all__ = [
    "Commensurate",
    "Layer",
    "Monolayer",
    "Operation",
    "RelaxedMoire",
    "SetDistance",
    "SlipEquivalence",
    "Stack",
    "beat_period",
    "canonical_twist",
    "commensurate",
    "hole",
    "image_from_crystal",
    "layer_operations",
    "load_materials",
    "load_monolayer",
    "material_names",
    "moire_period",
    "moire_vectors",
    "random_sites",
    "rotation_matrix",
    "substitutions",
    "trilayer_distance",
    "twist_distance",
    "vacancies",
    "write_structure",
]
