"""The published rotationally invariant autoencoder (rrVAE), with a decoder of coordinates; kept for comparison.

A pattern I(r) is taken for a template turned by an angle a, and on request moved by t and made larger by s:

    I(r) = T(q; z),   q = R(-a) (r - t)/s,   r = (x right, y up, 1),   1 half of the pattern's longer side

A fully connected encoder reads the pixels and gives a Gaussian of each latent z, of the angle, of t and of ln s; the
decoder T is a network of q and z (Bepler et al., arXiv:1909.11663). As published (Oxley et al., npj Comput. Mater. 7,
65 (2021)) the angle is a number on a line, not on a circle, and the Kullback-Leibler term of its Gaussian leaves out
its mean: the prior of 0.1 rad says how sharp an angle should be, not which. Where orientations cover the circle such an
encoder would have to jump somewhere, and it learns no angle: `picostem.stem4d.model.RVAE` is for that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from picostem import checkpoint
from picostem.errors import DataError, UsageError
from picostem.stem4d.settings import LIKELIHOODS, Likelihood
from picostem.stem4d.train import AT_ONCE, held_out
from picostem.training import Progress, device_of, has_bfloat16, run
from picostem.version import VERSION

FloatArray = NDArray[np.float64]

FORM, TRAINING, MODEL = "picostem.spatial-rvae/1", "picostem.spatial-rvae-training/1", "model.safetensors"
POINTS = 8192
"""Coordinates that are decoded together: few enough for a processor's cache."""


@dataclass(frozen=True)
class SpatialSettings:
    """An autoencoder with a decoder of coordinates, and its training; the defaults are the published ones, `SEED`.

    Attributes:
        latent: numbers that describe a pattern beside its orientation. width, layers: of the hidden layers of encoder
            and decoder; the coordinates' own layer counts.
        likelihood: gaussian, half the squared error of patterns scaled to 0 to 1; bernoulli, of these, too; poisson, of
            the counts themselves, their sum given. subtract_mean: of all patterns, before they are scaled. What is left
            of patterns that are all turned much alike is no template that turns: False is better there.
        angle_prior: standard deviation of the angle, rad. translation, scale: whether patterns may be moved and be of
            different size, too. shift_prior, scale_prior: standard deviations of t, of half the longer side, and ln s.
        epochs, batch, learning_rate: of Adam. held_out: share of the scan, in square blocks, that only validates.

    Raises:
        UsageError: numbers out of range.
    """

    latent: int = 2
    width: int = 128
    layers: int = 2
    likelihood: Likelihood = "gaussian"
    subtract_mean: bool = True
    angle_prior: float = 0.1
    translation: bool = False
    scale: bool = False
    shift_prior: float = 0.1
    scale_prior: float = 0.1
    epochs: int = 150
    batch: int = 20
    learning_rate: float = 1e-4
    held_out: float = 0.15

    def __post_init__(self) -> None:
        if min(self.latent, self.width, self.layers, self.epochs, self.batch) < 1:
            raise UsageError(f"expected positive counts, got {self}")
        if self.likelihood not in LIKELIHOODS:
            raise UsageError(f"likelihood is {self.likelihood!r}: expected one of {', '.join(LIKELIHOODS)}")
        if min(self.angle_prior, self.shift_prior, self.scale_prior, self.learning_rate) <= 0:
            raise UsageError(f"expected priors and a learning rate above 0, got {self}")
        if not 0 < self.held_out < 1:
            raise UsageError(f"held_out is {self.held_out}: expected a share between 0 and 1")

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


SEED = SpatialSettings()
"""As published, for 4096 patterns of 64 by 64 pixels from an experiment; with those simulated it took 1000 epochs."""


@dataclass(frozen=True, eq=False)
class SpatialEncoded:
    """What a model says of patterns.

    Attributes:
        mean, sigma: of the latents, shape (n, latent). angle: orientation against the template, counter-clockwise,
            radians in (-pi, pi], and its standard deviation, shape (n,). shift: x right and y up, pixels, shape (n, 2).
            scale: how many times larger than the template, shape (n,).
    """

    mean: FloatArray
    sigma: FloatArray
    angle: FloatArray
    angle_sigma: FloatArray
    shift: FloatArray
    scale: FloatArray


class SpatialNetwork(nn.Module):
    """Encoder and decoder; its buffers hold how patterns are scaled, so that it can be kept in one file."""

    mean: Tensor
    limits: Tensor
    points: Tensor

    def __init__(self, shape: tuple[int, int], settings: SpatialSettings) -> None:
        super().__init__()
        self.shape, self.settings = shape, settings
        pixels, width = math.prod(shape), settings.width
        self.register_buffer("mean", torch.zeros(pixels))
        self.register_buffer("limits", torch.tensor([0.0, 1.0]))
        self.reach = (max(shape) - 1) / 2
        self.register_buffer("points", _grid(shape, self.reach), persistent=False)
        self.moved = 1 + 2 * settings.translation + settings.scale
        sizes = [pixels] + [width] * settings.layers
        hidden = [part for pair in zip(sizes, sizes[1:], strict=False) for part in (nn.Linear(*pair), nn.Tanh())]
        self.encoder = nn.Sequential(*hidden, nn.Linear(width, 2 * (self.moved + settings.latent)))
        self.place = nn.Linear(2, width)
        self.content = nn.Linear(settings.latent, width, bias=False)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(settings.layers - 1))
        self.out = nn.Linear(width, 1)

    def scaled(self, patterns: Tensor) -> Tensor:
        """Patterns, less their mean, from 0 to 1, shape (n, pixels)."""
        return (patterns - self.mean - self.limits[0]) / (self.limits[1] - self.limits[0])

    def encode(self, scaled: Tensor) -> tuple[Tensor, Tensor]:
        """Means and logarithms of the standard deviations, shape (n, moved + latent): the angle, rad, the shift and the
        logarithm of the scale over their priors, and the latents."""
        mean, log_sigma = torch.tensor_split(self.encoder(scaled), 2, dim=1)
        return mean, log_sigma

    def motion(self, moved: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Angle, rad, shift, in half the longer side, and scale, from what the encoder says of them."""
        angle, rest = moved[:, 0], moved[:, 1:]
        shift = self.settings.shift_prior * rest[:, :2] if self.settings.translation else moved.new_zeros(len(moved), 2)
        log_scale = self.settings.scale_prior * rest[:, -1] if self.settings.scale else torch.zeros_like(angle)
        return angle, shift, torch.exp(log_scale)

    def decode(self, latents: Tensor, moved: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Templates as they are turned, moved and enlarged, shape (n, pixels).

        The first layer is a linear function of r with a matrix for each pattern: the coordinates' turn is in that.
        """
        angle, shift, scale = self.motion(moved)
        cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
        turned = torch.stack([torch.stack([cos, sin], 1), torch.stack([-sin, cos], 1)], 1)  # q = turned @ (r - t)
        matrix = turned.mT @ self.place.weight.T
        constant = self.place.bias + self.content(latents) - (shift[:, None] @ matrix)[:, 0]
        first = torch.cat([matrix, constant[:, None]], dim=1).to(dtype)
        count = max(1, POINTS // len(self.points))
        return torch.cat([self._values(part, dtype) for part in torch.split(first, count)])

    def _values(self, first: Tensor, dtype: torch.dtype) -> Tensor:
        """At all coordinates, shape (n, pixels), from the first layers of n patterns, shape (n, 3, width)."""
        h = torch.tanh(self.points.to(dtype) @ first).flatten(0, 1)
        for layer in self.hidden:
            assert isinstance(layer, nn.Linear)
            h = torch.tanh(functional.linear(h, layer.weight.to(dtype), layer.bias.to(dtype)))
        return functional.linear(h, self.out.weight.to(dtype)).view(len(first), -1).float() + self.out.bias

    def log_likelihood(self, patterns: Tensor, scaled: Tensor, drawn: Tensor) -> Tensor:
        """Of patterns given what `decode` says, shape (n,)."""
        if self.settings.likelihood == "poisson":
            return (patterns * torch.log_softmax(drawn, dim=1)).sum(dim=1)
        if self.settings.likelihood == "bernoulli":
            return -functional.binary_cross_entropy_with_logits(drawn, scaled, reduction="none").sum(dim=1)
        return -0.5 * (drawn - scaled).square().sum(dim=1)

    def told(self, mean: Tensor, log_sigma: Tensor) -> Tensor:
        """Kullback-Leibler term of all that the encoder says, nats, shape (n,)."""
        normal = 0.5 * (mean.square() + torch.exp(2 * log_sigma) - 1) - log_sigma
        spread = log_sigma[:, 0] - math.log(self.settings.angle_prior)
        return normal[:, 1:].sum(dim=1) + 0.5 * (torch.exp(2 * spread) - 1) - spread


def _grid(shape: tuple[int, int], reach: float) -> Tensor:
    """(x, y, 1) of all pixels, shape (pixels, 3)."""
    row, column = np.indices(shape)
    x, y = column - (shape[1] - 1) / 2, (shape[0] - 1) / 2 - row
    flat = np.stack([x / reach, y / reach, np.ones(shape)], axis=-1).reshape(-1, 3)
    return torch.from_numpy(flat.astype(np.float32))


@dataclass
class _Learning:
    """What a training changes as it goes, and the patterns that are held out."""

    network: SpatialNetwork
    optimiser: torch.optim.Optimizer
    rng: np.random.Generator
    held: Tensor
    step: int = 0

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        return {"network": self.network}


class _Pace(NamedTuple):
    steps: int
    batch: int
    validate_every: int


class SpatialRVAE:
    """A model: `SpatialRVAE.build`, `train`, then `encode` and `decode`; `save` and `load`."""

    def __init__(self, network: SpatialNetwork, device: torch.device) -> None:
        self.network, self.device = network.to(device), device

    @classmethod
    def build(
        cls, shape: tuple[int, int], settings: SpatialSettings = SEED, *, seed: int = 0, device: str = "auto"
    ) -> SpatialRVAE:
        """An untrained model for patterns of some rows and columns; all random numbers follow from the seed.

        Raises:
            UsageError: a device that is not there, or patterns of less than 2 by 2 pixels.
        """
        if min(shape) < 2:
            raise UsageError(f"expected patterns of 2 by 2 pixels or more, got {shape}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(SpatialNetwork(shape, settings), device_of(device))

    @property
    def settings(self) -> SpatialSettings:
        """That it was built with."""
        return self.network.settings

    def train(
        self,
        patterns: NDArray[Any],
        folder: Path | None = None,
        *,
        seed: int = 0,
        progress: Progress | None = None,
        resume: bool = True,
    ) -> SpatialRVAE:
        """Train on patterns, shape (n, rows, columns) or (scan rows, scan columns, rows, columns), all at once in
        memory; returns itself.

        Args:
            folder: for checkpoint, losses and the model, see `picostem.training.run`; a training that was stopped goes
                on. None keeps none.

        Raises:
            UsageError: patterns of another shape, or a checkpoint of another training. DataError: patterns that are not
                finite, all alike or, for the Poisson likelihood, negative; losses that are not finite; a damaged
                checkpoint. OutputError: the folder cannot be written.
        """
        settings, flat = self.settings, self._flat(patterns)
        if settings.likelihood == "poisson" and bool((flat < 0).any()):
            raise DataError("patterns with negative pixels are no counts: take the Gaussian likelihood")
        split, batches = np.random.SeedSequence(seed).spawn(2)
        scan = (patterns.shape[0], patterns.shape[1]) if patterns.ndim == 4 else (1, len(flat))
        held = held_out(scan, settings.held_out, np.random.default_rng(split))
        kept = flat[torch.from_numpy(~held)]
        if not bool((kept != kept[0]).any()):
            raise DataError("the patterns are all alike: there is nothing to learn from them")
        with torch.no_grad():
            if settings.subtract_mean:
                self.network.mean.copy_(kept.mean(dim=0))
            away = kept - self.network.mean
            self.network.limits.copy_(torch.stack([away.min(), away.max()]))
        an_epoch = math.ceil(len(kept) / settings.batch)
        optimiser = torch.optim.Adam(self.network.parameters(), settings.learning_rate)
        rng, apart = np.random.default_rng(batches), flat[torch.from_numpy(held)]
        with TemporaryDirectory() as nowhere:
            run(
                _Learning(self.network, optimiser, rng, apart),
                _Pace(settings.epochs * an_epoch, settings.batch, an_epoch),
                lambda rng, count: kept[torch.from_numpy(rng.integers(len(kept), size=count))],
                _one_step,
                _validate,
                folder or Path(nowhere),
                identity={"settings": settings.as_dict(), "seed": seed, "patterns": list(patterns.shape)},
                form=TRAINING,
                progress=progress,
                resume=resume,
            )
        if folder is not None:
            self.save(folder / MODEL)
        return self

    @torch.no_grad()
    def encode(self, patterns: NDArray[Any]) -> SpatialEncoded:
        """Latents and orientation of patterns, shape (n, rows, columns) or as `train` takes them; the model does not
        change.

        Raises: as `train`, of shapes and numbers that are not finite.
        """
        flat = self._flat(patterns)
        parts = [self.network.encode(self.network.scaled(part)) for part in torch.split(flat, AT_ONCE)]
        mean, log_sigma = (torch.cat(one) for one in zip(*parts, strict=True))
        moved = self.network.moved
        angle, shift, scale = self.network.motion(mean[:, :moved])
        angle = angle - 2 * math.pi * torch.ceil(angle / (2 * math.pi) - 0.5)
        sigma = torch.exp(log_sigma)
        found = (mean[:, moved:], sigma[:, moved:], angle, sigma[:, 0], shift * self.network.reach, scale)
        return SpatialEncoded(*(one.cpu().numpy().astype(np.float64) for one in found))

    @torch.no_grad()
    def decode(self, latents: FloatArray, angle: float = 0.0) -> FloatArray:
        """Templates of some latents, turned counter-clockwise by an angle, rad, shape (n, rows, columns), in the units
        of the patterns; with the Poisson likelihood, shares of a pattern's counts."""
        z = torch.tensor(np.atleast_2d(latents), dtype=torch.float32, device=self.device)
        moved = z.new_zeros(len(z), self.network.moved)
        moved[:, 0] = angle
        drawn = self.network.decode(z, moved)
        if self.settings.likelihood == "poisson":
            drawn = torch.softmax(drawn, dim=1)
        else:
            low, high = self.network.limits
            drawn = torch.sigmoid(drawn) if self.settings.likelihood == "bernoulli" else drawn
            drawn = drawn * (high - low) + low + self.network.mean
        return drawn.view(-1, *self.network.shape).cpu().numpy().astype(np.float64)

    def save(self, path: Path) -> None:
        """Write the model, in safetensors. Raises `OutputError`."""
        document = {"settings": self.settings.as_dict(), "shape": list(self.network.shape), "version": VERSION}
        checkpoint.save(path, self.network.state_dict(), document, FORM)

    @classmethod
    def load(cls, path: Path, device: str = "auto") -> SpatialRVAE:
        """A model from its file.

        Raises:
            FileError, DataError: missing, damaged, or no such model.
        """
        tensors, document = checkpoint.load(path, FORM)
        try:
            rows, columns = document["shape"]
            network = SpatialNetwork((rows, columns), SpatialSettings(**document["settings"]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} is damaged ({error}): train the model again") from error
        checkpoint.restore(network, tensors, str(path))
        return cls(network, device_of(device))

    def _flat(self, patterns: NDArray[Any]) -> Tensor:
        """Patterns as the network reads them, shape (n, pixels)."""
        shape = self.network.shape
        if patterns.ndim not in (3, 4) or patterns.shape[-2:] != shape:
            raise UsageError(f"the model is for patterns of {shape} pixels, got an array of shape {patterns.shape}")
        flat = np.asarray(patterns, dtype=np.float32).reshape(-1, math.prod(shape))
        if not np.isfinite(flat).all():
            raise DataError("the patterns have values that are not finite: mask these pixels")
        return torch.from_numpy(flat).to(self.device)


def _one_step(learning: _Learning, batch: Tensor) -> dict[str, float]:
    """Train on some patterns once; returns the loss and what it is made of, nats per pattern."""
    size = learning.network.moved + learning.network.settings.latent
    noise = torch.from_numpy(learning.rng.standard_normal((len(batch), size)).astype(np.float32))
    loss, figures = _loss(learning, batch, noise.to(batch.device))
    learning.step += 1
    if not math.isfinite(figures["loss"]):
        raise DataError(f"the training diverged at step {learning.step}: take another seed or a lower rate")
    learning.optimiser.zero_grad()
    torch.autograd.backward(loss)
    learning.optimiser.step()
    return figures


@torch.no_grad()
def _validate(learning: _Learning) -> dict[str, float]:
    """The loss of patterns that are held out, at the means of what the encoder says."""
    parts, nothing = torch.split(learning.held, AT_ONCE), learning.held.new_zeros(1, 1)
    total = sum(_loss(learning, part, nothing)[1]["loss"] * len(part) for part in parts)
    return {"validation_loss": total / len(learning.held)}


def _loss(learning: _Learning, patterns: Tensor, noise: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Minus the ELBO per pattern, and what it is made of."""
    network = learning.network
    scaled = network.scaled(patterns)
    mean, log_sigma = network.encode(scaled)
    drawn = mean + torch.exp(log_sigma) * noise
    told = network.told(mean, log_sigma).mean()
    dtype = torch.bfloat16 if has_bfloat16(patterns.device) else torch.float32
    pictures = network.decode(drawn[:, network.moved :], drawn[:, : network.moved], dtype)
    evidence = network.log_likelihood(patterns, scaled, pictures).mean()
    figures = {"loss": told - evidence, "kl": told, "evidence": evidence}
    return told - evidence, {name: float(value.detach()) for name, value in figures.items()}
