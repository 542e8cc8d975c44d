"""From pictures to what they show, and to how they show it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from picostem.style.layers import ResidualBlock, activation, convolution, norm
from picostem.style.network_config import SHRINK, NetworkConfig


class ContentEncoder(nn.Module):
    """From a picture to its content, (batch, 4 × base, rows/4, columns/4).

    With linear imaging there are 16 channels more, the pixels of a picture: the given one where it is `clean`, else one
    that is estimated from the features.
    """

    def __init__(self, config: NetworkConfig, shared: ResidualBlock, *, clean: bool) -> None:
        super().__init__()
        base = config.base
        self.own = nn.Sequential(
            convolution(1, base, 7),
            nn.LeakyReLU(),
            convolution(base, 2 * base, 3, stride=2),
            norm(config, 2 * base),
            activation(config),
            convolution(2 * base, 4 * base, 3, stride=2),
            norm(config, 4 * base),
            activation(config),
            *(ResidualBlock(config) for _ in range(config.residual)),
        )
        self.shared = shared
        self.linear = config.imaging == "linear"
        self.estimate = convolution(4 * base, SHRINK**2, 3) if self.linear and not clean else None

    def forward(self, picture: Tensor) -> Tensor:
        """picture: (batch, 1, rows, columns)."""
        features: Tensor = self.shared(self.own(2 * picture - 1))
        if not self.linear:
            return features
        pixels = functional.pixel_unshuffle(picture, SHRINK) if self.estimate is None else self.estimate(features)
        return torch.cat([features, pixels], dim=1)


class AttributeEncoder(nn.Module):
    """From a picture to mean and log variance of its attribute, each (batch, attribute size)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        base = config.base
        widths = (base, 2 * base, 4 * base, 4 * base)
        layers: list[nn.Module] = [convolution(1, base, 7), activation(config)]
        for before, after in zip(widths, widths[1:], strict=False):
            layers += [convolution(before, after, 4, stride=2), activation(config)]
        self.features = nn.Sequential(*layers)
        self.size = config.attribute
        self.head = nn.Linear(4 * base, 2 * self.size) if self.size else None

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """picture: (batch, 1, rows, columns)."""
        if self.head is None:
            nothing = picture.new_zeros((picture.shape[0], self.size))
            return nothing, nothing
        pooled = self.features(2 * picture - 1).mean(dim=(2, 3))
        both: Tensor = self.head(pooled)
        return both[:, : self.size], both[:, self.size :]
