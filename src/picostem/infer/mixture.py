"""Mixtures of wrapped Gaussians over stackings: what the network's numbers mean, and how unlikely they make labels.

A mode k has a weight w, a mean m (fractions of the cell) and the factor L of its inverse covariance, C⁻¹ = Lᵀ L,
L lower triangular, in 1/Å. The probability density, per Å to the power of 2s, that a window has the stacking D or any
other one that looks the same is

    p(D) = Σ_k w_k Σ_M Σ_n  |L_k| (2π)^-s exp(-|L_k (M D - m_k + n) · cell|² / 2),

M the orders of like layers, n lattice vectors: of each slip the four that can be the shortest.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import torch
from torch import Tensor

SHARPEST, BROADEST = 0.002, 1.65
"""Å. Standard deviations that a mode can have, along the axes of its factor."""

START = -1.25
"""Where the network's first answers are on the way between the two: at 1 Å."""


class Outputs(NamedTuple):
    """What the network says of b windows.

    Attributes:
        logits: of the weights of K modes, shape (b, K).
        means: fractions of the cell, within half a cell of zero, shape (b, K, s, 2).
        factors: 1/Å, lower triangular, shape (b, K, 2s, 2s).
        trust: logit of the window being one that the network was trained for, shape (b,).
    """

    logits: Tensor
    means: Tensor
    factors: Tensor
    trust: Tensor


def raw_size(modes: int, interfaces: int) -> int:
    """How many numbers `outputs_of` takes."""
    dimension = 2 * interfaces
    return modes * (1 + 2 * dimension + dimension * (dimension + 1) // 2) + 1


def outputs_of(raw: Tensor, modes: int, interfaces: int) -> Outputs:
    """The meaning of the network's last layer, shape (b, raw_size)."""
    dimension = 2 * interfaces
    own = raw[:, :-1].reshape(-1, modes, (raw_size(modes, interfaces) - 1) // modes)
    logits, cosine, sine, sharpness, skew = torch.split(
        own, [1, dimension, dimension, dimension, dimension * (dimension - 1) // 2], dim=2
    )
    means = torch.atan2(sine, cosine).reshape(-1, modes, interfaces, 2) / (2 * math.pi)
    low, high = -math.log(BROADEST), -math.log(SHARPEST)
    scale = torch.exp((high + low) / 2 + (high - low) / 2 * torch.tanh(sharpness + START))
    triangle = _below_diagonal(dimension).to(raw)
    unit = torch.eye(dimension).to(raw) + (skew @ triangle).reshape(-1, modes, dimension, dimension)
    return Outputs(logits[..., 0], means, scale[..., None] * unit, raw[:, -1])


def _below_diagonal(dimension: int) -> Tensor:
    """Puts a vector into a flattened matrix below its diagonal, shape (d (d - 1) / 2, d²)."""
    places = [row * dimension + column for row in range(dimension) for column in range(row)]
    return torch.eye(dimension**2)[places]


def negative_log_likelihood(outputs: Outputs, slips: Tensor, cell: Tensor, matrices: Tensor) -> Tensor:
    """-ln p of labels, shape (b,); which of the equivalent stackings is the label makes no difference.

    Args:
        outputs: of the network.
        slips: fractions of the cell, shape (b, s, 2).
        cell: rows of the reduced lattice, Å, shape (2, 2).
        matrices: orders of like layers, see `picostem.infer.torus.Torus`, shape (orders, s, s).
    """
    turned = torch.einsum("oij,bjx->boix", matrices, slips)
    difference = turned[:, :, None] - outputs.means[:, None]
    inside = difference - torch.floor(difference)
    copies = (inside[:, :, :, None] - _corners(slips.shape[1]).to(slips)) @ cell
    z = torch.einsum("bkij,bokcj->bokci", outputs.factors, copies.flatten(-2))
    size = torch.diagonal(outputs.factors, dim1=-2, dim2=-1).log().sum(-1)
    weight = torch.log_softmax(outputs.logits, dim=-1) + size - slips.shape[1] * math.log(2 * math.pi)
    exponents = weight[:, None, :, None] - z.square().sum(-1) / 2
    return -torch.logsumexp(exponents.flatten(1), dim=1)


def _corners(interfaces: int) -> Tensor:
    """Lattice vectors to take from slips within the cell, all choices of one for each, shape (4^s, s, 2)."""
    corners = list(itertools.product((0.0, 1.0), repeat=2))
    return torch.tensor(list(itertools.product(corners, repeat=interfaces)))


def published_loss(predicted: Tensor, labels: Tensor) -> Tensor:
    """Mean squared error plus half the mean absolute error, which knows of no lattice: the loss of TED-Gen."""
    difference = predicted - labels
    return difference.square().mean() + 0.5 * difference.abs().mean()
