"""Images as they are shown: cut out, binned to the pixels there are, with a grey scale, residuals in units of noise.

Extents are (left, right, bottom, top) in the image frame, Å, or pixels where the pixel size is not known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from picostem.report.registry import own_lattices

if TYPE_CHECKING:
    from picostem.resolve.result import Result

FloatArray = NDArray[np.float64]
FloatImage = NDArray[np.float32]

PANEL_PIXELS = 540
"""Pixels that a panel of the figure has on a side; more are not shown."""

RESIDUAL_PIXELS = 270
"""Pixels on a side of the residual: larger ones have less noise, so that what the model misses shows."""

CELLS_SHOWN = 6.0
"""Cells across the detail: enough to see the order, few enough to see the atoms."""

_NOISE_CROP, _RINGS = 512, 48
"""Side of the part from which noise is measured, and rings of spatial frequency: 40 coefficients in the innermost."""


@dataclass(frozen=True)
class View:
    """Pixels to show and where they lie: array (rows, columns), and (left, right, bottom, top)."""

    data: FloatImage
    extent: tuple[float, float, float, float]

    @property
    def width(self) -> float:
        """Å, or pixels."""
        return self.extent[1] - self.extent[0]

    def binned(self, limit: int = PANEL_PIXELS) -> View:
        """Means over blocks of pixels, so that no side has more than `limit`; what fills no block is cut off."""
        rows, cols = self.data.shape
        step = math.ceil(max(rows, cols) / limit)
        if step == 1 or min(rows, cols) < step:
            return self
        m, n = rows // step, cols // step
        blocks = self.data[: m * step, : n * step].reshape(m, step, n, step)
        left, right, bottom, top = self.extent
        right, bottom = left + (right - left) * n * step / cols, top - (top - bottom) * m * step / rows
        # Rows first: adding up contiguous lines is several times faster than both axes at once.
        return View(blocks.mean(axis=1).mean(axis=2), (left, right, bottom, top))

    def cut(self, centre: FloatArray, side: float) -> View:
        """The square of this side about `centre`, moved inwards where it would leave the image."""
        left, right, bottom, top = self.extent
        rows, cols = self.data.shape
        dx, dy = (right - left) / cols, (top - bottom) / rows
        width, height = min(cols, max(1, round(side / dx))), min(rows, max(1, round(side / dy)))
        col = int(np.clip(round((centre[0] - left) / dx - width / 2), 0, cols - width))
        row = int(np.clip(round((top - centre[1]) / dy - height / 2), 0, rows - height))
        part = self.data[row : row + height, col : col + width]
        x, y = left + col * dx, top - row * dy
        return View(part, (x, x + width * dx, y - height * dy, y))


def pixel_size(result: Result) -> tuple[float, float]:
    """Å per pixel along rows and columns in which a result's positions are given: the lattice's, where one was found.

    The file's may be off by some per cent, which would put atoms beside the bright spots. 1 where none is known.
    """
    if result.pixel_size_lattice is not None:
        return result.pixel_size_lattice, result.pixel_size_lattice
    return result.image.pixel_size or (1.0, 1.0)


def whole(result: Result, data: FloatImage | None = None) -> View:
    """All of the image, or of an array on the same pixels."""
    rows, cols = result.image.data.shape
    dy, dx = pixel_size(result)
    extent = (-cols * dx / 2, cols * dx / 2, -rows * dy / 2, rows * dy / 2)
    return View(result.image.data if data is None else data, extent)


def detail_of(result: Result) -> tuple[FloatArray, float]:
    """Centre and side of the part worth a closer look: near the image centre, where the resolved stacking holds.

    Of the windows that are ok, the one nearest to the centre counts whose slips are the interfaces' within five
    standard deviations and a tenth of an Å; layers with lattices of their own have no common slip.
    """
    side = CELLS_SHOWN * max(math.sqrt(abs(float(np.linalg.det(layer.rows)))) for layer in result.layers)
    centre = np.zeros(2)
    good = _as_resolved(result)
    if len(good):
        position = result.maps[0].position[good]
        centre = position[np.linalg.norm(position, axis=1).argmin()]
    return centre, side


def _as_resolved(result: Result) -> NDArray[np.intp]:
    """Windows in which every interface is as the result says."""
    good = np.ones(len(result.maps[0]) if result.maps else 0, dtype=bool)
    for interface, one in zip(result.interfaces, result.maps, strict=False):
        good &= one.status == "ok"
        if not own_lattices(interface):
            allowed = 5 * np.sqrt(np.trace(one.covariance, axis1=1, axis2=2)) + 0.1
            good &= np.linalg.norm(one.slip - interface.slip, axis=1) < allowed
    return np.flatnonzero(good)


def grey_limits(data: FloatImage) -> tuple[float, float]:
    """Intensities shown as black and white: all but 0.3 % of the pixels at either end lie between them."""
    step = max(1, math.isqrt(data.size // 100_000))
    low, high = np.percentile(data[::step, ::step], (0.3, 99.7))
    return (float(low), float(high)) if high > low else (float(low) - 1, float(low) + 1)


def residual(result: Result) -> View:
    """Image minus simulation in units of the noise, which grows with the intensity, binned for display."""
    assert result.simulated is not None
    difference = result.image.data - result.simulated
    binned = whole(result, difference).binned(RESIDUAL_PIXELS)
    expected = whole(result, result.simulated).binned(RESIDUAL_PIXELS).data
    variance = 1 + noise_slope(difference, result.simulated) * (expected - result.simulated.mean())
    # 0.05: a straight line through the variances can cross zero where there is next to no signal.
    sigma = noise_level(binned.data) * np.sqrt(np.maximum(variance, 0.05))
    return replace(binned, data=(binned.data / np.where(sigma > 0, sigma, 1)).astype(np.float32))


def noise_level(data: FloatImage) -> float:
    """Standard deviation of the noise in an image, which may hold a lattice.

    The variance is the sum over all spatial frequencies of the noise power, and that is, for each ring of frequencies,
    the median of |FT|² over ln 2 (|FT|² of noise is distributed exponentially): a lattice puts its power into few
    frequencies, which do not move the median.
    """
    crop = _crop(data)
    rows, cols = crop.shape
    # A window, so that the lattice's power stays where it belongs.
    window = np.outer(np.hanning(rows), np.hanning(cols))
    power = np.abs(np.fft.rfft2((crop - crop.mean()) * window)).ravel() ** 2 / np.mean(window**2)
    radius = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(cols)).ravel()
    order = np.argsort(radius)
    edges = np.searchsorted(radius[order], np.linspace(0, radius.max(), _RINGS)[1:-1])
    rings = [ring for ring in np.split(power[order], edges) if len(ring)]
    half = sum(float(np.median(ring)) / math.log(2) * len(ring) for ring in rings)
    # Half a plane of frequencies stands for the whole one.
    return float(math.sqrt(half * rows * cols / power.size) / (rows * cols))


def noise_slope(difference: FloatImage, simulated: FloatImage) -> float:
    """Relative growth of the noise's variance per unit of intensity, at least 0: 1/mean for counted electrons.

    From the difference of neighbouring pixels, in which noise stays and what the model misses, being smooth, does not.
    """
    noise, expected = _crop(difference), _crop(simulated)
    squares = (noise[:, 1:] - noise[:, :-1]).ravel() ** 2 / 2
    between = (expected[:, 1:] + expected[:, :-1]).ravel() / 2 - simulated.mean()
    groups = np.array_split(np.argsort(between), 16)
    x, y = (np.array([values[group].mean() for group in groups]) for values in (between, squares))
    slope, level = np.polyfit(x, y, 1)
    return max(0.0, float(slope / level)) if level > 0 else 0.0


def _crop(data: FloatImage) -> FloatImage:
    rows, cols = (min(n, _NOISE_CROP) for n in data.shape)
    top, left = (data.shape[0] - rows) // 2, (data.shape[1] - cols) // 2
    return data[top : top + rows, left : left + cols]
