"""Twist window by window, in images whose layers are turned by different angles in different places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from picostem.bench.case import Case
from picostem.bench.kind import Kind, Number, Scored, mean
from picostem.bench.spots import nearest_spots, spot_twist, symmetry_angle
from picostem.bench.table import Table, number, percent
from picostem.bench.twist import SIGMAS_68, SIGMAS_95
from picostem.physics import DEGREE, NM
from picostem.resolve.result import Result, SlipMap
from picostem.simulate.domains import true_twists
from picostem.structure import Monolayer, twist_distance

HEAD = ("image", "windows", "within 0.1°", "spots within 0.1°", "median error °", "stated", "in 68 %", "in 95 %")
FloatArray = NDArray[np.float64]

CLEAR = 1.0 * NM  # from a boundary, where a window of 2 nm holds one domain
CLOSE = 0.1 * DEGREE


@dataclass(frozen=True)
class DomainAnswer:
    """The windows of one image whose centres are farther than 1 nm from a boundary; twists in degrees.

    Attributes:
        count: of all such windows, resolved or not.
        close: share of them within 0.1° of their domain's twist.
        spots_close: the same for twists read off the spots of the windows' Fourier transforms.
        error, sigma: median error and median stated error of the resolved ones, None if there are none.
        inside_68, inside_95: share of the resolved ones whose stated range holds the truth.
    """

    count: int
    close: float
    spots_close: float
    error: float | None
    sigma: float | None
    inside_68: float | None
    inside_95: float | None


def score(result: Result, case: Case) -> DomainAnswer | None:
    """Compare with the twists of the domains; None where no twists were mapped."""
    slip_map = result.map
    if slip_map is None or slip_map.twist is None or slip_map.twist_sigma is None or len(case.monolayers) != 2:
        return None
    truth, distance = true_twists(case.truth, slip_map.position)
    chosen = (distance > CLEAR) & ~slip_map.fine
    if not chosen.any():
        return None
    lower, upper = case.monolayers
    ok = chosen & (slip_map.status == "ok")
    error = twist_distance(slip_map.twist[ok], truth[ok], lower, upper)
    sigma = slip_map.twist_sigma[ok]
    count = int(chosen.sum())
    return DomainAnswer(
        count=count,
        close=float((error < CLOSE).sum() / count),
        spots_close=float((_spot_errors(result, slip_map, chosen, truth[chosen], lower, upper) < CLOSE).mean()),
        error=float(np.median(error)) / DEGREE if len(error) else None,
        sigma=float(np.median(sigma)) / DEGREE if len(error) else None,
        inside_68=mean(error <= SIGMAS_68 * sigma),
        inside_95=mean(error <= SIGMAS_95 * sigma),
    )


def _spot_errors(
    result: Result, slip_map: SlipMap, chosen: NDArray[np.bool_], truth: FloatArray, lower: Monolayer, upper: Monolayer
) -> FloatArray:
    """Errors of the twists that the spots of the chosen windows show, modulo the spots' symmetry; infinite if none."""
    assert result.image.pixel_size is not None
    data, pixel_size = result.image.data, result.image.pixel_size[1]
    side = round(slip_map.window / pixel_size)
    turns = np.arange(round(2 * np.pi / symmetry_angle(nearest_spots(lower)))) * symmetry_angle(nearest_spots(lower))
    errors = []
    for row, col, true in zip(slip_map.row[chosen], slip_map.col[chosen], truth, strict=True):
        top, left = (max(0, round(centre - (side - 1) / 2)) for centre in (row, col))
        found = spot_twist(data[top : top + side, left : left + side], pixel_size, lower, upper)
        # nor is the sign known of what two equal rings of spots show
        same = [] if found is None else [found + turns, -found + turns]
        errors.append(float(np.min(twist_distance(same, true, lower, upper))) if same else np.inf)
    return np.array(errors)


def totals(scored: Scored) -> dict[str, Number]:
    """What the images add up to, over all their windows."""
    answers = [answer for _, answer in scored]
    count = sum(a.count for a in answers)

    def share(values: list[float]) -> float | None:
        return float(np.dot(values, [a.count for a in answers])) / count if count else None

    return {
        "windows": count,
        "windows_within_0.1_deg": share([a.close for a in answers]),
        "spots_within_0.1_deg": share([a.spots_close for a in answers]),
        "mean_inside_68": mean([a.inside_68 for a in answers if a.inside_68 is not None]),
        "mean_inside_95": mean([a.inside_95 for a in answers if a.inside_95 is not None]),
    }


def tables(scored: Scored) -> list[Table]:
    """One line for each image."""
    title = "Twist of single windows, more than 1 nm from a boundary"
    return [Table(title, HEAD, tuple(_cells(name, answer) for name, answer in scored))]


def _cells(name: str, a: DomainAnswer) -> tuple[str, ...]:
    shares = (percent(a.close), percent(a.spots_close))
    return (
        name,
        str(a.count),
        *shares,
        number(a.error, 3),
        number(a.sigma, 3),
        percent(a.inside_68),
        percent(a.inside_95),
    )


DOMAINS = Kind("twist domains", score, tables, totals)
