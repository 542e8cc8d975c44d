"""The command line and the Python that make a result again."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

import picostem
from picostem.report.recipe import command_line, python_code
from picostem.resolve.result import Result
from picostem.resolve.settings import Settings

HOSTILE = ["plain.dm4", "with space.tif", "a'b\"c.tif", "$(rm -rf ~);`x`.tif", "-rf", "two\nlines.tif", "Ångström.tif"]


def with_path(result: Result, name: str, **settings: object) -> Result:
    chosen = Settings(material="ReS2", **settings)  # type: ignore[arg-type]
    return replace(result, image=replace(result.image, path=Path(name)), settings=chosen)


def run(code: str, monkeypatch: pytest.MonkeyPatch) -> tuple[tuple[object, ...], dict[str, object]]:
    """What the code calls `resolve` with."""
    calls = []

    def resolve(*args: object, **options: object) -> str:
        calls.append((args, options))
        return "a result"

    monkeypatch.setattr(picostem, "resolve", resolve, raising=False)
    exec(compile(code, "recipe", "exec"), {"image": "the array"})
    assert len(calls) == 1
    return calls[0]


@pytest.mark.parametrize("name", HOSTILE)
def test_any_file_name_survives(slip_result: Result, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    result = with_path(slip_result, name)
    command = command_line(result)
    assert command is not None
    word = shlex.split(command)[2]
    assert Path(word) == Path(name)
    assert not word.startswith("-")
    args, _ = run(python_code(result), monkeypatch)
    assert args == (name, "ReS2")


def test_settings_that_were_changed_are_given(slip_result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    result = with_path(slip_result, "a.tif", pixel_size_A=0.125, detector_mrad=(40.0, 200.0), window_nm=3.0, layers="2")
    command = command_line(result)
    assert (
        command == "picostem resolve a.tif --material ReS2 --pixel-size 0.125 --detector 40 200 --window 3 --layers 2"
    )
    _, options = run(python_code(result), monkeypatch)
    assert options == {"pixel_size_A": 0.125, "detector_mrad": (40.0, 200.0), "window_nm": 3.0, "layers": "2"}
    assert Settings(material="ReS2", **options) == result.settings  # type: ignore[arg-type]


def test_an_array_has_no_command_but_python(unresolved_result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command_line(unresolved_result) is None
    args, _ = run(python_code(unresolved_result), monkeypatch)
    assert args == ("the array", "MoS2")
