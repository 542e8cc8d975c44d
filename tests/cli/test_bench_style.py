"""`picostem bench style`: tables of a style's figures, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench.made_style import write_style
from tests.cli.conftest import Run


@pytest.mark.usefixtures("instant")
def test_likeness_and_held_out_image_are_printed(picostem: Run, image_file: Path, tmp_path: Path) -> None:
    style, out = write_style(tmp_path / "straight", 0.05), tmp_path / "figures.json"
    asked = ("bench", "style", "--weights", style, "--experiment", image_file, "--held-out", image_file, "--count", "0")
    ended = picostem(*asked, "--markdown", "--json", out)
    assert ended.code == 0, ended.err
    assert "**Likeness to bilayer**" in ended.out
    assert "**Likeness to bilayer, style from bilayer**" in ended.out
    assert "Structure kept" not in ended.out
    document = json.loads(out.read_text("utf-8"))
    assert document["style"] == "straight"
    assert [one["held_out"] for one in document["likeness"]] == [False, True]
    assert document["structure"] == {}


def test_missing_style_is_named(picostem: Run, image_file: Path) -> None:
    ended = picostem("bench", "style", "--weights", "nowhere", "--experiment", image_file)
    assert ended.code == 2
    assert "nowhere" in ended.complaint
