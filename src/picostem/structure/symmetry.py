"""In-plane symmetry of a monolayer in projection, found from its atoms.

An operation takes r to Q r + t (column vectors) and leaves the projected atoms, each with its species, where they were.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from picostem.structure.lattice import reduced, refined
from picostem.structure.monolayer import Monolayer

FloatArray = NDArray[np.float64]

TOLERANCE = 0.05
"""Å by which an atom may miss its image: above what published coordinates are rounded to (0.001 of a cell vector) and
what relaxed ones scatter by, below the distortions that make a phase (0.1 Å and more) and what an image resolves."""

METRIC_TOLERANCE = 0.005
"""Relative error of a · b under an operation, 0.25 % in length: what cells fitted without symmetry scatter by."""


@dataclass(frozen=True, eq=False)
class Operation:
    """r -> matrix · r + shift; matrix orthogonal (2, 2), shift (2,) in Å."""

    matrix: FloatArray
    shift: FloatArray

    def __call__(self, points: FloatArray) -> FloatArray:
        """Images of points of shape (..., 2)."""
        return np.asarray(points @ self.matrix.T + self.shift)


@dataclass(frozen=True, eq=False)
class Projection:
    """Atoms of a plane lattice: reduced cell (2, 2), points in Å, species (sites,).

    Points have shape (sites, 2), seen along the normal, or (sites, 3) with heights.
    """

    cell: FloatArray
    points: FloatArray
    species: NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class Symmetry:
    """The cell, made exactly symmetric, and the operations, the identity first, closed modulo the cell."""

    cell: FloatArray
    operations: tuple[Operation, ...]


def layer_operations(monolayer: Monolayer) -> tuple[Operation, ...]:
    """All operations of the projected monolayer, one per orthogonal matrix, the identity first.

    They are a group modulo the lattice of the projection, to rounding.
    """
    return symmetry(projection(monolayer)).operations


@lru_cache(maxsize=64)
def projection(monolayer: Monolayer) -> Projection:
    """The monolayer in projection. Its primitive cell can be smaller than the monolayer's, as in FeSe."""
    whole = Projection(
        reduced(monolayer.cell), np.array(monolayer.positions[:, :2]), np.array(monolayer.symbols, dtype=np.str_)
    )
    translations = [shift for _, shift in matching_shifts(np.eye(2), whole, whole, TOLERANCE)]
    cell = refined(whole.cell, np.array(translations))
    copies = round(abs(float(np.linalg.det(whole.cell) / np.linalg.det(cell))))
    kept = folded(whole.points, whole.species, cell, copies)
    return Projection(cell, whole.points[kept], whole.species[kept])


def isometries(source: Projection, target: Projection) -> tuple[Operation, ...]:
    """Operations that lay the source's projected atoms onto the target's, at most one per matrix."""
    found = _maps(source, target, TOLERANCE)
    return tuple(Operation(_orthogonal(source.cell, step, target.cell), shift) for step, shift in found)


@lru_cache(maxsize=64)
def symmetry(layer: Projection) -> Symmetry:
    """The operations that leave the projected layer as it is, with their errors averaged away."""
    tolerance = TOLERANCE
    found = _maps(layer, layer, tolerance)
    # A tolerance can cut a group in two. A tighter one is then tried; the identity alone is always a group.
    while not _is_group([step for step, _ in found]):
        tolerance *= 0.8
        found = _maps(layer, layer, tolerance)
    found.sort(key=lambda pair: not np.array_equal(pair[0], np.eye(2)))
    steps = np.array([step for step, _ in found])
    cell = _symmetric_cell(layer.cell, steps)
    shifts = _consistent_shifts(steps, np.array([shift for _, shift in found]) @ np.linalg.inv(layer.cell)) @ cell
    return Symmetry(
        cell,
        tuple(Operation(_orthogonal(cell, step, cell), shift) for step, shift in zip(steps, shifts, strict=True)),
    )


def matching_shifts(
    matrix: FloatArray, source: Projection, target: Projection, tolerance: float
) -> Iterator[tuple[float, FloatArray]]:
    """Each shift t for which matrix · r + t lays source on target modulo the target's lattice, with its largest miss.

    The matrix has as many rows as the points have coordinates, and turns the plane only.
    The shift is the mean over the atoms, so that errors of single coordinates average out.
    """
    names, counts = np.unique(source.species, return_counts=True)
    if sorted(source.species) != sorted(target.species):
        return
    rarest = names[counts.argmin()]
    turned = source.points @ matrix.T
    first = turned[source.species == rarest][0]
    for anchor in target.points[target.species == rarest]:
        shift = anchor - first
        misses = _misses(turned + shift, source, target, tolerance)
        if misses is not None:
            yield float(np.linalg.norm(misses, axis=1).max()), shift - misses.mean(axis=0)


def folded(points: FloatArray, species: NDArray[np.str_], cell: FloatArray, copies: int) -> NDArray[np.intp]:
    """Which atoms to keep when each is there `copies` times modulo a smaller cell; points as in `Projection`."""
    kept: list[int] = []
    free = np.ones(len(points), dtype=bool)
    while free.any():
        first = int(free.argmax())
        # Twice the tolerance: both may miss their place.
        together = free & (species == species[first])
        together &= np.linalg.norm(_nearest(points - points[first], cell), axis=-1) <= 2 * TOLERANCE
        # Several in one column, as the two chalcogens of MoS2 in projection, stay several.
        kept += np.flatnonzero(together)[: max(1, round(together.sum() / copies))].tolist()
        free &= ~together
    return np.array(kept)


def _nearest(differences: FloatArray, cell: FloatArray) -> FloatArray:
    """The shortest equivalent of vectors shorter than half the cell; what is longer stays too long to count."""
    coordinates = differences[..., :2] @ np.linalg.inv(cell)
    planar = (coordinates - np.round(coordinates)) @ cell
    return np.concatenate([planar, differences[..., 2:]], axis=-1)


def _misses(moved: FloatArray, source: Projection, target: Projection, tolerance: float) -> FloatArray | None:
    """Moved point minus its partner for the best pairing one to one, or None if one misses by more than allowed."""
    # A few atoms are enough to turn down nearly all that does not fit.
    for some in (slice(0, 8), slice(0, 64), slice(None)):
        difference = _nearest(moved[some, None] - target.points, target.cell)
        cost = np.linalg.norm(difference, axis=-1)
        # Twice the tolerance: the first atom's own error is in the shift and is taken out again with the mean.
        allowed = (cost <= 2 * tolerance) & (source.species[some, None] == target.species)
        if not allowed.any(axis=1).all():
            return None
    # 1e6 Å: a pairing that is not allowed is taken only if there is no other.
    cost = np.where(allowed, cost, 1e6)
    if not _within(difference[np.arange(len(cost)), cost.argmin(axis=1)], tolerance):
        return None
    rows, columns = linear_sum_assignment(cost)
    chosen = difference[rows, columns]
    return chosen if allowed[rows, columns].all() and _within(chosen, tolerance) else None


def _within(misses: FloatArray, tolerance: float) -> bool:
    return bool(np.linalg.norm(misses - misses.mean(axis=0), axis=1).max() <= tolerance)


def _maps(source: Projection, target: Projection, tolerance: float) -> list[tuple[FloatArray, FloatArray]]:
    """(integer matrix that maps the cells' rows, shift in Å) of each isometry; the best shift where there are more."""
    found = []
    for step in _lattice_maps(source.cell, target.cell):
        matrix = _orthogonal(source.cell, step, target.cell)
        shifts = sorted(matching_shifts(matrix, source, target, tolerance), key=lambda pair: pair[0])
        if np.array_equal(step, np.eye(2)) and source is target:
            shifts = [(0.0, np.zeros(2))]
        if shifts:
            found.append((step, shifts[0][1]))
    return found


def _lattice_maps(source: FloatArray, target: FloatArray) -> Iterator[FloatArray]:
    """Integer matrices N with rows(source) · Qᵀ = N · rows(target) for an orthogonal Q, within METRIC_TOLERANCE."""
    metric, target_metric = source @ source.T, target @ target.T
    allowed = METRIC_TOLERANCE * metric.max()
    reach = np.ceil(np.sqrt(metric.max()) * np.linalg.norm(np.linalg.inv(target), axis=0)).astype(int)
    rows = np.array(list(itertools.product(*(range(-count, count + 1) for count in reach))), dtype=np.float64)
    squares = ((rows @ target_metric) * rows).sum(axis=1)
    choices = [rows[np.abs(squares - metric[index, index]) <= allowed] for index in (0, 1)]
    for first, second in itertools.product(*choices):
        step = np.array([first, second])
        # Equal products and lengths are an equal area, so that the determinant is 1 or -1.
        if abs(first @ target_metric @ second - metric[0, 1]) <= allowed and abs(round(np.linalg.det(step))) == 1:
            yield step


def _orthogonal(source: FloatArray, step: FloatArray, target: FloatArray) -> FloatArray:
    """The orthogonal matrix nearest to the one that takes source's rows to step · target's (polar decomposition)."""
    left, _, right = np.linalg.svd((np.linalg.inv(source) @ step @ target).T)
    return np.asarray(left @ right)


def _is_group(steps: list[FloatArray]) -> bool:
    members = {tuple(step.ravel()) for step in steps}
    return all(tuple((first @ second).ravel()) in members for first in steps for second in steps)


def _symmetric_cell(cell: FloatArray, steps: FloatArray) -> FloatArray:
    """The nearest cell whose metric all operations leave as it is: the mean of N G Nᵀ, turned back onto the old one."""
    metric = (steps @ (cell @ cell.T) @ steps.transpose(0, 2, 1)).mean(axis=0)
    rows = np.linalg.cholesky(metric)
    left, _, right = np.linalg.svd(rows.T @ cell)
    return np.asarray(rows @ (left @ right))


def _consistent_shifts(steps: FloatArray, shifts: FloatArray) -> FloatArray:
    """Fractional shifts, corrected so that the shift of a product is the product's shift.

    With f' = f N + t, closure asks for t(VN) = t(V) N + t(N) modulo 1. The errors of measured shifts are a
    coboundary, so that subtracting the mean over V of t(V) N + t(N) - t(VN) removes them exactly.
    """
    index = {tuple(step.ravel()): k for k, step in enumerate(steps)}
    corrected = shifts.copy()
    for k, step in enumerate(steps):
        products = shifts[[index[tuple((other @ step).ravel())] for other in steps]]
        defect = shifts @ step + shifts[k] - products
        corrected[k] -= (defect - np.round(defect)).mean(axis=0)
    return corrected - np.round(corrected)
