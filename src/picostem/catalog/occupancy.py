"""How often slips of an energy are found: the temperature that they tell, and the Boltzmann plot.

    p(D) = exp(-beta E(D)) / Z,    seen as q_i = N(0, C_i) * mean over operations g of p(g D)

because equivalent slips look alike and window i measures with the error C_i. beta is where sum_i ln q_i(D_i) is
largest. Its error comes from how much the images differ, so that many windows of one domain count as one event:

    var beta = sum_images (sum_i in image s_i)² / (sum_i ds_i / dbeta)²,    s_i = d ln q_i / dbeta

(White, Econometrica 50, 1 (1982)). The Boltzmann plot bins windows by energy and fits a line to ln(occupancy), without
mending the errors' blur: to look at, and to see whether it is a line at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from picostem.catalog.landscape import Landscape, folded
from picostem.catalog.series import ROWS, Series, damping, oscillations
from picostem.catalog.slips import Slips
from picostem.errors import DataError

FloatArray = NDArray[np.float64]

REACH = 3.0
"""1/Å, of the waves that an occupancy is made of: wells of 0.1 Å keep 17 % of the last one."""

STEEPEST = 50.0
"""Largest beta, over the standard deviation of the energies: beyond, all lies in the lowest well."""

FEWEST = 5
"""Windows that a bin of the Boltzmann plot needs."""


@dataclass(frozen=True, eq=False)
class Fit:
    """beta of the windows, in the landscape's inverse unit, with its standard error.

    gain: how much more likely the windows are with it than spread evenly, in units of ln per window.
    """

    beta: float
    sigma: float
    gain: float


@dataclass(frozen=True, eq=False)
class BoltzmannPlot:
    """Occupancy against energy.

    Attributes:
        energy: mean of each bin's windows, shape (bins,).
        occupancy, occupancy_sigma: share of the windows in a bin over its share of the cell.
        slope, slope_sigma: of the line through ln(occupancy); -beta for a Boltzmann distribution.
        intercept: of the line, at energy 0.
        chi2: of the line, per degree of freedom.
    """

    energy: FloatArray
    occupancy: FloatArray
    occupancy_sigma: FloatArray
    slope: float
    slope_sigma: float
    intercept: float
    chi2: float


def fit_temperature(slips: Slips, landscape: Landscape) -> Fit:
    """The beta that makes the windows likeliest, which may be negative.

    Raises:
        DataError: the landscape is flat.
    """
    likelihood = _likelihood(slips, landscape)
    spread = float(np.std(landscape.series.grid(landscape.shape())))
    if not spread > 0:
        raise DataError(f"{landscape.source}: the energy is the same for all slips, so that it tells no temperature")
    trials = np.concatenate([-np.geomspace(0.05, STEEPEST, 16)[::-1], [0.0], np.geomspace(0.05, STEEPEST, 24)]) / spread
    best = int(np.argmax([likelihood(beta).sum() for beta in trials]))
    bounds = float(trials[max(best - 1, 0)]), float(trials[min(best + 1, len(trials) - 1)])
    beta = float(minimize_scalar(lambda b: -likelihood(b).sum(), bounds=bounds, method="bounded").x)
    step = 0.02 / spread
    low, middle, high = (likelihood(beta + s) for s in (-step, 0.0, step))
    scores = np.bincount(slips.group, (high - low) / (2 * step))
    curvature = float((high - 2 * middle + low).sum()) / step**2
    sigma = np.sqrt((scores**2).sum() * slips.correction) / abs(curvature)
    return Fit(beta, float(sigma), float((middle - likelihood(0.0)).mean()))


def boltzmann_plot(slips: Slips, landscape: Landscape, beta: float, bins: int = 12) -> BoltzmannPlot:
    """Occupancy in bins of energy, as an image sees it at `beta` (`landscape.folded`).

    The bins hold equal shares of the cell below the energy under which 99 % of the windows lie.

    Raises:
        DataError: fewer than three bins hold enough windows.
    """
    values = folded(landscape.orbit(slips.equivalence), beta)
    energies = Series.of_grid(landscape.series.cell, values)(slips.slip)
    highest = np.quantile(energies, 0.99)
    edges = np.quantile(values[values <= highest], np.linspace(0, 1, bins + 1))
    edges[0], edges[-1] = min(edges[0], energies.min()), highest
    bin_of = np.digitize(energies, edges[1:-1])
    inside = energies <= highest
    area = np.histogram(values, edges)[0] / values.size
    counts = np.zeros((slips.groups, bins))
    np.add.at(counts, (slips.group[inside], bin_of[inside]), 1)
    kept = (counts.sum(axis=0) >= FEWEST) & (area > 0)
    if np.count_nonzero(kept) < 3:
        raise DataError("fewer than three bins of energy hold windows: too few slips for a Boltzmann plot")
    total = counts.sum(axis=0)
    share = total / len(slips)
    off = counts - counts.sum(axis=1, keepdims=True) * share
    # At least Poisson's: few images may agree by chance.
    sigma = np.sqrt(np.maximum((off**2).sum(axis=0) * slips.correction, total))[kept] / total[kept]
    mean = np.bincount(bin_of[inside], energies[inside], minlength=bins)[kept] / total[kept]
    log = np.log(share[kept] / area[kept])
    design = np.stack([mean, np.ones_like(mean)], axis=1) / sigma[:, None]
    covariance = np.linalg.inv(design.T @ design)
    slope, intercept = covariance @ design.T @ (log / sigma)
    chi2 = (((log - slope * mean - intercept) / sigma) ** 2).sum() / (len(mean) - 2)
    occupancy = np.exp(log)
    slope_sigma = np.sqrt(covariance[0, 0] * max(1.0, chi2))
    return BoltzmannPlot(
        mean, occupancy, occupancy * sigma, float(slope), float(slope_sigma), float(intercept), float(chi2)
    )


def _likelihood(slips: Slips, landscape: Landscape) -> Callable[[float], FloatArray]:
    """ln q_i(D_i) of every window as a function of beta, up to a constant."""
    orbit, cell = landscape.orbit(slips.equivalence), landscape.series.cell
    template = Series.of_grid(cell, orbit[0], REACH)
    parts = [
        oscillations(cell, template.hk, slips.slip[i : i + ROWS])
        * damping(template.waves, slips.covariance[i : i + ROWS])
        for i in range(0, len(slips), ROWS)
    ]
    seen = np.concatenate([part.astype(np.complex64) for part in parts])

    def likelihood(beta: float) -> FloatArray:
        exponent = beta * folded(orbit, beta)
        weights = np.exp(exponent.min() - exponent)
        q = Series.of_grid(cell, weights / weights.mean(), REACH)
        value = 1 + 2 * (seen @ q.coefficients.astype(np.complex64)).real
        # Where the last waves cut off ripple below zero, nothing is expected.
        return np.asarray(np.log(np.maximum(value, 1e-6)), dtype=np.float64)

    return likelihood
