"""Where peaks stand out of an image's own noise: where atoms may be, and how sure that is.

What a peak of the right shape at a place would add to the likelihood is tested against the model so far (the background
alone, at first). The score test's z = Σ g (y - m)/m / √(Σ g²/m) has unit variance where counting is the only noise;
what else there is, grains of a support above all, is measured in the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, stats
from scipy.spatial import cKDTree

FloatArray = NDArray[np.float64]

FALSE = 0.05  # false peaks that an image of noise may have
LOCAL = 4.0  # standard deviations of a peak, of the Gaussian whose mean is the level around a place
NARROW = 0.6  # of a peak's width: what maxima are sought with, so that neighbours stay apart
MERGED = 2.9  # standard deviations of a peak: nearer than that, two maxima must be told apart
DIP = 2.5  # standard deviations of the noise that the saddle between them lies lower
RINGS = 24


@dataclass(frozen=True, eq=False)
class Candidates:
    """Places where peaks may be: row and column, shape (n, 2); intensities, counts; z, in the noise's deviations."""

    place: FloatArray
    intensity: FloatArray
    score: FloatArray


@dataclass(frozen=True, eq=False)
class Evidence:
    """z at each pixel for a peak there, and the intensity it would have."""

    z: FloatArray
    intensity: FloatArray

    @cached_property
    def clutter(self) -> float:
        """Noise of the image in units of counting's: 1 if counting is all the noise there is."""
        return clutter_of(self.z)


def threshold(shape: tuple[int, ...], sigma: tuple[float, float]) -> float:
    """z that FALSE maxima of an image of noise exceed.

    A Gaussian field with the correlation exp(-r²/4s²) has A z exp(-z²/2) / (2 s² (2π)^1.5) maxima above z in an area A.
    Adler and Taylor, Random Fields and Geometry, 2007, theorem 12.4.1.
    """
    rate = np.prod(shape) / (2 * sigma[0] * sigma[1] * (2 * np.pi) ** 1.5) / FALSE
    z = 4.0
    for _ in range(8):
        z = float(np.sqrt(2 * np.log(max(rate * z, 10.0))))
    return z


def locate(counts: FloatArray, sigma: tuple[float, float]) -> Candidates:
    """Peaks of an image of counts, found without knowing how many there are.

    Args:
        counts: shape (rows, columns), mean equal to the variance. sigma: standard deviations of a peak, pixels.
    """
    level = ndimage.gaussian_filter(counts, np.asarray(sigma) * LOCAL, truncate=3)
    level = np.maximum(level, 1e-3 * max(float(counts.mean()), 1e-12))
    test = score_test(counts, level, level, sigma)
    narrow = tuple(NARROW * s for s in sigma)
    sharp = score_test(counts, level, level, (narrow[0], narrow[1]))
    limit = threshold(counts.shape, sigma)
    places = _maxima(sharp.z, sigma, 0.8)
    row, col = places.T
    places = places[test.z[row, col] > limit * test.clutter]
    places = _apart(places, sharp.z, sigma)
    row, col = places.T
    score = test.z[row, col] / test.clutter
    # the background is the dark between the atoms, not the mean: start from what stands out of that
    return Candidates(_vertex(sharp.z, places), np.maximum(test.intensity[row, col], 1e-6), score)


def overlooked(
    counts: FloatArray, model: FloatArray, sigma: tuple[float, float], misfit: FloatArray, clutter: float
) -> Candidates:
    """Peaks that a model of an image lacks.

    Args:
        model: counts expected, shape (rows, columns). misfit: variance of the model's own errors, of that shape.
        clutter: noise of the image in units of counting's.
    """
    test = score_test(counts, model, model + misfit, sigma)
    places = _maxima(test.z, sigma, 2.5)
    row, col = places.T
    places = places[test.z[row, col] > threshold(counts.shape, sigma) * clutter]
    row, col = places.T
    return Candidates(_vertex(test.z, places), test.intensity[row, col], test.z[row, col] / clutter)


def score_test(counts: FloatArray, model: FloatArray, variance: FloatArray, sigma: tuple[float, float]) -> Evidence:
    """z for a peak of these standard deviations, pixels, at each pixel. variance: of the counts."""
    wide = 1 / (4 * np.pi * sigma[0] * sigma[1])  # sum of g², a Gaussian narrower by √2
    gradient = ndimage.gaussian_filter((counts - model) / variance, sigma, mode="constant", truncate=4)
    square = wide * ndimage.gaussian_filter(1 / variance, np.asarray(sigma) / np.sqrt(2), mode="constant", truncate=4)
    z = gradient / np.sqrt(square)
    return Evidence(z, gradient / square)


def clutter_of(z: FloatArray) -> float:
    """Standard deviation of z without what stands out of it, at least 1.

    Two measures of it, of which the smaller holds: the power spectrum's median on rings, which the few spots of a
    lattice do not raise; and the spread of values below the most frequent one, which atoms apart do not.
    """
    return max(1.0, min(_diffuse(z), _below(z)))


def _diffuse(z: FloatArray) -> float:
    rows, columns = z.shape
    taper = np.outer(np.hanning(rows + 2)[1:-1], np.hanning(columns + 2)[1:-1])
    power = np.abs(fft.rfft2(z * taper)) ** 2 / np.sum(taper**2)
    radius = np.hypot(*np.meshgrid(fft.fftfreq(rows), fft.rfftfreq(columns), indexing="ij"))
    ring = np.minimum((radius / 0.5 * RINGS * 2).astype(int), RINGS * 2)
    share = np.full(power.shape[1], 2.0)
    share[0] = 1
    total = 0.0
    order = np.argsort(ring.astype(np.int16), axis=None, kind="stable")  # by counting, as these are few integers
    for part in np.split(order, np.flatnonzero(np.diff(ring.ravel()[order])) + 1):
        total += float(np.median(power.ravel()[part])) / np.log(2) * float(share[part % power.shape[1]].sum())
    return float(np.sqrt(total / z.size))


def _below(z: FloatArray) -> float:
    low, high = np.quantile(z, [0.01, 0.99])
    count, edges = np.histogram(z, bins=64, range=(low, high))
    smooth = ndimage.gaussian_filter1d(count.astype(np.float64), 2)
    mode = float(edges[:-1][smooth.argmax()] + (edges[1] - edges[0]) / 2)
    under = mode - z[z < mode]
    return float(np.median(under) / stats.norm.isf(0.25)) if len(under) else 1.0


def _maxima(z: FloatArray, sigma: tuple[float, float], reach: float) -> NDArray[np.intp]:
    """Pixels above all within `reach` standard deviations of a peak, (n, 2)."""
    half = [max(1, round(reach * s)) for s in sigma]
    y, x = np.mgrid[-half[0] : half[0] + 1, -half[1] : half[1] + 1]
    disc = (y / max(half[0], 1)) ** 2 + (x / max(half[1], 1)) ** 2 <= 1.01
    top = (z == ndimage.maximum_filter(z, footprint=disc, mode="nearest")) & (z > 0)
    return np.argwhere(top)


def _apart(places: NDArray[np.intp], z: FloatArray, sigma: tuple[float, float]) -> NDArray[np.intp]:
    """Without the lower one of two near maxima between which there is no dip that noise would not make."""
    pairs = cKDTree(places / np.asarray(sigma)).query_pairs(MERGED, output_type="ndarray")
    if not len(pairs):
        return places
    one, other = places[pairs[:, 0]], places[pairs[:, 1]]
    value, second = z[one[:, 0], one[:, 1]], z[other[:, 0], other[:, 1]]
    middle = np.rint((one + other) / 2).astype(int)
    lower = np.where(value < second, pairs[:, 0], pairs[:, 1])
    shallow = np.minimum(value, second) - z[middle[:, 0], middle[:, 1]] < DIP
    kept = np.ones(len(places), dtype=bool)
    kept[lower[shallow]] = False
    return places[kept]


def _vertex(z: FloatArray, places: NDArray[np.intp]) -> FloatArray:
    """Maxima of parabolas through z along rows and columns, (n, 2)."""
    out = places.astype(np.float64)
    padded = np.pad(z, 1, mode="reflect")
    row, col = places.T + 1
    for axis, (before, after) in enumerate(
        ((padded[row - 1, col], padded[row + 1, col]), (padded[row, col - 1], padded[row, col + 1]))
    ):
        bend = 2 * padded[row, col] - before - after
        out[:, axis] += np.clip(np.where(bend > 0, (after - before) / (2 * np.where(bend > 0, bend, 1)), 0), -0.5, 0.5)
    return out
