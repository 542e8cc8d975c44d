"""What a training changes as it goes, and how it is kept in a file and taken up again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from picostem import checkpoint
from picostem.errors import DataError, UsageError
from picostem.infer.features import Invariants
from picostem.infer.network import NetworkConfig, Perceptron
from picostem.infer.samples import Draw, Samples
from picostem.infer.torus import Torus
from picostem.infer.training_settings import TrainingSettings
from picostem.version import VERSION

FORM = "picostem.stacking-training/1"


class Resumable(Protocol):
    """A training that can be kept in a file and taken up again."""

    optimiser: torch.optim.Optimizer
    rng: np.random.Generator
    step: int

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """All that it changes, by the names that they have in the file."""


@dataclass
class Learning:
    """What a training changes as it goes, and what it is measured with.

    Attributes:
        network: that learns; `mean` its exponential mean over the steps, which is what is kept.
        rng: for batches.
        validation: samples that none of the batches has.
        step: how many steps have been made.
    """

    settings: TrainingSettings
    invariants: Invariants
    torus: Torus
    network: Perceptron
    mean: Perceptron
    optimiser: torch.optim.Optimizer
    rng: np.random.Generator
    validation: Samples
    device: torch.device
    step: int = 0

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The network that learns, and its mean."""
        return {"network": self.network, "mean": self.mean}


def features_of(invariants: Invariants, samples: Samples) -> torch.Tensor:
    """What the network reads of samples, shape (k, features)."""
    return torch.from_numpy(invariants(samples.amplitudes, samples.noise, samples.factors, samples.conditions))


def start(
    draw: Draw, invariants: Invariants, torus: Torus, settings: TrainingSettings, seed: int, device: str
) -> Learning:
    """A training before its first step; every random number in it follows from the seed.

    Raises:
        UsageError: samples of other shapes, or a device that is not there.
    """
    place = device_of(device)
    weights, validation, batches = np.random.SeedSequence(seed).spawn(3)
    samples = draw(np.random.default_rng(validation), settings.validation)
    _check(samples, torus)
    config = NetworkConfig(invariants.size, torus.interfaces, settings.modes, settings.width, settings.blocks)
    with torch.random.fork_rng(devices=[]):  # initial weights come from torch's global generator only
        torch.manual_seed(int(weights.generate_state(1)[0]))
        network = Perceptron(config)
    network.standardise(features_of(invariants, samples))
    network.to(place)
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    mean = deepcopy(network).requires_grad_(False)
    rng = np.random.default_rng(batches)
    return Learning(settings, invariants, torus, network, mean, optimiser, rng, samples, place)


def _check(samples: Samples, torus: Torus) -> None:
    slips: NDArray[np.floating] = samples.slips
    wanted = (len(samples.outlier), torus.interfaces, 2)
    if slips.shape != wanted or not np.isfinite(slips[~samples.outlier]).all() or samples.outlier.all():
        raise UsageError(
            f"expected finite slips of shape {wanted}, of windows that are not all outliers, got {slips.shape} with "
            f"{samples.outlier.sum()} outliers: draw other samples"
        )


def device_of(name: str) -> torch.device:
    """The device of a name; "auto" is a graphics processor where there is one. Raises `UsageError`: it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise UsageError(f"device {name!r} cannot be used: take auto or cpu") from error
    return device


def write_state(learning: Resumable, path: Path, identity: Mapping[str, Any], form: str = FORM) -> None:
    """Everything that the next step depends on, in one file; raises `OutputError`."""
    tensors = checkpoint.prefixed("optimiser", checkpoint.optimiser_tensors(learning.optimiser))
    for name, network in learning.networks.items():
        tensors |= checkpoint.prefixed(name, network.state_dict())
    rng = learning.rng.bit_generator.state
    checkpoint.save(path, tensors, {"identity": identity, "step": learning.step, "rng": rng, "version": VERSION}, form)


def read_state(learning: Resumable, path: Path, identity: Mapping[str, Any], form: str = FORM) -> None:
    """Bring a fresh training to where another one was.

    Raises:
        UsageError: the file is of another training.
        DataError: the file is damaged or of another format.
    """
    tensors, document = checkpoint.load(path, form)
    wanted, found = json.loads(json.dumps(identity)), document.get("identity")
    if found != wanted:
        names = sorted(key for key in wanted if not isinstance(found, dict) or found.get(key) != wanted[key])
        raise UsageError(
            f"{path} is of another training: {', '.join(names)} differ: take another folder, or start anew there"
        )
    for name, network in learning.networks.items():
        checkpoint.restore(network, checkpoint.under(name, tensors), str(path))
    checkpoint.restore_optimiser(learning.optimiser, checkpoint.under("optimiser", tensors), str(path))
    try:
        learning.rng.bit_generator.state = document["rng"]
        learning.step = int(document["step"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged: {error}: start the training anew") from error
