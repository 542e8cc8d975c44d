"""What every training here shares: the loop, its checkpoints, its losses in a file, and going on where it stopped."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from picostem import checkpoint
from picostem.errors import DataError, OutputError, UsageError
from picostem.version import VERSION

if TYPE_CHECKING:
    import torch
    from torch import nn

Progress = Callable[[int, int, dict[str, float]], object]

CHECKPOINT, HISTORY = "checkpoint.safetensors", "training.jsonl"

MINUTES = 3.0
"""Between two checkpoints."""


class Resumable(Protocol):
    """A training that can be kept in a file and taken up again."""

    optimiser: torch.optim.Optimizer
    rng: np.random.Generator
    step: int

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """All that it changes, by the names that they have in the file."""


class Pace(Protocol):
    """How long a training is; see `TrainingSettings` and `PatchSettings`."""

    @property
    def steps(self) -> int:
        """How many there are."""

    @property
    def batch(self) -> int:
        """Samples in each."""

    @property
    def validate_every(self) -> int:
        """Steps after which the errors are measured."""


Trained = TypeVar("Trained", bound=Resumable)
Samples = TypeVar("Samples")


def run(
    learning: Trained,
    pace: Pace,
    draw: Callable[[np.random.Generator, int], Samples],
    one_step: Callable[[Trained, Samples], dict[str, float]],
    validate: Callable[[Trained], dict[str, float]],
    folder: Path,
    *,
    identity: Mapping[str, Any],
    form: str,
    progress: Progress | None,
    resume: bool,
) -> None:
    """Train to the end, from the folder's checkpoint if there is one.

    Writes into the folder: checkpoint.safetensors, every few minutes, at the end and on an interrupt, from which the
    next call goes on to exactly what would have come without the interruption; training.jsonl, the losses of each
    step, with what `validate` says where it was asked.

    Args:
        learning: before its first step.
        draw: gives samples; all of its randomness must come from the generator that it is handed.
        one_step: trains on samples once, and gives the losses.
        identity: plain values that say what is trained, so that no other training is taken up.
        form: of the checkpoint.
        progress: called after each step with its number, how many there are, and what goes into training.jsonl.
        resume: go on from the folder's checkpoint; False starts anew.

    Raises:
        UsageError: a checkpoint of another training.
        DataError: a damaged checkpoint, or what `one_step` raises.
    """
    path = folder / CHECKPOINT
    if resume and path.exists():
        read_state(learning, path, identity, form)
    history = History(folder / HISTORY, learning.step)

    def save() -> None:
        history.flush()  # first: losses of steps that are not in the checkpoint are dropped later, others missed
        write_state(learning, path, identity, form)

    saved = time.monotonic()
    with contextlib.closing(history), interrupts() as interrupted:
        while learning.step < pace.steps and not interrupted():
            figures = one_step(learning, draw(learning.rng, pace.batch))
            if learning.step % pace.validate_every == 0 or learning.step == pace.steps:
                figures |= validate(learning)
            history.add(learning.step, figures)
            if time.monotonic() - saved > 60 * MINUTES:
                save()
                saved = time.monotonic()
            if progress is not None:
                progress(learning.step, pace.steps, figures)
        save()


def warmed_up(step: int, steps: int, warm_up: int) -> float:
    """Share of the highest learning rate in a step, counted from 0: up in `warm_up` steps, then down to nothing."""
    return min((step + 1) / max(warm_up, 1), (steps - step) / max(steps - warm_up, 1), 1.0)


def device_of(name: str) -> torch.device:
    """The device of a name; "auto" is a graphics processor where there is one. Raises `UsageError`: it is not there."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise UsageError(f"device {name!r} cannot be used: take auto or cpu") from error
    return device


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes with bfloat16 faster than with single precision."""
    import torch

    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # from 2.10 on
    return device.type == "cuda" or bool(known.get("avx512_bf16", False))


def write_state(learning: Resumable, path: Path, identity: Mapping[str, Any], form: str) -> None:
    """Everything that the next step depends on, in one file; raises `OutputError`."""
    tensors = checkpoint.prefixed("optimiser", checkpoint.optimiser_tensors(learning.optimiser))
    for name, network in learning.networks.items():
        tensors |= checkpoint.prefixed(name, network.state_dict())
    rng = learning.rng.bit_generator.state
    checkpoint.save(path, tensors, {"identity": identity, "step": learning.step, "rng": rng, "version": VERSION}, form)


def read_state(learning: Resumable, path: Path, identity: Mapping[str, Any], form: str) -> None:
    """Bring a fresh training to where another one was.

    Raises:
        UsageError: the file is of another training.
        DataError: the file is damaged or of another format.
    """
    tensors, document = checkpoint.load(path, form)
    wanted, found = json.loads(json.dumps(identity)), document.get("identity")
    if found != wanted:
        there = found if isinstance(found, dict) else {}
        names = sorted(key for key in {*wanted, *there} if there.get(key) != wanted.get(key))
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


@contextlib.contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Let an interrupt wait until the step is done, so that what is saved is whole; it is raised when the block ends.

    A second one is raised at once. Elsewhere than in the main thread there are none.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    came = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def remember(number: int, frame: object) -> None:
        came.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, remember)
    try:
        yield came.is_set
    finally:
        signal.signal(signal.SIGINT, before)
    if came.is_set():
        raise KeyboardInterrupt
