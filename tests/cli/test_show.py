"""`picostem materials`, `picostem info` and `picostem simulate`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from picostem import material_names, read_image
from tests.cli.conftest import Run


def test_materials_lists_all_with_their_sources(picostem: Run) -> None:
    ended = picostem("materials")
    assert ended.code == 0
    assert all(f"{name} " in ended.out for name in material_names())
    assert "a 6.4073 Å, b 6.5147 Å, γ 118.951°, 12 atoms" in ended.out
    assert "C2DB" in ended.out


def test_info_of_a_calibrated_image(picostem: Run, image_file: Path) -> None:
    ended = picostem("info", image_file)
    assert ended.code == 0
    assert "1 data set\n" in ended.out
    assert "256 × 256, 0.12 × 0.12 Å per pixel" in ended.out
    assert "microscope: the file says nothing" in ended.out


def test_info_of_a_movie_says_which_frames_there_are(picostem: Run) -> None:
    np.save("movie.npy", np.arange(3 * 40 * 50).reshape(3, 40, 50))
    ended = picostem("info", "movie.npy")
    assert ended.code == 0
    assert "image series, 3 × 40 × 50, not calibrated" in ended.out
    assert "--frame" in ended.out
    assert "mean 4999.5, 4000 to 5999" in picostem("info", "movie.npy", "--frame", "2").out


def test_info_of_nothing(picostem: Run) -> None:
    ended = picostem("info", "nothing.tif")
    assert ended.code == 1
    assert "no such file" in ended.complaint


def test_simulated_image_has_the_truth_asked_for(picostem: Run) -> None:
    ended = picostem(
        *("simulate", "ReS2", "--slip", "1.2", "-0.7", "--size", "96x128", "--pixel-size", "0.15", "--rotation", "30"),
        *("--mirrored", "--defocus", "-12", "--astigmatism", "9", "40", "--coma", "100", "20", "--dose", "1e4"),
        *("--read-noise", "0.2", "--jitter", "0.05", "--vacancies", "0.1", "--seed", "3", "--out", "sim/one.tif"),
    )
    assert ended.code == 0
    image, truth = read_image("sim/one.tif"), json.loads(Path("sim/one.json").read_text("utf-8"))
    assert image.data.shape == (96, 128)
    assert image.pixel_size == pytest.approx((0.15, 0.15), rel=1e-4)  # tif keeps it as a fraction of 32-bit numbers
    assert truth["slip"]["D_cart_A"] == [1.2, -0.7]
    assert truth["layer1"]["rotation_deg"] == pytest.approx(30)
    assert truth["layer1"]["mirrored"] is True
    assert truth["microscope"]["defocus_A"] == -12
    assert truth["microscope"]["aberrations"]["phi12_deg_image"] == pytest.approx(40)
    assert truth["acquisition"]["dose_e_per_A2"] == 1e4
    assert truth["acquisition"]["read_noise_counts"] == 0.2
    missing = truth["layers"][0]["vacancy_fraction_actual_in_image"]
    assert 0 < missing["metal"] + missing["chalcogen"] < 0.4  # 10 % of each, of some 100 atoms


def test_an_infinite_dose_simulates_without_noise(picostem: Run) -> None:
    images = []
    for name, seed in (("a", "1"), ("b", "2")):
        ended = picostem("simulate", "ReS2", "--dose", "inf", "--size", "64", "--seed", seed, "--out", f"{name}.tif")
        assert ended.code == 0
        images.append(read_image(f"{name}.tif").data)
    np.testing.assert_array_equal(*images)
    acquisition = json.loads(Path("a.json").read_text("utf-8"))["acquisition"]
    assert acquisition["dose_e_per_A2"] is None
    assert acquisition["noise"].startswith("none")
    assert images[0].mean() == pytest.approx(acquisition["mean_detected_fraction"], rel=1e-5)  # single precision
    assert "Infinity" not in Path("a.json").read_text("utf-8")  # which JSON has not


def test_fractional_slip_and_default_name(picostem: Run) -> None:
    picostem("simulate", "res2", "--slip-frac", "0.5", "0", "--size", "40")
    truth = json.loads(Path("ReS2_simulated.json").read_text("utf-8"))
    assert truth["slip"]["D_cart_A"] == pytest.approx([6.40726 / 2, 0])
    assert truth["image"]["shape_rows_cols"] == [40, 40]


def test_the_seed_decides(picostem: Run) -> None:
    for name, seed in (("a.tif", "1"), ("b.tif", "1"), ("c.tif", "2")):
        picostem("simulate", "MoS2", "--twist", "7", "--size", "40", "--seed", seed, "--out", name)
    a, b, c = (read_image(name).data for name in ("a.tif", "b.tif", "c.tif"))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    assert json.loads(Path("a.json").read_text("utf-8"))["twist_deg"] == pytest.approx(7)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("MoS3",), "did you mean MoS2?"),
        (("ReS2", "--slip", "1", "1", "--slip-frac", "0", "0"), "give one of them"),
        (("ReS2", "--layers", "1", "--slip", "1", "1"), "one layer has neither slip nor twist"),
        (("ReS2", "--layers", "0"), "'--layers'"),
        (("ReS2", "--slip", "1"), "--slip"),
        (("ReS2", "--size", "0"), "--size is '0'"),
        (("ReS2", "--size", "5x5x5"), "--size is '5x5x5'"),
        (("ReS2", "--size", "99999"), "--size is '99999'"),
        (("ReS2", "--vacancies", "1.5"), "--vacancies is 1.5"),
        (("ReS2", "--dose", "0"), "dose"),
        (("ReS2", "--detector", "200", "39"), "inner < outer"),
        (("ReS2", "--pixel-size", "nan"), "pixel size"),
        (("ReS2", "--out", "image.jpg"), "expected the name of a tif file"),
        (("ReS2", "--engine", "guess"), "'--engine'"),
    ],
)
def test_bad_simulations(picostem: Run, arguments: tuple[str, ...], expected: str) -> None:
    ended = picostem("simulate", *arguments)
    assert ended.code == 2
    assert expected in ended.complaint
    assert list(Path().iterdir()) == []


def test_simulation_that_cannot_be_written(picostem: Run) -> None:
    Path("file").write_text("")
    ended = picostem("simulate", "ReS2", "--size", "40", "--out", "file/x.tif")
    assert ended.code == 1
    assert "file" in ended.complaint
