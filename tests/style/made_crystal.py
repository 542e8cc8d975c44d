"""Square crystals and noise, for the tests of the measures of likeness."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from picostem.style.picture import Picture

FloatArray = NDArray[np.float64]
PX = 0.12


def picture(data: FloatArray, pixel_size: float = PX, name: str = "made") -> Picture:
    """A picture of these values as they are."""
    return Picture(data.astype(np.float32), pixel_size, 0.0, 1.0, name)


def atoms(side: int = 256, pixel_size: float = PX, height: float = 0.6) -> FloatArray:
    """A square crystal of Gaussian columns, 3.1 Å apart, turned by 20°; from 0.2 to about 0.2 + height."""
    y, x = np.mgrid[:side, :side] * pixel_size
    u, v = x * np.cos(0.35) + y * np.sin(0.35), y * np.cos(0.35) - x * np.sin(0.35)
    wave = [np.exp(8 * (np.cos(2 * np.pi * one / 3.1) - 1)) for one in (u, v)]
    return np.asarray(0.2 + height * wave[0] * wave[1])


def noise(shape: tuple[int, int], seed: int, smooth: float | tuple[float, float] = 0.0) -> FloatArray:
    """Normal noise of unit variance, smoothed over some pixels (rows, columns)."""
    white = np.random.default_rng(seed).standard_normal(shape)
    grains = ndimage.gaussian_filter(white, smooth, mode="wrap")
    return np.asarray(grains / grains.std())
