"""What one atom contributes to an ADF image: its signal, and how that falls with spatial frequency.

The image of a single atom at the origin, for a probe whose aperture has radius k_max = semiangle/wavelength, has the
Fourier coefficients

    I^(g) = (lambda gamma)² / (pi k_max²) * integral over p, k of exp(i [chi(p + g/2) - chi(p - g/2)])
            f(k - p - g/2) f*(k - p + g/2),

p in the overlap of two apertures g apart, k on the detector, f the amplitude of `physics.scattering_amplitude`.
Linear imaging replaces f f* by its mean over the overlap, which leaves I^(g) = S(g) O(g), with O the `probe_transfer`
and S the object transfer below. Thermal motion moves the atom's whole image, so that its average is an exact factor,
exp(-2 pi² u² g²) for a displacement u (rms along one axis).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from picostem.errors import UsageError
from picostem.physics import electron_wavelength, relativistic_factor, scattering_amplitude

FloatArray = NDArray[np.float64]

RMS_DISPLACEMENT = {"C": 0.10, "S": 0.085, "Se": 0.075, "Te": 0.075, "Mo": 0.065, "W": 0.06, "Re": 0.06}
"""Thermal displacement in Å, rms along one in-plane axis, assumed at room temperature where none is given."""
DEFAULT_DISPLACEMENT = 0.08
"""Å, for elements not in RMS_DISPLACEMENT"""

FREQUENCIES = 13
"""Spatial frequencies from 0 to the cutoff at which transfers are computed; splines lead from one to the next."""
# Gauss nodes: 8 x 8 on the aperture overlap, 12 x 16 on half the annulus (the other half is its mirror image). Doubling
# any of them, or the frequencies, changes the transfer by less than 2e-5 of its value at 0.
_OVERLAP_NODES, _RADIAL_NODES, _AZIMUTH_NODES = 8, 12, 16


def rms_displacement(symbol: str) -> float:
    """Thermal displacement of an element in Å, rms along one axis."""
    return RMS_DISPLACEMENT.get(symbol, DEFAULT_DISPLACEMENT)


def thermal_transfer(g: FloatArray, displacement: float) -> FloatArray:
    """Factor exp(-2 pi² u² g²) of thermal motion, or any Gaussian of standard deviation u = displacement (Å)."""
    return np.asarray(np.exp(-2 * (np.pi * displacement * g) ** 2))


def adf_object_transfer(
    symbol: str, g: FloatArray, voltage_eV: float, semiangle: float, inner: float, outer: float
) -> FloatArray:
    """Object transfer S(g) of one atom at rest, in Å²: its signal at spatial frequency g for a convergent probe.

    S(g) = (lambda gamma)²/|L| * integral over p in L, k in D of f(k - p - g/2) f*(k - p + g/2),

    | symbol | meaning |
    |---|---|
    | L, abs(L) | overlap of two apertures of radius semiangle/lambda, g apart, and its area |
    | D | detector, inner/lambda < abs(k) < outer/lambda |

    S(0) is the cross-section averaged over the incident cone; the detected fraction of the beam, integrated over probe
    positions, is S(0) per atom. S is real for an annular detector and depends on abs(g) only.

    Args:
        symbol: chemical symbol.
        g: spatial frequency, 1/Å, any shape; beyond 2 semiangle/lambda, where no probe reaches, the value there.
        voltage_eV: accelerating voltage.
        semiangle, inner, outer: probe and detector half angles, rad.

    Raises:
        UsageError: for an unknown element, or a detector that the probe's bright disc reaches (inner <= semiangle).
    """
    if not 0 < semiangle < inner < outer < math.pi / 2:
        raise UsageError(
            "the model is one of annular dark field: expected 0 < semiangle < inner < outer detector angle, got "
            f"{semiangle * 1e3:g}, {inner * 1e3:g} and {outer * 1e3:g} mrad"
        )
    limit = 2 * semiangle / electron_wavelength(voltage_eV)
    spline = _object_spline(symbol, float(voltage_eV), float(semiangle), float(inner), float(outer))
    return np.asarray(spline(np.minimum(np.abs(g), limit)))


@lru_cache(maxsize=64)
def _object_spline(symbol: str, voltage_eV: float, semiangle: float, inner: float, outer: float) -> CubicSpline:
    wavelength = electron_wavelength(voltage_eV)
    frequencies = np.linspace(0, 2 * semiangle / wavelength, FREQUENCIES)
    kx, ky, weight = annulus_nodes(inner / wavelength, outer / wavelength)
    values = []
    for g in frequencies:
        px, py, share = overlap_nodes(g, semiangle / wavelength)
        ux, uy = kx[:, None] - px, ky[:, None] - py
        before = scattering_amplitude(symbol, np.hypot(ux - g / 2, uy), voltage_eV)
        after = scattering_amplitude(symbol, np.hypot(ux + g / 2, uy), voltage_eV)
        values.append(weight @ (before * after.conj()).real @ share)
    factor = (wavelength * relativistic_factor(voltage_eV)) ** 2
    return CubicSpline(frequencies, factor * np.array(values))


def annulus_nodes(inner: float, outer: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Nodes (kx, ky) and weights for the integral over an annulus of a function that is even in ky, shape (n,)."""
    x, w = np.polynomial.legendre.leggauss(_RADIAL_NODES)
    radius = inner * (outer / inner) ** ((x + 1) / 2)
    radial = w / 2 * math.log(outer / inner) * radius**2
    azimuth = (np.arange(_AZIMUTH_NODES) + 0.5) * np.pi / _AZIMUTH_NODES
    kx, ky = np.outer(radius, np.cos(azimuth)).ravel(), np.outer(radius, np.sin(azimuth)).ravel()
    return kx, ky, np.repeat(radial * 2 * np.pi / _AZIMUTH_NODES, _AZIMUTH_NODES)


def overlap_nodes(g: float, radius: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Nodes (px, py) and weights of mean 1 on the overlap of two discs of one radius, g apart along x, shape (n,)."""
    x, w = np.polynomial.legendre.leggauss(_OVERLAP_NODES)
    angle = x * np.pi / 2
    py = math.sqrt(max(radius**2 - g**2 / 4, 0.0)) * np.sin(angle)
    chord = np.maximum(np.sqrt(radius**2 - py**2) - g / 2, 1e-12)
    share = np.outer(w * np.cos(angle) * chord, w).ravel()
    return np.outer(chord, x).ravel(), np.repeat(py, _OVERLAP_NODES), share / share.sum()
