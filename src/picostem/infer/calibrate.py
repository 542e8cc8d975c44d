"""How far a network's probabilities can be believed, and where they cannot: measured on samples of known stacking.

The region of a window that should hold the truth with probability P is the smallest one that its mixture gives P: all
stackings whose density is above some value. So the truth has a credible level, the probability of all that is denser
than the truth, and lies within the region where the level is at most P. One factor on all covariances is chosen so that
this is so in a share P of the windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from picostem.errors import DataError, UsageError
from picostem.infer.prediction import Prediction

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

LEVEL = 0.95
FALSE_ALARMS = 0.01
LEVELS = (0.5, 0.68, 0.8, 0.9, 0.95, 0.99)
LEAST = 100
"""Windows without which no share can be told to a few percent."""

DRAWS = 99
"""From the mixture of each window, to say how much of it is denser than the truth: that one has its place among 100."""

ROWS = 256
"""Windows treated at once: their densities take some tens of MB."""

WIDEST = 100.0
"""Factors beyond this one or its inverse are none."""

PRECISION = 0.005
"""Of the logarithm of the factor; it moves the share by less than a thousandth."""


@dataclass(frozen=True)
class Calibration:
    """What makes a network's answers true to their probabilities.

    Attributes:
        factor: on the covariances.
        threshold: outlier score up to which a window is trusted; 0 is where the network finds both alike.
        windows: that it was measured with; 0: it was not.
    """

    factor: float = 1.0
    threshold: float = 0.0
    windows: int = 0

    def __post_init__(self) -> None:
        if not (0 < self.factor < np.inf and np.isfinite(self.threshold) and self.windows >= 0):
            raise DataError(f"a calibration has a positive factor and finite numbers, got {self}: calibrate again")


def calibrate(
    prediction: Prediction, slips: FloatArray, outlier: BoolArray, rng: np.random.Generator, level: float = LEVEL
) -> Calibration:
    """The calibration that holds for samples of known stacking.

    Args:
        prediction: of a network that is not calibrated yet, for k windows.
        slips: the truth, fractions of the cell, shape (k, s, 2).
        outlier: windows that have no stacking, left out, shape (k,).
        level: which regions should hold that share of the truths.

    Raises:
        UsageError: other shapes, or too few windows.
        DataError: no factor makes the regions right.
    """
    known, truth = _inliers(prediction, slips, outlier)
    seed = rng.integers(2**63)  # the same draws for each factor, so that the share grows with it

    def excess(logarithm: float) -> float:
        levels = credible_levels(known.widened(np.exp(logarithm)), truth, np.random.default_rng(seed))
        return float(np.mean(levels <= level)) - level

    widest = np.log(WIDEST)
    least, most = excess(-widest), excess(widest)
    if not least < 0 < most:
        raise DataError(
            f"regions of {level:.0%} hold {level + least:.1%} to {level + most:.1%} of {len(known)} true stackings "
            f"with covariances from 1/{WIDEST:g} to {WIDEST:g} times those of the network: train it longer"
        )
    factor = float(np.exp(brentq(excess, -widest, widest, xtol=PRECISION)))
    return Calibration(factor, float(np.quantile(known.outlier, 1 - FALSE_ALARMS)), len(known))


def reliability(
    prediction: Prediction, slips: FloatArray, outlier: BoolArray, rng: np.random.Generator
) -> dict[str, Any]:
    """How a calibrated network does on other samples: errors, coverage, false alarms, and outliers caught.

    Args and errors as in `calibrate`.

    Returns:
        windows; mean_error_A, median_error_A, p95_error_A of the likeliest mode, outliers left out; coverage, the share
        of truths within regions of each of `LEVELS`; false_alarms, the share of good windows that are not trusted;
        caught, the share of outliers that are not, None without any.
    """
    known, truth = _inliers(prediction, slips, outlier)
    error = known.torus.distance(known.slips, truth)
    levels = credible_levels(known, truth, rng)
    wild = ~prediction.trusted[np.asarray(outlier, dtype=np.bool_)]
    return {
        "windows": len(known),
        "mean_error_A": float(error.mean()),
        "median_error_A": float(np.median(error)),
        "p95_error_A": float(np.quantile(error, 0.95)),
        "coverage": {f"{level:g}": float(np.mean(levels <= level)) for level in LEVELS},
        "false_alarms": float(np.mean(~known.trusted)),
        "caught": float(wild.mean()) if wild.size else None,
    }


def credible_levels(prediction: Prediction, slips: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Of each window, the probability of all stackings that are denser than the true one, shape (k,)."""
    levels = np.empty(len(prediction))
    for start in range(0, len(prediction), ROWS):
        rows = np.zeros(len(prediction), dtype=np.bool_)
        rows[start : start + ROWS] = True
        part = prediction.take(rows)
        drawn = np.concatenate([slips[rows, None], part.draw(rng, DRAWS)], axis=1)
        density = part.log_density(drawn)
        levels[rows] = (np.sum(density[:, 1:] > density[:, :1], axis=1) + 0.5) / (DRAWS + 1)
    return levels


def _inliers(prediction: Prediction, slips: FloatArray, outlier: BoolArray) -> tuple[Prediction, FloatArray]:
    wanted = (len(prediction), prediction.torus.interfaces, 2)
    if slips.shape != wanted or outlier.shape != wanted[:1]:
        raise UsageError(
            f"expected true slips {wanted} and outlier {wanted[:1]}, got {slips.shape} and {outlier.shape}"
        )
    known = ~np.asarray(outlier, dtype=np.bool_)
    if known.sum() < LEAST:
        raise UsageError(f"expected at least {LEAST} windows of known stacking, got {known.sum()}: draw more")
    return prediction.take(known), np.asarray(slips[known], dtype=np.float64)
