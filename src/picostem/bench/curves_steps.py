"""`picostem bench steps`: errors of windows against the step of the grid that a network's labels lay on in training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from picostem.bench import curves
from picostem.bench.curves import TITLES, Point, amount_of
from picostem.bench.curves_spoil import Cause
from picostem.bench.slip import spread
from picostem.bench.table import Table, number, percent
from picostem.errors import UsageError
from picostem.infer.folder import net_folder, read_card

STEPS: Mapping[Cause, tuple[float, ...]] = MappingProxyType({"none": (0.0,), "noise": (7.0,)})
"""What windows suffer: nothing, and few electrons."""

PUBLISHED = (0.1, 0.03, 0.05)
"""Step, mean error and 95 % quantile that TED-Gen states of the step it takes (Fig. 3b), Å, on images of its own."""

ANY = "any"
"""Instead of a step: labels on no grid."""

HEAD = (
    "step Å", "windows", "amount", "e/Å²", "answered", "mean Å", "median", "95 %", "stated", "bound", "in 95 %",
)  # fmt: skip


@dataclass(frozen=True)
class StepsReport:
    """What networks make of the same windows: the step of each one's labels, Å, None for any slip, and a point."""

    points: tuple[tuple[float | None, Point], ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "points": [
                {
                    "label_step_A": step,
                    **asdict(one),
                    "answered": one.answered,
                    "error_A": spread(one.found.errors if one.found else ()),
                }
                for step, one in self.points
            ]
        }

    def tables(self) -> list[Table]:
        """One line for each network and what windows suffer."""
        return [Table("Step of the labels", HEAD, tuple(_cells(step, one) for step, one in self.points))]


def measure(
    folder: Path,
    nets: Sequence[str],
    *,
    seed: int = 0,
    steps: Mapping[Cause, tuple[float, ...]] = STEPS,
    progress: Callable[[str, int, int], None] | None = None,
) -> StepsReport:
    """Ask networks that were trained with labels on different grids about the same windows.

    Args:
        folder: as of `curves.measure`; images with vacancies take time and are not reported.
        nets: names or folders, as `picostem train stacking --step-A` makes them.
        seed, steps, progress: as of `curves.measure`.

    Raises:
        UsageError: no networks, or one whose card does not say what it was trained with.
        FileError, DataError: as of `curves.measure` and `read_card`.
    """
    labels = [_step_of(net) for net in nets]
    if not nets:
        raise UsageError("no networks to compare: give one for each step of the labels")
    found: list[tuple[float | None, Point]] = []
    for place, (net, label) in enumerate(zip(nets, labels, strict=True)):

        def told(what: str, done: int, total: int, place: int = place) -> None:
            if progress is not None:
                progress(what, place * total + done, len(nets) * total)

        report = curves.measure(folder, ("net",), net, seed=seed, steps=steps, progress=told)
        found += [(label, one) for one in report.points if one.step.cause in steps]
    return StepsReport(tuple(sorted(found, key=lambda pair: pair[0] or 0.0)))


def _step_of(net: str) -> float | None:
    """The step that a network's card says, Å."""
    plan = read_card(net_folder(net)).training.get("plan")
    if not isinstance(plan, dict) or "step_A" not in plan:
        raise UsageError(f"{net}: its card does not say what its labels were: train it with picostem train stacking")
    return None if plan["step_A"] is None else float(plan["step_A"])


def _cells(step: float | None, one: Point) -> tuple[str, ...]:
    errors = spread(one.found.errors if one.found else ()).values()
    stated = (one.found.sigma, one.found.bound) if one.found else (None, None)
    return (
        ANY if step is None else f"{step:g}",
        str(one.windows),
        amount_of(one.step) or TITLES[one.step.cause].lower(),
        number(one.dose, 0),
        percent(one.answered),
        *(number(length, 4) for length in (*errors, *stated)),
        percent(one.found.inside_95 if one.found else None),
    )
