"""Every corruption does what it says, and leaves alone what it should."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.dataset.corruption import (
    blur,
    contamination,
    gaussian,
    hole,
    missing_atoms,
    otherwise,
    partial_layer,
    poisson,
    scan_jitter,
    texture,
)

SIDE = 50
FLAT = np.full((40, SIDE, SIDE), 0.2, np.float32)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


class TestMissingAtoms:
    def test_are_binomial(self) -> None:
        share = np.full(4000, 0.1)
        found = missing_atoms((2, 3), share, 46.3, rng())
        assert found.shape == (4000, 2, 3)
        np.testing.assert_allclose(found * 46, np.rint(found * 46), atol=1e-4)  # single precision
        # 24000 draws: the mean scatters by 3e-4, the standard deviation by 0.5 % of itself; five of these
        assert found.mean() == pytest.approx(0.9, abs=1.5e-3)
        assert found.std() == pytest.approx(np.sqrt(0.09 / 46), rel=0.025)

    def test_each_sample_has_its_own_share(self) -> None:
        found = missing_atoms((2, 3), np.array([0.0, 1.0, 0.5]), 1000, rng())
        assert np.all(found[0] == 1) and np.all(found[1] == 0)
        assert np.all(np.abs(found[2] - 0.5) < 0.08)  # five standard deviations of 1000 cells


def test_amplitudes_are_otherwise_by_their_share() -> None:
    off = otherwise((2, 20_000), np.array([0.0, 0.1]), np.random.default_rng(0)) - 1
    assert not off[0].any()
    assert np.sqrt(np.mean(np.abs(off[1]) ** 2)) == pytest.approx(0.1, rel=0.02)
    assert abs(off[1].mean()) < 0.003 and off[1].real.std() == pytest.approx(off[1].imag.std(), rel=0.03)


def test_blur_is_a_gaussian_s() -> None:
    """In pixels: a wave of 0.25 cycles per pixel through a Gaussian of 1 pixel, summed by hand."""
    g = np.array([[0.25, 0.0], [0.1, 0.2]])
    found = blur(np.ones((2, 2), np.complex64), g, np.array([0.0, 1.0]))
    x = np.arange(-60, 61) / 10
    weight = np.exp(-(x**2) / 2) / np.exp(-(x**2) / 2).sum()
    by_hand = [weight @ np.cos(2 * np.pi * np.linalg.norm(one) * x) for one in g]
    np.testing.assert_allclose(found[0], 1)
    np.testing.assert_allclose(found[1], by_hand, rtol=1e-5)  # the sum is exact to 1e-8; single precision


class TestScanJitter:
    def test_has_the_rms_and_the_memory_that_were_asked_for(self) -> None:
        found = scan_jitter(SIDE, np.full(400, 0.3), 0.6, rng())
        # 400 windows of about 12 independent rows: rms to 1.5 %, correlations to 0.015; five of these
        np.testing.assert_allclose(found.std(axis=(0, 1)), 0.3, rtol=0.08)
        np.testing.assert_allclose(found[:, 0].std(axis=0), 0.3, rtol=0.2)  # of 400: to 3.5 %
        lag = np.mean(found[:, 1:] * found[:, :-1], axis=(0, 1)) / np.mean(found**2, axis=(0, 1))
        np.testing.assert_allclose(lag, 0.6, atol=0.08)

    def test_is_none_for_an_rms_of_zero(self) -> None:
        assert not scan_jitter(SIDE, np.array([0.0]), 0.6, rng()).any()


class TestHole:
    share = np.linspace(0.02, 0.3, 40)

    def test_scatters_nothing_and_leaves_the_rest_alone(self) -> None:
        found = hole(FLAT, self.share, rng())
        assert found.min() == 0 and found.max() == FLAT[0, 0, 0]
        between = np.mean((found > 0) & (found < FLAT))
        assert between < 0.06  # a rim of 2 pixels along 1/5 to 1 of the window's perimeter

    def test_takes_the_share_at_most_and_often_about_that(self) -> None:
        taken = 1 - hole(FLAT, self.share, rng()).mean(axis=(1, 2)) / 0.2
        assert np.all(taken <= self.share + 2e-3)  # pixels on the rim
        assert np.median(taken / self.share) > 0.6  # centres are anywhere: about half reach over the border
        assert np.any(np.abs(taken - self.share) < 3e-3)


class TestPartialLayer:
    share = np.linspace(0.0, 0.5, 40)

    def test_shows_the_lower_layer_beyond_a_straight_edge(self) -> None:
        found = partial_layer(FLAT, FLAT / 2, self.share, rng())
        missing = (0.2 - found.mean(axis=(1, 2))) / 0.1
        np.testing.assert_allclose(missing, self.share, atol=0.025)  # half of a rim of 2 in 50 pixels
        last = found[-1]
        assert np.mean(np.isclose(last, 0.1)) > 0.45 and np.mean(np.isclose(last, 0.2)) > 0.45
        # a straight edge: each row is monotonic
        steps = np.diff(last, axis=1)
        assert np.all(steps >= -1e-6) or np.all(steps <= 1e-6)

    def test_edges_have_all_directions(self) -> None:
        found = partial_layer(FLAT, FLAT / 2, np.full(40, 0.3), rng())
        right = found[:, :, 25:].mean(axis=(1, 2)) - found[:, :, :25].mean(axis=(1, 2))
        assert right.min() < -0.02 and right.max() > 0.02


class TestContamination:
    def test_adds_up_to_its_share_of_the_mean(self) -> None:
        added = np.linspace(0.1, 1, 40)
        found = contamination(FLAT, added, np.zeros(40), 10.0, rng())
        np.testing.assert_allclose(found.min(axis=(1, 2)), 0.2, rtol=1e-5)  # single precision, as below
        np.testing.assert_allclose(found.max(axis=(1, 2)), 0.2 * (1 + added), rtol=1e-5)

    def test_absorbs_up_to_its_share_of_the_signal(self) -> None:
        absorbed = np.linspace(0.1, 0.4, 40)
        found = contamination(FLAT, np.zeros(40), absorbed, 10.0, rng())
        np.testing.assert_allclose(found.min(axis=(1, 2)), 0.2 * (1 - absorbed), rtol=1e-5)
        np.testing.assert_allclose(found.max(axis=(1, 2)), 0.2, rtol=1e-5)


@pytest.mark.parametrize("length", [1.5, 6.0, 30.0])
def test_texture_is_smooth_noise_of_its_length(length: float) -> None:
    found = texture(3000, SIDE, length, rng())
    # nodes one length apart are no continuum: 2 % of variance and correlation; 3000 fields: five times 2.6 %
    np.testing.assert_allclose(found.var(axis=0)[::7, ::7], 1, atol=0.15)
    far = min(int(length), SIDE - 1)
    pair = np.mean(found[:, 0, 0] * found[:, 0, far])
    assert pair == pytest.approx(np.exp(-(far**2) / (4 * length**2)), abs=0.12)


def test_poisson_has_the_variance_of_counts() -> None:
    electrons = np.array([50.0, 5000.0])
    patches = np.stack([np.full((400, 400), 0.2), np.full((400, 400), 0.05)]).astype(np.float32)
    found = poisson(patches, electrons, rng())
    counted = rng(1).poisson(patches * electrons[:, None, None]) / electrons[:, None, None]
    # 160000 pixels: means to 0.25 % of sigma, variances to 0.35 %; five of these
    sigma = np.sqrt([0.2 / 50, 0.05 / 5000])
    np.testing.assert_allclose(found.mean(axis=(1, 2)), [0.2, 0.05], atol=0.0125 * sigma.max())
    np.testing.assert_allclose(found.std(axis=(1, 2)), sigma, rtol=0.018)
    np.testing.assert_allclose(found.std(axis=(1, 2)), counted.std(axis=(1, 2)), rtol=0.025)


def test_poisson_leaves_vacuum_alone() -> None:
    dark = np.array([[[0.0, -0.1], [0.0, 0.0]]], np.float32)
    np.testing.assert_array_equal(poisson(dark, np.array([10.0]), rng()), dark)


def test_gaussian_has_each_sample_s_sigma() -> None:
    found = gaussian(np.zeros((2, 300, 300), np.float32), np.array([0.0, 0.4]), rng())
    assert not found[0].any()
    assert found[1].std() == pytest.approx(0.4, rel=0.012)  # five standard errors of 90000 pixels
