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

from picostem.errors import FileError, PicostemError, UnknownMaterialError, UsageError
from picostem.structure.monolayer import Monolayer

MATERIALS = files("picostem.structure") / "materials.json"

MOST_LAYERS = 4
"""Layers that one stack may name: what equivalences are worked out for."""


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


def load_materials(text: str | Path) -> tuple[Monolayer, ...]:
    """The layers that a text names, from the beam's entrance side upwards: "ReS2", "MoS2/WSe2", "a.cif/WSe2".

    The slash also divides folders. Names and existing files are found in whatever way of cutting the text leaves
    least unknown, the whole text as one material before all others. One material stands for all layers of a stack.

    Args:
        text: up to MOST_LAYERS of what `load_monolayer` takes, with slashes between them; a Path is one file.

    Raises:
        UnknownMaterialError: one of them is neither a name nor a file; the message says which, and the nearest name.
        FileError, StructureError: a file is missing, cannot be read, or holds no van der Waals layer.
        UsageError: nothing stands before or after a slash, or there are too many layers.
    """
    if isinstance(text, Path):
        return (load_monolayer(text),)
    names = _cut(text)
    if not all(names) and len(names) > 1:
        raise UsageError(f"{text!r}: expected a material before and after each slash, as in MoS2/WSe2")
    if len(names) > MOST_LAYERS:
        raise UsageError(f"{text!r}: expected up to {MOST_LAYERS} layers, got {len(names)}")
    return tuple(_one_of(names, index, text) for index in range(len(names)))


def _one_of(names: tuple[str, ...], index: int, text: str) -> Monolayer:
    try:
        return load_monolayer(names[index])
    except PicostemError as error:
        if len(names) == 1:
            raise
        raise type(error)(f"layer {index + 1} of {text!r}: {error}") from error


def _cut(text: str) -> tuple[str, ...]:
    """The pieces between some of the slashes that leave least unknown, fewer of them if equal."""
    words = text.split("/")
    # best[n]: faults, minus the letters that are known, and the pieces of the first n words.
    best: list[tuple[int, int, tuple[str, ...]]] = [(0, 0, ())]
    for end in range(1, len(words) + 1):
        choices = []
        for start, (faults, known, before) in enumerate(best):
            piece = "/".join(words[start:end]).strip()
            fault = _fault(piece)
            choices.append((faults + fault, known - len(piece) * (fault < 2), (*before, piece)))
        best.append(min(choices, key=lambda choice: (choice[0], choice[1], len(choice[2]))))
    return best[-1][2]


def _fault(piece: str) -> int:
    """0 for a name or an existing file, 1 for what resembles a name, 2 for what says nothing."""
    path = Path(piece).expanduser()
    if piece.casefold() in _aliases() or path.is_file():
        return 0
    return 1 if "/" not in piece and not path.suffix and _nearest(piece) else 2


def _nearest(name: str) -> str | None:
    """The built-in material whose name resembles this one most, if any does."""
    # 0.4: "wse" and "grafene" still find theirs.
    found = difflib.get_close_matches(name.casefold(), _aliases(), n=1, cutoff=0.4)
    return _aliases()[found[0]] if found else None


def _layers_of_file(material: str | Path) -> tuple[Monolayer, ...]:
    path = Path(material).expanduser()
    if path.is_file():
        from picostem.structure.exfoliate import layers_of_file  # imports ASE: only when a file is read

        return layers_of_file(path)
    if isinstance(material, Path) or path.suffix or len(path.parts) > 1:
        raise FileError(f"no structure file {path}; built-in materials are {', '.join(_built_in())}")
    nearest = _nearest(str(material))
    hint = f"did you mean {nearest}? " if nearest else ""
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
