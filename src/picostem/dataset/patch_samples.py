"""Patches drawn by a plan: pictures of stacks with what they suffer, and their slips or twists."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from picostem.dataset.bank import Bank
from picostem.dataset.corruption import contamination, gaussian, hole, poisson
from picostem.dataset.patch_corruption import Mirrors, blurred, mask
from picostem.dataset.patch_plan import PatchPlan
from picostem.dataset.patch_render import Scene, rendered, slid, turned, vacancies
from picostem.dataset.patch_style import styled
from picostem.dataset.samples import draw_slips
from picostem.errors import UsageError
from picostem.physics import DEGREE
from picostem.style.transfer import Style

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Single = NDArray[np.float32]

DIRT = (2.0, 12.0)  # Å over which dirt varies, as in `samples`


@dataclass(frozen=True, eq=False)
class PatchSamples:
    """Patches with known stackings.

    Attributes:
        patches: fractions of the beam, shape (k, side, side).
        labels: slips of each layer relative to the one below, fractions of the cell from 0 to below 1, shape
            (k, 2 s), as Da, Db of the first interface, then of the second; or twists, rad, shape (k, 1). Of stackings
            that look the same, any one.
    """

    patches: Single
    labels: FloatArray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: IntArray) -> PatchSamples:
        """The chosen patches."""
        return PatchSamples(self.patches[rows], self.labels[rows])


@dataclass(frozen=True, eq=False)
class Pool:
    """Patches without noise, made once, to be drawn from often: what style costs is then paid once.

    Attributes:
        plan, bank: of the patches.
        clean: with the vacancies, style and nothing else.
    """

    plan: PatchPlan
    bank: Bank
    clean: PatchSamples

    @classmethod
    def build(cls, plan: PatchPlan, bank: Bank, rng: np.random.Generator, count: int, style: Style | None) -> Pool:
        """A pool of `count` patches; raises `UsageError` as `draw` does."""
        return cls(plan, bank, clean(plan, bank, rng, count, style))

    def draw(self, rng: np.random.Generator, count: int) -> PatchSamples:
        """Some of them at random, each with its own mirror, dirt and noise."""
        rows = rng.integers(len(self.clean), size=count)
        return suffered(self.plan, self.bank, self.clean.take(rows), rng)


def draw(plan: PatchPlan, bank: Bank, rng: np.random.Generator, count: int, style: Style | None = None) -> PatchSamples:
    """Patches of a plan, each its own stack, microscope, place, angle and scale.

    Args:
        bank: of the plan's stack, not twisted. style: for plans whose source it is.

    Raises:
        UsageError: the bank is of another stack, a style is missing or not asked for, or there is nothing to draw.
    """
    return suffered(plan, bank, clean(plan, bank, rng, count, style), rng)


def clean(
    plan: PatchPlan, bank: Bank, rng: np.random.Generator, count: int, style: Style | None = None
) -> PatchSamples:
    """Patches without noise and dirt, in the plan's style; arguments as in `draw`."""
    _check(plan, bank, count, style)
    scene, labels = _scene(plan, bank, rng, count)
    patches = rendered(bank, scene, plan.side, plan.pixel_A)
    share = _amount(plan.corruptions.vacancies, count, rng)
    patches -= vacancies(bank, plan.stack(), scene, share, plan.side, plan.pixel_A, rng)
    if style is not None:
        patches = styled(patches, plan.pixel_A, style, rng)
    return PatchSamples(patches, labels)


def suffered(plan: PatchPlan, bank: Bank, samples: PatchSamples, rng: np.random.Generator) -> PatchSamples:
    """Clean patches mirrored, with dirt, blur, counting noise, holes and masks, as a plan says.

    Grey values count as electrons: a styled patch has its own noise, and gets that of a dose of its mean on top.
    """
    amount = {name: _amount(one, len(samples), rng) for name, one in plan.corruptions.as_dict().items()}
    patches, labels = samples.patches, samples.labels
    if plan.flips:
        patches, labels = _mirrored(plan, bank, samples, rng)
    patches = blurred(patches, np.sqrt(amount["blur"]) / plan.pixel_A)
    dirty = (amount["contamination"] > 0) | (amount["absorption"] > 0)
    if dirty.any():
        length = np.exp(rng.uniform(*np.log(DIRT))) / plan.pixel_A
        taken = (amount["contamination"][dirty], amount["absorption"][dirty])
        patches[dirty] = contamination(patches[dirty], *taken, length, rng)
    pierced = amount["hole"] > 0
    patches[pierced] = hole(patches[pierced], amount["hole"][pierced], rng)
    least, most = np.log(plan.dose)
    electrons = np.exp(rng.uniform(least, most, len(samples))) * plan.pixel_A**2
    counting = np.sqrt(np.maximum(patches.mean(axis=(1, 2)), 0) / electrons)
    patches = poisson(patches, electrons, rng)
    read = amount["read_noise"] > 0
    patches[read] = gaussian(patches[read], (counting * amount["read_noise"])[read], rng)
    return PatchSamples(mask(patches, amount["mask"], rng), labels)


def _scene(plan: PatchPlan, bank: Bank, rng: np.random.Generator, count: int) -> tuple[Scene, FloatArray]:
    """Stacks anywhere in their patches, and their labels."""
    index = rng.integers(len(bank), size=count)
    most = plan.rotation_deg * DEGREE
    angle = plan.orientation_deg * DEGREE + rng.uniform(-most, most, count)
    scale = 1 + rng.uniform(-plan.scale, plan.scale, count)
    if plan.task == "twist":
        twist = draw_twists(plan, rng, count)
        return turned(twist, index, angle, scale, rng.random((count, 2, 2))), twist[:, None]
    slips = draw_slips(plan.harmonics(), bank, rng, count)
    return slid(slips, index, angle, scale, rng.random((count, 2))), slips.reshape(count, -1)


def draw_twists(plan: PatchPlan, rng: np.random.Generator, count: int) -> FloatArray:
    """Twists as the plan wants them, rad, shape (count,)."""
    least, most = plan.twist_deg
    if plan.twist_step_deg is None:
        return np.asarray(rng.uniform(least, most, count) * DEGREE)
    steps = math.floor((most - least) / plan.twist_step_deg + 1e-9)  # rounding of ranges that are whole steps
    return np.asarray((least + plan.twist_step_deg * rng.integers(steps + 1, size=count)) * DEGREE)


def _mirrored(
    plan: PatchPlan, bank: Bank, samples: PatchSamples, rng: np.random.Generator
) -> tuple[Single, FloatArray]:
    count = len(samples)
    if plan.task == "twist":
        patches, twists = Mirrors.of_twists().draw(samples.patches, samples.labels[:, 0], rng)
        return patches, twists[:, None]
    mirrors = Mirrors.of(bank, plan.orientation_deg * DEGREE)
    patches, slips = mirrors.draw(samples.patches, samples.labels.reshape(count, -1, 2), rng)
    return patches, slips.reshape(count, -1)


def _amount(amount: tuple[float, float], count: int, rng: np.random.Generator) -> FloatArray:
    """How much each patch suffers, 0 where it does not, shape (count,)."""
    share, most = amount
    return np.asarray(most * rng.random(count) * (rng.random(count) < share))


def _check(plan: PatchPlan, bank: Bank, count: int, style: Style | None) -> None:
    wanted = (3 if plan.task == "trilayer" else 2, plan.task == "antiparallel")
    if (bank.layers, bank.antiparallel) != wanted or count < 1:
        raise UsageError(
            f"a plan of {wanted[0]} layers (antiparallel: {wanted[1]}) needs their bank, and a patch or more; got "
            f"{bank.layers} (antiparallel: {bank.antiparallel}) and {count}: build the bank of plan.stack()"
        )
    if plan.images:
        raise UsageError(f"patches of source {plan.source!r} are not drawn: PatchImages.load(plan, bank) crops them")
    if bool(plan.style) != (style is not None):
        raise UsageError(
            f"patches of source {plan.source!r} are drawn {'with' if plan.style else 'without'} a style: "
            "load the style that the plan names, and no other"
        )
