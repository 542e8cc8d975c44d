"""How wide an atom's peak is, read off an image: at which width peaks stand out of its noise most clearly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage
from scipy.spatial import cKDTree

from picostem.atoms.locate import LOCAL, score_test
from picostem.atoms.recording import measure_recording

FloatArray = NDArray[np.float64]

NARROWEST, WIDEST = 0.18, 1.0  # Å, standard deviations of peaks of atoms
LEAST_PIXELS, LARGEST_SHARE = 0.8, 1 / 24  # pixels, and share of the image's side, where the pixel size is not known
STEP = 1.25  # ratio of the widths that are tried
BRIGHTEST = 0.995  # quantile of z: that of peaks, if their middles take 1/200 of the image
CROP = 640  # pixels a side are enough
FEWEST = 8  # peaks whose mean says how wide they are
LEAST_PLANES = 5  # of a lattice in an image
SLOW = 16  # part of the image's side over which what is slower is no lattice
FINEST = 0.35  # cycles per pixel of a reflection
PROMINENT = 100.0  # times the median of its ring: noise alone reaches 18 in a million pixels
ENOUGH = 1.6  # pixels, standard deviation at which an image is binned no further


def peak_width(data: NDArray[np.floating], pixel_size: tuple[float, float] | None) -> tuple[float, float]:
    """Standard deviations of peaks along rows and columns, pixels, good to a quarter or so.

    A filter as wide as the peaks sees them best: of all widths that atoms can have, that is taken at which the
    brightest places stand highest above the noise of their surroundings, grains of a support included.

    Args:
        data: shape (rows, columns). pixel_size: Å along rows and columns, or None if unknown.
    """
    step = np.ones(2) if pixel_size is None else np.asarray(pixel_size) / np.sqrt(np.prod(pixel_size))
    low, high = LEAST_PIXELS, max(min(data.shape) * LARGEST_SHARE, 2 * LEAST_PIXELS)
    if pixel_size is not None:
        unit = float(np.sqrt(np.prod(pixel_size)))
        low = max(NARROWEST / unit, low)
        high = max(min(WIDEST / unit, min(data.shape) / 8), 1.01 * low)
    widths = low * STEP ** np.arange(int(np.ceil(np.log(high / low) / np.log(STEP))) + 1)
    contrast = [_contrast(data, width / step) for width in widths]
    best = int(np.argmax(contrast))
    return float(widths[best] / step[0]), float(widths[best] / step[1])


def lattice_spacing(data: NDArray[np.floating]) -> float | None:
    """Pixels between the planes of the strongest reflection in an image's power spectrum, None without a lattice.

    A reflection stands out of the median of its ring by far more than noise does.

    Args:
        data: shape (rows, columns).
    """
    level = data - np.median(data, axis=1, keepdims=True)
    level = level - ndimage.gaussian_filter(level, min(data.shape) / SLOW)
    power = np.abs(fft.fft2(level * np.outer(np.hanning(data.shape[0]), np.hanning(data.shape[1])))) ** 2
    frequency = np.hypot(fft.fftfreq(data.shape[0])[:, None], fft.fftfreq(data.shape[1]))
    ring = np.rint(frequency * min(data.shape)).astype(int)
    usual = np.asarray(ndimage.median(power, ring, np.arange(ring.max() + 1)))[ring]
    able = (frequency > LEAST_PLANES / min(data.shape)) & (frequency < FINEST) & (power > PROMINENT * usual)
    return float(1 / frequency.flat[np.argmax(power * able)]) if able.any() else None


def width_at(data: NDArray[np.floating], place: FloatArray) -> float | None:
    """Standard deviation of the peaks at known places, pixels: that of the Gaussian as wide at half of its height.

    The height is that of the mean of all peaks above the lowest ring around them, within the distance to neighbours.

    Args:
        data: shape (rows, columns). place: row and column, pixels, shape (n, 2).

    Returns:
        None if it cannot be told: there are hardly any places, or no peaks at them.
    """
    if len(place) < FEWEST:
        return None
    apart = float(np.median(cKDTree(place).query(place, k=2)[0][:, 1]))
    reach = int(np.ceil(min(apart, min(data.shape) / 8)))
    step = np.arange(-reach, reach + 1)
    middle = np.rint(place).astype(int)
    middle = middle[np.all((middle >= reach) & (middle < np.array(data.shape) - reach), axis=1)]
    if len(middle) < FEWEST:
        return None
    mean = sum(data[row - reach : row + reach + 1, col - reach : col + reach + 1] for row, col in middle) / len(middle)
    radius = np.hypot(step[:, None], step[None])
    ring = np.rint(radius).astype(int)
    inside = ring <= reach
    profile = np.bincount(ring[inside], np.asarray(mean)[inside]) / np.bincount(ring[inside])
    lowest = int(profile.argmin())
    falling = np.minimum.accumulate(profile[: lowest + 1])
    if lowest < 1 or falling[0] <= falling[-1]:
        return None
    half = np.interp(-(falling[0] + falling[-1]) / 2, -falling, np.arange(lowest + 1))
    return float(max(half / np.sqrt(2 * np.log(2)), LEAST_PIXELS))


def _contrast(data: NDArray[np.floating], sigma: FloatArray) -> float:
    """How far the brightest places stand out of the noise under a filter of these standard deviations, pixels."""
    factor = max(1, int(sigma.min() / ENOUGH))
    side = [min(n, CROP * factor) // factor * factor for n in data.shape]
    start = [(n - s) // 2 for n, s in zip(data.shape, side, strict=True)]
    crop = data[start[0] : start[0] + side[0], start[1] : start[1] + side[1]].astype(np.float64)
    crop = crop.reshape(side[0] // factor, factor, side[1] // factor, factor).sum(axis=(1, 3))
    small = (float(sigma[0] / factor), float(sigma[1] / factor))
    counts = measure_recording(crop, small).counts(crop)
    level = np.maximum(ndimage.gaussian_filter(counts, np.asarray(small) * LOCAL, truncate=3), 1e-3 * counts.mean())
    test = score_test(counts, level, level, small)
    return float(np.quantile(test.z, BRIGHTEST)) / test.clutter
