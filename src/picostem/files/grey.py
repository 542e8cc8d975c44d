"""Values of any type to float32 grey values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LUMINANCE = (0.2126, 0.7152, 0.0722)
"""Weights of red, green, blue: ITU-R BT.709-6 (2015), item 3.2."""

SAME_CHANNEL = 0.01
"""Share of the range by which the channels of a grey image may differ: colour management rounds to the next of 256."""

COLOUR_NOTE = "a colour image was converted to its luminance: false colours or drawn labels would mislead"


def is_colour(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Whether an array without further description holds colours: three or four bytes per pixel."""
    return len(shape) == 3 and shape[2] in (3, 4) and dtype == np.uint8


def to_grey(array: NDArray[Any]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Grey values as float32, and a note if colours had to be mixed.

    array: shape (rows, columns), or (rows, columns, channels) with 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA)
        channels; alpha is ignored.
    """
    if array.ndim == 2:
        return to_float32(array), ()
    red, *others = (array[..., channel] for channel in range(min(array.shape[2], 3)))
    if len(others) < 2 or all(np.array_equal(red, other) for other in others):
        return to_float32(red), ()
    grey = np.zeros(red.shape, np.float32)
    for weight, channel in zip(LUMINANCE, (red, *others), strict=True):
        grey += np.float32(weight) * channel
    full = np.iinfo(array.dtype).max if array.dtype.kind in "iu" else array.max()
    spread = max(float((np.maximum(red, other) - np.minimum(red, other)).max()) for other in others)
    return grey, (COLOUR_NOTE,) if spread > SAME_CHANNEL * full else ()


def to_float32(array: NDArray[Any]) -> NDArray[np.float32]:
    """A contiguous float32 copy; what is too large for float32 becomes infinite, which check_image finds."""
    with np.errstate(over="ignore"):
        return np.array(array, dtype=np.float32, order="C", copy=True)
