"""How far slips, microscope and boundaries are from the truth, modulo what projection cannot show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picostem.bench.case import Case
from picostem.physics import DEGREE
from picostem.resolve.result import Result, SlipMap
from picostem.structure import SlipEquivalence
from picostem.structure.lattice import shortest

FloatArray = NDArray[np.float64]

INSIDE_68, INSIDE_95 = 2.30, 5.99  # chi² of two degrees of freedom that 68.3 % and 95 % of all draws stay below


@dataclass(frozen=True)
class SlipScore:
    """Errors of slips, shapes (n,): distance from the truth, stated standard deviation (Å), and squared Mahalanobis
    distance of the equivalent of the truth that is nearest in that metric."""

    error: FloatArray
    sigma: FloatArray
    mahalanobis: FloatArray

    @property
    def inside_68(self) -> NDArray[np.bool_]:
        """Whether the truth lies in the stated 68 % region."""
        return self.mahalanobis < INSIDE_68

    @property
    def inside_95(self) -> NDArray[np.bool_]:
        """Whether the truth lies in the stated 95 % region."""
        return self.mahalanobis < INSIDE_95


def score_slips(
    slips: FloatArray, covariance: FloatArray, truth: FloatArray, equivalence: SlipEquivalence
) -> SlipScore:
    """Score slips (n, 2) with covariances (n, 2, 2), Å, against one true slip."""
    off = shortest(slips[:, None] - equivalence.equivalents(truth), equivalence.cell)
    squared = np.einsum("nei,nij,nej->ne", off, np.linalg.inv(covariance), off)
    return SlipScore(
        error=np.linalg.norm(off, axis=-1).min(axis=1),
        sigma=np.sqrt(np.trace(covariance, axis1=1, axis2=2)),
        mahalanobis=squared.min(axis=1),
    )


def score_windows(slip_map: SlipMap, case: Case, equivalence: SlipEquivalence) -> SlipScore | None:
    """Score the resolved windows of a map, those across a stacking boundary left out; None if there are none."""
    chosen = (slip_map.status == "ok") & ~slip_map.fine
    sides = [chosen]
    if len(case.slips) == 2:
        distance = case.side(slip_map.position)
        clear = slip_map.window / np.sqrt(2)  # half a diagonal: the whole window lies on one side
        sides = [chosen & (distance < -clear), chosen & (distance > clear)]
    parts = [
        score_slips(slip_map.slip[where], slip_map.covariance[where], truth, equivalence)
        for where, truth in zip(sides, case.slips, strict=True)
        if where.any()
    ]
    if not parts:
        return None
    return SlipScore(*(np.concatenate([getattr(p, name) for p in parts]) for name in SlipScore.__dataclass_fields__))


def microscope_errors(result: Result, truth: dict[str, Any]) -> tuple[float, float] | None:
    """Error of the defocus, and length of that of the astigmatism as a vector, Å; None where nothing was fitted."""
    m = result.microscope
    if m is None:
        return None
    aberrations = truth["aberrations"]
    true = aberrations["C12_A"] * np.exp(2j * aberrations["phi12_deg_image"] * DEGREE)
    return m.defocus - truth["defocus_A"], float(abs(m.C12 * np.exp(2j * m.phi12) - true))


def boundary_distance(slip_map: SlipMap, case: Case) -> float | None:
    """Rms distance of the boundaries found from the true line, Å; None if none was found."""
    if not slip_map.boundaries:
        return None
    points = np.concatenate([boundary.points for boundary in slip_map.boundaries])
    return float(np.sqrt(np.mean(case.side(points) ** 2)))
