"""`picostem bench curves`: errors of windows against what they suffer, on images that another simulator made.

The images have no noise (benchmarks/curve_set.py). Every window of an image suffers as much, and every engine is asked
about the same pixels.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from picostem.bench.ask import Given, ask, bare_image
from picostem.bench.case import Case, load_cases
from picostem.bench.curves_spoil import Cause, Step, psnr_of, recorded
from picostem.bench.score import SlipScore, score_windows
from picostem.bench.slip import Windows, spread, summed
from picostem.bench.table import Table, number, percent
from picostem.errors import DataError, UsageError
from picostem.image import Image
from picostem.physics import NM
from picostem.resolve.result import Result
from picostem.resolve.settings import Engine
from picostem.structure import SlipEquivalence

WINDOW_NM = 2.0
OVERLAPPING_NM = 1.0
"""Distance of the windows' centres in images with vacancies, which are small; others have windows side by side."""

STEPS: Mapping[Cause, tuple[float, ...]] = MappingProxyType(
    {
        "none": (0.0,),
        "noise": (30.0, 25.0, 20.0, 15.0, 10.0, 7.0),
        "hole": (0.05, 0.10, 0.15, 0.20, 0.25),
        "contamination": (0.25, 0.5, 1.0, 2.0),
    }
)
"""Amounts, by cause, that perfect crystals are given; those with vacancies have theirs."""

PUBLISHED: Mapping[Step, float] = MappingProxyType(
    {Step("vacancies", 0.10): 0.32} | {Step("noise", psnr): 0.04 for psnr in STEPS["noise"]}
)
"""Mean errors that TED-Gen states for ReS2 (text with its figures 4b and 4c), Å, of images of its own generator."""

TITLES: Mapping[Cause, str] = MappingProxyType(
    {
        "none": "Perfect crystals",
        "noise": "Electrons",
        "vacancies": "Vacancies",
        "hole": "A hole in each window",
        "contamination": "Dirt that scatters",
    }
)
HEAD = (
    "amount", "engine", "e/Å²", "PSNR dB", "windows", "answered", "mean Å", "median", "95 %", "stated", "bound",
    "in 95 %", "untrusted", "published",
)  # fmt: skip


@dataclass(frozen=True)
class Point:
    """What one engine makes of one step.

    Attributes:
        dose, psnr: median over the images, electrons per Å², dB.
        windows: of all images, answered or not.
        untrusted: share of them that are said not to be believed.
        found: of the windows with a slip, None without any; the bound is the median over the images, of a window with
            everything free, noise and amplitude as they are.
        silent: how many images gave no slip at all, by reason.
    """

    step: Step
    engine: Engine
    dose: float
    psnr: float
    windows: int
    untrusted: float
    found: Windows | None
    silent: dict[str, int]

    @property
    def answered(self) -> float:
        """Share of the windows that have a slip."""
        return len(self.found.errors) / self.windows if self.found else 0.0


@dataclass(frozen=True)
class CurvesReport:
    """All points, by cause, amount and engine."""

    points: tuple[Point, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "points": [
                {
                    **asdict(one),
                    "answered": one.answered,
                    "error_A": spread(one.found.errors if one.found else ()),
                    "published_mean_error_A": PUBLISHED.get(one.step),
                }
                for one in self.points
            ]
        }

    def tables(self) -> list[Table]:
        """One for each cause, and one of what gave no answer."""
        rows = {cause: tuple(_cells(one) for one in self.points if one.step.cause == cause) for cause in TITLES}
        tables = [Table(TITLES[cause], HEAD, rows[cause]) for cause in TITLES if rows[cause]]
        silent = tuple(
            (TITLES[one.step.cause], amount_of(one.step), one.engine, str(count), why)
            for one in self.points
            for why, count in one.silent.items()
        )
        if silent:
            tables.append(Table("No answer", ("of", "amount", "engine", "images", "why"), silent))
        return tables


@dataclass
class _Tally:
    """What the images of one step and engine add up to."""

    scores: list[SlipScore] = field(default_factory=list)
    bounds: list[float] = field(default_factory=list)
    silent: Counter[str] = field(default_factory=Counter)
    windows: int = 0
    untrusted: int = 0
    doses: list[float] = field(default_factory=list)
    psnrs: list[float] = field(default_factory=list)

    def add(self, answer: Result | str, case: Case, tiles: int, windows: int) -> None:
        """Another image: what was answered, or why nothing, of so many windows, and so many side by side."""
        self.windows += windows
        if isinstance(answer, str) or answer.map is None or len(answer.interfaces) != 1:
            self.silent[answer if isinstance(answer, str) else answer.reason or answer.verdict] += 1
            return
        self.untrusted += int(np.count_nonzero(answer.map.status[~answer.map.fine] == "untrusted"))
        lower, upper = case.monolayers
        score = score_windows(answer.map, case, SlipEquivalence(lower, upper, float(case.twists[0])))
        if score is not None:
            self.scores.append(score)
            self.bounds.append(answer.interfaces[0].slip_bound * np.sqrt(tiles))

    def point(self, step: Step, engine: Engine) -> Point:
        """The sums."""
        untrusted, found = self.untrusted / self.windows, None
        if self.scores:
            parts = ([getattr(one, name) for one in self.scores] for name in SlipScore.__dataclass_fields__)
            score = SlipScore(*map(np.concatenate, parts))
            found = summed(score, float(np.median(self.bounds)), untrusted)
        dose, psnr = float(np.median(self.doses)), float(np.median(self.psnrs))
        return Point(step, engine, dose, psnr, self.windows, untrusted, found, dict(self.silent))


def measure(
    folder: Path,
    engines: Sequence[Engine] = ("fit",),
    net: str | None = None,
    *,
    seed: int = 0,
    steps: Mapping[Cause, tuple[float, ...]] = STEPS,
    progress: Callable[[str, int, int], None] | None = None,
) -> CurvesReport:
    """Let the windows of images suffer, and resolve them.

    Args:
        folder: with images NAME.tif and truths NAME.json, of two layers with one slip, without noise, whose truth says
            `specimen.vacancy_fraction`; see benchmarks/curve_set.py.
        net: that `net` and `hybrid` ask; None for the one that comes with the package.
        seed: of electrons, holes and dirt.
        steps: amounts by cause.
        progress: called with the image's name, how many of its steps are done, and all.

    Raises:
        FileError: the folder holds no cases.
        DataError: none of them is such an image.
        UsageError: no such network or engine, no engine, or a network that none asks.
    """
    if not engines or (net is not None and set(engines) == {"fit"}):
        raise UsageError(f"engines {', '.join(engines) or 'none'} with net {net}: name one, and one that asks the net")
    given = {engine: Given(engine=engine, net=None if engine == "fit" else net) for engine in dict.fromkeys(engines)}
    jobs = [(case, step) for case in curve_cases(folder) for step in steps_of(case, steps)]
    tallies: dict[tuple[Step, Engine], _Tally] = {}
    for index, (case, step) in enumerate(jobs):
        if progress is not None:
            progress(f"{case.name}, {step.cause} {amount_of(step)}".rstrip(), index, len(jobs))
        image, dose, psnr = _spoilt(case, step, seed)
        damaged = step.cause == "vacancies"
        per_side = [n * case.truth["image"]["pixel_size_A"] / NM / WINDOW_NM for n in image.data.shape]
        tiles = int(np.prod([round(n) for n in per_side]))
        windows = int(np.prod([round(2 * n) - 1 for n in per_side])) if damaged else tiles
        for engine, told in given.items():
            tally = tallies.setdefault((step, engine), _Tally())
            tally.doses.append(dose)
            tally.psnrs.append(psnr)
            tally.add(_answer(case, image, told, OVERLAPPING_NM if damaged else WINDOW_NM), case, tiles, windows)
    order = {cause: place for place, cause in enumerate(TITLES)}
    keys = sorted(tallies, key=lambda key: order[key[0].cause])
    return CurvesReport(tuple(tallies[key].point(*key) for key in keys))


def curve_cases(folder: Path) -> list[Case]:
    """The images of a folder that curves can be made of.

    Raises:
        FileError: the folder holds no cases.
        DataError: none of them has two layers, one slip, no noise and a known share of vacancies.
    """
    cases = [
        case
        for case in load_cases(folder)
        if case.task == "slip" and noise_free(case) and "vacancy_fraction" in case.truth.get("specimen", {})
    ]
    if not cases:
        raise DataError(
            f"{folder}: expected noise-free images of bilayers whose truth says specimen.vacancy_fraction, found none: "
            f"make them with benchmarks/curve_set.py"
        )
    return cases


def noise_free(case: Case) -> bool:
    """Whether the image holds detected fractions of the beam."""
    acquisition = case.truth.get("acquisition", {})
    return acquisition.get("dose_e_per_A2", 0) is None and (acquisition["gain"], acquisition["offset"]) == (1, 0)


def steps_of(case: Case, steps: Mapping[Cause, tuple[float, ...]] = STEPS) -> list[Step]:
    """What an image is to suffer: its vacancies alone where it has some."""
    share = float(case.truth["specimen"]["vacancy_fraction"])
    if share:
        return [Step("vacancies", share)]
    return [Step(cause, amount) for cause, amounts in steps.items() for amount in amounts]


def windowed(case: Case, step: Step, rng: np.random.Generator) -> tuple[Image, float]:
    """A recording of an image and its dose, electrons per Å²; the windows of WINDOW_NM side by side suffer alike."""
    pixel = float(case.truth["image"]["pixel_size_A"])
    image, side = bare_image(case), round(WINDOW_NM * NM / pixel)
    return recorded(image.with_pixel_size(pixel, "user"), step, side, rng)


def _spoilt(case: Case, step: Step, seed: int) -> tuple[Image, float, float]:
    """The image as it would be recorded, its dose and its peak signal-to-noise ratio, dB."""
    rng = np.random.default_rng([seed, zlib.crc32(f"{case.name} {step}".encode())])
    image, dose = windowed(case, step, rng)
    psnr = psnr_of(bare_image(case).data, float(case.truth["image"]["pixel_size_A"]), dose)
    return replace(image, pixel_size=None, pixel_size_source=None), dose, psnr


def _answer(case: Case, image: Image, given: Given, stride_nm: float) -> Result | str:
    """What `resolve` says, or why nothing; that there are two layers it is told."""
    try:
        return ask(case, image, given, "2", window_nm=WINDOW_NM, stride_nm=stride_nm)
    except DataError as error:
        return str(error)


def _cells(one: Point) -> tuple[str, ...]:
    errors = spread(one.found.errors if one.found else ()).values()
    stated = (one.found.sigma, one.found.bound) if one.found else (None, None)
    return (
        amount_of(one.step),
        one.engine,
        number(one.dose, 0),
        number(one.psnr, 1),
        str(one.windows),
        percent(one.answered),
        *(number(length, 4) for length in (*errors, *stated)),
        percent(one.found.inside_95 if one.found else None),
        percent(one.untrusted),
        number(PUBLISHED.get(one.step), 2),
    )


def amount_of(step: Step) -> str:
    """How much of it, in the unit of its cause; empty of nothing."""
    if step.cause == "none":
        return ""
    if step.cause == "noise":
        return f"{step.amount:g} dB"
    return percent(step.amount) if step.cause in ("vacancies", "hole") else f"{step.amount:g}"
