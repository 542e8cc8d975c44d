"""An image with as many pixels as its peaks need."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from picostem.atoms.scale import peak_width, width_at
from picostem.image import Image

FloatArray = NDArray[np.float64]

ENOUGH = 2.0  # pixels, standard deviation of a peak that is sampled well: finer images are binned


@dataclass(frozen=True, eq=False)
class Sampled:
    """Sums over squares of an image's pixels.

    Attributes:
        data: grey levels, summed. factor: pixels on a side of a square. sigma: standard deviations of a peak along rows
            and columns, in these larger pixels, roughly.
    """

    data: FloatArray
    factor: int
    sigma: tuple[float, float]

    @classmethod
    def of(cls, image: Image, place: FloatArray | None = None) -> Sampled:
        """The image, its peaks ENOUGH pixels wide or wider if they were so; how wide, is told by those at `place`."""
        known = None if place is None else width_at(image.data, place)
        return cls.wide(image, peak_width(image.data, image.pixel_size) if known is None else (known, known))

    @classmethod
    def wide(cls, image: Image, width: tuple[float, float]) -> Sampled:
        """The same with peaks of these standard deviations along rows and columns, pixels."""
        factor = max(1, int(min(width) / ENOUGH))
        rows, columns = (n // factor * factor for n in image.data.shape)
        data = image.data[:rows, :columns].astype(np.float64)
        data = data.reshape(rows // factor, factor, columns // factor, factor).sum(axis=(1, 3))
        return cls(data, factor, (width[0] / factor, width[1] / factor))

    def place_from_image(self, place: FloatArray) -> FloatArray:
        """Row and column in these pixels."""
        return np.asarray((place - (self.factor - 1) / 2) / self.factor)

    def image_from_place(self, place: FloatArray) -> FloatArray:
        """Row and column in the image's pixels."""
        return np.asarray(place * self.factor + (self.factor - 1) / 2)

    def width_in_image(self, width: FloatArray) -> FloatArray:
        """Standard deviation of a peak before it was blurred by the squares, the image's pixels."""
        return np.asarray(np.sqrt(np.maximum((self.factor * width) ** 2 - (self.factor**2 - 1) / 12, 0)))
