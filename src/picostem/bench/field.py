"""Slip window by window, in relaxed moirés where it changes smoothly from place to place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from picostem.bench.case import Case
from picostem.bench.kind import Kind, Number, Scored, largest, mean, rms
from picostem.bench.score import INSIDE_68, INSIDE_95
from picostem.bench.table import Table, number, percent
from picostem.resolve.result import Result
from picostem.simulate.slip_field import true_slips
from picostem.structure import SlipEquivalence
from picostem.structure.lattice import shortest

HEAD = ("image", "windows", "resolved", "rms error Å", "median", "worst", "each apart", "stated", "in 68 %", "in 95 %")
WINDOW_NM, STRIDE_NM = 1.5, 0.75


@dataclass(frozen=True)
class FieldAnswer:
    """The windows of one image; lengths in Å.

    Attributes:
        count: of all windows. resolved: share of them that have a slip.
        error, median, worst: rms, median and largest distance of those from the true slip at the window's centre.
        apart: rms distance if each window may have an equivalent of its own, so that the field need not be smooth.
        sigma: rms stated error.
        inside_68, inside_95: share of those whose stated region holds the truth.
    """

    count: int
    resolved: float
    error: float
    median: float
    worst: float
    apart: float
    sigma: float
    inside_68: float
    inside_95: float


def score(result: Result, case: Case) -> FieldAnswer | None:
    """Compare with the true slips; None where none were mapped.

    Slips are compared as registries: fractions of the layers' cells, times the lower layer's. What projection cannot
    show leaves a lattice vector for each window, and one operation for the whole image: the one that fits best.
    """
    if result.map is None or len(case.monolayers) != 2:
        return None
    chosen = ~result.map.fine
    ok = chosen & (result.map.status == "ok") & np.isfinite(result.map.slip).all(axis=1)
    if not ok.any():
        return None
    lower, upper = case.monolayers
    equivalence = SlipEquivalence(lower, upper, float(case.twists[0]))
    truth = true_slips(case.truth, result.map.position[ok]).registry @ lower.cell
    found, covariance = result.map.slip[ok], result.map.covariance[ok]
    offs = np.array([shortest(found - operation(truth), equivalence.cell) for operation in equivalence.operations])
    off = offs[np.sum(offs**2, axis=(1, 2)).argmin()]
    errors = np.linalg.norm(off, axis=1)
    squared = np.einsum("ni,nij,nj->n", off, np.linalg.inv(covariance), off)
    return FieldAnswer(
        count=int(chosen.sum()),
        resolved=float(ok.sum() / chosen.sum()),
        error=float(np.sqrt(np.mean(errors**2))),
        median=float(np.median(errors)),
        worst=float(errors.max()),
        apart=float(np.sqrt(np.sum(offs**2, axis=2).min(axis=0).mean())),
        sigma=float(np.sqrt(np.trace(covariance, axis1=1, axis2=2).mean())),
        inside_68=float((squared < INSIDE_68).mean()),
        inside_95=float((squared < INSIDE_95).mean()),
    )


def totals(scored: Scored) -> dict[str, Number]:
    """What the images add up to; each counts alike."""
    answers = [answer for _, answer in scored]
    return {
        "fields": len(answers),
        "windows_resolved": mean([a.resolved for a in answers]),
        "rms_error_A": rms([a.error for a in answers]),
        "rms_error_each_apart_A": rms([a.apart for a in answers]),
        "worst_image_A": largest([a.error for a in answers]),
        "rms_error_over_stated": rms([a.error / a.sigma for a in answers]),
        "windows_inside_68": mean([a.inside_68 for a in answers]),
        "windows_inside_95": mean([a.inside_95 for a in answers]),
    }


def tables(scored: Scored) -> list[Table]:
    """One line for each image."""
    title = f"Slip of single windows of {WINDOW_NM:g} nm in relaxed moirés"
    return [Table(title, HEAD, tuple(_cells(name, answer) for name, answer in scored))]


def _cells(name: str, a: FieldAnswer) -> tuple[str, ...]:
    lengths = (number(a.error, 4), number(a.median, 4), number(a.worst, 4), number(a.apart, 4), number(a.sigma, 4))
    return (name, str(a.count), percent(a.resolved), *lengths, percent(a.inside_68), percent(a.inside_95))


FIELD = Kind("slip field", score, tables, totals, {"window_nm": WINDOW_NM, "stride_nm": STRIDE_NM})
