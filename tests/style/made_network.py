"""Small networks, and gradients by part, for the tests of the style network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch

from picostem.style.network import NetworkConfig, StyleNetwork
from picostem.style.presets import CPU
from picostem.style.step import Discriminators

SMALL = replace(CPU.network, base=4, attribute=3, grain=4, discriminator=4)
"""As preset `cpu`, with fewer channels."""

FREE = replace(SMALL, imaging="free")
"""The same without a picture in its content, as published."""

PUBLISHED = NetworkConfig(base=4, residual=1, discriminator=4, discriminator_layers=2)
"""As preset `paper`, with fewer channels."""

PARTS = ("content_x", "content_y", "attribute_x", "attribute_y", "generate_x", "generate_y")


def made(config: NetworkConfig = SMALL, seed: int = 0) -> tuple[StyleNetwork, Discriminators]:
    """Network and judges with weights from a seed."""
    torch.manual_seed(seed)
    return StyleNetwork(config), Discriminators(config)


def pictures(seed: int, batch: int = 2, side: int = 32) -> torch.Tensor:
    """Uniform noise from 0 to 1, (batch, 1, side, side)."""
    return torch.rand((batch, 1, side, side), generator=torch.Generator().manual_seed(seed))


def noise(like: torch.Tensor, seed: int = 9) -> torch.Tensor:
    """Standard normal noise of the shape of a picture."""
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed))


def reached(module: torch.nn.Module, without: Iterable[str] = ()) -> bool:
    """Whether a gradient other than 0 has come to any parameter, but for those named by how their names begin."""
    return any(
        parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        for name, parameter in module.named_parameters()
        if not name.startswith(tuple(without))
    )


def own_parts(network: StyleNetwork) -> dict[str, bool]:
    """By part: whether a gradient has come to what it does not share with the other domain's."""
    return {part: reached(getattr(network, part), ("shared", "grain")) for part in PARTS}
