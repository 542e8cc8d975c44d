"""The moiré of two lattices: where their registry repeats.

A moiré's reciprocal vectors are the beats G = g1 - g2 of reciprocal vectors that lie next to each other, one of each
lattice (no 2 pi). Lattices are (2, 2) arrays of rows in Å.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from picostem.errors import UsageError
from picostem.structure.lattice import preferred, reduced, shortest

FloatArray = NDArray[np.float64]

LONGEST = 1e6
"""Å: lattices that come into step after more than this, 0.1 mm, are equal."""

STRETCHED = 1e-3
"""Beats that are this much longer along one direction than across it are fringes along that direction, with no cell."""


def moire_period(a: float, twist: float) -> float:
    """Lattice constant of the moiré of two equal hexagonal lattices, Å: a / sqrt(2 (1 - cos twist)).

    Without twist it is infinite. Other lattices and other pairs: `moire_vectors`.

    Args:
        a: lattice constant, Å. twist: rad; the formula holds up to 30°, half the lattice's symmetry.

    Raises:
        UsageError: the lattice constant is not positive, or a number is not finite.
    """
    if not (np.isfinite([a, twist]).all() and a > 0):
        raise UsageError(f"expected a positive lattice constant and a finite twist, got {a} Å and {twist} rad")
    # sqrt(2 (1 - cos t)) = 2 |sin(t/2)|, which keeps its digits at small angles.
    chord = 2 * abs(float(np.sin(twist / 2)))
    return a / chord if chord * LONGEST > a else float("inf")


def moire_vectors(lower: ArrayLike, upper: ArrayLike) -> FloatArray | None:
    """The two shortest vectors of the moiré of two lattices, right-handed, a · b <= 0, a towards +x; shape (2, 2), Å.

    Args:
        lower, upper: rows in one frame, Å, shape (2, 2) each.

    Returns:
        None if there is no such cell: for equal lattices, and for those that beat along one direction only.

    Raises:
        UsageError: a lattice is not two finite vectors that span the plane.
    """
    g = beats(lower, upper)
    longest = float(np.linalg.norm(g, axis=1).max())
    if longest < 1 / LONGEST or abs(np.linalg.det(g)) < STRETCHED * longest**2:
        return None
    return _oriented(reduced(np.asarray(np.linalg.inv(g).T)))


def beat_period(lower: ArrayLike, upper: ArrayLike) -> float:
    """The shortest distance after which the registry of two lattices repeats, Å; infinite for equal lattices.

    That is the length of the shortest moiré vector, or the distance of the fringes of lattices that beat along one
    direction only. Arguments and errors as for `moire_vectors`.
    """
    vectors = moire_vectors(lower, upper)
    if vectors is not None:
        return float(np.linalg.norm(vectors[0]))
    longest = float(np.linalg.norm(beats(lower, upper), axis=1).max())
    return 1 / longest if longest >= 1 / LONGEST else float("inf")


def beats(lower: ArrayLike, upper: ArrayLike) -> FloatArray:
    """Reciprocal vectors of the moiré, rows, 1/Å, shape (2, 2); arguments and errors as for `moire_vectors`.

    They belong to the two shortest reciprocal vectors of the lattice with the smaller cell, and are taken to the
    nearest ones of the other, so that a cell close to a multiple of the other one (ReS2 on MoS2) beats with that.
    """
    first, second = _rows(lower), _rows(upper)
    g1, g2 = (reduced(np.asarray(np.linalg.inv(rows).T)) for rows in (first, second))
    if abs(np.linalg.det(first)) <= abs(np.linalg.det(second)):
        return shortest(g1, g2)
    return -shortest(g2, g1)


def matched(lower: ArrayLike, upper: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Bases of two lattices that correspond, vector by vector; rows in Å, shape (2, 2) each.

    The reciprocal vectors of the first are its two shortest, those of the second the nearest ones to them: where both
    cells have about the same size, `beats` are their differences.

    Raises:
        UsageError: no cell of the upper lattice corresponds to one of the lower (or as for `moire_vectors`).
    """
    first, second = _rows(lower), _rows(upper)
    g1, g2 = (reduced(np.asarray(np.linalg.inv(rows).T)) for rows in (first, second))
    nearest = g1 - shortest(g1, g2)
    # The ratio is a whole number: how many cells of the reciprocal lattice `nearest` spans.
    if round(abs(float(np.linalg.det(nearest) / np.linalg.det(g2)))) != 1:
        raise UsageError(
            f"lattices with cells of {abs(np.linalg.det(first)):.1f} and {abs(np.linalg.det(second)):.1f} Å² do not "
            f"correspond cell by cell: expected two of similar size and shape"
        )
    return np.asarray(np.linalg.inv(g1).T), np.asarray(np.linalg.inv(nearest).T)


def _rows(rows: ArrayLike) -> FloatArray:
    lattice = np.asarray(rows, dtype=np.float64)
    # 1e-6: the sine of an angle at which two vectors no longer span a plane.
    if lattice.shape != (2, 2) or not np.isfinite(lattice).all() or not _spans(lattice, 1e-6):
        raise UsageError(f"a lattice is two finite rows (x, y) in Å that span the plane, got {lattice.tolist()}")
    return lattice


def _spans(lattice: FloatArray, sine: float) -> bool:
    return bool(abs(np.linalg.det(lattice)) > sine * np.prod(np.linalg.norm(lattice, axis=1)))


def _oriented(basis: FloatArray) -> FloatArray:
    """The same lattice: a the shortest vector that points most to +x, b the shortest to its left with a · b <= 0."""
    vectors = np.concatenate([basis, [basis.sum(axis=0)], -basis, [-basis.sum(axis=0)]])
    a = vectors[preferred(vectors)]
    left = vectors @ [-a[1], a[0]] > STRETCHED * (a @ a)
    # 1e-9: rounding, for vectors at right angles.
    others = vectors[left & (vectors @ a <= 1e-9 * (a @ a))]
    return np.array([a, others[preferred(others)]])
