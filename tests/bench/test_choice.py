"""Choice among stackings: how electrons are drawn again, what an answer counts as, and the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picostem.bench import choice
from picostem.bench.ask import Given
from picostem.bench.choice import ChoiceReport, ChoiceRow, Draws, measure, outcome, thinned
from picostem.cli import run
from picostem.errors import DataError, StructureError, UsageError
from picostem.image import Image
from picostem.resolve.result import Result
from picostem.simulate import AcquisitionSettings, Microscope, simulate_stack, write_simulation
from picostem.structure import Stack, load_monolayer
from tests.bench.made import case, interface, layer, result

TWO = (layer("MoS2"), layer("MoS2"))
TWIST = case("twist", ("MoS2", "MoS2"), (10.0,))
ACQUISITION = {"gain": 50.0, "offset": 300.0}


def recorded(mean: float, read_noise: float = 0.0) -> Image:
    rng = np.random.default_rng(1)
    counts = rng.poisson(mean, (200, 200)) + read_noise * rng.standard_normal((200, 200))
    return Image((50.0 * counts + 300.0).astype(np.float32))


@pytest.mark.parametrize("mean", [0.4, 20.0])
def test_a_draw_is_poisson_with_its_share_of_the_mean(mean: float) -> None:
    truth = case("slip", acquisition=ACQUISITION)
    drawn = thinned(recorded(mean), truth, 0.8, np.random.default_rng(2))
    counts = (drawn.data.astype(np.float64) - 300) / 50
    assert np.abs(counts - np.rint(counts)).max() < 1e-3  # rounding of float32
    # 40,000 pixels: the mean to 0.5 % of √mean, the variance to 1 % or so; four of each.
    assert counts.mean() == pytest.approx(0.8 * mean, abs=0.02 * np.sqrt(mean))
    assert counts.var() == pytest.approx(0.8 * mean, rel=0.05)


def test_the_noise_of_the_detector_stays() -> None:
    truth, image = case("slip", acquisition=ACQUISITION), recorded(20.0, read_noise=0.1)
    drawn = thinned(image, truth, 0.5, np.random.default_rng(2))
    parts = [np.remainder((one.data.astype(np.float64) - 300) / 50 + 0.5, 1) for one in (image, drawn)]
    assert np.abs(parts[0] - parts[1]).max() < 1e-3
    assert np.abs(drawn.data - image.data).max() > 100


def test_draws_differ_and_repeat() -> None:
    truth, image = case("slip", acquisition=ACQUISITION), recorded(5.0)
    first, second, again = (thinned(image, truth, 0.8, np.random.default_rng(seed)).data for seed in (1, 2, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("acquisition", [{}, {"gain": 50.0}, {"gain": 0.0, "offset": 1.0}])
def test_a_truth_that_does_not_say_how_to_count(acquisition: dict[str, float]) -> None:
    with pytest.raises(DataError, match=r"acquisition\.gain"):
        thinned(recorded(5.0), case("slip", acquisition=acquisition), 0.8, np.random.default_rng(0))


@pytest.mark.parametrize("bad", [{"count": 0}, {"share": 0.0}, {"share": 1.0}])
def test_draws_that_cannot_be_made(bad: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="expected 1 draw or more"):
        Draws(**bad)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (result("twist", TWO, (interface(10.0, 0.1),)), "right"),
        (result("twist", TWO, (interface(50.0, 0.1),)), "wrong"),
        (result("twist", TWO, (interface(15.0, 0.1),)), "wrong"),
        (result("twist", TWO, (interface(50.0, 0.1, (10.0,)),)), "undecided"),
        (result("unresolved"), "undecided"),
        (result("slip", TWO, (interface(0.0),)), "wrong"),
        (result("monolayer", TWO[:1], (interface(0.0),)), "wrong"),
        (result("twist", (*TWO, TWO[0]), (interface(10.0, 0.1), interface(10.0, 0.1))), "wrong"),
    ],
)
def test_what_an_answer_counts_as(answer: Result, expected: str) -> None:
    assert outcome(answer, TWIST) == expected


@pytest.mark.parametrize(("slip", "expected"), [((0.01, 0.0), "undecided"), ((0.1, 0.0), "wrong")])
def test_one_layer_is_no_wrong_answer_if_it_allows_for_the_second(slip: tuple[float, float], expected: str) -> None:
    truth = case("slip", slip={"D_cart_A": slip})
    assert outcome(result("monolayer", TWO[:1], (interface(),)), truth) == expected  # hidden: 0 ± 0.01 Å


def test_vacuum_is_to_be_unresolved() -> None:
    vacuum = case("negative", ("MoS2",), negative="vacuum")
    assert outcome(result("unresolved"), vacuum) == "right"
    assert outcome(result("slip", TWO, (interface(),)), vacuum) == "wrong"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    layer = load_monolayer("MoS2")
    microscope = Microscope.from_lab_units(voltage_kV=80, semiangle_mrad=30, detector_mrad=(50, 200))
    for name, stack in (("one", Stack.of([layer])), ("two", Stack.bilayer(layer, (0.5, 0.9)))):
        rng = np.random.default_rng(0)
        image, truth = simulate_stack(stack, microscope, AcquisitionSettings(), (40, 40), 0.15, rng)
        write_simulation(tmp_path, name, image, truth)
    truth["task"] = "stack"  # of which no verdict is settled
    write_simulation(tmp_path, "many", image, truth)
    return tmp_path


def test_every_draw_of_every_settled_image_is_asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def answer(case: Any, image: Image, given: Given, **options: Any) -> Result:
        asked.append(float(image.data.sum()))
        if len(asked) == 5:
            raise StructureError("broken")
        return result("slip", TWO, (interface(),)) if len(asked) > 2 else result("monolayer", TWO[:1])

    monkeypatch.setattr(choice, "ask", answer)
    told: list[tuple[str, int, int]] = []
    report = measure(folder, Given(), Draws(3), lambda *words: told.append(words))
    assert told == [("one", 0, 6), ("one", 1, 6), ("one", 2, 6), ("two", 3, 6), ("two", 4, 6), ("two", 5, 6)]
    assert len(set(asked)) == 6
    first, second = report.rows
    assert (first.name, first.outcomes) == ("one", ("right", "right", "wrong"))
    assert first.answers == {"monolayer": 2, "slip of 2": 1}
    assert second.outcomes == ("right", "failed", "right")
    assert second.answers == {"slip of 2, branch right": 2, "StructureError": 1}


def test_a_folder_of_nothing_that_is_settled(folder: Path) -> None:
    for name in ("one", "two"):
        (folder / f"{name}.tif").unlink()
    with pytest.raises(DataError, match="found none whose right verdict is settled"):
        measure(folder, Given(), Draws(1))


REPORT = ChoiceReport(
    (
        ChoiceRow("a", "twist", ("right", "undecided", "wrong", "failed"), {"twist of 2": 3, "DataError": 1}),
        ChoiceRow("b", "slip", ("right",) * 4, {"slip of 2": 4}),
    )
)


def test_totals_and_table() -> None:
    shares = {"right": 5 / 8, "undecided": 1 / 8, "wrong": 1 / 8, "failed": 1 / 8}
    assert REPORT.totals() == {"draws": 8, **shares}
    assert ChoiceReport(()).totals()["right"] is None
    (table,) = REPORT.tables()
    assert table.rows[0] == ("a", "twist", "4", "1", "1", "1", "1", "3 twist of 2; 1 DataError")
    assert table.rows[-1][2:7] == ("8", "62 %", "12 %", "12 %", "12 %")


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def measured(*told: Any) -> ChoiceReport:
        asked.append(told[:3])
        return REPORT

    monkeypatch.setattr("picostem.bench.choice.measure", measured)
    assert run(["bench", "choice", str(tmp_path), "--draws", "4", "--share", "0.5", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"]["draws"] == 8
    assert asked == [(tmp_path, Given(), Draws(4, 0.5, 0))]
    assert run(["bench", "choice", str(tmp_path), "--unknown-microscope"]) == 0
    assert "Choice among stackings" in capsys.readouterr().out
    assert asked[1] == (tmp_path, replace(Given(), microscope=False), Draws())
    assert run(["bench", "choice", str(tmp_path), "--engine", "net", "--net", "trained"]) == 0
    assert asked[2] == (tmp_path, Given(engine="net", net="trained"), Draws())
    capsys.readouterr()
    assert run(["bench", "choice", str(tmp_path), "--draws", "0"]) == 2
    assert "expected 1 draw or more" in capsys.readouterr().err
