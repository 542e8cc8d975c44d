"""A rotationally invariant autoencoder as it is used: built, trained, kept, and asked about patterns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from picostem import checkpoint
from picostem.errors import DataError, UsageError
from picostem.stem4d.harmonics import Harmonics
from picostem.stem4d.rvae import RVAENetwork, Scaling, unit_of
from picostem.stem4d.settings import RVAESettings
from picostem.stem4d.train import AT_ONCE, Data, given, learn, summary
from picostem.training import Progress, device_of
from picostem.version import VERSION

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FORM, MODEL = "picostem.rvae/1", "model.safetensors"
"""Of the file of a trained model, and its name in the folder of its training."""
ACTIVE = 0.05
"""Variance of a latent's mean over the data, from which it tells something; of the prior it is 1."""
ASLEEP = 1.0
"""Nats per pattern, of having an orientation, below which that is noise."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """What a model says of patterns.

    Attributes:
        mean, sigma: of the latents, shape (n, latent).
        angle, angle_sigma: orientation, radians in (-pi/symmetry, pi/symmetry], and its standard error, that of
            an unknown angle as far as the pattern may as well be round, shape (n,).
        told: by how many nats the pattern is likelier with an orientation than if it were round, shape (n,).
        classes: probabilities, shape (n, classes). evidence: logarithm of the likelihood, per count, shape (n,).
    """

    mean: FloatArray
    sigma: FloatArray
    angle: FloatArray
    angle_sigma: FloatArray
    told: FloatArray
    classes: FloatArray
    evidence: FloatArray


@dataclass(frozen=True)
class Alarms:
    """Whether a model uses what it has: nats that each latent tells on average, and that an orientation gains; which
    latents are active; what is wrong, in words."""

    latents: tuple[float, ...]
    angle: float
    active: tuple[bool, ...]
    warnings: tuple[str, ...]


class RVAE:
    """A model: `RVAE.build`, `train`, then `encode` and `decode`; `save` and `load`."""

    def __init__(self, network: RVAENetwork, scaling: Scaling, device: torch.device) -> None:
        self.network, self.scaling, self.device = network.to(device), scaling, device

    @classmethod
    def build(
        cls, harmonics: Harmonics, settings: RVAESettings | None = None, *, seed: int = 0, device: str = "auto"
    ) -> RVAE:
        """An untrained model for patterns like these; all random numbers follow from the seed.

        Raises:
            UsageError: a device that is not there. DataError: patterns without any counts, or that are not finite.
        """
        settings = settings or RVAESettings()
        if not np.isfinite(harmonics.values).all():
            raise DataError("the patterns have values that are not finite: mask these pixels")
        if settings.likelihood != "gaussian" and not (harmonics.counts > 0).any():
            raise DataError("the patterns hold no counts: mean-subtracted data need the Gaussian likelihood")
        scaling = Scaling.of(harmonics, settings.likelihood)
        place = device_of(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = RVAENetwork(settings, scaling)
        return cls(network, scaling, place)

    @property
    def settings(self) -> RVAESettings:
        """That it was built with."""
        return self.network.settings

    def train(
        self,
        harmonics: Harmonics,
        folder: Path | None = None,
        *,
        labels: IntArray | None = None,
        seed: int = 0,
        progress: Progress | None = None,
        resume: bool = True,
    ) -> RVAE:
        """Train on the patterns of a scan until those that are held out get no better; returns itself.

        Args:
            folder: for checkpoint, losses and the model, see `picostem.training.run`; a training that was stopped goes
                on. None keeps none. labels: classes that are known, -1 where not, shape (n,).

        Raises:
            UsageError: labels of the wrong shape, or a checkpoint of another training. DataError: losses that are not
                finite, or a damaged checkpoint. OutputError: the folder cannot be written.
        """
        data = self._data(harmonics, labels)
        best = RVAENetwork(self.settings, self.scaling).to(self.device)
        with TemporaryDirectory() as nowhere:
            learn(
                self.network,
                best,
                data,
                harmonics.shape,
                folder or Path(nowhere),
                seed=seed,
                progress=progress,
                resume=resume,
            )
        self.network.load_state_dict(best.state_dict())
        if folder is not None:
            self.save(folder / MODEL)
        return self

    def save(self, path: Path) -> None:
        """Write the model, in safetensors. Raises `OutputError`."""
        arrays = {
            name: torch.from_numpy(np.array(getattr(self.scaling, name))) for name in Scaling.__dataclass_fields__
        }
        tensors = checkpoint.prefixed("network", self.network.state_dict()) | checkpoint.prefixed("scaling", arrays)
        checkpoint.save(path, tensors, {"settings": self.settings.as_dict(), "version": VERSION}, FORM)

    @classmethod
    def load(cls, path: Path, device: str = "auto") -> RVAE:
        """A model from its file.

        Raises:
            FileError, DataError: missing, damaged, or no such model.
        """
        tensors, document = checkpoint.load(path, FORM)
        try:
            values = document["settings"]
            settings = RVAESettings(**values | {"prior": tuple(values["prior"])})
            scaling = Scaling(**{name: value.numpy() for name, value in checkpoint.under("scaling", tensors).items()})
        except (KeyError, TypeError) as error:
            raise DataError(f"{path} is damaged ({error}): train the model again") from error
        network = RVAENetwork(settings, scaling)
        checkpoint.restore(network, checkpoint.under("network", tensors), str(path))
        return cls(network, scaling, device_of(device))

    @torch.no_grad()
    def encode(self, harmonics: Harmonics) -> Encoded:
        """Latents, orientation and class of patterns; the model does not change."""
        self.network.eval()
        data = self._data(harmonics, None)
        starts = range(0, len(data), AT_ONCE)
        parts = [self._read(data[np.arange(first, min(first + AT_ONCE, len(data)))]) for first in starts]
        whole = (torch.cat(one).cpu().numpy().astype(np.float64) for one in zip(*parts, strict=True))
        return Encoded(*whole)

    def _read(self, part: Data) -> tuple[Tensor, ...]:
        """The fields of `Encoded`."""
        mean, log_variance, logits = self.network.encode(part.values)
        chance = torch.softmax(logits, dim=1) if self.settings.classes > 1 else torch.ones_like(part.counts)[:, None]
        template = self._template(mean, chance.argmax(dim=1))
        found = self.network.posterior(part.values, template, part.counts)
        angle, sigma, _ = summary(found, self.settings.symmetry)
        turn = 2 * math.pi / self.settings.symmetry
        angle = angle + self._orientation(template)
        angle = angle - turn * torch.round(angle / turn)
        level = torch.cat([template[:, :, :1], torch.zeros_like(template[:, :, 1:])], dim=2)
        told = found.evidence - self.network.posterior(part.values, level, part.counts).evidence
        oriented = torch.sigmoid(told)
        sigma = torch.sqrt(oriented * sigma.square() + (1 - oriented) * turn**2 / 12)
        evidence = found.evidence / part.counts.clamp(min=1)
        return mean, torch.exp(log_variance / 2), angle, sigma, told, chance, evidence

    @torch.no_grad()
    def decode(self, latents: FloatArray, kind: int = 0, angle: float = 0.0) -> NDArray[np.complex128]:
        """Harmonics of the templates of some latents and a class, shape (n, rings, orders): logarithms of intensity per
        pixel and count, or with the Gaussian likelihood sums as `Harmonics.values`. `draw` makes them pictures.

        Args:
            angle: orientation, rad, as `encode` gives it.
        """
        z = torch.tensor(np.atleast_2d(latents), dtype=torch.float32, device=self.device)
        template = self._template(z, torch.full((len(z),), kind, device=self.device))
        turn = angle - self._orientation(template).cpu().numpy().astype(np.float64)
        order = np.arange(template.shape[2])
        return np.asarray(template.cpu().numpy() * np.exp(-1j * order * turn[:, None])[:, None])

    def draw(self, latents: FloatArray, kind: int = 0, angle: float = 0.0, side: int = 64) -> FloatArray:
        """Templates as pictures, shape (n, side, side), y up; with counts, the share of them in each pixel."""
        template = self.decode(latents, kind, angle)
        at = np.linspace(-1, 1, side) * self.scaling.radii[-1]
        x, y = np.meshgrid(at, -at)
        step = self.scaling.radii[1]
        hats = np.maximum(1 - np.abs(np.hypot(x, y)[..., None] / step - np.arange(len(self.scaling.radii))), 0)
        order = np.arange(template.shape[2])
        if self.settings.likelihood == "gaussian":
            share = np.where(order == 0, 1.0, 2.0) / np.maximum(self.scaling.area, 1e-9)[:, None]
            waves = np.exp(1j * np.arctan2(y, x)[..., None] * order)
            return np.asarray(np.einsum("nkm,xyk,xym->nxy", template * share, hats, waves, optimize=True).real)
        waves = np.exp(1j * np.arctan2(y, x)[..., None] * order)
        eta = np.einsum("nkm,xyk,xym->nxy", template, hats, waves, optimize=True).real
        inside = np.hypot(x, y) <= self.scaling.radii[-1]
        out = np.exp(eta) if self.settings.likelihood == "poisson" else 1 / (1 + np.exp(-eta))
        return np.asarray(np.where(inside, out, 0.0))

    def alarms(self, found: Encoded) -> Alarms:
        """Whether latents or angle have collapsed on these patterns."""
        told = 0.5 * (found.mean**2 + found.sigma**2 - 1 - 2 * np.log(np.maximum(found.sigma, 1e-12)))
        active = found.mean.var(axis=0) > ACTIVE
        angle = float(found.told.mean())
        words = []
        if self.settings.latent and not active.any():
            words.append("no latent tells anything: the patterns differ in nothing but orientation and noise")
        if angle < ASLEEP:
            words.append("the angle tells nothing: the patterns are round, or too few electrons were counted")
        return Alarms(tuple(told.mean(axis=0).tolist()), angle, tuple(active.tolist()), tuple(words))

    def _data(self, harmonics: Harmonics, labels: IntArray | None) -> Data:
        if harmonics.values.shape[1:] != self.scaling.known.shape:
            raise UsageError(
                f"the model is for {self.scaling.known.shape} rings and orders, got {harmonics.values.shape[1:]}"
            )
        n = len(harmonics.values)
        known = np.full(n, -1) if labels is None else np.asarray(labels)
        if known.shape != (n,) or known.max(initial=-1) >= self.settings.classes:
            raise UsageError(f"expected a class below {self.settings.classes}, or -1, for each of {n} patterns")
        unit = unit_of(harmonics, self.settings.likelihood)
        values = torch.from_numpy((harmonics.values / unit[:, None, None]).astype(np.complex64))
        counts = torch.from_numpy(unit.astype(np.float32))
        return Data(
            values.to(self.device), counts.to(self.device), torch.from_numpy(known.astype(np.int64)).to(self.device)
        )

    def _template(self, z: Tensor, kind: Tensor) -> Tensor:
        return self.network.decode(given(z, kind, self.settings.classes))

    def _orientation(self, template: Tensor) -> Tensor:
        """Of templates as the decoder gives them, rad: which way each of them looks is the decoder's free choice.

        It is that of the middle template, told by its harmonic of the declared order in the ring where that is
        strongest, and the angle by which the template is turned against the middle one where it fits that best.
        """
        network, n = self.network, min(self.settings.symmetry, template.shape[2] - 1)
        origin = torch.zeros(1, self.settings.latent, device=self.device)
        middle = self._template(origin, torch.zeros(1, dtype=torch.int64, device=self.device))
        waves = middle[0, :, n] * network.spread[:, n] * network.trust[:, n]
        own = -torch.angle(waves[waves.abs().argmax()]) / self.settings.symmetry
        return own + self._turned(template, middle)

    def _turned(self, template: Tensor, middle: Tensor) -> Tensor:
        """By how much templates are turned against the middle one, rad: where they fit it best, not far from 0."""
        weight = self.network.spread * self.network.trust
        series = ((template * weight).conj() * (middle * weight)).sum(dim=1)
        at = torch.arange(self.network.angles, device=series.device) * 2 * math.pi / self.network.angles
        return -self.network.highest(series, torch.cos(at * self.settings.symmetry) > 0)
