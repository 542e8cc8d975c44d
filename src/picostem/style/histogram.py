"""How alike two images are by the published measures: grey values, line profiles, pixel by pixel.

Equations 4 to 6 of TED-Gen, Methods; what the paper leaves open is settled here and said. Grey values are normalised by
the minimum and maximum of the images compared, as there.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from picostem.style.picture import Picture

FloatArray = NDArray[np.float64]

BINS = 32
"""Of the histogram. An 8-bit image whose contrast was stretched has a comb of empty levels; with 64 bins and more its
teeth, not its shape, set the divergence of one half of the image from the other (0.02 where 32 bins give 0.004)."""

PSEUDOCOUNT = 0.5
"""Added to every bin (Jeffreys' prior), so that an empty bin costs what its being empty shows, and no more. Between two
samples of n values each from the same distribution it leaves (BINS - 1)/n, so 3e-5 for 1024² independent pixels."""

LINE_WIDTH = 1.0
"""Å over which a line profile is averaged: that of a column of atoms."""


def grey_divergence(reference: FloatArray, image: FloatArray) -> float:
    """Kullback-Leibler divergence of the grey values, sum P log(P/Q) (equation 4, natural logarithm).

    P is the histogram of the reference, Q that of the image, each of values normalised by their own minimum and
    maximum; BINS bins, PSEUDOCOUNT added to each. The paper says neither which is P nor how many bins it takes.

    Args:
        reference, image: any shapes, not constant.
    """
    p, q = histogram(reference), histogram(image)
    return float(np.sum(p * np.log(p / q)))


def histogram(data: FloatArray) -> FloatArray:
    """Share of the pixels in each of BINS bins from lowest to highest value, none zero, shape (BINS,)."""
    counts = np.histogram(_normalised(data), BINS, (0.0, 1.0))[0] + PSEUDOCOUNT
    return np.asarray(counts / counts.sum())


def line_profiles(picture: Picture, axis: int) -> FloatArray:
    """Profiles along all rows (axis 0) or columns (axis 1), each averaged over LINE_WIDTH and normalised to [0, 1].

    The lines lie side by side from the first row or column on; what is left over at the far border is not used. A line
    that is constant becomes 0.

    Returns:
        shape (lines, pixels along each).
    """
    data = np.moveaxis(picture.data.astype(np.float64), axis, 0)
    width = min(max(1, round(LINE_WIDTH / picture.pixel_size)), len(data))
    count = len(data) // width
    lines = data[: count * width].reshape(count, width, -1).mean(axis=1)
    low, high = lines.min(axis=1, keepdims=True), lines.max(axis=1, keepdims=True)
    return np.asarray((lines - low) / np.where(high > low, high - low, 1.0))


def roughness(profile: FloatArray) -> float:
    """Arithmetic mean deviation R_a = mean |Z|, Z the profile less its mean (equation 5; as ISO 21920-2 defines it)."""
    return float(np.abs(profile - profile.mean()).mean())


def mean_roughness(picture: Picture) -> float:
    """Mean of `roughness` over all `line_profiles`: one number that does not depend on which line is picked."""
    return float(np.mean([roughness(line) for axis in (0, 1) for line in line_profiles(picture, axis)]))


def peak_signal_to_noise(reference: FloatArray, image: FloatArray) -> float:
    """10 log10(MAX²/MSE) in dB of two images of one shape and grey values from 0 to MAX = 1 (equation 6)."""
    error = float(np.mean((reference - image) ** 2))
    return math.inf if error == 0 else -10 * math.log10(error)


def _normalised(data: FloatArray) -> FloatArray:
    low, high = float(data.min()), float(data.max())
    return np.asarray((data - low) / (high - low))
