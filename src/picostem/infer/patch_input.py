"""Patches as networks read them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from picostem.errors import DataError, UsageError

Single = NDArray[np.float32]
Read = Callable[[ArrayLike], Single]
"""What a network reads of patches (k, side, side): `standardised` ones, or a `picostem.infer.patch_polar.Polar`."""


def standardised(patches: ArrayLike) -> Single:
    """Patches (k, side, side) with mean 0 and variance 1 each; constant ones are 0. Shape (k, 1, side, side).

    Published is the range from 0 to 1, which one hot pixel rules.

    Raises:
        UsageError: of another shape.
        DataError: pixels that are not finite.
    """
    values = finite_patches(patches)
    centred = values - values.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    spread = centred.std(axis=(1, 2), keepdims=True)
    level = np.abs(values).max(axis=(1, 2), keepdims=True)
    gain = np.where(spread > 1e-6 * level, 1 / np.maximum(spread, 1e-300), 0.0)  # 1e-6: rounding of single precision
    return np.asarray((centred * gain)[:, None], dtype=np.float32)


def finite_patches(patches: ArrayLike) -> Single:
    """Patches as single precision, shape (k, side, side); raises as `standardised` does."""
    values = np.asarray(patches, dtype=np.float32)
    if values.ndim != 3 or values.shape[1] != values.shape[2] or not values.shape[1]:
        raise UsageError(f"expected patches of shape (k, side, side), got {values.shape}")
    if not np.isfinite(values).all():
        raise DataError("some pixels of the patches are NaN or infinite: crop them away")
    return values
