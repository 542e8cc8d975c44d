"""Twists as probability densities: a Gaussian for every half degree, each with its own weight, place and width.

With τ the twist over its period, from 0 to 1/2, because those that look the same are τ, -τ and τ + n,

    p(τ) = Σ_b w_b [N(τ; m_b, s_b) + N(-τ; m_b, s_b) + N(1 - τ; m_b, s_b)].

A network says ln w_b, m_b and ln s_b of b = 0 to B - 1, in that order. A window that shows a twist plainly gives one
narrow peak, one that could have several twists gives several or a broad one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

FloatArray = NDArray[np.float64]

ROWS = 256
"""Windows treated at once: their densities take some tens of MB."""

CLIMBS = 20
"""Steps of mean shift from the likeliest Gaussian to the peak of the density."""


@dataclass(frozen=True, eq=False)
class Density:
    """Densities of k twists, over their period.

    Attributes:
        weights, means, sigmas: of B Gaussians, shape (k, B); means and standard deviations over the period.
    """

    weights: FloatArray
    means: FloatArray
    sigmas: FloatArray

    @classmethod
    def of(cls, numbers: NDArray[np.floating]) -> Density:
        """What a network's numbers (k, 3 B) say."""
        weights, means, sigmas = np.split(np.asarray(numbers, dtype=np.float64), 3, axis=1)
        return cls(np.exp(weights), means, np.exp(sigmas))

    def __len__(self) -> int:
        return len(self.weights)

    def peaks(self) -> FloatArray:
        """Where each density is highest, from 0 to 1/2, shape (k,)."""
        parts = [np.empty(0)]
        for start in range(0, len(self), ROWS):
            part = slice(start, start + ROWS)
            parts.append(Density(self.weights[part], self.means[part], self.sigmas[part])._peaks())
        return _folded(np.concatenate(parts))

    def _peaks(self) -> FloatArray:
        z = (self.means[:, :, None] - self.means[:, None]) / self.sigmas[:, None]
        height = np.einsum("kb,kjb->kj", self.weights / self.sigmas, np.exp(-(z**2) / 2))
        place = np.take_along_axis(self.means, height.argmax(axis=1)[:, None], axis=1)
        for _ in range(CLIMBS):
            near = np.exp(-(((place - self.means) / self.sigmas) ** 2) / 2) * self.weights / self.sigmas**3
            place = np.sum(near * self.means, axis=1, keepdims=True) / near.sum(axis=1, keepdims=True)
        return np.asarray(place[:, 0])

    def within(self, low: FloatArray, high: FloatArray) -> FloatArray:
        """The probability that the twist is between two others, (k,), -1/2 < low <= high < 1; shape (k,)."""

        def below(bound: FloatArray) -> FloatArray:
            return np.asarray(np.sum(self.weights * ndtr((bound[:, None] - self.means) / self.sigmas), axis=1))

        low, high = np.maximum(low, 0.0), np.minimum(high, 0.5)
        pairs = ((low, high), (-high, -low), (1 - high, 1 - low))
        return np.asarray(sum(below(b) - below(a) for a, b in pairs))


def _folded(turns: FloatArray) -> FloatArray:
    """The one of τ, -τ and τ + n that is from 0 to 1/2."""
    return np.asarray(np.abs(turns - np.rint(turns)))
