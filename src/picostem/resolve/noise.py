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

from picostem.resolve.lattice import Spectrum
from picostem.resolve.window import Harmonics

FloatArray = NDArray[np.float64]

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

    def whitening(self, harmonics: Harmonics, reciprocal: FloatArray) -> FloatArray:
        """Matrices W that make the noise of W @ [Re c, Im c] white, one for each window, shape (w, 2n, 2n)."""
        covariance = self.covariance(harmonics, reciprocal)
        return np.asarray(np.linalg.inv(np.linalg.cholesky(covariance)))

    def covariance(self, harmonics: Harmonics, reciprocal: FloatArray) -> FloatArray:
        """Noise covariance of [Re c, Im c] in each window, c referred to the image centre, shape (w, 2n, 2n)."""
        hk, root = harmonics.hk, harmonics.gram_inverse_root
        g = hk @ reciprocal
        at_centre = np.exp(2j * np.pi * harmonics.centres @ g.T)
        variance = self._toeplitz(harmonics, harmonics.amplitudes * at_centre)
        full = root @ variance @ root
        level = np.sqrt(self.spectrum.noise_at(g))
        n = len(hk)
        outer = level[:, None] * level[None] * np.conj(at_centre)[:, :, None]
        hermitian = full[:, 1 : n + 1, 1 : n + 1] * outer * at_centre[:, None, :]
        plain = full[:, 1 : n + 1, n + 1 :] * outer * np.conj(at_centre)[:, None, :]
        top = np.concatenate([(hermitian + plain).real, (plain - hermitian).imag], axis=2)
        bottom = np.concatenate([(plain + hermitian).imag, (hermitian - plain).real], axis=2)
        covariance = 0.5 * np.concatenate([top, bottom], axis=1)
        return np.asarray((covariance + np.swapaxes(covariance, 1, 2)) / 2)

    def _toeplitz(self, harmonics: Harmonics, local: NDArray[np.complex128]) -> NDArray[np.complex128]:
        """V_jk = v(h_j - h_k) for the waves [0, h, -h]; v are the harmonics of the relative variance."""
        hk = harmonics.hk
        signed = np.concatenate([np.zeros((1, 2), dtype=np.int64), hk, -hk])
        difference = signed[:, None] - signed[None]
        reach = int(np.abs(difference).max())
        table = np.zeros((2 * reach + 1, 2 * reach + 1), dtype=np.intp)
        n = len(hk)
        table[hk[:, 0] + reach, hk[:, 1] + reach] = np.arange(1, n + 1)
        table[reach - hk[:, 0], reach - hk[:, 1]] = np.arange(n + 1, 2 * n + 1)
        table[reach, reach] = 2 * n + 1
        windows = len(local)
        v = np.zeros((windows, 2 * n + 2), dtype=complex)
        v[:, 1 : n + 1], v[:, n + 1 : -1] = self.slope * local, self.slope * np.conj(local)
        v[:, -1] = 1 + self.slope * (harmonics.mean - self.mean)
        # the sum of |v| over the waves bounds the modulation: keep the variance positive everywhere
        v[:, -1] = np.maximum(v[:, -1], 0.05)
        matrix = v[:, table[difference[..., 0] + reach, difference[..., 1] + reach]]
        return _positive(matrix)


def _positive(matrix: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Raise the spectrum of Hermitian matrices to at least 5 % of their mean (variance cannot be negative)."""
    values, vectors = np.linalg.eigh(matrix)
    values = np.maximum(values, 0.05 * values.mean(axis=1, keepdims=True))
    return np.asarray((vectors * values[:, None, :]) @ np.conj(np.swapaxes(vectors, 1, 2)))


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
    order = np.argsort(smooth, axis=None)
    groups = np.array_split(order, 24)[1:-1]
    x = np.array([smooth.ravel()[i].mean() for i in groups])
    y = np.array([squared.ravel()[i].mean() for i in groups])
    slope, level = np.polynomial.polynomial.polyfit(x - crop.mean(), y, 1, w=1 / np.maximum(y, 1e-30))[::-1]
    kappa = max(0.0, slope / level) if level > 0 else 0.0
    return Noise(spectrum, float(kappa), float(crop.mean()))
