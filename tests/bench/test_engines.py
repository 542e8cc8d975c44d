"""Fit, network and hybrid side by side, on images in the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from picostem.bench.engines import Answer, as_dict, measure, tables
from picostem.resolve.settings import Settings

IMAGES = Path(__file__).parents[2] / "examples" / "images"


@pytest.fixture(scope="module")
def answers() -> list[Answer]:
    return measure([IMAGES / "ReS2_bilayer.tif"], Settings("ReS2"), None)


def test_each_engine_gives_its_own_answer(answers: list[Answer]) -> None:
    fit, net, hybrid = answers
    assert [one.engine for one in answers] == ["fit", "net", "hybrid"]
    assert {one.verdict for one in answers} == {"slip"}
    assert (fit.apart, fit.from_net, net.from_net) == (0.0, 0.0, 1.0)
    # the network's windows are off by 0.01 to 0.02 Å here, the fit's by 0.007 Å
    assert net.apart is not None and 0 < net.apart < 0.03
    assert net.apart_windows is not None and 0 < net.apart_windows[0] < 0.03
    assert hybrid.apart == pytest.approx(0, abs=1e-3)
    assert min(one.windows for one in answers) == 25


def test_tables_and_json(answers: list[Answer]) -> None:
    (table,) = tables(answers)
    assert [row[:3] for row in table.rows] == [("ReS2_bilayer", one, "slip") for one in ("fit", "net", "hybrid")]
    assert as_dict(answers)["answers"][1]["from_net"] == 1.0


def test_an_engine_that_cannot_answer_says_why() -> None:
    answers = measure([IMAGES / "ReS2_monolayer.tif"], Settings("ReS2"), "nowhere")
    assert [one.verdict for one in answers] == ["monolayer", "failed", "failed"]
    assert answers[0].apart is None and not answers[0].slips
    failed = tables(answers)[1]
    assert [row[1] for row in failed.rows] == ["net", "hybrid"]
    assert all("no network 'nowhere'" in row[2] for row in failed.rows)
