"""`picostem style select` and `picostem style augment`: what they write, and how they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from PIL import Image as Png

from picostem.files import read_image
from tests.cli.conftest import Run

FEW = ("--material", "ReS2", "--count", "12", "--keep", "4", "--sampling", "0.15")


class TestSelect:
    def test_kept_simulations_figure_and_document_are_written(self, picostem: Run, image_file: Path) -> None:
        ended = picostem("style", "select", image_file, *FEW, "--out", "out")
        assert ended.code == 0
        document = json.loads(Path("out/selection.json").read_text("utf-8"))
        kept = [one["name"] for one in document["simulations"] if one["kept"]]
        assert 1 <= len(kept) <= 4
        files = {f"{name}.{kind}" for name in kept for kind in ("tif", "json")} | {"embedding.png"}
        assert set(document["files"]) == files
        assert {path.name for path in Path("out").iterdir()} == files | {"selection.json"}
        assert len(document["simulations"]) == 12
        assert document["experiments"][0]["name"] == "bilayer"
        # Fewer than 37 pictures: t-SNE's perplexity is lowered, and said so.
        assert document["perplexity"] == 4
        assert "note: perplexity 4 instead of 12" in ended.err
        assert f"out: {len(kept)} of 12 simulations" in ended.out

    def test_kept_images_are_calibrated_and_labelled(self, picostem: Run, image_file: Path) -> None:
        picostem("style", "select", image_file, *FEW, "--out", "out")
        document = json.loads(Path("out/selection.json").read_text("utf-8"))
        one = next(each for each in document["simulations"] if each["kept"])
        image, truth = read_image(f"out/{one['name']}.tif"), json.loads(Path(f"out/{one['name']}.json").read_text())
        assert image.pixel_size == pytest.approx((0.15, 0.15), rel=1e-6)  # the tif's rational number
        assert image.data.shape == (204, 204)  # 256 × 0.12 Å, in whole pixels of 0.15 Å
        assert truth["interfaces"] == one["interfaces"]
        with Png.open("out/embedding.png") as figure:
            assert figure.size[0] > figure.size[1] > 500
            assert len(figure.getcolors(1 << 20) or []) > 20  # not an empty sheet

    def test_another_run_replaces_the_first_and_leaves_other_files(self, picostem: Run, image_file: Path) -> None:
        picostem("style", "select", image_file, *FEW, "--out", "out")
        Path("out/notes.txt").write_text("mine")
        assert picostem("style", "select", image_file, *FEW, "--keep", "1", "--out", "out").code == 0
        document = json.loads(Path("out/selection.json").read_text("utf-8"))
        assert {path.name for path in Path("out").iterdir()} == {*document["files"], "selection.json", "notes.txt"}
        assert len(document["files"]) == 3

    def test_equal_seeds_write_equal_documents(self, picostem: Run, image_file: Path) -> None:
        for folder in ("one", "two"):
            picostem("style", "select", image_file, *FEW, "--out", folder)
        assert Path("one/selection.json").read_bytes() == Path("two/selection.json").read_bytes()

    def test_nothing_half_written(self, picostem: Run, image_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: Any) -> NoReturn:
            raise KeyboardInterrupt

        monkeypatch.setattr("picostem.report.style_select.draw_selection", fail)
        assert picostem("style", "select", image_file, *FEW, "--out", "out").code == 130
        assert list(Path().iterdir()) == []

    @pytest.mark.parametrize(
        ("options", "code", "said"),
        [
            (("--pixel-size", "0.1", "--pixel-size", "0.2"), 2, "expected one, or one for each of 1 images, got 2"),
            (("--features", "vgg19"), 2, "builtin, or vgg16:FILE"),
            (("--features", "vgg16:none.pth"), 1, "no file none.pth"),
            (("--count", "3"), 2, "take more simulations"),
            (("--cut", "90"), 2, "too small for patches of 90"),
            (("--material", "unobtainium"), 2, "unknown material"),
        ],
    )
    def test_refusals_take_one_line(
        self, picostem: Run, image_file: Path, options: tuple[str, ...], code: int, said: str
    ) -> None:
        if "vgg16" in options[1]:
            pytest.importorskip("torch")
        ended = picostem("style", "select", image_file, *FEW, *options, "--out", "out")
        assert ended.code == code
        assert said in ended.complaint
        assert not Path("out").exists()

    def test_an_image_without_calibration_is_refused(self, picostem: Run) -> None:
        np.save("bare.npy", np.random.default_rng(0).random((128, 128)))
        ended = picostem("style", "select", "bare.npy", *FEW, "--out", "out")
        assert ended.code == 1
        assert "--pixel-size" in ended.complaint


class TestAugment:
    def test_patches_say_their_pixel_size(self, picostem: Run, image_file: Path) -> None:
        ended = picostem("style", "augment", image_file, "--count", "5", "--patch", "64", "--out", "out")
        assert ended.code == 0
        document = json.loads(Path("out/patches.json").read_text("utf-8"))
        assert len(document["patches"]) == 5
        assert {path.name for path in Path("out").iterdir()} == {*document["files"], "patches.json"}
        for one in document["patches"]:
            image = read_image(f"out/{one['file']}")
            assert image.data.shape == (64, 64)
            assert image.pixel_size is not None
            assert image.pixel_size[0] == pytest.approx(one["pixel_size_A"], rel=1e-6)  # the tif's rational number
            assert 0.08 * 462 / 537 <= one["pixel_size_A"] <= 0.08 * 612 / 537
            assert one["source"] == "bilayer"

    def test_a_longer_run_is_replaced_by_a_shorter_one(self, picostem: Run, image_file: Path) -> None:
        for count in (5, 2):
            picostem("style", "augment", image_file, "--count", str(count), "--patch", "64", "--out", "out")
        assert sorted(p.name for p in Path("out").glob("*.tif")) == ["patch_0000.tif", "patch_0001.tif"]

    @pytest.mark.parametrize(
        ("options", "code", "said"),
        [
            (("--patch", "1000"), 1, "do not fit"),
            (("--crop", "2", "1"), 2, "shortest to a longest"),
            (("--sampling", "0"), 2, "positive"),
        ],
    )
    def test_refusals_take_one_line(
        self, picostem: Run, image_file: Path, options: tuple[str, ...], code: int, said: str
    ) -> None:
        ended = picostem("style", "augment", image_file, *options, "--out", "out")
        assert ended.code == code
        assert said in ended.complaint
        assert not Path("out").exists()
