"""What a fit says of its own quality: misfit of each peak, noise beyond counting, and which peaks are there at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.spatial import cKDTree

from picostem.atoms.locate import score_test, threshold
from picostem.atoms.peaks import stamps, windows
from picostem.atoms.refine import Fit

FloatArray = NDArray[np.float64]

NEAREST = 0.3  # standard deviations of a peak: nearer than that, two are one
HYSTERESIS = 0.85  # share of the score that a peak needs to be added, with which it stays
REACH = 2  # standard deviations of a peak that its derivative is correlated over
LEAST_COMMON = 20  # peaks that a typical misfit is taken from


@dataclass(frozen=True, eq=False)
class Judgement:
    """Of a fit.

    Attributes:
        chi2: mean squared misfit within each peak, in variances, shape (n,). error: typical misfit of the shape of
            peaks, as a share of them. clutter: noise at the size of a peak, in units of counting's. score: of each
            peak, in standard deviations of that noise, shape (n,). kept: peaks that are there, shape (n,).
    """

    chi2: FloatArray
    error: float
    clutter: float
    score: FloatArray
    kept: NDArray[np.bool_]


def judge(counts: FloatArray, fit: Fit) -> Judgement:
    """Judge a fit to an image of counts."""
    atoms = fit.model - fit.grid.render(fit.levels)
    chi2 = _within(fit, (counts - fit.model) ** 2 / fit.model)
    error = 0.0
    if len(chi2) >= LEAST_COMMON:
        error = float(np.sqrt(max(np.median(chi2) - 1, 0) / max(np.median(_within(fit, atoms**2 / fit.model)), 1e-30)))
    variance = fit.model + (error * atoms) ** 2
    clutter = score_test(counts, fit.model, variance, fit.peaks.sigma).clutter
    score = fit.significance / clutter
    enough = score > HYSTERESIS * threshold(counts.shape, fit.peaks.sigma)
    return Judgement(chi2, error, clutter, score, enough & ~_doubles(fit))


def inflation(counts: FloatArray, fit: Fit, chi2: FloatArray) -> float:
    """Factor of the covariance that the residual asks for, at least 1: its size, and how it is correlated.

    A derivative of a Gaussian has the autocorrelation (1 - r²/4s²) exp(-r²/4s²), averaged over directions; the noise's
    autocorrelation, summed with it, is what the variance grows by.
    """
    residual = (counts - fit.model) / np.sqrt(fit.model)
    reach = int(np.ceil(REACH * max(fit.peaks.sigma)))
    padded = [fft.next_fast_len(n + reach, real=True) for n in residual.shape]
    product = fft.irfft2(np.abs(fft.rfft2(residual, padded)) ** 2, padded)
    lag = np.arange(-reach, reach + 1)
    correlation = product[np.ix_(lag, lag)] / product[0, 0]
    square = (lag[:, None] / fit.peaks.sigma[0]) ** 2 / 4 + (lag[None] / fit.peaks.sigma[1]) ** 2 / 4
    colour = float(np.sum(correlation * (1 - square) * np.exp(-square)))
    size = float(np.mean(chi2)) if len(chi2) else 1.0
    return max(1.0, colour) * max(1.0, size)


def _within(fit: Fit, data: FloatArray) -> FloatArray:
    """Mean of data under each peak, weighted with it, shape (n,)."""
    out = np.empty(len(fit.peaks))
    seen, whole = windows(data, fit.peaks), windows(np.ones_like(data), fit.peaks)
    for some in stamps(fit.peaks):
        at = some.first[:, 0], some.first[:, 1]
        weight = np.maximum(np.sum(whole[at] * some.values, axis=(1, 2)), 1e-12)
        out[some.members] = np.sum(seen[at] * some.values, axis=(1, 2)) / weight
    return out


def _doubles(fit: Fit) -> NDArray[np.bool_]:
    """The less significant of two peaks at one place, shape (n,)."""
    out = np.zeros(len(fit.peaks), dtype=bool)
    pairs = cKDTree(fit.peaks.place / np.asarray(fit.peaks.sigma)).query_pairs(NEAREST, output_type="ndarray")
    strength = fit.significance
    if len(pairs):
        first = strength[pairs[:, 0]] < strength[pairs[:, 1]]
        out[np.where(first, pairs[:, 0], pairs[:, 1])] = True
    return out
