"""What a noise-free image can be made to look like without a learned style: with Gaussian noise on it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from picostem.style.histogram import grey_divergence
from picostem.style.metrics import common, normalised_part, resized, same_size
from picostem.style.picture import Picture
from picostem.style.spectrum import noise_variance, power

MOST_NOISE = 10.0
"""Standard deviations of noise over the range of greys; nobody adds more."""

TRIED = np.geomspace(0.003, 0.6, 40)
"""Standard deviations over the range of greys that are tried for the most likely histogram, 15 % apart."""

_HALVINGS = 20  # of the interval that the noise is looked for in: to 1e-5


def with_equal_noise(picture: Picture, reference: Picture, rng: np.random.Generator) -> Picture:
    """The picture with white Gaussian noise, so strong that once it is normalised its variance is the reference's.

    That is the variance between the peaks of the reference's power spectrum (`noise_variance`), of the reference at the
    picture's pixel size, in units of its range of greys.
    """
    like = reference if same_size(picture.pixel_size, reference.pixel_size) else resized(reference, picture.pixel_size)
    wanted = math.sqrt(noise_variance(power(like)))
    noise = rng.standard_normal(picture.data.shape)
    low, high = 0.0, MOST_NOISE
    for _ in range(_HALVINGS):  # the share of the noise in the range of greys grows with it
        middle = (low + high) / 2
        low, high = (middle, high) if middle < wanted * np.ptp(picture.data + middle * noise) else (low, middle)
    return _noisy(picture, high, noise)


def with_matched_greys(picture: Picture, reference: Picture, rng: np.random.Generator) -> Picture:
    """The picture with as much white Gaussian noise as makes its grey values most like the reference's (`d_kl`)."""
    noise = rng.standard_normal(picture.data.shape)

    def off(sigma: float) -> float:
        one, other = common(_noisy(picture, sigma, noise), reference)
        return grey_divergence(other.data.astype(np.float64), one.data.astype(np.float64))

    return _noisy(picture, min(map(float, TRIED), key=off), noise)


def _noisy(picture: Picture, sigma: float, noise: NDArray[np.float64]) -> Picture:
    return normalised_part(picture, picture.data + sigma * noise)
