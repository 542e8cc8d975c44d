"""Fourier series on the pixels of an image, and Fourier coefficients of points."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
FloatImage = NDArray[np.float32]
ComplexArray = NDArray[np.complex128]


def pixel_axes(shape: tuple[int, int], pixel_size: float) -> tuple[FloatArray, FloatArray]:
    """Coordinates x of the columns and y of the rows in Å, image frame: y = -(row - (rows - 1)/2) pixel_size."""
    rows, columns = shape
    column, row = np.arange(columns, dtype=np.float64), np.arange(rows, dtype=np.float64)
    return (column - (columns - 1) / 2) * pixel_size, ((rows - 1) / 2 - row) * pixel_size


def synthesise(g: FloatArray, coefficients: ComplexArray, shape: tuple[int, int], pixel_size: float) -> FloatImage:
    """Real part of sum_n c_n exp(2 pi i g_n.r) at every pixel, as one product of two real matrices.

    Args:
        g: spatial frequencies in the image frame, 1/Å, shape (n, 2).
        coefficients: c_n, shape (n,).
        shape: (rows, columns).
        pixel_size: Å.

    Returns:
        shape (rows, columns), float32; rounding errs by less than 1e-6 of the sum of all abs(c_n).
    """
    x, y = pixel_axes(shape, pixel_size)
    across = _exponentials(g[:, 0], x) * coefficients[:, None].astype(np.complex64)
    down = _exponentials(g[:, 1], y)
    left = np.concatenate([down.real, down.imag])
    right = np.concatenate([across.real, -across.imag])
    return np.asarray(left.T @ right)


def _exponentials(g: FloatArray, coordinates: FloatArray) -> NDArray[np.complex64]:
    """exp(2 pi i g x) for evenly spaced x, shape (len(g), len(x)): the product of a coarse and a fine table."""
    count = len(coordinates)
    fine = math.isqrt(count) + 1
    step = coordinates[1] - coordinates[0] if count > 1 else 0.0
    coarse = np.exp(2j * np.pi * np.outer(g, coordinates[::fine])).astype(np.complex64)
    offset = np.exp(2j * np.pi * np.outer(g, np.arange(fine) * step)).astype(np.complex64)
    table = (coarse[:, :, None] * offset[:, None, :]).reshape(len(g), coarse.shape[1] * fine)
    return np.asarray(table[:, :count])
