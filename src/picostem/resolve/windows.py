"""The slip in every window of a grid: extraction, start, fit and status, in batches of bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from picostem.resolve.estimate import Fit, choose, fit_windows
from picostem.resolve.evidence import Evidence, gather
from picostem.resolve.orient import Setting, exchanged
from picostem.resolve.search import coarse_search

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.int64]
Progress = Callable[[int, int], None]

BATCH = 192  # windows at once: 200 MB of whitening matrices for 75 harmonics
POOR = 3.0  # reduced chi² over the image's from which a window searches all slips anew
UNTRUSTED = 4.0  # reduced chi² over the image's from which the model does not describe a window
UNRESOLVED = 0.30  # Å; a slip less certain than that says nothing
VACUUM, EDGE = 0.25, 0.70  # amplitude over the image's median: less is vacuum, less is half covered


@dataclass(frozen=True)
class WindowFits:
    """Slips of one interface in each window.

    Attributes:
        centres: image frame, pixels, shape (w, 2).
        slips: fractions of a and b, shape (w, 2), of either order of the layers.
        covariance: of the slips in Å², Fisher information alone, shape (w, 2, 2).
        chi2: reduced, shape (w,). amplitude: scale of the model, shape (w,).
        signal: Bragg power over noise, shape (w,).
        predicted: model harmonics, shape (w, n). mean: mean intensity, shape (w,).
    """

    centres: FloatArray
    slips: FloatArray
    covariance: FloatArray
    chi2: FloatArray
    amplitude: FloatArray
    signal: FloatArray
    predicted: ComplexArray
    mean: FloatArray

    def status(self, chi2_typical: float) -> NDArray[np.str_]:
        """One of WindowStatus for each window."""
        amplitude = self.amplitude / np.median(self.amplitude)
        sigma = np.sqrt(np.trace(self.covariance, axis1=1, axis2=2))
        status = np.full(len(self.chi2), "ok", dtype="<U10")
        status[sigma > UNRESOLVED] = "unresolved"
        status[self.chi2 > UNTRUSTED * max(chi2_typical, 1.0)] = "untrusted"
        status[amplitude < EDGE] = "edge"
        status[(amplitude < VACUUM) | (self.signal < 1.5)] = "vacuum"
        return status


def concatenate(parts: list[WindowFits]) -> WindowFits:
    """The windows of all parts, in order."""
    names = WindowFits.__dataclass_fields__
    return WindowFits(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def fit_grid(
    data: NDArray[np.float32],
    setting: Setting,
    slips: FloatArray,
    starts: tuple[IntArray, IntArray],
    progress: Progress | None = None,
    *,
    only_these: bool = False,
) -> WindowFits:
    """Fit all windows of a grid with the setting's microscope.

    Args:
        data: image with its mean subtracted.
        setting: lattice, model and microscope.
        slips: likely slips, fractions of a and b, shape (m, 2).
        starts: first rows and columns of the windows.
        progress: called with the number of windows done and in all.
        only_these: whether to leave it at those slips where they fit poorly, instead of trying all.
    """
    rows, cols = starts
    total = len(rows) * len(cols)
    per_batch = max(1, BATCH // len(cols))
    columns = np.array_split(cols, -(-len(cols) // BATCH))
    strips = np.array_split(rows, -(-len(rows) // per_batch))
    done, strip_fits = 0, []
    for strip in strips:
        parts = []
        for some in columns:
            evidence = gather(data, setting.noise, setting.lattice, setting.window, (strip, some))
            parts.append(_fit_evidence(setting, evidence, slips, only_these))
            done += len(strip) * len(some)
            if progress is not None:
                progress(done, total)
        strip_fits.append(_side_by_side(parts, len(strip)))
    return concatenate(strip_fits)


def _side_by_side(parts: list[WindowFits], rows: int) -> WindowFits:
    """Windows of blocks that lie side by side, rows slowest."""
    if len(parts) == 1:
        return parts[0]
    names = WindowFits.__dataclass_fields__

    def join(name: str) -> NDArray[np.generic]:
        blocks = [getattr(part, name) for part in parts]
        blocks = [b.reshape(rows, -1, *b.shape[1:]) for b in blocks]
        joined = np.concatenate(blocks, axis=1)
        return joined.reshape(-1, *joined.shape[2:])

    return WindowFits(**{name: join(name) for name in names})


def _fit_evidence(setting: Setting, evidence: Evidence, slips: FloatArray, only_these: bool) -> WindowFits:
    fit = _best_fit(setting, evidence, slips)
    poor = fit.chi2 / fit.dof > POOR * max(setting.fit.chi2_reduced, 1.0)
    if poor.any() and not only_these:
        part = replace(evidence, harmonics=evidence.harmonics.take(poor), observation=evidence.observation.take(poor))
        fit = _replaced(fit, poor, _best_fit(setting, part, None))
    model = setting.model
    covariance = model.cell.T @ fit.slip_covariance[:, :2, :2] @ model.cell
    phases = np.exp(-2j * np.pi * fit.state.positions @ model.hk.T.astype(float))
    factors = model.layer_factors(fit.state.microscope)[0]
    return WindowFits(
        centres=evidence.harmonics.centres,
        slips=fit.state.slips[:, 0],
        covariance=covariance,
        chi2=fit.chi2 / fit.dof,
        amplitude=fit.state.scale,
        signal=evidence.signal_to_noise,
        predicted=fit.state.scale[:, None] * np.sum(phases * factors, axis=1),
        mean=evidence.harmonics.mean,
    )


def _best_fit(setting: Setting, evidence: Evidence, slips: FloatArray | None) -> Fit:
    """Fit from the best of the slips (all, if None), and with the layers in the opposite order."""
    model, microscope = setting.model, setting.fit.state.microscope
    search = coarse_search(model, microscope, evidence.harmonics.amplitudes, evidence.noise_power, slips)
    start = search.state(microscope, search.explained.argmax(axis=1), model.layer_count - 1)
    covariance = setting.fit.microscope_covariance
    fit = fit_windows(model, evidence.observation, start, covariance)
    turned = fit_windows(model, evidence.observation, exchanged(fit.state), covariance)
    better = turned.chi2 < fit.chi2
    return replace(
        fit,
        state=choose(better, turned.state, fit.state),
        slip_covariance=np.where(better[:, None, None], turned.slip_covariance, fit.slip_covariance),
        chi2=np.where(better, turned.chi2, fit.chi2),
    )


def _replaced(fit: Fit, index: NDArray[np.bool_], new: Fit) -> Fit:
    """The fit with the windows at `index` taken from `new` where that fits better."""
    better = new.chi2 < fit.chi2[index]
    where = np.nonzero(index)[0][better]
    state = fit.state
    scale, origin, slips = state.scale.copy(), state.origin.copy(), state.slips.copy()
    covariance, chi2 = fit.slip_covariance.copy(), fit.chi2.copy()
    scale[where], origin[where], slips[where] = new.state.scale[better], new.state.origin[better], new.state.slips[better]
    covariance[where], chi2[where] = new.slip_covariance[better], new.chi2[better]
    moved = replace(state, scale=scale, origin=origin, slips=slips)
    return replace(fit, state=moved, slip_covariance=covariance, chi2=chi2)
