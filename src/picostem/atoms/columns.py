"""A known crystal seen along the beam: its atomic columns, laid onto the sublattices that an image shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from picostem.errors import FileError, StructureError, UnknownMaterialError
from picostem.structure import Monolayer, load_monolayer
from picostem.structure.crystal import read_crystal
from picostem.structure.symmetry import projection

FloatArray = NDArray[np.float64]

ONE_COLUMN = 0.3  # Å between atoms that are one column
SCATTERING = 1.7  # power of the atomic number that an atom's brightness goes with in an ADF image
STRETCHED = 0.1  # relative error of the pixel size that is allowed for
SHEARED = 1.2  # largest ratio of stretches along two directions, by drift of the scan
SHEAR = 0.1  # logarithm of this ratio that costs 1
OFF = 0.15  # of the cell's root area: a sublattice's distance from its column that costs 1
UNLIKE = 0.5  # the same of the logarithm of brightness
UNSEEN = 8.0  # what a column costs that is not seen, if it were all of the crystal's brightness
EXTRA = 3.0  # what a sublattice costs that no column explains
STEPS = np.array(list(product(range(-2, 3), repeat=2)), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Columns:
    """Columns of a crystal.

    Attributes:
        name: of the crystal. cell: rows in Å, shape (2, 2). place: x and y in Å, shape (n, 2). names: as "W" or "S2".
        bright: relative brightness, shape (n,). elements: of each column, and how many atoms of it, if it is one.
    """

    name: str
    cell: FloatArray
    place: FloatArray
    names: tuple[str, ...]
    bright: FloatArray
    elements: tuple[tuple[str, int] | None, ...]

    @classmethod
    def of(cls, layer: Monolayer) -> Columns:
        """The columns of one primitive cell in projection."""
        flat = projection(layer)
        inverse = np.linalg.inv(flat.cell)
        columns: list[list[int]] = []
        for atom in range(len(flat.points)):
            for column in columns:
                away = (flat.points[atom] - flat.points[column[0]]) @ inverse
                if np.linalg.norm((away - np.rint(away)) @ flat.cell) < ONE_COLUMN:
                    column.append(atom)
                    break
            else:
                columns.append([atom])
        counts = [Counter(str(flat.species[atom]) for atom in column) for column in columns]
        return cls(
            layer.name,
            flat.cell,
            np.array([flat.points[column[0]] for column in columns]),
            tuple("".join(f"{symbol}{n if n > 1 else ''}" for symbol, n in sorted(one.items())) for one in counts),
            np.array([sum(n * atomic_numbers[symbol] ** SCATTERING for symbol, n in one.items()) for one in counts]),
            tuple(next(iter(one.items())) if len(one) == 1 else None for one in counts),
        )

    @cached_property
    def scaled(self) -> FloatArray:
        """Fractional coordinates, shape (n, 2)."""
        return np.asarray(self.place @ np.linalg.inv(self.cell))


def load_columns(material: str) -> Columns:
    """The columns of a built-in material, a layer from a structure file, or a bulk crystal along its c axis.

    Raises:
        UnknownMaterialError, FileError: no such material or file.
        StructureError: c is not upright on a and b.
    """
    try:
        return Columns.of(load_monolayer(material))
    except (UnknownMaterialError, FileError):
        raise
    except StructureError:
        path = Path(material).expanduser()
        atoms = read_crystal(path)
    (a, b, c), height = atoms.cell.array, atoms.cell.lengths()[2]
    if abs(a @ c) + abs(b @ c) > 1e-3 * height**2:
        raise StructureError(f"{path}: its c axis is not upright on a and b: give a cell with c along the beam")
    turn = np.array([a / np.linalg.norm(a), np.cross(c, a) / np.linalg.norm(np.cross(c, a))])
    flat = np.stack([a, b]) @ turn.T
    flat[0, 1] = 0.0
    positions = np.column_stack([atoms.positions @ turn.T, atoms.positions @ c / height])
    symbols = tuple(atoms.get_chemical_symbols())
    return Columns.of(Monolayer(path.stem, flat, symbols, positions, height, str(path)))


def name_sublattices(
    columns: Columns, basis: FloatArray, place: FloatArray, bright: FloatArray, *, calibrated: bool
) -> list[int] | None:
    """Which column each sublattice is, -1 for none; None where the crystal's lattice is not the image's.

    Args:
        basis: of the image, rows x and y, Å or units of no known length, shape (2, 2). place: one site of each
            sublattice, x and y, the same units, shape (m, 2). bright: of each, shape (m,).
    """
    best, found = np.inf, None
    for rows in product(STEPS, repeat=2):
        cell = np.array(rows) @ basis
        if abs(round(float(np.linalg.det(rows)))) != 1:
            continue
        large, small = np.linalg.svd(np.linalg.solve(columns.cell, cell), compute_uv=False)
        shear = float(np.log(large / small))
        if shear > np.log(SHEARED) or (calibrated and abs(np.log(large * small)) / 2 > STRETCHED):
            continue
        scaled = place @ np.linalg.inv(cell)
        for column in range(len(columns.place)):
            cost, match = _matched(columns, cell, scaled - scaled[0] + columns.scaled[column], bright)
            cost += (shear / SHEAR) ** 2
            if cost < best:
                best, found = cost, match
    return found


def _matched(columns: Columns, cell: FloatArray, scaled: FloatArray, bright: FloatArray) -> tuple[float, list[int]]:
    """Cost of the best pairing of sublattices and columns, and the column of each sublattice."""
    away = scaled[:, None] - columns.scaled
    distance = np.linalg.norm((away - np.rint(away)) @ cell, axis=-1) / np.sqrt(abs(np.linalg.det(cell)))
    unlike = np.log(bright[:, None] / columns.bright)
    unlike = unlike - unlike[0, int(distance[0].argmin())]
    cost = (distance / OFF) ** 2 + (unlike / UNLIKE) ** 2
    unseen = UNSEEN * columns.bright / columns.bright.sum()
    m, n = cost.shape
    # each sublattice may be none of the columns, and each column unseen
    whole = np.zeros((m + n, n + m))
    whole[:m, :n] = cost
    whole[:m, n:] = EXTRA
    whole[m:, :n] = unseen
    row, column = linear_sum_assignment(whole)
    match = [-1] * m
    for one, other in zip(row, column, strict=True):
        if one < m and other < n:
            match[one] = int(other)
    return float(whole[row, column].sum()), match
