"""`picostem bench 4d`: what is told of scans of diffraction patterns, where the truth is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from picostem.bench import stem4d_agreement, stem4d_graphene, stem4d_recovered, stem4d_speed, stem4d_toy
from picostem.bench.table import Table
from picostem.errors import UsageError

Progress = Callable[[str, int, int], None]

RECOVERED = "recovered"
"""The case that needs a file."""


class Report(Protocol):
    """What a case comes to."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""

    def tables(self) -> list[Table]:
        """For people."""


@dataclass(frozen=True)
class Asked:
    """How many seeds are drawn and trained, of toy patterns; the file of the recovered scan, if there is one."""

    seeds: int = 5
    recovered: Path | None = None


CASES: dict[str, Callable[[Asked, Progress], Report]] = {
    "toy": lambda asked, progress: stem4d_toy.measure(seeds=range(asked.seeds), progress=progress),
    "invariance": lambda asked, progress: stem4d_toy.measure_turns(seeds=range(asked.seeds), progress=progress),
    "graphene": lambda asked, progress: stem4d_graphene.measure(progress=progress),
    "speed": lambda asked, progress: stem4d_speed.measure(progress=progress),
    "memory": lambda asked, progress: stem4d_speed.measure_memory(progress=progress),
    "agreement": lambda asked, progress: stem4d_agreement.measure(),
}
"""Cases that need no files."""

USUAL = tuple(name for name in CASES if name != "memory")
"""Those that are measured where none is named; the other reads 17 GB."""


def run(cases: Sequence[str], asked: Asked, progress: Progress) -> tuple[dict[str, Any], list[Table]]:
    """Figures by case, and all tables.

    Args:
        cases: by name; none for all usual ones. A recovered scan is measured wherever its file is given.

    Raises:
        UsageError: there is no such case, or what it needs is missing. FileError, DataError: as the cases do.
    """
    unknown = [name for name in cases if name not in {*CASES, RECOVERED}]
    if unknown:
        raise UsageError(f"--case is {unknown[0]!r}; expected one of {', '.join([*CASES, RECOVERED])}")
    file = asked.recovered
    if RECOVERED in cases and file is None:
        raise UsageError(f"--case {RECOVERED} needs a file: name it with --recovered FILE")
    named = [name for name in cases if name in CASES]
    wanted = named if cases or file is not None else USUAL
    reports = {name: CASES[name](asked, progress) for name in dict.fromkeys(wanted)}
    if file is not None:
        reports[RECOVERED] = stem4d_recovered.measure(file, progress=progress)
    tables = [table for report in reports.values() for table in report.tables()]
    return {name: report.as_dict() for name, report in reports.items()}, tables
