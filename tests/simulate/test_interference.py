"""Interference of two layers against the sum over all beams on the detector."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.physics import electron_wavelength, relativistic_factor, scattering_amplitude
from picostem.simulate.interference import EDGE, NODES, REACH, interference
from picostem.simulate.scattering import rms_displacement, thermal_transfer
from picostem.simulate.transfer import Aberrations, aperture_overlap_nodes
from picostem.structure import Monolayer, image_from_crystal, load_monolayer
from picostem.structure.lattice import all_reflections

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

VOLTAGE, SEMIANGLE, DETECTOR = 60e3, 0.0315, (0.0495, 0.198)
WAVELENGTH = electron_wavelength(VOLTAGE)
ABERRATED = Aberrations(C10=-8.0, C12a=7.0, C12b=-4.0, C21a=60.0, C21b=90.0)
MOS2 = load_monolayer("MoS2")
RECIPROCAL = MOS2.reciprocal @ image_from_crystal(0.6, True).T
DEPTHS = (1.0, 7.1)
HK = np.array([[0, 0], [1, 0], [1, 1], [-1, 2]])


def exit_wave(layer: Monolayer, t: FloatArray, z: float, k: FloatArray, p: NDArray[np.int64]) -> ComplexArray:
    """Amplitudes of the beams k + p that one layer at depth z scatters out of the incident wave k."""
    vectors = p @ RECIPROCAL
    g = np.linalg.norm(vectors, axis=1)
    total = np.zeros(len(p), dtype=complex)
    for symbol, scaled in zip(layer.symbols, layer.scaled, strict=True):
        factor = scattering_amplitude(symbol, g, VOLTAGE) * thermal_transfer(g, rms_displacement(symbol))
        total += factor * np.exp(-2j * np.pi * p @ (scaled + t))
    # k travels down to z, k + p from there on
    way = np.sum(k**2) - np.sum((k + vectors) ** 2, axis=1)
    return total * np.exp(-1j * np.pi * WAVELENGTH * z * way)


def naive_term(h: NDArray[np.int64], positions: FloatArray, nodes: int, edge: float) -> complex:
    """Cross-term of the intensity |w1 + w2|² on the detector, harmonic h of the probe's position."""
    beams = all_reflections(MOS2.reciprocal, 5.2)
    g = h @ RECIPROCAL
    total = 0j
    for kx, ky, weight in zip(*aperture_overlap_nodes(g, WAVELENGTH, SEMIANGLE, ABERRATED, nodes), strict=True):
        k = np.array([kx, ky])
        angle = np.linalg.norm(k + beams @ RECIPROCAL, axis=1) * WAVELENGTH
        seen = np.clip((angle - DETECTOR[0]) / edge + 0.5, 0, 1) * np.clip((DETECTOR[1] - angle) / edge + 0.5, 0, 1)
        near = [exit_wave(MOS2, t, z, k, beams) for t, z in zip(positions, DEPTHS, strict=True)]
        far = [exit_wave(MOS2, t, z, k + g, beams - h) for t, z in zip(positions, DEPTHS, strict=True)]
        total += weight * np.sum(seen * (near[0] * far[1].conj() + near[1] * far[0].conj()))
    return total * (WAVELENGTH * relativistic_factor(VOLTAGE)) ** 2 / MOS2.area


def series(h: NDArray[np.int64], positions: FloatArray) -> complex:
    q, kernel = interference((MOS2, MOS2), DEPTHS, RECIPROCAL, h[None], VOLTAGE, SEMIANGLE, DETECTOR, ABERRATED)
    waves = np.exp(-2j * np.pi * q @ (positions[1] - positions[0]))
    return complex(np.exp(-2j * np.pi * h @ positions[0]) * (kernel[0] @ waves))


SLIPS = np.array([[0.0, 0.0], [1 / 3, 2 / 3], [0.1, 0.05], [-0.23, 0.4]])


@pytest.mark.parametrize("h", HK)
def test_series_is_the_sum_over_beams(h: NDArray[np.int64]) -> None:
    """With the module's own nodes and edges: only the reach differs."""
    for slip in SLIPS:
        positions = np.array([[0.2, -0.1], [0.2, -0.1] + slip])
        expected = naive_term(h, positions, NODES, EDGE * SEMIANGLE)
        # beams beyond the reach: 4 % of the largest term
        assert series(h, positions) == pytest.approx(expected, abs=0.05 * LARGEST)


def test_few_nodes_and_soft_edges_are_right_to_an_eighth() -> None:
    errors, values = [], []
    for h in HK[[0, 2]]:
        for slip in SLIPS[[0, 1]]:
            positions = np.array([[0.0, 0.0], slip])
            exact = naive_term(h, positions, 20, 1e-6)
            errors.append(abs(series(h, positions) - exact))
            values.append(abs(exact))
    assert np.sqrt(np.mean(np.square(errors))) < 0.125 * np.sqrt(np.mean(np.square(values)))  # as the module says


LARGEST = abs(naive_term(HK[0], np.zeros((2, 2)), NODES, EDGE * SEMIANGLE))


def test_image_of_the_cross_term_is_real() -> None:
    """The kernel at -h belongs to the conjugate of that at h, but for where the beams are cut off."""
    positions = np.array([[0.2, -0.1], [0.35, 0.3]])
    for h in HK:
        assert series(-h, positions) == pytest.approx(np.conj(series(h, positions)), abs=0.01 * LARGEST)


def test_layers_far_apart_in_a_wide_probe_hardly_interfere() -> None:
    """Phases of the beams turn quickly with the distance: 60 Å leave a small part of what 6 Å do."""
    near, far = (
        interference((MOS2, MOS2), (0.0, z), RECIPROCAL, HK[:1], VOLTAGE, SEMIANGLE, DETECTOR, Aberrations())[1]
        for z in (0.0, 60.0)
    )
    assert np.abs(far.sum()) < 0.2 * np.abs(near.sum())


def test_reach() -> None:
    q, kernel = interference((MOS2, MOS2), DEPTHS, RECIPROCAL, HK, VOLTAGE, SEMIANGLE, DETECTOR, ABERRATED)
    assert kernel.shape == (len(HK), len(q))
    assert np.linalg.norm(q @ MOS2.reciprocal, axis=1).max() <= REACH
