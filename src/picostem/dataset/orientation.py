"""The crystal turned or mirrored onto itself: the same stack under another microscope, its slips with it.

An operation r -> Q r + t that lays the projected layer on itself takes an image I(r) to I(Q⁻¹ r), which shows layers of
the same kind, at Q d - t_l instead of d. In fractions of the cell, with Q = M there,

    c'(h) = c(Mᵀ h) exp(-2 pi i h . t_1),      D' = M D - (t_upper - t_lower).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from picostem.structure.monolayer import Monolayer
from picostem.structure.symmetry import layer_operations

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
SingleComplex = NDArray[np.complex64]

WHOLE = 0.02  # how far the elements of M may be from integers: by more, Q is none of the layer's own cell


@dataclass(frozen=True, eq=False)
class Orientations:
    """Operations of a stack's layers, the identity first.

    Attributes:
        turns: M, shape (o, 2, 2). shifts: t of each layer, fractions, shape (o, layers, 2).
        permutation: index of Mᵀ h or of its opposite among the reflections, shape (o, n).
        conjugate: where it is the opposite, shape (o, n).
    """

    turns: IntArray
    shifts: FloatArray
    permutation: IntArray
    conjugate: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.turns)

    @classmethod
    def of(cls, layers: tuple[Monolayer, ...], hk: IntArray) -> Orientations:
        """Those operations that all layers have and that take the reflections hk, (n, 2), to each other."""
        place = {tuple(h): (i, False) for i, h in enumerate(hk.tolist())}
        place |= {tuple(h): (i, True) for i, h in enumerate((-hk).tolist())}
        cell = layers[0].cell
        found = []
        for operation in layer_operations(layers[0]):
            exact = np.linalg.inv(cell.T) @ operation.matrix @ cell.T
            turn = np.rint(exact).astype(np.int64)
            reached = [place.get(tuple(h)) for h in (hk @ turn).tolist()]
            alike = [_shift(layer, operation.matrix) for layer in layers]
            if np.abs(exact - turn).max() < WHOLE and None not in reached and not any(s is None for s in alike):
                found.append((turn, np.array(alike), reached))
        turns, shifts, places = zip(*found, strict=True)
        index = np.array(places)
        return cls(np.array(turns), np.array(shifts), index[..., 0].astype(np.int64), index[..., 1].astype(np.bool_))

    def apply(
        self, hk: IntArray, amplitudes: SingleComplex, slips: FloatArray, which: IntArray
    ) -> tuple[SingleComplex, FloatArray]:
        """Amplitudes, (k, n), with layer 1 at the origin, and slips, (k, s, 2) in [0, 1), under operations `which`."""
        moved = np.take_along_axis(amplitudes, self.permutation[which], axis=1)
        moved = np.where(self.conjugate[which], moved.conj(), moved)
        phase = np.exp(-2j * np.pi * np.einsum("ni,ki->kn", hk, self.shifts[which, 0])).astype(np.complex64)
        apart = np.diff(self.shifts[which], axis=1)
        turned = np.einsum("kij,ksj->ksi", self.turns[which], slips) - apart
        return np.asarray(moved * phase), np.asarray(turned % 1.0)

    def turned(self, hk: IntArray, factors: SingleComplex, which: IntArray) -> SingleComplex:
        """Layer factors, (k, layers, n), each layer at the origin, under operations `which`."""
        index, conjugate = self.permutation[which][:, None], self.conjugate[which][:, None]
        moved = np.take_along_axis(factors, index, axis=2)
        phase = np.exp(-2j * np.pi * np.einsum("ni,kli->kln", hk, self.shifts[which])).astype(np.complex64)
        return np.asarray(np.where(conjugate, moved.conj(), moved) * phase)


def _shift(layer: Monolayer, matrix: FloatArray) -> FloatArray | None:
    """t of the layer's operation with a matrix, fractions, if it has one."""
    for operation in layer_operations(layer):
        if np.allclose(operation.matrix, matrix, atol=1e-6):  # rounding: both were made exact
            return np.asarray(operation.shift @ np.linalg.inv(layer.cell))
    return None
