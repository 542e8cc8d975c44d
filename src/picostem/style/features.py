"""What pictures are compared by: numbers that say which stacking they show, and little about how it was recorded.

The default needs no network. It reads rings of spatial frequency, Gaussians a_i(g) about g_i:

| feature | formula | what drops out |
|---|---|---|
| power | log P_i less the best c + s g_i² | scale of the grey values, Gaussian blur |
| angular harmonics | abs(sum p a_i² exp(i m phi))/P_i | rotation, any round blur |
| triple correlations | mean(f_i f_j f_k)/(P_i P_j P_k)^(1/2) | any round blur |

p is the power of what stands out of the noise, its floor subtracted; P_i = sum p a_i²; f_i is the same passed through
ring i. None depends on position, rotation or mirroring of the crystal. A triple correlation adds up the closure phases
of all triangles of reflections with their sides in three rings: it tells slips of equal Bragg powers apart.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import fft, signal

from picostem.errors import DataError, UsageError
from picostem.style.picture import Picture

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

RINGS = np.arange(0.15, 0.76, 0.05)
"""g_i, 1/Å: from the first reflections of the layers to where noise takes over at 5e3 electrons per Å². Rings up to 1.1
1/Å made the slips of noise-free images no clearer, and those of noisy and blurred ones much less clear."""
RING_SIGMA = 0.03
"""1/Å: neighbours overlap, so that a pixel size wrong by 2 % moves no reflection out of all of them."""
HARMONICS = (2, 4, 6, 12)
"""m. The last two change with the twist of hexagonal layers."""
LEAST_EXTENT = 12.0
"""Å: two cells of ReS2, the least in which reflections and what lies between them can be told apart."""
COARSEST = 0.4
"""Å. At larger pixels, sums of three frequencies of the rings would reach the sampling rate."""

# Share of the coefficients around a ring below the quantile that its noise floor is read from, where no reflection is;
# the power of white noise has an exponential distribution, with this quantile at -log(1 - share) of its mean.
_FLOOR_SHARE = 0.25
_FLOOR_RANGE = 0.05
# What stands out of the noise: exp(-15) = 3e-7, one coefficient of noise in a hundred pictures. And what a ring's
# strongest reflection leaves of others, so that noise-free pictures lose the weak ones as well.
_OVER_FLOOR, _OF_STRONGEST = 15.0, 0.02
# Share of the power in all rings that one without reflections is given, so that its log stays finite.
_LEAST_SHARE = 1e-4


Extractor = Callable[[Sequence[Picture]], FloatArray]
"""Turns pictures into rows of numbers, shape (pictures, features)."""


def extractor_named(text: str) -> Extractor:
    """The extractor that `builtin`, or `vgg16:FILE` with FILE a state dict, means.

    Raises:
        UsageError: neither of them.
        DataError: the file is not a state dict of VGG16; see `picostem.style.vgg16.load_vgg16`.
    """
    kind, _, file = text.partition(":")
    if text == "builtin":
        return lattice_features
    if kind == "vgg16" and file:
        from picostem.style.vgg16 import load_vgg16

        return load_vgg16(Path(file).expanduser())
    raise UsageError(f"features {text!r}: expected builtin, or vgg16:FILE with the weights as torchvision names them")


def lattice_features(pictures: Sequence[Picture]) -> FloatArray:
    """The default features of each picture, shape (pictures, features).

    Pictures that are compared should show fields of like size: windows widen reflections.

    Raises:
        DataError: a picture's pixels are too coarse for the rings, or it shows too few unit cells.
    """
    return np.array([_features(picture) for picture in pictures])


def _features(picture: Picture) -> FloatArray:
    gy, gx, spectrum = _spectrum(picture)
    g, azimuth = np.hypot(gy, gx), np.arctan2(gy, gx)
    rings = np.exp(-((g - RINGS[:, None, None]) ** 2) / (2 * RING_SIGMA**2))
    power = np.abs(spectrum) ** 2
    floor, strongest = _levels(power, g)
    stands_out = (power > _OVER_FLOOR * floor) & (power > _OF_STRONGEST * strongest)
    clean = rings**2 * np.where(stands_out, power - floor, 0.0)
    level = clean.sum(axis=(1, 2))
    level = np.maximum(level, _LEAST_SHARE * level.sum() + np.finfo(np.float32).tiny)
    turned = [np.abs((clean * np.exp(1j * m * azimuth)).sum(axis=(1, 2))) / level for m in HARMONICS]
    return np.concatenate([_without_blur(np.log(level)), *turned, _triples(spectrum * stands_out * rings, level)])


def _spectrum(picture: Picture) -> tuple[FloatArray, FloatArray, ComplexArray]:
    """Frequencies gy (rows, 1) and gx (columns), 1/Å, and Fourier coefficients of the picture under a Hann window.

    Up to 1/(2 COARSEST), scaled so that the squares of all add up to the windowed picture's mean square.
    """
    size = picture.pixel_size
    if size > COARSEST:
        raise DataError(f"{picture.name}: pixels of {size:.3g} Å are too coarse to compare by: at most {COARSEST} Å")
    if picture.extent < LEAST_EXTENT:
        raise DataError(
            f"{picture.name}: {picture.extent:.3g} Å on a side show too few unit cells to compare by: at least "
            f"{LEAST_EXTENT:g} Å"
        )
    rows, columns = picture.data.shape
    window = np.outer(signal.windows.hann(rows, sym=False), signal.windows.hann(columns, sym=False))
    data = picture.data - np.average(picture.data, weights=window)
    spectrum = fft.fft2(data * window) / data.size
    gy, gx = fft.fftfreq(rows, size), fft.fftfreq(columns, size)
    kept_y, kept_x = np.abs(gy) < 0.5 / COARSEST, np.abs(gx) < 0.5 / COARSEST
    return gy[kept_y, None], gx[kept_x], spectrum[kept_y][:, kept_x]


def _levels(power: FloatArray, g: FloatArray) -> tuple[FloatArray, FloatArray]:
    """At every frequency, the mean power of the noise, and the strongest reflection around."""
    around = [power[np.abs(g - middle) <= _FLOOR_RANGE] for middle in RINGS]
    floors = [np.quantile(ring, _FLOOR_SHARE) / -np.log(1 - _FLOOR_SHARE) for ring in around]
    return np.interp(g, RINGS, floors), np.interp(g, RINGS, [ring.max() for ring in around])


def _without_blur(logs: FloatArray) -> FloatArray:
    """Less the best constant (scale of the grey values) and multiple of g² (Gaussian blur); shape of logs."""
    basis, _ = np.linalg.qr(np.stack([np.ones_like(RINGS), RINGS**2], axis=1))
    return np.asarray(logs - basis @ (basis.T @ logs))


def _triples(passed: ComplexArray, level: FloatArray) -> FloatArray:
    """Normalised correlations of three rings that triangles of reflections join, shape (triples,)."""
    rings = fft.ifft2(passed, norm="forward").real.reshape(len(level), -1) / np.sqrt(level)[:, None]
    products = (rings[:, None] * rings[None]).reshape(len(level) ** 2, -1) @ rings.T / rings.shape[1]
    i, j, k = _JOINED.T
    return np.asarray(products.reshape((len(level),) * 3)[i, j, k])


_JOINED = np.array(
    [
        t
        for t in itertools.combinations_with_replacement(range(len(RINGS)), 3)
        if RINGS[t[2]] < RINGS[t[0]] + RINGS[t[1]]
    ]
)
