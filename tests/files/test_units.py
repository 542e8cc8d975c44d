"""Units as files write them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from picostem.files.units import LARGEST_PIXEL, SMALLEST_PIXEL, Dimension, dimension, pixel_size

LENGTHS = {
    **dict.fromkeys(("nm", "n_m", "[n_m]", " nm ", "nanometer", "nanometers"), 10.0),
    **dict.fromkeys(("Å", "\u212b", "A", "Angstrom", "angstrom"), 1.0),
    **dict.fromkeys(("pm", "picometer"), 0.01),
    **dict.fromkeys(("\u00b5m", "\u03bcm", "um", "micron", "microns", "\\u00B5m", "\\u00b5m"), 1e4),
    **dict.fromkeys(("m", "meter", "meters"), 1e10),
    "cm": 1e8,
    "inch": 2.54e8,
}
"""Å in one of each."""

OTHERS: dict[Dimension, tuple[object, ...]] = {
    "reciprocal": ("1/nm", "1 / nm", "nm^-1", "nm-1", "nm⁻¹", "nm**-1", "1/Å", "1/A", "A^-1", "1/m"),
    "angle": ("mrad", "rad", "deg", "°"),
    "energy": ("eV", "keV"),
    "time": ("s", "ms"),
    "none": ("", None, "px", "pixel", "pixels", "<undefined>", "counts", "a.u.", "e-", 3, b"nm", "nm" * 40),
}


@pytest.mark.parametrize(("units", "angstroms"), LENGTHS.items())
def test_lengths_become_angstroms(units: str, angstroms: float) -> None:
    """Known answers of SI and of the ångström (1e-10 m)."""
    assert dimension(units) == "length"
    assert pixel_size(0.2 / angstroms, units) == pytest.approx(0.2, rel=1e-12)  # a few roundings of float64


@pytest.mark.parametrize(("expected", "units"), [(name, one) for name, many in OTHERS.items() for one in many])
def test_other_units_do_not_calibrate(expected: Dimension, units: object) -> None:
    assert dimension(units) == expected
    assert pixel_size(0.02, units) is None


@pytest.mark.parametrize("units", LENGTHS)
@pytest.mark.parametrize("scale", [1, 1.0, np.float64(1), 0, -0.02, float("nan"), float("inf"), None, "0.02"])
def test_scales_that_are_none(scale: object, units: str) -> None:
    assert pixel_size(scale, units) is None


@pytest.mark.parametrize("kind", [float, np.float32, np.float64])
def test_numbers_of_any_type(kind: type) -> None:
    assert pixel_size(kind(0.25), "nm") == 2.5


def test_resolutions_of_printers_and_slipped_units_do_not_calibrate() -> None:
    assert pixel_size(1 / 300, "inch") is None
    assert pixel_size(1 / 9600, "inch") is None
    assert pixel_size(2.5e7, "m") is None  # 1/m written as m
    assert pixel_size(1.2e-11, "nm") is None  # m written as nm


@given(angstroms=st.floats(SMALLEST_PIXEL * 1.001, LARGEST_PIXEL * 0.999), units=st.sampled_from(sorted(LENGTHS)))
def test_the_unit_does_not_matter(angstroms: float, units: str) -> None:
    scale = angstroms / LENGTHS[units]
    assume(scale != 1)
    assert pixel_size(scale, units) == pytest.approx(angstroms, rel=1e-12)


@given(st.text(max_size=40) | st.from_regex(r"(1/)?[A-Za-zÅμ°]{1,4}(\^-?[0-9])?", fullmatch=True))
@example("degC")
@example("lambda")
@example("k")
@example("dB")
def test_no_text_breaks_it(units: str) -> None:
    size = pixel_size(0.02, units)
    assert size is None or (dimension(units) == "length" and SMALLEST_PIXEL <= size <= LARGEST_PIXEL)


@pytest.mark.parametrize("units", ["9**9**9**9", "m**9**9**9", "m^99999999", "__import__('os')", "nm; s"])
def test_expressions_are_not_evaluated(units: str) -> None:
    assert dimension(units) == "none"
