"""Channelling between layers: what an upper layer does to the probe before it reaches the one below.

An upper layer with transmission function T(r) = exp(i phi(r)) turns the probe at a layer dz further on, of object
function V, into an image with the coefficients (T(p), V(q): Fourier coefficients on the common lattice)

    I(h) = sum over q of V(q) exp(-2 pi i [(h - q) . t_up + q . t_down]) J(h, q) W(h, q),
    J(h, q) = integral over the aperture overlap of exp(i [chi(k + h) - chi(k)] + 2 pi i lambda dz k . q) d²k / B,
    W(h, q) = exp(i pi lambda dz q²) * sum over p of T(p) T*(p - h + q) exp(2 pi i lambda dz p . q),

chi that of the upper layer, B the aperture's area. It is two-slice multislice written as a matrix: W depends on the
material and the voltage only, J on the aberrations. Without the upper layer W(h, q) = delta_hq and I(h) = V(h) O(h).
Source: Kirkland, Advanced Computing in Electron Microscopy, 2nd ed., chapter 6, for the slices; the rest is algebra.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from picostem.physics import electron_wavelength, relativistic_factor, scattering_factor
from picostem.simulate.scattering import rms_displacement, thermal_transfer
from picostem.simulate.transfer import Aberrations, aperture_overlap_nodes
from picostem.structure.lattice import all_reflections
from picostem.structure.monolayer import Monolayer

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.int64]

REACH = 2.2  # 1/Å; frequencies of the object that take part
SPACING = 0.09  # Å; grid of the transmission function
NODES = 12  # of the quadrature over the overlap, each way


def channelling(
    upper: Monolayer,
    reciprocal: FloatArray,
    hk: IntArray,
    distance: float,
    voltage_eV: float,
    semiangle: float,
    aberrations: Aberrations,
) -> tuple[IntArray, ComplexArray]:
    """Lattice vectors q, shape (m, 2), and J(h, q) W(h, q), shape (n, m).

    Args:
        upper: the layer that the probe passes first.
        reciprocal: rows a*, b* of the common lattice in the image frame, 1/Å, shape (2, 2).
        hk: reflections h of the image, shape (n, 2).
        distance: from one mid-plane to the other, Å.
        semiangle: rad. aberrations: that the upper layer sees.
    """
    q = all_reflections(upper.reciprocal, REACH)
    passage = _passage(upper, hk.astype(np.int64).tobytes(), distance, voltage_eV)
    wavelength = electron_wavelength(voltage_eV)
    first, last = q.min(axis=0), q.max(axis=0)
    a, b = (np.arange(first[i], last[i] + 1) for i in (0, 1))
    turn = 2j * np.pi * wavelength * distance
    overlap = np.empty((len(hk), len(q)), dtype=complex)
    for i, h in enumerate(hk):
        kx, ky, wave = aperture_overlap_nodes(h @ reciprocal, wavelength, semiangle, aberrations, NODES)
        along = np.stack([kx, ky], axis=1) @ reciprocal.T
        waves = [np.exp(turn * np.outer(n, along[:, axis])) for axis, n in ((0, a), (1, b))]
        table = (waves[0] * wave) @ waves[1].T
        overlap[i] = table[q[:, 0] - first[0], q[:, 1] - first[1]]
    return q, overlap * passage


@lru_cache(maxsize=8)
def _passage(upper: Monolayer, reflections: bytes, distance: float, voltage_eV: float) -> ComplexArray:
    """W(h, q), shape (n, m); it does not depend on how the lattice lies in the image."""
    hk = np.frombuffer(reflections, dtype=np.int64).reshape(-1, 2)
    drift = electron_wavelength(voltage_eV) * distance
    transmission = _transmission(upper, voltage_eV)
    shape = transmission.shape
    coefficients = fft.fft2(transmission) / transmission.size
    conjugate = np.conj(transmission)
    p = [fft.fftfreq(n, 1 / n) for n in shape]
    q = all_reflections(upper.reciprocal, REACH)
    metric = upper.reciprocal @ upper.reciprocal.T
    factors = np.empty((len(hk), len(q)), dtype=complex)
    for i, one in enumerate(q):
        step = 2 * np.pi * drift * (metric @ one)
        shifted = coefficients * np.exp(1j * p[0] * step[0])[:, None] * np.exp(1j * p[1] * step[1])
        product = fft.fft2(fft.ifft2(shifted) * conjugate)
        m = hk - one
        fresnel = np.exp(1j * np.pi * drift * (one @ metric @ one))
        factors[:, i] = fresnel * product[m[:, 0] % shape[0], m[:, 1] % shape[1]]
    return factors


def _transmission(layer: Monolayer, voltage_eV: float) -> ComplexArray:
    """exp(i phi) on a grid over the cell, phi the phase of the projected potential, atoms in thermal motion."""
    shape = [fft.next_fast_len(int(np.ceil(length / SPACING))) for length in np.linalg.norm(layer.cell, axis=1)]
    h, k = np.meshgrid(*(fft.fftfreq(n, 1 / n) for n in shape), indexing="ij")
    g = np.linalg.norm(np.stack([h, k], axis=-1) @ layer.reciprocal, axis=-1)
    coupling = electron_wavelength(voltage_eV) * relativistic_factor(voltage_eV) / layer.area
    phase = np.zeros(shape, dtype=complex)
    for symbol in sorted(set(layer.symbols)):
        factor = coupling * scattering_factor(symbol, g) * thermal_transfer(g, rms_displacement(symbol))
        for x, y in layer.scaled[[s == symbol for s in layer.symbols]]:
            phase += factor * np.exp(-2j * np.pi * (h * x + k * y))
    return np.asarray(np.exp(1j * (fft.ifft2(phase) * phase.size).real))
