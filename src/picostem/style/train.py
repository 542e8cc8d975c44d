"""Training of a style network: one loop, which can be stopped and taken up again."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from picostem.errors import DataError, UsageError
from picostem.style.augment import MEAN_CROP, augment
from picostem.style.network import SHRINK, StyleNetwork
from picostem.style.noise import decades, measured, spectrum_difference
from picostem.style.picture import Picture
from picostem.style.presets import Preset
from picostem.style.showcase import showcase, write_montage
from picostem.style.state import Training, fingerprint, read_state, start, write_state
from picostem.style.step import Losses, content_loss, domain_losses, grain_of, imagine, network_losses, sum_of, weighted
from picostem.training import CHECKPOINT, HISTORY, MINUTES, History, Progress, interrupts

Partners = Sequence[Sequence[int]] | None

SAMPLES = "samples"

CALIBRATED = 0.01
"""Relative; pictures at another pixel size than the preset's are refused."""

WARM_UP = 10.0
"""Steps after which the mean of the network forgets its start at the latest."""


def train(
    simulated: Sequence[Picture],
    experimental: Sequence[Picture],
    preset: Preset,
    folder: Path,
    *,
    seed: int,
    partners: Partners = None,
    device: str = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
    resume: bool = True,
    samples_every: int = 500,
) -> StyleNetwork:
    """Learn how experimental pictures look from a few of them and simulations of the same material.

    Writes into the folder: checkpoint.safetensors, every few minutes, at the end and on an interrupt, from which the
    next call goes on to exactly what would have come without the interruption; training.jsonl, the losses of each
    step; samples/NUMBER.png, what the network makes of a few patches.

    Args:
        simulated, experimental: pictures at the preset's pixel size.
        partners: of each experimental picture, the indices of the simulations that are drawn with it; None: any.
        device: "auto" takes a graphics processor where there is one.
        threads: of the processor; None leaves them as they are set.
        progress: called after each step with its number, how many there are, and the losses.
        resume: go on from the folder's checkpoint; False starts anew.
        samples_every: steps; 0 writes none.

    Returns:
        the mean of the network over its last steps, as the preset says.

    Raises:
        UsageError: no pictures, or a checkpoint of another training.
        DataError: pictures that are too small or of another pixel size, or losses that are not finite.
    """
    _check(simulated, experimental, preset)
    _check_partners(partners, simulated, experimental)
    simulated = preset.content(simulated)
    if threads is not None:
        torch.set_num_threads(threads)
    steps = preset.total_steps(len(simulated), len(experimental))
    pictures = fingerprint(simulated, experimental)
    identity = {"preset": preset.as_dict(), "steps": steps, "seed": seed, "pictures": pictures, "partners": partners}
    path = folder / CHECKPOINT
    training = start(preset, seed, device)
    if resume and path.exists():
        read_state(training, path, identity)
    history = History(folder / HISTORY, training.step)
    saved = time.monotonic()
    with contextlib.closing(history), interrupts() as interrupted:
        while training.step < steps and not interrupted():
            losses = one_step(training, simulated, experimental, steps, partners)
            history.add(training.step, losses)
            if samples_every and (training.step % samples_every == 0 or training.step == steps):
                _write_sample(training, simulated, experimental, folder)
            if time.monotonic() - saved > 60 * MINUTES:
                _save(training, history, path, identity)
                saved = time.monotonic()
            if progress is not None:
                progress(training.step, steps, losses)
        _save(training, history, path, identity)
    return training.mean


def _save(training: Training, history: History, path: Path, identity: dict[str, object]) -> None:
    """Losses first: those of steps that are not in the checkpoint are dropped when it is taken up, others missed."""
    history.flush()
    write_state(training, path, identity)


def _write_sample(
    training: Training, simulated: Sequence[Picture], experimental: Sequence[Picture], folder: Path
) -> None:
    """What the mean network makes of a few patches."""
    shown = showcase(training.mean, training.preset, simulated, experimental)
    write_montage(shown, folder / SAMPLES / f"{training.step:06}.png")


def one_step(
    training: Training,
    simulated: Sequence[Picture],
    experimental: Sequence[Picture],
    steps: int,
    partners: Partners = None,
) -> dict[str, float]:
    """Draw patches and train all parts on them once; returns the losses, unweighted.

    Raises:
        DataError: losses that are not finite.
    """
    preset, judges = training.preset, training.judges
    _set_rates(training, steps)
    x, y = (_batch(training, chosen) for chosen in _drawn(training, simulated, experimental, partners))
    made_x, made_y = imagine(training.network, x, y, training.generator)

    judged = domain_losses(made_x, made_y, judges, preset.weights, preset.adversarial)
    _descend(training.optimisers["domains"], sum_of(iter(judged.values())))
    if preset.weights.content_adversarial and training.step % preset.content_every == 0:
        judged["judge_content"] = content_loss(made_x, made_y, judges)
        _descend(training.optimisers["content"], judged["judge_content"])

    terms = network_losses(made_x, made_y, judges, preset.weights, preset.adversarial)
    if preset.weights.spectrum:
        terms["spectrum"] = _grain_loss(training, x, experimental)
    _descend(training.optimisers["network"], weighted(terms, preset.weights))
    training.step += 1
    _follow(training)
    return _finite({**terms, **judged}, training.step)


def _grain_loss(training: Training, x: Tensor, experimental: Sequence[Picture]) -> Tensor:
    """How far the grain's power is from that of the noise in experimental pictures, of patches cut as they lie."""
    augment_settings = replace(
        training.preset.augment, of=MEAN_CROP, rotation_deg=0.0, crop=(MEAN_CROP, MEAN_CROP), flips=False
    )
    chosen = [experimental[i] for i in training.rng.integers(len(experimental), size=len(x))]
    patches = np.stack([augment(picture, augment_settings, training.rng).data for picture in chosen])
    y = torch.from_numpy(patches)[:, None].to(x)
    wanted = torch.from_numpy(np.stack([measured(picture) for picture in chosen])).to(x)
    return spectrum_difference(decades(grain_of(training.network, x, y, training.generator)), wanted)


def _descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    optimiser.step()


def _set_rates(training: Training, steps: int) -> None:
    share = training.preset.rate(training.step, steps)
    for optimiser in training.optimisers.values():
        for group in optimiser.param_groups:
            group["lr"] = group["full_rate"] * share


def _drawn(
    training: Training, simulated: Sequence[Picture], experimental: Sequence[Picture], partners: Partners
) -> tuple[list[Picture], list[Picture]]:
    """Random pictures of both kinds for one batch, the simulated ones partners of the experimental ones."""
    count, rng = training.preset.batch, training.rng
    of_y = rng.integers(len(experimental), size=count)
    if partners is None:
        of_x = rng.integers(len(simulated), size=count)
    else:
        of_x = np.array([rng.choice(partners[index]) for index in of_y])
    return [simulated[index] for index in of_x], [experimental[index] for index in of_y]


def _batch(training: Training, pictures: Sequence[Picture]) -> Tensor:
    """Random patches of the pictures, (batch, 1, patch, patch)."""
    settings, rng = training.preset.augment, training.rng
    patches = np.stack([augment(picture, settings, rng).data for picture in pictures])
    return torch.from_numpy(patches)[:, None].to(training.device, memory_format=torch.channels_last)


@torch.no_grad()
def _follow(training: Training) -> None:
    """Bring the mean network nearer to the present one; quickly at first, when there is little to remember."""
    stays = min(training.preset.averaged, training.step / (WARM_UP + training.step))
    for mean, now in zip(training.mean.parameters(), training.network.parameters(), strict=True):
        mean.lerp_(now, 1 - stays)


def _finite(losses: Losses, step: int) -> dict[str, float]:
    values = {name: float(loss.detach()) for name, loss in losses.items()}
    wrong = sorted(name for name, value in values.items() if not math.isfinite(value))
    if wrong:
        raise DataError(f"the training diverged at step {step} ({', '.join(wrong)}): take another seed or a lower rate")
    return values


def _check_partners(partners: Partners, simulated: Sequence[Picture], experimental: Sequence[Picture]) -> None:
    if partners is None:
        return
    known = all(len(each) and set(each) <= set(range(len(simulated))) for each in partners)
    if len(partners) != len(experimental) or not known:
        raise UsageError(
            f"partners are indices of the {len(simulated)} simulated pictures, at least one for each of the "
            f"{len(experimental)} experimental ones; got {partners}"
        )


def _check(simulated: Sequence[Picture], experimental: Sequence[Picture], preset: Preset) -> None:
    if not simulated or not experimental:
        raise UsageError(
            f"training needs pictures of both kinds; got {len(simulated)} simulated, {len(experimental)} experimental"
        )
    if preset.augment.patch % SHRINK:
        raise UsageError(f"the side of a patch is a multiple of {SHRINK} pixels, got {preset.augment.patch}")
    for picture in (*simulated, *experimental):
        if abs(picture.pixel_size / preset.pixel_size - 1) > CALIBRATED:
            raise DataError(
                f"{picture.name} has {picture.pixel_size:.4g} Å per pixel, preset {preset.name} takes "
                f"{preset.pixel_size:.4g} Å: prepare it with that pixel size"
            )
