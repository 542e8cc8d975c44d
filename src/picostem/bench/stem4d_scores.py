"""Scores of `picostem bench 4d`: angles on a circle, what is odd among positions of a scan, rank correlation."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

from picostem.physics import FloatArray
from picostem.stem4d.com import CentreOfMass


def deviations(found: ArrayLike, true: ArrayLike, order: int = 1) -> tuple[FloatArray, float]:
    """Errors of angles modulo 2 pi/order, rad, less the best offset of all, and that offset."""
    waves = np.exp(1j * order * (np.asarray(found) - np.asarray(true)))
    offset = float(np.angle(waves.mean()) / order)
    return np.asarray(np.angle(waves * np.exp(-1j * order * offset)) / order), offset


def rms(values: FloatArray) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(values**2)))


def angle_sigma(com: CentreOfMass) -> FloatArray:
    """Standard error of the direction of the centre of mass by shot noise, rad, shape of the scan."""
    k2 = com.kx**2 + com.ky**2
    across = np.stack([-com.ky, com.kx], axis=-1)
    return np.asarray(np.sqrt(np.einsum("ijd,ijde,ije->ij", across, com.covariance, across)) / k2)


def anomaly(features: FloatArray) -> FloatArray:
    """How far each row of features, shape (n, features), lies from most of the others: squared Mahalanobis distance
    from the centre and covariance of the half that scatters least (minimum covariance determinant), shape (n,)."""
    from sklearn.covariance import MinCovDet

    spread = features.std(axis=0)
    scaled = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a latent that tells nothing leaves the covariance without full rank
        return np.asarray(MinCovDet(random_state=0).fit(scaled).mahalanobis(scaled))


def roc_auc(defective: NDArray[np.bool_], score: FloatArray) -> float:
    """Chance that a position which is defective scores more than one which is not."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(defective.ravel(), score.ravel()))


def rank_correlation(a: ArrayLike, b: ArrayLike) -> float:
    """Spearman's; 0 where one is the same everywhere."""
    from scipy.stats import spearmanr

    first, second = np.ravel(a), np.ravel(b)
    return float(spearmanr(first, second).statistic) if np.ptp(first) > 0 and np.ptp(second) > 0 else 0.0
