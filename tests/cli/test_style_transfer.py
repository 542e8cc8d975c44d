"""`picostem style transfer`, with a style whose network does what is known: image = content + a0 + a1 noise."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from picostem.files import read_image
from picostem.simulate import write_simulation
from picostem.style import batch
from tests.cli.conftest import Run
from tests.style.made_style import write_style

SLIPS = {"one": ("1.2", "-0.7"), "two": ("0.3", "2.1")}


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a style, and one with two noise-free simulations."""
    from picostem.cli import run

    folder = tmp_path_factory.mktemp("source")
    write_style(folder / "style")
    for name, slip in SLIPS.items():
        small = ("--size", "64", "--pixel-size", "0.12", "--dose", "inf", "--out", str(folder / "in" / f"{name}.tif"))
        assert run(["simulate", "ReS2", "--slip", *slip, *small]) == 0
    return folder


@pytest.fixture
def work(source: Path, picostem: Run) -> Run:
    """The command line, in a folder with copies of these."""
    shutil.copytree(source, Path(), dirs_exist_ok=True)

    def transfer(*arguments: str) -> Any:
        return picostem("style", "transfer", *arguments, "--weights", "./style", "--threads", "1")

    return transfer


def truth(path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(path).read_text("utf-8"))
    return found


def contents(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


class TestSets:
    def test_a_folder_becomes_a_labelled_set(self, work: Run) -> None:
        ended = work("in", "--out", "set", "--count", "2", "--seed", "4")
        assert (ended.code, ended.err) == (0, "")
        assert "4 made, 0 were there" in ended.out
        names = {f"{name}_{copy}" for name in SLIPS for copy in ("000", "001")}
        assert set(contents("set")) == {f"{n}.{s}" for n in names for s in ("tif", "json")} | {
            "labels.csv",
            "labels.parquet",
        }
        for name in names:
            told, before = truth(f"set/{name}.json"), truth(f"in/{name[:3]}.json")
            assert told["slip"] == before["slip"]
            assert told["layers"] == before["layers"]
            assert told["style"]["source"] == f"in/{name[:3]}.tif"
            assert read_image(f"set/{name}.tif").data.shape == (64, 64)
        vectors = {tuple(truth(f"set/{name}.json")["style"]["attribute"]) for name in names}
        assert len(vectors) == 4  # each sampled its own

    def test_the_index_says_what_the_truths_say(self, work: Run) -> None:
        work("in", "--out", "set")
        with open("set/labels.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        table = pyarrow.parquet.read_table("set/labels.parquet").to_pylist()
        assert [row["file"] for row in rows] == [row["file"] for row in table] == ["one.tif", "two.tif"]
        for row, typed in zip(rows, table, strict=True):
            slip = tuple(float(number) for number in SLIPS[row["file"].removesuffix(".tif")])
            assert (float(row["slip12_x_A"]), float(row["slip12_y_A"])) == pytest.approx(slip)
            assert (typed["slip12_x_A"], typed["slip12_y_A"]) == pytest.approx(slip)
            assert typed["labelled"] is True

    def test_two_runs_share_one_index(self, work: Run) -> None:
        work("in/one.tif", "--out", "set")
        work("in/two.tif", "--out", "set")
        assert len(pyarrow.parquet.read_table("set/labels.parquet")) == 2

    def test_grey_values_of_an_exemplar(self, work: Run) -> None:
        """The first exemplar's attribute is (0.25, 0.5), its greys 100 to 300."""
        work("in/one.tif", "--out", "set", "--exemplar", "first")
        data, content = (read_image(f"{folder}/one.tif").data for folder in ("set", "in"))
        normal = (content - content.min()) / np.ptp(content)
        noise = (data - 100) / 200 - normal - 0.25
        assert noise.mean() == pytest.approx(0, abs=0.04)  # 4096 values: a standard error of 0.008
        assert noise.std() == pytest.approx(0.5, rel=0.06)
        assert truth("set/one.json")["style"]["attribute_of"] == "first"

    def test_like_an_image(self, work: Run) -> None:
        """The encoder gives (m, 2 m), m the mean grey of the normalised image."""
        image = np.zeros((64, 64), np.uint8)
        image[:, :16] = 200
        from PIL import Image

        Image.fromarray(image).save("photo.png")
        refused = work("in/one.tif", "--out", "set", "--like", "photo.png")
        assert refused.code == 1
        assert "give --like-pixel-size" in refused.complaint
        assert not Path("set").exists()
        work("in/one.tif", "--out", "set", "--like", "photo.png", "--like-pixel-size", "0.12")
        style = truth("set/one.json")["style"]
        assert style["attribute"] == pytest.approx([0.25, 0.5], rel=1e-5)  # single precision
        assert (style["attribute_of"], style["black"], style["white"]) == ("photo", 0, 200)

    def test_recording_with_the_style(self, work: Run) -> None:
        ended = work("in/one.tif", "--out", "set", "--dose", "2e4", "--jitter", "0.1", "--drift", "1", "-0.5")
        assert ended.code == 0
        acquisition = truth("set/one.json")["acquisition"]
        assert acquisition["dose_e_per_A2"] == 2e4
        assert acquisition["fast_axis_jitter_rms_px"] == 0.1
        assert acquisition["drift_matrix_specimen_from_scan"] == [[1, 0.01], [0, 0.995]]
        assert list(read_image("set/one.tif").data.shape) == truth("set/one.json")["image"]["shape_rows_cols"]

    def test_an_image_without_truth(self, work: Run) -> None:
        Path("in/two.json").unlink()
        ended = work("in", "--out", "set")
        assert ended.code == 0
        assert "in/two.tif: no truth beside it, so its styled images have no labels" in ended.complaint
        with open("set/labels.csv", newline="") as file:
            assert [row["labelled"] for row in csv.DictReader(file)] == ["True", "False"]

    def test_content_that_has_noise_is_said(self, picostem: Run, work: Run) -> None:
        picostem("simulate", "ReS2", "--size", "64", "--out", "noisy.tif")
        assert "has noise of its own" in work("noisy.tif", "--out", "set").complaint

    def test_content_that_is_resampled_is_said(self, picostem: Run, work: Run) -> None:
        coarse = ("--size", "64", "--pixel-size", "0.2", "--dose", "inf", "--out", "coarse.tif")
        picostem("simulate", "ReS2", *coarse)
        assert "0.2 Å per pixel, styled at 0.12 and brought back" in work("coarse.tif", "--out", "set").complaint
        assert read_image("set/coarse.tif").pixel_size == pytest.approx((0.2, 0.2), rel=1e-4)  # as tif keeps it
        assert truth("set/coarse.json")["style"]["network_pixel_size_A"] == 0.12


class TestResuming:
    def test_what_is_there_is_left(self, work: Run) -> None:
        work("in", "--out", "set", "--jitter", "0.05")
        before, stamps = contents("set"), {path: path.stat().st_mtime_ns for path in Path("set").glob("*.tif")}
        ended = work("in", "--out", "set", "--jitter", "0.05")
        assert "0 made, 2 were there" in ended.out
        assert contents("set") == before
        assert {path: path.stat().st_mtime_ns for path in stamps} == stamps

    def test_an_interrupted_set_becomes_the_same(self, work: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        work("in", "--out", "whole", "--count", "3")
        original = write_simulation
        done: list[str] = []

        def interrupted(folder: Path, name: str, *rest: Any) -> Any:
            if len(done) == 4:
                raise KeyboardInterrupt
            done.append(name)
            return original(folder, name, *rest)

        monkeypatch.setattr(batch, "write_simulation", interrupted)
        assert work("in", "--out", "parts", "--count", "3").code == 130
        monkeypatch.setattr(batch, "write_simulation", original)
        Path(f"parts/{done[1]}.json").unlink()  # as if it had been stopped between image and truth
        ended = work("in", "--out", "parts", "--count", "3")
        assert "3 made, 3 were there" in ended.out
        whole, parts = contents("whole"), contents("parts")
        assert whole.keys() == parts.keys()
        # Of parquet files the same rows are asked for, of all others the same bytes.
        assert all(whole[name] == parts[name] for name in whole if name != "labels.parquet")
        tables = [pyarrow.parquet.read_table(f"{name}/labels.parquet") for name in ("whole", "parts")]
        assert tables[0].equals(tables[1])

    def test_other_settings_need_overwrite(self, work: Run) -> None:
        work("in", "--out", "set", "--seed", "1")
        before = contents("set")
        ended = work("in", "--out", "set", "--seed", "2")
        assert ended.code == 2
        assert "--overwrite to replace it" in ended.complaint
        assert contents("set") == before
        assert "2 made" in work("in", "--out", "set", "--seed", "2", "--overwrite").out
        assert contents("set")["one.tif"] != before["one.tif"]

    def test_an_image_is_the_same_whatever_else_is_made(self, work: Run) -> None:
        work("in", "--out", "both")
        work("in/two.tif", "--out", "alone")
        assert contents("both")["two.tif"] == contents("alone")["two.tif"]


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (("nothing.tif",), 1, "nothing.tif: no such file or folder"),
            (("style",), 1, "a folder without tif images"),
            (("in", "--exemplar", "third"), 2, "no exemplar 'third'; it has: first, second"),
            (("in", "--exemplar", "first", "--prior", "0.5"), 2, "give one of them"),
            (("in", "--prior", "1.5"), 2, "--prior is 1.5"),
            (("in", "--count", "0"), 2, "count is 0"),
            (("in", "in/one.tif"), 2, "would both become one"),
            (("in", "--like", "nothing.png"), 1, "nothing.png"),
            (("in", "--like-pixel-size", "1"), 2, "give --like, too"),
            (("in", "--read-noise", "0.2"), 2, "read noise is in counts"),
            (("in", "--dose", "-1"), 2, "dose"),
            (("in/one.tif", "--pixel-size", "-1"), 1, "must be positive"),
        ],
    )
    def test_one_clear_line_and_no_files(self, work: Run, arguments: tuple[str, ...], code: int, message: str) -> None:
        ended = work(*arguments, "--out", "set")
        assert ended.code == code
        assert message in ended.complaint
        assert not Path("set").exists()

    def test_sources_are_not_replaced(self, work: Run) -> None:
        before = contents("in")
        ended = work("in", "--out", "in")
        assert ended.code == 2
        assert "would be replaced" in ended.complaint
        assert contents("in") == before

    def test_a_bad_input_does_not_stop_the_others(self, work: Run) -> None:
        Path("in/one.json").write_text("{")
        Path("in/three.tif").write_bytes(b"II*\0")
        ended = work("in", "--out", "set")
        assert ended.code == 1
        assert ["in/one.json" in line or "in/three.tif" in line for line in ended.err.splitlines()] == [True, True]
        assert set(contents("set")) == {"two.tif", "two.json", "labels.csv", "labels.parquet"}

    def test_unknown_and_damaged_styles(self, picostem: Run, work: Run) -> None:
        unknown = picostem("style", "transfer", "in", "--weights", "nostyle", "--out", "set")
        assert (unknown.code, "no style 'nostyle'" in unknown.complaint) == (2, True)
        Path("style/generator.onnx").write_bytes(b"\x80\x04pickle")
        damaged = work("in", "--out", "set")
        assert (damaged.code, "generator.onnx: no ONNX file" in damaged.complaint) == (1, True)
        assert not Path("set").exists()
