"""What a training changes as it goes, and how it is kept in a file and taken up again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from picostem import checkpoint
from picostem.errors import DataError, UsageError
from picostem.style.network import StyleNetwork
from picostem.style.picture import Picture
from picostem.style.presets import Preset
from picostem.style.step import Discriminators
from picostem.training import device_of
from picostem.version import VERSION

FORM = "picostem.style-training/1"

Document = dict[str, Any]


@dataclass
class Training:
    """What a training changes as it goes.

    Attributes:
        network: encoders and generators; `mean` their exponential mean over the steps, which is what is kept.
        judges: the discriminators.
        optimisers: "network", "domains" (both discriminators of pictures), "content".
        rng: for patches; `generator`: for all else that is drawn.
        step: how many steps have been made.
    """

    preset: Preset
    network: StyleNetwork
    mean: StyleNetwork
    judges: Discriminators
    optimisers: dict[str, torch.optim.Optimizer]
    rng: np.random.Generator
    generator: torch.Generator
    device: torch.device
    step: int = 0


def start(preset: Preset, seed: int, device: str = "auto") -> Training:
    """A training before its first step; every random number in it follows from the seed.

    Raises:
        UsageError: a device that is not there.
    """
    place = device_of(device)
    weights, patches, draws = np.random.SeedSequence(seed).spawn(3)
    with torch.random.fork_rng(devices=[]):  # initial weights come from torch's global generator only
        torch.manual_seed(int(weights.generate_state(1)[0]))
        network, judges = StyleNetwork(preset.network), Discriminators(preset.network)
    # Convolutions of few channels are several times faster so.
    network.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    judges.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    mean = deepcopy(network).requires_grad_(False)
    domains = [*judges.x.parameters(), *judges.y.parameters()]
    return Training(
        preset=preset,
        network=network,
        mean=mean,
        judges=judges,
        optimisers={
            "network": _adam(list(network.parameters()), preset, 1.0),
            "domains": _adam(domains, preset, 1.0),
            "content": _adam(list(judges.content.parameters()), preset, preset.content_slower),
        },
        rng=np.random.default_rng(patches),
        generator=torch.Generator().manual_seed(int(draws.generate_state(1)[0])),
        device=place,
    )


def _adam(parameters: list[torch.nn.Parameter], preset: Preset, slower: float) -> torch.optim.Optimizer:
    rate = preset.learning_rate / slower
    return torch.optim.Adam(
        [{"params": parameters, "full_rate": rate}], lr=rate, betas=preset.betas, weight_decay=preset.weight_decay
    )


def fingerprint(*sets: Sequence[Picture]) -> str:
    """What tells one training's pictures from another's."""
    digest = hashlib.sha256()
    for pictures in sets:
        digest.update(b"set")
        for picture in pictures:
            digest.update(f"{picture.data.shape} {picture.pixel_size!r}".encode())
            digest.update(np.ascontiguousarray(picture.data).tobytes())
    return digest.hexdigest()


def write_state(training: Training, path: Path, identity: Document) -> None:
    """Everything that the next step depends on, in one file.

    Raises:
        OutputError: the file cannot be written.
    """
    tensors = {
        **checkpoint.prefixed("network", training.network.state_dict()),
        **checkpoint.prefixed("mean", training.mean.state_dict()),
        **checkpoint.prefixed("judges", training.judges.state_dict()),
        "generator": training.generator.get_state(),
    }
    for name, optimiser in training.optimisers.items():
        tensors |= checkpoint.prefixed(f"optimiser-{name}", checkpoint.optimiser_tensors(optimiser))
    document = {
        "identity": identity,
        "network": training.preset.network.as_dict(),
        "step": training.step,
        "rng": training.rng.bit_generator.state,
        "version": VERSION,
    }
    checkpoint.save(path, tensors, document, FORM)


def read_state(training: Training, path: Path, identity: Document) -> None:
    """Bring a fresh training to where another one was.

    Raises:
        UsageError: the file is of another training.
        DataError: the file is damaged or of another format.
    """
    tensors, document = checkpoint.load(path, FORM)
    found = document.get("identity")
    wanted = json.loads(json.dumps(identity))
    if found != wanted:
        names = sorted(key for key in wanted if not isinstance(found, dict) or found.get(key) != wanted[key])
        raise UsageError(
            f"{path} is of another training: {', '.join(names)} differ: take another folder, or start anew there"
        )
    checkpoint.restore(training.network, checkpoint.under("network", tensors), str(path))
    checkpoint.restore(training.mean, checkpoint.under("mean", tensors), str(path))
    checkpoint.restore(training.judges, checkpoint.under("judges", tensors), str(path))
    for name, optimiser in training.optimisers.items():
        checkpoint.restore_optimiser(optimiser, checkpoint.under(f"optimiser-{name}", tensors), str(path))
    try:
        training.generator.set_state(tensors["generator"])
        training.rng.bit_generator.state = document["rng"]
        training.step = int(document["step"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{path} is damaged: {error}: start the training anew") from error
