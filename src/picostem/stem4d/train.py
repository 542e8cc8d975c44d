"""Training of a rotationally invariant autoencoder, until patterns that are held out get no better."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from picostem.errors import DataError
from picostem.stem4d.rvae import Posterior, RVAENetwork
from picostem.stem4d.settings import RVAESettings
from picostem.training import Progress, run

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FORM = "picostem.rvae-training/1"
BLOCK = 6
"""Positions on the side of the blocks of a scan that are held out together."""
ALIGNED = 12
"""Rounds of turning patterns towards their mean."""
TRIED = 512
"""Patterns that a beginning is chosen by."""
AT_ONCE = 512
ENOUGH = 0.02
"""Nats per pattern that count as better."""
HELD = 5.0
"""Weight of a capacity that is not kept, per nat."""


class Pace(nn.Module):
    """How far the stopping rule has come, kept with the weights: best validation, how long ago, rate, halvings."""

    state: Tensor

    def __init__(self, settings: RVAESettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("state", torch.tensor([math.inf, 0.0, 1.0, 0.0], dtype=torch.float64))

    @property
    def steps(self) -> int:
        """The most, or none any more."""
        return 0 if float(self.state[3]) > self.settings.halvings else self.settings.steps

    @property
    def rate(self) -> float:
        """Of the learning rate."""
        return float(self.state[2])

    batch = property(lambda self: self.settings.batch)
    validate_every = property(lambda self: self.settings.validate_every)

    def judge(self, loss: float) -> bool:
        """Take note of a validation; True if it is the best so far."""
        best, since, rate, halvings = self.state.tolist()
        if loss < best - ENOUGH:
            self.state.copy_(torch.tensor([loss, 0.0, rate, halvings]))
            return True
        since += 1
        if since >= self.settings.patience:
            since, rate, halvings = 0.0, rate / 2, halvings + 1
        self.state.copy_(torch.tensor([best, since, rate, halvings]))
        return False


@dataclass
class Learning:
    """What a training changes as it goes, and what it is measured with: the network, the best so far, how far the
    stopping rule has come, and patterns that are held out."""

    network: RVAENetwork
    best: RVAENetwork
    pace: Pace
    optimiser: torch.optim.Optimizer
    rng: np.random.Generator
    held: Data
    step: int = 0

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """All of them, as their checkpoint names them."""
        return {"network": self.network, "best": self.best, "pace": self.pace}


@dataclass(frozen=True, eq=False)
class Data:
    """Patterns as a network reads them: harmonics over their unit, counts, and classes, -1 where they are not known."""

    values: Tensor
    counts: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, chosen: IntArray) -> Data:
        at = torch.from_numpy(np.asarray(chosen, dtype=np.int64)).to(self.values.device)
        return Data(self.values[at], self.counts[at], self.labels[at])


def learn(
    network: RVAENetwork,
    best: RVAENetwork,
    data: Data,
    shape: tuple[int, int],
    folder: Path,
    *,
    seed: int,
    progress: Progress | None,
    resume: bool,
) -> None:
    """Train a network on the patterns of a scan of some shape; `best`, one like it, becomes the best of all.

    Raises: as `picostem.training.run`.
    """
    settings = network.settings
    split, aligned, batches = np.random.SeedSequence(seed).spawn(3)
    held = held_out(shape, settings.held_out, np.random.default_rng(split))
    kept = data[np.flatnonzero(~held)]
    align(network, kept, np.random.default_rng(aligned))
    best.load_state_dict(network.state_dict())
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    pace = Pace(settings)
    learning = Learning(network, best, pace, optimiser, np.random.default_rng(batches), data[np.flatnonzero(held)])
    run(
        learning,
        pace,
        _draw(kept),
        one_step,
        validate,
        folder,
        identity={"settings": settings.as_dict(), "seed": seed, "patterns": list(data.values.shape)},
        form=FORM,
        progress=progress,
        resume=resume,
    )


def align(network: RVAENetwork, data: Data, rng: np.random.Generator) -> None:
    """Begin with the mean of patterns that are turned towards it, from the best of some starts.

    From a round template no angle would be better than another, and nothing would tell which way to go.
    """
    settings = network.settings
    chosen = data[rng.permutation(len(data))[:TRIED]]
    weight = (network.trust**2 / network.spread.clamp(min=1e-12) ** 2) * network.known
    weight[:, 0] = 0
    order = torch.arange(network.orders, device=data.values.device)
    best, score = None, -math.inf
    for first in rng.integers(len(chosen), size=settings.starts):
        mean = chosen.values[int(first)]
        for _ in range(ALIGNED):
            series = (mean.conj() * chosen.values * weight).sum(dim=1)
            grid = network.circle(series, network.angles)
            turn = torch.exp(1j * order * (grid.argmax(dim=1) * 2 * math.pi / network.angles)[:, None])
            mean = (chosen.values * turn[:, None]).mean(dim=0)
        gained = float((mean.abs().square() * weight).sum())
        if gained > score:
            best, score = mean, gained
    assert best is not None
    with torch.no_grad():
        if settings.likelihood == "gaussian":
            start = best
        else:
            level = network.mean.clamp(min=1e-3 * float(network.mean.max()))
            start = 2 * best / level[:, None] * network.trust
        parts = torch.view_as_real(start * network.known)
        network.template[:, 1:] = parts[:, 1:].clamp(-1, 1) if settings.likelihood != "gaussian" else parts[:, 1:]


def given(z: Tensor, kind: Tensor, classes: int) -> Tensor:
    """What a decoder is given: latents and a one for the class."""
    if classes == 1:
        return z
    return torch.cat([z, functional.one_hot(kind, classes).to(z.dtype)], dim=1)


def held_out(shape: tuple[int, int], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Positions of a scan in square blocks, a share of all, shape (rows * columns,): neighbours share electrons' source
    and defects, so single positions would leak. A scan that is one line or small is split in lines' parts."""
    rows, columns = shape
    side = max(1, min(BLOCK, math.isqrt(rows * columns) // 4))
    block = (np.arange(rows) // side)[:, None] * (-(-columns // side)) + np.arange(columns) // side
    numbers = rng.permutation(int(block.max()) + 1)
    count = min(max(1, round(share * len(numbers))), len(numbers) - 1)
    return np.isin(block, numbers[:count]).ravel()


def _draw(data: Data) -> Callable[[np.random.Generator, int], Data]:
    return lambda rng, count: data[rng.integers(len(data), size=min(count, len(data)))]


def one_step(learning: Learning, batch: Data) -> dict[str, float]:
    """Train on some patterns once; returns the loss and what it is made of, nats per pattern.

    Raises:
        DataError: a loss that is not finite.
    """
    settings = learning.network.settings
    rate = settings.learning_rate * learning.pace.rate * min(1.0, (learning.step + 1) / 50)
    for group in learning.optimiser.param_groups:
        group["lr"] = rate
    learning.network.train()
    noise = torch.from_numpy(learning.rng.standard_normal((len(batch), settings.latent)).astype(np.float32))
    share = min(1.0, (learning.step + 1) / max(settings.warm_up, 1))
    loss, figures = _loss(learning.network, batch, noise.to(batch.values.device), share)
    learning.step += 1
    if not math.isfinite(figures["loss"]):
        raise DataError(f"the training diverged at step {learning.step}: take another seed or a lower rate")
    learning.optimiser.zero_grad()
    torch.autograd.backward(loss)
    nn.utils.clip_grad_norm_(learning.network.parameters(), 10.0 * math.sqrt(len(batch)))
    learning.optimiser.step()
    return figures | {"rate": rate}


@torch.no_grad()
def validate(learning: Learning) -> dict[str, float]:
    """The loss of patterns that are held out, at the means of their latents; the best network is kept."""
    learning.network.eval()
    held, total, told = learning.held, 0.0, np.zeros(2)
    for first in range(0, len(held), AT_ONCE):
        part = held[np.arange(first, min(first + AT_ONCE, len(held)))]
        nothing = torch.zeros(len(part), learning.network.settings.latent, device=part.values.device)
        _, figures = _loss(learning.network, part, nothing, 1.0)
        total += figures["loss"] * len(part)
        told += np.array([figures["kl"], figures["angle"]]) * len(part)
    loss = total / len(held)
    if learning.step >= learning.network.settings.warm_up and learning.pace.judge(loss):
        learning.best.load_state_dict(learning.network.state_dict())
    return {
        "validation_loss": loss,
        "validation_kl": float(told[0]) / len(held),
        "validation_angle": float(told[1]) / len(held),
    }


def _loss(network: RVAENetwork, batch: Data, noise: Tensor, share: float) -> tuple[Tensor, dict[str, float]]:
    """Minus the ELBO per pattern and what it is made of; `share` of the weight of what latents tell counts."""
    settings = network.settings
    mean, log_variance, logits = network.encode(batch.values)
    z = mean + torch.exp(log_variance / 2) * noise
    told = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
    kl = told.clamp(min=settings.free_bits).sum(dim=1)
    if settings.capacity is None:
        cost = settings.beta * share * kl
    else:
        cost = settings.beta * HELD * (kl - settings.capacity * share).abs()
    if settings.classes == 1:
        found = network.posterior(batch.values, network.decode(z), batch.counts)
        evidence, angle = found.evidence, summary(found, 1)[2]
    else:
        evidence, angle, extra = _of_classes(network, batch, z, logits)
        cost = cost + extra
    loss = (cost - evidence).mean()
    figures = {"loss": loss, "evidence": evidence.mean(), "kl": told.sum(dim=1).mean(), "angle": angle.mean()}
    return loss, {name: float(value.detach()) for name, value in figures.items()}


def _of_classes(network: RVAENetwork, batch: Data, z: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Evidence and nats of the angle, averaged over classes, and what classes tell; known classes are taken as such."""
    settings = network.settings
    chance = torch.log_softmax(logits, dim=1)
    known = batch.labels >= 0
    sure = functional.one_hot(batch.labels.clamp(min=0), settings.classes).to(chance.dtype)
    weight = torch.where(known[:, None], sure, chance.exp())
    evidence, angle = torch.zeros(len(z), device=z.device), torch.zeros(len(z), device=z.device)
    for kind in range(settings.classes):
        which = torch.full((len(z),), kind, device=z.device)
        found = network.posterior(batch.values, network.decode(given(z, which, settings.classes)), batch.counts)
        evidence = evidence + weight[:, kind] * found.evidence
        angle = angle + weight[:, kind] * summary(found, 1)[2]
    told = (chance.exp() * (chance + math.log(settings.classes))).sum(dim=1)
    missed = -(sure * chance).sum(dim=1)
    return evidence, angle, torch.where(known, settings.labelled * missed, told)


def summary(found: Posterior, symmetry: int) -> tuple[Tensor, Tensor, Tensor]:
    """Angle, its standard error, rad, both modulo 2 pi / symmetry, and nats that the posterior tells, shape (n,)."""
    count = found.share.shape[1]
    at = torch.arange(count, device=found.share.device) * 2 * math.pi / count
    moment = (found.share * torch.exp(1j * symmetry * at)).sum(dim=1)
    wide = torch.sqrt(-2 * torch.log(moment.abs().clamp(1e-12, 1 - 1e-7))) / symmetry
    narrow = found.sharpness.clamp(min=1e-6).rsqrt()
    fine = narrow < 1.5 * 2 * math.pi / count
    one = (found.share * torch.log(found.share.clamp(min=1e-30) * count)).sum(dim=1)
    gauss = math.log(2 * math.pi) - 0.5 * torch.log(2 * math.pi * math.e * narrow.square())
    angle = torch.where(fine, found.peak, torch.angle(moment) / symmetry)
    return angle, torch.where(fine, narrow, wide), torch.where(fine, gauss, one)
