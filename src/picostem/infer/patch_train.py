"""Training of a network for patches, as published: one loop, which can be stopped and taken up again."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from picostem.errors import DataError, UsageError
from picostem.infer.learning import device_of, read_state, write_state
from picostem.infer.patch_input import standardised
from picostem.infer.patch_labels import Labels
from picostem.infer.patch_network import PatchNetwork, PatchNetworkConfig
from picostem.infer.patch_settings import PatchSettings
from picostem.infer.train import CHECKPOINT, HISTORY, MINUTES, Progress
from picostem.physics import DEGREE
from picostem.style.state import History
from picostem.style.train import interrupts

FORM = "picostem.patch-training/1"
VALIDATED = 128
"""Patches at once when the errors are measured."""


class PatchSamples(Protocol):
    """Patches with known stackings, see `picostem.dataset.patch_samples`."""

    @property
    def patches(self) -> NDArray[np.float32]:
        """Grey values in any unit, shape (k, side, side)."""

    @property
    def labels(self) -> NDArray[np.float64]:
        """Slips, fractions of the cell, or a twist, rad, shape (k, c)."""


PatchDraw = Callable[[np.random.Generator, int], PatchSamples]
"""Draws as many patches as asked."""


@dataclass
class PatchLearning:
    """What a training changes as it goes, and what it is measured with.

    Attributes:
        network: that learns.
        rng: for batches.
        validation: patches that none of the batches has.
        step: how many steps have been made.
    """

    settings: PatchSettings
    labels: Labels
    network: PatchNetwork
    optimiser: torch.optim.Optimizer
    rng: np.random.Generator
    validation: PatchSamples
    device: torch.device
    step: int = 0

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The network, as its checkpoint names it."""
        return {"network": self.network}


def start(draw: PatchDraw, labels: Labels, settings: PatchSettings, seed: int, device: str) -> PatchLearning:
    """A training before its first step; every random number in it follows from the seed.

    Raises:
        UsageError: patches with other labels, or a device that is not there.
    """
    place = device_of(device)
    weights, validation, batches = np.random.SeedSequence(seed).spawn(3)
    samples = draw(np.random.default_rng(validation), settings.validation)
    wanted = (settings.validation, labels.coordinates)
    if samples.labels.shape != wanted or not np.isfinite(samples.labels).all():
        raise UsageError(f"expected finite labels of shape {wanted}, got {samples.labels.shape}: draw other patches")
    with torch.random.fork_rng(devices=[]):  # initial weights come from torch's global generator only
        torch.manual_seed(int(weights.generate_state(1)[0]))
        network = PatchNetwork(PatchNetworkConfig(labels.size, settings.width)).to(place)
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    return PatchLearning(settings, labels, network, optimiser, np.random.default_rng(batches), samples, place)


def train(
    draw: PatchDraw,
    labels: Labels,
    settings: PatchSettings,
    folder: Path,
    *,
    seed: int,
    data: Mapping[str, Any],
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
    resume: bool = True,
) -> PatchNetwork:
    """Train a network on patches that are drawn as it goes.

    Writes checkpoint.safetensors and training.jsonl into the folder, and goes on from them, as
    `picostem.infer.train.train` does; the losses of each step come with the errors on the validation patches where
    they were measured.

    Args:
        draw: gives patches; all of its randomness must come from the generator that it is handed.
        labels: what the network is to say.
        data: plain values that say what `draw` draws, so that a checkpoint is not taken up with other data.
        device: "auto" takes a graphics processor where there is one.
        threads: of the processor; None leaves them as they are set.
        progress: called after each step with its number, how many there are, and what goes into training.jsonl.
        resume: go on from the folder's checkpoint; False starts anew.

    Returns:
        the network, not in training.

    Raises:
        UsageError: patches of other shapes, a device that is not there, a checkpoint of another training.
        DataError: a damaged checkpoint, patches that are not finite, or losses that are not.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    learning = start(draw, labels, settings, seed, device)
    identity = {"settings": settings.as_dict(), "seed": seed, "data": dict(data), "maps": labels.maps.tolist()}
    path = folder / CHECKPOINT
    if resume and path.exists():
        read_state(learning, path, identity, FORM)
    history = History(folder / HISTORY, learning.step)
    saved = time.monotonic()
    with contextlib.closing(history), interrupts() as interrupted:
        while learning.step < settings.steps and not interrupted():
            figures = one_step(learning, draw(learning.rng, settings.batch))
            if learning.step % settings.validate_every == 0 or learning.step == settings.steps:
                figures |= validate(learning)
            history.add(learning.step, figures)
            if time.monotonic() - saved > 60 * MINUTES:
                _save(learning, history, path, identity)
                saved = time.monotonic()
            if progress is not None:
                progress(learning.step, settings.steps, figures)
        _save(learning, history, path, identity)
    return learning.network.eval()


def _save(learning: PatchLearning, history: History, path: Path, identity: Mapping[str, Any]) -> None:
    """Losses first, as in `picostem.infer.train`."""
    history.flush()
    write_state(learning, path, identity, FORM)


def one_step(learning: PatchLearning, samples: PatchSamples) -> dict[str, float]:
    """Train on some patches once; returns the loss.

    Raises:
        DataError: a loss that is not finite.
    """
    for group in learning.optimiser.param_groups:
        group["lr"] = learning.settings.rate(learning.step)
    learning.network.train()
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=learning.device.type == "cuda"):
        said = learning.network(torch.from_numpy(standardised(samples.patches)).to(learning.device))
    targets = torch.from_numpy(learning.labels.targets(samples.labels)).to(learning.device)
    loss = nearest_loss(said.float(), targets)
    learning.step += 1
    figures = {"loss": float(loss.detach())}
    if not math.isfinite(figures["loss"]):
        raise DataError(f"the training diverged at step {learning.step}: take another seed or a lower rate")
    learning.optimiser.zero_grad()
    torch.autograd.backward(loss)
    learning.optimiser.step()
    return figures


def nearest_loss(said: Tensor, targets: Tensor) -> Tensor:
    """The published loss, squared error plus half the absolute error, to the target of each patch that has the least.

    With one target it is `picostem.infer.mixture.published_loss`.

    Args:
        said: shape (b, size). targets: shape (b, e, size).
    """
    difference = said[:, None] - targets
    each = difference.square().mean(dim=2) + 0.5 * difference.abs().mean(dim=2)
    return each.amin(dim=1).mean()


@torch.no_grad()
def validate(learning: PatchLearning) -> dict[str, float]:
    """Loss and errors, Å or degrees, on the validation patches."""
    samples, labels = learning.validation, learning.labels
    learning.network.eval()
    parts = [
        learning.network(torch.from_numpy(standardised(samples.patches[i : i + VALIDATED])).to(learning.device)).cpu()
        for i in range(0, len(samples.patches), VALIDATED)
    ]
    said = torch.cat(parts)
    found, _ = labels.decoded(said.numpy())
    error = labels.distance(found, samples.labels) / (DEGREE if labels.twists else 1.0)
    unit = "deg" if labels.twists else "A"
    return {
        "validation_loss": float(nearest_loss(said, torch.from_numpy(labels.targets(samples.labels)))),
        f"mean_error_{unit}": float(error.mean()),
        f"median_error_{unit}": float(np.median(error)),
    }
