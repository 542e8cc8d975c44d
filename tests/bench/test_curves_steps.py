"""`picostem bench steps`, with answers made by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from picostem.bench import curves, curves_steps
from picostem.bench.curves import CurvesReport, Point
from picostem.bench.curves_figure import draw_steps, save_steps
from picostem.bench.curves_spoil import Step
from picostem.bench.curves_steps import StepsReport, measure
from picostem.bench.slip import Windows
from picostem.errors import UsageError

PERFECT, NOISY = Step("none"), Step("noise", 7.0)


def made(step: Step, *errors: float) -> Point:
    dose = 2600.0 if step == NOISY else 26000.0
    return Point(step, "net", dose, 7.0, 4, 0.0, Windows(errors, 0.02, 0.01, 0.7, 0.95, 0.0), {})


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks named after the step of their labels, whose errors are a tenth of it."""

    def card(folder: Path) -> SimpleNamespace:
        name = folder.name
        plans = {"any": {"step_A": None}, "untold": {}}
        return SimpleNamespace(training={"plan": plans.get(name) if name in plans else {"step_A": float(name)}})

    def answers(
        folder: Path, engines: Any, net: str, *, seed: int, steps: Any, progress: Callable[[str, int, int], None]
    ) -> CurvesReport:
        assert engines == ("net",) and seed == 3
        progress("image", 1, 2)
        error = 0.01 if net == "any" else float(net) / 10
        return CurvesReport((made(PERFECT, error), made(NOISY, error, 2 * error), made(Step("vacancies", 0.1), 1.0)))

    monkeypatch.setattr(curves_steps, "net_folder", Path)
    monkeypatch.setattr(curves_steps, "read_card", card)
    monkeypatch.setattr(curves, "measure", answers)


@pytest.mark.usefixtures("trainings")
def test_networks_are_put_in_the_order_of_their_steps(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    report = measure(tmp_path, ["0.4", "any", "0.1"], seed=3, progress=lambda *words: told.append(words))
    assert told == [("image", 1, 6), ("image", 3, 6), ("image", 5, 6)]
    assert [(label, one.step) for label, one in report.points] == [
        (label, step) for label in (None, 0.1, 0.4) for step in (PERFECT, NOISY)
    ]
    (table,) = report.tables()
    cells = dict(zip(curves_steps.HEAD, table.rows[-1], strict=True))
    assert (cells["step Å"], cells["amount"], cells["mean Å"], cells["in 95 %"]) == ("0.4", "7 dB", "0.0600", "95 %")
    assert [row[0] for row in table.rows] == ["any", "any", "0.1", "0.1", "0.4", "0.4"]
    points = json.loads(json.dumps(report.as_dict(), allow_nan=False))["points"]
    assert points[0]["label_step_A"] is None and points[-1]["error_A"]["mean"] == pytest.approx(0.06)


@pytest.mark.usefixtures("trainings")
def test_what_cannot_be_compared(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one for each step"):
        measure(tmp_path, [], seed=3)
    with pytest.raises(UsageError, match="untold: its card does not say"):
        measure(tmp_path, ["0.1", "untold"], seed=3)


def test_the_figure_draws_means_quantiles_and_bounds(tmp_path: Path) -> None:
    silent = replace(made(NOISY, 0.1), found=None)
    report = StepsReport(
        ((None, made(PERFECT, 0.02)), (0.1, made(PERFECT, 0.01, 0.03)), (0.1, silent), (0.4, made(NOISY, 0.05)))
    )
    (ax,) = draw_steps(report).axes
    mean, quantile, bound, noisy, *_ = (np.asarray(line.get_xydata()) for line in ax.get_lines())
    assert mean == pytest.approx(np.array([[0, 0.02], [0.1, 0.02]]))
    assert quantile == pytest.approx(np.array([[0, 0.02], [0.1, 0.029]]))
    assert bound[:, 1] == pytest.approx(0.01)
    assert noisy == pytest.approx(np.array([[0.4, 0.05]]))
    assert [label.get_text() for label in ax.get_xticklabels()] == ["any", "0.1", "0.4"]
    save_steps(report, tmp_path / "steps.png")
    assert (tmp_path / "steps.png").read_bytes()[:4] == b"\x89PNG"
