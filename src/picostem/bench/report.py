"""What a benchmark of slips reports: one row for each image, what they add up to, and both as tables."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picostem.bench.table import Table, number

SLIP_HEAD = (
    *("image", "task", "verdict", "error Å", "stated", "bound", "error/bound", "in 68 %", "in 95 %", "χ²"),
    *("Δdefocus Å", "ΔC12 Å", "orientation", "boundary Å", "s"),
)
WINDOW_HEAD = ("image", "windows", "rms error Å", "stated", "bound", "error/stated", "in 68 %", "in 95 %")


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
        error, sigma: rms error and rms stated error, Å.
        bound: Cramér-Rao bound of one window as the truth states it, Å; None if it does not.
        inside_68, inside_95: share of the windows whose stated region holds the truth.
    """

    count: int
    error: float
    sigma: float
    bound: float | None
    inside_68: float
    inside_95: float


@dataclass(frozen=True)
class Row:
    """What became of one image.

    Attributes:
        verdict: with a note if two layers had to be asked for, or what went wrong.
        right: whether the verdict is, None where none is settled.
        estimates: of the slip, or of those on both sides of a boundary.
        orientation: whether orientation and hand are right.
        boundary: rms distance of the stacking boundary from the true one, Å.
        mapped, map_seconds: windows fitted, and how long that took.
    """

    name: str
    task: str
    verdict: str
    right: bool | None
    estimates: tuple[Estimate, ...] = ()
    chi2: float | None = None
    defocus_error: float | None = None
    C12_error: float | None = None
    orientation: bool | None = None
    windows: Windows | None = None
    boundary: float | None = None
    mapped: int = 0
    map_seconds: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Report:
    """All rows with what they add up to."""

    rows: tuple[Row, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"images": [asdict(row) for row in self.rows], "totals": self.totals()}

    def totals(self) -> dict[str, float | int | None]:
        """What the rows add up to: error against bound, coverage, speed; None where nothing was scored."""
        estimates = [e for row in self.rows for e in row.estimates]
        ratios = np.array([e.error / e.bound for e in estimates if e.bound])
        stated = np.array([e.error / e.sigma for e in estimates])
        windows = [row.windows for row in self.rows if row.windows is not None]
        weights = np.array([w.count for w in windows])
        judged = [row.right for row in self.rows if row.right is not None]
        seconds = sum(row.map_seconds for row in self.rows)

        def pooled(values: list[float]) -> float | None:
            return float(np.average(values, weights=weights)) if len(weights) else None

        return {
            "images": len(self.rows),
            "verdicts_right": sum(judged),
            "verdicts_judged": len(judged),
            "slips": len(estimates),
            "median_error_A": float(np.median([e.error for e in estimates])) if estimates else None,
            "worst_error_A": max((e.error for e in estimates), default=None),
            "rms_error_over_bound": _rms(ratios),
            "worst_error_over_bound": float(ratios.max()) if len(ratios) else None,
            "rms_error_over_stated": _rms(stated),
            "slips_inside_95": float(np.mean([e.inside_95 for e in estimates])) if estimates else None,
            "windows": int(weights.sum()),
            "windows_inside_68": pooled([w.inside_68 for w in windows]),
            "windows_inside_95": pooled([w.inside_95 for w in windows]),
            "windows_per_second": sum(row.mapped for row in self.rows) / seconds if seconds else None,
        }

    def tables(self) -> list[Table]:
        """The slips, the windows, and the totals."""
        slips = [cells for row in self.rows for cells in _slip_cells(row)]
        windows = tuple(_window_cells(row.name, row.windows) for row in self.rows if row.windows is not None)
        totals = tuple((key.replace("_", " "), _shown(value)) for key, value in self.totals().items())
        return [
            Table("Slip of whole images", SLIP_HEAD, tuple(slips)),
            Table("Single windows", WINDOW_HEAD, windows),
            Table("Together", ("figure", "value"), totals),
        ]


def _rms(values: NDArray[np.float64]) -> float | None:
    return float(np.sqrt(np.mean(values**2))) if len(values) else None


def _slip_cells(row: Row) -> list[tuple[str, ...]]:
    """One line for each slip of an image; what belongs to the image stands in the first."""
    orientation = {None: "–", True: "right", False: "wrong"}[row.orientation]
    rest = (number(row.defocus_error, 1), number(row.C12_error, 1), orientation, number(row.boundary, 1))
    lines = []
    for i, estimate in enumerate(row.estimates or (None,)):
        first = (row.name, row.task, row.verdict) if i == 0 else ("", "", "")
        last = (number(row.chi2, 2), *rest, f"{row.seconds:.1f}") if i == 0 else ("",) * 6
        lines.append((*first, *_estimate_cells(estimate), *last))
    return lines


def _estimate_cells(e: Estimate | None) -> tuple[str, ...]:
    if e is None:
        return ("–",) * 6
    ratio = None if e.bound is None else e.error / e.bound
    inside = ("yes" if e.inside_68 else "no", "yes" if e.inside_95 else "no")
    return (number(e.error, 4), number(e.sigma, 4), number(e.bound, 4), number(ratio, 2), *inside)


def _window_cells(name: str, w: Windows) -> tuple[str, ...]:
    shares = (f"{100 * w.inside_68:.0f} %", f"{100 * w.inside_95:.0f} %")
    return (
        name,
        str(w.count),
        number(w.error, 4),
        number(w.sigma, 4),
        number(w.bound, 4),
        number(w.error / w.sigma, 2),
        *shares,
    )


def _shown(value: float | int | None) -> str:
    return str(value) if isinstance(value, int) else number(value, 3)
