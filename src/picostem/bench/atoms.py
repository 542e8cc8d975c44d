"""`picostem bench atoms`: atoms of multislice images found, placed and named, against the exact truth.

The images have no noise (benchmarks/atoms_set.py). Their electrons are counted at shares of the full dose; every
program, and every network, is asked about the same recordings.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picostem.atoms.columns import Columns, load_columns
from picostem.atoms.predict import AtomNet
from picostem.atoms.species import Classified
from picostem.atoms.survey import survey
from picostem.bench.atoms_bound import Bound, case_bound
from picostem.bench.atoms_case import AtomCase, load_atom_cases
from picostem.bench.atoms_score import Calls, Detection, calls, detection
from picostem.bench.table import Table, number, percent
from picostem.errors import FileError
from picostem.image import Image
from picostem.simulate.writing import write_simulation

FloatArray = NDArray[np.float64]

DOSES = (1.0, 1 / 3, 1 / 10, 1 / 30)
"""Of the full one."""
START = 0.15
"""Å rms along rows and columns, from which other programs refine places."""
SURE = 7.0
"""Standard deviations that a column's strength has by the bound, from which it should be found: two more than the five
that one false atom in some twenty images asks for, so that 98 of 100 exceed that."""


@dataclass(frozen=True)
class Asked:
    """Who is asked about which recordings.

    Attributes:
        weights: folder of a network that finds the atoms to be fitted; None for maxima of the image.
        places: folder with NAME.csv of another program for each recording, scored instead.
        doses: shares of the full one. seed: of the electrons.
    """

    weights: str | None = None
    places: Path | None = None
    doses: tuple[float, ...] = DOSES
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Scored:
    """An image at one dose.

    Attributes:
        dose: e/Å². counts: median of the columns that should be found. sure: their share of all columns.
        residual: rms of the bound's model of the image, as a share of its standard deviation. scale: Å per pixel.
        calls: None where no crystal was told.
    """

    name: str
    share: float
    dose: float
    counts: float
    sure: float
    residual: float
    scale: float
    detection: Detection
    calls: Calls | None
    seconds: float


@dataclass(frozen=True)
class AtomsReport:
    """All images at all doses."""

    scored: tuple[Scored, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "images": [_figures(one) for one in self.scored],
            "species": [
                {
                    "images": list(names),
                    "share": share,
                    "macro_f1": every.macro_f1,
                    "ece": every.ece,
                    "f1": {name: every.f1(name) for name in every.classes},
                    "sites": {name: int(np.sum(every.true == name)) for name in every.classes},
                    "reliability": every.reliability().tolist(),
                }
                for share, names, every in self._species()
            ],
        }

    def tables(self) -> list[Table]:
        """Detection and places by image and dose; classes by dose, of all images whose crystal was told."""
        head = ("image", "e/Å²", "counts", "sure", "F1", "missed", "invented", "rms Å", "rms/bound", "in 95 %", "s")
        tables = [Table("Atoms", head, tuple(_cells(one) for one in self.scored))]
        rows = [
            (f"1/{1 / share:.0f}", name, str(int(np.sum(every.true == name))), number(every.f1(name), 3), "")
            for share, _, every in self._species()
            for name in every.classes
        ] + [
            (f"1/{1 / share:.0f}", "all", str(len(every.true)), number(every.macro_f1, 3), number(every.ece, 3))
            for share, _, every in self._species()
        ]
        if rows:
            tables.append(Table("Species", ("dose", "class", "sites", "F1", "ECE"), tuple(rows)))
        return tables

    def _species(self) -> list[tuple[float, list[str], Calls]]:
        """Share of the dose, images, and their calls together, of the images with more classes than sublattices."""
        out = []
        for share in sorted({one.share for one in self.scored}, reverse=True):
            parts = {
                one.name: one.calls
                for one in self.scored
                if one.share == share and one.calls is not None and _damaged(one.calls)
            }
            if parts:
                out.append((share, list(parts), Calls.joined(list(parts.values()))))
        return out


def measure(
    folder: Path, asked: Asked = Asked(), progress: Callable[[str, int, int], None] | None = None
) -> AtomsReport:
    """Count electrons on images, find their atoms, and compare.

    Args:
        folder: with images NAME.tif and truths NAME.json, see benchmarks/atoms_set.py.
        progress: called with the image's name, how many are done, and all.

    Raises:
        FileError: the folder holds no cases, or there are no places of a recording.
        DataError: the network cannot be used.
    """
    net = None if asked.weights is None else AtomNet.load(asked.weights)
    cases, scored = load_atom_cases(folder), []
    for index, case in enumerate(cases):
        bound, residual = case_bound(case)
        columns = None if case.crystal is None else load_columns(case.crystal)
        for step, share in enumerate(asked.doses):
            name = recording_name(case, share)
            if progress is not None:
                progress(name, index * len(asked.doses) + step, len(cases) * len(asked.doses))
            if asked.places is None:
                image, start = case.recorded(share, asked.seed), time.perf_counter()
                found = found_atoms(image, columns, net)
                seconds, table = time.perf_counter() - start, found.table
                place = np.column_stack([table.row, table.col])
                stated = np.diagonal(table.covariance, axis1=1, axis2=2)
                said = None if columns is None else calls(found, case)
            else:
                place, seconds = read_places(asked.places / f"{name}.csv")
                stated, said = np.full_like(place, np.nan), None
            scored.append(_scored(case, bound, residual, share, (place, stated, said, seconds)))
    return AtomsReport(tuple(scored))


def found_atoms(image: Image, columns: Columns | None, net: AtomNet | None) -> Classified:
    """The atoms of an image, with the help of a network or without, sorted into classes."""
    return survey([image], columns, net).found


def write_recordings(folder: Path, out: Path, doses: Sequence[float] = DOSES, seed: int = 0) -> None:
    """Write the images that `measure` asks about for other programs.

    Beside NAME.tif, NAME.json says `spacing_px`, the median distance of nearest columns, which some programs must be
    told, and NAME.csv has starts for those that only refine: row and column of every atom there is, moved by START Å.

    Raises:
        FileError: the folder holds no cases. OutputError: a file cannot be written.
    """
    for case in load_atom_cases(folder):
        rng = np.random.default_rng(seed)
        there = case.place[case.inside() & (case.species != "")]
        for share in doses:
            name = recording_name(case, share)
            told = {"image": {"pixel_size_A": case.pixel}, "spacing_px": case.spacing}
            write_simulation(out, name, case.recorded(share, seed), told)
            start = there + rng.normal(0, START / case.pixel, there.shape)
            lines = [f"{row:.3f},{col:.3f}" for row, col in start.tolist()]
            (out / f"{name}.csv").write_text("\n".join(["# 0", "row,col", *lines]) + "\n", "utf-8")


def recording_name(case: AtomCase, share: float) -> str:
    """Of an image at a share of its full dose."""
    return f"{case.name}_{1 / share:.4g}"


def read_places(path: Path) -> tuple[FloatArray, float]:
    """Row and column in pixels, shape (n, 2), and the seconds that finding them took, from a table `row,col`.

    Its first line is `# SECONDS`.

    Raises:
        FileError: there is no such table.
    """
    try:
        with path.open(encoding="utf-8") as file:
            seconds = float(file.readline().removeprefix("#"))
            rows = [(float(line["row"]), float(line["col"])) for line in csv.DictReader(file)]
    except (OSError, ValueError, KeyError) as error:
        raise FileError(f"{path}: expected a line `# SECONDS` and a table of row,col in pixels ({error})") from error
    return np.array(rows).reshape(-1, 2), seconds


def _scored(
    case: AtomCase,
    bound: Bound,
    residual: float,
    share: float,
    found: tuple[FloatArray, FloatArray, Calls | None, float],
) -> Scored:
    """An image at one dose, from places, their stated variances, calls and seconds."""
    place, stated, said, seconds = found
    dose, there = case.dose * share, np.flatnonzero(case.species != "")
    inside = case.inside()[there]
    sure = inside & (bound.significance[there] * np.sqrt(dose) > SURE)
    least = np.diagonal(bound.covariance[there], axis1=1, axis2=2) / dose
    return Scored(
        case.name,
        share,
        dose,
        float(np.median(bound.counts[there][sure]) * dose) if sure.any() else 0.0,
        float(sure.sum() / inside.sum()),
        residual,
        case.pixel,
        detection(place, stated, case.place[there], least, sure, case.reach),
        said,
        seconds,
    )


def _damaged(said: Calls) -> bool:
    """Whether there is anything but perfect columns."""
    return any(name.startswith("no ") or name.endswith(", other") for name in said.classes)


def _rms(errors: FloatArray, scale: float = 1.0) -> float | None:
    """None without errors."""
    return float(np.sqrt(np.mean(errors**2))) * scale if errors.size else None


def _figures(one: Scored) -> dict[str, Any]:
    d = one.detection
    return {
        "image": one.name,
        "share": one.share,
        "dose_e_per_A2": one.dose,
        "counts_per_column": one.counts,
        "sure_share": one.sure,
        "bound_model_residual": one.residual,
        "f1": d.f1,
        "hits": d.hits,
        "missed": d.missed,
        "invented": d.invented,
        "rms_A": _rms(d.errors, one.scale),
        "rms_over_bound": _rms(d.over_bound),
        "inside_95": d.inside_95,
        "macro_f1": one.calls.macro_f1 if one.calls is not None else None,
        "seconds": one.seconds,
    }


def _cells(one: Scored) -> tuple[str, ...]:
    d, inside = one.detection, one.detection.inside_95
    return (
        one.name,
        number(one.dose, 0),
        number(one.counts, 0),
        percent(one.sure),
        number(d.f1, 4),
        str(d.missed),
        str(d.invented),
        number(_rms(d.errors, one.scale), 4),
        number(_rms(d.over_bound), 2),
        "–" if inside is None else f"{100 * inside:.1f} %",
        number(one.seconds, 1),
    )
