"""The files that a result is saved as, read back by what reads such files."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import ase.io
import numpy as np
import pytest
from ase import Atoms
from pyarrow import parquet

from picostem.errors import OutputError
from picostem.files import read_image
from picostem.report import save_result, write_json
from picostem.report.contents import FILES, written_files
from picostem.resolve.result import Result
from picostem.structure import load_monolayer

STACK = {"stack.cif", "stack.xyz"}
ALWAYS = {"result.json", "figure.png", "report.html"}


@pytest.fixture(scope="module")
def folder(slip_result: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved slip, to be read only."""
    return save_result(slip_result, tmp_path_factory.mktemp("saved") / "out")


def atoms_in(path: Path) -> Atoms:
    atoms = ase.io.read(path)
    assert isinstance(atoms, Atoms)
    return atoms


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ("slip", set(FILES)),
        ("twist", ALWAYS | STACK | {"simulated.tif"}),
        ("field", set(FILES)),
        ("trilayer", set(FILES)),
        ("monolayer", ALWAYS | STACK),
        ("unresolved", ALWAYS),
    ],
)
def test_what_each_verdict_writes(
    which: str, expected: set[str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    result: Result = request.getfixturevalue(f"{which}_result")
    assert save_result(result, str(tmp_path / "out")) == tmp_path / "out"
    assert set(os.listdir(tmp_path / "out")) == expected == set(written_files(result))
    assert os.listdir(tmp_path) == ["out"]


def test_json_is_the_result(folder: Path, slip_result: Result) -> None:
    assert json.loads((folder / "result.json").read_text("utf-8")) == slip_result.as_dict()


def test_the_cell_says_what_it_is(field_result: Result, folder: Path, tmp_path: Path) -> None:
    save_result(field_result, tmp_path / "out")
    first = (tmp_path / "out/stack.cif").read_bytes().splitlines()[0].decode("ascii")
    assert first.startswith("# picostem: a periodic supercell of 1194 atoms with a twist of 14.1")
    assert len(atoms_in(tmp_path / "out/stack.cif")) == 1194
    assert (folder / "stack.cif").read_bytes().startswith(b"# picostem: one periodic cell\n")


def test_the_map_is_a_table(folder: Path, slip_result: Result) -> None:
    assert slip_result.map is not None
    assert len(parquet.read_table(folder / "map.parquet")) == len(slip_result.map)


def test_the_simulated_image_is_calibrated(folder: Path, slip_result: Result) -> None:
    image = read_image(folder / "simulated.tif")
    assert slip_result.simulated is not None
    np.testing.assert_array_equal(image.data, slip_result.simulated)
    assert image.data.dtype == np.float32
    # 1e-6: tif keeps pixels per nm as a ratio of 32 bit integers.
    assert image.pixel_size == pytest.approx((0.12, 0.12), rel=1e-6)


def test_pixels_that_are_not_square_stay_so(slip_result: Result, tmp_path: Path) -> None:
    result = replace(slip_result, image=slip_result.image.with_pixel_size((0.1, 0.2), "file"))
    save_result(result, tmp_path)
    assert read_image(tmp_path / "simulated.tif").pixel_size == pytest.approx((0.1, 0.2), rel=1e-6)


def test_the_model_is_a_crystal_that_programs_read(folder: Path, slip_result: Result) -> None:
    cell, piece = atoms_in(folder / "stack.cif"), atoms_in(folder / "stack.xyz")
    monolayer = load_monolayer("ReS2")
    assert len(cell) == 24
    # 1e-3 Å and degrees: what the CIF's decimals keep.
    np.testing.assert_allclose(cell.cell.lengths()[:2], np.linalg.norm(monolayer.cell, axis=1), atol=1e-3)
    rhenium = cell.positions[cell.numbers == 75]
    heights = np.sort(rhenium[:, 2])
    assert heights[4:].mean() - heights[:4].mean() == pytest.approx(monolayer.layer_spacing, abs=1e-3)
    below, above = (piece.positions[piece.arrays["layer"] == i, :2] for i in (1, 2))
    nearest = np.linalg.norm(above[:, None] - below - slip_result.interfaces[0].slip, axis=2).min(axis=1)
    # Away from the border, each atom of the upper layer is one of the lower, moved by the slip; 1e-6 Å: decimals.
    inside = (np.abs(above - 20) < 15).all(axis=1)
    assert inside.sum() > 100
    assert nearest[inside].max() < 1e-6


def test_files_of_an_earlier_run_go_and_others_stay(
    slip_result: Result, unresolved_result: Result, tmp_path: Path
) -> None:
    save_result(slip_result, tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    save_result(unresolved_result, tmp_path)
    assert set(os.listdir(tmp_path)) == ALWAYS | {"notes.txt"}
    assert json.loads((tmp_path / "result.json").read_text("utf-8"))["verdict"] == "unresolved"


@pytest.mark.parametrize(
    "step", ["table.write_map", "save._write_simulated", "figure.draw_picture", "page.render_page"]
)
@pytest.mark.parametrize("problem", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_an_interrupt_or_full_disk_at_any_step_leaves_the_earlier_result(
    slip_result: Result,
    unresolved_result: Result,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    problem: BaseException,
) -> None:
    save_result(unresolved_result, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def fail(*_: object) -> NoReturn:
        raise problem

    monkeypatch.setattr(f"picostem.report.{step}", fail)
    with pytest.raises(KeyboardInterrupt if isinstance(problem, KeyboardInterrupt) else OutputError) as caught:
        save_result(slip_result, tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    if isinstance(problem, OSError):
        assert "No space left on device" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_full_disk_under_the_model_names_the_users_folder(
    slip_result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ase.io.write", fail)
    with pytest.raises(OutputError) as caught:
        save_result(slip_result, tmp_path / "out")
    assert str(caught.value).startswith(f"cannot write to {str(tmp_path / 'out')!r}: No space left on device")
    assert os.listdir(tmp_path) == []


def test_json_alone(slip_result: Result, tmp_path: Path) -> None:
    write_json(slip_result, tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text("utf-8")) == slip_result.as_dict()
    assert os.listdir(tmp_path) == ["r.json"]


def test_json_on_standard_output_is_ascii(slip_result: Result, capsys: pytest.CaptureFixture[str]) -> None:
    result = replace(slip_result, reason="χ² of 3 Å")
    write_json(result, "-")
    text = capsys.readouterr().out
    assert text.isascii()
    assert json.loads(text) == result.as_dict()


def test_json_keeps_names_that_are_not_text(slip_result: Result, tmp_path: Path) -> None:
    image = replace(slip_result.image, path=Path("a\udc80Å.tif"))
    write_json(replace(slip_result, image=image), tmp_path / "r.json")
    data = (tmp_path / "r.json").read_bytes()
    assert json.loads(data.decode("utf-8"))["image"]["path"] == "a\udc80Å.tif"


def test_a_closed_pipe_is_an_output_error(slip_result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(io.StringIO):
        def write(self, _: str) -> NoReturn:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(sys, "stdout", Closed())
    with pytest.raises(OutputError, match="standard output: Broken pipe"):
        write_json(slip_result, "-")
