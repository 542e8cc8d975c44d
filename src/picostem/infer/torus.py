"""The space of stackings: slips modulo the lattice, up to the order of like layers.

A stacking is s slips as fractions of the cell, each modulo 1, shape (s, 2). Orders of like layers turn it into others
that give the same projection, by the integer matrices of `picostem.resolve.stacking.Stackings`: D' = M D, for two like
layers D and -D.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from picostem.errors import UsageError
from picostem.resolve.stacking import Stackings
from picostem.structure.lattice import shortest
from picostem.structure.monolayer import Monolayer

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Torus:
    """Slips of stacks on one lattice, and which of them are alike.

    Attributes:
        cell: rows of the lattice, Å, as short as can be, shape (2, 2).
        matrices: what the orders of like layers do to the slips, the identity first, shape (orders, s, s).

    Raises:
        UsageError: of other shapes, or a cell of longer vectors than needed.
    """

    cell: FloatArray
    matrices: IntArray

    def __post_init__(self) -> None:
        cell, shape = self.cell, self.matrices.shape
        if cell.shape != (2, 2) or len(shape) != 3 or shape[1] != shape[2] or not (shape[0] and shape[1]):
            raise UsageError(f"expected a (2, 2) cell and matrices (orders, s, s), got {cell.shape} and {shape}")
        a, b = cell
        # 1e-6: rounding of hexagonal cells, where 2 |a · b| = a²
        if 2 * abs(a @ b) > min(a @ a, b @ b) * (1 + 1e-6):
            raise UsageError(f"expected the shortest vectors of the lattice, got {cell.tolist()} Å: reduce the cell")

    @classmethod
    def of(cls, layers: tuple[Monolayer, ...]) -> Torus:
        """The stackings of some layers that share a lattice; like layers are one object."""
        return cls(np.array(layers[0].cell), np.rint(Stackings(layers).matrices).astype(np.int64))

    @property
    def interfaces(self) -> int:
        """How many slips a stacking has."""
        return int(self.matrices.shape[-1])

    def equivalents(self, slips: FloatArray) -> FloatArray:
        """What the orders of like layers make of stackings (..., s, 2), fractions, shape (..., orders, s, 2)."""
        return np.asarray(np.einsum("oij,...jx->...oix", self.matrices, slips))

    def offsets(self, slips: FloatArray, reference: FloatArray) -> FloatArray:
        """How far each equivalent of stackings is from others, the shortest way, Å, shape (..., orders, s, 2).

        Args:
            slips, reference: fractions of the cell, shapes (..., s, 2), broadcast against each other.
        """
        return shortest((self.equivalents(slips) - np.expand_dims(reference, -3)) @ self.cell, self.cell)

    def distance(self, a: FloatArray, b: FloatArray) -> FloatArray:
        """How far the slips of any interface are apart, Å: the largest, of the equivalents nearest to each other.

        Args:
            a, b: fractions of the cell, shapes (..., s, 2), broadcast against each other.
        """
        lengths = np.linalg.norm(self.offsets(a, b), axis=-1)
        best = np.argmin(np.sum(lengths**2, axis=-1), axis=-1)
        return np.asarray(np.take_along_axis(lengths.max(axis=-1), best[..., None], axis=-1)[..., 0])
