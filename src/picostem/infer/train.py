"""Training of a network for stackings: one loop, which can be stopped and taken up again."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from picostem.errors import DataError
from picostem.infer.features import Invariants
from picostem.infer.learning import Learning, features_of, read_state, start, write_state
from picostem.infer.merge import mixture_of
from picostem.infer.mixture import negative_log_likelihood, outputs_of
from picostem.infer.network import Perceptron
from picostem.infer.samples import Draw, Samples
from picostem.infer.torus import Torus
from picostem.infer.training_settings import TrainingSettings
from picostem.style.state import History
from picostem.style.train import interrupts

Progress = Callable[[int, int, dict[str, float]], object]

CHECKPOINT, HISTORY = "checkpoint.safetensors", "training.jsonl"

MINUTES = 3.0
"""Between two checkpoints."""

FORGETS = 10.0
"""Steps after which the mean of the network forgets its start at the latest."""


def train(
    draw: Draw,
    invariants: Invariants,
    torus: Torus,
    settings: TrainingSettings,
    folder: Path,
    *,
    seed: int,
    data: Mapping[str, Any],
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
    resume: bool = True,
) -> Perceptron:
    """Train a network on samples that are drawn as it goes.

    Writes into the folder: checkpoint.safetensors, every few minutes, at the end and on an interrupt, from which the
    next call goes on to exactly what would have come without the interruption; training.jsonl, the losses of each
    step, with the errors in Å on the validation samples where they were measured.

    Args:
        draw: gives samples; all of its randomness must come from the generator that it is handed.
        invariants, torus: what the network reads; what stackings there are.
        data: plain values that say what `draw` draws, so that a checkpoint is not taken up with other data.
        device: "auto" takes a graphics processor where there is one.
        threads: of the processor; None leaves them as they are set.
        progress: called after each step with its number, how many there are, and what goes into training.jsonl.
        resume: go on from the folder's checkpoint; False starts anew.

    Returns:
        the mean of the network over its last steps, not in training.

    Raises:
        UsageError: samples of other shapes, a device that is not there, a checkpoint of another training.
        DataError: a damaged checkpoint, samples that are not finite, or losses that are not.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    learning = start(draw, invariants, torus, settings, seed, device)
    reads = {"hk": invariants.hk.tolist(), "triples": invariants.triples.tolist()}
    identity = {"settings": settings.as_dict(), "seed": seed, "data": dict(data), "reads": reads}
    path = folder / CHECKPOINT
    if resume and path.exists():
        read_state(learning, path, identity)
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
    return learning.mean.eval()


def _save(learning: Learning, history: History, path: Path, identity: Mapping[str, Any]) -> None:
    """Losses first: those of steps that are not in the checkpoint are dropped when it is taken up, others missed."""
    history.flush()
    write_state(learning, path, identity)


def one_step(learning: Learning, samples: Samples) -> dict[str, float]:
    """Train on some samples once; returns the losses, unweighted.

    Raises:
        DataError: losses that are not finite.
    """
    settings = learning.settings
    for group in learning.optimiser.param_groups:
        group["lr"] = settings.rate(learning.step)
    slips_loss, trust_loss = _losses(learning, learning.network, samples)
    learning.step += 1
    figures = {"slips": float(slips_loss.detach()), "trust": float(trust_loss.detach())}
    if not all(map(math.isfinite, figures.values())):
        raise DataError(f"the training diverged at step {learning.step}: take another seed or a lower rate")
    learning.optimiser.zero_grad()
    torch.autograd.backward(slips_loss + settings.outlier_weight * trust_loss)
    nn.utils.clip_grad_norm_(learning.network.parameters(), settings.clip)
    learning.optimiser.step()
    stays = min(settings.averaged, learning.step / (FORGETS + learning.step))
    with torch.no_grad():
        for mean, now in zip(learning.mean.parameters(), learning.network.parameters(), strict=True):
            mean.lerp_(now, 1 - stays)
    return figures


def _losses(learning: Learning, network: Perceptron, samples: Samples) -> tuple[Tensor, Tensor]:
    """-ln likelihood of the slips of inliers, and cross-entropy of telling them from outliers; both means."""
    place, config = learning.device, network.config
    features = features_of(learning.invariants, samples).to(place)
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=place.type == "cuda"):
        raw = network.raw(features)
    outputs = outputs_of(raw.float(), config.modes, config.interfaces)
    inlier = torch.from_numpy(~samples.outlier).to(place)
    labels = np.where(samples.outlier[:, None, None], 0, samples.slips)  # those of outliers may be anything
    slips, cell, matrices = (
        torch.from_numpy(values.astype(np.float32)).to(place)
        for values in (labels, learning.torus.cell, learning.torus.matrices)
    )
    each = negative_log_likelihood(outputs, slips, cell, matrices)
    trust = nn.functional.binary_cross_entropy_with_logits(outputs.trust, inlier.float())
    return torch.where(inlier, each, 0).sum() / inlier.sum().clamp_min(1), trust


@torch.no_grad()
def validate(learning: Learning) -> dict[str, float]:
    """Losses of the mean network on the validation samples, and the errors of its likeliest modes, Å."""
    samples = learning.validation
    slips_loss, trust_loss = _losses(learning, learning.mean, samples)
    outputs = learning.mean(features_of(learning.invariants, samples).to(learning.device))
    logits, means, factors, _ = (part.cpu().numpy() for part in outputs)
    _, modes, _ = mixture_of(learning.torus, logits, means, factors)
    known = ~samples.outlier
    error = learning.torus.distance(modes[known, 0], samples.slips[known].astype(np.float64))
    return {
        "validation_slips": float(slips_loss),
        "validation_trust": float(trust_loss),
        "mean_error_A": float(error.mean()),
        "median_error_A": float(np.median(error)),
    }
