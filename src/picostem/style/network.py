"""The network that takes an image apart into content and attribute, and puts these together again: DRIT++, one channel.

X are simulated images without noise, Y experimental ones; pictures are tensors (batch, 1, rows, columns) of greys from
0 to 1, rows and columns multiples of 4. Content is what an image shows, attribute a few numbers for how it shows it.

Source: Lee et al., IJCV 128, 2402 (2020), with the sizes of TED-Gen. What differs from it is said where it does.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from picostem.errors import UsageError
from picostem.style.encoder import AttributeEncoder, ContentEncoder
from picostem.style.generator import FILTER, SLOW_REACH, FreeImaging, Generator, Grain, LinearImaging
from picostem.style.layers import SLOPE, ResidualBlock
from picostem.style.network_config import SHRINK, NetworkConfig

__all__ = ["SHRINK", "NetworkConfig", "StyleNetwork", "receptive_field"]

SMALL = 0.1
"""Initial strength of residual branches, image and grain without norms, over that which keeps the variance."""

PUBLISHED_SPREAD = 0.02
"""Standard deviation of the initial weights of DRIT++."""


class StyleNetwork(nn.Module):
    """Content encoders, attribute encoders and generators of both domains."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        shared_content = ResidualBlock(config)
        shared_generator = ResidualBlock(config)
        self.content_x = ContentEncoder(config, shared_content, clean=True)
        self.content_y = ContentEncoder(config, shared_content, clean=False)
        self.attribute_x = AttributeEncoder(config)
        self.attribute_y = AttributeEncoder(config)
        self.generate_x = Generator(config, shared_generator, grainy=False)
        self.generate_y = Generator(config, shared_generator, grainy=config.noise == "additive")
        _initialise(self)

    def translate(self, x: Tensor, attribute: Tensor, noise: Tensor | None = None) -> Tensor:
        """The simulated picture in an experimental style: generate_y(content_x(x), attribute, noise).

        x: (batch, 1, rows, columns); attribute: (batch, attribute size); noise: like x, standard normal, or None.
        """
        image: Tensor = self.generate_y(self.content_x(x), attribute, noise)
        return image


@torch.no_grad()
def _initialise(network: StyleNetwork) -> None:
    """As DRIT++ with norms; without them, so that activations keep their size from layer to layer (He et al. 2015)."""
    published = network.config.norm == "instance"
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            if published:
                nn.init.normal_(module.weight, std=PUBLISHED_SPREAD)
            else:
                nn.init.kaiming_normal_(module.weight, a=SLOPE)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    if published:
        return
    for module in network.modules():
        if isinstance(module, ResidualBlock):
            last = [each for each in module.branch if isinstance(each, nn.Conv2d)][-1]
            last.weight.mul_(SMALL)
        elif isinstance(module, FreeImaging):
            module.last.weight.mul_(SMALL)
        elif isinstance(module, LinearImaging):
            module.filters.normal_(std=SMALL / FILTER)
            module.slow.weight.mul_(SMALL)
        elif isinstance(module, Grain):
            module.filters.weight.mul_(SMALL)


def receptive_field(config: NetworkConfig) -> int:
    """Pixels to one side that an output pixel of `translate` can depend on.

    Raises:
        UsageError: with instance norms it depends on the whole picture.
    """
    if config.norm != "none":
        raise UsageError('a network with norm "instance" sees the whole picture: it has no receptive field')
    blocks = 2 * (config.residual + 1)
    encoder = 3 + 1 + 2
    slow = SHRINK * SLOW_REACH + SHRINK  # the filters reach less far
    free = (1 + 1) + 2 + 1 + 3  # of a repeated pixel, its copies; convolutions at half and at full size
    imaging = slow if config.imaging == "linear" else free
    slope = 1 if config.noise == "additive" else 0
    return encoder + 2 * SHRINK * blocks + SHRINK + imaging + slope
