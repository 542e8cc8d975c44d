"""png, jpg and bmp: no calibration, possibly colours."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from picostem.files.dataset import Axis, Dataset, Key

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_COLOUR_MODES = {"P", "PA", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"}
"""Pillow's modes that become RGB."""


def read_picture(path: Path, form: str, stack: ExitStack) -> list[Dataset]:
    """The one image of a file; `form` is png, jpg or bmp. Only the header is read before it is loaded.

    The plugins of Pillow are called directly: Image.open refuses what is larger than 179 million pixels, and that
    limit could only be lifted for the whole process. Ours is checked before anything is loaded.
    """
    picture = stack.enter_context(_plugin(form)(path))
    width, height = picture.size
    return [
        Dataset(
            name=path.stem,
            axes=(Axis(height, name="y"), Axis(width, name="x")),
            load=lambda key: _load(picture, key),
            values="grey" if picture.mode in ("1", "L", "F") or picture.mode.startswith("I") else "colour",
        )
    ]


def _plugin(form: str) -> type[ImageFile]:
    if form == "png":
        from PIL.PngImagePlugin import PngImageFile

        return PngImageFile
    if form == "jpg":
        from PIL.JpegImagePlugin import JpegImageFile

        return JpegImageFile
    from PIL.BmpImagePlugin import BmpImageFile

    return BmpImageFile


def _load(picture: ImageFile, key: Key) -> NDArray[Any]:
    converted = picture.convert("RGB") if picture.mode in _COLOUR_MODES else picture
    return np.asarray(converted)[key]
