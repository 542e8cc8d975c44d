"""ResNet-50 for patches: the published network, of any width.

He, Zhang, Ren, Sun, CVPR 2016 (arXiv:1512.03385), table 1, with the stride of a block in its 3 × 3 convolution; one
channel in, and the head of TED-Gen: 1000, 512 and then as many numbers as the labels take.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from picostem.errors import DataError, UsageError

STAGES = (3, 4, 6, 3)
CHANNELS = 64
EXPANSION = 4
HEAD = (1000, 512)


@dataclass(frozen=True)
class PatchNetworkConfig:
    """Sizes of a network for patches.

    Attributes:
        outputs: numbers that it says.
        width: of all layers over those of ResNet-50, those of the head as well.

    Raises:
        UsageError: no outputs, or a width that leaves no layers.
    """

    outputs: int
    width: float = 1.0

    def __post_init__(self) -> None:
        if type(self.outputs) is not int or self.outputs < 1 or not 0.05 <= self.width <= 4:
            raise UsageError(f"expected one output or more and a width from 0.05 to 4, got {self}")

    def scaled(self, channels: int) -> int:
        """As many channels as the width leaves of these."""
        return max(1, round(channels * self.width))

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> PatchNetworkConfig:
        """The inverse of `as_dict`; raises `DataError` for other names."""
        expected = {field.name for field in fields(PatchNetworkConfig)}
        if set(values) != expected:
            raise DataError(f"a network's sizes are {sorted(expected)}, got {sorted(values)}: train the network again")
        return PatchNetworkConfig(**values)


class Bottleneck(nn.Module):
    """1 × 1, 3 × 3 and 1 × 1 convolutions beside a shortcut."""

    def __init__(self, before: int, inner: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_normalised(before, inner, 1),
            nn.ReLU(inplace=True),
            *_normalised(inner, inner, 3, stride),
            nn.ReLU(inplace=True),
            *_normalised(inner, after, 1),
        )
        changes = before != after or stride != 1
        self.shortcut = nn.Sequential(*_normalised(before, after, 1, stride)) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Shape (b, before, y, x) to (b, after, y / stride, x / stride)."""
        return torch.relu(self.body(x) + self.shortcut(x))


class PatchNetwork(nn.Module):
    """Patches (b, 1, side, side), of mean 0 and variance 1, to what they say of the labels, (b, outputs)."""

    def __init__(self, config: PatchNetworkConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.scaled(CHANNELS)
        self.enter = nn.Sequential(
            *_normalised(1, channels, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, padding=1)
        )
        blocks = []
        for stage, count in enumerate(STAGES):
            inner = config.scaled(CHANNELS * 2**stage)
            for block in range(count):
                blocks.append(Bottleneck(channels, inner, EXPANSION * inner, 2 if stage and not block else 1))
                channels = EXPANSION * inner
        self.blocks = nn.Sequential(*blocks)
        sizes = [channels, *map(config.scaled, HEAD)]
        hidden = [
            layer
            for before, after in zip(sizes, sizes[1:], strict=False)
            for layer in (nn.Linear(before, after), nn.ReLU(inplace=True))
        ]
        self.head = nn.Sequential(*hidden, nn.Linear(sizes[-1], config.outputs))
        self.apply(_initialised)
        # a third quicker on processors
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def outputs(self) -> int:
        """How many numbers it says of a patch."""
        return self.config.outputs

    def forward(self, patches: Tensor) -> Tensor:
        """What the patches say."""
        result: Tensor = self.head(self.blocks(self.enter(patches)).mean(dim=(2, 3)))
        return result


def _normalised(before: int, after: int, size: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    """A convolution that keeps the size but for its stride, and batch normalisation."""
    return nn.Conv2d(before, after, size, stride, padding=size // 2, bias=False), nn.BatchNorm2d(after)


def _initialised(layer: nn.Module) -> None:
    """He initialisation of convolutions (He et al., ICCV 2015)."""
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
