"""Images of peaks with known places, drawn from a plain formula."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from picostem.image import Image

FloatArray = NDArray[np.float64]


def expected(
    place: FloatArray, intensity: FloatArray, form: FloatArray, shape: tuple[int, int], background: float
) -> FloatArray:
    """Mean counts: each Gaussian on all pixels, one after the other."""
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    total = np.full(shape, background)
    inverse = np.linalg.inv(form)
    for (r, c), q in zip(place, intensity, strict=True):
        x, y = rows - r, cols - c
        power = inverse[0, 0] * x**2 + 2 * inverse[0, 1] * x * y + inverse[1, 1] * y**2
        total += q / (2 * np.pi * np.sqrt(np.linalg.det(form))) * np.exp(-0.5 * power)
    return total


def grid(rows: int, cols: int, pitch: float, rng: np.random.Generator) -> tuple[FloatArray, tuple[int, int]]:
    """Places about `pitch` apart, each moved by up to half a pixel, and the shape of the image around them."""
    r, c = np.mgrid[:rows, :cols] * pitch + pitch
    place = np.stack([r.ravel(), c.ravel()], axis=1) + rng.uniform(-0.5, 0.5, (rows * cols, 2))
    return place, (int((rows + 1) * pitch), int((cols + 1) * pitch))


def image(counts: FloatArray, pixel_size: float | None = 0.15) -> Image:
    """Counts as an image."""
    if pixel_size is None:
        return Image(counts.astype(np.float32))
    return Image(counts.astype(np.float32), (pixel_size, pixel_size), "user")
