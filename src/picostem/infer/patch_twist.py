"""The network for twists: convolutions along the angle, how alike what they find is at two angles, and densities.

    u, v = convolutions of what `picostem.infer.patch_polar` reads,
    C_k(τ) = Σ_φ u_k(φ) [v_k(φ + τ) + v_k(φ - τ)] / 2,
    numbers of `picostem.infer.patch_density` = convolutions of C along τ.

A turn of the patch shifts u and v, and leaves C as it is: that the answer does not depend on it need not be learned.
The sums over φ are made with the Fourier coefficients of u and v, by products with constant matrices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

WIDTH, BLOCKS, HEAD_BLOCKS = 32, 3, 2
KERNEL, HEAD_KERNEL = 9, 7
REACH = 1.5
"""Steps that a Gaussian may be from its own place."""

TINY = 1e-5
"""Added to variances."""

SHARPEST, BROADEST = 0.01 / 120, 5.0 / 120
"""Standard deviations of Gaussians, over the period."""


@dataclass(frozen=True)
class TwistNetworkConfig:
    """Sizes of a network for twists.

    Attributes:
        channels, angles: of what it reads; the angles are even in number.
        width: channels of its convolutions.
    """

    channels: int
    angles: int
    width: int = WIDTH

    @staticmethod
    def scaled(channels: int, angles: int, width: float) -> TwistNetworkConfig:
        """With a width over WIDTH."""
        return TwistNetworkConfig(channels, angles, max(2, round(WIDTH * width)))

    @property
    def twists(self) -> int:
        """Gaussians of its densities."""
        return self.angles // 2 + 1


class _Normalised(nn.Module):
    """Group normalisation with all channels in one group, without the check of torch's that is not to be traced."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(dim=(1, 2), keepdim=True)
        variance = centred.square().mean(dim=(1, 2), keepdim=True)
        return centred * torch.rsqrt(variance + TINY) * self.weight[:, None] + self.bias[:, None]


class _Block(nn.Module):
    """A convolution and one of width 1 beside a shortcut."""

    index: Tensor

    def __init__(self, channels: int, kernel: int, spacing: int, index: Tensor) -> None:
        """index: what is read at the places from the convolution's reach before the first to that after the last."""
        super().__init__()
        self.norm = _Normalised(channels)
        self.wide = nn.Conv1d(channels, channels, kernel, dilation=spacing)
        self.narrow = nn.Conv1d(channels, channels, 1)
        self.register_buffer("index", index, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.narrow(nn.functional.gelu(self.wide(self.norm(x)[:, :, self.index])))
        return x + change


def _around(count: int, reach: int) -> Tensor:
    """Angles go round."""
    return torch.arange(-reach, count + reach) % count


def _even(count: int, reach: int) -> Tensor:
    """Twists are even about both ends."""
    last = count - 1
    return last - (torch.arange(-reach, count + reach).abs() - last).abs()


class TwistNetwork(nn.Module):
    """What `Polar` reads, (b, channels, angles), to densities of twists, (b, 3 twists)."""

    cosine: Tensor
    sine: Tensor
    back: Tensor

    def __init__(self, config: TwistNetworkConfig) -> None:
        super().__init__()
        self.config = config
        width, angles = config.width, config.angles
        self.enter = nn.Conv1d(config.channels, width, 1)
        spacings = [2**i for i in range(BLOCKS)]
        self.blocks = nn.Sequential(
            *(_Block(width, KERNEL, one, _around(angles, KERNEL // 2 * one)) for one in spacings)
        )
        self.pair = nn.Conv1d(width, 2 * width, 1)
        self.alike = nn.Conv1d(width, 2 * width, 1)
        self.whole = nn.Linear(2 * width, 2 * width)
        self.place = nn.Parameter(torch.zeros(2 * width, config.twists))
        index = _even(config.twists, HEAD_KERNEL // 2)
        head = (_Block(2 * width, HEAD_KERNEL, 1, index) for _ in range(HEAD_BLOCKS))
        self.head = nn.Sequential(*head, _Normalised(2 * width), nn.Conv1d(2 * width, 3, 1))
        turn = 2 * math.pi / angles * torch.outer(torch.arange(angles), torch.arange(angles // 2 + 1)).double()
        share = torch.full((angles // 2 + 1, 1), 2.0 / angles)
        share[[0, -1]] /= 2  # coefficients without an opposite
        self.register_buffer("cosine", turn.cos().float(), persistent=False)
        self.register_buffer("sine", turn.sin().float(), persistent=False)
        self.register_buffer("back", (share * turn.cos().T[:, : config.twists]).float(), persistent=False)

    @property
    def outputs(self) -> int:
        """How many numbers it says of a patch."""
        return 3 * self.config.twists

    def forward(self, read: Tensor) -> Tensor:
        """ln w, m and ln s of each Gaussian."""
        x = self.blocks(self.enter(read))
        u, v = self.pair(x).chunk(2, dim=1)
        both = (u @ self.cosine) * (v @ self.cosine) + (u @ self.sine) * (v @ self.sine)
        alike = both @ self.back / math.sqrt(self.config.angles)
        whole = torch.cat([x.mean(dim=2), x.amax(dim=2)], dim=1)
        raw = self.head(self.alike(alike) + self.whole(whole)[:, :, None] + self.place)
        step = 1 / self.config.angles
        means = step * (torch.arange(self.config.twists, device=raw.device) + REACH * torch.tanh(raw[:, 1]))
        middle, half = math.log(SHARPEST * BROADEST) / 2, math.log(BROADEST / SHARPEST) / 2
        return torch.cat([torch.log_softmax(raw[:, 0], dim=1), means, middle + half * torch.tanh(raw[:, 2])], dim=1)


def density_loss(said: Tensor, twists: Tensor) -> Tensor:
    """Mean of -ln p of twists over their period, from 0 to 1/2, shape (b, 1), by numbers (b, 3 B)."""
    weights, means, sigmas = said.chunk(3, dim=1)
    copies = torch.stack([twists, -twists, 1 - twists])
    exponents = weights - sigmas - math.log(2 * math.pi) / 2 - ((copies - means) * torch.exp(-sigmas)).square() / 2
    return -torch.logsumexp(exponents, dim=(0, 2)).mean()
