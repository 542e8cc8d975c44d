"""How much an image looks like another: the published measures, and what those miss.

The two are compared at the coarser of their pixel sizes, over the field that both have, each normalised by its own
minimum and maximum as TED-Gen does. Beside every measure stands its floor, what one half of the reference scores
against the other: less than that is not a difference.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picostem.errors import ImageError, UsageError
from picostem.image import MIN_SIDE, Image
from picostem.style.frechet import Features, frechet_distance, patch_features
from picostem.style.histogram import grey_divergence, mean_roughness, peak_signal_to_noise
from picostem.style.picture import Picture, prepare
from picostem.style.spectrum import (
    Power,
    autocorrelation_distance,
    directional_distance,
    noise_variance,
    power,
    spectrum_distance,
)

FloatArray = NDArray[np.float64]

SCHEMA = "picostem.style_score/1"

SAME_SIZE = 1e-3
"""Relative difference up to which two pixel sizes are one: over 1000 pixels it moves the border by one."""

COMPARES = {
    "d_kl": "grey values: Kullback-Leibler divergence D(reference || image), 32 bins from minimum to maximum",
    "delta_ra": "line profiles: mean deviation R_a of the image less that of the reference, all rows and columns",
    "psnr": "pixel by pixel: peak signal-to-noise ratio, dB; of fields of one shape, meaningful of one content",
    "spectrum": "radial power spectrum, lattice and noise, 0.05 1/Å to Nyquist: rms difference, decades",
    "spectrum_directional": "noise by frequency and direction, between the lattice's peaks: rms difference, decades",
    "noise_autocorrelation": "correlation of the noise of pixels up to 2 Å apart: rms difference",
    "frechet": "patches: Fréchet distance of the logarithms of filter responses, nepers squared",
}
"""What each measure looks at, and its unit."""


@dataclass(frozen=True)
class Likeness:
    """How far an image is from a reference; all but psnr are 0 for equal ones. See COMPARES."""

    d_kl: float
    delta_ra: float
    psnr: float | None
    spectrum: float
    spectrum_directional: float
    noise_autocorrelation: float
    frechet: float


@dataclass(frozen=True)
class Score:
    """A likeness with what is needed to judge it.

    Attributes:
        likeness: of the image to the reference.
        floor: mean size of the likeness of each half of the reference to the other, left to right and top to bottom.
        d_kl_reverse: D(image || reference).
        roughness: R_a of the image and of the reference.
        noise: rms of what the lattice does not explain, of image and reference, in units of their range of greys.
        pixel_size: at which they were compared, Å. shape: of the field that was compared, pixels.
    """

    likeness: Likeness
    floor: Likeness
    d_kl_reverse: float
    roughness: tuple[float, float]
    noise: tuple[float, float]
    pixel_size: float
    shape: tuple[int, int]

    def as_dict(self) -> dict[str, Any]:
        """For JSON; an infinite psnr, of equal images, becomes null."""
        likeness, floor = asdict(self.likeness), asdict(self.floor)
        if self.likeness.psnr == math.inf:
            likeness["psnr"] = None
        return {
            "schema": SCHEMA,
            **likeness,
            "d_kl_reverse": self.d_kl_reverse,
            "floor": {key: value for key, value in floor.items() if key != "psnr"},
            "compares": COMPARES,
            "ra": dict(zip(("image", "reference"), self.roughness, strict=True)),
            "noise_rms": dict(zip(("image", "reference"), self.noise, strict=True)),
            "pixel_size_A": self.pixel_size,
            "shape_rows_cols": list(self.shape),
        }


def score(image: Picture, reference: Picture, *, seed: int = 0) -> Score:
    """Compare an image with a reference by all measures.

    Args:
        image, reference: of any pixel sizes; brought to the coarser one and cropped to the field that both have.
        seed: of the places of the patches.

    Raises:
        ImageError: too few pixels are left to compare, or a picture is constant.
        UsageError: a negative seed.
    """
    if seed < 0:
        raise UsageError(f"a seed is 0 or more, got {seed}")
    first, second = common(image, reference)
    same = image.data.shape == reference.data.shape and same_size(image.pixel_size, reference.pixel_size)
    one, other = _aspects(first, seed), _aspects(second, seed)
    return Score(
        likeness=_likeness(one, other, peak_signal_to_noise(other.data, one.data) if same else None),
        floor=floor(second, seed=seed),
        d_kl_reverse=grey_divergence(one.data, other.data),
        roughness=(one.roughness, other.roughness),
        noise=(math.sqrt(noise_variance(one.power)), math.sqrt(noise_variance(other.power))),
        pixel_size=first.pixel_size,
        shape=(first.data.shape[0], first.data.shape[1]),
    )


def floor(reference: Picture, *, seed: int = 0) -> Likeness:
    """Mean size of the likenesses of the halves of one picture, left against right and top against bottom.

    It holds what differs from place to place, the scatter of minimum and maximum, and that of half as many pixels.

    Raises:
        ImageError: a half has too few pixels.
    """
    rows, columns = reference.data.shape
    data = reference.data
    upper, lower = data[: rows // 2], data[rows - rows // 2 :]
    left, right = data[:, : columns // 2], data[:, columns - columns // 2 :]
    parts = [_aspects(normalised_part(reference, half), seed) for half in (upper, lower, left, right)]
    found = [_likeness(parts[one], parts[other], None) for one, other in ((0, 1), (1, 0), (2, 3), (3, 2))]
    means = {key: float(np.mean([abs(getattr(f, key)) for f in found])) for key in COMPARES if key != "psnr"}
    return Likeness(**means, psnr=None)


def common(first: Picture, second: Picture) -> tuple[Picture, Picture]:
    """Both at the coarser pixel size (anti-aliased), cropped about their centres to one shape, and normalised again."""
    size = max(first.pixel_size, second.pixel_size)
    both = [one if same_size(one.pixel_size, size) else resized(one, size) for one in (first, second)]
    rows, columns = (min(one.data.shape[axis] for one in both) for axis in (0, 1))
    return _cropped(both[0], rows, columns), _cropped(both[1], rows, columns)


def resized(picture: Picture, pixel_size: float) -> Picture:
    """The picture at another pixel size, Å, normalised again; what `prepare` does."""
    again = Image(picture.data, (picture.pixel_size, picture.pixel_size), "user", picture.name)
    return prepare(again, pixel_size)


@dataclass(frozen=True, eq=False)
class _Aspects:
    """What all comparisons need of one picture."""

    data: FloatArray
    roughness: float
    power: Power
    features: Features


def _aspects(picture: Picture, seed: int) -> _Aspects:
    # equal pictures have their patches at equal places, so that their distance is 0
    features = patch_features(picture, np.random.default_rng(seed))
    return _Aspects(picture.data.astype(np.float64), mean_roughness(picture), power(picture), features)


def _likeness(image: _Aspects, reference: _Aspects, psnr: float | None) -> Likeness:
    return Likeness(
        d_kl=grey_divergence(reference.data, image.data),
        delta_ra=image.roughness - reference.roughness,
        psnr=psnr,
        spectrum=spectrum_distance(image.power, reference.power),
        spectrum_directional=directional_distance(image.power, reference.power),
        noise_autocorrelation=autocorrelation_distance(image.power, reference.power),
        frechet=frechet_distance(image.features, reference.features),
    )


def _cropped(picture: Picture, rows: int, columns: int) -> Picture:
    top, left = ((n - m) // 2 for n, m in zip(picture.data.shape, (rows, columns), strict=True))
    return normalised_part(picture, picture.data[top : top + rows, left : left + columns])


def normalised_part(picture: Picture, data: NDArray[Any]) -> Picture:
    """A picture of these values, on the scale of another's, normalised by their own minimum and maximum.

    Raises:
        ImageError: too few pixels, or a constant.
    """
    low, high = float(data.min()), float(data.max())
    if min(data.shape) < MIN_SIDE:
        rows, columns = data.shape
        raise ImageError(f"{picture.name}: {rows} × {columns} pixels are too few to compare, {MIN_SIDE} are needed")
    if low == high:
        raise ImageError(f"{picture.name}: all pixels that are compared are {low:g}: is it the right image?")
    scale = picture.white - picture.black
    black, white = picture.black + low * scale, picture.black + high * scale
    return Picture(((data - low) / (high - low)).astype(np.float32), picture.pixel_size, black, white, picture.name)


def same_size(first: float, second: float) -> bool:
    """Whether two pixel sizes are one, to SAME_SIZE."""
    return math.isclose(first, second, rel_tol=SAME_SIZE)
