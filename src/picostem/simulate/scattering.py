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
from numpy.polynomial import Chebyshev
from numpy.typing import NDArray

from picostem.errors import UsageError
from picostem.physics import electron_wavelength, relativistic_factor, scattering_amplitude

FloatArray = NDArray[np.float64]

RMS_DISPLACEMENT = {"C": 0.10, "S": 0.085, "Se": 0.075, "Te": 0.075, "Mo": 0.065, "W": 0.06, "Re": 0.06}
"""Thermal displacement in Å, rms along one in-plane axis, assumed at room temperature where none is given."""
DEFAULT_DISPLACEMENT = 0.08
"""Å, for elements not in RMS_DISPLACEMENT"""

FREQUENCIES = 13
"""Spatial frequencies from 0 to the cutoff at which interferences are computed; splines lead from one to the next."""
_DEGREE = 7
"""Of the polynomial of spatial frequency that a transfer is, from 0 to the cutoff."""
# Gauss nodes: 8 x 8 on the aperture overlap, 12 x 16 on half the annulus (the other half is its mirror image), of which
# single atoms, whose integrand does not oscillate, need 10 x 12. Doubling any of them, or the degree, changes the
# transfer of S at 300 kV by less than 2e-5 of its value at 0; the worst found, over 24 cases, is wrong by 5e-5.
_OVERLAP_NODES, _RADIAL_NODES, _AZIMUTH_NODES = 8, 12, 16
_SMOOTH_RADIAL_NODES, _SMOOTH_AZIMUTH_NODES = 10, 12


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
    curve = _object_curve(symbol, float(voltage_eV), float(semiangle), float(inner), float(outer))
    return np.asarray(curve(np.minimum(np.abs(g), limit)))


@lru_cache(maxsize=64)
def _object_curve(symbol: str, voltage_eV: float, semiangle: float, inner: float, outer: float) -> Chebyshev:
    wavelength = electron_wavelength(voltage_eV)
    k_max = semiangle / wavelength
    counts = (_SMOOTH_RADIAL_NODES, _SMOOTH_AZIMUTH_NODES)
    kx, ky, weight = annulus_nodes(inner / wavelength, outer / wavelength, *counts)
    # The nodes with kx and px of opposite sign: there f(k - p - g/2) is what f(k - p + g/2) is here.
    k_mirrored = np.arange(len(kx)).reshape(counts)[:, ::-1].ravel()
    p_mirrored = np.arange(_OVERLAP_NODES**2).reshape(_OVERLAP_NODES, -1)[:, ::-1].ravel()

    def integral(g: float) -> float:
        px, py, share = overlap_nodes(g, k_max)
        before = scattering_amplitude(symbol, np.hypot(kx[:, None] - px - g / 2, ky[:, None] - py), voltage_eV)
        after = before[np.ix_(k_mirrored, p_mirrored)]
        return float(weight @ (before * after.conj()).real @ share)

    factor = (wavelength * relativistic_factor(voltage_eV)) ** 2
    return Chebyshev.interpolate(lambda x: factor * np.array([integral(g) for g in x]), _DEGREE, (0, 2 * k_max))


def annulus_nodes(
    inner: float, outer: float, radii: int = _RADIAL_NODES, azimuths: int = _AZIMUTH_NODES
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Nodes (kx, ky) and weights for the integral over an annulus of a function that is even in ky.

    Shape (radii * azimuths,), the azimuths running fastest and kx changing sign from their one end to the other.
    """
    x, w = _gauss(radii)
    radius = inner * (outer / inner) ** ((x + 1) / 2)
    radial = w / 2 * math.log(outer / inner) * radius**2
    azimuth = (np.arange(azimuths) + 0.5) * np.pi / azimuths
    kx, ky = np.outer(radius, np.cos(azimuth)).ravel(), np.outer(radius, np.sin(azimuth)).ravel()
    return kx, ky, np.repeat(radial * 2 * np.pi / azimuths, azimuths)


def overlap_nodes(g: float, radius: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Nodes (px, py) and weights of mean 1 on the overlap of two discs of one radius, g apart along x, shape (n,)."""
    x, w = _gauss(_OVERLAP_NODES)
    angle = x * np.pi / 2
    py = math.sqrt(max(radius**2 - g**2 / 4, 0.0)) * np.sin(angle)
    chord = np.maximum(np.sqrt(radius**2 - py**2) - g / 2, 1e-12)
    share = np.outer(w * np.cos(angle) * chord, w).ravel()
    return np.outer(chord, x).ravel(), np.repeat(py, _OVERLAP_NODES), share / share.sum()


@lru_cache(maxsize=8)
def _gauss(count: int) -> tuple[FloatArray, FloatArray]:
    return np.polynomial.legendre.leggauss(count)
