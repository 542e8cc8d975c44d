"""Whether dumbbells change from frame to frame by more than the noise.

A dumbbell's level is the median of its other frames; what all dumbbells of a frame do together is the scan's, and taken
off. A deviation is a change at 2 sigma if it is twice its standard error: of dumbbells at rest, LOCAL of the deviations
are, too. `threshold` is what one must exceed to be a change at 2 sigma among all that were looked at (Šidák). χ²
against constancy asks the same of a dumbbell's frames together. Errors are brought to the size of the usual deviation,
if there are enough to tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from picostem.atoms.dumbbells import QUANTITIES, Dumbbells
from picostem.physics import DEGREE

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SIGMAS = 2.0
LOCAL = float(2 * stats.norm.sf(SIGMAS))  # share of what is at rest that deviates so far, by chance
FOUND = SIGMAS + float(stats.norm.isf(0.05))  # sigmas of a change that is found in 19 of 20 cases
COMMON = 10  # dumbbells that a frame's common change is the median of
ENOUGH = 100  # deviations, from which their spread tells the noise to 8 %
LEAST = 0.1  # factor of the errors, at least: frames can be equal
MEDIAN = np.pi / 2  # variance of a median over that of a mean, for three values or more


@dataclass(frozen=True, eq=False)
class Changes:
    """Deviations of dumbbells from their levels; the last axis is length, angle, asymmetry.

    Attributes:
        deviation, sigma: of each row of the dumbbells, and its standard error, rescaled, shape (k, 3); NaN for
            dumbbells seen once.
        level: the median over frames, shape (m, 3), by the dumbbells' numbers. frames: that show each, shape (m,).
        p: probability of so large a χ² if it is constant, shape (m, 3).
        rescaled: factor of the errors, shape (3,).
        threshold: of |deviation| / sigma, exceeded by chance as rarely in all of them as 2 sigma are in one.
    """

    deviation: FloatArray
    sigma: FloatArray
    level: FloatArray
    frames: IntArray
    p: FloatArray
    rescaled: FloatArray
    threshold: float

    @property
    def z(self) -> FloatArray:
        """Deviations in standard errors, shape (k, 3)."""
        return np.asarray(self.deviation / self.sigma)

    @property
    def smallest(self) -> FloatArray:
        """Change that is 2 sigma of the usual dumbbell in one frame, shape (3,)."""
        if not np.isfinite(self.sigma).any():
            return np.full(3, np.nan)
        return np.asarray(SIGMAS * np.nanmedian(self.sigma, axis=0))

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """Further columns of a file of dumbbells: the deviations in standard errors."""
        return {f"{name}_z": self.z[:, k] for k, name in enumerate(QUANTITIES)}

    def as_dict(self) -> dict[str, Any]:
        """For JSON: of each quantity, how many deviations and dumbbells are beyond chance; angles in degrees."""
        tests = np.isfinite(self.z)
        alone = 1 - (1 - LOCAL) ** (1 / max(int(np.isfinite(self.p).sum()), 1))
        out: dict[str, Any] = {"sigmas": SIGMAS, "threshold_sigmas": self.threshold}
        for k, (name, scale) in enumerate(zip(QUANTITIES, (1.0, DEGREE, 1.0), strict=True)):
            size = np.abs(self.z[tests[:, k], k])
            out[name] = {
                "looked_at": len(size),
                "beyond_2_sigma": int(np.sum(size > SIGMAS)),
                "by_chance": LOCAL * len(size),
                "beyond_threshold": int(np.sum(size > self.threshold)),
                "dumbbells_not_constant": int(np.sum(self.p[:, k] < alone)),
                "smallest_change": float(self.smallest[k] / scale),
                "errors_rescaled": float(self.rescaled[k]),
            }
        return out


def measure_changes(found: Dumbbells) -> Changes:
    """Deviations of each dumbbell from its level, and whether it is constant."""
    m, frames = int(found.number.max(initial=-1)) + 1, int(found.frame.max(initial=-1)) + 1
    value, variance = np.full((m, frames, 3), np.nan), np.full((m, frames, 3), np.nan)
    at = found.number, found.frame
    value[at], variance[at] = found.value, found.sigma**2
    seen = np.isfinite(value[..., 0]).sum(axis=1)
    level = _level(value)
    value = value - _together(value - level[:, None])
    rest = _others(value)
    others = np.maximum(seen - 1, 1)[:, None]
    mean = np.nanmean(variance, axis=1) if m else np.empty((0, 3))
    of_level = np.where(others > 2, MEDIAN, 1.0) * mean / others
    deviation = (value - rest)[at]
    sigma = np.sqrt(variance + of_level[:, None])[at]
    sigma[~np.isfinite(deviation)] = np.nan
    factor = _factor(deviation / sigma)
    count = int(np.isfinite(deviation).sum())
    p = _constant(value, variance * factor**2)
    threshold = float(stats.norm.isf((1 - (1 - LOCAL) ** (1 / max(count, 1))) / 2))
    return Changes(deviation, sigma * factor, level, seen, p, factor, threshold)


def _level(value: FloatArray) -> FloatArray:
    """Median over the frames that show a dumbbell, (m, 3); value: shape (m, frames, 3)."""
    return np.asarray(np.nanmedian(value, axis=1)) if len(value) else np.empty((0, 3))


def _together(deviation: FloatArray) -> FloatArray:
    """What the dumbbells of each frame do together, (frames, 3); 0 where they are few."""
    out = np.zeros(deviation.shape[1:])
    many = np.isfinite(deviation[..., 0]).sum(axis=0) >= COMMON
    if many.any():
        out[many] = np.nanmedian(deviation[:, many], axis=0)
    return out


def _others(value: FloatArray) -> FloatArray:
    """Median of each dumbbell's other frames, (m, frames, 3); NaN where there are none."""
    ordered = np.sort(value, axis=1)  # NaN last
    rank = np.argsort(np.argsort(value, axis=1), axis=1)
    others = np.isfinite(value).sum(axis=1, keepdims=True) - 1
    out = np.zeros(value.shape)
    for middle in ((others - 1) // 2, others // 2):
        place = np.clip(middle + (middle >= rank), 0, value.shape[1] - 1)
        out += np.take_along_axis(ordered, place, axis=1) / 2
    return np.where(np.isfinite(value) & (others > 0), out, np.nan)


def _factor(z: FloatArray) -> FloatArray:
    """The usual deviation over its standard error, (3,); 1 where too few were seen."""
    if np.isfinite(z[:, 0]).sum() < ENOUGH:
        return np.ones(3)
    return np.asarray(np.maximum(np.nanmedian(np.abs(z), axis=0) / stats.norm.ppf(0.75), LEAST))


def _constant(value: FloatArray, variance: FloatArray) -> FloatArray:
    """Probability of χ² about the weighted mean, (m, 3); NaN for dumbbells seen once."""
    weight = 1 / variance
    known = np.isfinite(value)
    mean = np.nansum(value * weight, axis=1) / np.nansum(weight, axis=1)
    chi2 = np.nansum((value - mean[:, None]) ** 2 * weight, axis=1)
    freedom = known.sum(axis=1) - 1
    return np.where(freedom > 0, stats.chi2.sf(chi2, np.maximum(freedom, 1)), np.nan)
