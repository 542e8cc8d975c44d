"""Monolayers: the built-in materials, each with its source, and those that come from a structure file.

Crystal frame: a along +x, b at +gamma (counter-clockwise), z relative to the layer's mid-plane.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from picostem.errors import FileError, StructureError, UnknownMaterialError, UsageError

FloatArray = NDArray[np.float64]
MATERIALS = files("picostem.structure") / "materials.json"


@dataclass(frozen=True, eq=False)
class Monolayer:
    """One layer of a van der Waals crystal; two are equal when their atoms, cell and spacing are.

    Attributes:
        cell: shape (2, 2), rows a and b in Å, a along +x, b at +gamma.
        symbols: chemical symbol of each site.
        positions: shape (sites, 3), Cartesian Å in the crystal frame, z relative to the layer's mid-plane.
        layer_spacing: distance from mid-plane to mid-plane in the bulk, Å.
        source: where cell and positions come from.
        note: what else a reader should know.

    Raises:
        StructureError: the cell is not right-handed with a along +x, or the numbers are not finite or do not match.
    """

    name: str
    cell: FloatArray
    symbols: tuple[str, ...]
    positions: FloatArray
    layer_spacing: float
    source: str
    note: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "cell", _frozen(self.cell))
        object.__setattr__(self, "positions", _frozen(self.positions))
        object.__setattr__(self, "symbols", tuple(self.symbols))
        self._check()

    def _check(self) -> None:
        cell, positions = self.cell, self.positions
        if cell.shape != (2, 2) or positions.shape != (len(self.symbols), 3) or not self.symbols:
            raise StructureError(
                f"{self.name}: expected a (2, 2) cell and one (x, y, z) per symbol, got a {cell.shape} cell and "
                f"{positions.shape} positions for {len(self.symbols)} symbols"
            )
        if not (np.isfinite(cell).all() and np.isfinite(positions).all()):
            raise StructureError(f"{self.name}: cell and positions must be finite")
        if not (np.isfinite(self.layer_spacing) and self.layer_spacing > 0):
            raise StructureError(f"{self.name}: the layer spacing must be positive, got {self.layer_spacing} Å")
        # 1e-9: rounding of cos and sin in double precision, relative to the length of a.
        if not (cell[0, 0] > 0 and abs(cell[0, 1]) <= 1e-9 * cell[0, 0] and cell[1, 1] > 0):
            raise StructureError(f"{self.name}: a must lie along +x and b above it (rows a, b), got {cell.tolist()}")

    def _content(self) -> tuple[object, ...]:
        return (self.symbols, self.cell.tobytes(), self.positions.tobytes(), self.layer_spacing)

    def __eq__(self, other: object) -> bool:
        return self._content() == other._content() if isinstance(other, Monolayer) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._content())

    @property
    def scaled(self) -> FloatArray:
        """In-plane fractional coordinates, shape (sites, 2)."""
        return np.asarray(self.positions[:, :2] @ np.linalg.inv(self.cell))

    @property
    def area(self) -> float:
        """Area of the cell, Å²."""
        return float(np.linalg.det(self.cell))

    @property
    def reciprocal(self) -> FloatArray:
        """Rows a*, b* with a_i · a*_j = delta_ij (no 2 pi), shape (2, 2), 1/Å."""
        return np.asarray(np.linalg.inv(self.cell).T)

    @property
    def thickness(self) -> float:
        """Height from the lowest to the highest nucleus, Å."""
        return float(np.ptp(self.positions[:, 2]))

    def flipped(self) -> Monolayer:
        """The layer turned upside down about a: (x, y, z) -> (x, -y, -z), with b chosen again so that a · b <= 0."""
        turned = self.positions * (1.0, -1.0, -1.0)
        (a, _), (b_x, b_y) = self.cell
        # -b of the turned cell has x component -b_x; the lattice row that brings it into (-a, 0] keeps gamma >= 90°.
        # 1e-9: rounding of cos(90°), so that a rectangular cell stays one.
        cell = np.array([[a, 0.0], [-b_x - a * np.ceil(-b_x / a - 1e-9), b_y]])
        return replace(self, cell=cell, positions=turned, note=f"{self.note} (turned upside down)".strip())


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


def _frozen(values: ArrayLike) -> FloatArray:
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array
