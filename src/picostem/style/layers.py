"""Parts that encoders and generators of a style network are made of."""

from __future__ import annotations

from torch import Tensor, nn

from picostem.style.network_config import NetworkConfig

SLOPE = 0.2
"""Of activations below 0, without norms."""


def convolution(before: int, after: int, kernel: int, *, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    """A convolution that keeps the size, or divides it by the stride, over the picture mirrored at its borders."""
    padding = (kernel - 1) // 2
    return nn.Conv2d(before, after, kernel, stride=stride, padding=padding, padding_mode="reflect", bias=bias)


def norm(config: NetworkConfig, channels: int) -> nn.Module:
    """Instance norm, or nothing."""
    return nn.InstanceNorm2d(channels) if config.norm == "instance" else nn.Identity()


def activation(config: NetworkConfig) -> nn.Module:
    """Without norms, a few channels could all come to lie where a ReLU is 0, and never leave."""
    return nn.ReLU() if config.norm == "instance" else nn.LeakyReLU(SLOPE)


class ResidualBlock(nn.Module):
    """f + conv(relu(conv(f))) on 4 × base channels, each convolution followed by the norm."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        channels = 4 * config.base
        self.branch = nn.Sequential(
            convolution(channels, channels, 3),
            norm(config, channels),
            activation(config),
            convolution(channels, channels, 3),
            norm(config, channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(batch, 4 × base, rows, columns), the same shape out."""
        result: Tensor = features + self.branch(features)
        return result


class Injection(nn.Module):
    """The attribute brought into features: f (1 + A s) + B s, s the attribute after a small perceptron.

    DRIT++ concatenates the attribute to the features as constant maps; a convolution makes of them a constant for each
    channel, the term B s. The factor is ours: brightness and contrast of an image belong to its style.
    """

    def __init__(self, config: NetworkConfig, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.maps = None
        if config.attribute:
            self.maps = nn.Sequential(nn.Linear(config.attribute, 32), nn.ReLU(), nn.Linear(32, 2 * channels))

    def forward(self, features: Tensor, attribute: Tensor) -> Tensor:
        """features: (batch, channels, rows, columns); attribute: (batch, attribute size)."""
        if self.maps is None:
            return features
        both: Tensor = self.maps(attribute)[:, :, None, None]
        return features * (1 + both[:, : self.channels]) + both[:, self.channels :]
