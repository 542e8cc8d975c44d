"""What a network that finds atoms reads: an image at one pixel size, its grey levels standardised.

Resampling is linear; of finer pixels several make one first, so that no electrons are thrown away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from picostem.atoms.scale import lattice_spacing, peak_width
from picostem.image import Image

FloatArray = NDArray[np.float64]
Single = NDArray[np.float32]

PIXEL_A = 0.2
"""Å. Peaks are 1.3 to 4 of these pixels wide (standard deviation), and dumbbells 0.8 Å apart are 4 pixels."""
PLANES_A = 2.6
"""Å between the planes of the strongest reflection of common crystals: how the scale of others is guessed."""
TYPICAL_A = 0.3
"""Å, what `peak_width` says of a common image: how that of one without a lattice is guessed."""


@dataclass(frozen=True, eq=False)
class Reading:
    """An image as a network reads it.

    Attributes:
        data: mean 0 and variance 1, shape (rows, columns). step: pixels of the image on one of these, per axis.
    """

    data: Single
    step: FloatArray

    @classmethod
    def of(cls, image: Image) -> Reading:
        """An image that `check_image` accepts, by its calibration, else by its lattice or by the width of its peaks."""
        if image.pixel_size is not None:
            return cls.resampled(image.data, PIXEL_A / np.asarray(image.pixel_size))
        spacing = lattice_spacing(image.data)
        if spacing is not None:
            return cls.resampled(image.data, np.full(2, spacing * PIXEL_A / PLANES_A))
        return cls.resampled(image.data, np.asarray(peak_width(image.data, None)) * PIXEL_A / TYPICAL_A)

    @classmethod
    def resampled(cls, data: NDArray[np.floating], step: FloatArray) -> Reading:
        """An image with another step between its pixels."""
        bins = np.maximum(step, 1).astype(int)
        rows, columns = (n // b for n, b in zip(data.shape, bins, strict=True))
        kept = data[: rows * bins[0], : columns * bins[1]].astype(np.float32)
        binned = kept.reshape(rows, bins[0], columns, bins[1]).mean(axis=(1, 3))
        small = step / bins
        shape = tuple(max(1, int(n / s)) for n, s in zip(binned.shape, small, strict=True))
        blurred = ndimage.gaussian_filter(binned, np.sqrt(np.maximum(small**2 - 1, 0)) / 2, truncate=2)
        out = ndimage.affine_transform(blurred, small, (small - 1) / 2, shape, order=1, mode="nearest")
        return cls((out - out.mean()) / max(float(out.std()), 1e-30), step)

    def place_from_image(self, place: FloatArray) -> FloatArray:
        """Row and column in these pixels, shape (n, 2)."""
        return np.asarray((place + 0.5) / self.step - 0.5)

    def image_from_place(self, place: FloatArray) -> FloatArray:
        """Row and column in the image's pixels, shape (n, 2)."""
        return np.asarray((place + 0.5) * self.step - 0.5)
