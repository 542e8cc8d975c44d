"""Stackings of aligned layers in the frame of the image: which of them differ by no more than the order of like layers.

A stacking is the slips of all its interfaces, shape (s, 2), each the translation of a layer relative to the one below
it, modulo the lattice. Projection shows the set of the layers' positions up to a common translation; which of like
layers lies where along the beam shows in their depths only. An order o puts layer o[k] in place k, so that the
positions p become p[o] and the slips, their differences, M slips with an integer matrix M.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from picostem.structure.lattice import reduced, shortest
from picostem.structure.monolayer import Monolayer
from picostem.structure.symmetry import layer_operations

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Stackings:
    """Which stackings of some layers are alike.

    Args:
        layers: from the beam's entrance on; like layers are one object.

    Attributes:
        cell: rows of the lattice, reduced, Å.
        orders: permutations of like layers, the given order first, shape (orders, layers).
        matrices: what they do to the slips, shape (orders, s, s).
    """

    def __init__(self, layers: tuple[Monolayer, ...]) -> None:
        self.layers = layers
        self.cell = reduced(layers[0].cell)
        self.orders = np.array(
            [o for o in all_orders(len(layers)) if all(layers[k] is layers[i] for i, k in enumerate(o))]
        )
        self.matrices = np.array([order_matrix(order) for order in self.orders])

    def aligned(self, slips: FloatArray, reference: FloatArray) -> tuple[FloatArray, IntArray]:
        """The equivalents of slips (w, s, 2) nearest to a reference, Å, and the orders that lead there, shape (w,).

        Args:
            reference: one for all, shape (s, 2), or one each, shape (w, s, 2).
        """
        reference = np.expand_dims(reference, -3)
        turned = np.einsum("oij,wjx->woix", self.matrices, slips)
        near = reference + shortest(turned - reference, self.cell)
        best = np.argmin(np.sum((near - reference) ** 2, axis=(2, 3)), axis=1)
        return np.asarray(near[np.arange(len(slips)), best]), np.asarray(best, dtype=np.int64)

    def distance(self, a: FloatArray, b: FloatArray) -> FloatArray:
        """How far the slips of any interface are apart, Å: the largest, of the equivalents nearest to each other.

        Args:
            a, b: shapes (..., s, 2), broadcast against each other.
        """
        difference = np.einsum("oij,...jx->...oix", self.matrices, a) - np.asarray(b)[..., None, :, :]
        lengths = np.linalg.norm(shortest(difference, self.cell), axis=-1)
        best = np.argmin(np.sum(lengths**2, axis=-1), axis=-1)
        return np.asarray(np.take_along_axis(lengths.max(axis=-1), best[..., None], axis=-1)[..., 0])

    def mean(self, slips: FloatArray) -> FloatArray:
        """Mean of stackings that are alike, (w, s, 2): of their equivalents nearest to the first."""
        return np.asarray(self.aligned(slips, slips[0])[0].mean(axis=0))

    def distinct(self, slips: FloatArray, apart: float) -> list[int]:
        """Indices of stackings (w, s, 2) that lie more than `apart` Å from every earlier one chosen."""
        chosen: list[int] = []
        for i, slip in enumerate(slips):
            if not chosen or self.distance(slips[chosen], slip).min() > apart:
                chosen.append(i)
        return chosen

    def covariance(self, covariance: FloatArray, order: IntArray) -> FloatArray:
        """Covariances of the slips, (w, 2s, 2s), once the orders (w,) have been applied."""
        matrices = np.array([np.kron(matrix, np.eye(2)) for matrix in self.matrices])[order]
        return np.asarray(matrices @ covariance @ np.swapaxes(matrices, 1, 2))

    def equivalents(self, slips: FloatArray) -> FloatArray:
        """All stackings of like parallel layers that give the same image as one (s, 2), shape (n, s, 2), Å.

        Any order of the layers, and any operation that lays the projected layer on itself.
        """
        found: list[FloatArray] = []
        for operation in layer_operations(self.layers[0]):
            for matrix in self.matrices:
                other = shortest(matrix @ slips @ operation.matrix.T, self.cell)
                if all(np.abs(shortest(other - seen, self.cell)).max() > 1e-6 for seen in found):  # Å: rounding
                    found.append(other)
        return np.array(found)


def all_orders(count: int) -> list[tuple[int, ...]]:
    """All orders of some layers along the beam, the identity first, the opposite order last."""
    return list(itertools.permutations(range(count)))


def order_matrix(order: tuple[int, ...] | IntArray) -> FloatArray:
    """What an order does to the slips, integers, shape (s, s)."""
    count = len(order)
    positions = np.tril(np.ones((count, count)), -1)[:, : count - 1]  # of the slips: p_k is the sum of the first k
    return np.asarray(np.diff(positions[list(order)], axis=0))
