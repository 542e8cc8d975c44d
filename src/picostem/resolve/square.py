"""Images with oblong pixels: resampled to square ones for the fit, and the result given back on the original's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from picostem.image import Image
from picostem.resolve.result import Result

TOLERANCE = 0.002  # relative difference of the pixel sizes below which an image counts as square: scan calibration

COARSEST = 0.25  # Å; larger pixels would cut into the band that probes pass


def squared(image: Image) -> Image:
    """The image with square pixels, the larger ones if they resolve the lattice; itself if they are square already."""
    if image.pixel_size is None or image.pixel_size_source is None:
        return image
    rows, cols = image.pixel_size
    if max(rows, cols) <= min(rows, cols) * (1 + TOLERANCE):
        return image
    side = max(rows, cols) if max(rows, cols) <= COARSEST else min(rows, cols)
    data = _zoomed(image.data, (round(image.data.shape[0] * rows / side), round(image.data.shape[1] * cols / side)))
    return replace(image, data=data, pixel_size=(side, side))


def unsquared(result: Result, original: Image) -> Result:
    """A result for `squared(original)` with its rows, columns and simulated image on the original's pixels."""
    shape = result.image.data.shape
    if result.image.data is original.data:
        return result
    down, across = (old / new for old, new in zip(original.data.shape, shape, strict=True))
    result = replace(result, image=replace(original, notes=result.image.notes))
    maps = [replace(m, row=(m.row + 0.5) * down - 0.5, col=(m.col + 0.5) * across - 0.5) for m in result.maps]
    result = replace(result, maps=tuple(maps))
    if result.simulated is not None:
        result = replace(result, simulated=_zoomed(result.simulated, original.data.shape))
    return result


def _zoomed(data: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Cubic resampling that keeps the field's edges where they are."""
    factors = [new / old for new, old in zip(shape, data.shape, strict=True)]
    zoomed = ndimage.zoom(data, factors, order=3, mode="nearest", grid_mode=True)
    return np.asarray(zoomed, dtype=np.float32)
