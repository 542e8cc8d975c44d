"""Transfer of an aberrated probe: analytic limits, the Fourier transform of the probe itself, derivatives, symmetry."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from picostem.physics import electron_wavelength
from picostem.simulate.transfer import (
    ABERRATIONS,
    Aberrations,
    ApertureOverlap,
    aperture_overlap_nodes,
    probe_transfer,
    probe_transfer_with_derivatives,
)

FloatArray = NDArray[np.float64]

WAVELENGTH = electron_wavelength(300e3)
SEMIANGLE = 0.0213
K_MAX = SEMIANGLE / WAVELENGTH
ABERRATED = Aberrations(C10=18.0, C12a=9.0, C12b=-12.0, C21a=120.0, C21b=-150.0, C30=2e3)
# Gauss nodes of the square root at the lens's tips: 1.3e-6 without any aberration, as the module states.
QUADRATURE = 2e-6


def frequencies(count: int = 40, seed: int = 0, reach: float = 2.0) -> tuple[FloatArray, FloatArray]:
    """Random frequencies up to `reach` aperture radii."""
    rng = np.random.default_rng(seed)
    g, angle = rng.uniform(0, reach * K_MAX, count), rng.uniform(0, 2 * np.pi, count)
    return g * np.cos(angle), g * np.sin(angle)


def test_perfect_probe_has_the_transfer_of_a_circular_aperture() -> None:
    gx, gy = frequencies()
    x = np.hypot(gx, gy) / (2 * K_MAX)
    analytic = 2 / np.pi * (np.arccos(x) - x * np.sqrt(1 - x**2))  # Born and Wolf, section 9.5
    np.testing.assert_allclose(probe_transfer(gx, gy, WAVELENGTH, SEMIANGLE, Aberrations()), analytic, atol=QUADRATURE)


def test_all_electrons_arrive_and_none_beyond_the_cutoff() -> None:
    g = np.array([0.0, 2.001 * K_MAX, 5 * K_MAX])
    transfer = probe_transfer(g, np.zeros(3), WAVELENGTH, SEMIANGLE, ABERRATED)
    assert transfer[0] == pytest.approx(1, abs=QUADRATURE)
    assert not transfer[1:].any()


def chi(k: FloatArray, phi: FloatArray, a: Aberrations) -> FloatArray:
    """The phase as it is printed, from magnitudes and angles instead of components."""
    alpha = WAVELENGTH * k
    c12, phi12 = np.hypot(a.C12a, a.C12b), np.arctan2(a.C12b, a.C12a) / 2
    c21, phi21 = np.hypot(a.C21a, a.C21b), np.arctan2(a.C21b, a.C21a)
    second = alpha**2 / 2 * (a.C10 + c12 * np.cos(2 * (phi - phi12)))
    total = second + alpha**3 / 3 * c21 * np.cos(phi - phi21) + alpha**4 / 4 * a.C30
    return np.asarray(2 * np.pi / WAVELENGTH * total)


@pytest.mark.parametrize("aberrations", [Aberrations(), ABERRATED, replace(ABERRATED, C10=-30.0)])
def test_transfer_is_the_spectrum_of_the_imaged_point(aberrations: Aberrations) -> None:
    """An image is the object correlated with the probe, so a point's image is the probe's intensity turned round."""
    size, extent = 1024, 160.0
    k = np.fft.fftfreq(size, extent / size)
    kx, ky = np.meshgrid(k, k, indexing="xy")
    radius, phi = np.hypot(kx, ky), np.arctan2(ky, kx)
    # the edge is as soft as a pixel is wide
    aperture = np.clip((K_MAX - radius) * extent + 0.5, 0, 1)
    psi = np.fft.ifft2(aperture * np.exp(-1j * chi(radius, phi, aberrations)))
    intensity = np.abs(psi) ** 2
    spectrum = np.conj(np.fft.fft2(intensity)) / intensity.sum()
    rows, cols = np.nonzero((radius < 1.9 * K_MAX) & (np.arange(size)[:, None] % 7 == 0) & (np.arange(size) % 5 == 0))
    got = probe_transfer(k[cols], k[rows], WAVELENGTH, SEMIANGLE, aberrations)
    assert len(rows) > 500
    # 173 pixels across the aperture: its edge's area is right to (1/173)², squared amplitudes to half a pixel's ring
    np.testing.assert_allclose(got, spectrum[rows, cols], atol=4e-3)


def test_fourteen_nodes_do_what_sixty_four_do() -> None:
    gx, gy = frequencies(reach=1.9)
    for C10 in (-45.0, 0.0, 45.0):
        aberrations = replace(ABERRATED, C10=C10, C30=0.0)
        fine = ApertureOverlap(gx, gy, WAVELENGTH, SEMIANGLE, nodes=64).expansion(aberrations)[0]
        coarse = ApertureOverlap(gx, gy, WAVELENGTH, SEMIANGLE).expansion(aberrations)[0]
        np.testing.assert_allclose(coarse, fine, atol=QUADRATURE)


@pytest.mark.parametrize("name", ABERRATIONS)
def test_derivatives_are_those_of_the_transfer(name: str) -> None:
    gx, gy = frequencies()
    overlap = ApertureOverlap(gx, gy, WAVELENGTH, SEMIANGLE)
    value, gradient = probe_transfer_with_derivatives(gx, gy, WAVELENGTH, SEMIANGLE, ABERRATED)
    np.testing.assert_array_equal(value, probe_transfer(gx, gy, WAVELENGTH, SEMIANGLE, ABERRATED))
    step = 1e-3
    here = asdict(ABERRATED)
    up, down = (overlap.expansion(Aberrations(**{**here, name: here[name] + s})) for s in (step, -step))
    index = ABERRATIONS.index(name)
    # central differences err by step² f''' ~ 1e-6 · 0.3³ and by rounding 1e-16 / step
    np.testing.assert_allclose(gradient[index], (up[0] - down[0]) / (2 * step), atol=1e-8)
    curvature = overlap.expansion(ABERRATED)[2][index]
    np.testing.assert_allclose(curvature, (up[1][0] - down[1][0]) / (2 * step), atol=1e-8)
    assert np.abs(gradient[index]).max() > 1e-4


coefficients = st.builds(
    Aberrations,
    *[st.floats(-40, 40)] * 3,
    *[st.floats(-250, 250)] * 2,
    st.floats(-5e3, 5e3),
)
quick = settings(derandomize=True, deadline=None, max_examples=25)


@quick
@given(coefficients, st.floats(-7, 7))
def test_turning_the_probe_turns_the_transfer(a: Aberrations, turn: float) -> None:
    gx, gy = frequencies(12)
    c12, c21 = complex(a.C12a, a.C12b) * np.exp(2j * turn), complex(a.C21a, a.C21b) * np.exp(1j * turn)
    turned = Aberrations(a.C10, c12.real, c12.imag, c21.real, c21.imag, a.C30)
    g = (gx + 1j * gy) * np.exp(1j * turn)
    before = probe_transfer(gx, gy, WAVELENGTH, SEMIANGLE, a)
    after = probe_transfer(g.real, g.imag, WAVELENGTH, SEMIANGLE, turned)
    np.testing.assert_allclose(after, before, atol=1e-11)  # the same nodes, turned: rounding


@quick
@given(coefficients)
def test_image_of_a_real_object_is_real(a: Aberrations) -> None:
    gx, gy = frequencies(12)
    there = probe_transfer(gx, gy, WAVELENGTH, SEMIANGLE, a)
    np.testing.assert_allclose(probe_transfer(-gx, -gy, WAVELENGTH, SEMIANGLE, a), there.conj(), atol=1e-11)
    assert (np.abs(there) <= 1 + QUADRATURE).all()


@quick
@given(coefficients)
def test_opposite_aberrations_blur_the_same_but_shift_the_other_way(a: Aberrations) -> None:
    gx, gy = frequencies(12)
    opposite = Aberrations(*(-value for value in asdict(a).values()))
    there, back = (probe_transfer(gx, gy, WAVELENGTH, SEMIANGLE, x) for x in (a, opposite))
    np.testing.assert_allclose(back, there.conj(), atol=1e-11)


def test_coma_moves_an_atom_along_its_axis() -> None:
    g = np.array([0.01])
    transfer = probe_transfer(g, np.zeros(1), WAVELENGTH, SEMIANGLE, Aberrations(C21a=200.0))
    across = probe_transfer(np.zeros(1), g, WAVELENGTH, SEMIANGLE, Aberrations(C21a=200.0))
    # centroid = mean over the aperture of the ray's displacement, d chi/dk / 2 pi = lambda² C21 (k² + 2 kx²) / 3
    expected = 2 * np.pi * 0.01 * 200.0 * WAVELENGTH**2 * K_MAX**2 / 3
    # O(g): fourth powers of g x 0.2 Å are left out
    assert np.angle(transfer[0]) == pytest.approx(expected, rel=2e-2)
    assert np.angle(across[0]) == pytest.approx(0, abs=1e-12)


class TestNodes:
    g = np.array([0.6, -0.4])

    def test_both_beams_pass_the_aperture(self) -> None:
        kx, ky, wave = aperture_overlap_nodes(self.g, WAVELENGTH, SEMIANGLE, ABERRATED)
        assert kx.shape == ky.shape == wave.shape
        assert (np.hypot(kx, ky) < K_MAX).all()
        assert (np.hypot(kx + self.g[0], ky + self.g[1]) < K_MAX).all()

    def test_their_weights_add_up_to_the_transfer(self) -> None:
        for g in (self.g, np.zeros(2)):
            wave = aperture_overlap_nodes(g, WAVELENGTH, SEMIANGLE, ABERRATED)[2]
            expected = probe_transfer(g[:1], g[1:], WAVELENGTH, SEMIANGLE, ABERRATED)[0]
            assert wave.sum() == pytest.approx(expected, abs=1e-12)  # the same nodes, shifted

    def test_they_integrate_as_a_grid_does(self) -> None:
        """Integral of exp(i s.k) exp(i [chi(k + g) - chi(k)]), as it stands, over a fine grid."""
        s = np.array([1.3, -0.8])
        step = K_MAX / 400
        axis = (np.arange(-420, 421) + 0.5) * step
        kx, ky = np.meshgrid(axis, axis)
        mx, my = kx + self.g[0], ky + self.g[1]
        near, far = np.hypot(kx, ky), np.hypot(mx, my)
        both = (near < K_MAX) & (far < K_MAX)
        phase = chi(far, np.arctan2(my, mx), ABERRATED) - chi(near, np.arctan2(ky, kx), ABERRATED)
        naive = np.sum(np.exp(1j * (phase + s[0] * kx + s[1] * ky))[both]) * step**2 / (np.pi * K_MAX**2)
        nx, ny, wave = aperture_overlap_nodes(self.g, WAVELENGTH, SEMIANGLE, ABERRATED)
        # the grid's edge: about 1000 pixels on it, each right to 0.3 of its area, of 500 000 in all
        assert np.sum(wave * np.exp(1j * (s[0] * nx + s[1] * ny))) == pytest.approx(naive, abs=1e-4)
