"""Noise of an image, measured from the image: how strong, how coloured, how it grows with the intensity.

The level at each spatial frequency comes from the power between the lattice's peaks. How the variance depends on the
intensity (1 + kappa (I - mean), Poisson noise on a detector offset) is read off above the band that the probe passes,
where there is noise alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from picostem.resolve.estimate import Observation
from picostem.resolve.lattice import Spectrum
from picostem.resolve.window import Harmonics

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.int64]

LEAST_VARIANCE = 0.05  # of the mean variance, that of dark places: read noise
BAND = 1.3  # 1/Å; the probes of atomic-resolution microscopes pass little beyond
CROP = 1024  # pixels a side are enough to measure the dependence on intensity


@dataclass(frozen=True)
class Noise:
    """Noise of an image.

    Attributes:
        spectrum: gives the white-equivalent variance per pixel at a frequency.
        slope: kappa, relative growth of the variance per unit of intensity.
        mean: intensity at which the variance is the mean one.
    """

    spectrum: Spectrum
    slope: float
    mean: float


class Whitener:
    """Turns harmonics into numbers with independent noise of unit variance.

    The waves [h, -h] of a window have the noise covariance K^-1/2 L V L K^-1/2: K from the window's shape, L² the noise
    spectrum, V_jk = v(h_j - h_k) the harmonics of the variance, which follows the lattice. One V serves a whole image,
    that of its mean cell, turned to where the lattice lies in each window.
    """

    def __init__(self, noise: Noise, harmonics: Harmonics, reciprocal: FloatArray) -> None:
        self._reciprocal, self._hk = reciprocal, harmonics.hk
        level = np.tile(np.sqrt(noise.spectrum.noise_at(harmonics.hk @ reciprocal)), 2)
        self._shape = harmonics.gram_root / level[:, None]
        self.pattern = _mean_pattern(harmonics)
        variance = _variance_matrix(harmonics.hk, self.pattern, noise.slope, float(harmonics.mean.mean()) - noise.mean)
        self._inverse = np.asarray(np.linalg.inv(np.linalg.cholesky(variance)), dtype=np.complex128)

    def observe(self, harmonics: Harmonics) -> Observation:
        """The harmonics of some windows, ready to be compared with a model."""
        towards = np.exp(2j * np.pi * harmonics.centres @ (self._hk @ self._reciprocal).T)
        turned = np.exp(2j * np.pi * align(harmonics, self.pattern) @ self._hk.T) / towards
        before = np.concatenate([towards, np.conj(towards)], axis=1)
        after = np.concatenate([turned, np.conj(turned)], axis=1)
        return Observation(harmonics.amplitudes, before, self._shape, after, self._inverse)


def align(harmonics: Harmonics, pattern: ComplexArray) -> FloatArray:
    """Position t (fractions) at which exp(2 pi i h . t) c is most like a pattern in each window, shape (windows, 2)."""
    hk = harmonics.hk
    size = 4 << int(2 * np.abs(hk).max()).bit_length()
    found = np.empty((len(harmonics.amplitudes), 2))
    for w, amplitudes in enumerate(harmonics.amplitudes):
        grid = np.zeros((size, size), dtype=np.complex64)
        grid[hk[:, 0] % size, hk[:, 1] % size] = amplitudes * np.conj(pattern)
        found[w] = np.unravel_index(int(np.argmax(fft.ifft2(grid).real)), grid.shape)
    return found / size


def _mean_pattern(harmonics: Harmonics) -> ComplexArray:
    """Mean amplitudes of all windows, each turned so that its lattice lies like that of the strongest one."""
    strongest = np.argmax(np.sum(np.abs(harmonics.amplitudes) ** 2, axis=1))
    pattern = harmonics.amplitudes[strongest]
    for _ in range(2):
        turned = harmonics.amplitudes * np.exp(2j * np.pi * align(harmonics, pattern) @ harmonics.hk.T)
        pattern = turned.mean(axis=0)
    return np.asarray(pattern)


def _variance_matrix(hk: IntArray, pattern: ComplexArray, slope: float, excess: float) -> ComplexArray:
    """V_jk = v(h_j - h_k) for the waves [h, -h]; v are the harmonics of the relative variance 1 + slope (I - mean)."""
    signed = np.concatenate([hk, -hk])
    reach = 2 * int(np.abs(hk).max())
    size = 2 * reach + 1
    series = np.zeros((size, size), dtype=complex)
    series[hk[:, 0], hk[:, 1]], series[-hk[:, 0], -hk[:, 1]] = pattern, np.conj(pattern)
    swing = slope * fft.ifft2(series).real * size**2
    level = max(1.0 + slope * excess, LEAST_VARIANCE)
    # the variance is positive everywhere: the harmonics that were cut off would see to it
    depth = min(1.0, (level - LEAST_VARIANCE) / max(float(-swing.min()), 1e-30))
    series = series * slope * depth
    series[0, 0] = level
    difference = signed[:, None] - signed[None]
    return np.asarray(series[difference[..., 0], difference[..., 1]])


def measure_noise(data: NDArray[np.float32], spectrum: Spectrum, pixel_size: float) -> Noise:
    """Noise model of an image whose lattice, and so whose pixel size in Å, is known."""
    rows, cols = (min(n, CROP) for n in data.shape)
    r, c = (data.shape[0] - rows) // 2, (data.shape[1] - cols) // 2
    crop = data[r : r + rows, c : c + cols].astype(np.float64)
    cut = min(BAND * pixel_size, 0.45)
    transform = fft.rfft2(crop)
    radius = np.hypot(*np.meshgrid(fft.fftfreq(rows), fft.rfftfreq(cols), indexing="ij"))
    smooth = fft.irfft2(np.where(radius < cut, transform, 0), crop.shape)
    squared = (crop - smooth) ** 2
    # the transform joins opposite borders: the smooth part is wrong within some of its wavelengths of them
    border = min(int(np.ceil(2 / cut)), rows // 4, cols // 4)
    inside = np.s_[border : rows - border, border : cols - border]
    smooth, squared = smooth[inside], squared[inside]
    order = np.argsort(smooth, axis=None)
    groups = np.array_split(order, 24)[1:-1]
    x = np.array([smooth.ravel()[i].mean() for i in groups])
    y = np.array([squared.ravel()[i].mean() for i in groups])
    slope, level = np.polynomial.polynomial.polyfit(x - crop.mean(), y, 1, w=1 / np.maximum(y, 1e-30))[::-1]
    kappa = max(0.0, slope / level) if level > 0 else 0.0
    return Noise(spectrum, float(kappa), float(crop.mean()))
