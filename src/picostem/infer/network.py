"""The network: a residual perceptron from the features of a window to a mixture over its stackings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from picostem.errors import DataError, UsageError
from picostem.infer.mixture import Outputs, outputs_of, raw_size

LIMIT = 10.0
"""Standard deviations at which a feature is cut off, so that one wild number cannot rule the answer."""

CONSTANT = 1e-6
"""Features that vary by less are ignored: the training cannot say what they mean."""


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of a network.

    Attributes:
        features: numbers that it reads.
        interfaces: slips in a stacking.
        modes: Gaussians in its answer.
        width: of the layers.
        blocks: residual ones, of two layers each.

    Raises:
        UsageError: a size that is not positive.
    """

    features: int
    interfaces: int = 1
    modes: int = 4
    width: int = 512
    blocks: int = 4

    def __post_init__(self) -> None:
        wrong = {name: value for name, value in asdict(self).items() if type(value) is not int or value < 1}
        if wrong:
            raise UsageError(f"sizes of a network are whole and positive, got {wrong}")

    def as_dict(self) -> dict[str, int]:
        """Plain values."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> NetworkConfig:
        """The inverse of `as_dict`; raises `DataError` for other names."""
        expected = {field.name for field in fields(NetworkConfig)}
        if set(values) != expected:
            raise DataError(f"a network's sizes are {sorted(expected)}, got {sorted(values)}: train the network again")
        return NetworkConfig(**values)


class Perceptron(nn.Module):
    """Features (b, features), in whatever scale they come, to `Outputs`."""

    centre: Tensor
    gain: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("centre", torch.zeros(config.features))
        self.register_buffer("gain", torch.ones(config.features))
        width = config.width
        self.enter = nn.Linear(config.features, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)) for _ in range(config.blocks)
        )
        self.leave = nn.Linear(width, raw_size(config.modes, config.interfaces))

    def standardise(self, features: Tensor) -> None:
        """Take over the means and the spread of features (k, features)."""
        spread = features.std(dim=0)
        self.centre.copy_(features.mean(dim=0))
        self.gain.copy_(torch.where(spread > CONSTANT, 1 / spread.clamp_min(CONSTANT), 0.0))

    def raw(self, features: Tensor) -> Tensor:
        """The last layer, which `picostem.infer.mixture.outputs_of` reads; half precision is enough for this part."""
        x = nn.functional.silu(self.enter(((features - self.centre) * self.gain).clamp(-LIMIT, LIMIT)))
        for block in self.blocks:
            x = x + block(x)
        last: Tensor = self.leave(nn.functional.silu(x))
        return last

    def forward(self, features: Tensor) -> Outputs:
        """What the features say of the stackings."""
        return outputs_of(self.raw(features), self.config.modes, self.config.interfaces)
