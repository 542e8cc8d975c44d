"""Windows of an image as patches: turned and at the pixel size that a network knows, a few of them at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from picostem.errors import ImageError, UsageError
from picostem.image import Image
from picostem.structure.stack import image_from_crystal, rotation_matrix
from picostem.style.picture import LOBES
from picostem.style.regrid import covering, regridded

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Single = NDArray[np.float32]

SAME = 1e-3
"""Relative; pixel sizes that files round differently are one."""

MOST = 4_000_000
"""Windows of a grid."""


@dataclass(frozen=True, eq=False)
class Windows:
    """An image that patches can be taken from.

    Attributes:
        spline: coefficients of the cubic spline through its pixels. pixel_A: Å per pixel.
        axes: patch frame to image frame, shape (2, 2).
        side: of the patches, pixels. step_A: their pixel size.
    """

    spline: Single
    pixel_A: float
    axes: FloatArray
    side: int
    step_A: float

    @classmethod
    def of(cls, image: Image, side: int, step_A: float, orientation: float, rotation: float, mirrored: bool) -> Windows:
        """Patches in which the crystal lies at `orientation`, of an image in which it lies at `rotation`, rad.

        Of an image with smaller pixels than those of the patches, what these cannot show is filtered away first; no
        patch is stretched.

        Raises:
            ImageError: no pixel size, oblong pixels, pixels that are not finite, or an image smaller than a patch.
        """
        if image.pixel_size is None:
            raise ImageError(f"{image.name}: its pixel size is not known: give it, in Å")
        rows, columns = image.pixel_size
        if abs(rows / columns - 1) > SAME:
            raise ImageError(f"{image.name}: its pixels are {rows:g} × {columns:g} Å: make them square first")
        data, pixel = np.asarray(image.data, dtype=np.float32), float(rows)
        if not np.isfinite(data).all():
            raise ImageError(f"{image.name}: some pixels are NaN or infinite: crop them away")
        if pixel < step_A * (1 - SAME):
            data, pixel = _band_limited(data, pixel, step_A), step_A / 2
        axes = image_from_crystal(rotation, mirrored) @ rotation_matrix(-orientation)
        found = cls(ndimage.spline_filter(data, order=3, output=np.float32), pixel, axes, side, step_A)
        if (found.reach() < 0).any():
            raise ImageError(
                f"{image.name}: {data.shape[1] * pixel:.0f} × {data.shape[0] * pixel:.0f} Å hold no turned patch of "
                f"{side * step_A:.0f} Å: take a larger image, or a network for smaller patches"
            )
        return found

    def turned(self, angle: float, scale: float) -> Windows:
        """Patches in which the crystal is turned further by `angle`, rad, counter-clockwise, and larger by `scale`."""
        return replace(self, axes=self.axes @ rotation_matrix(-angle), step_A=self.step_A / scale)

    def reach(self) -> FloatArray:
        """How far centres of whole patches may be from the image's, x and y, Å."""
        half = np.array(self.spline.shape[::-1]) * self.pixel_A / 2
        return np.asarray(half - np.abs(self.axes).sum(axis=1) * self.side * self.step_A / 2)

    def grid(self, stride: float) -> FloatArray:
        """Centres of whole patches, Å, image frame, about `stride` apart, row by row from the top, (rows, columns, 2).

        Raises:
            UsageError: a stride that is not positive, or too many patches.
        """
        reach = self.reach()
        if not stride > 0:
            raise UsageError(f"the stride is {stride:g} Å; expected more than 0")
        counts = np.floor(2 * reach / stride + 1e-9) + 1
        if counts.prod() > MOST:
            raise UsageError(f"{counts.prod():.0f} windows are more than {MOST}: take a larger stride")
        x, y = ((np.arange(n) - (n - 1) / 2) * stride for n in counts)
        return np.stack(np.broadcast_arrays(x[None], -y[:, None]), axis=-1)

    def taken(self, centres: FloatArray) -> Single:
        """Patches around centres, Å, image frame, (k, 2); shape (k, side, side)."""
        offset = (np.arange(self.side) - (self.side - 1) / 2) * self.step_A
        inside = np.stack(np.broadcast_arrays(offset[None], -offset[:, None]), axis=-1) @ self.axes.T
        places = (centres[:, None, None] + inside) / self.pixel_A
        rows, columns = self.spline.shape
        where = np.stack([(rows - 1) / 2 - places[..., 1], (columns - 1) / 2 + places[..., 0]])
        return np.asarray(
            ndimage.map_coordinates(self.spline, where, order=3, prefilter=False, mode="mirror"), dtype=np.float32
        )


def _band_limited(data: Single, pixel_A: float, step_A: float) -> Single:
    """The image at half the patches' pixel size, without the frequencies that these cannot show.

    Twice as many pixels as needed let cubic splines between them err by little. The filter is that of `regridded`.
    """
    enlarge = 2 * pixel_A / step_A
    if abs(enlarge - 1) > SAME:
        data = regridded(data, enlarge, covering(data.shape, enlarge))
    tap = np.arange(-2 * LOBES, 2 * LOBES + 1) / 2
    kernel = np.sinc(tap) * np.sinc(tap / LOBES)
    for axis in (0, 1):
        data = ndimage.convolve1d(data, kernel / kernel.sum(), axis=axis, mode="reflect")
    return data


def beside_change(changes: BoolArray, coarse: FloatArray, fine: FloatArray, stride: float) -> BoolArray:
    """Which fine centres, (m, 2), are within a coarse stride, along both axes, of a coarse one where the label changes.

    Args:
        changes: shape (rows, columns). coarse: centres, Å, shape (rows, columns, 2).
    """
    near = np.zeros(len(fine), dtype=np.bool_)
    for place in coarse[changes]:
        near |= np.all(np.abs(fine - place) <= stride * (1 + 1e-9), axis=1)
    return near
