"""An image as a perfect scan would have recorded it: its linear distortion read off the lattice, and undone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from picostem.errors import ImageError
from picostem.image import Image
from picostem.resolve.result import ResolvedLayer, Result
from picostem.resolve.square import squared
from picostem.structure import image_from_crystal

FloatArray = NDArray[np.float64]

SPLINE = 5
"""Order: the error is below 0.2 % of the contrast where pixels are at most 0.6 of the Nyquist distance."""


def undistorted(result: Result) -> Image:
    """The resolved image, resampled so that layer 1's lattice is that of its material.

    A point r of the specimen lies in the image at p = A r, where A takes the material's lattice vectors, turned by the
    layer's rotation, to those measured: pixel size, scan shear and steady drift. The image returned has square pixels
    of the mean size that the lattice gives, the same centre, and the largest part of the field, with its aspect, that
    needs no points beyond the image. Distortion that changes within the image stays, and noise becomes slightly smooth.

    Raises:
        ImageError: the result has no layers.
    """
    if not result.layers or result.pixel_size_lattice is None:
        raise ImageError(
            f"{result.image.name}: no layer was found in it, so there is no lattice to undistort it by: "
            f"{result.reason or result.verdict}"
        )
    image, shape = result.image, np.array(result.image.data.shape)
    # the fit saw square pixels; the field is the same
    zoom = shape / np.array(squared(image).data.shape)
    distortion = np.diag(zoom[::-1]) @ _deformation(result.layers[0]) / result.pixel_size_lattice
    step = float(1 / np.sqrt(abs(np.linalg.det(distortion))))
    (xx, xy), (yx, yy) = (distortion * step).tolist()
    old_from_new = np.array([[yy, -yx], [-xy, xx]])  # rows count downwards
    size = _inside(old_from_new, shape)
    offset = (shape - 1) / 2 - old_from_new @ ((size - 1) / 2)
    data = ndimage.affine_transform(
        image.data, old_from_new, offset, tuple(size), output=np.float32, order=SPLINE, mode="nearest"
    )
    note = f"resampled so that the lattice is that of {result.layers[0].monolayer.name}"
    named = replace(image, data=data, name=f"{image.name} undistorted", notes=(*image.notes, note))
    return named.with_pixel_size(step, "lattice")


def _deformation(layer: ResolvedLayer) -> FloatArray:
    """A of p = A r, both in Å, image frame, shape (2, 2)."""
    true = layer.monolayer.cell @ image_from_crystal(layer.rotation, layer.mirrored).T
    return np.asarray((np.linalg.inv(true) @ layer.rows).T, dtype=np.float64)


def _inside(old_from_new: FloatArray, shape: NDArray[np.int64]) -> NDArray[np.int64]:
    """Shape of the largest field of the image's aspect whose corners lie within the image."""
    half = (shape - 1) / 2
    share = float(np.min(half / (np.abs(old_from_new) @ half)))
    return np.asarray(np.floor(2 * share * half + 1e-9) + 1, dtype=np.int64)  # 1e-9: rounding of what should be whole
