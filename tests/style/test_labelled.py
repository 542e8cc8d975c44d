from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picostem.errors import DataError, UsageError
from picostem.image import Image
from picostem.simulate import AcquisitionSettings, Microscope, simulate_periodic, simulate_stack
from picostem.structure import Stack, load_monolayer
from picostem.style import labelled, pool
from picostem.style.labelled import is_labelled, label_row, labelled_set, restyle
from picostem.style.recording import is_noise_free, record
from picostem.style.transfer import Attribute, Style
from tests.style.made_style import write_style

MICROSCOPE = Microscope.from_lab_units(voltage_kV=300, semiangle_mrad=21.3, detector_mrad=(39, 200), source_fwhm_A=0.6)
CLEAN = AcquisitionSettings(dose=math.inf)
PLAIN = Attribute("plain", (0.0, 0.0))
SLIP, TURN = (1.2, -0.7), 0.3


@pytest.fixture
def style(tmp_path: Path) -> Style:
    return Style.load(write_style(tmp_path / "style"), threads=1)


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def simulated(
    settings: AcquisitionSettings = CLEAN, shape: tuple[int, int] = (90, 110)
) -> tuple[Image, dict[str, Any]]:
    stack = Stack.bilayer(load_monolayer("ReS2"), SLIP)
    image, truth = simulate_stack(
        stack, MICROSCOPE, settings, shape, 0.12, rng(), rotation=TURN, origin=(0.4, 0.9), name="one"
    )
    return image, json.loads(json.dumps(truth, allow_nan=False))


class TestRecord:
    def test_a_dose_counts_electrons(self) -> None:
        image, truth = simulated()
        dose = 1e6
        recorded, told = record(image, truth, AcquisitionSettings(dose=dose), rng())
        expected = image.data * dose * 0.12**2
        # Poisson: the deviations in units of their own are standard normal; 9,900 of them.
        deviations = (recorded.data - expected) / np.sqrt(expected)
        assert deviations.std() == pytest.approx(1, abs=0.03)
        assert abs(deviations.mean()) < 0.04
        assert told["acquisition"]["dose_e_per_A2"] == dose
        assert told["acquisition"]["mean_detected_fraction"] == truth["acquisition"]["mean_detected_fraction"]

    def test_gain_and_offset_of_the_source_are_undone(self) -> None:
        plain, truth = simulated()
        scaled, scaled_truth = simulated(replace(CLEAN, gain=-50.0, offset=7.0))
        np.testing.assert_allclose(scaled.data, 7 - 50 * plain.data, rtol=1e-5)  # single precision
        first, _ = record(plain, truth, AcquisitionSettings(dose=1e3), rng())
        second, _ = record(scaled, scaled_truth, AcquisitionSettings(dose=1e3), rng())
        assert np.mean(first.data != second.data) < 0.01  # rounding may move a count by one

    def test_drift_agrees_with_a_simulation_of_it(self) -> None:
        """The same drift, here afterwards and there from a larger field: image and apparent lattice."""
        drift = ((1.0, 0.02), (0.0, 0.97))
        settings = replace(CLEAN, drift=drift)
        image, truth = simulated(shape=(150, 150))
        recorded, told = record(image, truth, settings, rng())
        shape = recorded.data.shape
        assert 120 < shape[0] < 150
        whole, whole_truth = simulated(settings, shape)
        # The spline on pixels of 0.12 Å errs by 0.2 % of the contrast.
        np.testing.assert_allclose(recorded.data, whole.data, atol=0.005 * np.ptp(whole.data))
        for key in ("rows_image_A", "rows_apparent_A", "origin_col_row"):
            np.testing.assert_allclose(told["layer1"][key], whole_truth["layer1"][key], atol=1e-9)  # rounding
        for key in ("D_cart_A", "D_apparent_image_A"):
            np.testing.assert_allclose(told["slip"][key], whole_truth["slip"][key], atol=1e-9)  # rounding
        for one, other in zip(told["layers"], whole_truth["layers"], strict=True):
            np.testing.assert_allclose(one["rows_apparent_A"], other["rows_apparent_A"], atol=1e-9)  # rounding
        assert told["image"]["shape_rows_cols"] == list(shape)

    def test_jitter_moves_pixels_within_lines(self) -> None:
        image, truth = simulated()
        recorded, told = record(image, truth, replace(CLEAN, jitter=0.3, line_offset=0.2), rng())
        assert is_noise_free(told)
        row, column = ((n - m) / 2 for n, m in zip(image.data.shape, recorded.data.shape, strict=True))
        assert 0 < column < 12 and 0 < row < 12
        assert told["acquisition"]["fast_axis_jitter_rms_px"] == 0.3

    def test_what_cannot_be_recorded(self) -> None:
        image, truth = simulated()
        noisy = simulated(AcquisitionSettings(dose=1e4))
        drifting = simulated(replace(CLEAN, drift=((1.0, 0.01), (0.0, 1.0))))
        for one, told, message in (
            (image, None, "with its truth beside it"),
            (*noisy, "noise-free simulation"),
            (*drifting, "with drift already"),
        ):
            with pytest.raises(DataError, match=message):
                record(one, told, AcquisitionSettings(dose=1e3), rng())
        with pytest.raises(DataError, match="too few for this scan"):
            record(image, truth, replace(CLEAN, drift=((3.0, 0.0), (0.0, 3.0))), rng())


class TestRestyle:
    def test_labels_are_carried_over(self, style: Style) -> None:
        image, truth = simulated()
        attribute = Attribute("x", (0.5, 0.1), 10.0, 60.0)
        result, told = restyle(style, image, truth, attribute, rng(), origin={"seed": 3, "source": "one.tif"})
        assert {key: told[key] for key in truth if key != "image"} == {
            key: value for key, value in truth.items() if key != "image"
        }
        assert told["style"] | {"note": ""} == {
            "name": "made",
            "weights": style.fingerprint,
            "attribute_of": "x",
            "attribute": [0.5, 0.1],
            "black": 10.0,
            "white": 60.0,
            "network_pixel_size_A": 0.12,
            "note": "",
            "seed": 3,
            "source": "one.tif",
        }
        assert result.pixel_size == image.pixel_size
        content = (image.data - image.data.min()) / np.ptp(image.data)
        noise = (result.data - 10) / 50 - content - 0.5
        assert noise.std() == pytest.approx(0.1, rel=0.03)  # 9,900 values: 0.7 %

    def test_recording_comes_before_the_style(self, style: Style) -> None:
        image, truth = simulated()
        result, told = restyle(style, image, truth, PLAIN, rng(), recording=AcquisitionSettings(dose=100.0))
        # Few electrons: counts are whole numbers, scaled to 0 to 1 and left so by a style that does nothing.
        steps = np.unique(result.data)
        assert 2 < len(steps) < 12
        np.testing.assert_allclose(np.diff(steps), np.diff(steps)[0], rtol=1e-4)  # single precision
        assert told["acquisition"]["dose_e_per_A2"] == 100

    def test_an_image_without_labels(self, style: Style) -> None:
        image, _ = simulated()
        _, told = restyle(style, image, None, PLAIN, rng())
        assert set(told) == {"name", "image", "style"}
        assert not is_labelled(told)
        assert label_row(told)["labelled"] is False

    def test_a_truth_about_another_image(self, style: Style) -> None:
        _, truth = simulated()
        other, _ = simulated(shape=(64, 64))
        with pytest.raises(DataError, match=r"its truth is about \[90, 110\] pixels"):
            restyle(style, other, truth, PLAIN, rng())

    def test_oblong_pixels(self, style: Style) -> None:
        image, truth = simulated()
        oblong = image.with_pixel_size((0.12, 0.18), "user")
        with pytest.raises(DataError, match="oblong"):
            restyle(style, oblong, truth, PLAIN, rng())
        result, told = restyle(style, oblong, None, PLAIN, rng())
        assert result.data.shape == tuple(told["image"]["shape_rows_cols"]) == (90, 165)


def test_label_row() -> None:
    _, truth = simulated()
    row = label_row(truth | {"style": {"name": "made", "attribute_of": "x", "seed": 1, "source": "a.tif"}})
    assert (row["slip12_x_A"], row["slip12_y_A"]) == pytest.approx(SLIP)
    a, b = load_monolayer("ReS2").cell
    np.testing.assert_allclose(row["slip12_a"] * a + row["slip12_b"] * b, SLIP, atol=1e-9)  # rounding
    assert (row["labelled"], row["material"], row["twist12_deg"]) == (True, "ReS2", 0)
    assert row["rotation_deg"] == pytest.approx(np.degrees(TURN))


class TestLabelledSet:
    def test_images_belong_to_their_truths(self, style: Style) -> None:
        made = list(labelled_set("ReS2", style, 3, seed=2, extent=10.0, attribute=PLAIN, microscope=MICROSCOPE))
        assert len({tuple(truth["slip"]["D_cart_A"]) for _, truth in made}) == 3
        for image, truth in made:
            first = truth["layer1"]
            again = simulate_periodic(
                Stack.bilayer(load_monolayer("ReS2"), tuple(truth["slip"]["D_cart_A"])),
                MICROSCOPE,
                image.data.shape,
                0.12,
                rotation=np.radians(first["rotation_deg"]),
                mirrored=first["mirrored"],
                origin=tuple(first["origin_image_A"]),
                together=True,
            )
            expected = (again - again.min()) / np.ptp(again)
            np.testing.assert_allclose(image.data, expected, atol=1e-4)  # single precision
            assert truth["image"]["shape_rows_cols"] == list(image.data.shape)
            json.dumps(truth, allow_nan=False)

    def test_a_set_is_the_start_of_a_larger_one(self, style: Style, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(labelled, "POOL", 2)
        few = list(labelled_set("MoS2", style, 3, extent=6.0))
        more = list(labelled_set("MoS2", style, 5, extent=6.0))
        for (image, truth), (other, other_truth) in zip(few, more, strict=False):
            np.testing.assert_array_equal(image.data, other.data)
            assert truth == other_truth
        assert len({image.data.tobytes() for image, _ in more}) == 5
        assert len({truth["style"]["attribute"][0] for _, truth in more}) == 5

    def test_no_more_is_simulated_than_is_taken(self, style: Style, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[int] = []
        original = pool.simulate_pool

        def watched(material: str, count: int, **options: Any) -> Any:
            asked.append(count)
            return original(material, count, **options)

        monkeypatch.setattr(labelled, "simulate_pool", watched)
        next(labelled_set("MoS2", style, 10**6, extent=5.0))
        assert asked == [labelled.POOL]

    def test_a_recording_with_the_style(self, style: Style) -> None:
        recording = AcquisitionSettings(dose=1e4, jitter=0.1)
        ((image, truth),) = labelled_set("MoS2", style, 1, extent=8.0, recording=recording)
        assert truth["acquisition"]["fast_axis_jitter_rms_px"] == 0.1
        assert truth["image"]["shape_rows_cols"] == list(image.data.shape)

    def test_a_count_below_one(self, style: Style) -> None:
        with pytest.raises(UsageError, match="count is 0"):
            next(labelled_set("MoS2", style, 0))
