"""A rotationally invariant variational autoencoder of diffraction patterns that cannot lose their orientation.

A pattern is a template u(r, phi; z) that latents z describe, turned by an angle alpha. Written in angular harmonics, a
turned template is u_km exp(-i m alpha), and the likelihood of electrons counted in pixels p needs of a pattern only its
own harmonics T_km (`picostem.stem4d.harmonics`):

    ln p(I | z, alpha) = sum_p I_p ln lambda(p; z, alpha) - N ln sum_p lambda
                       = Re sum_km u_km conj(T_km) exp(-i m alpha) - N ln sum_p exp(u),        u = ln lambda

for N counts in all. As a function of alpha this is a Fourier series, known on the whole circle after one FFT. So the
posterior of the angle is not learned by a network but computed, with as many maxima as it has, and the angle is
integrated out exactly:

    ELBO = E_q(z) [ ln ∫ p(alpha) p(I | z, alpha) dalpha ] - KL(q(z) | N(0, 1))

There is no angle that a network could fail to learn, which is how the published one, whose angle is an unwrapped
Gaussian, loses the circle (Oxley et al., npj Comput. Mater. 7, 65 (2021)). The encoder correlates the pattern with
templates at all angles and takes means over the angle: what it says of z cannot depend on the orientation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from picostem.stem4d.harmonics import Harmonics
from picostem.stem4d.settings import Likelihood, RVAESettings

FloatArray = NDArray[np.float64]

FINER = 2
"""Radii for each ring at which a pattern's sum is taken."""
DIM = 1e-3
"""Of the mean pattern's mean: the uniform background that a fit begins with."""
FAINT = 0.02
"""Modulation that a decoder may give a harmonic that the data do not show, of the mean's."""
NARROW = 1.5
"""Steps of the angles' grid: of a posterior narrower than that the peak is taken for Gaussian."""
NEWTON = 3


@dataclass(frozen=True, eq=False)
class Scaling:
    """What a network knows of its data before it is trained.

    Attributes:
        mean: of the rings, per count, shape (rings,). spread: standard deviation of each harmonic per count, what noise
            adds taken off, shape (rings, orders + 1). trust: share of the variance that is no noise, of that shape.
        known: as in `Harmonics`. area, radii: of the rings.
    """

    mean: FloatArray
    spread: FloatArray
    trust: FloatArray
    known: NDArray[np.bool_]
    area: FloatArray
    radii: FloatArray

    @classmethod
    def of(cls, harmonics: Harmonics, likelihood: Likelihood) -> Scaling:
        """From the harmonics of a scan."""
        unit = unit_of(harmonics, likelihood)
        values = harmonics.values / unit[:, None, None]
        mean = np.asarray(values[:, :, 0].real.mean(axis=0, dtype=np.float64))
        away = values.astype(np.complex128)
        away[:, :, 0] -= mean
        power = np.mean(np.abs(away) ** 2, axis=0)
        noise = np.asarray(np.mean(harmonics.noise[:, 0] / unit[:, None] ** 2, axis=0, dtype=np.float64))[:, None]
        if likelihood == "gaussian":
            noise = np.zeros_like(noise)  # of numbers that are no counts nothing is known
        signal = np.maximum(power - noise, 0)
        least = 1e-3 * signal.max()
        return cls(
            mean,
            np.sqrt(np.maximum(signal, least * 1e-3)),
            signal / np.maximum(np.maximum(power, noise), least + 1e-30),
            harmonics.known,
            harmonics.area,
            harmonics.radii,
        )


def unit_of(harmonics: Harmonics, likelihood: Likelihood) -> FloatArray:
    """What each pattern is divided by before a network reads it: its counts; of numbers that are no counts, nothing."""
    if likelihood == "poisson":
        return np.maximum(harmonics.counts, 1e-30)
    return np.ones(len(harmonics.values))


class Posterior(NamedTuple):
    """Of the angle: logarithm of the likelihood integrated over it, shape (n,); values on the grid of angles, as
    probabilities, shape (n, angles); the likeliest angle, rad, and minus the second derivative there, shape (n,)."""

    evidence: Tensor
    share: Tensor
    peak: Tensor
    sharpness: Tensor


class RVAENetwork(nn.Module):
    """Encoder and decoder in angular harmonics.

    Buffers hold what it knows of the data, so that it can be kept in one file.
    """

    mean: Tensor
    spread: Tensor
    trust: Tensor
    known: Tensor
    mixing: Tensor
    weight: Tensor
    size: Tensor

    def __init__(self, settings: RVAESettings, scaling: Scaling) -> None:
        super().__init__()
        self.settings = settings
        rings, orders = scaling.known.shape
        self.rings, self.orders = rings, orders
        self.angles = 2 ** math.ceil(math.log2(4 * orders))
        self._keep("mean", scaling.mean)
        self._keep("spread", scaling.spread)
        self._keep("trust", scaling.trust)
        self._keep("known", scaling.known.astype(np.float32))
        mixing, weight = _finer(scaling.radii, scaling.area)
        self._keep("mixing", mixing)
        self._keep("weight", weight)
        level = _level(settings.likelihood, scaling)
        size = _sizes(settings.likelihood, scaling)
        self._keep("size", size)
        template = np.zeros((rings, orders, 2))
        template[:, 0, 0] = level
        self.template = nn.Parameter(torch.tensor(template, dtype=torch.float32))
        dim = math.log(DIM * abs(scaling.mean.sum()) / scaling.area.sum() + 1e-30)
        self.background = nn.Parameter(torch.tensor(dim))
        self.variance = nn.Parameter(torch.full((rings,), 2 * math.log(float(scaling.spread.max()) + 1e-30)))
        hidden, inside = settings.width, rings + settings.templates
        self.filters = nn.Parameter(torch.randn(settings.templates, rings, orders, 2) / math.sqrt(rings * orders))
        self.bias = nn.Parameter(torch.zeros(settings.templates))
        says = 2 * settings.latent + (settings.classes if settings.classes > 1 else 0)
        self.encoder = nn.Sequential(
            nn.Linear(inside, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, says)
        )
        given = settings.latent + (settings.classes if settings.classes > 1 else 0)
        self.decoder = nn.Sequential(
            nn.Linear(given, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(),
            nn.Linear(hidden, rings * orders * 2),
        )  # fmt: skip
        with torch.no_grad():
            self.decoder[-1].weight.mul_(0.1)  # type: ignore[operator]
            self.decoder[-1].bias.zero_()  # type: ignore[operator]

    def _keep(self, name: str, values: NDArray[np.floating]) -> None:
        self.register_buffer(name, torch.tensor(np.asarray(values), dtype=torch.float32))

    def encode(self, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and logarithm of the variance of each latent, shape (n, latent), and logits of classes, (n, classes).

        Args:
            values: harmonics over the unit of `unit_of`, complex, shape (n, rings, orders).
        """
        away = torch.cat([values[:, :, :1] - self.mean[:, None], values[:, :, 1:]], dim=2)
        scaled = away * (self.trust / self.spread.clamp(min=1e-12))
        filters = torch.view_as_complex(self.filters)
        answer = torch.einsum("nkm,ckm->ncm", scaled, filters)
        grid = self.circle(answer, 4 * self.orders) + self.bias[:, None]
        pooled = functional.gelu(grid).mean(dim=2)
        said = self.encoder(torch.cat([scaled[:, :, 0].real, pooled], dim=1))
        latent = self.settings.latent
        return said[:, :latent], said[:, latent : 2 * latent].clamp(-12, 4), said[:, 2 * latent :]

    def decode(self, given: Tensor) -> Tensor:
        """Templates at angle 0, complex, shape (n, rings, orders): logarithms of intensity, or with Gaussian noise
        intensities, as harmonics.

        Args:
            given: latents, and behind them a one for the class, shape (n, latent (+ classes)).
        """
        change = self.decoder(given).view(-1, self.rings, self.orders, 2) * self.size[:, :, None]
        out = torch.view_as_complex((self.template + change).contiguous())
        return out * self.known

    def posterior(self, values: Tensor, template: Tensor, counts: Tensor) -> Posterior:
        """Of the angle of each pattern, given its template.

        Args:
            values: as `encode` takes them. template: as `decode` gives it. counts: what `unit_of` says, shape (n,).
        """
        if self.settings.likelihood == "gaussian":
            precision = torch.exp(-self.variance)[:, None] * self.known
            series = (template.conj() * values * precision).sum(dim=1)
            own = 0.5 * (template.abs().square() * precision).sum(dim=(1, 2))
            rest = 0.5 * (values.abs().square() * precision).sum(dim=(1, 2))
            rest = rest - 0.5 * (torch.log(precision.clamp(min=1e-30)) * self.known * self._freedom()).sum()
            constant = -own - rest
        else:
            eta = self.circle(template, 4 * self.orders)
            if self.settings.likelihood == "poisson":
                eta = torch.logaddexp(eta, self.background)
                # what the fine radii see; the rings between are straight lines
                fine = torch.einsum("sk,nkt->nst", self.mixing, eta)
                total = torch.logsumexp(fine + torch.log(self.weight / eta.shape[2])[:, None], dim=(1, 2))
                constant = -counts * total
            else:
                fine = torch.einsum("sk,nkt->nst", self.mixing, eta)
                constant = -(functional.softplus(fine).mean(dim=2) * self.weight).sum(dim=1)
            waves = self._waves(eta) * self.known
            series = (waves.conj() * values).sum(dim=1) * counts[:, None]
        return self._integrated(series, constant)

    def _integrated(self, series: Tensor, constant: Tensor) -> Posterior:
        """Of ln p(alpha) = Re sum_m series_m exp(i m alpha) + constant, angles on the whole circle."""
        strength, direction = self.settings.prior
        if strength > 0:
            add = torch.zeros_like(series[:1])
            add[:, 1] = torch.polar(torch.tensor(strength), torch.tensor(-direction))
            series = series + add
            norm = math.log(float(np.i0(strength)))
        else:
            norm = 0.0
        grid, step = self.circle(series, self.angles), 2 * math.pi / self.angles
        order = torch.arange(self.orders, device=series.device)
        peak = self.highest(series)
        wave = series * torch.exp(1j * order * peak[:, None])
        top, sharpness = wave.real.sum(dim=1), (order**2 * wave.real).sum(dim=1)
        whole = torch.logsumexp(grid, dim=1) - math.log(self.angles)
        gauss = top - 0.5 * torch.log(sharpness.clamp(min=1e-6) * 2 * math.pi)
        evidence = torch.where(sharpness * (NARROW * step) ** 2 > 1, gauss, whole)
        return Posterior(evidence + constant - norm, torch.softmax(grid, dim=1), peak, sharpness)

    @torch.no_grad()
    def highest(self, series: Tensor, allowed: Tensor | None = None) -> Tensor:
        """The angle, rad, where Re sum_m series_m exp(i m alpha) is highest, by Newton's method from the grid, (n,).

        Args:
            allowed: angles of the grid that it may start from, shape (angles,); None for all.
        """
        grid, step = self.circle(series, self.angles), 2 * math.pi / self.angles
        order = torch.arange(self.orders, device=series.device)
        start = grid if allowed is None else grid.masked_fill(~allowed, -math.inf)
        peak: Tensor = start.argmax(dim=1) * step
        for _ in range(NEWTON):
            wave = series * torch.exp(1j * order * peak[:, None])
            slope, bend = -(order * wave.imag).sum(dim=1), -(order**2 * wave.real).sum(dim=1)
            move = torch.where(bend < 0, -slope / bend.clamp(max=-1e-12), torch.zeros_like(slope))
            peak = peak + move.clamp(-step, step)
        return peak

    def circle(self, waves: Tensor, count: int) -> Tensor:
        """Re sum_m waves_m exp(i m theta) at `count` angles from 0 on, along the last axis."""
        half = torch.cat([waves[..., :1].real.to(waves.dtype), waves[..., 1:] / 2], dim=-1)
        out: Tensor = torch.fft.irfft(half, n=count, dim=-1) * count
        return out

    def _waves(self, circle: Tensor) -> Tensor:
        """The inverse of `circle`, up to the highest order that is kept."""
        waves = torch.fft.rfft(circle, dim=-1)[..., : self.orders] / circle.shape[-1]
        out: Tensor = torch.cat([waves[..., :1], 2 * waves[..., 1:]], dim=-1)
        return out

    def _freedom(self) -> Tensor:
        """Real numbers in each harmonic."""
        out = torch.full_like(self.known, 2.0)
        out[:, 0] = 1.0
        return out


def _finer(radii: FloatArray, area: FloatArray) -> tuple[FloatArray, FloatArray]:
    """From rings to FINER times as many radii, by straight lines, and how many pixels each of these stands for."""
    rings = len(radii)
    at = np.arange((rings - 1) * FINER + 1) / FINER
    mixing = np.maximum(1 - np.abs(at[:, None] - np.arange(rings)), 0)
    weight = at.copy()
    weight[0], weight[-1] = 1 / (6 * FINER), at[-1] / 2
    return mixing, weight * (area.sum() / weight.sum())


def _level(likelihood: Likelihood, scaling: Scaling) -> FloatArray:
    """The mean pattern as the decoder gives it, shape (rings,)."""
    if likelihood == "gaussian":
        return scaling.mean
    least = DIM * scaling.mean.sum() / scaling.area.sum()
    level = np.maximum(scaling.mean / np.maximum(scaling.area, 1e-9), least)
    return np.asarray(np.log(level) if likelihood == "poisson" else np.log(level / np.maximum(1 - level, DIM)))


def _sizes(likelihood: Likelihood, scaling: Scaling) -> FloatArray:
    """How much a template may differ from the mean in each harmonic, in the decoder's own units."""
    if likelihood == "gaussian":
        return np.asarray(np.maximum(scaling.spread, FAINT * scaling.spread.max()))
    modulation = 2 * scaling.spread / np.maximum(scaling.mean, 1e-3 * scaling.mean.max())[:, None]
    return np.asarray(np.clip(modulation, FAINT, 1.0))
