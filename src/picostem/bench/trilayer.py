"""Positions of three and more parallel layers, of which projection shows the set and not the order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from picostem.bench.case import Case
from picostem.bench.kind import Kind, Number, Scored, largest, rms
from picostem.bench.table import Table, number
from picostem.errors import UsageError
from picostem.resolve.result import Result
from picostem.structure import trilayer_distance

HEAD = ("image", "set distance Å", "worst layer", "stated", "bound", "distance/stated", "distance/bound")


@dataclass(frozen=True)
class TrilayerAnswer:
    """Distance of the set of positions from the true one, Å.

    Attributes:
        distance, worst: root mean square over the layers, and the largest.
        sigma, bound: what the result states for the root mean square, and its Cramér-Rao bound.
    """

    distance: float
    worst: float
    sigma: float
    bound: float


def score(result: Result, case: Case) -> TrilayerAnswer | None:
    """Compare with the true positions; None unless as many parallel layers were found as there are."""
    parallel = np.array([*case.twists, *(interface.twist for interface in result.interfaces)])
    if result.verdict != "slip" or len(result.layers) != len(case.positions) or parallel.any():
        return None
    found = np.array([layer.position for layer in result.layers])
    try:
        distance = trilayer_distance(found, case.positions, case.monolayers[0])
    except UsageError:
        return None
    variances = [float(np.trace(interface.slip_covariance)) for interface in result.interfaces]
    bounds = [interface.slip_bound**2 for interface in result.interfaces]
    count = len(found)
    return TrilayerAnswer(distance.rms, distance.max, _of_set(variances, count), _of_set(bounds, count))


def _of_set(variances: list[float], count: int) -> float:
    """Expected rms distance of a set, Å, from the variances of its slips, Å².

    With a variance v of each position, a slip has 2 v, and positions without their common translation v (n - 1)/n.
    """
    return float(np.sqrt(np.mean(variances) / 2 * (count - 1) / count))


def totals(scored: Scored) -> dict[str, Number]:
    """What the images add up to."""
    answers = [answer for _, answer in scored]
    return {
        "sets": len(answers),
        "rms_distance_A": rms([a.distance for a in answers]),
        "worst_distance_A": largest([a.distance for a in answers]),
        "rms_distance_over_stated": rms([a.distance / a.sigma for a in answers]),
        "rms_distance_over_bound": rms([a.distance / a.bound for a in answers if a.bound]),
    }


def tables(scored: Scored) -> list[Table]:
    """One line for each image."""
    return [Table("Positions of three layers", HEAD, tuple(_cells(name, answer) for name, answer in scored))]


def _cells(name: str, a: TrilayerAnswer) -> tuple[str, ...]:
    lengths = (number(a.distance, 4), number(a.worst, 4), number(a.sigma, 4), number(a.bound or None, 4))
    return (name, *lengths, number(a.distance / a.sigma, 2), number(a.distance / a.bound if a.bound else None, 2))


TRILAYER = Kind("trilayer", score, tables, totals)
