"""Images as the style networks see them: square pixels of a known size, grey values from 0 to 1."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from picostem.errors import ImageError, UsageError
from picostem.image import MIN_SIDE, Image, check_size

FloatImage = NDArray[np.float32]

LOBES = 3
"""Zero crossings on each side of the resampling kernel. Up to half of the coarser grid's Nyquist frequency, where all
of an image at 0.12 Å per pixel lies, it then passes amplitudes to 1 %."""

BRIGHT = 5.0
"""Greys over their mean that are 1 in `by_mean`: about the highest in stacks of two layers."""


@dataclass(frozen=True, eq=False)
class Picture:
    """One normalised image. Compared by identity.

    Attributes:
        data: shape (rows, columns), float32, 0 to 1; row 0 at the top, as in `Image`.
        pixel_size: of its square pixels, Å.
        black, white: grey values of the source that became 0 and 1.
        name: of the source.
    """

    data: FloatImage
    pixel_size: float
    black: float
    white: float
    name: str

    @property
    def extent(self) -> float:
        """Length of the shorter side, Å."""
        return float(min(self.data.shape)) * self.pixel_size


def prepare(image: Image, pixel_size: float | None = None, *, source_pixel_size: float | None = None) -> Picture:
    """Normalise the whole image by its minimum and maximum, and bring it to square pixels of a size.

    The centre stays where it is. What lies beyond the new grid's Nyquist frequency is filtered away when shrinking.
    Normalisation as in TED-Gen (Methods, Trident training), before the resampling.

    Args:
        image: shape (rows, columns).
        pixel_size: of the picture, Å; None keeps that of the image, of oblong pixels the shorter side.
        source_pixel_size: of the image, Å, if the image's own is wrong or missing.

    Raises:
        ImageError: no calibration, NaN or infinite pixels, constant, or too small before or after the resampling.
        UsageError: a pixel size that is not positive.
    """
    for size in (pixel_size, source_pixel_size):
        if size is not None and not (math.isfinite(size) and size > 0):
            raise UsageError(f"a pixel size must be positive and finite, got {size} Å")
    source = (source_pixel_size, source_pixel_size) if source_pixel_size is not None else image.pixel_size
    if source is None:
        raise ImageError(f"{image.name}: its pixel size is not known: give --pixel-size, in Å")
    black, white = _range(image)
    target = min(source) if pixel_size is None else pixel_size
    data = np.subtract(image.data, black, dtype=np.float32)
    data /= np.float32(white - black)
    if source != (target, target):
        data = np.clip(_resampled(data, (source[0] / target, source[1] / target), image.name), 0, 1)
    return Picture(data, target, black, white, image.name)


def by_mean(picture: Picture) -> Picture:
    """The picture with 0 where nothing scatters and 1 at BRIGHT times its mean, instead of its lowest and highest grey.

    A material scatters as many electrons however its layers are stacked. Its highest grey, where atoms overlap, differs
    from stacking to stacking, and with it what other atoms become when the range is normalised.

    Args:
        picture: of an image whose greys count from nothing, as simulations without noise are.

    Raises:
        ImageError: the greys' mean is not positive.
    """
    greys = picture.black + (picture.white - picture.black) * picture.data
    mean = float(greys.mean(dtype=np.float64))
    if not mean > 0:
        raise ImageError(f"{picture.name}: its mean is {mean:.3g}; greys must count electrons, from 0 where none come")
    white = BRIGHT * mean
    return Picture(greys / np.float32(white), picture.pixel_size, 0.0, white, picture.name)


def _range(image: Image) -> tuple[float, float]:
    """The lowest and the highest grey value, of an image that can be normalised."""
    name, data = image.name, image.data
    check_size(data.shape, name)
    if not np.isfinite(data).all():
        raise ImageError(f"{name}: some pixels are NaN or infinite: crop them away")
    low, high = float(data.min()), float(data.max())
    if low == high:
        raise ImageError(f"{name}: all pixels are {low:g}: is it the right data set of the file?")
    if min(data.shape) < MIN_SIDE:
        raise ImageError(f"{name}: {data.shape} pixels; at least {MIN_SIDE} on a side are needed")
    return low, high


def _resampled(data: FloatImage, enlarge: tuple[float, float], name: str) -> FloatImage:
    """The array on a grid with `enlarge` times as many rows and columns, same centre, whole inside the old field."""
    for axis, factor in enumerate(enlarge):
        if factor == 1:
            continue
        count = math.floor(data.shape[axis] * factor + 1e-9)
        if count < MIN_SIDE:
            raise ImageError(f"{name}: {count} pixels would be left on a side: choose a smaller pixel size")
        check_size((count,), name)
        data = np.moveaxis(_weights(data.shape[axis], count, factor) @ np.moveaxis(data, axis, 0), 0, axis)
    return data


def _weights(old: int, new: int, factor: float) -> FloatImage:
    """Lanczos kernel from each new sample to the old ones, mirrored at the borders, rows of sum 1; (new, old)."""
    centre = (np.arange(new) - (new - 1) / 2) / factor + (old - 1) / 2
    width = max(1.0, 1 / factor)
    reach = math.ceil(LOBES * width)
    index = np.floor(centre).astype(int)[:, None] + np.arange(-reach, reach + 2)
    u = (index - centre[:, None]) / width
    kernel = np.where(np.abs(u) < LOBES, np.sinc(u) * np.sinc(u / LOBES), 0.0)
    inside = index % (2 * old)  # the period of an array and its mirror image
    weights = np.zeros((new, old))
    np.add.at(weights, (np.arange(new)[:, None], np.minimum(inside, 2 * old - 1 - inside)), kernel)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)
