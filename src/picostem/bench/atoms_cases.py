"""The cases of `picostem bench atoms`: what is asked for is measured, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from picostem.bench import (
    atoms,
    atoms_buckybowls,
    atoms_charge,
    atoms_dumbbells,
    atoms_inspection,
    atoms_labels,
    atoms_positions,
    atoms_stm,
    atoms_tracking,
)
from picostem.bench.atoms import Asked
from picostem.bench.table import Table
from picostem.errors import UsageError

Progress = Callable[[str, int, int], None]
Measured = tuple[dict[str, Any], list[Table]]


class Report(Protocol):
    """What a case comes to."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""

    def tables(self) -> list[Table]:
        """For people."""


CASES: dict[str, Callable[[Asked, Progress], Report]] = {
    "positions": lambda asked, progress: atoms_positions.positions(seed=asked.seed),
    "speed": lambda asked, progress: atoms_positions.speed(asked.weights, seed=asked.seed),
    "dumbbells": lambda asked, progress: atoms_dumbbells.measure(seed=asked.seed, progress=progress),
    "tracking": lambda asked, progress: atoms_tracking.measure(seed=asked.seed, progress=progress),
    "charge": lambda asked, progress: atoms_charge.measure(seed=asked.seed, progress=progress),
    "buckybowls": lambda asked, progress: atoms_buckybowls.measure(seed=asked.seed, progress=progress),
    "stm": lambda asked, progress: atoms_stm.measure(seed=asked.seed, progress=progress),
}
"""Cases that need no files."""

INSPECTION = "inspection"
"""The case that needs a folder of images."""


def run(folder: Path | None, cases: Sequence[str], labelled: Path | None, asked: Asked, progress: Progress) -> Measured:
    """Figures by case, and all tables.

    Args:
        folder: of images without noise, if any. labelled: of micrographs with labels, if any.

    Raises:
        UsageError: there is no such case. FileError, DataError: as the cases do.
    """
    for name in cases:
        if name not in {*CASES, INSPECTION}:
            raise UsageError(f"--case is {name!r}; expected one of {', '.join([*CASES, INSPECTION])}")
    if INSPECTION in cases and folder is None:
        raise UsageError(f"--case {INSPECTION} needs a FOLDER of images without noise: make one, and name it")
    jobs: dict[str, Callable[[], Report]] = {}
    if folder is not None and INSPECTION in cases:
        jobs[INSPECTION] = lambda: atoms_inspection.measure(folder, asked.doses, asked.seed, progress)
    elif folder is not None:
        jobs["images"] = lambda: atoms.measure(folder, asked, progress)
    if labelled is not None:
        jobs["labels"] = lambda: atoms_labels.measure(labelled, asked.weights)
    mine = [name for name in cases if name in CASES]
    jobs |= {name: lambda name=name: CASES[name](asked, progress) for name in mine}  # type: ignore[misc]
    reports = {name: job() for name, job in jobs.items()}
    tables = [table for report in reports.values() for table in report.tables()]
    return {name: report.as_dict() for name, report in reports.items()}, tables
