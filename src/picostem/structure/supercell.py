"""Commensurate cells: the smallest one that two layers share at a twist, strained a little if they must be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from picostem.errors import StructureError, UsageError
from picostem.structure.coincidence import ROUNDING, Coincidence, Search
from picostem.structure.monolayer import Monolayer
from picostem.structure.stack import Layer, Stack

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

TWIST_TOLERANCE = float(np.radians(0.1))
"""rad: how far from the asked twist a cell may be."""

RELAXED = (2.0, 4.0, 8.0, 16.0)
"""By how much to loosen strain and twist, in turn, in search of something to offer when nothing is found."""


@dataclass(frozen=True, eq=False)
class Commensurate:
    """A cell that two layers share.

    Attributes:
        lower_matrix, upper_matrix: integer (2, 2); rows · the layer's cell are the vectors of the common one.
        twist: of the upper layer, as it is in the cell, rad.
        strain: principal strains of the mismatch, logarithms of the factors by which the upper lattice would have to be
            stretched to fit on the lower one, larger magnitude first, shape (2,). The upper layer takes half of each,
            the lower one minus half, so that both fit without being turned further.
        cell: rows of the common cell, Å, lower layer's crystal frame, shape (2, 2), right-handed.
    """

    lower: Monolayer
    upper: Monolayer
    lower_matrix: IntArray
    upper_matrix: IntArray
    twist: float
    strain: FloatArray
    cell: FloatArray

    @property
    def count(self) -> int:
        """Atoms in the cell."""
        return _atoms_in(self.lower, self.lower_matrix) + _atoms_in(self.upper, self.upper_matrix)

    def stack_atoms(self, slip: ArrayLike = (0.0, 0.0), spacing: float | None = None, vacuum: float = 15.0) -> Atoms:
        """The atoms of the cell, periodic in the plane.

        Args:
            slip: where the upper layer's origin lies, lower layer's crystal frame, Å.
            spacing: mid-plane to mid-plane, Å; none given: the mean of both layers' spacings.
            vacuum: height of the empty space above the stack, Å.

        Returns:
            Atoms with arrays `layer` (1-based) and `site` (0-based index in the monolayer), as `Stack.unit_cell` does.
        """
        stack = Stack.bilayer(self.lower, slip, upper=self.upper, spacing=spacing)
        matrices = self.lower_matrix, self.upper_matrix
        contents = [_content(layer, m, self.cell) for layer, m in zip(stack.layers, matrices, strict=True)]
        return stack.boxed(contents, self.cell, corner=np.zeros(2), periodic=True, vacuum=vacuum)


def commensurate(
    lower: Monolayer,
    upper: Monolayer,
    twist: float,
    *,
    max_strain: float = 0.02,
    max_atoms: int = 2000,
    twist_tolerance: float = TWIST_TOLERANCE,
) -> Commensurate:
    """The common cell of two layers with the fewest atoms, near a twist; of equals the one with the least strain.

    Args:
        twist: of the upper layer, counter-clockwise, rad.
        max_strain: largest principal strain of the mismatch; each layer takes half of it.
        max_atoms: in the cell, both layers together.
        twist_tolerance: how far from the asked twist the cell's may be, rad.

    Raises:
        StructureError: there is none within the limits; the message says which ones to loosen.
        UsageError: a limit is negative, or a number is not finite.
    """
    if not (np.isfinite([twist, max_strain, twist_tolerance]).all() and max_strain >= 0 and twist_tolerance >= 0):
        raise UsageError(
            f"expected a finite twist, and a strain and a tolerance from 0 on, got {twist} rad, {max_strain} and "
            f"{twist_tolerance} rad"
        )
    search = Search(lower, upper, float(twist), max_strain + ROUNDING, twist_tolerance + ROUNDING, max_atoms)
    found = search.smallest()
    if found is None:
        raise StructureError(_advice(search))
    return _cell(search, found)


def _cell(search: Search, found: Coincidence) -> Commensurate:
    values, axes = np.linalg.eigh(found.stretch)
    strain = np.log(values)
    return Commensurate(
        lower=search.lower,
        upper=search.upper,
        lower_matrix=found.lower,
        upper_matrix=found.upper,
        twist=search.twist + found.turn,
        strain=strain[np.argsort(-np.abs(strain), kind="stable")],
        # X^(-1/2): half of the way back from the lower layer to the upper one.
        cell=found.lower @ search.lower.cell @ (axes @ np.diag(values**-0.5) @ axes.T),
    )


def _content(layer: Layer, matrix: IntArray, cell: FloatArray) -> tuple[FloatArray, IntArray]:
    """Positions and sites of one layer's atoms in the common cell, the layer strained to fit."""
    steps = _inside(matrix)
    strained = np.linalg.inv(matrix) @ cell
    planar = (steps[:, None] + layer.monolayer.scaled) @ strained + layer.position
    heights = np.broadcast_to(layer.monolayer.positions[:, 2] + layer.z, planar.shape[:2])
    sites = np.tile(np.arange(len(layer.monolayer.symbols)), len(steps))
    return np.concatenate([planar, heights[..., None]], axis=-1).reshape(-1, 3), sites


def _inside(matrix: IntArray) -> IntArray:
    """The lattice steps inside the cell that the rows of an integer matrix of determinant > 0 span, shape (n, 2)."""
    (a, b), (c, d) = matrix.tolist()
    corners = np.array([(0, 0), (a, b), (c, d), (a + c, b + d)])
    spans = [np.arange(low, high + 1) for low, high in zip(corners.min(axis=0), corners.max(axis=0), strict=True)]
    steps = np.stack(np.meshgrid(*spans, indexing="ij"), axis=-1).reshape(-1, 2)
    # Coordinates in the large cell times the determinant: whole numbers, so that no edge counts twice.
    coordinates = steps @ np.array([[d, -b], [-c, a]])
    return np.asarray(steps[((coordinates >= 0) & (coordinates < a * d - b * c)).all(axis=1)])


def _atoms_in(layer: Monolayer, matrix: IntArray) -> int:
    return len(layer.symbols) * round(float(np.linalg.det(matrix)))


def _advice(search: Search) -> str:
    problem = (
        f"{search.lower.name} and {search.upper.name} have no common cell of up to {search.atoms} atoms at "
        f"{np.degrees(search.twist):.3f}° ± {np.degrees(search.tolerance):.3f}° with up to {search.strain:.2%} strain"
    )
    for factor in RELAXED:
        # 1e-3 and 0.01°: so that limits of 0 grow, too.
        strain, tolerance = factor * max(search.strain, 1e-3), factor * max(search.tolerance, np.radians(0.01))
        found = Search(search.lower, search.upper, search.twist, strain, tolerance, search.atoms).smallest()
        if found is not None:
            twist = np.degrees(search.twist + found.turn)
            return (
                f"{problem}: one of {found.atoms} atoms has {twist:.3f}° and a strain of {found.strain:.2%}; raise "
                f"max_strain, twist_tolerance or max_atoms"
            )
    return f"{problem}, nor with {RELAXED[-1]:g} times the strain and tolerance: raise max_atoms"
