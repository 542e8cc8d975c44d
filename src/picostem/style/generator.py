"""From content and attribute to an image, and the grain on it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from picostem.style.layers import Injection, ResidualBlock, activation, convolution
from picostem.style.network_config import SHRINK, NetworkConfig


class Generator(nn.Module):
    """From content and attribute to an image."""

    def __init__(self, config: NetworkConfig, shared: ResidualBlock, *, grainy: bool) -> None:
        super().__init__()
        base = config.base
        self.shared = shared
        self.start = Injection(config, 4 * base)
        self.residual = nn.Sequential(*(ResidualBlock(config) for _ in range(config.residual)))
        self.injections = nn.ModuleList(Injection(config, channels) for channels in (4 * base, 2 * base))
        self.ups = nn.ModuleList(UpConvolution(config, channels) for channels in (4 * base, 2 * base))
        self.last = convolution(base, 1, 7)
        self.tanh = config.output == "tanh"
        self.grain = Grain(config) if grainy else None
        self.features = config.features
        self.skip = Skip(config) if config.skip else None

    def forward(self, content: Tensor, attribute: Tensor, noise: Tensor | None = None) -> Tensor:
        """The image, (batch, 1, rows, columns), greys from 0 to 1 (a little beyond where the output is linear).

        content: (batch, 4 × base, rows/4, columns/4); attribute: (batch, attribute size); noise: standard normal, of
        the image's shape; None is no noise, as zeros are.
        """
        image = self.base(content, attribute)
        if noise is None or self.grain is None:
            return image
        grain: Tensor = self.grain(image, attribute, noise)
        return image + grain

    def base(self, content: Tensor, attribute: Tensor) -> Tensor:
        """The image without its grain."""
        features = self.residual(self.start(self.shared(content[:, : self.features]), attribute))
        for inject, up in zip(self.injections, self.ups, strict=True):
            features = up(inject(features, attribute))
        greys = self.last(features)
        if self.skip is not None:
            greys = greys + self.skip(content[:, self.features :], attribute) - 0.5
        image: Tensor = (torch.tanh(greys) + 1) / 2 if self.tanh else greys + 0.5
        return image


class Skip(nn.Module):
    """The picture in content through a linear filter, with brightness and contrast by the attribute."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.filter = convolution(1, 1, 9)
        self.inject = Injection(config, 1)

    def forward(self, pixels: Tensor, attribute: Tensor) -> Tensor:
        """pixels: (batch, 16, rows/4, columns/4); attribute: (batch, attribute size); out (batch, 1, rows, columns)."""
        picture: Tensor = self.inject(self.filter(functional.pixel_shuffle(pixels, SHRINK)), attribute)
        return picture


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
    """Noise of an image: filtered white noise, its strength pixel by pixel a function of the image and the attribute.

        grain = w ∗ Σ_k s_k(image, attribute) (f_k ∗ noise)

    It is linear in the noise, so it has no mean of its own (the expected image is the one without grain), and no noise
    gives exactly no grain. Bright places can be noisier, as counted electrons are.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        channels = config.grain
        self.filters = nn.Sequential(
            convolution(1, channels, 5, bias=False),
            convolution(channels, channels, 5, bias=False),
        )
        self.strength = nn.Sequential(convolution(1, channels, 5), activation(config))
        self.inject = Injection(config, channels)
        self.mix = convolution(channels, 1, 5, bias=False)

    def forward(self, image: Tensor, attribute: Tensor, noise: Tensor) -> Tensor:
        """image, noise: (batch, 1, rows, columns); attribute: (batch, attribute size)."""
        strength = self.inject(self.strength(image), attribute)
        grain: Tensor = self.mix(strength * self.filters(noise))
        return grain
