"""Wavelength and scattering by single atoms against published numbers, abTEM and slow integrals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import j0

from picostem import physics
from picostem.errors import UsageError

EVERY_ELEMENT_SHELL = ["H", "C", "S", "Ti", "Se", "Mo", "Cs", "Re", "U"]


@pytest.mark.parametrize(
    ("voltage_kV", "wavelength_pm"),
    # Kirkland, Advanced Computing in Electron Microscopy, 2nd ed., and textbooks' tables.
    [(60, 4.866), (80, 4.176), (100, 3.701), (200, 2.508), (300, 1.969), (1000, 0.872)],
)
def test_wavelength_is_the_published_one(voltage_kV: float, wavelength_pm: float) -> None:
    got = physics.electron_wavelength(voltage_kV * physics.KV)
    assert got == pytest.approx(wavelength_pm * physics.PM, abs=0.0006 * physics.PM)  # half a unit of the last digit


def test_interaction_parameter_is_the_published_one() -> None:
    # Kirkland, Advanced Computing in Electron Microscopy, chapter 5: 0.924 mrad/(V Å) at 100 kV, 0.729 at 200 kV.
    assert physics.interaction_parameter(100e3) == pytest.approx(0.924e-3, abs=0.0005e-3)
    assert physics.interaction_parameter(200e3) == pytest.approx(0.729e-3, abs=0.0005e-3)


def test_relativistic_factor_at_the_rest_energy_is_two() -> None:
    assert physics.relativistic_factor(510998.95) == pytest.approx(2, rel=1e-8)  # CODATA 2018, last digit


@pytest.mark.parametrize("voltage", [0.0, -1.0, math.nan, math.inf])
def test_voltage_must_be_positive(voltage: float) -> None:
    with pytest.raises(UsageError, match="must be positive"):
        physics.electron_wavelength(voltage)


def test_units() -> None:
    assert (physics.MRAD, physics.KV, physics.NM, physics.PM) == (1e-3, 1e3, 10, 0.01)
    assert math.cos(60 * physics.DEGREE) == pytest.approx(0.5)
    sigma = 1.7 * physics.SIGMA_PER_FWHM
    assert math.exp(-0.5 * (1.7 / 2 / sigma) ** 2) == pytest.approx(0.5)


@pytest.mark.parametrize("symbol", EVERY_ELEMENT_SHELL)
def test_scattering_factor_is_abtems(symbol: str) -> None:
    parametrizations = pytest.importorskip("abtem.parametrizations")
    q = np.array([0.0, 0.1, 0.5, 1.0, 2.5, 6.0])
    theirs = parametrizations.LobatoParametrization().scattering_factor(symbol)(q**2)
    np.testing.assert_allclose(physics.scattering_factor(symbol, q), theirs, rtol=1e-5)  # theirs is float32 inside


@pytest.mark.parametrize(("symbol", "atomic_number"), [("C", 6), ("S", 16), ("Mo", 42), ("W", 74), ("Re", 75)])
def test_scattering_factor_ends_as_rutherfords(symbol: str, atomic_number: int) -> None:
    # Mott-Bethe, far out: f = Z/(2 pi² a0 q²), a0 = 0.529177 Å.
    q = 30.0
    rutherford = atomic_number / (2 * np.pi**2 * 0.529177 * q**2)
    got = physics.scattering_factor(symbol, np.array(q))
    assert got == pytest.approx(
        rutherford, rel=0.03
    )  # X-ray factor left over at 30/Å: 1 % of Z; and the fit's own error


def test_every_tabulated_element_scatters() -> None:
    elements = physics._table()
    assert len(elements) == 103
    for symbol in elements:
        f = physics.scattering_factor(symbol, np.linspace(0, 8, 30))
        assert (np.diff(f) < 0).all()
        assert f[-1] > 0


def test_unknown_element_is_refused() -> None:
    with pytest.raises(UsageError, match="'Xx'"):
        physics.scattering_factor("Xx", np.array(1.0))


@pytest.mark.parametrize("symbol", EVERY_ELEMENT_SHELL)
def test_projected_potential_is_the_transform_of_the_scattering_factor(symbol: str) -> None:
    q = np.array([0.2, 1.0, 3.0])
    logarithm = np.linspace(math.log(1e-7), math.log(15), 60001)
    b = np.exp(logarithm)
    integrand = 2 * np.pi * b**2 * physics._projected_potential(symbol, b) * j0(2 * np.pi * q[:, None] * b)
    got = np.trapezoid(integrand, logarithm, axis=1)
    np.testing.assert_allclose(got, physics.scattering_factor(symbol, q), rtol=1e-5)  # step of the slow integral


@pytest.mark.parametrize(("symbol", "voltage"), [("C", 60e3), ("Mo", 60e3), ("Re", 300e3), ("U", 80e3)])
def test_amplitude_is_the_slow_integral(symbol: str, voltage: float) -> None:
    q = np.array([0.0, 0.37, 1.3, 3.9, 7.7])
    coupling = physics.electron_wavelength(voltage) * physics.relativistic_factor(voltage)
    logarithm = np.linspace(math.log(1e-8), math.log(15), 200001)
    b = np.exp(logarithm)
    phase = coupling * physics._projected_potential(symbol, b)
    wave = np.expm1(1j * phase) / (1j * coupling) * 2 * np.pi * b**2
    slow = np.array([np.trapezoid(wave * j0(2 * np.pi * b * value), logarithm) for value in q])
    got = physics.scattering_amplitude(symbol, q, voltage)
    np.testing.assert_allclose(got, slow, rtol=1e-5, atol=0)  # measured 4e-6, the spline between knots


def test_amplitude_of_a_light_atom_at_high_voltage_is_borns() -> None:
    q = np.linspace(0.1, 5, 20)
    got = np.abs(physics.scattering_amplitude("H", q, 1e6))
    np.testing.assert_allclose(got, physics.scattering_factor("H", q), rtol=1e-3)  # second order: (Z/137)² and below


def test_amplitude_obeys_the_optical_theorem() -> None:
    # A pure phase object loses no electron: Im f(0) = (lambda gamma/2) * integral of |f|² d²q.
    voltage = 60e3
    coupling = physics.electron_wavelength(voltage) * physics.relativistic_factor(voltage)
    q = np.linspace(0, 60, 6001)
    f = physics.scattering_amplitude("Mo", q, voltage)
    total = np.trapezoid(np.abs(f) ** 2 * 2 * np.pi * q, q)
    assert f[0].imag == pytest.approx(coupling / 2 * total, rel=2e-3)  # beyond 60/Å lies 1e-3 of the total


def test_heavy_atoms_scatter_less_than_born_by_the_stated_amount() -> None:
    for symbol, voltage, share in (("W", 60e3, 0.60), ("Re", 300e3, 0.75)):
        q = np.array(0.05 / physics.electron_wavelength(voltage))
        ratio = (
            np.abs(physics.scattering_amplitude(symbol, q, voltage)) ** 2 / physics.scattering_factor(symbol, q) ** 2
        )
        assert ratio == pytest.approx(share, abs=0.005)  # the docstring's figures, rounded


def test_cross_section_is_the_slow_integral() -> None:
    theta = np.linspace(0.039, 0.097, 20001)
    q = 2 * np.sin(theta / 2) / physics.electron_wavelength(300e3)
    f = physics.scattering_amplitude("Re", q, 300e3)
    slow = physics.relativistic_factor(300e3) ** 2 * np.trapezoid(np.abs(f) ** 2 * 2 * np.pi * np.sin(theta), theta)
    assert physics.adf_cross_section("Re", 300e3, 0.039, 0.097) == pytest.approx(slow, rel=1e-6)


@settings(deadline=None, max_examples=30)  # amplitudes are tabulated at the first call
@given(
    split=st.floats(0.03, 0.19),
    symbol=st.sampled_from(EVERY_ELEMENT_SHELL),
    voltage=st.sampled_from([60e3, 200e3, 300e3]),
)
def test_cross_sections_of_adjoining_annuli_add(split: float, symbol: str, voltage: float) -> None:
    whole = physics.adf_cross_section(symbol, voltage, 0.025, 0.2)
    parts = physics.adf_cross_section(symbol, voltage, 0.025, split) + physics.adf_cross_section(
        symbol, voltage, split, 0.2
    )
    assert parts == pytest.approx(whole, rel=1e-6)  # Gauss nodes, 48 each


def test_cross_section_grows_with_atomic_number_as_adf_does() -> None:
    # Z contrast: the exponent between S (16) and Re (75) lies between 1.5 and 2 for an ADF detector.
    light, heavy = (physics.adf_cross_section(symbol, 300e3, 0.06, 0.2) for symbol in ("S", "Re"))
    assert 1.5 < math.log(heavy / light) / math.log(75 / 16) < 2


@pytest.mark.parametrize("angles", [(0.0, 0.1), (0.1, 0.05), (0.05, 2.0), (math.nan, 0.1)])
def test_detector_angles_are_checked(angles: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="detector angles"):
        physics.adf_cross_section("Re", 300e3, *angles)
