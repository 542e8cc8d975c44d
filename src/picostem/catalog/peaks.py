"""Where slips gather: peaks of their density with errors, and the clusters around them.

Grid points are taken in order of falling density. A point without a denser neighbour begins a cluster, any other joins
that of its densest neighbour; where two clusters meet they become one if the lower peak stands out by less than chance
allows (ToMATo: Chazal, Guibas, Oudot and Skraba, J. ACM 60, 41 (2013)).

This is done at the density's bandwidth and at wider ones; the one with most peaks counts, because in too narrow a one
chance hides the small ones, and in too wide a one they melt into others.

A peak's place is steadier in a smoother density, and in too smooth a one its neighbours pull it away. So the bandwidth
is widened, peak by peak, as long as the place stays within the errors of all narrower ones (Lepski's method), the
narrowest aside: it was chosen for the whole density, which needs less smoothing than the place of a peak.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from picostem.catalog.density import Density
from picostem.catalog.series import Series, grid_points, grid_shape

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

STEP = 0.06
"""Å between grid points: less than the finest bandwidth."""

STANDS_OUT = 3.0
"""Standard errors of the density by which a peak must rise above the saddle to a higher one."""

WIDENED = np.sqrt(2) ** np.arange(1, 7)
"""Times the density's bandwidth, tried for peaks and their places."""

WITHIN = -2 * np.log(0.05)
"""Largest squared distance of two places over the narrower one's covariance: 95 % quantile of chi², two dimensions."""

SAME = 0.1
"""Å up to which two peaks are one, seen in two places: grid points and refinement agree to less."""


@dataclass(frozen=True, eq=False)
class Peak:
    """One slip that is found more often than those around it.

    Attributes:
        slip: Å, the one that stands for all equivalents, shape (2,).
        covariance: of its place, Å², from how much images differ, shape (2, 2); 0 where equivalence fixes it, as where
            D and -D are one slip.
        density, density_sigma: there, 1/Å².
        share: of the windows, in its cluster.
    """

    slip: FloatArray
    covariance: FloatArray
    density: float
    density_sigma: float
    share: float


def find_peaks(density: Density) -> tuple[tuple[Peak, ...], IntArray]:
    """Peaks, the one with most windows first, and the peak that each window belongs to, shape (n,)."""
    slips = density.slips
    shape = grid_shape(density.series.cell, STEP)
    points = grid_points(density.series.cell, shape)
    widths = [density, *(replace(density, bandwidth=float(density.bandwidth * factor)) for factor in WIDENED)]
    found = [_clusters(one, points, shape) for one in widths]
    best = int(np.argmax([len(np.unique(roots)) for roots in found]))
    roots = found[best]
    cells = np.round((slips.slip @ np.linalg.inv(density.series.cell)) * shape).astype(np.int64) % shape
    window_roots = roots[cells[:, 0] * shape[1] + cells[:, 1]]
    places = [_settled(widths[best:], points[root]) for root in np.unique(roots)]
    number = _alike(density, [place.slip for place in places])
    labels = number[np.searchsorted(np.unique(roots), window_roots)]
    counts = np.bincount(labels, minlength=int(number.max()) + 1)
    order = np.argsort(-counts, kind="stable")
    peaks = [_peak(density, places[int(np.argmax(number == i))], counts[i] / len(slips)) for i in order]
    return tuple(peaks), np.asarray(np.argsort(order)[labels])


def _clusters(density: Density, points: FloatArray, shape: tuple[int, int]) -> IntArray:
    """The grid point at the peak of each point's cluster, shape (n m,)."""
    values = density.series.grid(shape)
    least = STANDS_OUT * float(density.sigma(points[[int(values.argmax())]])[0])
    n, m = shape
    flat, order = values.ravel(), np.argsort(-values.ravel(), kind="stable")
    steps = [step for step in itertools.product((-1, 0, 1), repeat=2) if step != (0, 0)]
    parent = np.full(flat.size, -1, dtype=np.int64)

    def root(point: int) -> int:
        while parent[point] != point:
            parent[point] = parent[parent[point]]
            point = int(parent[point])
        return point

    for point in order.tolist():
        i, j = divmod(point, m)
        denser = [q for di, dj in steps if parent[q := (i + di) % n * m + (j + dj) % m] >= 0]
        if not denser:
            parent[point] = point
            continue
        parent[point] = root(max(denser, key=lambda q: flat[q]))
        for q in denser:
            high, low = sorted((root(point), root(q)), key=lambda r: -flat[r])
            if high != low and flat[low] < flat[point] + least:
                parent[low] = high
    return np.array([root(point) for point in range(flat.size)])


class _Place(NamedTuple):
    slip: FloatArray
    covariance: FloatArray


def _settled(densities: list[Density], start: FloatArray) -> _Place:
    """A peak by Lepski's method, from a grid point next to it in the first of the densities, the narrowest."""
    found: list[_Place] = []
    for density in densities:
        slip = _maximum(density.series, found[-1].slip if found else start)
        if slip is None:
            break
        # To first order: where the gradient is off by e, the peak moves by -H^-1 e.
        inverse = np.linalg.inv(density.series.derivatives(slip)[1])
        new = _Place(slip, inverse @ density.gradient_covariance(slip) @ inverse)
        moves = [
            (slip - one.slip) @ np.linalg.pinv(one.covariance, hermitian=True) @ (slip - one.slip) for one in found[1:]
        ]
        if any(not move <= WITHIN for move in moves):
            break
        found.append(new)
    return found[-1] if found else _Place(start, np.full((2, 2), np.nan))


def _maximum(series: Series, place: FloatArray) -> FloatArray | None:
    """The maximum next to a place, by Newton's method; None where that leads away."""
    point = place
    for _ in range(20):
        gradient, hessian = series.derivatives(point)
        if np.linalg.eigvalsh(hessian)[-1] >= 0:
            return None
        step = -np.linalg.solve(hessian, gradient)
        point = point + step
        if np.linalg.norm(point - place) > 2 * STEP:
            return None
        if np.linalg.norm(step) < 1e-6:
            break
    return point


def _alike(density: Density, places: list[FloatArray]) -> IntArray:
    """Number of each place, equivalent ones alike, from 0."""
    number: list[int] = []
    first: list[FloatArray] = []
    for place in places:
        near = [i for i, one in enumerate(first) if density.slips.equivalence.distance(place, one) < SAME]
        number.append(near[0] if near else len(first))
        if not near:
            first.append(place)
    return np.array(number)


def _peak(density: Density, place: _Place, share: float) -> Peak:
    slip, matrix = density.slips.equivalence.canonical_with_matrix(place.slip)
    value, sigma = float(density.series(place.slip[None])[0]), float(density.sigma(place.slip[None])[0])
    return Peak(slip, matrix @ place.covariance @ matrix.T, value, sigma, float(share))
