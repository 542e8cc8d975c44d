"""Coincidence of two lattices: the smallest superlattices of each that are nearly one.

Superlattices of the lower layer are tried against those of the turned upper layer that lie next to them, each by its
two shortest vectors: the first is a lattice vector that has a near one in the upper layer, the second is any that makes
a cell of n lattice cells with it, n = 1, 2, ... The linear map X R(t) from the upper to the lower superlattice (polar
decomposition) holds how far the upper one must be turned further, t, and, in the symmetric X, the mismatch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from picostem.structure.lattice import reduced
from picostem.structure.monolayer import Monolayer
from picostem.structure.stack import rotation_matrix

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ROUNDING = 1e-9
"""Strain and rad by which exact cells miss, in double precision with vectors of 100 Å, generously."""

_CORNERS = np.array([(0, 0), (0, 1), (1, 0), (1, 1)])


@dataclass(frozen=True, eq=False)
class Coincidence:
    """Superlattices that fit: integer matrices (2, 2), further turn of the upper layer in rad, X (2, 2) and the larger
    of its logarithmic strains, atoms in both layers."""

    lower: IntArray
    upper: IntArray
    turn: float
    stretch: FloatArray
    strain: float
    atoms: int


class _Fits(NamedTuple):
    """Pairs of superlattices that fit: integer matrices (n, 2, 2), further turn (n,), and X of the mismatch."""

    lower: IntArray
    upper: IntArray
    turn: FloatArray
    stretch: FloatArray


@dataclass(frozen=True)
class Search:
    """Layers and limits: twist of the upper layer and how far from it, rad; logarithmic strain; atoms in the cell."""

    lower: Monolayer
    upper: Monolayer
    twist: float
    strain: float
    tolerance: float
    atoms: int

    def smallest(self) -> Coincidence | None:
        """The one with the fewest atoms within the limits, then the least strain, then the least turn, if any."""
        best: tuple[tuple[float, ...], Coincidence] | None = None
        # Atoms for each cell of the lower layer, if the upper one is stretched as far as it may be.
        sites = len(self.lower.symbols), len(self.upper.symbols)
        least = sites[0] + sites[1] * self.lower.area / self.upper.area * np.exp(-2 * self.strain)
        for first, length in self._first_vectors(int(self.atoms / least)):
            cells = int((best[1].atoms if best else self.atoms) / least)
            if length > _longest(cells * self.lower.area):
                break
            found = self._best(self._fits(_superlattices(first, cells, self.lower.cell)))
            best = min(filter(None, (best, found)), key=lambda one: one[0], default=None)
        return best[1] if best else None

    def _first_vectors(self, cells: int) -> Iterator[tuple[IntArray, float]]:
        """Lower lattice vectors (2,) that can be matched, one of each pair ±, with their lengths, shortest first."""
        reach = _longest(cells * self.lower.area)
        # The steps along a and b of all vectors up to a length are bounded by the reciprocal vectors.
        u, v = np.floor(reach * np.linalg.norm(self.lower.reciprocal, axis=1)).astype(np.int64)
        steps = np.stack(np.meshgrid(np.arange(-u, u + 1), np.arange(v + 1), indexing="ij"), axis=-1).reshape(-1, 2)
        steps = steps[(steps[:, 1] > 0) | (steps[:, 0] > 0)]
        vectors = steps @ self.lower.cell
        near = self._near(vectors[:, None])
        kept: NDArray[np.bool_] = np.asarray(self._close(vectors[:, None], near @ self._basis).any(axis=(1, 2)))
        lengths = np.linalg.norm(vectors, axis=1)
        # Of equals the one nearest to a, so that a cell that both layers have is found as it is.
        for index in np.lexsort([-vectors[:, 0], np.rint(lengths / ROUNDING)]):
            if kept[index] and lengths[index] <= reach:
                yield steps[index], float(lengths[index])

    @property
    def _basis(self) -> FloatArray:
        return reduced(self._turned)

    @property
    def _turned(self) -> FloatArray:
        return np.asarray(self.upper.cell @ rotation_matrix(self.twist).T)

    def _near(self, p: FloatArray) -> FloatArray:
        """Coordinates in `_basis` of the upper lattice points around p (n, m, 2): shape (n, m, 4, 2).

        Only the corners of the cell around each: a misfit stays below half a cell vector.
        """
        return np.asarray(np.floor(p @ np.linalg.inv(self._basis))[:, :, None, :] + _CORNERS)

    def _fits(self, matrices: IntArray) -> _Fits:
        """Which of these superlattices of the lower layer fit on one of the upper layer, and on which."""
        p = matrices @ self.lower.cell
        near = self._near(p)
        q = near @ self._basis
        close: NDArray[np.bool_] = self._close(p, q)
        index, first, second = np.nonzero(close[:, 0, :, None] & close[:, 1, None, :])
        pairs = np.stack([q[index, 0, first], q[index, 1, second]], axis=1)
        steps = np.stack([near[index, 0, first], near[index, 1, second]], axis=1)
        whole = np.asarray(np.linalg.det(pairs)) > 0
        index, pairs, steps = index[whole], pairs[whole], steps[whole]
        turn, stretch = _polar((np.linalg.inv(pairs) @ p[index]).swapaxes(1, 2))
        strains = np.abs(np.log(np.linalg.eigvalsh(stretch)))
        kept = (strains.max(axis=1, initial=0) <= self.strain) & (np.abs(turn) <= self.tolerance)
        upper = np.rint(steps @ self._basis @ np.linalg.inv(self._turned)).astype(np.int64)
        return _Fits(matrices[index][kept], upper[kept], turn[kept], stretch[kept])

    def _close(self, p: FloatArray, q: FloatArray) -> NDArray[np.bool_]:
        """Whether q (n, m, 4, 2) can become p (n, m, 2) within the limits, each vector for itself; shape (n, m, 4)."""
        p = p[:, :, None, :]
        angle = np.arctan2(p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0], (p * q).sum(axis=-1))
        lengths = np.linalg.norm(q, axis=-1)
        ratio = np.log(np.where(lengths > 0, lengths, np.inf) / np.linalg.norm(p, axis=-1))
        # A symmetric map with principal strains up to s turns no vector by more than s.
        near: NDArray[np.bool_] = (np.abs(ratio) <= self.strain) & (np.abs(angle) <= self.tolerance + self.strain)
        return near

    def _best(self, fits: _Fits) -> tuple[tuple[float, ...], Coincidence] | None:
        """The best of these, and what it is judged by: atoms, strain, further turn."""
        layers = (self.lower, fits.lower), (self.upper, fits.upper)
        atoms = sum(len(layer.symbols) * np.rint(np.linalg.det(matrices)) for layer, matrices in layers)
        strains = np.abs(np.log(np.linalg.eigvalsh(fits.stretch))).max(axis=1, initial=0)
        # Rounded, so that equals are equal and the order of the superlattices decides.
        keys = np.stack([atoms, np.rint(strains / ROUNDING), np.rint(np.abs(fits.turn) / ROUNDING)])
        order = np.lexsort(keys[::-1])
        if not len(order) or atoms[order[0]] > self.atoms:
            return None
        k = int(order[0])
        matrices, numbers = (fits.lower[k], fits.upper[k]), (float(strains[k]), int(atoms[k]))
        return tuple(keys[:, k].tolist()), Coincidence(*matrices, float(fits.turn[k]), fits.stretch[k], *numbers)


def _longest(area: float) -> float:
    """The most that the shortest vector of a lattice with this cell can measure, Å: that of the hexagonal one."""
    return float(np.sqrt(2 / np.sqrt(3) * area)) * (1 + ROUNDING)


def _superlattices(first: IntArray, cells: int, cell: FloatArray) -> IntArray:
    """All superlattices of up to so many cells with this shortest vector, integer matrices (n, 2, 2), right-handed.

    With g = gcd(a) and det(a, e) = g, the others are b = k e + j a/g, for k g cells, modulo a.
    """
    u, v = first.tolist()
    g = math.gcd(u, v)
    y = pow(u // g, -1, v // g) if v else 1
    e = np.array([(u * y - g) // v if v else 0, y])
    k, j = np.meshgrid(np.arange(1, cells // g + 1), np.arange(g), indexing="ij")
    seconds = k.reshape(-1, 1) * e + j.reshape(-1, 1) * (first // g)
    a = first @ cell
    seconds -= np.rint(seconds @ cell @ a / (a @ a)).astype(np.int64)[:, None] * first
    seconds = seconds[((seconds @ cell) ** 2).sum(axis=1) >= (a @ a) * (1 - ROUNDING)]
    return np.stack(np.broadcast_arrays(first, seconds), axis=1)


def _polar(maps: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Angle of R and symmetric X of maps G = X R, shapes (n,) and (n, 2, 2), for determinants above 0."""
    angle = np.arctan2(maps[:, 1, 0] - maps[:, 0, 1], maps[:, 0, 0] + maps[:, 1, 1])
    cosine, sine = np.cos(angle), np.sin(angle)
    stretch = maps @ np.array([[cosine, sine], [-sine, cosine]]).transpose(2, 0, 1)
    return angle, (stretch + stretch.swapaxes(1, 2)) / 2
