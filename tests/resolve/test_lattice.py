"""Finding a lattice: its geometry, the spectrum's noise and peaks, and lattices of any rotation, hand and scale."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from picostem.resolve.lattice import (
    MAX_DISTORTION,
    PEAK_THRESHOLD,
    Lattice,
    Spectrum,
    find_lattices,
    power_spectrum,
    refine_lattice,
    spectrum_peaks,
    unindexed_share,
)
from picostem.structure import Monolayer, layer_operations, load_monolayer
from picostem.structure.lattice import all_reflections, reflections

from .made import MOS2, RES2, crystal_image, make_lattice, plane_waves

FloatArray = NDArray[np.float64]

quick = settings(derandomize=True, deadline=None, max_examples=30)
SHEAR = np.array([[1.04, 0.03], [-0.02, 0.97]])


@quick
@given(st.floats(0.02, 0.3), st.floats(-3.1, 3.1), st.booleans())
def test_lattice_tells_how_it_was_made(pixel_size: float, rotation: float, mirrored: bool) -> None:
    lattice = make_lattice(RES2, pixel_size, rotation, mirrored)
    assert lattice.pixel_size == pytest.approx(pixel_size, rel=1e-9)  # rounding, in all of these
    assert lattice.rotation == pytest.approx(rotation, abs=1e-9)
    assert lattice.mirrored == mirrored
    assert lattice.distortion == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(lattice.reciprocal @ lattice.rows.T, np.eye(2), atol=1e-9)
    np.testing.assert_allclose(lattice.image_from_crystal @ RES2.cell.T, lattice.rows.T, atol=1e-6)


def test_distorted_lattice_keeps_area_and_orientation() -> None:
    stretch = np.diag([1.05, 1 / 1.05])
    lattice = make_lattice(MOS2, 0.1, 0.0, distortion=stretch)
    assert lattice.pixel_size == pytest.approx(0.1)
    assert lattice.rotation == pytest.approx(0, abs=1e-9)
    assert lattice.distortion == pytest.approx(1.05**2)


class TestReflections:
    def test_are_one_half_of_all(self) -> None:
        hk, every = reflections(RES2.reciprocal, 1.1), all_reflections(RES2.reciprocal, 1.1)
        both = {tuple(v) for v in np.concatenate([hk, -hk, [[0, 0]]]).tolist()}
        assert both == {tuple(v) for v in every.tolist()}
        assert len(both) == 2 * len(hk) + 1 == len(every)

    def test_are_all_within_the_radius_the_shortest_first(self) -> None:
        naive = [v for v in itertools.product(range(-12, 13), repeat=2) if np.linalg.norm(v @ RES2.reciprocal) <= 1.1]
        assert len(all_reflections(RES2.reciprocal, 1.1)) == len(naive)
        length = np.linalg.norm(reflections(RES2.reciprocal, 1.1) @ RES2.reciprocal, axis=1)
        assert (np.diff(length) >= 0).all()
        assert length.max() <= 1.1

    def test_of_a_skewed_basis_are_the_same_vectors(self) -> None:
        skewed = np.array([[1, 0], [3, 1]]) @ MOS2.reciprocal
        lengths = [np.sort(np.linalg.norm(reflections(b, 1.5) @ b, axis=1)) for b in (MOS2.reciprocal, skewed)]
        np.testing.assert_allclose(*lengths, atol=1e-9)


class TestSpectrum:
    rng = np.random.default_rng(1)

    @pytest.mark.parametrize("shape", [(256, 300), (600, 520), (1100, 1100)])
    def test_white_noise_has_its_variance_at_all_frequencies(self, shape: tuple[int, int]) -> None:
        spectrum = power_spectrum(self.rng.normal(0, 3, shape).astype(np.float32))
        radius = np.linspace(0.05, 0.45, 20)
        # quartiles of rings of 200 and more independent values, smoothed: 5 % each
        np.testing.assert_allclose(spectrum.noise_at(np.stack([radius, 0 * radius], axis=1)), 9, rtol=0.2)
        assert spectrum.ratio.mean() == pytest.approx(1, abs=0.05)

    def test_red_noise_is_seen_where_it_is(self) -> None:
        noise = self.rng.normal(0, 1, (512, 512))
        slow = np.fft.rfft2(self.rng.normal(0, 10, (512, 512)))
        radius = np.hypot(np.fft.fftfreq(512)[:, None], np.fft.rfftfreq(512))
        data = noise + np.fft.irfft2(np.where(radius < 0.1, slow, 0), (512, 512))
        low, high = power_spectrum(data.astype(np.float32)).noise_at(np.array([[0.05, 0.0], [0.0, 0.3]]))
        assert low == pytest.approx(101, rel=0.2)
        assert high == pytest.approx(1, rel=0.2)

    def test_mean_of_the_image_does_not_matter(self) -> None:
        data = self.rng.normal(0, 1, (200, 200)).astype(np.float32)
        one, other = power_spectrum(data), power_spectrum(data + np.float32(50))
        np.testing.assert_allclose(other.noise, one.noise, rtol=1e-3)  # float32: 50 has a last digit of 4e-6

    @pytest.mark.parametrize("g", [(0.213, 0.107), (0.05, -0.301), (-0.151, 0.2)])
    def test_a_wave_peaks_where_it_should(self, g: tuple[float, float]) -> None:
        wave = plane_waves((400, 420), np.array([g]), np.array([1.0 + 0j]))
        spectrum = power_spectrum((wave + self.rng.normal(0, 1, wave.shape)).astype(np.float32))
        row, col = spectrum.index(np.array(g))
        peak = np.unravel_index(int(spectrum.ratio.argmax()), spectrum.ratio.shape)
        twin = spectrum.index(-np.array(g))
        assert max(abs(np.subtract(peak, (row, col)))) <= 1 or max(abs(np.subtract(peak, twin))) <= 1
        found, power = spectrum_peaks(spectrum, 5)
        towards = np.array(g) if found[0] @ g > 0 else -np.array(g)
        # a resolution element is 1/400; a parabola through ln of a Hann peak errs by 4 % of one, noise by 1 %
        np.testing.assert_allclose(found[0], towards, atol=0.1 / 400)
        assert power[0] == power.max() > 1000

    def test_noise_has_no_peaks(self) -> None:
        peaks, power = spectrum_peaks(power_spectrum(self.rng.normal(0, 1, (512, 512)).astype(np.float32)), 20)
        # 1e5 independent values, exp(-14) each: one in ten images; two are one in two hundred
        assert len(peaks) <= 1
        assert (power > PEAK_THRESHOLD).all()

    def test_index_stays_inside(self) -> None:
        spectrum = Spectrum(np.ones((8, 8)), np.array([0.1, 0.4]), np.ones(2))
        row, col = spectrum.index(np.array([[0.9, 0.9], [-0.9, -0.9]]))
        assert row.tolist() == [0, 7]
        assert col.tolist() == [7, 0]


def noisy_image(
    lattice: Lattice, monolayer: Monolayer, field: float = 44.0, noise: float = 0.15
) -> NDArray[np.float32]:
    """A crystal over a field of that many Å, with noise that grows as the pixels shrink (the same dose)."""
    side = max(round(field / lattice.pixel_size), 64)
    image = crystal_image(monolayer, lattice, (side, side))
    sigma = noise * 0.12 / lattice.pixel_size
    return (image + np.random.default_rng(5).normal(0, sigma, image.shape)).astype(np.float32)


def equal_lattices(one: Lattice, other: Lattice, monolayer: Monolayer) -> float:
    """Smallest relative difference of two maps from the crystal, up to the layer's symmetry."""
    turns = [operation.matrix for operation in layer_operations(monolayer)]
    size = np.linalg.norm(other.image_from_crystal)
    return min(float(np.linalg.norm(one.image_from_crystal @ t - other.image_from_crystal) / size) for t in turns)


@settings(derandomize=True, deadline=None, max_examples=8)
@given(
    pixel_size=st.floats(np.log(0.03), np.log(0.29)).map(lambda x: float(np.exp(x))),
    rotation=st.floats(-3.1, 3.1),
    mirrored=st.booleans(),
    name=st.sampled_from(["ReS2", "MoS2", "1T'-MoTe2"]),
    stretch=st.floats(1.0, 1.1),
    axis=st.floats(0, 3.1),
)
@example(0.0205, 0.3, True, "MoS2", 1.1, 0.4)
@example(0.295, -2.0, False, "MoS2", 1.1, 1.2)
def test_any_lattice_is_found(
    pixel_size: float, rotation: float, mirrored: bool, name: str, stretch: float, axis: float
) -> None:
    """Rotation, hand and pixel size unknown, the principal stretches up to 10 % apart."""
    monolayer = load_monolayer(name)
    turn = np.array([[np.cos(axis), -np.sin(axis)], [np.sin(axis), np.cos(axis)]])
    distortion = turn @ np.diag([np.sqrt(stretch), 1 / np.sqrt(stretch)]) @ turn.T
    true = make_lattice(monolayer, pixel_size, rotation, mirrored, distortion)
    spectrum = power_spectrum(noisy_image(true, monolayer))
    refined = [refine_lattice(spectrum, lattice) for lattice, _ in find_lattices(spectrum, monolayer, None, 12)]
    # a resolution element is 1/44 Å, 8 % of the shortest vectors; peaks are placed to some 2 % of one
    assert min(equal_lattices(lattice, true, monolayer) for lattice in refined) < 3e-3


def test_pixel_size_narrows_the_search() -> None:
    true = make_lattice(RES2, 0.12, 0.4)
    spectrum = power_spectrum(noisy_image(true, RES2))
    free, near = (find_lattices(spectrum, RES2, size) for size in (None, 0.118))
    assert all(0.118 / 1.13 < lattice.pixel_size < 0.118 * 1.13 for lattice, _ in near)
    assert near[0][1] == pytest.approx(free[0][1])
    wrong = find_lattices(spectrum, RES2, 0.06)
    assert not wrong or wrong[0][1] < 0.5 * near[0][1]


def test_candidates_differ_and_come_best_first() -> None:
    spectrum = power_spectrum(noisy_image(make_lattice(RES2, 0.12, 0.4), RES2))
    found = find_lattices(spectrum, RES2, None, 12)
    assert len(found) == 12
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)
    assert all(lattice.distortion <= MAX_DISTORTION * (1 + 1e-9) for lattice, _ in found)
    for (one, _), (other, _) in itertools.combinations(found, 2):
        assert min(np.linalg.norm(one.rows - s * other.rows) for s in (1, -1)) > 0.02 * np.linalg.norm(one.rows)


def test_no_peaks_no_lattice() -> None:
    noise = np.random.default_rng(3).normal(0, 1, (300, 300)).astype(np.float32)
    assert find_lattices(power_spectrum(noise), RES2, 0.12) == []


class TestRefinement:
    true = make_lattice(RES2, 0.12, 0.4, distortion=SHEAR)
    spectrum = power_spectrum(noisy_image(true, RES2))

    def test_comes_from_one_per_cent_off(self) -> None:
        off = Lattice(self.true.rows @ np.array([[1.008, 0.004], [-0.005, 0.993]]), self.true.cell)
        refined = refine_lattice(self.spectrum, off)
        error = np.abs(refined.reciprocal - self.true.reciprocal).max() * 44 / 0.12
        assert error < 0.03  # resolution elements: as a single parabola's error, over many peaks
        assert np.abs(off.reciprocal - self.true.reciprocal).max() * 44 / 0.12 > 0.05

    def test_leaves_a_lattice_without_peaks_alone(self) -> None:
        noise = power_spectrum(np.random.default_rng(3).normal(0, 1, (300, 300)).astype(np.float32))
        assert refine_lattice(noise, self.true) is self.true


def test_second_lattice_shows_as_power_off_the_first() -> None:
    one, other = (make_lattice(MOS2, 0.12, rotation) for rotation in (0.2, 0.2 + np.radians(17)))
    both = noisy_image(one, MOS2) + noisy_image(other, MOS2)
    alone = power_spectrum(noisy_image(one, MOS2))
    assert unindexed_share(alone, one) == 0
    # two equal lattices share the power, but for the odd coincidence and where peaks run into each other
    assert unindexed_share(power_spectrum(both), one) == pytest.approx(0.5, abs=0.1)
    nothing = Spectrum(np.ones((64, 64)), np.array([0.1, 0.4]), np.ones(2))
    assert unindexed_share(nothing, one) == 0
