"""The resolved model imaged again: the windows' fitted harmonics, blended over the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from picostem.resolve.windows import WindowFits

FloatArray = NDArray[np.float64]


def synthesise(
    shape: tuple[int, int], reciprocal: FloatArray, hk: NDArray[np.int64], fits: WindowFits, window: int
) -> NDArray[np.float32]:
    """Image of the windows' model harmonics with their mean intensities, Hann-blended, shape (rows, columns).

    Args:
        shape: of the image.
        reciprocal: rows a*, b*, cycles per pixel, image frame.
        hk: reflections, shape (n, 2).
        fits: windows that cover the image.
        window: their side, pixels.
    """
    total = np.zeros(shape, dtype=np.float32)
    weight = np.zeros(shape, dtype=np.float32)
    # 1e-3: every pixel has some weight, also in the corners where only one window reaches.
    taper = np.hanning(window + 2)[1:-1] + 1e-3
    blend = np.outer(taper, taper).astype(np.float32)
    g = hk @ reciprocal
    offset = np.arange(window) - (window - 1) / 2
    wave_x = np.exp(2j * np.pi * np.outer(g[:, 0], offset)).astype(np.complex64)
    wave_y = np.exp(-2j * np.pi * np.outer(offset, g[:, 1])).astype(np.complex64)
    local = fits.predicted * np.exp(2j * np.pi * fits.centres @ g.T)
    for centre, amplitudes, mean in zip(fits.centres, local, fits.mean, strict=True):
        row = round((shape[0] - 1) / 2 - centre[1] - (window - 1) / 2)
        col = round((shape[1] - 1) / 2 + centre[0] - (window - 1) / 2)
        patch = 2 * ((wave_y * amplitudes.astype(np.complex64)) @ wave_x).real + np.float32(mean)
        total[row : row + window, col : col + window] += blend * patch
        weight[row : row + window, col : col + window] += blend
    return np.asarray(np.divide(total, weight, out=total, where=weight > 0))
