"""`picostem bench slip` on a folder of small simulated images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picostem.bench.report import Estimate, Report, Row, Windows
from picostem.bench.slip import Given, measure
from picostem.cli import run
from picostem.simulate import AcquisitionSettings, Microscope, simulate_stack, write_simulation
from picostem.structure import Stack, load_monolayer

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
    assert (row.name, row.verdict, row.right, row.orientation) == ("bilayer", "slip", True, True)
    (estimate,) = row.estimates
    assert estimate.bound is not None
    assert estimate.error < 5 * estimate.bound  # a chance of 4e-6 by noise alone
    assert row.windows is not None
    assert row.windows.count == row.mapped == 4
    assert row.defocus_error is not None
    assert abs(row.defocus_error) < 30  # Å: the sign of the defocus is found, its depth of focus is 43 Å


def test_a_monolayer_is_judged(report: Report) -> None:
    row = report.rows[1]
    assert (row.name, row.task, row.verdict, row.right) == ("monolayer", "negative", "monolayer", True)
    assert row.estimates == ()


def test_what_cannot_be_resolved_is_said_and_does_not_stop_the_others(report: Report) -> None:
    assert report.rows[2].verdict.startswith("failed: unknown material 'unobtainium'")
    assert report.rows[2].right is False


def test_the_program_can_be_left_to_find_pixel_size_and_microscope(folder: Path, tmp_path: Path) -> None:
    for path in folder.glob("bilayer.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (row,) = measure(tmp_path, Given(pixel_size=False, microscope=False)).rows
    assert row.verdict == "slip"
    assert row.estimates[0].error < 0.05


def test_command_line_prints_tables_and_writes_json(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("picostem.bench.slip.measure", lambda folder, given, progress: report)
    assert run(["bench", "slip", str(folder), "--json", str(tmp_path / "bench.json")]) == 0
    text = capsys.readouterr().out
    assert all(title in text for title in ("Slip of whole images", "Single windows", "Together"))
    written = json.loads((tmp_path / "bench.json").read_text("utf-8"))
    assert written["totals"]["verdicts_right"] == 2
    assert [image["name"] for image in written["images"]] == ["bilayer", "monolayer", "unknown"]
    assert run(["bench", "slip", str(folder), "--markdown"]) == 0
    assert "| bilayer | slip | slip |" in capsys.readouterr().out
    assert run(["bench", "slip", str(folder), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == written


def test_command_line_without_cases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "slip", str(tmp_path)]) == 1
    assert "found none" in capsys.readouterr().err


def row(name: str, error: float, bound: float | None, **more: Any) -> Row:
    return Row(name, "slip", "slip", True, (Estimate(error, 0.01, bound, True, error < 0.03),), **more)


def test_totals_by_hand() -> None:
    windows = Windows(30, 0.02, 0.02, None, 0.7, 1.0), Windows(10, 0.02, 0.02, None, 0.3, 0.8)
    rows = (
        row("a", 0.01, 0.01, windows=windows[0], mapped=40, map_seconds=0.5),
        row("b", 0.04, 0.02, windows=windows[1], mapped=10, map_seconds=0.5),
        row("c", 0.02, None),
        Row("d", "twist", "unresolved", None),
        Row("e", "negative", "slip", False),
    )
    totals = Report(rows).totals()
    assert totals["images"] == 5
    assert (totals["verdicts_right"], totals["verdicts_judged"]) == (3, 4)
    assert totals["median_error_A"] == pytest.approx(0.02)
    assert totals["rms_error_over_bound"] == pytest.approx(np.sqrt((1 + 4) / 2))
    assert totals["worst_error_over_bound"] == pytest.approx(2)
    assert totals["slips_inside_95"] == pytest.approx(2 / 3)
    assert totals["windows"] == 40
    assert totals["windows_inside_68"] == pytest.approx((30 * 0.7 + 10 * 0.3) / 40)
    assert totals["windows_per_second"] == pytest.approx(50)


def test_totals_of_nothing() -> None:
    totals = Report((Row("d", "twist", "unresolved", None),)).totals()
    assert totals["rms_error_over_bound"] is None
    assert totals["windows_per_second"] is None
    assert [table.title for table in Report(()).tables()] == ["Slip of whole images", "Single windows", "Together"]
