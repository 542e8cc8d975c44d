"""Power spectra of images in physical frequency, and what lies between the peaks of the lattice: the noise.

Densities are in grey² Å², so that the integral over the plane of spatial frequencies (1/Å) is the variance. All are of
one Hann-windowed transform of the whole image, the sharpest that the field allows: peaks of a crystal then stay narrow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from picostem.style.picture import Picture

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LOWEST = 0.05
"""1/Å. Below it are the image's background and, of small fields, the window function."""

RING, WIDE_RING = 0.1, 0.25
"""1/Å. Of radial spectra, and of those that are divided into SECTORS too."""

SECTORS = 12
"""Over half a turn, 15° each: lines of a scan fill one or two."""

QUANTUM = 1 / 255
"""Grey step of an 8-bit image; its rounding has the variance QUANTUM²/12, white. That is added to all densities, since
what lies below it is not in the reference: a noise-free image would otherwise be compared by its rounding errors."""

OUTLIER = 6.0
"""Times the local level: more is a peak of the lattice. Noise exceeds it in exp(-6) = 0.2 % of all frequencies."""

FEWEST = 5
"""Frequencies that a cell of ring and sector must hold to have a level."""

REACH = 2.0
"""Å. Up to this distance the noise of pixels is compared: a scan's noise is correlated over a probe or a line."""


@dataclass(frozen=True, eq=False)
class Power:
    """Power density of a picture on the half plane of a real transform.

    Attributes:
        density: grey² Å², shape (rows, columns // 2 + 1); the rounding of 8 bit is in it.
        radius, angle: of each frequency, 1/Å and rad from -pi/2 to pi/2, x right and y up, same shape.
        shape: of the picture. pixel_size: of the picture, Å.
    """

    density: FloatArray
    radius: FloatArray
    angle: FloatArray
    shape: tuple[int, int]
    pixel_size: float

    @property
    def nyquist(self) -> float:
        """Highest frequency along the axes, 1/Å."""
        return 0.5 / self.pixel_size

    @property
    def weight(self) -> FloatArray:
        """How many frequencies of the whole plane each stands for, 1 or 2, same shape as the density."""
        twice = np.full(self.density.shape[1], 2.0)
        twice[0] = 1.0
        if self.shape[1] % 2 == 0:
            twice[-1] = 1.0
        return np.broadcast_to(twice, self.density.shape)


def power(picture: Picture) -> Power:
    """Power density of a picture, of one Hann window over the whole of it."""
    data, px = picture.data.astype(np.float64), picture.pixel_size
    rows, columns = data.shape
    window = np.outer(np.hanning(rows + 2)[1:-1], np.hanning(columns + 2)[1:-1])
    mean = np.sum(window * data) / window.sum()
    transform = fft.rfft2(window * (data - mean))
    density = (np.abs(transform) ** 2 / np.sum(window**2) + QUANTUM**2 / 12) * px**2
    gy, gx = np.meshgrid(-fft.fftfreq(rows, px), fft.rfftfreq(columns, px), indexing="ij")
    return Power(density, np.hypot(gx, gy), np.arctan2(gy, gx), (rows, columns), px)


def radial(spectrum: Power) -> tuple[FloatArray, FloatArray]:
    """Mean density in rings RING wide from LOWEST to Nyquist: middles of the rings (1/Å) and densities, shape (n,)."""
    count = max(1, math.floor((spectrum.nyquist - LOWEST) / RING + 1e-9))
    ring = np.floor((spectrum.radius - LOWEST) / RING).astype(np.int64)
    inside = (ring >= 0) & (ring < count)
    weight = spectrum.weight[inside]
    total = np.bincount(ring[inside], weight * spectrum.density[inside], minlength=count)
    number = np.bincount(ring[inside], weight, minlength=count)
    middles: FloatArray = LOWEST + RING * (np.arange(count, dtype=np.float64) + 0.5)
    return np.asarray(middles[number > 0]), np.asarray(total[number > 0] / number[number > 0])


def levels(spectrum: Power) -> tuple[FloatArray, IntArray]:
    """Level of the noise in cells of ring and sector: their median density over ln 2, which peaks do not raise.

    Periodogram ordinates of noise are exponentially distributed, their median is ln 2 times their mean.

    Returns:
        levels, shape (rings, SECTORS), NaN where a cell holds fewer than FEWEST frequencies or lies beyond Nyquist;
        and the flat index of each frequency's cell, of those below LOWEST that of the first ring.
    """
    rings = max(1, math.ceil(float(spectrum.radius.max() - LOWEST) / WIDE_RING))
    ring = np.clip(((spectrum.radius - LOWEST) / WIDE_RING).astype(np.int64), 0, rings - 1)
    sector = np.minimum(((spectrum.angle / np.pi + 0.5) * SECTORS).astype(np.int64), SECTORS - 1)
    cell = ring * SECTORS + sector
    counted = np.where(spectrum.radius >= LOWEST, cell, rings * SECTORS).ravel()
    order = np.argsort(counted, kind="stable")
    ends = np.searchsorted(counted[order], np.arange(rings * SECTORS + 1))
    ordered = spectrum.density.ravel()[order]
    level = np.full(rings * SECTORS, np.nan)
    for index in np.flatnonzero(np.diff(ends) >= FEWEST):
        level[index] = np.median(ordered[ends[index] : ends[index + 1]]) / math.log(2)
    return level.reshape(rings, SECTORS), cell


def noise_density(spectrum: Power) -> FloatArray:
    """The density with the peaks of the lattice, all beyond OUTLIER times the local level, brought down to it."""
    level, cell = levels(spectrum)
    local = _filled(level).ravel()[cell]
    return np.asarray(np.where(spectrum.density < OUTLIER * local, spectrum.density, local))


def noise_variance(spectrum: Power) -> float:
    """Variance per pixel of what the lattice does not explain, grey²; the rounding of 8 bit is taken off again.

    Of a crystal of 30 Å and more it is right to some per cent: what the window spreads of the peaks counts as noise.
    """
    rows, columns = spectrum.shape
    total = float(np.sum(noise_density(spectrum) * spectrum.weight)) / (rows * columns * spectrum.pixel_size**2)
    return max(0.0, total - QUANTUM**2 / 12)


def autocorrelation(spectrum: Power) -> FloatArray:
    """Correlation of the noise of two pixels by their distance, 1 at distance 0, at lags up to REACH.

    Returns:
        shape (2 n + 1, 2 n + 1), lag 0 in the middle, n the pixels in REACH; rows are lags along y, top to bottom.
    """
    rows, columns = spectrum.shape
    covariance = fft.fftshift(fft.irfft2(noise_density(spectrum), (rows, columns)))
    reach = min(math.floor(REACH / spectrum.pixel_size), (min(rows, columns) - 1) // 2)
    middle = rows // 2, columns // 2
    near = covariance[middle[0] - reach : middle[0] + reach + 1, middle[1] - reach : middle[1] + reach + 1]
    return np.asarray(near / covariance[middle])


def spectrum_distance(first: Power, second: Power) -> float:
    """Rms over the rings from LOWEST to Nyquist of log10 of the ratio of two radial spectra, decades."""
    (_, a), (_, b) = radial(first), radial(second)
    return _rms(np.log10(a / b))


def directional_distance(first: Power, second: Power) -> float:
    """Rms over all cells of ring and sector up to Nyquist of log10 of the ratio of the noise levels, decades.

    Unlike `spectrum_distance` it tells a scan's lines from grains, and does not look at the peaks of the lattice.
    """
    (a, _), (b, _) = levels(first), levels(second)
    rings = math.floor((min(first.nyquist, second.nyquist) - LOWEST) / WIDE_RING + 1e-9)
    ratio = np.log10(a[: max(1, rings)] / b[: max(1, rings)])
    return _rms(ratio[np.isfinite(ratio)])


def autocorrelation_distance(first: Power, second: Power) -> float:
    """Rms over the lags within REACH, but for lag 0, of the difference of two autocorrelations of the noise."""
    a, b = autocorrelation(first), autocorrelation(second)
    n = min(len(a), len(b)) // 2
    a, b = _middle(a, n), _middle(b, n)
    lag = np.hypot(*np.mgrid[-n : n + 1, -n : n + 1])
    return _rms((a - b)[(lag > 0) & (lag <= n)])


def _middle(square: FloatArray, n: int) -> FloatArray:
    c = len(square) // 2
    return square[c - n : c + n + 1, c - n : c + n + 1]


def _filled(level: FloatArray) -> FloatArray:
    """Cells without a level take the median of their ring, or that of the nearest ring inwards, else outwards."""
    known = np.isfinite(level)
    count = known.sum(axis=1)
    middle = np.array([np.median(row[k]) if k.any() else np.nan for row, k in zip(level, known, strict=True)])
    have = np.flatnonzero(count)
    nearest = np.maximum(np.searchsorted(have, np.arange(len(level)), side="right") - 1, 0)
    return np.where(known, level, middle[have[nearest]][:, None])


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))
