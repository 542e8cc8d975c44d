"""Training of a network for stackings: one loop, which can be stopped and taken up again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from picostem.errors import DataError
from picostem.infer.features import Invariants
from picostem.infer.learning import FORM, Learning, features_of, start
from picostem.infer.merge import mixture_of
from picostem.infer.mixture import negative_log_likelihood, outputs_of
from picostem.infer.network import Perceptron
from picostem.infer.samples import Draw, Samples
from picostem.infer.torus import Torus
from picostem.infer.training_settings import TrainingSettings
from picostem.training import Progress, run

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

    The folder keeps its state and its losses, with the errors in Å on the validation samples, see
    `picostem.training.run`.

    Args:
        draw: gives samples; all of its randomness must come from the generator that it is handed.
        invariants, torus: what the network reads; what stackings there are.
        data: plain values that say what `draw` draws, so that a checkpoint is not taken up with other data.
        device: "auto" takes a graphics processor where there is one.
        threads: of the processor; None leaves them as they are set.
        progress, resume: as in `picostem.training.run`.

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
    return learning.mean.eval()


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
