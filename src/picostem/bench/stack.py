"""`picostem bench stack`: resolve images whose truth is known, and compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from picostem.bench.ask import Given, ask, bare_image
from picostem.bench.case import Case, load_cases
from picostem.bench.domains import DOMAINS
from picostem.bench.field import FIELD
from picostem.bench.kind import Kind, Number
from picostem.bench.orientation import Branch, branch, orientation_right
from picostem.bench.score import microscope_errors
from picostem.bench.slip import SLIP
from picostem.bench.table import Table, number, yes
from picostem.bench.trilayer import TRILAYER
from picostem.bench.twist import TWIST
from picostem.errors import PicostemError
from picostem.resolve.result import Result

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "slip": SLIP,
        "interface": SLIP,
        "twist": TWIST,
        "trilayer": TRILAYER,
        "twisted trilayer": TWIST,
        "twist domains": DOMAINS,
        "slip field": FIELD,
    }
)
"""How the answers to a task are scored; of other tasks, the verdict alone is."""

HEAD = ("image", "task", "verdict", "right", "layers", "branch", "orientation", "χ²", "Δdefocus Å", "ΔC12 Å", "s")


@dataclass(frozen=True)
class Row:
    """What became of one image.

    Attributes:
        verdict: with a note if two layers had to be asked for.
        right: whether verdict and number of layers are, None where none is settled.
        branch: which of two antiparallel stackings was found, None where they look the same.
        orientation: whether orientation and hand are right.
        defocus_error, C12_error: Å.
        mapped, map_seconds: windows fitted, and how long that took.
        score: by the kind of its task, None where there is nothing to score.
        failure: why there is no verdict.
    """

    name: str
    task: str
    verdict: str
    right: bool | None
    layers: int = 0
    branch: Branch | None = None
    orientation: bool | None = None
    chi2: float | None = None
    defocus_error: float | None = None
    C12_error: float | None = None
    mapped: int = 0
    map_seconds: float = 0.0
    seconds: float = 0.0
    score: Any = None
    failure: str | None = None


@dataclass(frozen=True)
class Report:
    """All rows with what they add up to."""

    rows: tuple[Row, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"images": [asdict(row) for row in self.rows], "totals": self.totals()}

    def totals(self) -> dict[str, dict[str, Number]]:
        """What all images add up to, and what those of each kind do; None where nothing was scored."""
        judged = [row.right for row in self.rows if row.right is not None]
        seconds = sum(row.map_seconds for row in self.rows)
        everything: dict[str, Number] = {
            "images": len(self.rows),
            "verdicts_right": sum(judged),
            "verdicts_judged": len(judged),
            "branches_wrong": sum(row.branch == "wrong" for row in self.rows),
            "branches_undecided": sum(row.branch == "undecided" for row in self.rows),
            "slowest_image_s": max((row.seconds for row in self.rows), default=None),
            "windows_per_second": sum(row.mapped for row in self.rows) / seconds if seconds else None,
        }
        return {"all": everything} | {kind.name: kind.totals(scored) for kind, scored in self._by_kind()}

    def tables(self) -> list[Table]:
        """All images, those of each kind that could be scored, and what they add up to."""
        images = Table("Images", HEAD, tuple(_cells(row) for row in self.rows))
        totals = tuple(
            (kind, key.replace("_", " "), _shown(value))
            for kind, figures in self.totals().items()
            for key, value in figures.items()
            if value is not None
        )
        tables = [table for kind, scored in self._by_kind() for table in kind.tables(scored) if table.rows]
        failures = tuple((row.name, row.failure) for row in self.rows if row.failure is not None)
        if failures:
            tables.append(Table("Failed", ("image", "why"), failures))
        return [images, *tables, Table("Together", ("of", "figure", "value"), totals)]

    def _by_kind(self) -> list[tuple[Kind, list[tuple[str, Any]]]]:
        """The kinds that the images are of, each with the scores that there are."""
        kinds = {KINDS[row.task].name: KINDS[row.task] for row in self.rows if row.task in KINDS}
        return [
            (kind, [(r.name, r.score) for r in self.rows if r.score is not None and KINDS[r.task].name == name])
            for name, kind in kinds.items()
        ]


def measure(folder: Path, given: Given, progress: Callable[[str, int, int], None] | None = None) -> Report:
    """Resolve all cases of a folder and score them.

    Args:
        folder: with images NAME.tif and truths NAME.json.
        given: what of the truth is told, and what finds the slips of windows.
        progress: called with the image's name, how many are done, and all.

    Raises:
        FileError: the folder holds no cases.
    """
    cases, rows = load_cases(folder), []
    for index, case in enumerate(cases):
        if progress is not None:
            progress(case.name, index, len(cases))
        rows.append(_row(case, given))
    return Report(tuple(rows))


def _row(case: Case, given: Given) -> Row:
    kind = KINDS.get(case.task)
    options = dict(kind.options) if kind is not None else {}
    try:
        image = bare_image(case)
        result = ask(case, image, given, **options)
        eclipsed = case.task == "slip" and result.verdict == "monolayer"
        scored = ask(case, image, given, "2", **options) if eclipsed else result
        verdict = f"{result.verdict} (eclipsed)" if eclipsed else result.verdict
        return score_row(scored, case, verdict, verdict_right(result, case))
    except PicostemError as error:
        return Row(case.name, case.task, "failed", False if case.expected else None, failure=str(error))


def verdict_right(result: Result, case: Case) -> bool | None:
    """Whether verdict and number of layers are right; None where none is settled."""
    if not case.expected:
        return None
    layers = 0 if "unresolved" in case.expected else len(case.truth["layers"])
    return result.verdict in case.expected and len(result.layers) == layers


def score_row(result: Result, case: Case, verdict: str, right: bool | None) -> Row:
    """The row of one result."""
    microscope = microscope_errors(result, case.truth["microscope"])
    kind = KINDS.get(case.task)
    return Row(
        case.name,
        case.task,
        verdict,
        right,
        layers=len(result.layers),
        branch=branch(result, case),
        orientation=orientation_right(result.layers[0], case) if result.layers else None,
        chi2=result.quality.chi2_reduced if result.quality else None,
        defocus_error=microscope[0] if microscope else None,
        C12_error=microscope[1] if microscope else None,
        mapped=0 if result.map is None else int(np.count_nonzero(~result.map.fine)),
        map_seconds=result.seconds.get("map", 0.0),
        seconds=result.seconds["total"],
        score=None if kind is None else kind.score(result, case),
    )


def _cells(row: Row) -> tuple[str, ...]:
    orientation = {None: "–", True: "right", False: "wrong"}[row.orientation]
    fit = (number(row.chi2, 2), number(row.defocus_error, 1), number(row.C12_error, 1), f"{row.seconds:.1f}")
    answer = (row.verdict, yes(row.right), str(row.layers), row.branch or "–", orientation)
    return (row.name, row.task, *answer, *fit)


def _shown(value: Number) -> str:
    return str(value) if isinstance(value, int) else number(value, 3)
