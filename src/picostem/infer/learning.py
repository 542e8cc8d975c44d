"""What a training changes as it goes."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from picostem.errors import UsageError
from picostem.infer.features import Invariants
from picostem.infer.network import NetworkConfig, Perceptron
from picostem.infer.samples import Draw, Samples
from picostem.infer.torus import Torus
from picostem.infer.training_settings import TrainingSettings
from picostem.training import device_of

FORM = "picostem.stacking-training/1"


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
