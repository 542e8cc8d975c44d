"""Fourier coefficients of points anywhere in a rectangular, periodic field: a non-uniform FFT of type 1.

Points are spread over a grid with a Kaiser-Bessel window, whose Fourier transform is divided out again.
Source: Beatty, Nishimura and Pauly, IEEE Trans. Med. Imaging 24 (2005) 799 (window and beta).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.special import i0

FloatArray = NDArray[np.float64]
FloatImage = NDArray[np.float32]
SpectrumArray = NDArray[np.complex64]

# Window of 8 grid steps at 1.5 times the Nyquist rate: 1e-6 of aliasing, with the source's beta.
_WIDTH = 8
_OVERSAMPLING = 1.5
_BETA = math.pi * math.sqrt(_WIDTH**2 / _OVERSAMPLING**2 * (_OVERSAMPLING - 0.5) ** 2 - 0.8)


class PointSpectrum:
    """Fourier coefficients sum_j w_j exp(-2 pi i g.r_j) at the g below a cutoff that belong to a periodic pixel grid.

    Attributes:
        extent: (width, height) of the field, Å; its centre is the origin of points.
        gx, gy, g: spatial frequencies and their length, 1/Å, shape (n,), gx >= 0.
    """

    def __init__(self, counts: tuple[int, int], step: float, cutoff: float) -> None:
        """A field of counts (rows, columns) pixels, step Å apart; 1/(2 step) must not be below cutoff (1/Å)."""
        self._counts = counts
        self._step = step
        height, width = (n * step for n in counts)
        self.extent = np.array([width, height])
        self._coarse = tuple(
            max(fft.next_fast_len(math.ceil(2 * _OVERSAMPLING * cutoff * side), real=True), 2 * _WIDTH)
            for side in (height, width)
        )
        rows = np.arange(-math.floor(cutoff * height), math.floor(cutoff * height) + 1)
        columns = np.arange(math.floor(cutoff * width) + 1)
        row, column = np.meshgrid(rows, columns, indexing="ij")
        inside = np.hypot(row / height, column / width) < cutoff
        # Row indices of a grid grow downwards, y upwards.
        self._row, self._column = row[inside], column[inside]
        self.gx, self.gy = self._column / width, -self._row / height
        self.g = np.hypot(self.gx, self.gy)
        self._window = _window_transform(self._row / self._coarse[0]) * _window_transform(
            self._column / self._coarse[1]
        )

    def of(self, points: FloatArray, weights: FloatArray) -> tuple[SpectrumArray, SpectrumArray]:
        """Coefficients of points (n, 2) in Å, first with weights 1, then with weights (n,); each of the shape of gx."""
        rows, columns = self._coarse
        row = (0.5 - points[:, 1] / self.extent[1]) * rows
        column = (0.5 + points[:, 0] / self.extent[0]) * columns
        (first_row, row_weights), (first_column, column_weights) = _spread(row), _spread(column)
        steps = np.arange(_WIDTH)
        index = ((first_row[:, None] + steps) % rows)[:, :, None] * columns
        index = index + ((first_column[:, None] + steps) % columns)[:, None, :]
        spread = row_weights[:, :, None] * column_weights[:, None, :]
        return self._transform(index, spread), self._transform(index, spread * weights[:, None, None])

    def _transform(self, index: NDArray[np.int64], spread: FloatArray) -> SpectrumArray:
        rows, columns = self._coarse
        grid = np.bincount(index.ravel(), spread.ravel(), minlength=rows * columns).astype(np.float32)
        spectrum = fft.rfft2(grid.reshape(rows, columns), overwrite_x=True)
        # The field's centre is the origin: a shift by half the field changes the sign of odd coefficients.
        sign = 1 - 2 * ((self._row + self._column) % 2)
        return np.asarray(spectrum[self._row, self._column] * (sign / self._window), dtype=np.complex64)

    def image(self, spectrum: SpectrumArray, shape: tuple[int, int]) -> FloatImage:
        """Function with these Fourier coefficients (its integrals), on shape = (rows, columns) pixels at the centre."""
        rows, columns = self._counts
        half = np.zeros((rows, columns // 2 + 1), dtype=np.complex64)
        # Pixel (i, j) of the centred image lies half a pixel off the grid's centre where its count is even.
        x0, y0 = -(shape[1] - 1) / 2 * self._step, (shape[0] - 1) / 2 * self._step
        ramp = np.exp(2j * np.pi * (self.gx * x0 + self.gy * y0)).astype(np.complex64)
        half[self._row, self._column] = spectrum * ramp
        image = fft.irfft2(half, (rows, columns), overwrite_x=True)
        return np.asarray(image[: shape[0], : shape[1]] / np.float32(self._step**2), dtype=np.float32)


def _spread(position: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
    """First grid index under the window of each position (grid units), and the window's values, (n, _WIDTH)."""
    first = np.ceil(position - _WIDTH / 2).astype(np.int64)
    distance = (first[:, None] + np.arange(_WIDTH) - position[:, None]) / (_WIDTH / 2)
    return first, i0(_BETA * np.sqrt(np.clip(1 - distance**2, 0, None)))


def _window_transform(frequency: FloatArray) -> FloatArray:
    """Fourier transform of the window at a frequency in cycles per grid step, below 1/2."""
    root = np.sqrt(_BETA**2 - (np.pi * _WIDTH * frequency) ** 2)
    return np.asarray(_WIDTH * np.sinh(root) / root)
