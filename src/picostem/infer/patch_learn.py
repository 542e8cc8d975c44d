"""From a material to a network for patches: microscopes, training, errors, the network's folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picostem.dataset.bank import Bank
from picostem.dataset.microscopes import Beam
from picostem.dataset.patch_images import PatchImages
from picostem.dataset.patch_plan import PatchCorruptions, PatchPlan
from picostem.dataset.patch_samples import PatchSamples, Pool, draw
from picostem.errors import UsageError
from picostem.infer.export import export_patch_net
from picostem.infer.folder import rewrite_card
from picostem.infer.learn import NET, Progress, kept_bank, signature, unseen_count
from picostem.infer.patch_card import PatchCard
from picostem.infer.patch_input import Read, standardised
from picostem.infer.patch_labels import Labels
from picostem.infer.patch_polar import Polar
from picostem.infer.patch_predict import SURE, PatchNet
from picostem.infer.patch_settings import PatchSettings
from picostem.infer.patch_train import train
from picostem.physics import DEGREE
from picostem.style.transfer import Style

POOL = 4096
"""Patches that get a style, once; each is drawn often, with dirt and noise of its own."""

JUDGED = 1024
"""Patches for each figure."""

Draw = Callable[[np.random.Generator, int], PatchSamples]


@dataclass(frozen=True)
class PatchRecipe:
    """What a network for patches is trained with.

    Attributes:
        plan: of the patches. settings: of the training.
        microscopes: how many there are. beam: the microscope, if there is one only.
        seed: of everything random.

    Raises:
        UsageError: no microscopes.
    """

    plan: PatchPlan
    settings: PatchSettings
    microscopes: int
    beam: Beam | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.microscopes < 1:
            raise UsageError(f"expected a microscope or more to train with, got {self.microscopes}")


def learn_patches(
    recipe: PatchRecipe,
    folder: Path,
    *,
    name: str,
    licence: str = "",
    device: str = "auto",
    threads: int | None = None,
    progress: Progress = lambda stage, done, total: None,
    resume: bool = True,
) -> PatchCard:
    """Train a network, measure it, and write it into `folder`/net; a training that was stopped goes on.

    Arguments and errors are those of `picostem.infer.learn.learn`.
    """
    plan = recipe.plan
    stack = plan.stack()
    bank = kept_bank(stack, recipe.microscopes, recipe.beam, (recipe.seed, 1), folder, progress)
    unseen = kept_bank(stack, unseen_count(recipe.microscopes), recipe.beam, (recipe.seed, 2), folder, progress)
    labels = Labels.of(stack, plan.task, recipe.settings.form)
    read = _reads(plan, labels, bank)
    style = Style.load(plan.style) if plan.style else None
    images, held = PatchImages.load(plan, bank).split() if plan.images else (None, None)
    data = {"plan": plan.as_dict(), "microscopes": recipe.microscopes, "beam": recipe.beam, "stack": signature(stack)}
    if images is not None:
        data["images"] = images.digest
    data = json.loads(json.dumps(data))  # as the card and the checkpoint will have it
    network = train(
        _drawn(plan, bank, style, recipe.seed, progress) if images is None else images.draw,
        labels,
        recipe.settings,
        folder,
        seed=recipe.seed,
        data=data,
        read=read,
        device=device,
        threads=threads,
        progress=lambda step, steps, figures: progress(f"loss {figures['loss']:.2f}", step, steps),
        resume=resume,
    )
    progress("errors", 0, 0)
    training = {"settings": recipe.settings.as_dict(), "seed": recipe.seed, "licence": licence, **data}
    card = export_patch_net(network, PatchCard.of(name, plan, labels, read, training=training), folder / NET)
    net = PatchNet.load(folder / NET)
    rng = np.random.default_rng((recipe.seed, 4))
    perfect = replace(plan, corruptions=PatchCorruptions.none())
    plans = {"as trained": plan, "perfect crystals": perfect}
    judged = {
        what: draw(one, unseen, rng, JUDGED, style) if held is None else replace(held, plan=one).draw(rng, JUDGED)
        for what, one in plans.items()
    }
    figures = {what: errors_of(net, samples) for what, samples in judged.items()}
    return rewrite_card(folder / NET, replace(card, figures=figures))


def _reads(plan: PatchPlan, labels: Labels, bank: Bank) -> Read:
    """Rings of the strongest reflections for densities, pixels for all else."""
    if labels.form != "density":
        return standardised
    strength = np.abs(bank.sites.sum(axis=2)).mean(axis=(0, 1), dtype=np.float64)
    period = float(labels.unit[0, 0])
    return Polar.strongest(plan.side, plan.pixel_A, bank.cell, period, labels.angles, bank.hk, strength)


def _drawn(plan: PatchPlan, bank: Bank, style: Style | None, seed: int, progress: Progress) -> Draw:
    """Patches all made anew, or, in a style, from a pool."""
    if style is None:
        return lambda rng, count: draw(plan, bank, rng, count)
    progress(f"{POOL} patches in the style {style.card.name}", 0, 0)
    return Pool.build(plan, bank, np.random.default_rng((seed, 3)), POOL, style).draw


def errors_of(net: PatchNet, samples: PatchSamples) -> dict[str, Any]:
    """Errors of a network on patches whose stackings are known, Å or degrees."""
    found, sure = net.predict(samples.patches)
    unit = DEGREE if net.labels.twists else 1.0
    return {"patches": len(samples)} | summary(net.labels.distance(found, samples.labels) / unit, sure, net.labels)


def summary(error: NDArray[np.float64], sure: NDArray[np.float64], labels: Labels) -> dict[str, float | None]:
    """What errors, Å or degrees, shape (k,), add up to; of twists also the shares off by less than 1° and 0.1°.

    `sure` is the share of which the network is sure, and what follows it is of these; None of nothing.
    """
    name = "deg" if labels.twists else "A"
    figures: dict[str, float | None] = {
        f"mean_error_{name}": float(error.mean()),
        f"median_error_{name}": float(np.median(error)),
        f"error_95_{name}": float(np.quantile(error, 0.95)),
    }
    if not labels.twists:
        return figures
    known = error[sure >= SURE]
    return figures | {
        "within_1_deg": float(np.mean(error < 1)),
        "within_0.1_deg": float(np.mean(error < 0.1)),
        "sure": len(known) / len(error),
        "sure_mean_error_deg": float(known.mean()) if len(known) else None,
        "sure_within_1_deg": float(np.mean(known < 1)) if len(known) else None,
    }
