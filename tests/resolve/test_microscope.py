"""The microscope of a result, from the parameters of a fit."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.physics import KV, MRAD
from picostem.resolve.microscope import fitted_microscope
from picostem.resolve.model import Optics

from .made import OPTICS, FloatArray

NAMES = ("C10", "C12a", "C12b", "C21a", "C21b", "variance", "variance a", "log weight S", "log brightness 2")
VALUES = np.array([-12.0, 3.0, 4.0, 0.0, -60.0, 0.09, 0.01, 0.2, -0.1])
SIGMAS = np.array([2.0, 0.6, 0.8, 30.0, 40.0, 0.006, 1.0, 1.0, 1.0])
FWHM = np.sqrt(8 * np.log(2))
"""Of a Gaussian over its standard deviation."""


def fitted(values: FloatArray = VALUES, names: tuple[str, ...] = NAMES, optics: Optics = OPTICS):  # type: ignore[no-untyped-def]
    sigmas = np.resize(SIGMAS, len(names))
    return fitted_microscope(names, values, np.diag(sigmas**2), optics)


def test_known_answer() -> None:
    m = fitted()
    assert (m.defocus, m.defocus_sigma) == (12.0, 2.0)  # the opposite of C10
    assert pytest.approx(5.0) == m.C12
    assert m.phi12 == pytest.approx(np.arctan2(4, 3) / 2)  # two-fold: half the phase
    assert m.C12_sigma == pytest.approx(np.sqrt(0.5))  # rms of 0.6 and 0.8
    assert pytest.approx(60.0) == m.C21
    assert m.phi21 == pytest.approx(-np.pi / 2)
    assert m.C21_sigma == pytest.approx(np.sqrt(1250))
    assert m.source_fwhm == pytest.approx(0.3 * FWHM)
    assert m.source_fwhm_sigma == pytest.approx(0.006 / 0.6 * FWHM)  # d sqrt(v) = dv / (2 sqrt(v))


def test_what_was_told_has_no_error() -> None:
    m = fitted()
    assert (m.voltage_eV, m.source) == (300 * KV, "user")
    assert (m.semiangle, m.semiangle_sigma) == (21.3 * MRAD, 0.0)


def test_semiangle_that_was_fitted() -> None:
    m = fitted(np.array([*VALUES, 24 * MRAD]), (*NAMES, "semiangle"))
    assert m.semiangle == pytest.approx(24 * MRAD)
    assert m.semiangle_sigma == 2.0  # the tenth number


@pytest.mark.parametrize("variance", [0.0, -0.03])
def test_source_sharper_than_a_point_stays_finite(variance: float) -> None:
    values = VALUES.copy()
    values[5] = variance
    m = fitted(values)
    assert m.source_fwhm == pytest.approx(0.01 * FWHM)  # the least that is told
    assert np.isfinite(m.source_fwhm_sigma)


def test_correlations_do_not_matter() -> None:
    """Each standard deviation is that of its own parameter."""
    covariance = np.diag(SIGMAS**2)
    covariance[0, 5] = covariance[5, 0] = 0.9 * SIGMAS[0] * SIGMAS[5]
    assert fitted_microscope(NAMES, VALUES, covariance, OPTICS) == fitted()
