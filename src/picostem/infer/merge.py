"""Modes that say the same, counted once.

The network may put the weight of one stacking into several modes: near each other, or at stackings that differ by the
order of like layers only. Two Gaussians of like weight and covariance C have one common maximum where their distance d
fulfils dᵀ C⁻¹ d <= 4; two modes are one here where

    dᵀ (C1 + C2)⁻¹ d <= 2,

which is the same for equal ones, d the shortest way between any of their equivalents. One with their common mean and
covariance takes their place.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from picostem.infer.torus import Torus

FloatArray = NDArray[np.float64]
Numbers = NDArray[np.floating]

SAME = 2.0


def mixture_of(
    torus: Torus, logits: Numbers, means: Numbers, factors: Numbers
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Weights, means and covariances of the distinct modes of a network's outputs.

    Args:
        torus: what stackings there are.
        logits: of the weights, shape (k, K).
        means: fractions of the cell, shape (k, K, s, 2).
        factors: L of the inverse covariances Lᵀ L, lower triangular, 1/Å, shape (k, K, 2s, 2s).
    """
    weights = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    weights /= weights.sum(axis=1, keepdims=True)
    root = np.linalg.inv(np.asarray(factors, dtype=np.float64))
    return distinct_modes(torus, weights, np.asarray(means, dtype=np.float64), root @ np.swapaxes(root, -1, -2))


def distinct_modes(
    torus: Torus, weights: FloatArray, means: FloatArray, covariances: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Weights, means and covariances of the modes that differ, the likeliest first; those that went have weight 0.

    Args:
        torus: what stackings there are.
        weights: shape (k, K).
        means: fractions of the cell, shape (k, K, s, 2).
        covariances: Å², shape (k, K, 2s, 2s).
    """
    weights, means, covariances = _sorted(weights, means, covariances)
    for kept in range(weights.shape[1]):
        for other in range(kept + 1, weights.shape[1]):
            _absorb(torus, weights, means, covariances, kept, other)
    weights, means, covariances = _sorted(weights, means, covariances)
    return weights, means - np.floor(means), covariances


def _sorted(*parts: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Copies of weights, means and covariances, sorted by falling weight."""
    order = np.argsort(-parts[0], axis=1, kind="stable")
    row = np.arange(len(order))[:, None]
    weights, means, covariances = (np.array(part[row, order], dtype=np.float64) for part in parts)
    return weights, means, covariances


def _absorb(
    torus: Torus, weights: FloatArray, means: FloatArray, covariances: FloatArray, kept: int, other: int
) -> None:
    """Put a mode into another one in those windows where they are the same."""
    interfaces = torus.interfaces
    offsets = torus.offsets(means[:, other], means[:, kept]).reshape(-1, len(torus.matrices), 2 * interfaces)
    turns = np.kron(torus.matrices, np.eye(2)[None])
    turned = turns @ covariances[:, other, None] @ np.swapaxes(turns, 1, 2)
    whole = turned + covariances[:, kept, None]
    squares = np.einsum("koa,koa->ko", offsets, np.linalg.solve(whole, offsets[..., None])[..., 0])
    order = np.argmin(squares, axis=1)
    row = np.flatnonzero((squares.min(axis=1) <= SAME) & (weights[:, other] > 0))
    offset, spread = offsets[row, order[row]], turned[row, order[row]]
    total = weights[row, kept] + weights[row, other]
    share = (weights[row, other] / total)[:, None]
    means[row, kept] += (share * offset).reshape(-1, interfaces, 2) @ np.linalg.inv(torus.cell)
    outer = offset[:, :, None] * offset[:, None]
    share = share[..., None]
    covariances[row, kept] = (1 - share) * covariances[row, kept] + share * spread + share * (1 - share) * outer
    weights[row, kept], weights[row, other] = total, 0
