"""Images brought from one square grid to another with the same centre."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from picostem.style.picture import LOBES

FloatImage = NDArray[np.float32]


def regridded(data: FloatImage, enlarge: float, shape: tuple[int, int]) -> FloatImage:
    """The image on a grid of `enlarge` times as many pixels per Å, mirrored at its borders.

    Sample i of n lies at (i - (n - 1)/2) pixel sizes from the centre, before and after. The kernel is that of
    `picostem.style.picture.prepare`, a Lanczos window, as wide as the coarser of the two grids asks for.

    Args:
        data: shape (rows, columns).
        enlarge: old pixel size over new pixel size.
        shape: of the new grid.

    Returns:
        float32, of that shape.
    """
    rows, columns = (_kernel(old, new, enlarge) for old, new in zip(data.shape, shape, strict=True))
    return np.ascontiguousarray((columns @ (rows @ data).T).T, dtype=np.float32)


def covering(shape: tuple[int, ...], enlarge: float) -> tuple[int, int]:
    """Rows and columns of the smallest new grid that covers the whole old one."""
    rows, columns = (math.ceil(count * enlarge - 1e-6) for count in shape)
    return rows, columns


def _kernel(old: int, new: int, enlarge: float) -> sparse.csr_array:
    """Weights from old samples (columns) to new ones (rows); each row adds up to 1. float32."""
    place = (np.arange(new) - (new - 1) / 2) / enlarge + (old - 1) / 2
    width = max(1.0, 1 / enlarge)
    reach = math.ceil(LOBES * width)
    index = np.floor(place).astype(int)[:, None] + np.arange(1 - reach, reach + 1)
    u = (index - place[:, None]) / width
    weight = np.where(np.abs(u) < LOBES, np.sinc(u) * np.sinc(u / LOBES), 0.0)
    weight /= weight.sum(axis=1, keepdims=True)
    folded = index % (2 * old)  # the period of samples and their mirror image
    source = np.minimum(folded, 2 * old - 1 - folded)
    target = np.broadcast_to(np.arange(new)[:, None], index.shape)
    entries = (weight.ravel().astype(np.float32), (target.ravel(), source.ravel()))
    return sparse.csr_array(entries, shape=(new, old))
