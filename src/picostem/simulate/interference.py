"""Interference between layers: electrons that two layers scatter to the same point of the detector.

The linear model adds the intensities that the layers scatter. Where the detector begins close to the probe's edge, the
amplitudes of nearly overlapping atoms add instead. For layers at depths z_l and z_m, positions t_l and t_m, the
harmonic h gains

    s exp(-2 pi i h . t_l) * sum over q of K(h, q) exp(-2 pi i q . (t_m - t_l)),

    K(h, q) = (lambda gamma)²/A * [c(h, h - q; l, m) + c(h, q; m, l)]
    c(h, p; l, m) = F_l(p) F_m*(p - h) * integral over k of D(k + p) exp(i [chi(k + h) - chi(k)])
                    exp(-i pi lambda [z_l (k² - (k + p)²) - z_m ((k + h)² - (k + p)²)]) d²k / (pi k_max²)

| symbol | meaning |
|---|---|
| F_l(p) | scattering amplitude of layer l's cell, with the Debye-Waller factor, Å |
| k | in the overlap of two apertures h apart; D: 1 on the detector |
| A | area of the cell, Å² |
| lambda, gamma | electron wavelength, relativistic factor |

It is the kinematic exit wave's cross-term: up to 8 % of the strongest harmonic in 2H layers at 60 kV and a detector
from 49.5 mrad. It goes together with `channelling`: where atoms overlap the two partly cancel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from picostem.physics import electron_wavelength, relativistic_factor, scattering_amplitude
from picostem.simulate.scattering import rms_displacement, thermal_transfer
from picostem.simulate.transfer import Aberrations, aperture_overlap_nodes
from picostem.structure.lattice import all_reflections
from picostem.structure.monolayer import Monolayer

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.int64]

REACH = 3.2  # 1/Å; thermal motion leaves less than 0.3 of the amplitude product beyond
EDGE = 0.2  # of the semiangle: the detector's edges are this soft, so that few nodes suffice
NODES = 8  # of the quadrature over the overlap, each way; right to 7 % of the term (tested), 0.3 % of the image


def interference(
    layers: tuple[Monolayer, Monolayer],
    depths: tuple[float, float],
    reciprocal: FloatArray,
    hk: IntArray,
    voltage_eV: float,
    semiangle: float,
    detector: tuple[float, float],
    aberrations: Aberrations,
) -> tuple[IntArray, ComplexArray]:
    """Lattice vectors q, shape (m, 2), and K(h, q), shape (n, m), in Å², of two layers with one lattice.

    Args:
        layers, depths: the pair, the one the beam meets first in front; depths z in Å.
        reciprocal: rows a*, b* in the image frame, 1/Å, shape (2, 2).
        hk: reflections h, shape (n, 2).
        semiangle, detector: half angles, rad.
        aberrations: at z = 0.
    """
    wavelength = electron_wavelength(voltage_eV)
    p = all_reflections(layers[0].reciprocal, REACH)
    span = int(np.abs(p).max() + np.abs(hk).max())
    kernel = np.zeros((len(hk), 2 * span + 1, 2 * span + 1), dtype=np.complex64)
    first, second = (_amplitude(layer, reciprocal, voltage_eV, span) for layer in layers)
    vectors = (p @ reciprocal).astype(np.float32)
    p2 = np.sum(vectors**2, axis=1)
    squares = np.concatenate([vectors.T, np.ones((1, len(p)), dtype=np.float32), p2[None]])  # |k + p|² is linear in it
    inner, outer = (angle / wavelength for angle in detector)
    edge = EDGE * semiangle / wavelength
    turn = np.pi * wavelength
    apart = np.float32(turn * (depths[1] - depths[0]))
    still = np.exp(-1j * apart * p2)
    steps = np.arange(p.min(), p.max() + 1)
    place = (p - p.min()).T
    for i, h in enumerate(hk):
        g = h @ reciprocal
        kx, ky, wave = aperture_overlap_nodes(g, wavelength, semiangle, aberrations, NODES)
        k2, kg2 = kx**2 + ky**2, (kx + g[0]) ** 2 + (ky + g[1]) ** 2
        q2 = np.stack([2 * kx, 2 * ky, k2, np.ones(len(k2))], axis=1).astype(np.float32) @ squares
        detected = _detected(np.sqrt(np.maximum(q2, 0, out=q2), out=q2), inner, outer, edge)
        # exp(-i pi lambda (z_m - z_l) |k + p|²) on the detector; what depends on k or p alone is taken out of the sum
        along = np.stack([kx, ky], axis=1) @ reciprocal.T
        waves = [np.exp(-2j * apart * np.outer(along[:, axis], steps)).astype(np.complex64) for axis in (0, 1)]
        passed = waves[0].take(place[0], axis=1)
        passed *= waves[1].take(place[1], axis=1)
        passed *= detected
        there = wave * np.exp(-1j * (turn * (depths[0] * k2 - depths[1] * kg2) + apart * k2))
        back = wave * np.exp(-1j * (turn * (depths[1] * k2 - depths[0] * kg2) - apart * k2))
        lower = still * (there.astype(np.complex64) @ passed)
        upper = np.conj(still) * np.conj(np.conj(back).astype(np.complex64) @ passed)
        kernel[i][_index(h - p, span)] += lower * first[_index(p, span)] * np.conj(second[_index(p - h, span)])
        kernel[i][_index(p, span)] += upper * second[_index(p, span)] * np.conj(first[_index(p - h, span)])
    scale = (wavelength * relativistic_factor(voltage_eV)) ** 2 / abs(np.linalg.det(layers[0].cell))
    return p, scale * kernel[(slice(None), *_index(p, span))].astype(complex)


def _detected(q: NDArray[np.float32], inner: float, outer: float, edge: float) -> NDArray[np.float32]:
    """1 on the detector, 0 beside it, with soft edges."""
    inside = (q - np.float32(inner - edge / 2)) * np.float32(1 / edge)
    np.clip(inside, 0, 1, out=inside)
    if q.max() > outer - edge / 2:
        inside *= np.clip((np.float32(outer + edge / 2) - q) / np.float32(edge), 0, 1)
    return np.asarray(inside)


def _index(vectors: IntArray, span: int) -> tuple[IntArray, IntArray]:
    return vectors[:, 0] + span, vectors[:, 1] + span


def _amplitude(layer: Monolayer, reciprocal: FloatArray, voltage_eV: float, span: int) -> ComplexArray:
    """F(p) for all |p_a|, |p_b| <= span, shape (2 span + 1, 2 span + 1), in Å."""
    index = np.arange(-span, span + 1)
    p = np.stack(np.meshgrid(index, index, indexing="ij"), axis=-1)
    g = np.linalg.norm(p @ reciprocal, axis=-1)
    total = np.zeros(g.shape, dtype=complex)
    for symbol in sorted(set(layer.symbols)):
        here = layer.scaled[[s == symbol for s in layer.symbols]]
        a, b = (np.exp(-2j * np.pi * np.outer(index, here[:, axis])) for axis in (0, 1))
        factor = scattering_amplitude(symbol, g, voltage_eV) * thermal_transfer(g, rms_displacement(symbol))
        total += factor * (a @ b.T)
    return total
