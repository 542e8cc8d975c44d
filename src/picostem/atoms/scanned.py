"""Sites of a surface in a scan whose noise is that of its rows: levelled, located, and put on a lattice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from picostem.atoms.sublattice import find_sublattices
from picostem.errors import ImageError, UsageError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SMOOTH = 0.18  # of the spacing: the filter under which a site of any shape is one peak
APART = 0.6  # of the spacing: sites are no nearer
FLAT = 1.5  # of the spacing: what is wider than that is no site
LONGEST = 3.0  # spacings after which a pattern of sites repeats
LINES = 8  # that the rows' medians may have of it
STANDS_OUT = 25.0  # power over the median: of 200 frequencies of noise, one in 10⁴ images has such a one
LONGEST = 3.0  # spacings after which a pattern of sites repeats
LINES = 8  # that the rows' medians may have of it
STANDS_OUT = 25.0  # power over the median: of 200 frequencies of noise, one in 10⁴ images has such a one
LIKE = 1.35  # ratio of the spacing told and found, or its inverse
STEPS = 4  # of the fit of a lattice to its sites
OFF = 0.25  # of the spacing: a site further from its place on the lattice does not count for it


def levelled(heights: NDArray[np.floating], spacing: float) -> FloatArray:
    """Heights less a plane and what rows have of their own, shape (rows, columns).

    Rows that run along a lattice differ by the lattice, too: what repeats in the rows' medians is left in the image.

    Args:
        spacing: between neighbours, pixels; what repeats after more than LONGEST spacings is not the lattice.

    Raises:
        ImageError: not two-dimensional, or with pixels that are NaN or infinite.
    """
    if heights.ndim != 2 or not np.all(np.isfinite(heights)):
        raise ImageError(f"expected finite heights in two dimensions, got shape {heights.shape}: crop bad rows away")
    flat = heights - np.median(heights, axis=1, keepdims=True)
    column = np.arange(flat.shape[1]) - (flat.shape[1] - 1) / 2
    slope = np.median(flat @ column) / (column @ column)
    row = np.median(heights, axis=1).astype(np.float64)
    repeats = _repeats(row - ndimage.gaussian_filter1d(row, FLAT * spacing), 1 / (LONGEST * spacing))
    return np.asarray(flat + repeats[:, None] - slope * column, dtype=np.float64)


def _repeats(series: FloatArray, lowest: float) -> FloatArray:
    """The sinusoids of a series that stand out of its noise, shape (n,); lowest: their least frequency, per sample."""
    n = len(series)
    time, window, found = np.arange(n), np.hanning(n + 2)[1:-1], np.zeros(n)
    frequency = np.fft.rfftfreq(4 * n)
    for _ in range(LINES):
        power = np.abs(np.fft.rfft((series - found) * window, 4 * n)) ** 2 * (frequency > lowest)
        best = int(np.argmax(power))
        if power[best] < STANDS_OUT * np.median(power[frequency > lowest]):
            break
        wave = 2 * np.pi * frequency[best] * time
        design = np.column_stack([np.cos(wave), np.sin(wave)])
        found += design @ np.linalg.lstsq(design, series - found, rcond=None)[0]
    return found


def locate_sites(heights: NDArray[np.floating], spacing: float) -> FloatArray:
    """Places of bumps about spacing apart: row and column, pixels, shape (n, 2).

    Args:
        heights: as scanned, rows along the fast axis. spacing: between neighbours, pixels, good to a sixth.

    Raises:
        ImageError: as levelled does. UsageError: a spacing below 4 pixels, or above a quarter of the image.
    """
    if not 4 <= spacing <= min(heights.shape) / 4:
        raise UsageError(
            f"sites {spacing:g} pixels apart in an image of {heights.shape[0]} × {heights.shape[1]}: expected 4 pixels "
            "to a quarter of its side; is the pixel size right?"
        )
    flat = levelled(heights, spacing)
    bumps = ndimage.gaussian_filter(flat, SMOOTH * spacing) - ndimage.gaussian_filter(flat, FLAT * spacing)
    reach = int(APART * spacing)
    grid = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    top = bumps == ndimage.maximum_filter(bumps, footprint=np.hypot(*grid) <= APART * spacing)
    inside = np.zeros_like(top)
    inside[1:-1, 1:-1] = True
    row, col = np.nonzero(top & inside)
    offset = [_vertex(bumps[row - 1, col], bumps[row, col], bumps[row + 1, col])]
    offset.append(_vertex(bumps[row, col - 1], bumps[row, col], bumps[row, col + 1]))
    return np.column_stack([row + offset[0], col + offset[1]])


@dataclass(frozen=True, eq=False)
class SiteLattice:
    """A lattice of sites r = origin + n_1 a_1 + n_2 a_2 in an image.

    Attributes:
        cell: a_1 and a_2 as rows, (row, column), pixels, shape (2, 2). origin: row and column, pixels, shape (2,).
        shape: of the image.
    """

    cell: FloatArray
    origin: FloatArray
    shape: tuple[int, int]

    @property
    def spacing(self) -> float:
        """Length of the shorter translation, pixels."""
        return float(np.linalg.norm(self.cell, axis=1).min())

    def places(self, beyond: float = 0.0) -> FloatArray:
        """Of all sites in the image and as many pixels beyond its border, row and column, pixels, shape (n, 2)."""
        low, high = np.full(2, -0.5 - beyond), np.array(self.shape) - 0.5 + beyond
        corners = np.array([low, (low[0], high[1]), (high[0], low[1]), high])
        number = (corners - self.origin) @ np.linalg.inv(self.cell)
        first, last = np.floor(number.min(axis=0)).astype(int), np.ceil(number.max(axis=0)).astype(int)
        every = np.mgrid[first[0] : last[0] + 1, first[1] : last[1] + 1].reshape(2, -1).T
        place = self.origin + every @ self.cell
        return np.asarray(place[np.all((place > low) & (place < high), axis=1)])


def fit_lattice(place: FloatArray, shape: tuple[int, int], spacing: float) -> SiteLattice:
    """The lattice through most of the places, straight and affine.

    Args:
        place: row and column, pixels, shape (n, 2). shape: of the image. spacing: between neighbours, pixels.

    Raises:
        ImageError: no lattice runs through these places.
    """
    found = find_sublattices(place, np.ones(len(place)), shape, spacing)
    if found.basis is None or not 1 / LIKE < np.linalg.norm(found.basis[0]) / spacing < LIKE:
        raise ImageError(
            f"{len(place)} sites are not on a lattice with neighbours {spacing:g} pixels apart: is that right, and is "
            "the image of a single terrace on which every site is a bump?"
        )
    mine = found.label == 0
    at, number = place[mine], found.cell[mine]
    cell, origin = found.basis, found.origin(place, 0)
    for _ in range(STEPS):
        near = np.hypot(*(at - origin - number @ cell).T) < OFF * spacing
        design = np.column_stack([number[near], np.ones(near.sum())])
        solution = np.linalg.lstsq(design, at[near], rcond=None)[0]
        cell, origin = solution[:2], solution[2]
        number = np.rint((at - origin) @ np.linalg.inv(cell)).astype(np.int64)
    return SiteLattice(cell, origin, shape)


def match(found: FloatArray, true: FloatArray, nearest: float) -> tuple[IntArray, IntArray]:
    """Indices of places found and true that are each other's nearest, no further apart than nearest, both (k,)."""
    distance, index = cKDTree(true).query(found, distance_upper_bound=nearest)
    back = cKDTree(found).query(true)[1]
    mine = np.flatnonzero(np.isfinite(distance))
    mine = mine[back[index[mine]] == mine]
    return mine, index[mine]


def _vertex(before: FloatArray, middle: FloatArray, after: FloatArray) -> FloatArray:
    """Where the parabola through three values has its top, from the middle one, steps."""
    curvature = np.minimum(before - 2 * middle + after, -1e-12 * np.abs(middle) - 1e-30)
    return np.asarray(np.clip((before - after) / (2 * curvature), -0.5, 0.5))
