"""Settings of a training that are known to belong together, by name; and what the published ablation leaves out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from picostem.errors import UsageError
from picostem.style.augment import MEAN_CROP, AugmentSettings
from picostem.style.card import Greys
from picostem.style.loss import Adversarial, LossWeights
from picostem.style.network_config import NetworkConfig
from picostem.style.picture import Picture, by_mean


@dataclass(frozen=True)
class Preset:
    """Everything that a training depends on, other than its pictures and its seed.

    Attributes:
        pixel_size: of the pictures, Å.
        extent: side of the simulated pictures, Å.
        simulations: how many are made to choose from.
        keep: how many of them, those most like the experiments (Trident I); None keeps them all, like it or not.
        nearest: how many are drawn with each experimental picture, those most like it; None: any that is kept.
        steps: of training; None: as many as `epochs` over the larger of the two sets take.
        constant: share of the steps at full learning rate; it falls to 0 in a straight line in the rest.
        content_every: steps between two of the content discriminator.
        content_slower: divides the content discriminator's learning rate.
        greys: what 0 and 1 are in simulated pictures: "range", their lowest and highest grey, as published, or "mean",
            nothing and a multiple of their mean (`by_mean`).
        averaged: of the network that is kept, share that stays at each step (an exponential mean); 0 keeps the last.
    """

    name: str
    network: NetworkConfig
    weights: LossWeights
    augment: AugmentSettings
    pixel_size: float
    extent: float
    simulations: int
    keep: int | None
    nearest: int | None
    batch: int
    steps: int | None
    epochs: int
    constant: float
    learning_rate: float
    betas: tuple[float, float]
    weight_decay: float
    adversarial: Adversarial
    content_every: int = 3
    content_slower: float = 2.5
    greys: Greys = "range"
    averaged: float = 0.0

    def total_steps(self, simulated: int, experimental: int) -> int:
        """Steps of a whole training on so many pictures."""
        return self.steps or self.epochs * math.ceil(max(simulated, experimental) / self.batch)

    def content(self, simulated: Sequence[Picture]) -> list[Picture]:
        """Simulated pictures with the greys that the network takes."""
        return [by_mean(picture) for picture in simulated] if self.greys == "mean" else list(simulated)

    def rate(self, step: int, steps: int) -> float:
        """Learning rate at a step, counted from 0, over the full one."""
        start = self.constant * steps
        return 1.0 if step < start else max(0.0, (steps - step) / (steps - start))

    def as_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)


PAPER = Preset(
    name="paper",
    network=NetworkConfig(),
    weights=LossWeights(),
    augment=AugmentSettings(patch=1024, of=1024.0),
    pixel_size=0.035,  # 1024 pixels then show the 36 Å of a published image; crops of them are enlarged
    extent=36.0,
    simulations=256,
    keep=41,
    nearest=None,
    batch=2,
    steps=None,
    epochs=3000,
    constant=0.2,  # 600 of 3000 epochs
    learning_rate=1e-4,
    betas=(0.5, 0.999),
    weight_decay=1e-4,
    adversarial="bce",
)
"""As published: TED-Gen, Methods, and its code."""

CPU = Preset(
    name="cpu",
    network=NetworkConfig(
        base=8,
        residual=1,
        norm="none",
        output="linear",
        noise="additive",
        imaging="linear",
        discriminator=16,
        discriminator_layers=3,
        content_kernel=3,
    ),
    weights=LossWeights(
        self_reconstruction=5.0,
        cross_reconstruction=5.0,
        random_adversarial=0.5,
        spectrum=4.0,
        greys=5.0,
        consistency=0.02,  # linear imaging keeps the content; more would hold greys to those of simulations
        kl=0.001,  # with the published weight, images of one session all get one attribute, and so one background
        latent=1.0,
        mode_seeking=0.02,  # a few images have one style or few: to make drawn ones differ as published tears images up
    ),
    augment=AugmentSettings(patch=128, of=MEAN_CROP),
    pixel_size=0.08,
    extent=40.0,
    simulations=256,
    keep=41,
    nearest=5,
    batch=2,
    steps=4_000,
    epochs=0,
    constant=0.5,
    learning_rate=1e-3,
    betas=(0.5, 0.99),
    weight_decay=0.0,
    adversarial="least-squares",
    greys="mean",
    averaged=0.998,
)
"""At most an hour on two processor cores."""

SMALL = replace(
    CPU,
    name="small",
    network=NetworkConfig(base=8, residual=1, discriminator=16, discriminator_layers=3, content_kernel=3),
    weights=replace(CPU.weights, spectrum=0.0, greys=0.0),
    simulations=128,
    nearest=None,
    steps=2_000,
    learning_rate=5e-4,
    adversarial="bce",
    greys="range",
    averaged=0.99,
)
"""The published network and losses with an eighth of the channels, to see what each part of the Trident does."""

PRESETS = {preset.name: preset for preset in (PAPER, CPU, SMALL)}


def plain(preset: Preset) -> Preset:
    """Without the three steps of the Trident: no selection, no augmentation, no content consistency."""
    return replace(no_selection(no_augmentation(no_consistency(preset))), name=f"{preset.name}-plain")


def no_selection(preset: Preset) -> Preset:
    """Any simulations, not those like the experiment."""
    return replace(preset, name=f"{preset.name}-no-selection", keep=None, nearest=None)


def no_augmentation(preset: Preset) -> Preset:
    """Patches cut where they come, of one size, neither rotated nor mirrored."""
    middle = (MEAN_CROP, MEAN_CROP)
    augment = replace(preset.augment, rotation_deg=0.0, crop=middle, flips=False)
    return replace(preset, name=f"{preset.name}-no-augmentation", augment=augment)


def no_consistency(preset: Preset) -> Preset:
    """Nothing that holds a generated image to the picture it was made from."""
    weights = replace(preset.weights, consistency=0.0)
    return replace(preset, name=f"{preset.name}-no-consistency", weights=weights)


def cyclegan(preset: Preset) -> Preset:
    """Without attributes and content discriminator, cycle and domain losses only; and without the Trident."""
    weights = LossWeights(
        self_reconstruction=0.0,
        random_adversarial=0.0,
        content_adversarial=0.0,
        kl=0.0,
        content_norm=0.0,
        latent=0.0,
        mode_seeking=0.0,
        consistency=0.0,
    )
    return replace(
        plain(preset),
        name=f"{preset.name}-cyclegan",
        network=replace(preset.network, attribute=0),
        weights=weights,
    )


ABLATIONS: dict[str, Callable[[Preset], Preset]] = {
    "plain": plain,
    "no-selection": no_selection,
    "no-augmentation": no_augmentation,
    "no-consistency": no_consistency,
    "cyclegan": cyclegan,
}


def preset_named(name: str) -> Preset:
    """A preset, or one with something left out: "cpu", "cpu-no-selection".

    Raises:
        UsageError: for a name that is neither.
    """
    base, _, without = name.partition("-")
    if base in PRESETS and (not without or without in ABLATIONS):
        return ABLATIONS[without](PRESETS[base]) if without else PRESETS[base]
    raise UsageError(
        f"no preset {name!r}; expected {' or '.join(PRESETS)}, with nothing or one of these after it: "
        + ", ".join(f"-{each}" for each in ABLATIONS)
    )
