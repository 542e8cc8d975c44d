"""What a network makes of a few patches, to be looked at while it learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from picostem.errors import OutputError
from picostem.style.augment import augment
from picostem.style.network import StyleNetwork
from picostem.style.picture import Picture
from picostem.style.presets import Preset

FloatImage = NDArray[np.float32]

ROWS = 3
SEED = 20
"""Of the patches, the same ones each time, so that what changes is the network."""

_GAP = 4


@dataclass(frozen=True, eq=False)
class Showcase:
    """Patches side by side, each (patches, rows, columns), greys from 0 to 1.

    Attributes:
        simulated, experimental: patches x and y of the sets.
        styled: x in the style of y, with grain; `smooth` without.
        drawn: x in a drawn style.
        simulated_again: y as a simulation would show it.
    """

    simulated: FloatImage
    smooth: FloatImage
    styled: FloatImage
    drawn: FloatImage
    experimental: FloatImage
    simulated_again: FloatImage

    def columns(self) -> dict[str, FloatImage]:
        """The patches by what they are, in the order in which they are shown."""
        return {
            "simulated, x": self.simulated,
            "x in y's style, no grain": self.smooth,
            "x in y's style": self.styled,
            "x in a drawn style": self.drawn,
            "experimental, y": self.experimental,
            "y as a simulation": self.simulated_again,
        }


def showcase(
    network: StyleNetwork, preset: Preset, simulated: Sequence[Picture], experimental: Sequence[Picture]
) -> Showcase:
    """A few patches and what the network makes of them."""
    rng = np.random.default_rng(SEED)
    device = next(network.parameters()).device
    draws = torch.Generator().manual_seed(SEED)
    x, y = (_patches(pictures, preset, rng) for pictures in (simulated, experimental))
    noise = torch.randn(x.shape, generator=draws).to(device)
    style = torch.randn((len(x), preset.network.attribute), generator=draws).to(device)
    with torch.no_grad():
        x, y = x.to(device), y.to(device)
        content, attribute = network.content_x(x), network.attribute_y(y)[0]
        shown = (
            x,
            network.generate_y(content, attribute),
            network.generate_y(content, attribute, noise),
            network.generate_y(content, style, noise),
            y,
            network.generate_x(network.content_y(y), network.attribute_x(x)[0]),
        )
    return Showcase(*(images[:, 0].cpu().numpy() for images in shown))


def _patches(pictures: Sequence[Picture], preset: Preset, rng: np.random.Generator) -> torch.Tensor:
    chosen = [pictures[index % len(pictures)] for index in range(ROWS)]
    return torch.from_numpy(np.stack([augment(picture, preset.augment, rng).data for picture in chosen]))[:, None]


def write_montage(shown: Showcase, path: Path) -> None:
    """All patches as one PNG: a row for each patch, a column for each of `Showcase.columns`.

    Raises:
        OutputError: the file cannot be written.
    """
    from PIL import Image

    columns = [
        np.pad(images, ((0, 0), (0, _GAP), (0, _GAP)), constant_values=1.0) for images in shown.columns().values()
    ]
    greys = np.concatenate([np.concatenate(list(images), axis=0) for images in columns], axis=1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.uint8(np.clip(greys, 0, 1) * 255 + 0.5)).save(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}; choose another folder") from error
