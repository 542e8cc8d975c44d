"""How electrons became grey levels: read off the image itself, so that any image can be fitted as counts.

A grey level of mean m has the variance gain (m - zero): electrons counted, each worth `gain`, above the level `zero`.
Noise that does not depend on the intensity moves `zero` down; where there is no other, it is far below the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

FloatArray = NDArray[np.float64]

GROUPS = 24  # of pixels of like level, the variance of each is one point of the line
LEAST_SHARE = 0.02  # of the mean variance, which the darkest pixels have at least
FLATTEST = 1e-3  # change of the variance over the range of levels, in units of the variance, that no image can tell
ALIKE = 0.1  # integers whose gain is 1 and zero 0 within this share of the level are counts


@dataclass(frozen=True)
class Recording:
    """Grey levels per count, and the level of no counts."""

    gain: float = 1.0
    zero: float = 0.0

    def counts(self, data: NDArray[np.floating]) -> FloatArray:
        """Data as counts: their mean is their variance."""
        return np.asarray((data - self.zero) / self.gain, dtype=np.float64)


def measure_recording(data: NDArray[np.floating], sigma: tuple[float, float]) -> Recording:
    """Recording of an image, from what is finer than its atoms: white noise is taken for granted.

    Args:
        data: shape (rows, columns). sigma: standard deviations of an atom's peak along rows and columns, pixels.
    """
    fine = _beyond(_beyond(data.astype(np.float64), 0), 1)
    smooth = ndimage.gaussian_filter(data.astype(np.float64), sigma, truncate=3)
    inside = np.s_[2:-2, 2:-2]  # beyond, the differences are of mirrored pixels
    return recording_of(smooth[inside], fine[inside] ** 2, counted=is_counts(data))


def _beyond(data: FloatArray, axis: int) -> FloatArray:
    """Fourth differences along an axis, in which white noise keeps its variance and peaks nearly vanish."""
    kernel = np.array([1.0, -4.0, 6.0, -4.0, 1.0]) / np.sqrt(70)
    return np.asarray(ndimage.convolve1d(data, kernel, axis=axis, mode="mirror"))


def is_counts(data: NDArray[np.floating]) -> bool:
    """Whether the values could be counts: whole and none below 0."""
    return bool(data.min() >= 0 and np.all(data == np.rint(data)))


def recording_of(level: FloatArray, squared: FloatArray, *, counted: bool) -> Recording:
    """The line variance = gain (level - zero) through squared deviations at their levels.

    Args:
        counted: the values may be counts; they are if the line says so, too.
    """
    order = np.argsort(level, axis=None)
    groups = [part for part in np.array_split(order, GROUPS) if len(part)]
    x = np.array([level.ravel()[part].mean() for part in groups])
    y = np.array([squared.ravel()[part].mean() for part in groups])
    middle, mean = float(x.mean()), float(max(y.mean(), 1e-12 * max(np.ptp(x), 1e-30) ** 2, 1e-30))
    slope, offset = np.polyfit(x - middle, y, 1, w=1 / np.maximum(y, LEAST_SHARE * mean))
    slope, offset = float(slope), max(float(offset), LEAST_SHARE * mean)
    if counted and abs(slope - 1) < 2 * ALIKE and abs(offset - middle) < ALIKE * middle:
        return Recording()
    depth, span = middle - float(level.min()), float(np.ptp(level)) or 1.0
    steepest = (1 - LEAST_SHARE) * offset / depth if depth > 0 else np.inf
    gain = float(np.clip(slope, FLATTEST * offset / span, steepest))
    return Recording(gain, middle - offset / gain)
