"""Twist of layers that have lattices of their own."""

from __future__ import annotations

from dataclasses import dataclass

from picostem.bench.case import Case
from picostem.bench.kind import Kind, Number, Scored, largest, mean, ratio, rms
from picostem.bench.orientation import Branch, branch, nearest_order, twist_error
from picostem.bench.table import Table, number, yes
from picostem.physics import DEGREE
from picostem.resolve.result import Interface, Result

HEAD = ("image", "true °", "found °", "error °", "stated", "bound", "error/bound", "in 68 %", "in 95 %", "branch")
SIGMAS_68, SIGMAS_95 = 1.0, 1.96  # that 68.3 % and 95 % of all draws of one normal number stay within


@dataclass(frozen=True)
class TwistEstimate:
    """The twist of one interface, degrees.

    Attributes:
        error: to the nearest of the twists that the result does not exclude, modulo what looks the same.
        bound: Cramér-Rao bound; None where it is not stated.
        inside_68, inside_95: whether the truth is within the stated errors of one of those twists.
    """

    true: float
    found: float
    error: float
    sigma: float
    bound: float | None
    inside_68: bool
    inside_95: bool


@dataclass(frozen=True)
class TwistAnswer:
    """The twists of one image, and whether a layer was taken for the same one turned by half."""

    estimates: tuple[TwistEstimate, ...]
    branch: Branch | None


def score(result: Result, case: Case) -> TwistAnswer | None:
    """Compare with the true twists; None where other layers were found than there are, or none that are twisted."""
    if result.verdict != "twist" or len(result.interfaces) != len(case.twists):
        return None
    near = nearest_order(result, case)
    estimates = tuple(_estimate(interface, near, index) for index, interface in enumerate(result.interfaces))
    return TwistAnswer(estimates, branch(result, case))


def _estimate(interface: Interface, case: Case, index: int) -> TwistEstimate:
    error = twist_error(interface, case, index)
    return TwistEstimate(
        true=float(case.twists[index]) / DEGREE,
        found=interface.twist / DEGREE,
        error=error / DEGREE,
        sigma=interface.twist_sigma / DEGREE,
        bound=interface.twist_bound / DEGREE or None,
        inside_68=error <= SIGMAS_68 * interface.twist_sigma,
        inside_95=error <= SIGMAS_95 * interface.twist_sigma,
    )


def totals(scored: Scored) -> dict[str, Number]:
    """What the images add up to; a wrong branch counts as outside, but not in the errors."""
    answers = [answer for _, answer in scored]
    estimates = [e for answer in answers for e in answer.estimates]
    errors = [e for answer in answers if answer.branch != "wrong" for e in answer.estimates]
    ratios = [e.error / e.bound for e in errors if e.bound]
    return {
        "twists": len(estimates),
        "mean_error_deg": mean([e.error for e in errors]),
        "worst_error_deg": largest([e.error for e in errors]),
        "rms_error_over_bound": rms(ratios),
        "worst_error_over_bound": largest(ratios),
        "rms_error_over_stated": rms([e.error / e.sigma for e in errors if e.sigma]),
        "twists_inside_68": mean([e.inside_68 for e in estimates]),
        "twists_inside_95": mean([e.inside_95 for e in estimates]),
        "branch_decided": sum(answer.branch in ("right", "wrong") for answer in answers),
        "branch_wrong": sum(answer.branch == "wrong" for answer in answers),
        "branch_undecided": sum(answer.branch == "undecided" for answer in answers),
    }


def tables(scored: Scored) -> list[Table]:
    """One line for each interface."""
    return [Table("Twist of whole images", HEAD, tuple(cells for name, one in scored for cells in _cells(name, one)))]


def _cells(name: str, answer: TwistAnswer) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = []
    for i, e in enumerate(answer.estimates):
        errors = (number(e.error, 4), number(e.sigma, 4), number(e.bound, 4), number(ratio(e.error, e.bound), 2))
        first, last = (name, answer.branch or "–") if i == 0 else ("", "")
        angles = (number(e.true, 3), number(e.found, 3))
        lines.append((first, *angles, *errors, yes(e.inside_68), yes(e.inside_95), last))
    return lines


TWIST = Kind("twist", score, tables, totals)
