"""Images from what is already in memory: NumPy arrays and HyperSpy signals."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from picostem.errors import ImageError
from picostem.files.dataset import describe
from picostem.files.grey import is_colour, to_grey
from picostem.files.load import image_of
from picostem.files.rosetta import dataset_of
from picostem.image import Acquisition, Image, check_size


def from_array(
    array: ArrayLike,
    pixel_size: float | tuple[float, float] | None = None,
    *,
    name: str = "array",
    acquisition: Acquisition | None = None,
) -> Image:
    """An image from values in memory, which are copied.

    array: shape (rows, columns), or (rows, columns, 3 or 4) for colours.
    pixel_size: Å, one number or (row, column); None if unknown.

    Raises:
        ImageError: not numbers, complex, not two-dimensional, too large, or the pixel size is not positive.
    """
    values = np.asarray(array)
    if values.dtype.kind not in "biuf":
        raise ImageError(f"{name}: pixels must be real numbers, got {values.dtype}: take the modulus, or one channel")
    if values.ndim != 2 and not is_colour(values.shape, values.dtype):
        raise ImageError(f"{name}: an image has two dimensions, got shape {values.shape}: pass one frame of it")
    check_size(values.shape[:2], name)
    grey, notes = to_grey(values)
    image = Image(grey, name=name, acquisition=acquisition or Acquisition(), notes=notes)
    return image if pixel_size is None else image.with_pixel_size(pixel_size, "user")


class _HyperSpyAxis(Protocol):
    def get_axis_dictionary(self) -> dict[str, Any]: ...


class _AxesManager(Protocol):
    navigation_axes: tuple[_HyperSpyAxis, ...]
    signal_axes: tuple[_HyperSpyAxis, ...]


class _Tree(Protocol):
    def as_dictionary(self) -> dict[str, Any]: ...


class HyperSpySignal(Protocol):
    """What we use of a hyperspy.api.signals.BaseSignal; HyperSpy itself is not needed."""

    data: Any
    axes_manager: _AxesManager
    metadata: _Tree
    original_metadata: _Tree


def from_hyperspy(signal: HyperSpySignal) -> Image:
    """An image from a two-dimensional HyperSpy signal, lazy or not, with its calibration and microscope.

    Raises:
        ImageError: the signal is no real-space image, or is a series (pass one frame: `signal.inav[0]`).
    """
    axes = (*reversed(signal.axes_manager.navigation_axes), *reversed(signal.axes_manager.signal_axes))
    dataset = dataset_of(
        {
            "data": signal.data,
            "axes": [axis.get_axis_dictionary() for axis in axes],
            "metadata": signal.metadata.as_dictionary(),
            "original_metadata": signal.original_metadata.as_dictionary(),
        }
    )
    if dataset.kind != "image":
        advice = "pass one frame, signal.inav[0]" if dataset.kind == "image series" else dataset.advice
        raise ImageError(f"not a real-space image ({describe(dataset)}): {advice}")
    return image_of(dataset, name=dataset.name)
