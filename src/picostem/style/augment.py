"""Random rotation, crop, resize and flip of a picture, as one resampling that keeps track of the scale (Trident II)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from picostem.errors import DataError, UsageError
from picostem.physics import DEGREE
from picostem.style.picture import FloatImage, Picture

FloatArray = NDArray[np.float64]

MEAN_CROP = 537.0
"""Mean of the published crops: with `of` at this value patches keep, on average, the picture's scale."""
_TRIES = 100
# Standard deviation of the low-pass filter in pixels, for pixels k times larger: SMOOTHING sqrt(k² - 1). It takes 7 %
# of the amplitude at half the old Nyquist frequency for k = 1.14, and 60 % of it at the new one for k = 2.
_SMOOTHING = 0.43
# Pixels around a crop that its spline coefficients need: they fall by 0.27 each, to 1e-7.
_SPLINE_REACH = 12


@dataclass(frozen=True)
class AugmentSettings:
    """How patches are cut.

    Attributes:
        patch: side of the patches, pixels.
        rotation_deg: largest rotation to either side, degrees.
        crop: shortest and longest side of the squares that are cut and resized to a patch, in units of patch/of
            pixels of the picture. As published: patch 1024 of 1024, so that crops are in pixels of the picture and are
            enlarged; with of = MEAN_CROP, patches keep the scale to -14 and +14 %.
        of: see crop.
        flips: whether to mirror, each axis with probability 1/2.

    Raises:
        UsageError: for sides that are not positive or not in order, or an angle below 0 or above 180.
    """

    patch: int
    rotation_deg: float = 45.0
    crop: tuple[float, float] = (462.0, 612.0)
    of: float = MEAN_CROP
    flips: bool = True

    def __post_init__(self) -> None:
        if self.patch < 2 or not (math.isfinite(self.of) and self.of > 0):
            raise UsageError(f"a patch has at least 2 pixels, `of` is above 0; got {self.patch} and {self.of}")
        low, high = self.crop
        if not (0 < low <= high and math.isfinite(high)):
            raise UsageError(f"crops go from a shortest to a longest side above 0, got {self.crop}")
        if not 0 <= self.rotation_deg <= 180:
            raise UsageError(f"the largest rotation is from 0 to 180 degrees, got {self.rotation_deg}")

    @property
    def sides(self) -> tuple[float, float]:
        """Shortest and longest side of a crop, pixels of the picture."""
        return self.crop[0] / self.of * self.patch, self.crop[1] / self.of * self.patch


def augment(picture: Picture, settings: AugmentSettings, rng: np.random.Generator) -> Picture:
    """One random patch; its pixel size is side of the crop / patch times that of the picture.

    With column vectors of pixel coordinates (row, column) about the centres, source = scale R F patch + centre: R the
    rotation, F the flips; cubic spline, low-pass filtered where it shrinks. Crops lie inside the picture; those that
    would not are drawn again. TED-Gen, Methods, Trident training.

    Returns:
        data of shape (patch, patch), 0 to 1; black, white and name are the picture's.

    Raises:
        DataError: the picture is smaller than the crops.
    """
    angle, side = _drawn(picture, settings, rng)
    scale = side / settings.patch
    cosine, sine = math.cos(angle), math.sin(angle)
    flips = rng.choice([-1.0, 1.0], size=2) if settings.flips else np.ones(2)
    matrix = scale * np.array([[cosine, -sine], [sine, cosine]]) * flips
    margin = _half_width(settings.patch, scale, angle)
    centre = np.array([rng.uniform(margin, n - 1 - margin) for n in picture.data.shape])
    data = _affine(picture.data, matrix, centre, settings.patch, margin)
    return Picture(data, picture.pixel_size * scale, picture.black, picture.white, picture.name)


def _drawn(picture: Picture, settings: AugmentSettings, rng: np.random.Generator) -> tuple[float, float]:
    """Rotation (rad) and side (pixels) of a crop that fits into the picture."""
    limit, room = settings.rotation_deg * DEGREE, (min(picture.data.shape) - 1) / 2
    for _ in range(_TRIES):
        angle, side = rng.uniform(-limit, limit), rng.uniform(*settings.sides)
        if _half_width(settings.patch, side / settings.patch, angle) <= room:
            return angle, side
    low, high = settings.sides
    raise DataError(
        f"{picture.name}: crops of {low:.0f} to {high:.0f} pixels, rotated, do not fit into "
        f"{' × '.join(map(str, picture.data.shape))} pixels of {picture.pixel_size:.4g} Å: "
        "take smaller patches, a smaller pixel size or a larger image"
    )


def _half_width(patch: int, scale: float, angle: float) -> float:
    """Furthest that a patch's pixels lie from its centre along an axis of the picture, pixels of the picture."""
    return (patch - 1) / 2 * scale * (abs(math.cos(angle)) + abs(math.sin(angle)))


def _affine(data: FloatImage, matrix: FloatArray, centre: FloatArray, patch: int, margin: float) -> FloatImage:
    """The patch with source = matrix (patch - its centre) + centre; only the pixels around it are touched."""
    low = np.maximum(np.floor(centre - margin).astype(int) - _SPLINE_REACH, 0)
    high = np.ceil(centre + margin).astype(int) + 1 + _SPLINE_REACH
    part = data[low[0] : high[0], low[1] : high[1]]
    scale = math.sqrt(abs(float(np.linalg.det(matrix))))
    if scale > 1:
        part = ndimage.gaussian_filter(part, _SMOOTHING * math.sqrt(scale**2 - 1), mode="mirror")
    offset = centre - low - matrix @ np.full(2, (patch - 1) / 2)
    result = ndimage.affine_transform(part, matrix, offset, (patch, patch), order=3, mode="mirror")
    return np.asarray(np.clip(result, data.min(), data.max()), dtype=np.float32)
