"""Channelling as a matrix against two-slice multislice by fast Fourier transform, incident plane wave by plane wave."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.physics import electron_wavelength, interaction_parameter, scattering_factor
from picostem.simulate.channelling import REACH, channelling
from picostem.simulate.scattering import rms_displacement, thermal_transfer
from picostem.simulate.transfer import Aberrations, aperture_overlap_nodes, probe_transfer
from picostem.structure import Monolayer, image_from_crystal, load_monolayer
from picostem.structure.lattice import all_reflections

ComplexArray = NDArray[np.complex128]

VOLTAGE, SEMIANGLE, DISTANCE = 60e3, 0.0315, 6.1
WAVELENGTH = electron_wavelength(VOLTAGE)
ABERRATED = Aberrations(C10=-8.0, C12a=7.0, C12b=-4.0, C21a=60.0, C21b=90.0)
MOS2 = load_monolayer("MoS2")
RECIPROCAL = MOS2.reciprocal @ image_from_crystal(0.6, True).T
HK = np.array([[1, 0], [1, 1], [-1, 2], [0, 0]])
GRID = 80
"""Pixels along a and b: 0.04 Å, twice as fine as the module's."""
BORN = 47.87801
"""V Å², h²/(2 pi m0 e): projected potential per scattering factor. Kirkland, 2nd ed., appendix C."""


def lower_object() -> tuple[NDArray[np.int64], ComplexArray]:
    """Atoms of the lower layer, 0.4 Å wide: lattice vectors and coefficients, within the module's reach."""
    q = all_reflections(MOS2.reciprocal, 2.0)
    weights = np.array([3.0 if symbol == "Mo" else 0.5 for symbol in MOS2.symbols])
    g2 = np.sum((q @ MOS2.reciprocal) ** 2, axis=1)
    return q, np.exp(-2j * np.pi * q @ MOS2.scaled.T) @ weights * np.exp(-2 * (np.pi * 0.17) ** 2 * g2)


def on_grid(vectors: NDArray[np.int64], coefficients: ComplexArray) -> ComplexArray:
    """Sum of c exp(2 pi i (n_a x_a + n_b x_b)) on the grid of fractions."""
    spectrum = np.zeros((GRID, GRID), dtype=complex)
    spectrum[vectors[:, 0] % GRID, vectors[:, 1] % GRID] = coefficients
    return np.fft.ifft2(spectrum) * GRID**2


def transmission(layer: Monolayer, offset: NDArray[np.float64]) -> ComplexArray:
    """exp(i sigma v_z) with the potential in volts."""
    n = np.fft.fftfreq(GRID, 1 / GRID).astype(int)
    vectors = np.stack(np.meshgrid(n, n, indexing="ij"), axis=-1).reshape(-1, 2)
    g = np.linalg.norm(vectors @ layer.reciprocal, axis=1)
    potential = np.zeros(len(vectors), dtype=complex)
    for symbol, scaled in zip(layer.symbols, layer.scaled, strict=True):
        factor = BORN / layer.area * scattering_factor(symbol, g) * thermal_transfer(g, rms_displacement(symbol))
        potential += factor * np.exp(-2j * np.pi * vectors @ (scaled + offset))
    return np.exp(1j * interaction_parameter(VOLTAGE) * on_grid(vectors, potential).real)


def bloch_wave(layer: ComplexArray, k: NDArray[np.float64]) -> ComplexArray:
    """exp(2 pi i k.r) after the layer and the way to the next one, without its factor exp(2 pi i k.r), on the grid."""
    n = np.fft.fftfreq(GRID, 1 / GRID)
    beams = k + np.stack(np.meshgrid(n, n, indexing="ij"), axis=-1) @ RECIPROCAL
    fresnel = np.exp(-1j * np.pi * WAVELENGTH * DISTANCE * np.sum(beams**2, axis=-1))
    return np.asarray(np.fft.ifft2(np.fft.fft2(layer) * fresnel))


def naive_image(h: NDArray[np.int64], t_up: NDArray[np.float64], t_down: NDArray[np.float64]) -> complex:
    """Coefficient of the image at h: all pairs of incident waves k and k + h, as they arrive at the lower layer."""
    q, coefficients = lower_object()
    objects = on_grid(q, coefficients * np.exp(-2j * np.pi * q @ t_down)).real
    layer = transmission(MOS2, t_up)
    g = h @ RECIPROCAL
    total = 0j
    for kx, ky, weight in zip(*aperture_overlap_nodes(g, WAVELENGTH, SEMIANGLE, ABERRATED, 18), strict=True):
        k = np.array([kx, ky])
        # k' = k + h is the same Bloch wave but for exp(2 pi i h.r)
        there = bloch_wave(layer * phase_grid(h), k)
        total += weight * np.mean(objects * bloch_wave(layer, k) * np.conj(there))
    return total


def phase_grid(h: NDArray[np.int64]) -> ComplexArray:
    return on_grid(h[None], np.ones(1, dtype=complex))


OFFSETS = (np.array([0.13, 0.41]), np.array([0.10, 0.38]))
"""The upper layer's atoms lie 0.1 Å beside the lower one's."""


@pytest.mark.parametrize("h", HK)
def test_matrix_is_two_slice_multislice(h: NDArray[np.int64]) -> None:
    t_up, t_down = OFFSETS
    q, kernel = channelling(MOS2, RECIPROCAL, h[None], DISTANCE, VOLTAGE, SEMIANGLE, ABERRATED)
    object_q, coefficients = lower_object()
    strength = dict(zip(map(tuple, object_q.tolist()), coefficients, strict=True))
    values = np.array([strength.get(tuple(v), 0) for v in q.tolist()])
    image = np.sum(values * np.exp(-2j * np.pi * ((h - q) @ t_up + q @ t_down)) * kernel[0])
    expected = naive_image(h, t_up, t_down)
    # 12 nodes against 18, a grid of 0.09 Å against 0.04 Å, for coefficients up to 4
    assert image == pytest.approx(expected, abs=1e-4)
    # it does something: the lower layer alone would look different
    alone = strength.get(tuple(h.tolist()), 0) * np.exp(-2j * np.pi * h @ t_down)
    shifted = Aberrations(ABERRATED.C10 + DISTANCE, *list(vars(ABERRATED).values())[1:])
    g = h @ RECIPROCAL
    alone *= probe_transfer(g[:1], g[1:], WAVELENGTH, SEMIANGLE, shifted)[0]
    assert abs(image - alone) > 0.05


def test_an_empty_layer_only_adds_its_thickness() -> None:
    """Without scattering, W is delta_hq and J the transfer of a probe that is defocused by the distance."""
    empty = Monolayer("nothing", MOS2.cell, ("H",), np.zeros((1, 3)), 6.0, "made up")
    q, kernel = channelling(empty, RECIPROCAL, HK, DISTANCE, VOLTAGE * 1e4, SEMIANGLE, ABERRATED)
    wavelength = electron_wavelength(VOLTAGE * 1e4)  # so fast that hydrogen is nothing: sigma tends to a constant
    gx, gy = (HK @ RECIPROCAL).T
    shifted = Aberrations(ABERRATED.C10 + DISTANCE, *list(vars(ABERRATED).values())[1:])
    expected = probe_transfer(gx, gy, wavelength, SEMIANGLE, shifted)
    own = [int(np.flatnonzero((q == h).all(axis=1))[0]) for h in HK]
    diagonal = kernel[np.arange(len(HK)), own]
    # one hydrogen atom per cell turns the phase by sigma v ~ 0.0006 · 25 / 8.7 rad
    np.testing.assert_allclose(diagonal, expected, atol=6e-3)
    kernel[np.arange(len(HK)), own] = 0
    assert np.abs(kernel).max() < 6e-3


def test_mean_intensity_is_conserved() -> None:
    """Phase objects lose no electrons: a uniform lower layer sees as many as arrive, wherever the probe is."""
    q, kernel = channelling(MOS2, RECIPROCAL, HK, DISTANCE, VOLTAGE, SEMIANGLE, ABERRATED)
    uniform = kernel[:, (q == 0).all(axis=1)][:, 0]
    # h = 0: all electrons (its quadrature to 2e-6); h != 0: none, to the grid's rounding
    np.testing.assert_allclose(uniform, [0, 0, 0, 1], atol=1e-5)


def test_reach() -> None:
    q, kernel = channelling(MOS2, RECIPROCAL, HK, DISTANCE, VOLTAGE, SEMIANGLE, ABERRATED)
    assert kernel.shape == (len(HK), len(q))
    assert np.linalg.norm(q @ MOS2.reciprocal, axis=1).max() <= REACH
