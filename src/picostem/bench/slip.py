"""`picostem bench slip`: resolve images whose truth is known, and compare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from picostem.bench.case import Case, load_cases
from picostem.bench.report import Estimate, Report, Row, Windows
from picostem.bench.score import (
    SlipScore,
    boundary_distance,
    microscope_errors,
    orientation_right,
    score_slips,
    score_windows,
)
from picostem.errors import PicostemError
from picostem.files import read_image
from picostem.image import Acquisition
from picostem.pipeline import resolve_with
from picostem.resolve.result import Result
from picostem.resolve.settings import Settings
from picostem.structure import SlipEquivalence


@dataclass(frozen=True)
class Given:
    """What `resolve` is told of the truth; what it is not told, it is not told by the file either."""

    pixel_size: bool = True
    microscope: bool = True


def measure(folder: Path, given: Given, progress: Callable[[str, int, int], None] | None = None) -> Report:
    """Resolve all cases of a folder and score them.

    Args:
        folder: with images NAME.tif and truths NAME.json.
        given: what of the truth is told.
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
    try:
        result = _resolve(case, given, "auto")
        eclipsed = case.task == "slip" and result.verdict == "monolayer"
        scored = _resolve(case, given, "2") if eclipsed else result
    except PicostemError as error:
        return Row(case.name, case.task, f"failed: {error}", False if case.expected else None)
    verdict = f"{result.verdict} (eclipsed)" if eclipsed else result.verdict
    right = None if case.expected is None else result.verdict == case.expected
    return _score(Row(case.name, case.task, verdict, right), scored, case)


def _resolve(case: Case, given: Given, layers: str) -> Result:
    microscope = case.truth["microscope"] if given.microscope else {}
    settings = Settings(
        material=case.material,
        pixel_size_A=case.truth["image"]["pixel_size_A"] if given.pixel_size else None,
        voltage_kV=microscope.get("kV"),
        semiangle_mrad=microscope.get("semiangle_mrad"),
        detector_mrad=tuple(microscope["detector_mrad"]) if given.microscope else None,
        layers=layers,  # type: ignore[arg-type]
    )
    image = read_image(case.path)
    bare = replace(image, pixel_size=None, pixel_size_source=None, acquisition=Acquisition())
    return resolve_with(bare, settings)


def _score(row: Row, result: Result, case: Case) -> Row:
    microscope = microscope_errors(result, case.truth["microscope"])
    row = replace(
        row,
        chi2=result.quality.chi2_reduced if result.quality else None,
        defocus_error=microscope[0] if microscope else None,
        C12_error=microscope[1] if microscope else None,
        orientation=orientation_right(result.layers[0], case.truth["layer1"]) if result.layers else None,
        seconds=result.seconds["total"],
    )
    if result.map is None or not result.interfaces or not case.slips:
        return row
    equivalence = SlipEquivalence(result.layers[0].monolayer)
    windows = score_windows(result.map, case, equivalence)
    return replace(
        row,
        estimates=_estimates(result, case, equivalence),
        windows=None if windows is None else _summed(windows, case.truth.get("crlb_angstrom")),
        boundary=boundary_distance(result.map, case) if case.task == "interface" else None,
        mapped=int(np.count_nonzero(~result.map.fine)),
        map_seconds=result.seconds["map"],
    )


def _estimates(result: Result, case: Case, equivalence: SlipEquivalence) -> tuple[Estimate, ...]:
    assert result.map is not None
    if len(case.slips) == 1:
        interface = result.interfaces[0]
        score = score_slips(interface.slip[None], interface.slip_covariance[None], case.slips[0], equivalence)
        return (_estimate(score, interface.slip_bound),)
    domains = result.map.domains
    if not domains:
        return ()
    slips, covariances = np.array([d.slip for d in domains]), np.array([d.slip_covariance for d in domains])
    scores = [score_slips(slips, covariances, truth, equivalence) for truth in case.slips]
    return tuple(_estimate(score, None, int(score.error.argmin())) for score in scores)


def _estimate(score: SlipScore, bound: float | None, i: int = 0) -> Estimate:
    inside = bool(score.inside_68[i]), bool(score.inside_95[i])
    return Estimate(float(score.error[i]), float(score.sigma[i]), bound, *inside)


def _summed(score: SlipScore, bound: float | None) -> Windows:
    return Windows(
        count=len(score.error),
        error=float(np.sqrt(np.mean(score.error**2))),
        sigma=float(np.sqrt(np.mean(score.sigma**2))),
        bound=bound,
        inside_68=float(score.inside_68.mean()),
        inside_95=float(score.inside_95.mean()),
    )
