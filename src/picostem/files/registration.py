"""How far one image lies from another, and images moved by parts of a pixel.

Drift d of an image: image(x + d) shows what reference(x) shows, x and d as (row, column) in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import fft

FloatArray = NDArray[np.float64]
FloatImage = NDArray[np.float32]
Spectrum = NDArray[np.complex64]
Box = tuple[int, int, int, int]
"""First row, last row + 1, first column, last column + 1, in the pixels of the reference."""

FINEST = 1.5
"""1/Å. Beyond, images show noise: the probes of atomic-resolution microscopes pass little above 1.3."""
FINEST_PIXELS = 0.25
"""Cycles per pixel, where the pixel size is not known: half of what the pixels could show."""
BACKGROUND = 1 / 20
"""Width (standard deviation) of what counts as background over the side of the image. Detector and contamination vary
slowly and do not move with the specimen as the atoms do."""
EDGE = 16
"""Pixels around a part that is moved: room for the interpolation to fade out. Its kernel, a sinc, falls off as 1/x."""
TINY = 1e-30
"""Power of an image in which nothing is left."""
CHANCE = 5.0
"""Standard deviations of the correlation of pure noise; its highest value among 10⁴ places exceeds 5 in 0.3 %."""


@dataclass(frozen=True)
class Comparison:
    """Compares images of one shape by their normalised cross-correlation.

    The images are windowed and filtered, so that neither borders nor background nor the finest noise count. With
    white noise the highest cross-correlation is the most likely displacement.

    Attributes:
        shape: of the images. limit: largest displacement, pixels. finest: highest frequency, cycles per pixel.
        fading: share of the window that is not 1: all of it (a Hann window) for images that may lie far from each
            other, little for images that lie nearly alike, of which it wastes less.
    """

    shape: tuple[int, int]
    limit: float
    finest: float
    fading: float = 1.0

    @property
    def padded(self) -> tuple[int, int]:
        """Shape of the Fourier transforms."""
        rows, columns = (int(fft.next_fast_len(n, real=True)) for n in self.shape)
        return rows, columns

    @property
    def _frequencies(self) -> tuple[FloatArray, FloatArray]:
        rows, columns = self.padded
        row, column = np.fft.fftfreq(rows), np.fft.rfftfreq(columns)
        return row.astype(np.float64), column.astype(np.float64)

    @cached_property
    def _filter(self) -> FloatImage:
        rows, columns = self._frequencies
        k2 = rows[:, None] ** 2 + columns**2
        smooth = 2 * (np.pi * BACKGROUND * min(self.shape)) ** 2
        coarse, fine = np.exp(-smooth * k2), np.exp(-2 * k2 / self.finest**2)
        return np.asarray((1 - coarse) * fine, dtype=np.float32)

    @property
    def _windows(self) -> tuple[FloatArray, FloatArray]:
        """Along rows and columns."""
        row, column = (_faded(size, max(1, round(self.fading * size / 2))) for size in self.shape)
        return row, column

    @property
    def chance(self) -> float:
        """The correlation that images with nothing in common may have.

        1/sqrt(N) times `CHANCE`, N the number of independent values that window and filter leave.
        """
        power = self._filter.astype(np.float64) ** 2
        rows, columns = (window**2 for window in self._windows)
        inside = [np.sum(w) ** 2 / np.sum(w**2) / size for w, size in zip((rows, columns), self.padded, strict=True)]
        independent = 2 * power.sum() ** 2 / (power**2).sum() * float(np.prod(inside))
        return CHANCE / float(np.sqrt(independent))

    def spectrum(self, data: FloatImage) -> Spectrum:
        """Transform of the windowed and filtered image, scaled so that it correlates with itself to 1."""
        values = (data - np.float32(data.mean(dtype=np.float64))) * np.outer(*self._windows).astype(np.float32)
        found = fft.rfft2(values, s=self.padded) * self._filter
        power = np.asarray(np.abs(found) ** 2, dtype=np.float64)
        # the half plane stands for all of it: column 0 counts once, all others twice
        total = 2 * power.sum() - power[:, 0].sum()
        return np.asarray(found / np.sqrt(max(float(total), TINY)), dtype=np.complex64)

    def displacement(self, reference: Spectrum, other: Spectrum) -> tuple[FloatArray, float]:
        """Drift of an image from another, pixels, and their correlation there (1 if they are equal but for the drift).

        The drift within `limit` at which the correlation is highest. The windows lower it slowly with the distance,
        so that of many equal maxima, as perfect lattices have them, the nearest is taken.
        """
        cross = other * np.conj(reference)
        surface = fft.irfft2(cross, s=self.padded) * float(np.prod(self.padded))
        row, column = (np.fft.fftfreq(n, 1 / n) for n in self.padded)
        surface[row[:, None] ** 2 + column**2 > self.limit**2] = -np.inf
        down, across = np.unravel_index(int(np.argmax(surface)), surface.shape)
        return self._refined(cross, np.array([row[down], column[across]]))

    def _refined(self, cross: Spectrum, start: FloatArray) -> tuple[FloatArray, float]:
        """The maximum of the correlation next to a pixel, by Newton's method on its Fourier sum."""
        row, column = self._frequencies
        twice = np.where(column > 0, 2.0, 1.0)
        drift, value = start.astype(np.float64), 0.0
        for _ in range(4):
            down, across = (2j * np.pi * k for k in (row, column))
            u = np.exp(down * drift[0]) * np.stack([down**0, down, down**2])
            v = twice * np.exp(across * drift[1]) * np.stack([across**0, across, across**2])
            m = (u @ cross @ v.T).real
            value = float(m[0, 0])
            hessian = np.array([[m[2, 0], m[1, 1]], [m[1, 1], m[0, 2]]])
            if np.linalg.eigvalsh(hessian).max() >= 0:  # no maximum: noise
                break
            # the correlation has no detail finer than two pixels, so its maximum is within one of the highest pixel
            drift = np.clip(drift - np.linalg.solve(hessian, [m[1, 0], m[0, 1]]), start - 1, start + 1)
        return drift, value


def common_box(shape: tuple[int, int], drifts: FloatArray) -> Box:
    """The part of the reference that all images with these drifts, shape (n, 2), show; may be empty."""
    low, high = np.ceil(-drifts.min(axis=0)), np.floor(np.array(shape) - drifts.max(axis=0))
    (top, left), (bottom, right) = (np.maximum(low, 0).astype(int), np.minimum(high, shape).astype(int))
    return int(top), int(bottom), int(left), int(right)


def moved_part(data: FloatImage, drift: FloatArray, box: Box) -> FloatImage:
    """What an image with this drift shows of a part of the reference: data(x + drift) for x in the box.

    Whole pixels by moving the box, the rest by the Fourier transform, which keeps white noise white. The part is
    continued by what lies around it, mirrored at the image's borders, and fades out there: without a step where the
    transform repeats there is no ringing.
    """
    whole = np.rint(drift).astype(int)
    top, bottom, left, right = np.array(box) + np.repeat(whole, 2)
    mean = np.float32(data.mean(dtype=np.float64))
    around = _with_edge(data, (top, bottom), (left, right)) - mean
    rows, columns = around.shape
    around *= np.outer(_faded(rows, EDGE), _faded(columns, EDGE)).astype(np.float32)
    size = tuple(int(fft.next_fast_len(n, real=True)) for n in around.shape)
    down, across = drift - whole
    turn = np.outer(
        np.exp(2j * np.pi * down * np.fft.fftfreq(size[0])), np.exp(2j * np.pi * across * np.fft.rfftfreq(size[1]))
    )
    shifted = fft.irfft2(fft.rfft2(around, s=size) * turn.astype(np.complex64), s=size)
    return np.asarray(shifted[EDGE : rows - EDGE, EDGE : columns - EDGE] + mean, dtype=np.float32)


def _with_edge(data: FloatImage, rows: tuple[int, int], columns: tuple[int, int]) -> FloatImage:
    """A part of an image with `EDGE` pixels more on each side, mirrored where they are not in the image."""
    inside, missing = [], []
    for (first, last), size in zip((rows, columns), data.shape, strict=True):
        first, last = first - EDGE, last + EDGE
        inside.append(slice(max(first, 0), min(last, size)))
        missing.append((max(-first, 0), max(last - size, 0)))
    return np.pad(data[inside[0], inside[1]], missing, mode="symmetric")


def _faded(size: int, edge: int) -> FloatArray:
    """1, and towards both ends down to 0 within some pixels, as squared sines."""
    near = np.minimum(np.arange(size), np.arange(size)[::-1]) + 0.5
    return np.asarray(np.sin(np.pi / 2 * np.minimum(near / edge, 1)) ** 2)
