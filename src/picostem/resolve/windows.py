"""The slip in every window of a grid: extraction, start, fit and status, in batches of bounded memory.

A network may be asked beside the fit, or alone; then the fit only finds where the lattice lies, and how bright it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picostem.resolve.estimate import Fit, better_of, predict
from picostem.resolve.evidence import Evidence, gather
from picostem.resolve.orient import Setting
from picostem.resolve.parallel import side_by_side
from picostem.resolve.proposal import Proposal, Proposer, Source
from picostem.resolve.search import fit_at, fit_each

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Progress = Callable[[int, int], None]

BATCH = 96  # windows at once: 50 MB for 75 harmonics
POOR = 3.0  # reduced chi² over the image's from which a window searches all slips anew
UNTRUSTED = 4.0  # reduced chi² over the image's from which the model does not describe a window
UNRESOLVED = 0.30  # Å; a slip less certain than that says nothing
LIKELY = 0.05  # probability from which a network's stacking is fitted,
NEAR = 0.15  # Å; unless the fit is there already: it finds a window's slip from that far
VACUUM, EDGE = 0.25, 0.70  # amplitude over the image's median: less is vacuum, less is half covered


@dataclass(frozen=True)
class WindowFits:
    """Slips of the interfaces in each window.

    Attributes:
        centres: image frame, pixels, shape (w, 2).
        slips: fractions of a and b, shape (w, s, 2), of any order of like layers.
        covariance: of the slips in Å², shape (w, 2s, 2s): Fisher information alone, or what the network says.
        chi2: reduced, with the slip as it is, shape (w,). amplitude: scale of the model, shape (w,).
        signal: Bragg power over noise, shape (w,).
        predicted: model harmonics, shape (w, n). mean: mean intensity, shape (w,).
        fisher: covariance that the Fisher information allows, shape (w, 2s, 2s).
        source: where each slip comes from, one of `Source`, shape (w,).
    """

    centres: FloatArray
    slips: FloatArray
    covariance: FloatArray
    chi2: FloatArray
    amplitude: FloatArray
    signal: FloatArray
    predicted: ComplexArray
    mean: FloatArray
    fisher: FloatArray
    source: IntArray

    def take(self, index: BoolArray) -> WindowFits:
        """The chosen windows."""
        return WindowFits(**{name: getattr(self, name)[index] for name in WindowFits.__dataclass_fields__})

    def status(self, chi2_typical: float) -> NDArray[np.str_]:
        """One of WindowStatus for each window."""
        amplitude = self.amplitude / np.median(self.amplitude)
        variances = np.einsum("wii->wi", self.covariance).reshape(len(self.chi2), -1, 2)
        sigma = np.sqrt(variances.sum(axis=2).max(axis=1))
        status = np.full(len(self.chi2), "ok", dtype="<U10")
        status[sigma > UNRESOLVED] = "unresolved"
        undescribed = self.chi2 > UNTRUSTED * max(chi2_typical, 1.0)
        status[np.where(self.source == Source.FIT, undescribed, self.source == Source.DOUBTED)] = "untrusted"
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
    proposer: Proposer | None = None,
) -> WindowFits:
    """Fit all windows of a grid with the setting's microscope.

    Args:
        data: image with its mean subtracted.
        setting: lattice, model and microscope.
        slips: likely slips, fractions of a and b, shape (m, s, 2).
        starts: first rows and columns of the windows.
        progress: called with the number of windows done and in all.
        only_these: whether to leave it at those slips where they fit poorly, instead of trying all.
        proposer: a network to ask.
    """
    rows, cols = starts
    total, done, lock = len(rows) * len(cols), 0, Lock()
    per_batch = max(1, BATCH // len(cols))
    columns = np.array_split(cols, -(-len(cols) // BATCH))
    strips = np.array_split(rows, -(-len(rows) // per_batch))

    def fit_batch(batch: tuple[IntArray, IntArray]) -> WindowFits:
        nonlocal done
        whitener = setting.evidence.whitener
        evidence = gather(data, setting.noise, setting.lattice, setting.window, batch, whitener)
        if proposer is None:
            fits = _fitted(setting, evidence, slips, only_these, None)
        elif proposer.alone:
            fits = _told(setting, evidence, proposer(evidence))
        else:
            fits = _both(setting, evidence, slips, only_these, proposer(evidence))
        with lock:
            done += len(batch[0]) * len(batch[1])
            if progress is not None:
                progress(done, total)
        return fits

    batches = [(strip, some) for strip in strips for some in columns]
    parts = side_by_side(fit_batch, batches)
    lines = [parts[i : i + len(columns)] for i in range(0, len(parts), len(columns))]
    return concatenate([_side_by_side(line, len(strip)) for line, strip in zip(lines, strips, strict=True)])


def _side_by_side(parts: list[WindowFits], rows: int) -> WindowFits:
    """Windows of blocks that lie side by side, rows slowest."""
    if len(parts) == 1:
        return parts[0]

    def join(name: str) -> Any:
        blocks = [getattr(part, name) for part in parts]
        blocks = [b.reshape(rows, -1, *b.shape[1:]) for b in blocks]
        joined = np.concatenate(blocks, axis=1)
        return joined.reshape(-1, *joined.shape[2:])

    return WindowFits(**{name: join(name) for name in WindowFits.__dataclass_fields__})


def typical_chi2(setting: Setting) -> float:
    """Reduced chi² of the median tile."""
    return float(np.median(setting.fit.chi2) / setting.fit.dof)


def _fitted(
    setting: Setting, evidence: Evidence, slips: FloatArray, only_these: bool, proposal: Proposal | None
) -> WindowFits:
    """The fit, from the likely slips and, if there is a proposal, from those that the network finds likely."""
    microscope, certainty = setting.fit.state.microscope, setting.fit.microscope_covariance
    fit = fit_each(setting.model, evidence, microscope, certainty, slips)
    if proposal is not None:
        fit = _from_modes(setting, evidence, fit, proposal)
    poor = fit.chi2 / fit.dof > POOR * max(setting.fit.chi2_reduced, 1.0)
    if poor.any() and not only_these:
        fit = better_of(fit, fit_each(setting.model, evidence.take(poor), microscope, certainty), poor)
    covariance = setting.model.to_angstrom(fit.slip_covariance)
    return _windows(setting, evidence, fit, covariance, np.full(len(poor), Source.FIT, dtype=np.int64))


def _from_modes(setting: Setting, evidence: Evidence, fit: Fit, proposal: Proposal) -> Fit:
    """The fit, in each window the better one of it and those from the network's stackings."""
    model, cell = setting.model, setting.model.cell
    microscope, certainty = setting.fit.state.microscope, setting.fit.microscope_covariance
    for slips, weight in zip(np.moveaxis(proposal.slips, 1, 0), proposal.weights.T, strict=True):
        apart = model.stackings.distance(fit.state.slips @ cell, slips @ cell) > NEAR
        other = (weight >= LIKELY) & apart
        if other.any():
            new = fit_at(model, evidence.take(other), microscope, certainty, slips[other], held=False)
            fit = better_of(fit, new, other)
    return fit


def _told(setting: Setting, evidence: Evidence, proposal: Proposal) -> WindowFits:
    """The network's likeliest slips."""
    microscope, certainty = setting.fit.state.microscope, setting.fit.microscope_covariance
    fit = fit_at(setting.model, evidence, microscope, certainty, proposal.slips[:, 0], held=True)
    source = np.where(proposal.trusted, Source.NET, Source.DOUBTED)
    return _windows(setting, evidence, fit, proposal.covariance, source)


def _both(setting: Setting, evidence: Evidence, slips: FloatArray, only_these: bool, proposal: Proposal) -> WindowFits:
    """The fit; the network's slip where the model does not describe a window that the network knows."""
    fits = _fitted(setting, evidence, slips, only_these, proposal)
    lost = (fits.chi2 > UNTRUSTED * max(typical_chi2(setting), 1.0)) & proposal.trusted
    if not lost.any():
        return fits
    names = Proposal.__dataclass_fields__
    told = _told(setting, evidence.take(lost), Proposal(**{name: getattr(proposal, name)[lost] for name in names}))
    joined = {name: np.array(getattr(fits, name)) for name in WindowFits.__dataclass_fields__}
    for name, values in joined.items():
        values[lost] = getattr(told, name)
    return WindowFits(**joined)


def _windows(setting: Setting, evidence: Evidence, fit: Fit, covariance: FloatArray, source: IntArray) -> WindowFits:
    return WindowFits(
        centres=evidence.harmonics.centres,
        slips=fit.state.slips,
        covariance=covariance,
        chi2=fit.chi2 / fit.dof,
        amplitude=fit.state.scale,
        signal=evidence.signal_to_noise,
        predicted=predict(setting.model, fit.state),
        mean=evidence.harmonics.mean,
        fisher=setting.model.to_angstrom(fit.slip_covariance),
        source=source,
    )
