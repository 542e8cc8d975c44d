"""A network run over a large image in tiles that overlap, put together again without seams.

Two neighbours share an overlap of at least 2 m + b pixels, m the network's reach: in the middle b of them, where
neither feels its border, one fades into the other by Hann's weights, cos² and sin², whose sum is 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatImage = NDArray[np.float32]
MULTIPLE = 4
"""Pixels. Tiles begin and end at multiples of it, because a network that halves its image twice sees only these."""


@dataclass(frozen=True)
class Span:
    """One tile along one axis: pixels start to stop, and the weight of each of them."""

    start: int
    stop: int
    weight: FloatImage

    @property
    def pixels(self) -> slice:
        """Where the tile lies in the image."""
        return slice(self.start, self.stop)


def spans(length: int, tile: int, reach: int, fade: int = 32) -> list[Span]:
    """Tiles along an axis; their weights add up to 1 in every pixel.

    Args:
        length: of the axis, pixels, a multiple of MULTIPLE.
        tile: most pixels of a tile; more are taken where two overlaps would not fit into it.
        reach: pixels beside a pixel that the network looks at for it.
        fade: pixels over which one tile fades into the next, an even number.
    """
    overlap = 2 * up(reach) + fade
    tile = max(up(tile), up(overlap + fade))
    if length <= tile:
        return [Span(0, length, np.ones(length, np.float32))]
    count = math.ceil((length - overlap) / (tile - overlap))
    tile = up(math.ceil((length + (count - 1) * overlap) / count))  # no larger than so many tiles must be
    # Rounded down, so that no two are further apart than the overlap allows.
    starts = [(length - tile) * i // (count - 1) // MULTIPLE * MULTIPLE for i in range(count)]
    seams = [(right + left + tile) / 2 for left, right in zip(starts[:-1], starts[1:], strict=True)]
    # A tile's weight is what has risen at the seam before it and not yet at the seam after it.
    risen = [np.ones(tile), *(_rise(start, tile, seam, fade) for start, seam in zip(starts[1:], seams, strict=True))]
    passed = [*(_rise(start, tile, seam, fade) for start, seam in zip(starts[:-1], seams, strict=True)), np.zeros(tile)]
    weights = [np.asarray(here - beyond, np.float32) for here, beyond in zip(risen, passed, strict=True)]
    return [Span(start, start + tile, weight) for start, weight in zip(starts, weights, strict=True)]


def up(count: int) -> int:
    """The next multiple of MULTIPLE."""
    return -(-count // MULTIPLE) * MULTIPLE


def _rise(start: int, tile: int, seam: float, fade: int) -> NDArray[np.float64]:
    """sin² from 0 to 1 over `fade` pixels around the seam."""
    position = (start + np.arange(tile) + 0.5 - seam) / fade + 0.5
    return np.asarray(np.sin(np.pi / 2 * np.clip(position, 0, 1)) ** 2)


def run_in_tiles(network: Callable[..., FloatImage], images: Sequence[FloatImage], tile: int, reach: int) -> FloatImage:
    """What a network makes of images of one shape (rows, columns), both multiples of MULTIPLE.

    Up to two tiles' pixels are run as a whole. `network` takes parts of all images and returns one of their shape.
    """
    rows, columns = images[0].shape
    if rows * columns <= 2 * tile**2:
        return network(*images)
    whole = np.zeros((rows, columns), np.float32)
    for vertical in spans(rows, tile, reach):
        for horizontal in spans(columns, tile, reach):
            part = (vertical.pixels, horizontal.pixels)
            styled = network(*(np.ascontiguousarray(image[part]) for image in images))
            whole[part] += styled * (vertical.weight[:, None] * horizontal.weight)
    return whole
