"""`picostem simulate 4d`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Run

SMALL = ("--field", "0.8", "1.2", "--step", "0.4")


def test_patterns_and_their_truth(picostem: Run) -> None:
    pytest.importorskip("abtem")
    ended = picostem("simulate", "4d", "--structure", "graphene-Si4", *SMALL, "--electrons", "3e3", "--seed", "5")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("graphene-Si4_4d.npy: 3 × 2 × 65 × 65 ")
    patterns = np.load("graphene-Si4_4d.npy")
    assert patterns.dtype == np.uint16
    assert patterns.sum(axis=(2, 3)).mean() == pytest.approx(3e3, rel=0.05)  # 5 sigma of six patterns
    truth = json.loads(Path("graphene-Si4_4d.json").read_text("utf-8"))
    assert (truth["microscope"]["kV"], truth["seeds"], truth["scan"]["step_A"]) == (60, {"all": 5}, 0.4)
    with np.load("graphene-Si4_4d.npz") as maps:
        assert (maps["kind"] == truth["kinds"].index("Si4")).all()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--out", "a.tif"), "npy"),
        (("--structure", "grafene"), "did you mean graphene"),
        (("--structure", "graphene", "--zone", "0", "0", "1"), "leave the zone axis out"),
        (("--step", "0"), "positive"),
        (("--detector-pixel", "5"), "too coarse"),
        (("--semiangle", "0"), "semiangle"),
        (("MoS2",), "MoS2"),
    ],
)
def test_bad_input_gives_one_clear_line(picostem: Run, arguments: tuple[str, ...], expected: str) -> None:
    ended = picostem("simulate", "4d", *arguments)
    assert ended.code == 2
    assert expected in ended.complaint
    assert list(Path().iterdir()) == []


def test_help_of_both(picostem: Run) -> None:
    assert "simulate 4d [OPTIONS]" in picostem("simulate", "4d", "--help").out
    assert "simulate 4d" in picostem("simulate", "--help").out
