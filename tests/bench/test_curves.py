"""`picostem bench curves`, with answers made by hand and on a small linear image."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picostem.bench import curves
from picostem.bench.curves import CurvesReport, Point, measure
from picostem.bench.curves_figure import draw_curves, save_curves
from picostem.bench.curves_spoil import DOSE, Step
from picostem.bench.slip import Windows
from picostem.cli import run
from picostem.errors import DataError, UsageError
from picostem.resolve.result import Result
from picostem.simulate import AcquisitionSettings, Microscope, simulate_stack, write_simulation
from picostem.structure import Stack, load_monolayer
from tests.bench.made import interface, layer, result, slip_map

RES2 = load_monolayer("ReS2")
SLIP = np.array([-0.9, 2.0])
FEW = {"none": (0.0,), "noise": (7.0,), "hole": (0.25,)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A perfect image, one said to have vacancies, one with noise, and one of which nothing is said."""
    where = tmp_path_factory.mktemp("clean")
    microscope = Microscope.from_lab_units(
        voltage_kV=300, semiangle_mrad=21.3, detector_mrad=(39, 200), defocus_A=5, source_fwhm_A=0.6
    )
    for name, dose, share in (("a", np.inf, 0.0), ("b", np.inf, 0.1), ("noisy", 1e4, 0.0), ("other", np.inf, None)):
        settings, rng = AcquisitionSettings(dose=dose), np.random.default_rng(0)
        image, truth = simulate_stack(Stack.bilayer(RES2, SLIP), microscope, settings, (320, 320), 0.125, rng)
        if share is not None:
            truth["specimen"]["vacancy_fraction"] = share
        write_simulation(where, name, image, truth)
    return where


def answers(monkeypatch: pytest.MonkeyPatch, asked: list[Any]) -> None:
    """`resolve` finds the slip 0.1 Å off, but trusts no second window; the network does not answer under a hole."""

    def answer(case: Any, image: Any, given: Any, layers: str, **options: Any) -> Result:
        asked.append((case.name, given.engine, given.net, layers, options, image))
        if given.engine == "net" and (image.data == 0).mean() > 0.1:
            raise DataError("nothing there")
        count = 4 if options["stride_nm"] == 2 else 9
        status = np.where(np.arange(count) % 2, "untrusted", "ok")
        found = slip_map([SLIP + [0.1, 0.0]] * count, [(0, 0)] * count, status=status)
        return result("slip", (layer("ReS2"),) * 2, (interface(slip=SLIP, slip_bound=0.01),), maps=(found,))

    monkeypatch.setattr(curves, "ask", answer)


def test_every_engine_is_asked_about_the_same_pixels(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    answers(monkeypatch, asked)
    told: list[tuple[str, int, int]] = []
    measure(folder, ("fit", "net"), "trained", steps=FEW, progress=lambda *words: told.append(words))
    assert told == [("a, none", 0, 4), ("a, noise 7 dB", 1, 4), ("a, hole 25 %", 2, 4), ("b, vacancies 10 %", 3, 4)]
    assert [(name, engine, net) for name, engine, net, *_ in asked[:2]] == [("a", "fit", None), ("a", "net", "trained")]
    assert [options["stride_nm"] for *_, options, _ in asked] == [2.0] * 6 + [1.0] * 2
    for one, other in zip(asked[::2], asked[1::2], strict=True):
        assert one[-1].data is other[-1].data
        assert one[-1].pixel_size is None
    assert not np.array_equal(asked[0][-1].data, asked[4][-1].data)


def test_points_by_hand(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, [])
    points = {(p.step.cause, p.engine): p for p in measure(folder, ("fit", "net"), "trained", steps=FEW).points}
    perfect = points["none", "fit"]
    assert (perfect.windows, perfect.answered, perfect.untrusted, perfect.dose) == (4, 0.5, 0.5, DOSE)
    assert perfect.found is not None
    assert perfect.found.errors == pytest.approx((0.1, 0.1))
    assert perfect.found.bound == pytest.approx(0.02)  # of a window: four make the image, and half its bound
    assert points["vacancies", "fit"].windows == 9
    assert points["noise", "fit"].psnr == pytest.approx(7.0)
    silent = points["hole", "net"]
    assert (silent.found, silent.answered, silent.silent) == (None, 0.0, {"nothing there": 1})


def test_what_curves_cannot_be_made_of(folder: Path, tmp_path: Path) -> None:
    for path in folder.glob("noisy.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(DataError, match=r"curve_set\.py"):
        measure(tmp_path)
    with pytest.raises(UsageError, match="one that asks the net"):
        measure(folder, ("fit",), "trained")
    with pytest.raises(UsageError, match="name one"):
        measure(folder, ())


def test_the_fit_on_a_perfect_crystal_is_as_good_as_its_bound(folder: Path) -> None:
    (point, *_) = measure(folder, steps={"none": (0.0,)}).points
    assert point.found is not None
    assert point.found.bound is not None
    assert (point.answered, point.untrusted) == (1.0, 0.0)
    # four windows of two dimensions: their rms is within a factor of two of the bound but once in 1000
    assert 0.4 * point.found.bound < point.found.error < 2 * point.found.bound < 0.05


def made(cause: Any, amount: float, engine: Any, *errors: float) -> Point:
    found = Windows(errors, 0.02, 0.01, 0.7, 0.95, 0.1) if errors else None
    return Point(Step(cause, amount), engine, 2e3 * amount + 1, amount, 4, 0.25, found, {} if errors else {"dark": 2})


REPORT = CurvesReport(
    (
        made("none", 0.0, "fit", 0.01, 0.02, 0.06),
        made("none", 0.0, "net", 0.03),
        made("noise", 30.0, "fit", 0.01),
        made("noise", 7.0, "fit", 0.02),
        made("noise", 7.0, "net"),
        made("vacancies", 0.1, "fit", 0.05),
        made("hole", 0.25, "fit", 0.07),
        made("contamination", 2.0, "fit", 0.08),
    )
)


def test_tables_and_json() -> None:
    tables = {table.title: table for table in REPORT.tables()}
    assert list(tables) == [*curves.TITLES.values(), "No answer"]
    cells = dict(zip(curves.HEAD, tables["Perfect crystals"].rows[0], strict=True))
    assert (cells["mean Å"], cells["median"], cells["95 %"], cells["answered"]) == (
        "0.0300",
        "0.0200",
        "0.0560",
        "75 %",
    )
    assert tables["Vacancies"].rows[0][-1] == "0.32"
    assert tables["Electrons"].rows[-1][-1] == "0.04"
    assert tables["No answer"].rows == (("Electrons", "7 dB", "net", "2", "dark"),)
    assert all(len(row) == len(table.head) for table in tables.values() for row in table.rows)
    first = json.loads(json.dumps(REPORT.as_dict(), allow_nan=False))["points"][0]
    assert first["error_A"] == pytest.approx({"mean": 0.03, "median": 0.02, "95": 0.056})
    assert first["step"] == {"cause": "none", "amount": 0.0}


def test_the_figure_draws_each_engine_where_it_answered(tmp_path: Path) -> None:
    figure = draw_curves(REPORT)
    noise, vacancies, hole, dirt = figure.axes[:4]
    fit, net, bound, published = (np.asarray(line.get_xydata()) for line in noise.get_lines())
    assert fit.tolist() == [[14001.0, 0.02], [60001.0, 0.01]]
    assert len(net) == 0
    assert sorted(bound.tolist()) == [[14001.0, 0.01], [60001.0, 0.01]]
    assert published[:, 1].tolist() == [0.04, 0.04]
    assert np.asarray(vacancies.get_lines()[0].get_xydata()) == pytest.approx(np.array([[0, 0.03], [10, 0.05]]))
    assert np.asarray(hole.get_lines()[0].get_xdata())[-1] == 25
    assert np.asarray(dirt.get_lines()[0].get_xdata())[-1] == 2
    save_curves(REPORT, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def measured(*told: Any, seed: int, progress: Any) -> CurvesReport:
        asked.append((*told, seed))
        return REPORT

    monkeypatch.setattr(curves, "measure", measured)
    figure = tmp_path / "curves.png"
    assert run(["bench", "curves", str(tmp_path), "--net", "trained", "--figure", str(figure), "--markdown"]) == 0
    assert "**Vacancies**" in capsys.readouterr().out
    assert figure.is_file()
    assert run(["bench", "curves", str(tmp_path), "--seed", "3", "--json", "-"]) == 0
    assert len(json.loads(capsys.readouterr().out)["points"]) == len(REPORT.points)
    assert run(["bench", "curves", str(tmp_path), "--net", "trained", "--engine", "net"]) == 0
    engines = [list(one[1]) for one in asked]
    assert engines == [["fit", "net", "hybrid"], ["fit"], ["net"]]
    assert [one[2:] for one in asked] == [("trained", 0), (None, 3), ("trained", 0)]
    monkeypatch.undo()
    assert run(["bench", "curves", str(tmp_path), "--engine", "guess"]) == 2
    assert "fit, net or hybrid" in capsys.readouterr().err


def test_a_step_is_the_same_whatever_else_is_asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    answers(monkeypatch, asked)
    measure(folder, steps={"hole": (0.25,)})
    measure(folder, steps=FEW)
    again = [one for one in asked if one[0] == "a"]
    assert np.array_equal(again[0][-1].data, again[-1][-1].data)
    assert replace(again[0][-1], data=again[-1][-1].data).name == again[-1][-1].name
