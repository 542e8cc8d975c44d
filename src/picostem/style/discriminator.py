"""Discriminators: which pictures come from a domain and which were generated; from which domain content comes."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from picostem.style.network_config import NetworkConfig

SCALES = 3
"""Sizes at which a picture is judged: its own, a half and a quarter."""

WIDEST = 4
"""Channels of a layer, at most, over those of the first."""


class DomainDiscriminator(nn.Module):
    """Judges patches of pictures at three scales, as DRIT++ does."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.scales = nn.ModuleList(_judge(config) for _ in range(SCALES))

    def forward(self, picture: Tensor) -> list[Tensor]:
        """Logits of being real at each scale, each (batch, 1, patches down, patches across).

        picture: (batch, 1, rows, columns).
        """
        picture = 2 * picture - 1
        logits = []
        for judge in self.scales:
            logits.append(judge(picture))
            picture = functional.avg_pool2d(picture, 3, stride=2, padding=1, count_include_pad=False)
        return logits


class ContentDiscriminator(nn.Module):
    """Judges from which domain content comes: logit of X, (batch, 1)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        channels, kernel = 4 * config.base, config.content_kernel
        wrap = _wrapper(config)
        self.features = channels
        layers: list[nn.Module] = []
        for _ in range(3):
            layers += [wrap(nn.Conv2d(channels, channels, kernel, stride=2, padding=kernel // 2)), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)
        self.last = wrap(nn.Conv2d(channels, 1, 1))

    def forward(self, content: Tensor) -> Tensor:
        """content: (batch, 4 × base, rows, columns)."""
        logits: Tensor = self.last(self.layers(content[:, : self.features])).mean(dim=(2, 3))
        return logits


def _judge(config: NetworkConfig) -> nn.Sequential:
    wrap, width = _wrapper(config), config.discriminator
    layers: list[nn.Module] = []
    before = 1
    for index in range(config.discriminator_layers):
        after = width * min(2**index, WIDEST)
        layers += [wrap(nn.Conv2d(before, after, 3, stride=2, padding=1)), nn.LeakyReLU(0.2)]
        before = after
    return nn.Sequential(*layers, wrap(nn.Conv2d(before, 1, 1)))


def _wrapper(config: NetworkConfig) -> Callable[[nn.Module], nn.Module]:
    return spectral_norm if config.spectral else _as_it_is


def _as_it_is(module: nn.Module) -> nn.Module:
    return module
