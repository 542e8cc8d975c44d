"""Sites of a surface in a scan whose noise is that of its rows: levelled, located, and put on a lattice.

A tip reads row after row, so that rows are offset from each other and its 1/f noise is alike along them, not across
them: offsets are told by what rows differ by, and the noise of a frequency by other rows' waves of like frequency along
them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, stats
from scipy.spatial import cKDTree

from picostem.atoms.sublattice import find_sublattices
from picostem.errors import ImageError, UsageError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SMOOTH = 0.18  # of the spacing: the filter under which a site of any shape is one peak
LEAST = 3.0  # pixels between sites
APART = 0.6  # of the spacing: sites are no nearer
FLAT = 1.5  # of the spacing: what is wider than that is no site
LONGEST = 3.0  # spacings after which a pattern of sites repeats
LINES = 8  # that the rows' offsets may have of it
STANDS_OUT = 25.0  # power over the median: of 200 frequencies of noise, one in 10⁴ images has such a one
LIKE = 1.35  # ratio of the spacing told and found, or its inverse
STEPS = 4  # of the fit of a lattice to its sites
COARSE = 12  # parts of the side that an image is flattened over before its spacing is known
SEAM = 3.0  # robust standard deviations that the seam of a step keeps there
LEAST_PLANES, FINEST = 5, 0.35  # of a lattice in an image; cycles per pixel of a reflection
STILL = 2.5  # cycles per row: what is slower along rows is the rows' own
PROMINENT = 100.0  # times the noise of like frequency: noise alone reaches 18 in a million pixels
UNLIKE = 1.6  # ratio of lengths of two reflections that span a lattice, at most
ASIDE = 0.4  # sine of the angle between them, at least
OFF = 0.25  # of the spacing: a site further from its place on the lattice does not count for it


def levelled(heights: NDArray[np.floating], spacing: float) -> FloatArray:
    """Heights less a plane and what rows have of their own, shape (rows, columns).

    Rows that run along a lattice differ by the lattice, too: what repeats in the rows' offsets is left in the image.

    Args:
        spacing: between neighbours, pixels; what repeats after more than LONGEST spacings is not the lattice.

    Raises:
        ImageError: not two-dimensional, or with pixels that are NaN or infinite.
    """
    flat = _aligned(heights, spacing)
    flat = flat - ndimage.gaussian_filter1d(np.median(flat, axis=1), FLAT * spacing)[:, None]
    column = np.arange(flat.shape[1]) - (flat.shape[1] - 1) / 2
    return np.asarray(flat - np.median(flat @ column) / (column @ column) * column, dtype=np.float64)


def flattened(heights: NDArray[np.floating], spacing: float) -> FloatArray:
    """Heights above the median around them, shape (rows, columns): without offsets, slopes and terraces.

    Args:
        spacing: between neighbours, pixels.

    Raises:
        ImageError: as levelled does.
    """
    flat = _aligned(heights, spacing)
    return np.asarray(flat - terraces(flat, spacing))


def terraces(flat: FloatArray, spacing: float) -> FloatArray:
    """The surface without its sites, shape (rows, columns): medians along rows, and of these along columns, twice.

    They jump where the surface does.

    Args:
        spacing: between neighbours, pixels.
    """
    level = flat
    for _ in range(4):  # scipy's filter is fast for one dimension only
        level = np.stack([ndimage.median_filter(line, 2 * int(LONGEST * spacing / 2) + 1) for line in level]).T
    return level


def deviation(values: FloatArray) -> float:
    """Standard deviation of the middle of a distribution, by the median of absolute deviations."""
    return float(stats.median_abs_deviation(values, axis=None, scale="normal"))


def _aligned(heights: NDArray[np.floating], spacing: float) -> FloatArray:
    """Rows offset by what most of their pixels differ by from the row before, less what repeats with the lattice."""
    offset = _offsets(heights)
    repeats = _repeats(offset - ndimage.gaussian_filter1d(offset, FLAT * spacing), 1 / (LONGEST * spacing))
    return np.asarray(heights - (offset - repeats)[:, None], dtype=np.float64)


def _offsets(heights: NDArray[np.floating]) -> FloatArray:
    """Of rows, shape (rows,): sums of the mean of the middle half of differences, which a step does not change."""
    if heights.ndim != 2 or not np.all(np.isfinite(heights)):
        raise ImageError(f"expected finite heights in two dimensions, got shape {heights.shape}: crop bad rows away")
    jumps = stats.trim_mean(np.diff(heights.astype(np.float64), axis=0), 0.25, axis=1)
    return np.concatenate([np.zeros(1), np.cumsum(jumps)])


def site_spacing(heights: NDArray[np.floating]) -> float | None:
    """Shortest translation of the lattice in a scan, pixels; None where it shows none.

    Two reflections of the power spectrum span the lattice, the strongest one and the strongest aside of it and of like
    length, both far above the noise. Without a second one, the first one's planes tell the spacing.

    Args:
        heights: as scanned, rows along the fast axis, shape (rows, columns).
    """
    flat = flattened(heights, min(heights.shape) / COARSE)
    most = SEAM * deviation(flat)
    taper = np.outer(*(np.hanning(n + 2)[1:-1] for n in flat.shape))
    power = np.abs(fft.fft2(np.clip(flat, -most, most) * taper)) ** 2
    across, along = np.meshgrid(*(fft.fftfreq(n) for n in flat.shape), indexing="ij")
    frequency, side = np.hypot(across, along), min(flat.shape)
    moving = np.abs(along) * flat.shape[1] > STILL
    ring = np.rint(frequency * side).astype(int)
    usual = np.asarray(ndimage.median(power[moving], ring[moving], np.arange(ring.max() + 1)))[ring]
    able = moving & (frequency > LEAST_PLANES / side) & (frequency < FINEST)
    able &= power > PROMINENT * np.maximum(usual, np.median(power, axis=0))
    row, col = np.nonzero(able)
    order = np.argsort(-power[row, col], kind="stable")
    row, col = row[order], col[order]
    vector = np.column_stack([across[row, col], along[row, col]])
    if not len(vector):
        return None
    length = np.linalg.norm(vector, axis=1)
    other = np.abs(vector @ [vector[0, 1], -vector[0, 0]]) > ASIDE * length * length[0]
    other &= np.abs(np.log(length / length[0])) < np.log(UNLIKE)
    if not other.any():
        return float(1 / length[0])
    one, two = np.linalg.inv([vector[0], vector[np.argmax(other)]]).T
    return float(min(np.linalg.norm(step) for step in (one, two, one - two, one + two)))


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
    """Places of bumps about spacing apart, none cut by the border: row and column, pixels, shape (n, 2).

    Args:
        heights: as scanned, rows along the fast axis. spacing: between neighbours, pixels, good to a sixth.

    Raises:
        ImageError: as levelled does. UsageError: a spacing below 3 pixels, or above a quarter of the image.
    """
    if not LEAST <= spacing <= min(heights.shape) / 4:
        raise UsageError(
            f"sites {spacing:g} pixels apart in an image of {heights.shape[0]} × {heights.shape[1]}: expected "
            f"{LEAST:g} pixels to a quarter of its side; is the pixel size right?"
        )
    place = bumps(flattened(heights, spacing), spacing)
    return place[np.all((place > 0.5) & (place < np.array(heights.shape) - 1.5), axis=1)]


def bumps(flat: FloatArray, spacing: float) -> FloatArray:
    """Maxima of flattened heights with no higher one nearer than APART spacings, those on the border included.

    Returns:
        row and column, pixels, shape (n, 2).
    """
    smooth = np.pad(ndimage.gaussian_filter(flat, SMOOTH * spacing, mode="nearest"), 1, mode="reflect")
    top = (smooth == ndimage.maximum_filter(smooth, 3))[1:-1, 1:-1]
    row, col = np.nonzero(top)
    order = np.argsort(-smooth[row + 1, col + 1], kind="stable")
    row, col = row[order] + 1, col[order] + 1
    kept = np.zeros(len(row), dtype=bool)
    place = np.column_stack([row, col])
    for number, near in enumerate(cKDTree(place).query_ball_point(place, APART * spacing)):
        kept[number] = not any(kept[one] for one in near if one < number)
    row, col = row[kept], col[kept]
    offset = [_vertex(smooth[row - 1, col], smooth[row, col], smooth[row + 1, col])]
    offset.append(_vertex(smooth[row, col - 1], smooth[row, col], smooth[row, col + 1]))
    return np.column_stack([row - 1 + offset[0], col - 1 + offset[1]])


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
