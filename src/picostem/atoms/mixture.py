"""Brightness of like sites as a mixture of Gaussians: how many classes there are, and how sure each call is.

An intensity I with standard error e is drawn from class c with density N(I; m_c, (s m_c)² + e²): classes share the
relative spread s, and their number is the one with the least BIC (Schwarz, Ann. Stat. 6 (1978) 461) whose neighbours
are apart enough that the sum of both has two peaks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

MOST = 5  # classes on one sublattice
LEAST = 8  # intensities that classes are told apart in
STEPS, SETTLED = 200, 1e-6  # of the fit, and change of the mean log-likelihood that ends it
TRIAL = 20  # steps after which the best start is chosen
PATIENCE = 2  # classes more that may fail before no more are tried
APART = 2.0  # standard deviations between means: nearer, two equal Gaussians have one peak
NARROWEST = 1e-3  # relative spread


@dataclass(frozen=True, eq=False)
class Mixture:
    """Classes from the brightest down.

    Attributes:
        mean: shape (k,). share: of all atoms, shape (k,). spread: relative, beyond the errors of the intensities.
    """

    mean: FloatArray
    share: FloatArray
    spread: float

    def probability(self, intensity: FloatArray, sigma: FloatArray) -> FloatArray:
        """Of each class for each atom, shape (n, k)."""
        power = self.log_density(intensity, sigma)
        density = np.exp(power - power.max(axis=1, keepdims=True))
        return np.asarray(density / density.sum(axis=1, keepdims=True))

    def log_likelihood(self, intensity: FloatArray, sigma: FloatArray) -> FloatArray:
        """Of each atom, shape (n,)."""
        power = self.log_density(intensity, sigma)
        top = power.max(axis=1)
        return np.asarray(top + np.log(np.exp(power - top[:, None]).sum(axis=1)))

    def variance(self, sigma: FloatArray) -> FloatArray:
        """Of the intensities around their classes' means, shape (n, k)."""
        return np.asarray((self.spread * self.mean) ** 2 + sigma[:, None] ** 2)

    def log_density(self, intensity: FloatArray, sigma: FloatArray) -> FloatArray:
        """Of each class for each atom, weighted with the class's share, shape (n, k)."""
        variance = self.variance(sigma)
        square = (intensity[:, None] - self.mean) ** 2 / variance
        return np.asarray(np.log(np.maximum(self.share, 1e-300)) - 0.5 * (square + np.log(2 * np.pi * variance)))


def fit_mixture(intensity: FloatArray, sigma: FloatArray) -> Mixture:
    """The mixture with the least BIC.

    Args:
        intensity: positive, shape (n,). sigma: standard errors, shape (n,).
    """
    middle = float(np.median(intensity))
    scatter = max(1.4826 * float(np.median(np.abs(intensity - middle))) / middle, NARROWEST)
    best = _fitted(Mixture(np.array([middle]), np.ones(1), scatter), intensity, sigma)
    if len(intensity) < LEAST:
        return best
    current = best
    for _ in range(MOST - 1):
        tried = [_fitted(start, intensity, sigma, TRIAL) for start in _split(current, intensity, sigma)]
        promising = max(tried, key=lambda one: float(one.log_likelihood(intensity, sigma).sum()))
        current = _fitted(promising, intensity, sigma)
        if _criterion(current, intensity, sigma) < _criterion(best, intensity, sigma) and _is_apart(current, sigma):
            best = current
        elif len(current.mean) >= len(best.mean) + PATIENCE:
            break
    return best


def _criterion(mixture: Mixture, intensity: FloatArray, sigma: FloatArray) -> float:
    """BIC: means, shares that sum to 1, and the spread."""
    free = 2 * len(mixture.mean)
    return float(free * np.log(len(intensity)) - 2 * mixture.log_likelihood(intensity, sigma).sum())


def _is_apart(mixture: Mixture, sigma: FloatArray) -> bool:
    wide = np.sqrt(mixture.variance(np.array([np.median(sigma)]))[0])
    return bool(np.all(mixture.mean[:-1] - mixture.mean[1:] > APART * (wide[:-1] + wide[1:]) / 2))


def _split(mixture: Mixture, intensity: FloatArray, sigma: FloatArray) -> list[Mixture]:
    """Mixtures with a class more: beside the brightest, the faintest and the least likely atoms, and of each class."""
    strange = intensity[np.argmin(mixture.log_likelihood(intensity, sigma))]
    few = max(2, len(intensity) // 100)
    ends = np.partition(intensity, (few, len(intensity) - few - 1))
    added = [strange, float(np.median(ends[:few])), float(np.median(ends[-few:]))]
    starts = [(np.append(mixture.mean, mean), np.append(0.98 * mixture.share, 0.02)) for mean in added]
    called = mixture.probability(intensity, sigma).argmax(axis=1)
    for one in range(len(mixture.mean)):
        mine = intensity[called == one]
        if len(mine) < 2:
            continue
        halves = [float(half.mean()) for half in np.array_split(np.sort(mine), 2)]
        starts.append((np.append(np.delete(mixture.mean, one), halves), _halved(mixture.share, one)))
    # a class that is split is narrower than it was
    return [Mixture(mean, share, max(mixture.spread / 2, NARROWEST)) for mean, share in starts]


def _halved(share: FloatArray, one: int) -> FloatArray:
    return np.append(np.delete(share, one), [share[one] / 2] * 2)


def _fitted(mixture: Mixture, intensity: FloatArray, sigma: FloatArray, steps: int = STEPS) -> Mixture:
    """Maximum of the likelihood: expectation and maximisation, the spread by its fixed point."""
    last = -np.inf
    for _ in range(steps):
        power = mixture.log_density(intensity, sigma)
        top = power.max(axis=1, keepdims=True)
        density = np.exp(power - top)
        total = density.sum(axis=1, keepdims=True)
        value = float(np.mean(top + np.log(total)))
        if abs(value - last) < SETTLED:
            break
        last, weight = value, density / total
        precise = weight / mixture.variance(sigma)
        mean = (precise * intensity[:, None]).sum(axis=0) / np.maximum(precise.sum(axis=0), 1e-300)
        mean = np.maximum(mean, 1e-6 * intensity.max())
        square = (intensity[:, None] - mean) ** 2 / mixture.variance(sigma)
        ratio = float((precise * square * mean**2).sum() / (precise * mean**2).sum())
        spread = max(mixture.spread * np.sqrt(ratio), NARROWEST)
        mixture = Mixture(mean, weight.mean(axis=0), float(spread))
    order = np.argsort(-mixture.mean, kind="stable")
    return Mixture(mixture.mean[order], mixture.share[order], mixture.spread)
