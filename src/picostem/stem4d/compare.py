"""Latents against maps that need no training: how much they have in common, and which positions are alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from picostem.physics import FloatArray

IntArray = NDArray[np.int64]

MOST_POSITIONS = 5000
"""Positions that are compared; more are drawn from at random."""
MOST_CLUSTERS = 6


@dataclass(frozen=True)
class Agreement:
    """What a latent and a map have in common: Spearman's rank correlation, and their mutual information in nats."""

    latent: str
    map: str
    rho: float
    information: float


def agreements(
    latents: Mapping[str, FloatArray], maps: Mapping[str, FloatArray], rng: np.random.Generator
) -> tuple[Agreement, ...]:
    """Each latent with each map, over positions where all are known; maps that are the same everywhere are left out.

    The mutual information is the estimate from distances to the three nearest neighbours (Kraskov et al., Phys. Rev. E
    69, 066138 (2004)); of independent maps it is 0 within about 1/sqrt(n), never less.

    Args:
        latents, maps: of n values each.
    """
    from scipy.stats import spearmanr
    from sklearn.feature_selection import mutual_info_regression

    values = {name: np.ravel(one) for name, one in maps.items()}
    known = np.all([np.isfinite(one) for one in (*values.values(), *latents.values())], axis=0)
    chosen = rng.permutation(np.flatnonzero(known))[:MOST_POSITIONS]
    told = {name: one[chosen] for name, one in values.items() if np.ptp(one[chosen]) > 0}
    found = []
    for name, every in latents.items() if told else ():
        latent = every[chosen]
        table = np.column_stack([_scaled(one) for one in told.values()])
        nats = mutual_info_regression(table, _scaled(latent), random_state=int(rng.integers(2**31)))
        for (other, one), information in zip(told.items(), nats, strict=True):
            found.append(Agreement(name, other, float(spearmanr(latent, one).statistic), float(information)))
    return tuple(found)


def clusters(latents: FloatArray, rng: np.random.Generator) -> IntArray:
    """Groups of positions with like latents, shape (n,), numbered from the largest.

    A mixture of Gaussians, of as many as the Bayesian information criterion likes best, up to MOST_CLUSTERS.
    """
    from sklearn.mixture import GaussianMixture

    seed = int(rng.integers(2**31))
    fitted = latents[rng.permutation(len(latents))[:MOST_POSITIONS]]
    most = min(MOST_CLUSTERS, len(fitted) // (5 * latents.shape[1]))
    models = [GaussianMixture(k, random_state=seed, reg_covar=1e-4).fit(fitted) for k in range(1, max(most, 1) + 1)]
    label = min(models, key=lambda model: model.bic(fitted)).predict(latents)
    _, number, counts = np.unique(label, return_inverse=True, return_counts=True)
    rank = np.empty(len(counts), np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    return rank[number]


def _scaled(values: FloatArray) -> FloatArray:
    """In ranks from 0 to 1, which leave mutual information as it is and need no unit."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(values) / len(values))
