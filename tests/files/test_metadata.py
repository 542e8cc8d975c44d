"""Voltage and angles, in every program's words."""

from __future__ import annotations

from typing import Any

import pytest

from picostem.files.metadata import acquisition_from
from picostem.image import Acquisition

MICROSCOPE = {"Microscope Info": {"Voltage": 60_000.0}}
EELS = {"EELS": {"Experimental Conditions": {"Convergence semi-angle (mrad)": 31.5}}}


def _dm(tags: dict[str, Any]) -> dict[str, Any]:
    return {"ImageList": {"TagGroup0": {"ImageTags": tags}}}


@pytest.mark.parametrize(
    ("metadata", "original"),
    [
        ({"Acquisition_instrument": {"TEM": {"beam_energy": 60.0, "convergence_angle": 31.5}}}, {}),
        ({}, {"Optics": {"AccelerationVoltage": "60000", "BeamConvergence": "0.0315"}}),
        ({}, _dm(MICROSCOPE | EELS)),
        ({}, _dm({"source": {"Tags at creation": MICROSCOPE}} | EELS)),
        ({}, {"microscope": {"high tension": 6e4, "convergence angle": 0.0315}}),
        ({}, {"experiment": {"acceleration_voltage": 6e4, "convergence_angle": 31.5}}),
    ],
)
def test_each_program_s_words(metadata: dict[str, Any], original: dict[str, Any]) -> None:
    found = acquisition_from(metadata, original)
    assert found.voltage_eV == pytest.approx(6e4)
    assert found.semiangle == pytest.approx(0.0315)


def test_tia_gives_kilovolts() -> None:
    original = {"ObjectInfo": {"ExperimentalDescription": {"High tension_kV": 200}}}
    assert acquisition_from({}, original) == Acquisition(voltage_eV=2e5)


def test_detector_of_velox() -> None:
    found = acquisition_from({}, {"DetectorMetadata": {"CollectionAngleRange": {"begin": "0.065", "end": "0.2"}}})
    assert (found.detector_inner, found.detector_outer) == (0.065, 0.2)


@pytest.mark.parametrize(("begin", "end"), [("0", "0"), ("0.2", "0.1"), ("0.065", ""), ("65", "200"), ("-1", "0.1")])
def test_a_detector_that_was_not_in_place_has_no_angles(begin: str, end: str) -> None:
    original = {"DetectorMetadata": {"CollectionAngleRange": {"begin": begin, "end": end}}}
    assert acquisition_from({}, original) == Acquisition()


@pytest.mark.parametrize("value", [0, -60, "", "[]", [], None, {}, float("nan"), 1e9, "60 kV"])
def test_implausible_voltages_are_dropped(value: object) -> None:
    assert acquisition_from({"Acquisition_instrument": {"TEM": {"beam_energy": value}}}, {}) == Acquisition()


def test_the_next_place_is_asked_when_the_first_is_implausible() -> None:
    metadata = {"Acquisition_instrument": {"TEM": {"beam_energy": 0.0}}}
    assert acquisition_from(metadata, {"Optics": {"AccelerationVoltage": "300000"}}).voltage_eV == 3e5


def test_an_angle_in_the_wrong_unit_is_dropped() -> None:
    assert acquisition_from({}, {"Optics": {"BeamConvergence": "17.9"}}).semiangle is None


def test_nothing_says_nothing() -> None:
    assert acquisition_from({}, {}) == Acquisition()
    assert acquisition_from({"Acquisition_instrument": "none"}, {"Optics": ["AccelerationVoltage"]}) == Acquisition()
