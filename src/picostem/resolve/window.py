"""Lattice harmonics of image windows: the numbers that hold all an image says about a stacking.

Within a window the image is modelled as a sum of plane waves at the lattice's reciprocal vectors, a constant and a
slow background. Their complex amplitudes c follow by least squares with every pixel weighted alike (no taper), so
that no electron is thrown away; the Gram matrix K of the waves depends only on the window's shape. With g in cycles
per pixel and r from the image centre in pixels (x right, y up), each window yields

    c = K^-1 b,     b_j = sum over pixels of I(r) exp(-2 pi i g_j . r).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Harmonics:
    """Amplitudes of the lattice's plane waves in each window.

    Attributes:
        hk: reflection indices of one half plane, shape (n, 2).
        amplitudes: complex, referred to the image centre, shape (windows, n).
        mean: mean intensity of each window, shape (windows,).
        centres: window centres, image frame, pixels, shape (windows, 2).
        gram_root: K^1/2 of the waves [h, -h] after the constant and the slow background are projected out, real.
        window: side of the windows, pixels.
    """

    hk: IntArray
    amplitudes: ComplexArray
    mean: FloatArray
    centres: FloatArray
    gram_root: FloatArray
    window: int

    def take(self, index: NDArray[np.bool_] | IntArray) -> Harmonics:
        """The chosen windows."""
        return replace(self, amplitudes=self.amplitudes[index], mean=self.mean[index], centres=self.centres[index])


def _dirichlet(frequency: FloatArray, count: int) -> FloatArray:
    """Sum of exp(-2 pi i f x) over `count` pixels centred on x = 0."""
    denominator = np.sin(np.pi * frequency)
    safe = np.abs(denominator) > 1e-12
    return np.where(safe, np.sin(np.pi * frequency * count) / np.where(safe, denominator, 1.0), float(count))


def gram_matrix(frequencies: FloatArray, window: int) -> FloatArray:
    """K_jk = sum over a centred window of exp(-2 pi i (g_j - g_k) . r), real, shape (n, n)."""
    difference = frequencies[:, None] - frequencies[None]
    return np.asarray(_dirichlet(difference[..., 0], window) * _dirichlet(difference[..., 1], window))


def window_starts(length: int, window: int, stride: int) -> IntArray:
    """First pixels of windows along an axis, spread so that both borders are touched; a single one is centred."""
    spare = max(length - window, 0)
    count = int(np.floor(spare / stride + 0.5)) + 1
    if count == 1:
        return np.array([spare // 2], dtype=np.int64)
    return np.rint(np.linspace(0, spare, count)).astype(np.int64)


def extract_harmonics(
    data: NDArray[np.float32], reciprocal: FloatArray, hk: IntArray, window: int, starts: tuple[IntArray, IntArray]
) -> Harmonics:
    """Amplitudes of the harmonics hk in all windows of a grid.

    Args:
        data: image, shape (rows, columns).
        reciprocal: rows a*, b*, cycles per pixel, image frame.
        hk: reflections of one half plane, without (0, 0), shape (n, 2).
        window: side of the windows, pixels.
        starts: first rows and first columns of the windows; all pairs are taken, rows slowest.
    """
    g = np.concatenate([np.zeros((1, 2)), np.array([[0.5, 0.0], [0.0, 0.5]]) / window, hk @ reciprocal])
    slow = 3
    sums = _demodulated_sums(data, g, window, starts)
    rows, cols = data.shape
    x = starts[1] + (window - 1) / 2 - (cols - 1) / 2
    y = (rows - 1) / 2 - (starts[0] + (window - 1) / 2)
    centres = np.stack(np.broadcast_arrays(x[None, :], y[:, None]), axis=-1).reshape(-1, 2)
    both = np.concatenate([g, -g[1:]])
    inverse = np.linalg.inv(gram_matrix(both, window))
    local = np.concatenate([sums, np.conj(sums[:, 1:])], axis=1) @ inverse.T
    n = len(hk)
    to_image = np.exp(-2j * np.pi * centres @ g[slow:].T)
    keep = np.concatenate([np.arange(slow, slow + n), np.arange(slow + n + slow - 1, slow + n + slow - 1 + n)])
    values, vectors = np.linalg.eigh(inverse[np.ix_(keep, keep)])
    root = (vectors / np.sqrt(values)) @ vectors.T
    return Harmonics(hk, local[:, slow : slow + n] * to_image, local[:, 0].real, centres, root, window)


def _demodulated_sums(
    data: NDArray[np.float32], g: FloatArray, window: int, starts: tuple[IntArray, IntArray]
) -> ComplexArray:
    """b_j of every window, referred to the window's centre, shape (windows, n).

    Separable: the columns of each window are contracted first, by running sums along x, then the rows.
    """
    offset = np.arange(window) - (window - 1) / 2
    wave_y = np.exp(2j * np.pi * np.outer(offset, g[:, 1])).astype(np.complex64)
    wave_x = np.exp(-2j * np.pi * np.outer(offset, g[:, 0])).astype(np.complex64)
    parts = np.concatenate([wave_x.real, wave_x.imag], axis=1)
    n = len(g)
    out = np.empty((len(starts[0]), len(starts[1]), n), dtype=np.complex128)
    for i, first in enumerate(starts[1]):
        strip = np.ascontiguousarray(data[:, first : first + window]) @ parts
        across = strip[:, :n] + 1j * strip[:, n:]
        for j, top in enumerate(starts[0]):
            out[j, i] = np.einsum("yn,yn->n", across[top : top + window], wave_y)
    return out.reshape(-1, n)
