"""`picostem style score`: what it prints and writes, what it says of bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from picostem.style.metrics import COMPARES
from tests.cli.conftest import Run


def write(path: Path, seed: int, noise: float = 0.1, pixel_size: float | None = 0.12) -> Path:
    """A square crystal with noise as a tif file, calibrated or not."""
    y, x = np.mgrid[:256, :256] * 0.12
    clean = np.cos(2 * np.pi * x / 3) * np.cos(2 * np.pi * y / 3)
    data: NDArray[np.float32] = clean + noise * np.random.default_rng(seed).standard_normal(x.shape)
    data = data.astype(np.float32)
    if pixel_size is None:
        tifffile.imwrite(path, data)
    else:
        per_nm = (10 / pixel_size, 10 / pixel_size)
        tifffile.imwrite(path, data, imagej=True, resolution=per_nm, metadata={"unit": "nm", "axes": "YX"})
    return path


def test_measures_are_printed_with_their_floors(picostem: Run, tmp_path: Path) -> None:
    ended = picostem("style", "score", write(tmp_path / "a.tif", 1), write(tmp_path / "b.tif", 2))
    assert ended.code == 0
    lines = {line.split()[0]: line.split()[1:3] for line in ended.out.splitlines()[2:]}
    assert list(lines) == list(COMPARES)
    assert float(lines["d_kl"][0]) < 0.1
    assert lines["psnr"][1] == "–"
    assert "structure" not in ended.out


def test_document_on_standard_output_is_all_there_is(picostem: Run, tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.tif", 1, 0.5), write(tmp_path / "b.tif", 2)
    document = json.loads(picostem("style", "score", a, b, "--json", "-").out)
    assert set(COMPARES) <= set(document)
    assert document["schema"] == "picostem.style_score/1"
    assert (document["image"], document["reference"]) == ("a.tif", "b.tif")
    assert document["structure_kept"] is None
    assert document["noise_rms"]["image"] > 2 * document["noise_rms"]["reference"]
    same = json.loads(picostem("style", "score", b, b, "--json", "-").out)
    assert same["d_kl"] == same["delta_ra"] == same["spectrum"] == 0
    assert same["psnr"] is None


def test_pixel_sizes_of_both_images(picostem: Run, tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.tif", 1, pixel_size=None), write(tmp_path / "b.tif", 2, pixel_size=None)
    complaint = picostem("style", "score", a, b).complaint
    assert "--pixel-size" in complaint
    once = json.loads(picostem("style", "score", a, b, "--pixel-size", "0.1", "--json", "-").out)
    assert once["pixel_size_A"] == 0.1
    twice = picostem("style", "score", a, b, "--pixel-size", "0.1", "--pixel-size", "0.15", "--json", "-")
    document = json.loads(twice.out)
    assert document["pixel_size_A"] == 0.15
    assert document["psnr"] is None
    assert document["shape_rows_cols"] == [170, 170]  # 256 × 0.1 Å at 0.15 Å


def test_a_pixel_size_given_once_is_for_the_file_that_does_not_say(picostem: Run, tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.tif", 1), write(tmp_path / "b.tif", 2, pixel_size=None)
    document = json.loads(picostem("style", "score", a, b, "--pixel-size", "0.18", "--json", "-").out)
    assert document["pixel_size_A"] == 0.18
    assert document["shape_rows_cols"] == [170, 170]  # 256 × 0.12 Å at 0.18 Å


def test_figure_is_written(picostem: Run, tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.tif", 1), write(tmp_path / "b.tif", 2)
    out = tmp_path / "figure.png"
    assert picostem("style", "score", a, b, "--out", out).code == 0
    with Image.open(out) as figure:
        assert figure.width > figure.height > 500
        greys = np.asarray(figure.convert("L"))
    assert 0.02 < (greys < 128).mean() < 0.6  # neither blank nor black


def test_slip_of_a_labelled_image_is_compared_with_its_label(picostem: Run, image_file: Path) -> None:
    ended = picostem("style", "score", image_file, image_file, "--json", "score.json")
    kept = json.loads(Path("score.json").read_text("utf-8"))["structure_kept"]
    # 0.03 Å: some of the bound of an image of 30 Å at this dose
    assert kept["error_A"] < 0.03
    assert 0 < kept["bound_A"] < 0.02
    assert "structure: slip" in ended.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--pixel-size", "0.1", "--pixel-size", "0.1", "--pixel-size", "0.1"), "3 times"),
        (("--pixel-size", "-1", "--pixel-size", "0.1"), "positive"),
        (("--pixel-size", "0.1"), "both files say"),
        (("--out", "figure.pdf"), "png"),
        (("--json", "nowhere/score.json"), "nowhere"),
    ],
)
def test_wrong_requests_are_explained(picostem: Run, tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    a = write(tmp_path / "a.tif", 1)
    ended = picostem("style", "score", a, a, *arguments)
    assert ended.code
    assert words in ended.complaint


def test_missing_image_is_named(picostem: Run, tmp_path: Path) -> None:
    ended = picostem("style", "score", write(tmp_path / "a.tif", 1), tmp_path / "none.tif")
    assert ended.code == 1
    assert "none.tif" in ended.complaint
