"""Patches of made-up bilayers, with no simulation: two gratings whose phases are those of the slip."""

from __future__ import annotations

import numpy as np

from picostem.dataset.patch_plan import PatchPlan
from picostem.dataset.patch_samples import PatchSamples
from picostem.infer.patch_labels import Labels

SIDE = 32
PLAN = PatchPlan("MoS2", side=SIDE, pixel_A=0.4)
LABELS = Labels.of(PLAN.stack(), "slip", "waves")
PLAIN = Labels.of(PLAN.stack(), "slip", "plain")


def picture(slips: np.ndarray, side: int = SIDE) -> np.ndarray:
    """(k, side, side): two crossed waves of contrast cos 2πDa, cos 2πDb, which D and -D share, and one of both."""
    x = np.arange(side) / 8
    waves = [np.cos(2 * np.pi * x)[None, :], np.cos(2 * np.pi * x)[:, None], np.cos(np.pi * (x[:, None] + x))]
    phases = (slips[:, 0], slips[:, 1], slips.sum(axis=1))
    parts = [np.cos(2 * np.pi * p)[:, None, None] * wave for p, wave in zip(phases, waves, strict=True)]
    return np.asarray(sum(parts), dtype=np.float32)


def draw(rng: np.random.Generator, count: int) -> PatchSamples:
    slips = rng.random((count, 2))
    noise = 0.02 * rng.standard_normal((count, SIDE, SIDE), dtype=np.float32)
    return PatchSamples(picture(slips) + noise, slips)
