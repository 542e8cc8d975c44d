"""`picostem resolve` on images that can be resolved: what it prints and what it writes."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from picostem.report.recipe import command_line
from picostem.resolve.result import Result
from picostem.structure import SlipEquivalence, load_monolayer
from tests.cli.conftest import FILES, OPTICS, RES2, Run


def test_the_slip_is_the_true_one(picostem: Run, simulated: tuple[Path, dict[str, Any]]) -> None:
    path, truth = simulated
    ended = picostem("resolve", path, *RES2, "--json", "-")
    assert ended.code == 0
    found = json.loads(ended.out)
    error = SlipEquivalence(load_monolayer("ReS2")).distance(
        found["interfaces"][0]["slip_cart_A"], truth["slip"]["D_cart_A"]
    )
    # 0.03 Å: five times the Cramér-Rao bound of 0.005 Å that the result states for this dose and field.
    assert error < 0.03
    assert found["verdict"] == "slip"


def test_it_writes_all_files_into_a_folder_named_after_the_image(picostem: Run, image_file: Path) -> None:
    ended = picostem("resolve", image_file, *RES2)
    assert ended.code == 0
    assert ended.err == ""
    folder = Path("bilayer.picostem")
    assert sorted(p.name for p in folder.iterdir()) == sorted(FILES)
    assert [p.name for p in Path().iterdir()] == [folder.name]
    found = json.loads((folder / "result.json").read_text("utf-8"))
    assert found["verdict"] == "slip"
    slips = np.column_stack([pq.read_table(folder / "map.parquet")[f"slip_{axis}_A"].to_numpy() for axis in "xy"])
    # 0.1 Å: ten times the error of a window; the windows' slips are given near that of the interface, not a cell away.
    assert np.abs(slips - found["interfaces"][0]["slip_cart_A"]).max() < 0.1


@pytest.mark.usefixtures("instant")
class TestFiles:
    def test_summary_says_what_was_found_and_written(self, picostem: Run, image_file: Path, result: Result) -> None:
        ended = picostem("resolve", image_file, *RES2, "--out", "here")
        assert ended.code == 0
        text = ended.out
        assert text.startswith(f"{image_file}: ReS₂ bilayer\n")
        for part in (
            "D = (",
            "bound",
            "χ²",
            "explained",
            "orientation: a at",
            "pixel size: 0.12 Å",
            "microscope: 300 kV",
        ):
            assert part in text
        assert all(name in text for name in FILES)
        assert f"bound {result.interfaces[0].slip_bound:.4f} Å" in text

    def test_json_on_standard_output_stands_alone(self, picostem: Run, image_file: Path, result: Result) -> None:
        ended = picostem("resolve", image_file, *RES2, "--json", "-")
        assert json.loads(ended.out) == json.loads(json.dumps(result.as_dict()))
        assert ended.err.startswith(f"{image_file}: ReS₂ bilayer")
        assert list(Path().iterdir()) == []

    def test_json_file_stands_alone(self, picostem: Run, image_file: Path) -> None:
        ended = picostem("resolve", image_file, *RES2, "--json", "slip.json")
        assert ended.out.startswith(f"{image_file}: ")
        assert [p.name for p in Path().iterdir()] == ["slip.json"]
        assert json.loads(Path("slip.json").read_text("utf-8"))["schema"] == "picostem.result/1"

    def test_json_and_files(self, picostem: Run, image_file: Path) -> None:
        assert picostem("resolve", image_file, *RES2, "--json", "slip.json", "--out", "a/b").code == 0
        assert sorted(p.name for p in Path("a/b").iterdir()) == sorted(FILES)
        assert json.loads(Path("slip.json").read_text("utf-8")) == json.loads(
            Path("a/b/result.json").read_text("utf-8")
        )

    def test_several_files_have_a_folder_each(self, picostem: Run, image_file: Path) -> None:
        shutil.copy(image_file, "other.tif")
        ended = picostem("resolve", image_file, "other.tif", *RES2, "--out", "all")
        assert ended.code == 0
        assert ended.out.count("ReS₂ bilayer") == 2
        assert sorted(p.name for p in Path("all").iterdir()) == ["bilayer.picostem", "other.picostem"]
        assert sorted(p.name for p in Path("all/other.picostem").iterdir()) == sorted(FILES)

    def test_a_bad_file_does_not_stop_the_others(self, picostem: Run, image_file: Path) -> None:
        ended = picostem("resolve", "missing.tif", image_file, "gone.tif", *RES2, "--json", "all.json")
        assert ended.code == 1
        said = ended.err.splitlines()
        assert len(said) == 2
        assert said[0].startswith("picostem: missing.tif: no such file")
        assert said[1].startswith("picostem: gone.tif: no such file")
        assert len(json.loads(Path("all.json").read_text("utf-8"))) == 1

    def test_an_unforeseen_error_in_one_file_does_not_stop_the_others(
        self, picostem: Run, image_file: Path, monkeypatch: pytest.MonkeyPatch, result: Result
    ) -> None:
        def sometimes(image: Any, settings: Any, progress: Any = None) -> Result:
            if image.name == "other":
                raise ZeroDivisionError("by zero")
            return result

        monkeypatch.setattr("picostem.pipeline.resolve_with", sometimes)
        shutil.copy(image_file, "other.tif")
        ended = picostem("resolve", "other.tif", image_file, *RES2)
        assert ended.code == 1
        assert ended.err.startswith("picostem: other.tif: unforeseen error")
        assert len(ended.err.splitlines()) == 1
        assert sorted(p.name for p in Path().iterdir()) == ["bilayer.picostem", "other.tif"]

    def test_all_bad_files_leave_an_empty_array(self, picostem: Run) -> None:
        ended = picostem("resolve", "missing.tif", "gone.tif", *RES2, "--json", "-")
        assert ended.code == 1
        assert json.loads(ended.out) == []

    def test_an_earlier_run_is_replaced_and_other_files_are_left(self, picostem: Run, image_file: Path) -> None:
        Path("x").mkdir()
        Path("x/notes.txt").write_text("mine")
        Path("x/result.json").write_text("old")
        assert picostem("resolve", image_file, *RES2, "--out", "x").code == 0
        assert Path("x/notes.txt").read_text() == "mine"
        assert json.loads(Path("x/result.json").read_text("utf-8"))["verdict"] == "slip"


def test_options_reach_the_settings(
    picostem: Run, image_file: Path, monkeypatch: pytest.MonkeyPatch, result: Result
) -> None:
    seen: list[Any] = []

    def record(image: Any, settings: Any, progress: Any = None) -> Result:
        seen.append(settings)
        return result

    monkeypatch.setattr("picostem.pipeline.resolve_with", record)
    options = ("--pixel-size", "0.2", "--window", "2.5", "--stride", "0.5", "--layers", "2")
    picostem("resolve", image_file, "-m", "ReSe2", *OPTICS, *options, "--json", "x.json")
    assert seen[0].as_dict() == {
        **seen[0].as_dict(),
        "material": "ReSe2",
        "pixel_size_A": 0.2,
        "voltage_kV": 300.0,
        "semiangle_mrad": 21.3,
        "detector_mrad": (39.0, 200.0),
        "window_nm": 2.5,
        "stride_nm": 0.5,
        "layers": "2",
    }


def test_layers_of_two_materials_reach_the_settings(
    picostem: Run, image_file: Path, monkeypatch: pytest.MonkeyPatch, result: Result
) -> None:
    seen: list[Any] = []

    def record(image: Any, settings: Any, progress: Any = None) -> Result:
        seen.append(settings)
        return result

    monkeypatch.setattr("picostem.pipeline.resolve_with", record)
    assert picostem("resolve", image_file, "-m", "MoS2/WSe2", "--layers", "3", "--json", "x.json").code == 0
    assert (seen[0].material, seen[0].layers) == ("MoS2/WSe2", "3")


@pytest.mark.parametrize(
    ("material", "expected"), [("MoS2/WSe3", "did you mean WSe2?"), ("MoS2/", "before and after each slash")]
)
def test_a_wrong_material_of_several_is_named(picostem: Run, image_file: Path, material: str, expected: str) -> None:
    ended = picostem("resolve", image_file, "-m", material)
    assert ended.code == 2
    assert expected in ended.complaint
    assert list(Path().iterdir()) == []


def test_the_command_in_a_report_asks_for_the_same(
    picostem: Run, monkeypatch: pytest.MonkeyPatch, result: Result
) -> None:
    seen: list[Any] = []

    def record(image: Any, settings: Any, progress: Any = None) -> Result:
        seen.append((image.path, settings))
        return result

    monkeypatch.setattr("picostem.pipeline.resolve_with", record)
    command = command_line(result)
    assert command is not None
    program, *arguments = shlex.split(command)
    assert program == "picostem"
    assert picostem(*arguments, "--json", "x.json").code == 0
    assert seen == [(result.image.path, result.settings)]


@pytest.mark.parametrize(("layers", "verdict"), [("1", "monolayer"), ("2", "slip")])
def test_the_number_of_layers_is_believed(picostem: Run, image_file: Path, layers: str, verdict: str) -> None:
    ended = picostem("resolve", image_file, *RES2, "--layers", layers, "--json", "-")
    assert json.loads(ended.out)["verdict"] == verdict


def test_another_material_is_not_resolved_and_that_is_an_answer(picostem: Run, image_file: Path) -> None:
    ended = picostem("resolve", image_file, "--material", "graphene", *OPTICS, "--json", "-")
    assert ended.code == 0
    found = json.loads(ended.out)
    assert found["verdict"] == "unresolved"
    assert found["reason"]


def test_a_frame_of_a_movie(picostem: Run, simulated: tuple[Path, dict[str, Any]]) -> None:
    from picostem.files import read_image

    good = read_image(simulated[0]).data
    np.save("movie.npy", np.stack([np.zeros_like(good), good]))
    ended = picostem("resolve", "movie.npy", *RES2, "--pixel-size", "0.12", "--frame", "1", "--json", "-")
    assert ended.code == 0
    found = json.loads(ended.out)
    assert found["verdict"] == "slip"
    assert found["image"]["name"] == "movie frame 1"
