"""`picostem bench choice`: whether the right stacking is chosen again and again, from fresh draws of the electrons."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from picostem.bench.ask import Given, ask, bare_image
from picostem.bench.case import Case, load_cases
from picostem.bench.orientation import branch
from picostem.bench.score import score_slips
from picostem.bench.stack import KINDS, verdict_right
from picostem.bench.table import Table, percent
from picostem.errors import DataError, PicostemError, UsageError
from picostem.image import Image
from picostem.resolve.result import Result
from picostem.structure import SlipEquivalence

Outcome = Literal["right", "undecided", "wrong", "failed"]

OUTCOMES: tuple[Outcome, ...] = ("right", "undecided", "wrong", "failed")
HEAD = ("image", "task", "draws", "right", "undecided", "wrong", "failed", "answers")


@dataclass(frozen=True)
class Draws:
    """How images are drawn again: how often, with which share of their electrons, from which seed."""

    count: int = 10
    share: float = 0.8
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 1 or not 0 < self.share < 1:
            raise UsageError(
                f"--draws {self.count} --share {self.share:g}; expected 1 draw or more, and a share between 0 and 1"
            )


@dataclass(frozen=True)
class ChoiceRow:
    """The draws of one image: the outcome of each, and how often each answer was given, as words."""

    name: str
    task: str
    outcomes: tuple[Outcome, ...]
    answers: dict[str, int]

    def count(self, outcome: Outcome) -> int:
        """How many draws ended so."""
        return self.outcomes.count(outcome)


@dataclass(frozen=True)
class ChoiceReport:
    """All images with what they add up to."""

    rows: tuple[ChoiceRow, ...]

    def totals(self) -> dict[str, float | int | None]:
        """Draws of all images, and the share of each outcome."""
        outcomes = Counter(outcome for row in self.rows for outcome in row.outcomes)
        count = outcomes.total()
        return {"draws": count} | {one: outcomes[one] / count if count else None for one in OUTCOMES}

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"images": [asdict(row) for row in self.rows], "totals": self.totals()}

    def tables(self) -> list[Table]:
        """One line for each image, and one for all."""
        return [Table("Choice among stackings", HEAD, (*map(_cells, self.rows), self._last()))]

    def _last(self) -> tuple[str, ...]:
        totals = self.totals()
        shares = (percent(totals[one]) for one in OUTCOMES)
        return ("all", "", str(totals["draws"]), *shares, "")


def measure(
    folder: Path, given: Given, draws: Draws, progress: Callable[[str, int, int], None] | None = None
) -> ChoiceReport:
    """Resolve fresh draws of every image of a folder whose verdict is settled.

    Args:
        folder: with images NAME.tif and truths NAME.json, which must say gain and offset of the detector.
        given: what of the truth is told, and what finds the slips of windows.
        progress: called with the image's name, how many draws are done, and all.

    Raises:
        FileError: the folder holds no cases.
        DataError: a truth does not say how to count electrons, or none settles a verdict.
    """
    cases = [case for case in load_cases(folder) if case.expected]
    if not cases:
        raise DataError(f"{folder}: expected images of a known task, found none whose right verdict is settled")
    rows = []
    for index, case in enumerate(cases):
        image, answers = bare_image(case), []
        for draw in range(draws.count):
            if progress is not None:
                progress(case.name, index * draws.count + draw, len(cases) * draws.count)
            rng = np.random.default_rng([draws.seed, zlib.crc32(case.name.encode()), draw])
            answers.append(_answer(case, thinned(image, case, draws.share, rng), given))
        counts = Counter(words for _, words in answers)
        rows.append(ChoiceRow(case.name, case.task, tuple(outcome for outcome, _ in answers), dict(counts)))
    return ChoiceReport(tuple(rows))


def thinned(image: Image, case: Case, share: float, rng: np.random.Generator) -> Image:
    """The image that a share of its detected electrons makes, each kept with that chance, at the same gain.

    Counts that are Poisson distributed stay so, with a mean of `share` times theirs. The detector's noise, that is what
    the recorded image differs from whole counts by, stays as it was.

    Raises:
        DataError: the truth does not say gain and offset.
    """
    acquisition = case.truth.get("acquisition", {})
    if not acquisition.get("gain") or "offset" not in acquisition:
        raise DataError(f"{case.name}: its truth must say acquisition.gain and acquisition.offset to draw electrons")
    counts = (image.data.astype(np.float64) - acquisition["offset"]) / acquisition["gain"]
    whole = np.maximum(np.rint(counts), 0).astype(np.int64)
    kept = rng.binomial(whole, share) + (counts - whole)
    return replace(image, data=np.asarray(acquisition["gain"] * kept + acquisition["offset"], dtype=np.float32))


def _answer(case: Case, image: Image, given: Given) -> tuple[Outcome, str]:
    kind = KINDS.get(case.task)
    try:
        result = ask(case, image, given, **(kind.options if kind is not None else {}))
    except PicostemError as error:
        return "failed", type(error).__name__
    return outcome(result, case), _words(result, case)


def outcome(result: Result, case: Case) -> Outcome:
    """Right: verdict, number of layers and branch are. Undecided: the result says that it cannot tell."""
    found = branch(result, case)
    if verdict_right(result, case) and found in ("right", None):
        return "right"
    honest = result.verdict == "unresolved" or _may_be_eclipsed(result, case)
    return "undecided" if honest or (verdict_right(result, case) and found == "undecided") else "wrong"


def _may_be_eclipsed(result: Result, case: Case) -> bool:
    """Whether two layers were called one, with a stated region for the slip of a hidden second that holds the truth."""
    if result.verdict != "monolayer" or case.task != "slip" or len(case.twists) != 1 or not result.interfaces:
        return False
    hidden = result.interfaces[0]
    lower, upper = case.monolayers
    equivalence = SlipEquivalence(lower, upper, float(case.twists[0]))
    score = score_slips(hidden.slip[None], hidden.slip_covariance[None], case.slips[0], equivalence)
    return bool(score.inside_95[0])


def _words(result: Result, case: Case) -> str:
    """Verdict, layers and branch in a word each, as far as they say something."""
    found = branch(result, case)
    layers = f" of {len(result.layers)}" if len(result.layers) > 1 else ""
    return result.verdict + layers + (f", branch {found}" if found is not None else "")


def _cells(row: ChoiceRow) -> tuple[str, ...]:
    ends = (str(row.count(one)) for one in OUTCOMES)
    answers = "; ".join(f"{count} {words}" for words, count in row.answers.items())
    return (row.name, row.task, str(len(row.outcomes)), *ends, answers)
