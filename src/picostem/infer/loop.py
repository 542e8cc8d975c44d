"""The loop of every training here: draw, step, measure now and then, keep, and go on where it was stopped."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from picostem.infer.learning import Resumable, read_state, write_state
from picostem.style.state import History
from picostem.style.train import interrupts

Progress = Callable[[int, int, dict[str, float]], object]

CHECKPOINT, HISTORY = "checkpoint.safetensors", "training.jsonl"

MINUTES = 3.0
"""Between two checkpoints."""


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
