"""Training of a network for patches: the published one, or the one for twists."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from picostem.errors import DataError, UsageError
from picostem.infer.mixture import published_loss
from picostem.infer.patch_input import Read, standardised
from picostem.infer.patch_labels import Labels
from picostem.infer.patch_network import PatchNetwork, PatchNetworkConfig
from picostem.infer.patch_polar import Polar
from picostem.infer.patch_settings import PatchSettings
from picostem.infer.patch_twist import TwistNetwork, TwistNetworkConfig, density_loss
from picostem.physics import DEGREE
from picostem.training import Progress, device_of, has_bfloat16, run

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
        read: what the network reads of patches.
        network: that learns.
        rng: for batches.
        validation: patches that none of the batches has.
        step: how many steps have been made.
    """

    settings: PatchSettings
    labels: Labels
    read: Read
    network: PatchNetwork | TwistNetwork
    optimiser: torch.optim.Optimizer
    rng: np.random.Generator
    validation: PatchSamples
    device: torch.device
    step: int = 0

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The network, as its checkpoint names it."""
        return {"network": self.network}


def start(
    draw: PatchDraw, labels: Labels, settings: PatchSettings, seed: int, device: str, read: Read = standardised
) -> PatchLearning:
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
        network = _network(labels, settings, read).to(place)
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    return PatchLearning(settings, labels, read, network, optimiser, np.random.default_rng(batches), samples, place)


def _network(labels: Labels, settings: PatchSettings, read: Read) -> PatchNetwork | TwistNetwork:
    if isinstance(read, Polar) != (labels.form == "density"):
        raise UsageError("densities of twists are told from the rings of patches, and nothing else is: take both")
    if isinstance(read, Polar):
        return TwistNetwork(TwistNetworkConfig.scaled(read.channels, read.angles, settings.width))
    return PatchNetwork(PatchNetworkConfig(labels.size, settings.width))


def train(
    draw: PatchDraw,
    labels: Labels,
    settings: PatchSettings,
    folder: Path,
    *,
    seed: int,
    data: Mapping[str, Any],
    read: Read = standardised,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
    resume: bool = True,
) -> PatchNetwork | TwistNetwork:
    """Train a network on patches that are drawn as it goes.

    The folder keeps its state and its losses, with the errors on the validation patches, see
    `picostem.training.run`.

    Args:
        draw: gives patches; all of its randomness must come from the generator that it is handed.
        labels: what the network is to say.
        data: plain values that say what `draw` draws, so that a checkpoint is not taken up with other data.
        read: what the network reads of patches: a `Polar` for densities of twists.
        device: "auto" takes a graphics processor where there is one.
        threads: of the processor; None leaves them as they are set.
        progress, resume: as in `picostem.training.run`.

    Returns:
        the network, not in training.

    Raises:
        UsageError: patches of other shapes, a device that is not there, a checkpoint of another training.
        DataError: a damaged checkpoint, patches that are not finite, or losses that are not.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    learning = start(draw, labels, settings, seed, device, read)
    identity = {"settings": settings.as_dict(), "seed": seed, "data": dict(data), "maps": labels.maps.tolist()}
    run(
        learning,
        settings,
        draw,
        one_step,
        validate,
        folder,
        identity=identity,
        form=FORM,
        progress=progress,
        resume=resume,
    )
    return learning.network.eval()


def one_step(learning: PatchLearning, samples: PatchSamples) -> dict[str, float]:
    """Train on some patches once; returns the loss.

    Raises:
        DataError: a loss that is not finite.
    """
    for group in learning.optimiser.param_groups:
        group["lr"] = learning.settings.rate(learning.step)
    learning.network.train()
    with torch.autocast(learning.device.type, dtype=torch.bfloat16, enabled=has_bfloat16(learning.device)):
        said = learning.network(torch.from_numpy(learning.read(samples.patches)).to(learning.device))
    loss = _loss(learning, said.float(), samples)
    learning.step += 1
    figures = {"loss": float(loss.detach())}
    if not math.isfinite(figures["loss"]):
        raise DataError(f"the training diverged at step {learning.step}: take another seed or a lower rate")
    learning.optimiser.zero_grad()
    torch.autograd.backward(loss)
    if learning.settings.clip is not None:
        nn.utils.clip_grad_norm_(learning.network.parameters(), learning.settings.clip)
    learning.optimiser.step()
    return figures


def _loss(learning: PatchLearning, said: Tensor, samples: PatchSamples) -> Tensor:
    """-ln p of densities, the published loss of numbers."""
    targets = torch.from_numpy(learning.labels.targets(samples.labels)).to(said.device)
    return density_loss(said, targets) if learning.labels.form == "density" else published_loss(said, targets)


@torch.no_grad()
def validate(learning: PatchLearning) -> dict[str, float]:
    """Loss and errors, Å or degrees, on the validation patches."""
    samples, labels = learning.validation, learning.labels
    learning.network.eval()
    parts = [
        learning.network(torch.from_numpy(learning.read(samples.patches[i : i + VALIDATED])).to(learning.device)).cpu()
        for i in range(0, len(samples.patches), VALIDATED)
    ]
    said = torch.cat(parts)
    found, _ = labels.decoded(said.numpy())
    error = labels.distance(found, samples.labels) / (DEGREE if labels.twists else 1.0)
    unit = "deg" if labels.twists else "A"
    return {
        "validation_loss": float(_loss(learning, said, samples)),
        f"mean_error_{unit}": float(error.mean()),
        f"median_error_{unit}": float(np.median(error)),
    }
