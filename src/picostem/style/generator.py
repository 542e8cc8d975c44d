"""From content and attribute to an image, and the grain on it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from picostem.style.layers import Injection, ResidualBlock, activation, convolution
from picostem.style.network_config import SHRINK, NetworkConfig

FILTERS, FILTER = 4, 11
"""Filters of linear imaging, and their side, pixels."""

GRAIN = 15
"""Side of the grain's filters, pixels."""

OFFSET, DARKEST = 0.02, 1e-4
"""Grey of nothing below the darkest, to begin with, and the least grey over it that a root is taken of."""

LEVEL = 1.5
"""Where greys level off, to begin with."""

LARGEST = 3.0
"""Logarithm of a filter's share, at most: attributes far from any image must not overflow."""

SLOW, SLOW_REACH = 8.0, 20
"""Width of the Gaussian that gain and background are smoothed with, and its reach, pixels of content."""


class Generator(nn.Module):
    """From content and attribute to an image."""

    def __init__(self, config: NetworkConfig, shared: ResidualBlock, *, grainy: bool) -> None:
        super().__init__()
        self.shared = shared
        self.start = Injection(config, 4 * config.base)
        self.residual = nn.Sequential(*(ResidualBlock(config) for _ in range(config.residual)))
        self.imaging = FreeImaging(config) if config.imaging == "free" else LinearImaging(config)
        self.tanh = config.output == "tanh"
        self.grain = Grain(config) if grainy else None
        self.log_level = nn.Parameter(torch.tensor(math.log(LEVEL))) if grainy else None
        self.features = config.features

    def forward(self, content: Tensor, attribute: Tensor, noise: Tensor | None = None) -> Tensor:
        """The image, (batch, 1, rows, columns), greys from 0 to 1 (a little beyond where the output is linear).

        content: (batch, 4 × base, rows/4, columns/4), with linear imaging 16 more; attribute: (batch, attribute size);
        noise: standard normal, of the image's shape; None gives the image before `recorded`.
        """
        image = self.base(content, attribute)
        return image if noise is None else self.recorded(image, attribute, noise)

    def base(self, content: Tensor, attribute: Tensor) -> Tensor:
        """The image without its grain."""
        features = self.residual(self.start(self.shared(content[:, : self.features]), attribute))
        greys = self.imaging(features, content[:, self.features :], attribute)
        image: Tensor = (torch.tanh(greys) + 1) / 2 if self.tanh else greys + 0.5
        return image

    def recorded(self, image: Tensor, attribute: Tensor, noise: Tensor) -> Tensor:
        """An image with its grain, and with its greys levelling off."""
        return image if self.grain is None else self.levelled(image + self.grain(image, attribute, noise))

    def levelled(self, image: Tensor) -> Tensor:
        """The greys x as detectors and displays have them, x/(1 + (x/l)⁴)^¼: x far below a level l, never more."""
        if self.log_level is None:
            return image
        result: Tensor = image / (1 + (image / self.log_level.exp()) ** 4) ** 0.25
        return result


class FreeImaging(nn.Module):
    """Features to greys by convolutions, the attribute brought in again before each enlargement."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        base = config.base
        self.injections = nn.ModuleList(Injection(config, channels) for channels in (4 * base, 2 * base))
        self.ups = nn.ModuleList(UpConvolution(config, channels) for channels in (4 * base, 2 * base))
        self.last = convolution(base, 1, 7)

    def forward(self, features: Tensor, pixels: Tensor, attribute: Tensor) -> Tensor:
        """features: (batch, 4 × base, rows/4, columns/4); pixels: of no channels; out (batch, 1, rows, columns)."""
        for inject, up in zip(self.injections, self.ups, strict=True):
            features = up(inject(features, attribute))
        greys: Tensor = self.last(features)
        return greys


class LinearImaging(nn.Module):
    """The picture in content as a microscope would show it, (1 + gain) Σ_k c_k (f_k ∗ picture) + background.

    The filters have sums of 1 and positive shares c_k, which depend on the attribute alone: bright stays bright. Gain
    and background come from the features and change slowly from place to place, as contamination and the beam current
    do.
    """

    kernel: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.filters = nn.Parameter(torch.zeros(FILTERS, 1, FILTER, FILTER))
        self.log_shares = nn.Parameter(torch.full((FILTERS,), -math.log(FILTERS)))
        self.inject = Injection(config, FILTERS)
        self.slow = nn.Conv2d(4 * config.base, 2, 1)
        x = torch.arange(-SLOW_REACH, SLOW_REACH + 1, dtype=torch.float32)
        kernel = torch.exp(-((x / SLOW) ** 2) / 2)
        self.register_buffer("kernel", (kernel / kernel.sum()).repeat(2, 1), persistent=False)

    def forward(self, features: Tensor, pixels: Tensor, attribute: Tensor) -> Tensor:
        """features: (batch, 4 × base, rows/4, columns/4); pixels: 16 channels; out (batch, 1, rows, columns)."""
        picture = functional.pixel_shuffle(pixels, SHRINK)
        image = self._filtered(picture, attribute)
        smooth = functional.pad(self.slow(features), [SLOW_REACH] * 4, mode="replicate")
        for kernel in (self.kernel[:, None, :, None], self.kernel[:, None, None, :]):
            smooth = functional.conv2d(smooth, kernel, groups=2)
        smooth = functional.interpolate(smooth, scale_factor=float(SHRINK), mode="bilinear")
        greys: Tensor = image * (1 + smooth[:, :1]) + smooth[:, 1:] - 0.5
        return greys

    def _filtered(self, picture: Tensor, attribute: Tensor) -> Tensor:
        """Σ_k c_k (f_k ∗ picture)."""
        kernels = self.filters - self.filters.mean(dim=(2, 3), keepdim=True)
        padded = functional.pad(picture, [FILTER // 2] * 4, mode="reflect")
        filtered = picture + functional.conv2d(padded, kernels)
        shares = self.log_shares[None, :, None, None].expand(picture.shape[0], -1, 1, 1)
        return (torch.exp(self.inject(shares, attribute).clamp(max=LARGEST)) * filtered).sum(dim=1, keepdim=True)


class UpConvolution(nn.Module):
    """Twice as many pixels, half as many channels; pixels repeated, then convolved, which leaves no checkerboard."""

    def __init__(self, config: NetworkConfig, channels: int) -> None:
        super().__init__()
        self.convolution = convolution(channels, channels // 2, 3)
        # Over all channels together, as in DRIT++: a norm of each alone would take the attribute away again.
        self.norm = nn.GroupNorm(1, channels // 2) if config.norm == "instance" else nn.Identity()
        self.activation = activation(config)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channels, rows, columns) to (batch, channels/2, 2 rows, 2 columns)."""
        wide = functional.interpolate(features, scale_factor=2.0, mode="nearest")
        result: Tensor = self.activation(self.norm(self.convolution(wide)))
        return result


class Grain(nn.Module):
    """Noise of an image, made of filtered white noise: that of counts, and that of a probe beside its place.

        grain = (sqrt(image + o) + g)² - (image + o) - E[g²] + d · ∇image
        g = Σ_k s_k(attribute) (f_k ∗ noise),    d = Σ_k t_k(attribute) (f_k ∗ noise)

    o is the grey that nothing would have, below the darkest. By g bright places are noisier, by the root of their
    brightness, and high greys further out than low ones; by d, a displacement in pixels, the flanks of atoms are
    noisier than their peaks. Grain has no mean: the expected image is the one without.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        channels = config.grain
        self.filters = convolution(1, channels, GRAIN, bias=False)
        self.log_offset = nn.Parameter(torch.tensor(math.log(OFFSET)))
        self.strengths = nn.Parameter(torch.full((channels,), 1 / channels))
        self.displacements = nn.Parameter(torch.zeros(2 * channels))
        self.inject = Injection(config, 3 * channels)

    def forward(self, image: Tensor, attribute: Tensor, noise: Tensor) -> Tensor:
        """image, noise: (batch, 1, rows, columns); attribute: (batch, attribute size)."""
        shares = torch.cat([self.strengths, self.displacements])[None, :, None, None]
        shares = self.inject(shares.expand(image.shape[0], -1, 1, 1), attribute)
        filtered = self.filters(noise)
        g, right, up = ((share * filtered).sum(dim=1, keepdim=True) for share in shares.chunk(3, dim=1))
        kernel = (shares.chunk(3, dim=1)[0] * self.filters.weight[:, 0]).sum(dim=1, keepdim=True)
        root = (image + self.log_offset.exp()).clamp(min=DARKEST).sqrt()
        counted = 2 * root * g + g.square() - kernel.square().sum(dim=(2, 3), keepdim=True)
        padded = functional.pad(image, [1, 1, 1, 1], mode="replicate")
        along = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
        across = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
        grain: Tensor = counted + right * along + up * across
        return grain
