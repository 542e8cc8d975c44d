"""Which atoms are bonded, and the rings that bonds close."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.spatial import cKDTree

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LIMITS: Mapping[tuple[str, str], float] = {("C", "C"): 1.75, ("C", "Si"): 2.10, ("Si", "Si"): 2.50}
"""Å in projection up to which pairs, in the alphabet's order, are bonded (Ziatdinov et al., arXiv 1801.05133)."""
LARGEST = 10
"""Atoms in a ring; larger ones are open."""
REACH = 3.0  # distances between nearest neighbours in which the gap is looked for
NEIGHBOURS = 24  # of an atom, at most, that may lie so near
BIN, SMOOTH = 0.02, 2.0  # of the logarithm of a distance, and bins, of their distribution
PEAK, RISE = 0.2, 2.0  # of the highest density that the first shell has; how far it rises again behind a gap


@dataclass(frozen=True, eq=False)
class Bonds:
    """Bonds of an image's atoms.

    Attributes:
        place: of the atoms, row and column in units of one length, shape (n, 2). pairs: shape (m, 2), the lower index
            first. limit: length up to which two atoms are bonded whose elements tell nothing.
    """

    place: FloatArray
    pairs: IntArray
    limit: float

    @property
    def degree(self) -> IntArray:
        """Bonds of each atom, shape (n,)."""
        return np.bincount(self.pairs.ravel(), minlength=len(self.place))

    @property
    def longest(self) -> float:
        """Length of the longest bond, 0 if there is none."""
        ends = self.place[self.pairs]
        return float(np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1).max(initial=0.0))

    def rings(self) -> IntArray:
        """Of each atom the number of rings by size, shape (n, LARGEST + 1); column 0 counts what closes no ring.

        A ring is the shortest cycle through two bonds of an atom that follow each other in angle.
        """
        atom, one, other = self._corners()
        size = self._sizes(atom, one, other)
        counts = np.zeros((len(self.place), LARGEST + 1), dtype=np.int64)
        np.add.at(counts, (atom, size), 1)
        return counts

    def _corners(self) -> tuple[IntArray, IntArray, IntArray]:
        """Atoms, and the far ends of two bonds next to each other, each of shape (k,)."""
        start, end = np.concatenate([self.pairs, self.pairs[:, ::-1]]).T
        away = self.place[end] - self.place[start]
        order = np.lexsort((np.arctan2(away[:, 0], away[:, 1]), start))
        start, end = start[order], end[order]
        index = np.arange(len(start))
        last = np.r_[start[1:] != start[:-1], True] if len(start) else np.empty(0, dtype=bool)
        following = np.where(last, np.searchsorted(start, start), index + 1)
        ends = np.sort(np.column_stack([end, end[following]]), axis=1)
        corners = np.unique(np.column_stack([start, ends]), axis=0)  # two bonds make one corner, not two
        atom, one, other = corners[corners[:, 1] != corners[:, 2]].T
        return atom, one, other

    def _sizes(self, atom: IntArray, one: IntArray, other: IntArray) -> IntArray:
        """Atoms in the shortest cycle one - atom - other, 0 if above LARGEST: all searched breadth first at once."""
        n = len(self.place)
        start, end = np.concatenate([self.pairs, self.pairs[:, ::-1]]).T
        bonded = sparse.csr_array((np.ones(len(start), dtype=np.int32), (start, end)), shape=(n, n))
        size, open_ = np.zeros(len(atom), dtype=np.int64), np.arange(len(atom))
        row, col = open_, one
        for length in range(3, LARGEST + 1):
            front = sparse.csr_array((np.ones(len(row), dtype=np.int32), (row, col)), shape=(len(open_), n))
            row, col = (front @ bonded).nonzero()
            passed = col != atom[open_][row]
            row, col = row[passed], col[passed]
            closed = np.zeros(len(open_), dtype=bool)
            closed[row[col == other[open_][row]]] = True
            size[open_[closed]] = length
            kept = ~closed[row]
            row, col = (np.cumsum(~closed) - 1)[row[kept]], col[kept]
            open_ = open_[~closed]
        return size


def find_bonds(place: FloatArray, elements: NDArray[np.str_] | None = None) -> Bonds:
    """Bonds between atoms: by their elements where LIMITS names them, else up to the first gap of all distances.

    Args:
        place: row and column in units of one length, Å if elements are given, shape (n, 2). elements: symbols, empty
            where unknown, shape (n,).
    """
    if len(place) < 2:
        return Bonds(place, np.empty((0, 2), dtype=np.int64), 0.0)
    tree = cKDTree(place)
    limit = first_gap(place, tree)
    known = {} if elements is None else LIMITS
    pairs = tree.query_pairs(max(limit, *known.values()) if known else limit, output_type="ndarray").astype(np.int64)
    length = np.linalg.norm(place[pairs[:, 0]] - place[pairs[:, 1]], axis=1)
    longest = np.full(len(pairs), limit)
    if elements is not None:
        names = np.sort(elements[pairs], axis=1)
        for (first, second), most in known.items():
            longest[(names[:, 0] == first) & (names[:, 1] == second)] = most
    return Bonds(place, pairs[length <= longest], limit)


def first_gap(place: FloatArray, tree: cKDTree) -> float:
    """Distance behind the first shell of neighbours where there are fewest, per area; places of shape (n, 2), n > 1."""
    distance = tree.query(place, min(NEIGHBOURS + 1, len(place)))[0][:, 1:]
    unit = max(float(np.median(distance[:, 0])), 1e-12)
    # beyond, some atoms have more neighbours than were asked for
    reach = min(REACH, float(np.median(distance[:, -1])) / unit) if distance.shape[1] == NEIGHBOURS else REACH
    edges = np.arange(np.log(0.3), np.log(max(reach, 1.5)) + BIN, BIN)
    middle = np.exp((edges[1:] + edges[:-1]) / 2)
    counts = np.histogram(np.log(np.maximum(distance / unit, 1e-6)), edges)[0] / middle**2
    density = ndimage.gaussian_filter1d(counts.astype(np.float64), SMOOTH, mode="constant")
    top = (density == ndimage.maximum_filter1d(density, 5)) & (density >= PEAK * density.max())
    first = int(np.flatnonzero(top)[0])
    lowest, risen = density[first], len(density)
    for index in range(first, len(density)):
        lowest = min(lowest, density[index])
        if density[index] > RISE * lowest + 0.01 * density[first]:
            risen = index
            break
    behind = density[first:risen]
    flat = np.flatnonzero(behind <= behind.min() + 1e-3 * density[first])
    return float(unit * middle[first + int(flat[len(flat) // 2])])
