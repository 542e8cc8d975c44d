"""Relaxed moiré bilayers with a known displacement field.

A bilayer at a small twist gains stacking energy V(D) = sum_j 2 V cos(2 pi g_j · D) by moving its atoms; the force has
the harmonics g_j sin(2 pi g_j · D), and g_j · D(r) = G_j · r + phase with the moiré's G_j. The first of them alone is

    u(r) = A sum_j e_j sin(2 pi (G_j · r + phase_j)),   e_j along g_j, j = 1, 2, 3,

N. N. T. Nam and M. Koshino, Phys. Rev. B 96, 075311 (2017), https://doi.org/10.1103/PhysRevB.96.075311, eqs. (7)-(17);
S. Carr et al., Phys. Rev. B 98, 224102 (2018), https://doi.org/10.1103/PhysRevB.98.224102. g_j is the mean of both
layers' reciprocal vectors: then u is without divergence for twisted equal lattices, and without curl for parallel ones
that differ in scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from picostem.errors import UsageError
from picostem.structure.moire import matched, moire_vectors
from picostem.structure.monolayer import Monolayer
from picostem.structure.stack import Stack, image_from_crystal, rotation_matrix

FloatArray = NDArray[np.float64]

STEEPEST = 0.5
"""Largest gradient of u. Below 1 each atom has one place; at 0.5 each step of the search for it halves the error."""

STEPS = 60
"""Halvings from some Å to below rounding; at small twists five to ten steps are enough."""

ROUNDING = 1e-13
"""Å: changes of a place that are rounding."""


@dataclass(frozen=True)
class RelaxedMoire:
    """A bilayer whose upper layer is displaced by u(r) from where a rigid one would lie.

    All positions and vectors are in the lower layer's crystal frame, Å. r is a place in the image, the same for both
    layers: an atom of the upper layer that would lie at x rigidly lies at r = x + u(r).

    Attributes:
        lower, upper: the layers.
        twist: of the upper one, counter-clockwise, rad.
        slip_at_origin: where its origin lies without u; the slip that the rigid layers have at r = 0.
        amplitude: A in Å. Positive: regions of the stacking `crest` shrink, as those that cost energy do; negative:
            they grow. Beyond about a sixth of the lattice constant the slip runs backwards in places.
        crest: the slip about which the stacking energy is even, and highest: 0 for parallel layers, metal on metal.
        share: of the displacement, taken by the lower layer in the opposite direction; the slip stays the same.

    Raises:
        UsageError: the lattices have no moiré, a number is not finite, the share is not within 0 to 1, or the amplitude
            is so large that u changes by more than STEEPEST from place to place.
    """

    lower: Monolayer
    upper: Monolayer
    twist: float
    slip_at_origin: tuple[float, float] = (0.0, 0.0)
    amplitude: float = 0.0
    crest: tuple[float, float] = (0.0, 0.0)
    share: float = 0.0

    def __post_init__(self) -> None:
        for name in ("slip_at_origin", "crest"):
            object.__setattr__(self, name, _vector(name, getattr(self, name)))
        if not (np.isfinite([self.twist, self.amplitude]).all() and 0 <= self.share <= 1):
            raise UsageError(
                f"expected a finite twist and amplitude, and a share within 0 to 1, got {self.twist} rad, "
                f"{self.amplitude} Å and {self.share}"
            )
        if moire_vectors(self.lower.cell, self._upper_cell) is None:
            raise UsageError(
                f"{self.lower.name} and {self.upper.name} at {np.degrees(self.twist):.4f}° have no moiré cell: give a "
                f"twist, or lattices that differ"
            )
        steepest = 2 * np.pi * abs(self.amplitude) * float(np.linalg.norm(self._beats, axis=1).sum())
        if steepest > STEEPEST:
            raise UsageError(
                f"an amplitude of {self.amplitude} Å is too large for this moiré: expected up to "
                f"{abs(self.amplitude) * STEEPEST / steepest:.3g} Å"
            )

    @property
    def vectors(self) -> FloatArray:
        """The moiré vectors, rows, Å, shape (2, 2); see `moire_vectors`."""
        return cast("FloatArray", moire_vectors(self.lower.cell, self._upper_cell))

    def displacement(self, points: ArrayLike) -> FloatArray:
        """u at places r (..., 2), Å: that of the upper layer against the lower one."""
        lower, upper = self._reciprocal
        mean = lower + upper
        directions = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        phases = np.asarray(points, dtype=np.float64) @ self._beats.T + (
            np.subtract(self.slip_at_origin, self.crest) @ upper.T
        )
        return np.asarray(self.amplitude * np.sin(2 * np.pi * phases) @ directions)

    def slip(self, points: ArrayLike) -> FloatArray:
        """The slip at places r (..., 2), Å, continuous: D(r) = D0 + (F - 1) r + u(r).

        F takes the lower lattice to the upper one cell by cell; for equal materials it is R(twist), up to a symmetry of
        the lattice. Going from r to r + D in the upper lattice, as it is at r, leads to where r would be in its cell,
        were it the lower one; D is therefore meant modulo the upper lattice, F times the lower one. `registry` is the
        same in either.
        """
        return np.asarray(self.registry(points) @ self._matched[1])

    def registry(self, points: ArrayLike) -> FloatArray:
        """The slip in units of the cell, (Da, Db), at places r (..., 2), continuous; shape (..., 2).

        That is the coordinates of r in the lower layer's lattice minus those in the upper one, along a and b of the
        lower layer's cell and the vectors that correspond to them. Times that cell it is the slip modulo the lower
        lattice.
        """
        places = np.asarray(points, dtype=np.float64)
        lower, upper = (np.linalg.inv(cell) for cell in self._matched)
        return np.asarray(places @ lower - (places - self.slip_at_origin - self.displacement(places)) @ upper)

    def atoms(
        self,
        rotation: float = 0.0,
        mirrored: bool = False,
        origin: ArrayLike = (0.0, 0.0),
        extent: tuple[float, float] = (50.0, 50.0),
    ) -> Atoms:
        """The atoms in a rectangular field of the image frame; arguments, result and errors as for `Stack.atoms`."""
        # No atom is displaced by more than three unit vectors times A.
        margin = 2 * 3 * abs(self.amplitude)
        stack = Stack.bilayer(self.lower, self.slip_at_origin, self.twist, self.upper)
        atoms = stack.atoms(rotation, mirrored, origin, (extent[0] + margin, extent[1] + margin))
        frame = image_from_crystal(rotation, mirrored)
        rigid = (atoms.positions[:, :2] - np.asarray(origin)) @ frame
        atoms.positions[:, :2] += self._moves(rigid, atoms.arrays["layer"] == 2) @ frame.T
        half = np.asarray(extent, dtype=np.float64) / 2
        inside = ((atoms.positions[:, :2] >= -half) & (atoms.positions[:, :2] < half)).all(axis=1)
        atoms = cast("Atoms", atoms[inside])
        box = atoms.cell.array.copy()
        box[:2, :2] = np.diag(2 * half)
        atoms.set_cell(box)
        atoms.set_celldisp([*-half, *np.ravel(atoms.get_celldisp())[2:]])
        return atoms

    def _moves(self, rigid: FloatArray, is_upper: NDArray[np.bool_]) -> FloatArray:
        """How far atoms that would lie at `rigid` (n, 2) are moved: u at the place where they arrive, in their part."""
        lower, upper = self._matched
        # The lower layer's part is the same fraction of its own cell.
        back = -self.share * np.linalg.inv(upper) @ lower
        moves = np.zeros_like(rigid)
        for _ in range(STEPS):
            u = self.displacement(rigid + moves)
            before, moves = moves, np.where(is_upper[:, None], (1 - self.share) * u, u @ back)
            if np.abs(moves - before).max(initial=0) < ROUNDING:
                break
        return moves

    @property
    def _upper_cell(self) -> FloatArray:
        return np.asarray(self.upper.cell @ rotation_matrix(self.twist).T)

    @property
    def _matched(self) -> tuple[FloatArray, FloatArray]:
        """The lower layer's cell, and what corresponds to its rows in the upper lattice."""
        lower, upper = matched(self.lower.cell, self._upper_cell)
        steps = np.rint(self.lower.cell @ np.linalg.inv(lower))
        return self.lower.cell, np.asarray(steps @ upper)

    @property
    def _reciprocal(self) -> tuple[FloatArray, FloatArray]:
        """The three shortest reciprocal vectors of the lower lattice, and those next to them, 1/Å, (3, 2) each."""
        pairs = (np.linalg.inv(basis).T for basis in matched(self.lower.cell, self._upper_cell))
        # Of a reduced basis with a · b <= 0, a + b is the third.
        lower, upper = (np.array([a, b, -a - b]) for a, b in pairs)
        return lower, upper

    @property
    def _beats(self) -> FloatArray:
        lower, upper = self._reciprocal
        return lower - upper


def _vector(name: str, value: ArrayLike) -> tuple[float, float]:
    vector = np.asarray(value, dtype=np.float64)
    if vector.shape != (2,) or not np.isfinite(vector).all():
        raise UsageError(f"{name}: expected a finite (x, y) in Å, got {value!r}")
    return float(vector[0]), float(vector[1])
