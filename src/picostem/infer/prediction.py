"""What a network says of windows: for each a mixture of Gaussians over its stackings, the likeliest mode first."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from picostem.infer.torus import Torus

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Prediction:
    """Stackings of k windows.

    Attributes:
        torus: what stackings there are.
        modes: fractions of the cell in [0, 1), the likeliest first, shape (k, K, s, 2).
        covariances: of the slips as x1, y1, x2, ..., Å², shape (k, K, 2s, 2s).
        weights: of the modes, shape (k, K); where there are fewer than K modes, those of the rest are 0.
        outlier: how little a window is like those that the network was trained for, shape (k,).
        trusted: whether that is little enough to believe the rest, shape (k,).
    """

    torus: Torus
    modes: FloatArray
    covariances: FloatArray
    weights: FloatArray
    outlier: FloatArray
    trusted: BoolArray

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def slips(self) -> FloatArray:
        """The likeliest mode, fractions of the cell, shape (k, s, 2)."""
        return self.modes[:, 0]

    @property
    def covariance(self) -> FloatArray:
        """That of the likeliest mode, Å², shape (k, 2s, 2s)."""
        return self.covariances[:, 0]

    def take(self, index: BoolArray) -> Prediction:
        """The chosen windows."""
        parts = ("modes", "covariances", "weights", "outlier", "trusted")
        return replace(self, **{name: getattr(self, name)[index] for name in parts})

    def widened(self, factor: float) -> Prediction:
        """The same with all covariances times a factor."""
        return replace(self, covariances=self.covariances * factor)

    def log_density(self, slips: FloatArray) -> FloatArray:
        """ln of the probability per Å^2s of j stackings for each window, equivalent ones together, shape (k, j).

        Of the copies of a mode in all cells, the one in the cell around it counts: the others are far away wherever the
        answer is worth a question.

        Args:
            slips: fractions of the cell, shape (k, j, s, 2).
        """
        interfaces = self.torus.interfaces
        root = np.linalg.inv(np.linalg.cholesky(self.covariances))
        size = np.log(np.diagonal(root, axis1=-2, axis2=-1)).sum(axis=-1) - interfaces * np.log(2 * np.pi)
        difference = self.torus.equivalents(slips)[:, None] - self.modes[:, :, None, None]
        difference -= np.rint(difference)
        whitening = np.kron(np.eye(interfaces), self.torus.cell) @ np.swapaxes(root, -1, -2)
        z = difference.reshape(*self.weights.shape, -1, 2 * interfaces) @ whitening
        exponents = size[..., None] - np.einsum("kmxa,kmxa->kmx", z, z) / 2
        exponents = exponents.reshape(*difference.shape[:-2])
        return np.asarray(logsumexp(exponents, axis=(1, 3), b=self.weights[:, :, None, None]))

    def draw(self, rng: np.random.Generator, count: int) -> FloatArray:
        """Random stackings with this distribution, fractions of the cell, shape (k, count, s, 2)."""
        edges = np.cumsum(self.weights, axis=1)[:, None]
        chosen = np.sum(rng.random((len(self), count, 1)) * edges[..., -1:] > edges[..., :-1], axis=-1)
        normal = rng.standard_normal((len(self), count, 2 * self.torus.interfaces))
        row = np.arange(len(self))[:, None]
        moved = np.einsum("kjab,kjb->kja", np.linalg.cholesky(self.covariances)[row, chosen], normal)
        steps = moved.reshape(len(self), count, -1, 2) @ np.linalg.inv(self.torus.cell)
        return np.asarray(self.modes[row, chosen] + steps)
