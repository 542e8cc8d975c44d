"""The microscope in laboratory units, and what it refuses."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from picostem.errors import UsageError
from picostem.simulate import Microscope

LAB = Microscope.from_lab_units(
    voltage_kV=300,
    semiangle_mrad=21.3,
    detector_mrad=(39, 97),
    defocus_A=-18,
    C12_A=14,
    phi12_deg=30,
    C21_A=100,
    phi21_deg=60,
    C30_A=1e4,
    source_fwhm_A=0.6,
)


def test_laboratory_units_are_converted_once() -> None:
    direct = Microscope(300e3, 0.0213, 0.039, 0.097, -18, 14, math.pi / 6, 100, math.pi / 3, 1e4, 0.6)
    for name, value in vars(direct).items():
        assert getattr(LAB, name) == pytest.approx(value, rel=1e-12), name


def test_derived_numbers() -> None:
    assert LAB.wavelength == pytest.approx(0.01969, abs=5e-6)  # published to four digits
    assert LAB.cutoff == pytest.approx(2 * 0.0213 / LAB.wavelength)
    assert LAB.source_sigma == pytest.approx(0.6 / 2.3548, rel=1e-4)  # 2 sqrt(2 ln 2) to five digits


def test_aberrations_in_components() -> None:
    a = LAB.aberrations_at(6.0)
    assert math.isclose(a.C10, 18 + 6)
    # cos 60° = 1/2, sin 60° = sqrt(3)/2, for the astigmatism's doubled angle and the coma's single one.
    assert (a.C12a, a.C12b) == pytest.approx((7, 7 * math.sqrt(3)))
    assert (a.C21a, a.C21b) == pytest.approx((50, 50 * math.sqrt(3)))
    assert a.C30 == 1e4


@pytest.mark.parametrize("astigmatism_angle", [0.0, 0.4])
def test_astigmatism_repeats_after_half_a_turn(astigmatism_angle: float) -> None:
    one = replace(LAB, phi12=astigmatism_angle).aberrations_at(0)
    other = replace(LAB, phi12=astigmatism_angle + math.pi).aberrations_at(0)
    np.testing.assert_allclose((one.C12a, one.C12b), (other.C12a, other.C12b), atol=1e-12)  # rounding of cos


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"voltage_eV": 0.0}, "voltage"),
        ({"voltage_eV": math.nan}, "finite"),
        ({"semiangle": 0.0}, "semiangle"),
        ({"detector_inner": 0.02}, "dark field"),
        ({"detector_outer": 0.03}, "dark field"),
        ({"detector_outer": 2.0}, "dark field"),
        ({"source_fwhm": -0.1}, "source"),
        ({"C21": math.inf}, "finite"),
    ],
)
def test_impossible_microscopes_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(LAB, **change)
