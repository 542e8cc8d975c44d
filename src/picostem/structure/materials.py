"""Monolayers by name: the built-in materials, each with its source, and those that come from a structure file."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from picostem.errors import FileError, UnknownMaterialError, UsageError
from picostem.structure.monolayer import Monolayer

MATERIALS = files("picostem.structure") / "materials.json"


def material_names() -> list[str]:
    """Names of the built-in materials, in the order in which they are kept."""
    return list(_built_in())


def load_monolayer(material: str | Path, layer: int = 1) -> Monolayer:
    """A built-in material by its name (case does not matter), or one layer of the crystal in a structure file.

    Args:
        material: built-in name, or path to a CIF, POSCAR/CONTCAR/vasp or (ext)xyz file.
        layer: which layer of the crystal in a file, counted from 1 in the order of its atoms.

    Raises:
        UnknownMaterialError: neither a built-in name nor a file; the message names the nearest.
        FileError, StructureError: the file cannot be read, or holds no van der Waals layer.
        UsageError: the crystal does not have that many layers.
    """
    built_in = None if isinstance(material, Path) else _aliases().get(material.strip().casefold())
    layers = (_built_in()[built_in],) if built_in else _layers_of_file(material)
    if not 1 <= layer <= len(layers):
        raise UsageError(f"layer {layer} of {material}: expected a number from 1 to {len(layers)}")
    return layers[layer - 1]


def _layers_of_file(material: str | Path) -> tuple[Monolayer, ...]:
    path = Path(material).expanduser()
    if path.is_file():
        from picostem.structure.exfoliate import layers_of_file  # imports ASE: only when a file is read

        return layers_of_file(path)
    if isinstance(material, Path) or path.suffix or len(path.parts) > 1:
        raise FileError(f"no structure file {path}; built-in materials are {', '.join(_built_in())}")
    nearest = difflib.get_close_matches(str(material).casefold(), _aliases(), n=1, cutoff=0.4)
    hint = f"did you mean {_aliases()[nearest[0]]}? " if nearest else ""
    raise UnknownMaterialError(
        f"unknown material {str(material)!r}: {hint}Expected one of {', '.join(_built_in())}, "
        f"or the path of a CIF, POSCAR or xyz file"
    )


@cache
def _built_in() -> dict[str, Monolayer]:
    return {name: _from_entry(name, entry) for name, entry in _entries().items()}


@cache
def _aliases() -> dict[str, str]:
    return {alias.casefold(): name for name, entry in _entries().items() for alias in (name, *entry.get("aliases", ()))}


@cache
def _entries() -> dict[str, Any]:
    entries: dict[str, Any] = json.loads(MATERIALS.read_text(encoding="utf8"))
    return entries


def _from_entry(name: str, entry: Mapping[str, Any]) -> Monolayer:
    gamma = np.radians(entry["gamma"])
    cell = np.array([[entry["a"], 0.0], [entry["b"] * np.cos(gamma), entry["b"] * np.sin(gamma)]])
    scaled = np.array([atom[1:3] for atom in entry["atoms"]])
    height = np.array([[atom[3]] for atom in entry["atoms"]])
    return Monolayer(
        name=name,
        cell=cell,
        symbols=tuple(atom[0] for atom in entry["atoms"]),
        positions=np.hstack([scaled @ cell, height]),
        layer_spacing=entry["layer_spacing"],
        source=entry["source"],
        note=entry["note"],
    )
