"""Twist and registry window by window, for layers with lattices of their own, and the domains of like twist.

The registry at a place r is where it lies in the lower layer's lattice less where it lies in the upper one's, in cells:
with positions t counted from the window's centre, D = (t_upper N - t_lower) cell there, N the whole numbers that lead
from the lower lattice to the upper one. It is made continuous from window to window.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from picostem.resolve.field import Field
from picostem.resolve.joint import JointFit, Placement, Tie, fit_joint
from picostem.resolve.locate import locate
from picostem.resolve.parallel import side_by_side
from picostem.resolve.twisted import Reading
from picostem.resolve.window import window_starts

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

BATCH = 16  # windows between two reports of progress
STRAIN = 0.01  # standard deviation of the strain within a window
POOR = 1.2  # chi² over that of good windows from which a window is fitted from other starts
UNTRUSTED = 1.5  # the same, from which the model does not describe a window
STARTS = 2  # neighbours that a window is fitted from
UNRESOLVED = np.radians(1.0)  # standard deviation of a twist that says nothing
VACUUM, EDGE = 0.25, 0.70  # scale over the median's: less is vacuum, less is half covered
JUMP = np.radians(0.6)  # twists that differ by less are of one domain
NARROWEST = np.radians(0.1)  # width that the density of twists is smoothed with, at least
VALLEY = 0.6  # of the lower of two maxima: the density between them where they are two domains
LEAST_SHARE = 0.03  # of the windows that a domain must have


@dataclass(frozen=True)
class TwistWindows:
    """The windows of a grid, rows slowest.

    Attributes:
        centres: image frame, pixels, shape (n, 2). grid: rows and columns.
        twist, twist_sigma: rad, shape (n,). registry: cells of the lower layer, continuous, shape (n, 2).
        covariance: of the registry, Å², shape (n, 2, 2). chi2: over that of good windows. scale: of the model.
        placements: of the layers, about the windows' centres.
        typical: reduced chi² of good windows.
        status: one of WindowStatus each, shape (n,). engine: whose twist it is, "fit" or "net", shape (n,).
    """

    centres: FloatArray
    grid: tuple[int, int]
    twist: FloatArray
    twist_sigma: FloatArray
    registry: FloatArray
    covariance: FloatArray
    chi2: FloatArray
    scale: FloatArray
    placements: tuple[Placement, ...]
    typical: float
    status: NDArray[np.str_]
    engine: NDArray[np.str_]


def fitted_status(twist_sigma: FloatArray, chi2: FloatArray, scale: FloatArray) -> NDArray[np.str_]:
    """One of WindowStatus for each window that was fitted; arguments as in `TwistWindows`."""
    scale = scale / np.median(scale)
    status = np.full(len(scale), "ok", dtype="<U10")
    status[twist_sigma > UNRESOLVED] = "unresolved"
    status[chi2 > UNTRUSTED] = "untrusted"
    status[scale < EDGE] = "edge"
    status[scale < VACUUM] = "vacuum"
    return status


def map_twist(
    field: Field,
    shape: tuple[int, int],
    reading: Reading,
    window: int,
    stride: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[TwistWindows, ...]:
    """Fit all windows of a grid with the reading's microscope; one answer for each interface.

    Args:
        field: the whole image. shape: its rows and columns.
        reading: whose lattices and microscope the windows start from.
        window, stride: pixels.
        progress: called with the number of windows done and in all.
    """
    starts = [window_starts(n, window, stride) for n in shape]
    y, x = ((n - 1) / 2 - first - (window - 1) / 2 for n, first in zip(shape, starts, strict=True))
    centres = np.stack(np.broadcast_arrays(-x[None, :], y[:, None]), axis=-1).reshape(-1, 2)
    grid = (len(starts[0]), len(starts[1]))
    tie = replace(reading.tie, strain=STRAIN, reference=reading.fit.placement.reciprocals)
    job = _Job(field, reading, tie, centres, window)
    fits: dict[int, JointFit] = {}
    for ring in _rings(centres, grid):
        for batch in np.array_split(ring, -(-len(ring) // BATCH)):
            found = side_by_side(lambda i: job.follow(i, fits, grid), batch.tolist())
            fits.update(zip(batch.tolist(), found, strict=True))
        if progress is not None:
            progress(len(fits), len(centres))
    inorder = [fits[i] for i in range(len(centres))]
    return tuple(_collected(job, inorder, grid, lower) for lower in range(len(reading.model.lattice_of) - 1))


@dataclass(frozen=True)
class _Job:
    """What all windows share."""

    field: Field
    reading: Reading
    tie: Tie
    centres: FloatArray
    window: int

    def follow(self, index: int, known: dict[int, JointFit], grid: tuple[int, int]) -> JointFit:
        """The fit of a window that begins as its best neighbours ended; a poor one is tried from elsewhere, too."""
        near = sorted((k for k in _neighbours(index, grid) if k in known), key=lambda k: known[k].chi2_reduced)
        begin = [self._about(self._from_window(known[k], k), index) for k in near[:STARTS]]
        field = self.field.cut((self.centres[index, 0], self.centres[index, 1]), self.window)
        fits = [self._fit(field, place) for place in begin]
        typical = float(np.median([fit.chi2_reduced for fit in known.values()])) if known else 0.0
        if not fits or min(fit.chi2_reduced for fit in fits) > POOR * typical:
            mean = self._about(self.reading.fit.placement, index)
            begin = [mean]
            if len(mean.positions) == 2:
                located = locate(self.reading.model, field, mean.microscope, mean.reciprocals, 2)
                begin += [replace(mean, scale=one.scale, positions=one.positions) for one in located]
            fits += [self._fit(field, place) for place in begin]
        return min(fits, key=lambda fit: fit.cost)

    def _fit(self, field: Field, start: Placement) -> JointFit:
        return fit_joint(self.reading.model, field, start, self.tie, free_microscope=False)

    def _turns(self, place: Placement, centre: FloatArray) -> FloatArray:
        """Cells from the origin to a centre in each layer's lattice, shape (layers, 2)."""
        return np.array([place.reciprocals[i] @ centre for i in self.reading.model.lattice_of])

    def _about(self, place: Placement, index: int) -> Placement:
        """A placement whose positions are counted from the image centre, counted from a window's."""
        return replace(place, positions=place.positions - self._turns(place, self.centres[index]))

    def _from_window(self, fit: JointFit, index: int) -> Placement:
        place = fit.placement
        return replace(place, positions=place.positions + self._turns(place, self.centres[index]))


def _rings(centres: FloatArray, grid: tuple[int, int]) -> list[IntArray]:
    """Windows by their distance in steps from the one nearest to the image centre."""
    first = divmod(int(np.argmin(np.linalg.norm(centres, axis=1))), grid[1])
    row, col = np.divmod(np.arange(len(centres)), grid[1])
    distance = np.maximum(np.abs(row - first[0]), np.abs(col - first[1]))
    return [np.nonzero(distance == d)[0] for d in range(int(distance.max()) + 1)]


def _neighbours(index: int, grid: tuple[int, int]) -> list[int]:
    row, col = divmod(index, grid[1])
    around = [(row + i, col + j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
    return [r * grid[1] + c for r, c in around if 0 <= r < grid[0] and 0 <= c < grid[1]]


def registry_at_centre(reading: Reading, fit: JointFit, lower: int = 0) -> tuple[FloatArray, FloatArray]:
    """Registry where a fit's positions are counted from, cells of the lower layer, and its covariance in Å².

    Args:
        lower: the layer below the interface, from 0 on.
    """
    cell, lever = reading.model.parts[lower].cell, _lever(reading, lower)
    covariance = cell.T @ lever @ fit.position_covariance @ lever.T @ cell
    return lever @ fit.placement.positions.ravel(), covariance


def _lever(reading: Reading, lower: int) -> FloatArray:
    """Matrix that takes the positions to the registry of two neighbouring layers, shape (2, 2 layers)."""
    below, above = reading.layer_lattice(lower), reading.layer_lattice(lower + 1)
    lever = np.zeros((2, 2 * len(reading.model.lattice_of)))
    lever[:, 2 * lower : 2 * lower + 2] = -np.eye(2)
    lever[:, 2 * lower + 2 : 2 * lower + 4] = np.rint(above.rows @ np.linalg.inv(below.rows)).T
    return lever


def _collected(job: _Job, fits: list[JointFit], grid: tuple[int, int], lower: int) -> TwistWindows:
    reading = job.reading
    pair = reading.model.lattice_of[lower], reading.model.lattice_of[lower + 1]
    registries = [registry_at_centre(reading, fit, lower) for fit in fits]
    chi2 = np.array([fit.chi2_reduced for fit in fits])
    typical = float(np.quantile(chi2, 0.25))
    twist_sigma = np.array([reading.twist_sigma_of(fit, *pair) for fit in fits])
    scale = np.array([fit.placement.scale for fit in fits])
    place, lever = reading.fit.placement, _lever(reading, lower)
    gradient = -lever @ np.concatenate(place.reciprocals[list(reading.model.lattice_of)])
    expected = lever @ place.positions.ravel()
    return TwistWindows(
        centres=job.centres,
        grid=grid,
        twist=np.array([reading.twist_of(fit, *pair) for fit in fits]),
        twist_sigma=twist_sigma,
        registry=_continuous(np.array([r for r, _ in registries]), job.centres, grid, gradient, expected),
        covariance=np.array([covariance for _, covariance in registries]),
        chi2=chi2 / typical,
        scale=scale,
        placements=tuple(fit.placement for fit in fits),
        typical=typical,
        status=fitted_status(twist_sigma, chi2 / typical, scale),
        engine=np.full(len(fits), "fit"),
    )


def _continuous(
    registry: FloatArray, centres: FloatArray, grid: tuple[int, int], gradient: FloatArray, middle: FloatArray
) -> FloatArray:
    """The registry without jumps by whole cells: from the centre outwards, each window near what its neighbour expects.

    Args:
        gradient: change of the registry with the place by the image's mean lattices, shape (2, 2). middle: at r = 0.
    """
    found = np.array(registry)
    first = int(np.argmin(np.linalg.norm(centres, axis=1)))
    found[first] += np.rint(middle + gradient @ centres[first] - found[first])
    done, queue = {first}, deque([first])
    while queue:
        known = queue.popleft()
        for i in _neighbours(known, grid):
            if i not in done:
                expected = found[known] + gradient @ (centres[i] - centres[known])
                found[i] += np.rint(expected - found[i])
                done.add(i)
                queue.append(i)
    return found


def local_strain(windows: TwistWindows, cell: FloatArray, crystal_from_image: FloatArray) -> FloatArray:
    """Strain of the upper layer relative to the lower one from how the registry changes about each window.

    Args:
        cell: of the lower layer, Å. crystal_from_image: Å per pixel, lower layer's crystal frame, shape (2, 2).

    Returns:
        symmetric tensors less their mean over the trusted windows, shape (n, 2, 2); NaN where neighbours are missing.
    """
    places = windows.centres @ crystal_from_image.T
    slips = windows.registry @ cell
    trusted = (windows.status == "ok") & np.isfinite(slips).all(axis=1)
    found = np.full((len(places), 2, 2), np.nan)
    for i in np.nonzero(trusted)[0].tolist():
        near = [k for k in (*_neighbours(i, windows.grid), i) if trusted[k]]
        design = np.column_stack([np.ones(len(near)), places[near]])
        if len(near) >= 6 and np.linalg.matrix_rank(design) == 3:
            change = np.linalg.lstsq(design, slips[near], rcond=None)[0][1:].T
            found[i] = (change + change.T) / 2
    known = ~np.isnan(found[:, 0, 0])
    return found - found[known].mean(axis=0) if known.any() else found


def curvature_error(windows: TwistWindows, cell: FloatArray, length: float, stride: float) -> float:
    """Standard deviation per axis, Å, of what a window cannot tell of a slip whose gradient changes within it.

    A straight line fitted to a slip of curvature H over a width L is off by L² H / 24 in the middle. H comes from the
    second differences of neighbouring windows; the median stands for all, so that boundaries of domains do not count.

    Args:
        cell: of the lower layer, Å. length, stride: of the windows, in one unit.
    """
    slips = np.where((windows.status == "ok")[:, None], windows.registry @ cell, np.nan).reshape(*windows.grid, 2)
    if min(windows.grid) < 3:
        return 0.0
    around = slips[2:, 1:-1] + slips[:-2, 1:-1] + slips[1:-1, 2:] + slips[1:-1, :-2]
    off = np.sum((around - 4 * slips[1:-1, 1:-1]) ** 2, axis=-1) * (length / stride) ** 4 / 24**2
    off = off[np.isfinite(off)]
    # the square of a length in two directions, each normally distributed, has a median of 2 log 2 variances
    return float(np.sqrt(np.median(off) / (2 * np.log(2)))) if len(off) else 0.0


def twist_domains(windows: TwistWindows) -> IntArray:
    """Domain of each window, -1 for none or for one across a boundary; numbered by size, the largest 0."""
    ok = windows.status == "ok"
    labels = np.full(len(ok), -1)
    if not ok.any():
        return labels
    width = max(NARROWEST, float(np.median(windows.twist_sigma[ok])))
    peaks = _peaks(windows.twist[ok], width)
    off = np.abs(windows.twist[:, None] - peaks)
    nearest = off.argmin(axis=1)
    inside = ok & (off.min(axis=1) < np.maximum(3 * windows.twist_sigma, JUMP / 2))
    labels[inside] = nearest[inside]
    counts = np.bincount(labels[inside], minlength=len(peaks))
    order = np.argsort(-counts, kind="stable")
    rank = np.empty(len(peaks), dtype=np.int64)
    rank[order] = np.arange(len(peaks))
    labels[inside] = rank[labels[inside]]
    labels[labels >= max(1, int(np.count_nonzero(counts >= max(2.0, LEAST_SHARE * len(ok)))))] = -1
    return labels


def _peaks(twists: FloatArray, width: float) -> FloatArray:
    """Maxima of the density of some twists, JUMP apart and with a valley between them, shape (n,), rad."""
    places = np.arange(twists.min() - width, twists.max() + 2 * width, width / 4)
    density = np.exp(-(((places[:, None] - twists) / width) ** 2) / 2).sum(axis=1)
    chosen: list[int] = []
    for i in np.argsort(density)[::-1]:
        valleys = [density[min(i, k) : max(i, k) + 1].min() for k in chosen]
        apart = all(abs(places[i] - places[k]) > JUMP for k in chosen)
        if apart and all(valley < VALLEY * density[i] for valley in valleys):
            chosen.append(int(i))
    return places[chosen]
