"""Patches in a learned style."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from picostem.style.picture import Picture
from picostem.style.transfer import Style

Single = NDArray[np.float32]


def styled(patches: Single, pixel_A: float, style: Style, rng: np.random.Generator) -> Single:
    """Patches, (k, side, side), as an experiment might have recorded them, each with a look of its own.

    The contents' mean and the variance of their grey values come back, so that what counts electrons later on finds as
    many as in the simulation: a style's own grey values are those of its experiments, in any unit.

    Raises:
        DataError: the style's network fails.
    """
    return np.stack([_one(patch, pixel_A, style, rng) for patch in patches])


def _one(patch: Single, pixel_A: float, style: Style, rng: np.random.Generator) -> Single:
    black, white = float(patch.min()), float(patch.max())
    content = Picture((patch - np.float32(black)) / np.float32(white - black), pixel_A, black, white, "patch")
    made = style.apply(content, style.sample(rng), rng)
    spread = float(made.std())
    gain = float(patch.std()) / spread if spread > 0 else 1.0
    return np.asarray((made - made.mean()) * np.float32(gain) + patch.mean(), dtype=np.float32)
