"""Two-dimensional lattices: reduction, further translations, the shortest of equivalent vectors, reflections.

A lattice is a (2, 2) array of rows in Å; vectors have shape (..., 2).
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

TIE = 1e-6
"""Å. Lengths and components that differ by less are equal: far above rounding (1e-14 Å), far below any measurement."""

_CORNERS = np.array(list(itertools.product((0.0, 1.0), repeat=2)))
_NEIGHBOURS = np.array(list(itertools.product((-1.0, 0.0, 1.0), repeat=2)))


def reduced(cell: FloatArray) -> FloatArray:
    """Two shortest vectors of the lattice that span it, a · b <= 0 (Lagrange-Gauss reduction)."""
    a, b = sorted(np.asarray(cell, dtype=np.float64), key=np.linalg.norm)
    while True:
        b = b - np.round(a @ b / (a @ a)) * a
        # 1 - 1e-12: equal lengths that differ by rounding must not be swapped for ever.
        if b @ b >= (a @ a) * (1 - 1e-12):
            return np.array([a, -b if a @ b > 0 else b])
        a, b = b, a


def refined(cell: FloatArray, translations: FloatArray) -> FloatArray:
    """The reduced basis of the lattice that `cell` and further translations (n, 2) generate.

    The translations must form a group modulo the cell. In the plane, the shortest vector and the shortest one not
    parallel to it are a basis.
    """
    basis = reduced(cell)
    copies = shortest(translations, basis)[:, None] + _NEIGHBOURS @ basis
    vectors = np.concatenate([basis, copies.reshape(-1, 2)])
    lengths = np.linalg.norm(vectors, axis=1)
    # 0.1 Å: no crystal has so short a lattice vector; what is shorter is the zero vector with its error.
    order = [index for index in np.argsort(lengths, kind="stable") if lengths[index] > 0.1]
    a = vectors[order[0]]
    # 0.1: the sine of the angle between the two shortest vectors is at least sqrt(3)/2.
    b = next(v for v in vectors[order] if abs(a[0] * v[1] - a[1] * v[0]) > 0.1 * np.linalg.norm(a) * np.linalg.norm(v))
    return reduced(np.array([a, b]))


def images(vectors: FloatArray, basis: FloatArray) -> FloatArray:
    """The copies of each vector that can be the shortest, shape (..., 4, 2); the basis must be reduced.

    The lattice points nearest to a point, all of them if several tie, are corners of the cell around it: from any other
    lattice point, a step of one basis vector leads nearer, because 2 |a · b| <= a² in a reduced basis.
    """
    coordinates = vectors @ np.linalg.inv(basis)
    inside = (coordinates - np.floor(coordinates)) @ basis
    return np.asarray(inside[..., None, :] - _CORNERS @ basis)


def shortest_length(vectors: FloatArray, basis: FloatArray) -> FloatArray:
    """Length of the shortest of all vectors equivalent modulo the lattice, shape (...); the basis must be reduced."""
    copies = images(vectors, basis)
    return np.asarray(np.sqrt((copies**2).sum(-1).min(-1)))


def shortest(vectors: FloatArray, basis: FloatArray) -> FloatArray:
    """The shortest of all equivalent vectors, shape (..., 2); the basis must be reduced; ties as in `preferred`."""
    copies = images(vectors, basis)
    return np.take_along_axis(copies, preferred(copies)[..., None, None], axis=-2)[..., 0, :]


def preferred(candidates: FloatArray) -> NDArray[np.intp]:
    """Index along the last but one axis of the shortest vector; ties go to the largest x, then y, then to the first."""
    length = np.sqrt((candidates**2).sum(-1))
    kept = length <= length.min(-1, keepdims=True) + TIE
    for component in (candidates[..., 0], candidates[..., 1]):
        highest = np.where(kept, component, -np.inf).max(-1, keepdims=True)
        kept &= component >= highest - TIE
    return np.asarray(kept.argmax(-1))


def all_reflections(reciprocal: FloatArray, limit: float) -> IntArray:
    """Indices (h, k) of the reciprocal lattice within a radius, (0, 0) among them, shape (n, 2)."""
    rows = np.linalg.inv(reciprocal).T
    reach = np.ceil(limit * np.linalg.norm(rows, axis=1)).astype(int)
    h, k = np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij")
    hk = np.stack([h.ravel(), k.ravel()], axis=1).astype(np.int64)
    return np.asarray(hk[np.linalg.norm(hk @ reciprocal, axis=1) <= limit])


def reflections(reciprocal: FloatArray, limit: float) -> IntArray:
    """Indices (h, k) of one half of the reciprocal lattice within a radius, the shortest first, shape (n, 2)."""
    hk = all_reflections(reciprocal, limit)
    hk = hk[(hk[:, 0] > 0) | ((hk[:, 0] == 0) & (hk[:, 1] > 0))]
    return np.asarray(hk[np.argsort(np.linalg.norm(hk @ reciprocal, axis=1), kind="stable")])
