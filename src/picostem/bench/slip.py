"""Slip of layers that share a lattice: one for the image, or one on each side of a boundary, and window by window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from picostem.bench.case import Case
from picostem.bench.kind import Kind, Number, Scored, largest, mean, ratio, rms
from picostem.bench.score import SlipScore, boundary_distance, score_slips, score_windows
from picostem.bench.table import Table, number, percent, yes
from picostem.resolve.result import Result, SlipMap
from picostem.structure import SlipEquivalence

SLIP_HEAD = ("image", "error Å", "stated", "bound", "error/bound", "in 68 %", "in 95 %", "boundary Å")
WINDOW_HEAD = (
    "image", "windows", "mean Å", "median", "95 %", "rms", "stated", "bound", "rms/stated", "in 68 %", "in 95 %",
    "untrusted",
)  # fmt: skip


@dataclass(frozen=True)
class Estimate:
    """One slip of an image: error, stated error and bound in Å, and whether the truth is in the stated regions."""

    error: float
    sigma: float
    bound: float | None
    inside_68: bool
    inside_95: bool


@dataclass(frozen=True)
class Windows:
    """The resolved windows of one image.

    Attributes:
        errors: of each, Å.
        sigma: rms stated error, Å.
        bound: Cramér-Rao bound of one window as the truth states it, Å; None if it does not.
        inside_68, inside_95: share of the windows whose stated region holds the truth.
        untrusted: share of all windows, resolved or not, that are said not to be believed.
    """

    errors: tuple[float, ...]
    sigma: float
    bound: float | None
    inside_68: float
    inside_95: float
    untrusted: float

    @property
    def error(self) -> float:
        """Rms of the errors, Å."""
        return float(np.sqrt(np.mean(np.square(self.errors))))


@dataclass(frozen=True)
class SlipAnswer:
    """The slips of one image.

    Attributes:
        estimates: of the slip, or of those on both sides of a boundary.
        boundary: rms distance of the stacking boundary from the true one, Å.
    """

    estimates: tuple[Estimate, ...]
    windows: Windows | None
    boundary: float | None


def score(result: Result, case: Case) -> SlipAnswer | None:
    """Compare with the true slips; None where no slip was asked for or none was found."""
    if result.map is None or len(result.interfaces) != 1 or not case.slips:
        return None
    lower, upper = case.monolayers
    equivalence = SlipEquivalence(lower, upper, float(case.twists[0]))
    windows = score_windows(result.map, case, equivalence)
    return SlipAnswer(
        _estimates(result, case, equivalence),
        None if windows is None else summed(windows, case.truth.get("crlb_angstrom"), untrusted_share(result.map)),
        boundary_distance(result.map, case) if case.task == "interface" else None,
    )


def _estimates(result: Result, case: Case, equivalence: SlipEquivalence) -> tuple[Estimate, ...]:
    assert result.map is not None
    if len(case.slips) == 1:
        interface = result.interfaces[0]
        score = score_slips(interface.slip[None], interface.slip_covariance[None], case.slips[0], equivalence)
        return (_estimate(score, interface.slip_bound),)
    domains = result.map.domains
    if not domains:
        return ()
    slips, covariances = np.array([d.slip for d in domains]), np.array([d.slip_covariance for d in domains])
    scores = [score_slips(slips, covariances, truth, equivalence) for truth in case.slips]
    return tuple(_estimate(score, None, int(score.error.argmin())) for score in scores)


def _estimate(score: SlipScore, bound: float | None, i: int = 0) -> Estimate:
    inside = bool(score.inside_68[i]), bool(score.inside_95[i])
    return Estimate(float(score.error[i]), float(score.sigma[i]), bound, *inside)


def untrusted_share(slip_map: SlipMap) -> float:
    """Share of the windows of a map that are not to be believed."""
    return float(np.mean(slip_map.status[~slip_map.fine] == "untrusted"))


def summed(score: SlipScore, bound: float | None, untrusted: float) -> Windows:
    """What the scores of windows, one at least, come to."""
    return Windows(
        errors=tuple(score.error.tolist()),
        sigma=float(np.sqrt(np.mean(score.sigma**2))),
        bound=bound,
        inside_68=float(score.inside_68.mean()),
        inside_95=float(score.inside_95.mean()),
        untrusted=untrusted,
    )


def spread(errors: ArrayLike) -> dict[str, Number]:
    """Mean, median and 95 % quantile of errors, None of nothing."""
    array = np.asarray(errors, dtype=np.float64)
    if not array.size:
        return {"mean": None, "median": None, "95": None}
    return {"mean": float(array.mean()), "median": float(np.median(array)), "95": float(np.quantile(array, 0.95))}


def totals(scored: Scored) -> dict[str, Number]:
    """What the images add up to: error against bound, coverage of slips and of windows."""
    estimates = [e for _, answer in scored for e in answer.estimates]
    windows = [answer.windows for _, answer in scored if answer.windows is not None]
    weights = [len(w.errors) for w in windows]
    errors = [e.error for e in estimates]
    ratios = [e.error / e.bound for e in estimates if e.bound]

    def pooled(values: list[float]) -> float | None:
        return float(np.average(values, weights=weights)) if weights else None

    return {
        "slips": len(estimates),
        "median_error_A": float(np.median(errors)) if errors else None,
        "worst_error_A": largest(errors),
        "rms_error_over_bound": rms(ratios),
        "worst_error_over_bound": largest(ratios),
        "rms_error_over_stated": rms([e.error / e.sigma for e in estimates]),
        "slips_inside_68": mean([e.inside_68 for e in estimates]),
        "slips_inside_95": mean([e.inside_95 for e in estimates]),
        "windows": sum(weights),
        **{f"windows_{name}_error_A": value for name, value in spread([e for w in windows for e in w.errors]).items()},
        "windows_inside_68": pooled([w.inside_68 for w in windows]),
        "windows_inside_95": pooled([w.inside_95 for w in windows]),
        "windows_untrusted": mean([w.untrusted for w in windows]),
    }


def tables(scored: Scored) -> list[Table]:
    """The slips of whole images, and the single windows."""
    slips = tuple(cells for name, answer in scored for cells in _slip_cells(name, answer))
    windows = tuple(_window_cells(name, answer.windows) for name, answer in scored if answer.windows is not None)
    return [Table("Slip of whole images", SLIP_HEAD, slips), Table("Single windows", WINDOW_HEAD, windows)]


def _slip_cells(name: str, answer: SlipAnswer) -> list[tuple[str, ...]]:
    """One line for each slip of an image."""
    lines: list[tuple[str, ...]] = []
    for i, e in enumerate(answer.estimates):
        errors = (number(e.error, 4), number(e.sigma, 4), number(e.bound, 4), number(ratio(e.error, e.bound), 2))
        boundary = number(answer.boundary, 1) if i == 0 else ""
        lines.append((name if i == 0 else "", *errors, yes(e.inside_68), yes(e.inside_95), boundary))
    return lines


def _window_cells(name: str, w: Windows) -> tuple[str, ...]:
    errors = (*spread(w.errors).values(), w.error, w.sigma, w.bound)
    shares = (percent(share) for share in (w.inside_68, w.inside_95, w.untrusted))
    return (name, str(len(w.errors)), *(number(e, 4) for e in errors), number(w.error / w.sigma, 2), *shares)


SLIP = Kind("slip", score, tables, totals)
