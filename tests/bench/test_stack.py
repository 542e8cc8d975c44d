"""`picostem bench stack` on a folder of small simulated images, and on results made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picostem.bench.ask import Given
from picostem.bench.slip import SLIP, Estimate, SlipAnswer, Windows
from picostem.bench.stack import Report, Row, measure, score_row, verdict_right
from picostem.bench.trilayer import TrilayerAnswer
from picostem.bench.twist import TwistAnswer
from picostem.cli import run
from picostem.simulate import AcquisitionSettings, Microscope, simulate_stack, write_simulation
from picostem.structure import Stack, load_monolayer
from tests.bench.made import case, interface, layer, result, slip_map

RES2 = load_monolayer("ReS2")
STACKS = {"bilayer": Stack.bilayer(RES2, (-0.9, 2.0)), "monolayer": Stack.of([RES2])}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bilayer, a monolayer, and a bilayer of a material that is not built in."""
    where = tmp_path_factory.mktemp("cases")
    microscope = Microscope.from_lab_units(
        voltage_kV=300, semiangle_mrad=21.3, detector_mrad=(39, 200), defocus_A=5, source_fwhm_A=0.6
    )
    for seed, (name, stack) in enumerate(STACKS.items()):
        rng = np.random.default_rng(seed)
        image, truth = simulate_stack(stack, microscope, AcquisitionSettings(), (230, 230), 0.12, rng, name=name)
        write_simulation(where, name, image, truth)
    truth["layers"][0]["structure"] = "unobtainium"
    truth["task"] = "slip"
    write_simulation(where, "unknown", image, truth)
    return where


@pytest.fixture(scope="module")
def seen() -> list[tuple[str, int, int]]:
    """What the progress callback was told."""
    return []


@pytest.fixture(scope="module")
def report(folder: Path, seen: list[tuple[str, int, int]]) -> Report:
    return measure(folder, Given(), lambda *told: seen.append(told))


def test_progress_is_told_before_each_image(report: Report, seen: list[tuple[str, int, int]]) -> None:
    assert seen == [("bilayer", 0, 3), ("monolayer", 1, 3), ("unknown", 2, 3)]
    assert len(report.rows) == 3


def test_a_bilayer_is_scored(report: Report) -> None:
    row = report.rows[0]
    assert (row.name, row.verdict, row.right, row.layers, row.orientation) == ("bilayer", "slip", True, 2, True)
    (estimate,) = row.score.estimates
    assert estimate.bound is not None
    assert estimate.error < 5 * estimate.bound  # a chance of 4e-6 by noise alone
    assert len(row.score.windows.errors) == row.mapped == 4
    assert row.score.windows.untrusted == 0
    assert row.defocus_error is not None
    assert abs(row.defocus_error) < 30  # Å: the sign of the defocus is found, its depth of focus is 43 Å


def test_a_monolayer_is_judged(report: Report) -> None:
    row = report.rows[1]
    assert (row.name, row.task, row.verdict, row.right) == ("monolayer", "negative", "monolayer", True)
    assert row.score is None


def test_what_cannot_be_resolved_is_said_and_does_not_stop_the_others(report: Report) -> None:
    row = report.rows[2]
    assert (row.verdict, row.right) == ("failed", False)
    assert row.failure is not None
    assert row.failure.startswith("unknown material 'unobtainium'")
    failed = next(table for table in report.tables() if table.title == "Failed")
    assert failed.rows == (("unknown", row.failure),)


def test_the_program_can_be_left_to_find_pixel_size_and_microscope(folder: Path, tmp_path: Path) -> None:
    for path in folder.glob("bilayer.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (row,) = measure(tmp_path, Given(pixel_size=False, microscope=False)).rows
    assert row.verdict == "slip"
    assert row.score.estimates[0].error < 0.05


def test_command_line_prints_tables_and_writes_json(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("picostem.bench.stack.measure", lambda folder, given, progress: report)
    assert run(["bench", "stack", str(folder), "--json", str(tmp_path / "bench.json")]) == 0
    text = capsys.readouterr().out
    assert all(title in text for title in ("Images", "Slip of whole images", "Single windows", "Together"))
    written = json.loads((tmp_path / "bench.json").read_text("utf-8"))
    assert written["totals"]["all"]["verdicts_right"] == 2
    assert [image["name"] for image in written["images"]] == ["bilayer", "monolayer", "unknown"]
    assert run(["bench", "stack", str(folder), "--markdown"]) == 0
    assert "| bilayer | slip | slip | yes | 2 |" in capsys.readouterr().out
    assert run(["bench", "stack", str(folder), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == written


def test_the_command_line_says_which_engine_is_asked(
    tmp_path: Path, report: Report, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Given] = []

    def measured(folder: Path, given: Given, progress: Any) -> Report:
        asked.append(given)
        return report

    monkeypatch.setattr("picostem.bench.stack.measure", measured)
    assert run(["bench", "stack", str(tmp_path), "--engine", "hybrid", "--net", "trained", "--unknown-pixel-size"]) == 0
    assert asked == [Given(pixel_size=False, engine="hybrid", net="trained")]
    capsys.readouterr()
    assert run(["bench", "stack", str(tmp_path), "--net", "trained"]) == 2
    assert "--engine net or hybrid" in capsys.readouterr().err


def test_the_engine_is_asked(folder: Path) -> None:
    # no such network, which each image says by itself
    rows = measure(folder, Given(engine="net", net="nowhere")).rows
    assert all(row.failure is not None for row in rows)
    assert "no network 'nowhere'" in str(rows[0].failure)


def test_command_line_without_cases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "stack", str(tmp_path)]) == 1
    assert "found none" in capsys.readouterr().err


def slip_answer(error: float, bound: float | None, windows: Windows | None = None) -> SlipAnswer:
    return SlipAnswer((Estimate(error, 0.01, bound, True, error < 0.03),), windows, None)


def test_totals_of_slips_by_hand() -> None:
    windows = (
        Windows((0.01,) * 30, 0.02, None, 0.7, 1.0, 0.0),
        Windows((0.02,) * 9 + (1.0,), 0.02, None, 0.3, 0.8, 0.5),
    )
    answers = [slip_answer(0.01, 0.01, windows[0]), slip_answer(0.04, 0.02, windows[1]), slip_answer(0.02, None)]
    totals = SLIP.totals([("", answer) for answer in answers])
    assert totals["slips"] == 3
    assert totals["median_error_A"] == pytest.approx(0.02)
    assert totals["rms_error_over_bound"] == pytest.approx(np.sqrt((1 + 4) / 2))
    assert totals["worst_error_over_bound"] == pytest.approx(2)
    assert totals["slips_inside_95"] == pytest.approx(2 / 3)
    assert totals["windows"] == 40
    assert totals["windows_mean_error_A"] == pytest.approx((30 * 0.01 + 9 * 0.02 + 1) / 40)
    assert totals["windows_median_error_A"] == pytest.approx(0.01)
    assert totals["windows_95_error_A"] == pytest.approx(0.02)  # of 40, the 38th
    assert totals["windows_inside_68"] == pytest.approx((30 * 0.7 + 10 * 0.3) / 40)
    assert totals["windows_untrusted"] == pytest.approx(0.25)
    _, table = SLIP.tables([("a", answer) for answer in answers])
    cells = dict(zip(table.head, table.rows[1], strict=True))
    assert (cells["windows"], cells["median"], cells["untrusted"]) == ("10", "0.0200", "50 %")
    assert cells["rms"] == f"{np.sqrt((9 * 0.02**2 + 1) / 10):.4f}"


def test_windows_that_are_not_to_be_believed_are_counted_and_not_scored() -> None:
    slip = np.array([1.0, 0.3])
    truth = case("slip", microscope=MICROSCOPE, slip={"D_cart_A": slip.tolist()})
    status = np.array(["ok", "untrusted", "vacuum", "untrusted"])
    found = slip_map([slip + [0.02, 0.0]] * 2 + [slip] * 2, [(0, 0)] * 4, status=status, fine=np.arange(4) > 2)
    row = score_row(result("slip", TWO, (interface(slip=slip),), maps=(found,)), truth, "slip", True)
    assert row.score.windows.errors == pytest.approx((0.02,))
    assert row.score.windows.untrusted == pytest.approx(1 / 3)


def test_totals_of_all_images_by_hand() -> None:
    rows = (
        Row("a", "slip", "slip", True, branch="wrong", mapped=40, map_seconds=0.5, seconds=2.0),
        Row("b", "twist", "twist", True, branch="undecided", mapped=10, map_seconds=0.5, seconds=3.0),
        Row("c", "stack", "unresolved", None),
        Row("d", "negative", "slip", False),
    )
    totals = Report(rows).totals()
    assert list(totals) == ["all", "slip", "twist"]
    everything = totals["all"]
    assert (everything["images"], everything["verdicts_right"], everything["verdicts_judged"]) == (4, 2, 3)
    assert (everything["branches_wrong"], everything["branches_undecided"]) == (1, 1)
    assert everything["windows_per_second"] == pytest.approx(50)
    assert everything["slowest_image_s"] == 3.0


def test_totals_of_nothing() -> None:
    totals = Report((Row("d", "twist", "unresolved", False),)).totals()
    assert totals["twist"]["rms_error_over_bound"] is None
    assert totals["all"]["windows_per_second"] is None
    assert [table.title for table in Report(()).tables()] == ["Images", "Together"]


MICROSCOPE = {"defocus_A": 0.0, "aberrations": {"C12_A": 0.0, "phi12_deg_image": 0.0}}
TWO = (layer("MoS2"), layer("MoS2", 40.0))


def test_each_task_is_scored_by_its_kind() -> None:
    twist = case("twist", ("MoS2", "MoS2"), (10.0,), microscope=MICROSCOPE)
    row = score_row(result("twist", TWO, (interface(10.1, 0.1),)), twist, "twist", True)
    assert isinstance(row.score, TwistAnswer)
    assert (row.branch, row.orientation, row.layers, row.seconds) == ("right", True, 2, 1.5)
    trilayer = case("trilayer", ("ReS2",) * 3, microscope=MICROSCOPE)
    row = score_row(result("slip", (layer("ReS2"),) * 3, (interface(),) * 2), trilayer, "slip", True)
    assert isinstance(row.score, TrilayerAnswer)
    stack = case("stack", ("MoS2",) * 4, microscope=MICROSCOPE)
    assert score_row(result("slip", TWO, (interface(),)), stack, "slip", None).score is None


def test_antiparallel_layers_have_the_slips_of_their_own_symmetry() -> None:
    slip = np.array([1.0, 0.3])
    truth = case("slip", ("MoS2", "MoS2"), (60.0,), microscope=MICROSCOPE, slip={"D_cart_A": slip.tolist()})
    found = result("slip", TWO, (interface(60.0, slip=slip + [0.003, 0.0]),), maps=(slip_map([slip], [(0, 0)]),))
    row = score_row(found, truth, "slip", True)
    assert isinstance(row.score, SlipAnswer)
    assert row.branch == "right"
    assert row.score.estimates[0].error == pytest.approx(0.003, abs=1e-6)
    opposite = score_row(
        result("slip", TWO, (interface(60.0, slip=-slip),), maps=(slip_map([-slip], [(0, 0)]),)), truth, "slip", True
    )
    # -D is another stacking of antiparallel layers, whose metal lies on the other's chalcogen
    assert opposite.score.estimates[0].error > 0.1


@pytest.mark.parametrize(
    ("verdict", "layers", "right"),
    [("twist", 2, True), ("twist", 3, False), ("slip", 2, False), ("unresolved", 0, False)],
)
def test_verdict_and_number_of_layers_are_to_be_right(verdict: str, layers: int, right: bool) -> None:
    truth = case("twist", ("MoS2", "MoS2"), (10.0,))
    assert verdict_right(result(verdict, (TWO[0],) * layers), truth) is right
    assert verdict_right(result(verdict), case("stack", ("MoS2",) * 4)) is None


def test_all_tables_are_narrow_and_have_a_cell_for_each_column() -> None:
    rows = (
        Row("ReS2_bilayer_0001", "slip", "monolayer (eclipsed)", False, score=slip_answer(0.01, 0.01)),
        Row("T001_WSe2-MoS2", "twist", "twist", True, branch="right"),
    )
    for table in Report(rows).tables():
        assert all(len(row) == len(table.head) for row in table.rows)
        assert max(map(len, table.text().splitlines())) <= 132  # a wide terminal
