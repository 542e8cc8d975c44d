"""The network that finds atoms: an encoder and decoder with dilated blocks between them, and its loss.

It has no normalisation, so that what it says of a place does not depend on what else is in the tile.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from picostem.errors import UsageError

FloatArray = NDArray[np.float64]
Single = NDArray[np.float32]

SHRINK = 4
"""By how much the smallest maps are smaller than the image: its sides must be multiples of it."""
RARE = 0.02
"""Probability of an atom at a pixel, which an untrained network says."""
DILATIONS = (1, 2, 4, 8)
SPREAD = 0.9
"""Pixels, standard deviation of the blob around an atom in which a high probability is no grave error."""
AROUND = 1.5
"""Pixels from an atom up to which offsets to it are learned, and from an unsure one up to which nothing is."""


@dataclass(frozen=True)
class AtomNetworkConfig:
    """Shape of the network: classes of atoms, channels at full resolution, and blocks at the lowest.

    Raises:
        UsageError: numbers out of range.
    """

    classes: int = 1
    width: int = 16
    blocks: int = 4

    def __post_init__(self) -> None:
        if min(self.classes, self.width, self.blocks) < 1:
            raise UsageError(f"expected positive numbers, got {self}")

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


class Block(nn.Module):
    """x + convolutions of x, the first of which is dilated; x itself before training."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Maps of the same shape."""
        out: Tensor = x + self.second(functional.relu(self.first(functional.relu(x))))
        return out


class AtomNetwork(nn.Module):
    """From images (b, 1, rows, columns) to logits of atoms (b, classes, ...) and offsets (b, 2, ...) of the same sides.

    A logit is that of an atom's centre within the pixel, an offset the rows and columns from the pixel to the centre of
    the nearest atom.
    """

    def __init__(self, config: AtomNetworkConfig) -> None:
        super().__init__()
        self.config = config
        n = config.width
        self.enter = nn.Sequential(nn.Conv2d(1, n, 3, padding=1), nn.ReLU(), nn.Conv2d(n, n, 3, padding=1), nn.ReLU())
        self.down = nn.Sequential(nn.Conv2d(n, 2 * n, 3, stride=2, padding=1), Block(2 * n))
        self.deeper = nn.Conv2d(2 * n, 4 * n, 3, stride=2, padding=1)
        self.middle = nn.Sequential(*(Block(4 * n, DILATIONS[i % len(DILATIONS)]) for i in range(config.blocks)))
        self.rise = nn.Conv2d(4 * n, 2 * n, 1)
        self.join = nn.Sequential(nn.Conv2d(4 * n, 2 * n, 3, padding=1), Block(2 * n))
        self.last_rise = nn.Conv2d(2 * n, n, 1)
        self.last_join = nn.Sequential(nn.Conv2d(2 * n, n, 3, padding=1), nn.ReLU(), nn.Conv2d(n, n, 3, padding=1))
        self.says = nn.Conv2d(n, config.classes + 2, 1)
        with torch.no_grad():
            self.says.weight.mul_(0.1)
            self.says.bias.zero_()  # type: ignore[union-attr]
            self.says.bias[: config.classes] = float(np.log(RARE / (1 - RARE)))  # type: ignore[index]
        # a third quicker on processors
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and offsets."""
        whole = self.enter(image)
        half = self.down(whole)
        deep = self.middle(self.deeper(functional.relu(half)))
        half = self.join(torch.cat([half, _twice(self.rise(functional.relu(deep)))], dim=1))
        out = self.last_join(torch.cat([whole, _twice(self.last_rise(functional.relu(half)))], dim=1))
        said = self.says(functional.relu(out))
        return said[:, : self.config.classes], said[:, self.config.classes :]


def _twice(x: Tensor) -> Tensor:
    """Maps of twice the sides."""
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


class Said(nn.Module):
    """The network as others are given it: `heat`, probabilities of atoms, and `offset`."""

    def __init__(self, network: AtomNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities and offsets."""
        logits, offset = self.network(image)
        return torch.sigmoid(logits), offset


@dataclass(frozen=True, eq=False)
class Maps:
    """What a network should say of an image.

    Attributes:
        heat: 1 at the pixels of atoms, less around them, shape (classes, rows, columns). offset: rows and columns to
            the nearest atom, shape (2, rows, columns). near: where that is learned, shape (rows, columns). counted:
            where probabilities are, of that shape.
    """

    heat: Single
    offset: Single
    near: Single
    counted: Single

    @classmethod
    def of(
        cls, place: FloatArray, kind: NDArray[np.int64], sure: NDArray[np.bool_], shape: tuple[int, int], classes: int
    ) -> Maps:
        """Maps of atoms inside an image.

        Args:
            place: row and column, pixels, shape (n, 2). kind: class of each, shape (n,), if there are several. sure:
                atoms that should be found; of others it does not matter, shape (n,).
        """
        heat = np.zeros((classes, *shape), dtype=np.float32)
        offset, near = np.zeros((2, *shape), dtype=np.float32), np.zeros(shape, dtype=np.float32)
        counted = np.ones(shape, dtype=np.float32)
        pixel, away, owner = _around(place[~sure], shape)
        counted[tuple(pixel[np.hypot(*away.T) <= AROUND].T)] = 0
        pixel, away, owner = _around(place[sure], shape)
        centre = np.abs(away).max(axis=1, initial=0) <= 0.5
        layer = kind[sure][owner] if classes > 1 else np.zeros(len(owner), dtype=np.int64)
        blob = np.where(centre, 1, np.exp(-np.sum(away**2, axis=1) / (2 * SPREAD**2))).astype(np.float32)
        np.maximum.at(heat, (layer, *pixel.T), blob)
        counted[tuple(pixel[centre].T)] = 1
        order = np.argsort(-np.hypot(*away.T))  # the nearest is written last
        order = order[np.hypot(*away[order].T) <= AROUND]
        offset[:, pixel[order, 0], pixel[order, 1]] = away[order].T
        near[tuple(pixel[order].T)] = 1
        return cls(heat, offset, near, counted)


def _around(place: FloatArray, shape: tuple[int, int]) -> tuple[NDArray[np.intp], FloatArray, NDArray[np.intp]]:
    """Pixels near places, shape (m, 2), how far the place lies from each, (m, 2), and which place that is, (m,)."""
    reach = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    pixel = (np.rint(place).astype(np.intp)[:, None] + reach).reshape(-1, 2)
    owner = np.repeat(np.arange(len(place)), len(reach))
    inside = np.all((pixel >= 0) & (pixel < shape), axis=1)
    return pixel[inside], place[owner[inside]] - pixel[inside], owner[inside]


def loss_of(logits: Tensor, offset: Tensor, wanted: tuple[Tensor, Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Loss of probabilities and of offsets, both per atom.

    For probabilities p where the heat h is wanted,

        -(1 - p)² ln p            where h = 1
        -(1 - h)⁴ p² ln(1 - p)    elsewhere,

    and |offset - wanted| near atoms. Zhou, Wang and Krähenbühl, Objects as Points, arXiv 1904.07850, equations 1 and 2.
    Of n atoms with n_c of them of a class, that class counts (n / n_c)^(1/2) fold, so that rare ones are learned too.

    Args:
        wanted: the fields of `Maps`, with a first axis for images.
    """
    heat, away, near, counted = wanted
    positive = (heat == 1).to(logits.dtype)
    chance = torch.sigmoid(logits)
    found = (1 - chance).square() * functional.softplus(-logits) * positive
    false = (1 - heat).pow(4) * chance.square() * functional.softplus(logits) * (1 - positive)
    atoms = positive.sum(dim=(0, 2, 3)).clamp(min=1)
    of_class = ((found + false) * counted[:, None]).sum(dim=(0, 2, 3)) / (atoms * atoms.sum()).sqrt()
    of_heat = of_class.sum()
    of_offset = ((offset - away).abs() * near[:, None]).sum() / (2 * near.sum()).clamp(min=1)
    return of_heat, of_offset
