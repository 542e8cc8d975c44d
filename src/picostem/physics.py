"""Constants, unit conversions, electron wavelength and elastic scattering by single atoms.

Units inside picostem are Å, eV, rad and electrons per Å². A number in an outside unit is multiplied once, at the edge,
by one of the constants below: `semiangle = semiangle_mrad * MRAD`.
"""

from __future__ import annotations

import json
import math
from functools import lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray
from scipy import constants
from scipy.interpolate import CubicSpline
from scipy.special import j0, k0, k1

from picostem.errors import UsageError

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

MRAD = 1e-3
"""rad per mrad"""
KV = 1e3
"""eV per keV, V per kV"""
NM = 10.0
"""Å per nm"""
PM = 0.01
"""Å per pm"""
DEGREE = math.pi / 180
"""rad per degree"""
SIGMA_PER_FWHM = 1 / (2 * math.sqrt(2 * math.log(2)))
"""standard deviation of a Gaussian per full width at half maximum"""

_REST_ENERGY_EV = constants.m_e * constants.c**2 / constants.e
_HC_EV_A = constants.h * constants.c / constants.e * 1e10
# The slowest term of a projected potential falls like exp(-x), x = 2 pi b/sqrt(b_i); beyond this x it is nothing.
_DECAY_LENGTHS = 17.0
_NEAREST = 1e-5  # Å; the disc within would add 4e-6 of themselves to the smallest amplitudes
_AMPLITUDE_KNOTS = 160


def relativistic_factor(voltage_eV: float) -> float:
    """Electron mass over rest mass, gamma = 1 + eV/(m0 c²), after acceleration through voltage_eV."""
    return float(1 + _checked_voltage(voltage_eV) / _REST_ENERGY_EV)


def electron_wavelength(voltage_eV: float) -> float:
    """Relativistic de Broglie wavelength in Å, lambda = h c / sqrt(E (E + 2 m0 c²)), E = voltage_eV.

    Raises:
        UsageError: for a voltage that is not positive.
    """
    energy = _checked_voltage(voltage_eV)
    return float(_HC_EV_A / math.sqrt(energy * (energy + 2 * _REST_ENERGY_EV)))


def interaction_parameter(voltage_eV: float) -> float:
    """Phase shift per projected potential, sigma = 2 pi m e lambda / h², in rad/(V Å).

    Source: Kirkland, Advanced Computing in Electron Microscopy, 2nd ed., chapter 5.
    """
    mass = relativistic_factor(voltage_eV) * constants.m_e
    wavelength = electron_wavelength(voltage_eV) * 1e-10
    return float(2 * math.pi * mass * constants.e * wavelength / constants.h**2 * 1e-10)


def scattering_factor(symbol: str, q: FloatArray) -> FloatArray:
    """Electron scattering factor f(q) of a neutral atom in Å, first Born approximation, electron at rest mass.

    f(q) = sum_i a_i (2 + b_i q²)/(1 + b_i q²)², with q = 2 sin(theta/2)/lambda in 1/Å.

    Source: Lobato and Van Dyck, Acta Cryst. A 70 (2014) 636; the numbers lie in scattering_factors.json.

    Raises:
        UsageError: for an element without parameters (Z = 1 to 103 have them).
    """
    a, b = _parameters(symbol)
    q2 = np.asarray(q, dtype=np.float64)[..., None] ** 2
    return np.asarray(np.sum(a * (2 + b * q2) / (1 + b * q2) ** 2, axis=-1))


def scattering_amplitude(symbol: str, q: FloatArray, voltage_eV: float) -> ComplexArray:
    """Scattering amplitude of one atom in Å for a fast electron, all orders of the projected potential.

    f(q) = 1/(i lambda gamma) * integral of [exp(i lambda gamma v(b)) - 1] exp(-2 pi i q.b) d²b,

    | symbol | meaning |
    |---|---|
    | v(b) | two-dimensional Fourier transform of `scattering_factor`, 1/Å |
    | lambda, gamma | electron wavelength (Å), relativistic factor |
    | q | transferred spatial frequency, 1/Å |

    It is what multislice computes for a single atom (Molière's approximation) and tends to `scattering_factor` for
    light atoms. For heavy ones it matters: |f|² at 50 mrad is 0.60 of Born's for W at 60 kV, 0.75 for Re at 300 kV.

    Source: Kirkland, Advanced Computing in Electron Microscopy, 2nd ed., chapter 5.

    Raises:
        UsageError: for an unknown element or a voltage that is not positive.
    """
    q = np.asarray(q, dtype=np.float64)
    reach = 4.0 * math.ceil(float(q.max(initial=0.0)) / 4.0 + 1e-9)
    return np.asarray(_amplitude_spline(symbol, float(voltage_eV), reach)(np.log1p(2 * q)) / (1 + q**2))


def adf_cross_section(symbol: str, voltage_eV: float, inner: float, outer: float) -> float:
    """Cross-section in Å² for scattering a parallel beam by one atom onto an annular detector.

    sigma = integral over the annulus of gamma² |f(2 sin(theta/2)/lambda)|² dOmega, f = `scattering_amplitude`.

    The atom's thermal motion changes phases only, so elastic and thermal diffuse scattering together give this number;
    electronic excitations are left out.

    Args:
        symbol: chemical symbol.
        voltage_eV: accelerating voltage.
        inner, outer: detector angles, rad.

    Raises:
        UsageError: for an unknown element, or angles that are not 0 < inner < outer < pi/2.
    """
    if not 0 < inner < outer < math.pi / 2:
        raise UsageError(f"detector angles must be 0 < inner < outer < pi/2 rad, got {inner} and {outer}")
    x, w = np.polynomial.legendre.leggauss(48)
    # Nodes spread evenly in log(theta), for the integrand falls like theta**-3.
    theta = inner * (outer / inner) ** ((x + 1) / 2)
    weight = w / 2 * math.log(outer / inner) * theta * 2 * np.pi * np.sin(theta)
    f = scattering_amplitude(symbol, 2 * np.sin(theta / 2) / electron_wavelength(voltage_eV), voltage_eV)
    return float(relativistic_factor(voltage_eV) ** 2 * np.sum(weight * np.abs(f) ** 2))


def _checked_voltage(voltage_eV: float) -> float:
    if not (math.isfinite(voltage_eV) and voltage_eV > 0):
        raise UsageError(f"the accelerating voltage must be positive (eV, e.g. 300e3), got {voltage_eV}")
    return voltage_eV


@lru_cache(maxsize=1)
def _table() -> dict[str, dict[str, list[float]]]:
    text = resources.files("picostem").joinpath("scattering_factors.json").read_text("utf-8")
    elements: dict[str, dict[str, list[float]]] = json.loads(text)["elements"]
    return elements


def _parameters(symbol: str) -> tuple[FloatArray, FloatArray]:
    if symbol not in _table():
        raise UsageError(f"no scattering factor for {symbol!r}; expected a chemical symbol from H to Lr, such as 'Re'")
    entry = _table()[symbol]
    return np.array(entry["a"]), np.array(entry["b"])


def _projected_potential(symbol: str, distance: FloatArray) -> FloatArray:
    """Two-dimensional Fourier transform v(b) of the Born scattering factor, 1/Å; distance b > 0 in Å.

    v(b) = sum_i a_i [2 pi/b_i K0(x_i) + 2 pi² b/b_i^1.5 K1(x_i)], x_i = 2 pi b/sqrt(b_i).
    """
    a, b = _parameters(symbol)
    x = 2 * np.pi * distance[..., None] / np.sqrt(b)
    terms = 2 * np.pi / b * k0(x) + 2 * np.pi**2 * distance[..., None] / b**1.5 * k1(x)
    return np.asarray(np.sum(a * terms, axis=-1))


@lru_cache(maxsize=64)
def _amplitude_spline(symbol: str, voltage_eV: float, reach: float) -> CubicSpline:
    """Spline of (1 + q²) f(q) over log(1 + 2 q), 0 <= q <= reach (1/Å)."""
    coupling = electron_wavelength(voltage_eV) * relativistic_factor(voltage_eV)
    b_max = _DECAY_LENGTHS * math.sqrt(_parameters(symbol)[1].max()) / (2 * math.pi)
    # For the trapezoidal rule in log(b), steps of 2 radians of the Bessel function at the largest q and b, where hardly
    # any wave is left, are fine enough: finer ones change the amplitudes by less than 3e-7 of f(0).
    step = min(2.0 / (2 * np.pi * reach * b_max), 4e-3)
    logarithm = np.arange(math.log(_NEAREST), math.log(b_max), step)
    b = np.exp(logarithm)
    wave = np.expm1(1j * coupling * _projected_potential(symbol, b)) / (1j * coupling)
    weighted = wave * 2 * np.pi * b**2 * (logarithm[1] - logarithm[0])
    knots = np.linspace(0, math.log1p(2 * reach), _AMPLITUDE_KNOTS)
    q = np.expm1(knots) / 2
    f = np.array([j0(2 * np.pi * b * value) @ weighted for value in q])
    return CubicSpline(knots, f * (1 + q**2))
