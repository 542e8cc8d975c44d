"""What windows suffer, put into images without noise window by window: electrons counted, holes, dirt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from picostem.dataset import corruption
from picostem.image import Image
from picostem.simulate import AcquisitionSettings, acquire

Single = NDArray[np.float32]
Cause = Literal["none", "noise", "vacancies", "hole", "contamination"]

DOSE = 2.6e4
"""Electrons per Å² where the dose is not what changes: that of the published experiments."""
DIRT = 5.0
"""Å over which dirt varies."""
MASKS = 32
"""Holes that are drawn for a window, of which the one that takes most of it is taken."""


@dataclass(frozen=True)
class Step:
    """What windows suffer, and how much of it.

    Attributes:
        amount: peak signal-to-noise ratio in dB; share of the atoms that are missing; share of a window that a hole
            takes; what dirt scatters where it is thickest, over the window's mean.
    """

    cause: Cause
    amount: float = 0.0


def recorded(image: Image, step: Step, side: int, rng: np.random.Generator) -> tuple[Image, float]:
    """An image as it would be recorded, and its dose, electrons per Å².

    Args:
        image: detected fractions of the beam, with its pixel size; cut to a whole number of windows.
        side: of the windows that suffer, pixels; each of those that lie side by side does.
    """
    assert image.pixel_size is not None
    pixel = image.pixel_size[0]
    rows, cols = (n // side * side for n in image.data.shape)
    fractions = np.asarray(image.data[:rows, :cols], dtype=np.float32)
    dose = dose_for(fractions, pixel, step.amount) if step.cause == "noise" else DOSE
    if step.cause in ("hole", "contamination"):
        fractions = joined(_suffered(tiles(fractions, side), step, DIRT / pixel, rng), fractions.shape)
    counts = acquire(fractions, (rows, cols), pixel, AcquisitionSettings(dose=dose), rng)
    return replace(image, data=counts), dose


def tiles(data: Single, side: int) -> Single:
    """Windows side by side, rows slowest, shape (k, side, side), of an image that they fill."""
    rows, cols = (n // side for n in data.shape)
    return data.reshape(rows, side, cols, side).swapaxes(1, 2).reshape(-1, side, side)


def joined(patches: Single, shape: tuple[int, ...]) -> Single:
    """The inverse of `tiles`, an image of that shape."""
    side = patches.shape[1]
    return patches.reshape(shape[0] // side, shape[1] // side, side, side).swapaxes(1, 2).reshape(shape)


def dose_for(fractions: Single, pixel_size: float, psnr: float) -> float:
    """Dose of a peak signal-to-noise ratio, electrons per Å²; inverse of `psnr_of`; pixel size in Å."""
    return float(10 ** (psnr / 10) * fractions.mean() / np.ptp(fractions) ** 2 / pixel_size**2)


def psnr_of(fractions: Single, pixel_size: float, dose: float) -> float:
    """10 log10(MAX² / MSE), dB: MAX from the darkest to the brightest pixel without noise, MSE of counting electrons.

    It grows with the pixels; pixel size in Å.
    """
    return float(10 * np.log10(dose * pixel_size**2 * np.ptp(fractions) ** 2 / fractions.mean()))


def _suffered(patches: Single, step: Step, length: float, rng: np.random.Generator) -> Single:
    """Windows, each with its hole or its dirt; length: over which dirt varies, pixels."""
    if step.cause == "hole":
        return patches * np.stack([_pierced(patches.shape[1], step.amount, rng) for _ in patches])
    amount = np.full(len(patches), step.amount)
    return corruption.contamination(patches, amount, np.zeros(len(patches)), length, rng)


def _pierced(side: int, share: float, rng: np.random.Generator) -> Single:
    """0 in a hole, 1 outside, shape (side, side); the hole lies within the window, or all but, so that it is whole."""
    drawn = corruption.hole(np.ones((MASKS, side, side), dtype=np.float32), np.full(MASKS, share), rng)
    return np.asarray(drawn[drawn.mean(axis=(1, 2)).argmin()])
