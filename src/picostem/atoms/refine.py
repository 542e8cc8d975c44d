"""Joint maximum-likelihood fit of overlapping peaks on a smooth background, all atoms of an image at once.

The model m = background + Σ peaks of an image of counts y is brought to the maximum of Σ (y ln m - m) by Fisher
scoring. Covariances are those of the joint fit, overlaps, background and width included.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from picostem.atoms.background import SPACING, Grid
from picostem.atoms.covariance import covariances
from picostem.atoms.fisher import Fisher, Step, information, scores, step
from picostem.atoms.peaks import Peaks, render

FloatArray = NDArray[np.float64]

MOST_ROUNDS = 25
DONE = 0.02  # rms of the last step, in standard deviations of what was fitted
RENEW = 1.0  # rms of a step from which the information is computed again
LEAST_DAMPING, DAMPING, STUCK = 1e-3, 10.0, 1e3  # Levenberg and Marquardt's; factor where a step failed; the end
RESIZED = 0.01  # change of the width's logarithm from which it is
ROUNDING = 1e-9  # relative
FURTHEST = 0.7  # standard deviations of a peak that its place may move in a step
WIDER = 0.15  # change of a width's logarithm in a step
RESIZABLE = 0.5, 2.2  # shares of the first width that the common one may take
FAINTEST = 1e-3  # of the mean level: what the model has at least
DARK = 0.25  # quantile of the smoothed image that the background starts from


@dataclass(frozen=True, eq=False)
class Fit:
    """Peaks at the maximum of the likelihood.

    Attributes:
        peaks: counts. covariance: of intensity, row, column (and the width's logarithm), shape (n, p, p).
        deviation: of the intensity, with background and width known, shape (n,).
        levels: background at its knots, counts. grid: these. model: counts, shape of the image.
        likelihood: its logarithm, less what does not depend on the model.
    """

    peaks: Peaks
    covariance: FloatArray
    deviation: FloatArray
    levels: FloatArray
    grid: Grid
    model: FloatArray
    likelihood: float

    @property
    def significance(self) -> FloatArray:
        """Root of twice what the likelihood's logarithm loses without a peak, shape (n,)."""
        return np.asarray(self.peaks.intensity / self.deviation)

    @property
    def background(self) -> FloatArray:
        """Level under each peak, counts, shape (n,)."""
        cell, hats = self.grid.at(self.peaks.place)
        return np.asarray(np.sum(self.levels.ravel()[cell] * hats, axis=1))


def refine(
    counts: FloatArray, peaks: Peaks, *, spread: float = 0.0, fit_form: bool = True, spacing: float = SPACING
) -> Fit:
    """Fit peaks to an image of counts.

    Args:
        counts: shape (rows, columns), mean equal to the variance. peaks: where to start.
        spread: standard deviation that logarithms of single peaks' widths have about the common one; 0 holds them.
        fit_form: the common width is fitted, too, and how oblong peaks are.
        spacing: of the background's knots, standard deviations of a peak.
    """
    shape, first = (counts.shape[0], counts.shape[1]), peaks.form
    order = np.argsort(peaks.place[:, 0], kind="stable")  # neighbours in memory are neighbours in the image
    peaks = peaks[order]
    grid = Grid.of(shape, peaks.sigma, spacing)
    floor = FAINTEST * max(float(counts.mean()), 1e-12)
    levels = start_levels(counts, grid, peaks.sigma)
    fisher, current = None, False  # whether the information is that at the present model
    free, fit_form = 4 if spread else 3, fit_form and len(peaks) > 0
    model = _model(peaks, grid, levels, floor)
    value, damping = _likelihood(counts, model, peaks, spread), LEAST_DAMPING
    low = np.zeros(grid.shape, dtype=bool)
    for _ in range(MOST_ROUNDS):
        misfit = counts / model - 1
        if fisher is None:
            fisher, current = _information(peaks, model, grid, spread, fit_form=fit_form), True
        (gradient, form_gradient), level_gradient = scores(peaks, misfit), grid.gather(misfit)
        form_gradient = form_gradient[: 3 if fit_form else 0]
        if spread:
            gradient[:, 3] -= peaks.swell / spread**2
        imposed = np.where(low | ((levels <= floor) & (level_gradient < 0)), floor - levels, np.nan)
        change = step(fisher, gradient[:, :free], level_gradient.ravel(), form_gradient, imposed.ravel(), damping)
        wanted = levels + change.level.reshape(grid.shape)
        further = _moved(peaks, change, shape, first)
        beyond = _model(further, grid, np.maximum(wanted, floor), floor)
        reached = _likelihood(counts, beyond, further, spread)
        size = np.sqrt(max(change.gain, 0) / (free * len(peaks) + levels.size))
        if reached < value - ROUNDING * abs(value):
            # knots that the step takes below the floor are held there, or else it was too long
            sinking = (wanted < floor * (1 - ROUNDING)) & ~low
            low = low | sinking if sinking.any() else np.zeros_like(low)
            damping = damping if sinking.any() else DAMPING * damping
            fisher = None if sinking.any() and not current else fisher
            if damping > STUCK or (size < DONE and not low.any()):
                break
            continue
        peaks, levels, model, value, current = further, np.maximum(wanted, floor), beyond, reached, False
        low[:] = False
        damping = max(damping / DAMPING, LEAST_DAMPING)
        if size < DONE:
            break
        if size > RENEW or _widening(peaks, change) > RESIZED:
            fisher = None
    if fisher is None or not current:
        fisher = _information(peaks, model, grid, spread, fit_form=fit_form)
    back = np.argsort(order, kind="stable")
    covariance, alone = covariances(fisher, grid, peaks.place, form=fit_form)
    return Fit(peaks[back], covariance[back], np.sqrt(alone[back]), levels, grid, model, value)


def start_levels(counts: FloatArray, grid: Grid, sigma: tuple[float, float]) -> FloatArray:
    """The dark between the atoms around each knot, shape of the grid."""
    smooth = ndimage.gaussian_filter(counts, sigma, truncate=3)
    levels = np.empty(grid.shape)
    edges = [np.linspace(0, n, k + 1).astype(int) for n, k in zip(counts.shape, grid.shape, strict=True)]
    for height in np.unique(np.diff(edges[0])):  # blocks of one size at a time: there are four sizes at most
        for width in np.unique(np.diff(edges[1])):
            r, c = (np.flatnonzero(np.diff(edge) == n) for edge, n in zip(edges, (height, width), strict=True))
            rows, columns = edges[0][r, None] + np.arange(height), edges[1][c, None] + np.arange(width)
            blocks = smooth[rows[:, None, :, None], columns[None, :, None]].reshape(len(r), len(c), -1)
            levels[np.ix_(r, c)] = np.quantile(blocks, DARK, axis=2)
    return np.maximum(levels, FAINTEST * max(float(counts.mean()), 1e-12))


def _likelihood(counts: FloatArray, model: FloatArray, peaks: Peaks, spread: float) -> float:
    """Logarithm of the likelihood, less what does not depend on the model."""
    prior = 0.5 * float(np.sum(peaks.swell**2)) / spread**2 if spread else 0.0
    return float(np.vdot(counts, np.log(model)) - np.sum(model)) - prior


def _model(peaks: Peaks, grid: Grid, levels: FloatArray, floor: float) -> FloatArray:
    level = grid.render(levels)
    if not len(peaks):
        return np.maximum(level, floor)
    level += render(peaks, (level.shape[0], level.shape[1]))
    return np.maximum(level, floor, out=level)


def _information(peaks: Peaks, model: FloatArray, grid: Grid, spread: float, *, fit_form: bool) -> Fisher:
    """The Fisher information at a model, with what is known of single widths beforehand."""
    fisher = information(peaks, 1 / model, grid, 4 if spread else 3, fit_form=fit_form)
    if not spread:
        return fisher
    diagonal = fisher.diagonal.copy()
    diagonal[:, 3, 3] += 1 / spread**2
    return replace(fisher, diagonal=diagonal)


def _moved(peaks: Peaks, change: Step, shape: tuple[int, int], first: FloatArray) -> Peaks:
    """Peaks after a step, inside the image, none moved too far or made negative."""
    sigma = np.asarray(peaks.sigma)
    way = change.peaks[:, 1:3] / sigma
    length = np.linalg.norm(way, axis=1, keepdims=True)
    way *= np.minimum(1, FURTHEST / np.maximum(length, 1e-12))
    beyond = np.asarray(peaks.margin) / 2
    place = np.clip(peaks.place + way * sigma, -beyond, np.asarray(shape) - 1 + beyond)
    intensity = np.clip(peaks.intensity + change.peaks[:, 0], peaks.intensity / 5, 5 * peaks.intensity)
    swell = peaks.swell
    if change.peaks.shape[1] == 4:
        swell = swell + np.clip(change.peaks[:, 3], -WIDER, WIDER)
    form = peaks.form
    if len(change.form):
        a, b, c = change.form * min(1.0, WIDER / max(_widening(peaks, change), 1e-12))
        form = _bounded(form + np.array([[a, b], [b, c]]), first)
    return Peaks(place, intensity, swell, form)


def _bounded(form: FloatArray, first: FloatArray) -> FloatArray:
    """The form with its widths, along any direction, within RESIZABLE of the one to start from."""
    root = np.linalg.cholesky(first)
    back = np.linalg.inv(root)
    values, vectors = np.linalg.eigh(back @ form @ back.T)
    low, high = RESIZABLE
    axes = root @ vectors
    return np.asarray(axes @ np.diag(np.clip(values, low**2, high**2)) @ axes.T)


def _widening(peaks: Peaks, change: Step) -> float:
    """Largest change of a width's logarithm along any direction that a step makes."""
    if not len(change.form):
        return 0.0
    a, b, c = change.form
    root = np.linalg.inv(np.linalg.cholesky(peaks.form))
    return float(np.abs(np.linalg.eigvalsh(root @ np.array([[a, b], [b, c]]) @ root.T)).max()) / 2
