"""Covariances of overlapping peaks: the inverse of the Fisher information, where it matters to each of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from picostem.atoms.background import Grid
from picostem.atoms.fisher import Fisher, regular

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

COUPLED = 0.05  # correlation from which a neighbour counts: its square is the share that it adds to the variance
MOST = 8  # neighbours that count, the most strongly coupled ones
AROUND = 1  # knots of the background around a cell that its level is known with


def covariances(fisher: Fisher, grid: Grid, place: FloatArray, *, form: bool) -> tuple[FloatArray, FloatArray]:
    """Covariance of each peak's parameters in the joint fit, shape (n, p, p), and the variance of its intensity with
    background and form known, shape (n,).

    The information on a peak and the neighbours that matter is inverted exactly, those further away being held; to it
    comes what the background's and, if asked, the common form's uncertainty add. Infinite where peaks cannot be told
    apart.

    Args:
        place: of the peaks, row and column, shape (n, 2). form: the common form was fitted, too.
    """
    n, free, _ = fisher.diagonal.shape
    if not n:
        return np.empty((0, free, free)), np.empty(0)
    out, level, wide = np.empty((n, free, free)), np.empty((n, free)), np.empty(fisher.spread.shape)
    shared = fisher.border.sum(axis=2)  # with the background's level, as hats sum to 1
    keys = fisher.pairs[:, 0] * n + fisher.pairs[:, 1]
    for members, group in _groups(fisher):
        size = group.shape[1] * free
        matrix = regular(_joint(fisher, keys, group))
        solved = np.linalg.solve(matrix, np.broadcast_to(np.eye(size)[:, :free], (len(group), size, free)))
        across = solved.transpose(0, 2, 1)
        out[members] = solved[:, :free]
        level[members] = (across @ shared[group].reshape(len(group), size, 1))[..., 0]
        wide[members] = across @ fisher.spread[group].reshape(len(group), size, fisher.spread.shape[2])
    alone = np.where(out[:, 0, 0] > 0, out[:, 0, 0], np.inf)
    variance = _level_variance(fisher, grid, place, np.sum(level * shared, axis=1))
    out += variance[:, None, None] * level[:, :, None] * level[:, None, :]
    left = fisher.form - np.einsum("npa,npb->ab", wide, fisher.spread)
    if form and np.all(np.linalg.eigvalsh(left + left.T) > 0):
        out += wide @ np.linalg.inv((left + left.T) / 2) @ wide.transpose(0, 2, 1)
    unknown = np.any(np.einsum("npp->np", out) <= 0, axis=1)
    out[unknown] = np.where(np.eye(free) > 0, np.inf, 0)
    return np.asarray((out + out.transpose(0, 2, 1)) / 2), alone


def _groups(fisher: Fisher) -> Iterator[tuple[IntArray, IntArray]]:
    """Peaks with as many neighbours that count, and these peaks with their neighbours, (m,) and (m, 1 + k)."""
    n = len(fisher.diagonal)
    i, j = fisher.pairs.T
    power = np.maximum(np.einsum("npp->np", fisher.diagonal), 1e-300)
    strength = np.abs(fisher.blocks / np.sqrt(power[i][:, :, None] * power[j][:, None, :])).max(axis=(1, 2), initial=0)
    order = np.lexsort((-strength, i))
    rank = np.empty(len(i), dtype=np.intp)
    rank[order] = np.arange(len(i)) - np.searchsorted(i, np.arange(n))[i]
    counts = (strength > COUPLED) & (rank < MOST)
    number = np.bincount(i[counts], minlength=n)
    listed = np.full((n, 1 + MOST), -1, dtype=np.intp)
    listed[:, 0] = np.arange(n)
    listed[i[counts], 1 + rank[counts]] = j[counts]
    for k in np.unique(number):
        members = np.flatnonzero(number == k)
        yield members, listed[members, : 1 + k]


def _joint(fisher: Fisher, keys: IntArray, group: IntArray) -> FloatArray:
    """Information on groups of k peaks each, shape (m, k p, k p)."""
    m, k = group.shape
    n, free, _ = fisher.diagonal.shape
    matrix = np.zeros((m, k, free, k, free))
    for a in range(k):
        matrix[:, a, :, a] = fisher.diagonal[group[:, a]]
        for b in range(k):
            if a == b or not len(keys):
                continue
            key = group[:, a] * n + group[:, b]
            at = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
            known = keys[at] == key
            matrix[known, a, :, b] = fisher.blocks[at[known]]
    return matrix.reshape(m, k * free, k * free)


def _level_variance(fisher: Fisher, grid: Grid, place: FloatArray, taken: FloatArray) -> FloatArray:
    """Variance of the background's level at each peak, from the knots around it, shape (n,).

    taken: information on the level that each peak takes for its own parameters.
    """
    rows, columns = grid.shape
    cell, hats = grid.at(place)
    values = taken[:, None, None] * hats[:, :, None] * hats[:, None, :]
    index = [np.broadcast_to(c, values.shape).ravel() for c in (cell[:, :, None], cell[:, None, :])]
    lost = sparse.csr_array((values.ravel(), (index[0], index[1])), shape=fisher.level.shape)
    left = (fisher.level - lost).tocsr()
    # the knots of a cell and AROUND it, those beyond the image being the nearest ones, once each by their own diagonal
    cells, which = np.unique(cell[:, 0], return_inverse=True)
    reach = np.arange(-AROUND, AROUND + 2)
    r = (cells // columns)[:, None, None] + reach[:, None]
    c = (cells % columns)[:, None, None] + reach
    inside = ((r >= 0) & (r < rows) & (c >= 0) & (c < columns)).reshape(len(cells), -1)
    number = np.where(inside, (r * columns + c).reshape(len(cells), -1), 0)
    size = number.shape[1]
    matrix = np.zeros((len(cells), size, size))
    for a in range(size):
        matrix[:, a] = np.asarray(left[np.repeat(number[:, a], size), number.ravel()]).reshape(len(cells), size)
    matrix *= inside[:, :, None] & inside[:, None, :]
    matrix[:, np.arange(size), np.arange(size)] += ~inside
    least = 1e-3 * fisher.level.diagonal()[number] * inside
    matrix[:, np.arange(size), np.arange(size)] += least
    side = len(reach)
    own = np.array([AROUND * side + AROUND, AROUND * side + AROUND + 1])
    four = np.concatenate([own, own + side])
    solved = np.linalg.solve(matrix, np.broadcast_to(np.eye(size)[:, four], (len(cells), size, 4)))[:, four]
    return np.asarray(np.maximum(np.einsum("nk,nkl,nl->n", hats, solved[which], hats), 0))
