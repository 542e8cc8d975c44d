"""The energy of a bilayer against its slip: from a table, from calculations, or from a pair potential.

The table is a CSV file with the columns `a` and `b`, the slip in units of the lower layer's cell vectors, or `x_A` and
`y_A`, and `energy` in eV per cell; or, in place of `energy`, `file`: what a calculation wrote for this slip (OUTCAR,
vasprun.xml, whatever ASE reads), beside the table. An npz file holds `energy` on a regular grid, shape (n, m), at
fractions (i / n, j / m) of the cell vectors.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from ase.data.vdw_alvarez import vdw_radii
from numpy.typing import NDArray

from picostem.catalog.series import Series, grid_points, grid_shape, half_of_waves
from picostem.errors import DataError, FileError
from picostem.structure import Monolayer, SlipEquivalence, rotation_matrix

FloatArray = NDArray[np.float64]

EV = "eV per cell"
RELATIVE = "relative units"
PAIR_POTENTIAL = "approximation: Lennard-Jones pairs between rigid layers"

STEP = 0.1
"""Å between points of a grid over the cell: landscapes of layers 3 Å apart have no detail below 1 Å."""

CUTOFF = 12.0
"""Å. Pairs further apart than this add less than 1 % to what depends on the slip."""


@dataclass(frozen=True, eq=False)
class Landscape:
    """Energy against slip.

    Attributes:
        series: the energy, in `unit`, over slips in Å.
        unit: EV or RELATIVE.
        source: a file's name, or how it was approximated.
    """

    series: Series
    unit: str
    source: str

    def orbit(self, equivalence: SlipEquivalence) -> FloatArray:
        """Energies of all equivalents of the points of a grid over the cell, shape (operations, n, m)."""
        shape = self.shape()
        points = grid_points(self.series.cell, shape)
        series = self.series.pruned()
        energies = [series(operation(points)) for operation in equivalence.operations]
        return np.array(energies).reshape(-1, *shape)

    def shape(self) -> tuple[int, int]:
        """Of a grid fine enough for it."""
        return grid_shape(self.series.cell, STEP)


def folded(orbit: FloatArray, beta: float) -> FloatArray:
    """The energy as an image sees it, which cannot tell equivalent slips apart, shape (n, m).

        E(D) = -ln(mean over operations g of exp(-beta E(g D))) / beta

    Where equivalents have equal energies it is the energy itself; with beta = 0 it is their mean.

    Args:
        orbit: `Landscape.orbit`, shape (operations, n, m).
    """
    if beta == 0:
        return np.asarray(orbit.mean(axis=0))
    scaled = beta * orbit
    low = scaled.min(axis=0)
    return np.asarray((low - np.log(np.exp(low - scaled).mean(axis=0))) / beta)


def load_landscape(path: str | Path, lower: Monolayer) -> Landscape:
    """A landscape from a file, see this module.

    Raises:
        FileError: it cannot be read.
        DataError: columns are missing, or the points are too few or lie so that they do not fix a landscape.
    """
    path = Path(path).expanduser()
    if path.suffix == ".npz":
        return _of_grid(path, lower)
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"{path} cannot be read as CSV ({error})") from error
    head = set(rows[0]) if rows else set()
    if not ({"a", "b"} <= head or {"x_A", "y_A"} <= head) or not head & {"energy", "file"}:
        raise DataError(f"{path}: expected columns a, b (or x_A, y_A) and energy (or file), got {sorted(head)}")
    places = ("x_A", "y_A") if "x_A" in head else ("a", "b")
    try:
        points = np.array([[float(row[name]) for name in places] for row in rows])
        energies = np.array([
            float(row["energy"]) if "energy" in head else _calculated(path.parent / row["file"]) for row in rows
        ])  # fmt: skip
    except ValueError as error:
        raise DataError(f"{path}: {error}; expected a number in every row") from error
    if not (np.isfinite(points).all() and np.isfinite(energies).all()):
        raise DataError(f"{path}: a slip or an energy is not finite: leave such rows out")
    series = fitted(lower.cell, points if places[0] == "x_A" else points @ lower.cell, energies, str(path))
    return Landscape(series, EV, path.name)


def fitted(cell: FloatArray, points: FloatArray, energies: FloatArray, name: str) -> Series:
    """The smooth periodic function nearest to energies at points (n, 2), Å: waves up to what they are close enough for.

    Raises:
        DataError: they are too few, or leave part of the cell without any.
    """
    # A grid of n points over the cell tells n waves, counting both of a pair: half of that keeps the fit well posed.
    limit = np.sqrt(0.5 * len(points) / np.pi / abs(np.linalg.det(cell)))
    hk = half_of_waves(cell, float(limit))
    phases = 2 * np.pi * points @ (hk @ np.linalg.inv(cell).T).T
    basis = np.hstack([np.ones((len(points), 1)), 2 * np.cos(phases), -2 * np.sin(phases)])
    if not len(hk) or np.linalg.cond(basis) > 1e3:
        raise DataError(
            f"{name}: {len(points)} slips do not fix a landscape: give energies on a regular grid over the cell, 0.5 Å "
            f"apart or less"
        )
    found = np.linalg.lstsq(basis, energies, rcond=None)[0]
    return Series(cell, hk, found[1 : len(hk) + 1] + 1j * found[len(hk) + 1 :], float(found[0]))


def _of_grid(path: Path, lower: Monolayer) -> Landscape:
    try:
        with np.load(path, allow_pickle=False) as file:
            energy = np.asarray(file["energy"], dtype=np.float64)
    except (OSError, ValueError, KeyError) as error:
        raise FileError(f"{path}: expected an npz file with an array `energy` ({error})") from error
    if energy.ndim != 2 or min(energy.shape) < 4 or not np.isfinite(energy).all():
        raise DataError(f"{path}: expected finite energies of shape (n, m), at least 4 × 4, got {energy.shape}")
    return Landscape(Series.of_grid(lower.cell, energy), EV, path.name)


def _calculated(path: Path) -> float:
    """The energy that a calculation ended with, eV."""
    from ase.io import read

    try:
        return float(read(path, index=-1).get_potential_energy())  # type: ignore[union-attr]
    except Exception as error:  # ASE's readers raise whatever a damaged file makes them
        raise FileError(f"{path}: no energy can be read ({error})") from error


def pair_landscape(lower: Monolayer, upper: Monolayer | None = None, twist: float = 0.0) -> Landscape:
    """A rough landscape without any calculation: Lennard-Jones pairs between rigid layers, at their best distance.

        E(D) = min over z of sum_ij (s_ij / r_ij)^12 - 2 (s_ij / r_ij)^6

    i in a cell of the lower layer, j in the upper one, s the sum of both van der Waals radii (Alvarez, Dalton Trans.
    42, 8617 (2013)), one depth for all pairs. Differences are divided by the largest, so that E runs from 0 to 1.
    Neither bonding nor charges are in it, and which of two stackings is lower may come out wrong.
    """
    other = lower if upper is None else upper
    turned = np.column_stack([other.positions[:, :2] @ rotation_matrix(twist).T, other.positions[:, 2]])
    radii = np.add.outer(*(np.array([_radius(s) for s in layer.symbols]) for layer in (lower, other)))
    heights = (lower.layer_spacing + other.layer_spacing) / 2 + np.linspace(-0.6, 1.0, 9)
    cells = np.ceil(CUTOFF * np.linalg.norm(np.linalg.inv(lower.cell), axis=0)).astype(int) + 1
    steps = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in cells), indexing="ij"), axis=-1).reshape(-1, 2)
    steps = steps @ lower.cell
    steps = steps[np.linalg.norm(steps, axis=1) < CUTOFF + np.linalg.norm(lower.cell, axis=1).sum()]
    shape = grid_shape(lower.cell, 4 * STEP)
    flat = turned[None, :, None, :2] + steps - lower.positions[:, None, None, :2]
    rise = (turned[None, :, 2] - lower.positions[:, None, 2])[..., None]
    energies = [
        _least(heights, [_energy(flat + slip, rise + z, radii[..., None]) for z in heights])
        for slip in grid_points(lower.cell, shape)
    ]
    values = np.array(energies).reshape(shape)
    finer = Series.of_grid(lower.cell, values).grid(grid_shape(lower.cell, STEP))
    scaled = (values - finer.min()) / max(float(np.ptp(finer)), 1e-12)
    return Landscape(Series.of_grid(lower.cell, scaled), RELATIVE, PAIR_POTENTIAL)


def _radius(symbol: str) -> float:
    number = atomic_numbers[symbol]
    return float(vdw_radii[number] if np.isfinite(vdw_radii[number]) else covalent_radii[number] + 0.8)


def _energy(flat: FloatArray, rise: FloatArray, radii: FloatArray) -> float:
    """Of all pairs with in-plane distances (..., 2) and heights (...), in depths of a pair."""
    squares = (flat**2).sum(axis=-1) + rise**2
    ratio = np.where(squares < CUTOFF**2, radii**2 / squares, 0.0) ** 3
    return float((ratio**2 - 2 * ratio).sum())


def _least(heights: FloatArray, energies: list[float]) -> float:
    """The minimum over heights, between the points by a parabola."""
    values = np.array(energies)
    i = int(np.clip(values.argmin(), 1, len(heights) - 2))
    parabola = np.polyfit(heights[i - 1 : i + 2] - heights[i], values[i - 1 : i + 2], 2)
    vertex = np.clip(-parabola[1] / (2 * parabola[0]), heights[i - 1] - heights[i], heights[i + 1] - heights[i])
    return float(np.polyval(parabola, vertex))
