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
from picostem.errors import DataError, OutputError, UsageError
from picostem.style.network import StyleNetwork
from picostem.style.picture import Picture
from picostem.style.presets import Preset
from picostem.style.step import Discriminators
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
    place = _device(device)
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


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise UsageError(f"device {name!r} cannot be used: take auto or cpu") from error
    return device


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


class History:
    """The losses of each step, a line of JSON each."""

    def __init__(self, path: Path, step: int) -> None:
        """Go on after a step; lines of later ones, written after the checkpoint, go."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = [row for row in read_history(path) if row["step"] <= step] if path.exists() and step else []
            path.write_text("".join(json.dumps(row) + "\n" for row in kept), "utf-8")
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}; choose another folder") from error

    def add(self, step: int, losses: dict[str, float]) -> None:
        """Write one step down."""
        self._file.write(json.dumps({"step": step, **{name: round(loss, 6) for name, loss in losses.items()}}) + "\n")

    def flush(self) -> None:
        """Make sure that it is in the file."""
        self._file.flush()

    def close(self) -> None:
        """No more steps."""
        self._file.close()


def read_history(path: Path) -> list[dict[str, float]]:
    """The losses of each step; a last line that a kill cut short is left out.

    Raises:
        DataError: it is not such a file.
    """
    rows: list[dict[str, float]] = []
    lines = path.read_text("utf-8").split("\n")
    for number, line in enumerate(lines[:-1], 1):
        try:
            row = json.loads(line)
            float(sum(row.values()) + row["step"])
            rows.append(row)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise DataError(f"{path}, line {number} is not a step's losses: remove the file") from error
    return rows
