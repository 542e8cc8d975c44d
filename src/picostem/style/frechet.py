"""Fréchet distance of patches: what histograms and spectra do not see, such as noise that grows with the brightness.

Features are those of a fixed bank of filters, written down here whole: no network, no weights to fetch. Each patch has
the logarithms of the mean and of the standard deviation of |image * filter| for log-Gabor filters of SCALES octaves and
ORIENTATIONS directions, and of its grey values. Their Gaussians are compared as in the Fréchet inception distance
(Heusel et al., 2017, equation 6).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from picostem.style.picture import Picture
from picostem.style.spectrum import QUANTUM

FloatArray = NDArray[np.float64]
FloatImage = NDArray[np.float32]

PATCH = 12
"""Pixels a side: 1.4 Å at 0.12 Å per pixel. Patches on and between the atoms then differ, so that how the noise goes
with the brightness shows in the covariance; patches of twice the side see half as much of it."""

SCALES, ORIENTATIONS = 4, 4
HIGHEST = 0.35
"""Cycles per pixel of the finest filters; each scale has half the frequency of the one before."""

BANDWIDTH = 0.55
"""Standard deviation of the filter in ln(frequency): about two octaves wide at half height."""

MOST = 2000
"""Patches that are drawn."""


@dataclass(frozen=True, eq=False)
class Features:
    """Gaussian of the features of an image's patches.

    Attributes:
        mean: shape (n,). covariance: shape (n, n), shrunk as `shrunk` says.
    """

    mean: FloatArray
    covariance: FloatArray


def patch_features(picture: Picture, rng: np.random.Generator) -> Features:
    """Mean and covariance of the features of random patches; natural logarithms, so that units do not matter.

    Args:
        picture: PATCH pixels a side or more.
        rng: draws where the patches lie.
    """
    data = picture.data
    rows, columns = data.shape
    side = min(PATCH, rows, columns)
    independent = (rows // side) * (columns // side)
    count = min(MOST, 8 * independent)
    row = rng.integers(side // 2, rows - (side - 1) // 2, count)
    column = rng.integers(side // 2, columns - (side - 1) // 2, count)
    features = [np.log(part + QUANTUM)[row, column] for one in _responses(data) for part in _moments(one, side)]
    table = np.array(features, dtype=np.float64)
    return Features(table.mean(axis=1), shrunk(np.cov(table), independent))


def frechet_distance(first: Features, second: Features) -> float:
    """|m1 - m2|² + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2), nepers²."""
    root = _root(first.covariance)
    cross = _root(root @ second.covariance @ root)
    gap = float(np.sum((first.mean - second.mean) ** 2))
    return max(0.0, gap + float(np.trace(first.covariance + second.covariance - 2 * cross)))


def shrunk(covariance: FloatArray, count: int) -> FloatArray:
    """A sample covariance drawn towards its mean variance by the oracle approximating amount.

    C' = (1 - s) C + s tr(C)/p, s = ((1 - 2/p) tr C² + (tr C)²) / ((n + 1 - 2/p) (tr C² - (tr C)²/p)), at most 1
    (Chen, Wiesel, Eldar and Hero, IEEE Trans. Signal Process. 58, 5016 (2010), equation 23).

    Args:
        covariance: shape (p, p).
        count: n, independent samples; patches that overlap are not.
    """
    p, trace, squared = len(covariance), float(np.trace(covariance)), float(np.sum(covariance**2))
    excess = (count + 1 - 2 / p) * (squared - trace**2 / p)
    amount = 1.0 if excess <= 0 else min(1.0, ((1 - 2 / p) * squared + trace**2) / excess)
    return np.asarray((1 - amount) * covariance + amount * trace / p * np.eye(p))


def _responses(data: FloatImage) -> Iterator[FloatImage]:
    """The image itself, then the modulus of each filter's response, borders mirrored; all of the image's shape."""
    yield data
    reach = math.ceil(1.5 * 2 ** (SCALES - 1) / HIGHEST)
    more = [fft.next_fast_len(n + 2 * reach) - n - reach for n in data.shape]
    padded = np.pad(data, [(reach, after) for after in more], mode="symmetric")
    inside = np.s_[reach : reach + data.shape[0], reach : reach + data.shape[1]]
    transform = fft.fft2(padded)
    frequencies = [fft.fftfreq(n).astype(np.float32) for n in padded.shape]
    gy, gx = np.meshgrid(*frequencies, indexing="ij")
    radius = np.hypot(gx, gy)
    radius[0, 0] = 1.0
    transform[0, 0] = 0.0  # a log-Gabor filter passes no constant
    for scale in range(SCALES):
        along = transform * np.exp(-(np.log(radius * 2**scale / HIGHEST) ** 2) / (2 * BANDWIDTH**2))
        for direction in np.pi * np.arange(ORIENTATIONS) / ORIENTATIONS:
            cosine = (gx * np.float32(np.cos(direction)) + gy * np.float32(np.sin(direction))) / radius
            yield np.abs(fft.ifft2(along * np.maximum(cosine, 0) ** (ORIENTATIONS - 1)))[inside]


def _moments(values: FloatImage, side: int) -> tuple[FloatImage, FloatImage]:
    """Mean and standard deviation in the square of some pixels around each pixel."""
    mean = ndimage.uniform_filter(values, side)
    return mean, np.sqrt(np.maximum(ndimage.uniform_filter(values**2, side) - mean**2, 0))


def _root(matrix: FloatArray) -> FloatArray:
    """Square root of a symmetric matrix without negative eigenvalues."""
    value, vector = np.linalg.eigh(matrix)
    return np.asarray((vector * np.sqrt(np.maximum(value, 0))) @ vector.T)
