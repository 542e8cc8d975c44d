"""Measures of greys: known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from picostem.style.histogram import (
    BINS,
    PSEUDOCOUNT,
    grey_divergence,
    histogram,
    line_profiles,
    mean_roughness,
    peak_signal_to_noise,
    roughness,
)
from tests.style.made_crystal import picture


def test_divergence_of_two_greys_is_that_of_the_formula() -> None:
    """Shares 1/4 and 3/4 against 1/2 and 1/2, and no other values."""
    n = 400_000
    p, q = np.repeat([0.0, 1.0], [n // 4, 3 * n // 4]), np.repeat([0.0, 1.0], [n // 2, n // 2])
    expected = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    # the pseudocounts of 32 bins are 4e-5 of all
    assert grey_divergence(p, q) == pytest.approx(expected, abs=1e-4)
    assert grey_divergence(p, p) == 0.0


def test_divergence_is_that_of_greys_normalised_and_not_symmetric() -> None:
    rng = np.random.default_rng(1)
    p, q = rng.beta(2, 5, 50_000), rng.beta(2, 2, 50_000)
    assert grey_divergence(p, q) == pytest.approx(grey_divergence(7 * p - 3, 0.1 * q + 2), abs=1e-12)
    assert abs(grey_divergence(p, q) - grey_divergence(q, p)) > 0.02  # 0.30 and 0.33


def test_bias_of_the_divergence_is_as_documented() -> None:
    """(BINS - 1)/n between samples of one distribution: the mean of 200 pairs, whose standard error is 2 %."""
    rng, n = np.random.default_rng(2), 4000
    ends = [0.0, 1.0]
    found = [grey_divergence(*(np.r_[ends, rng.random(n - 2)] for _ in range(2))) for _ in range(200)]
    assert np.mean(found) == pytest.approx((BINS - 1) / n, rel=0.1)


def test_empty_bins_hold_the_pseudocount() -> None:
    shares = histogram(np.array([0.0, 1.0, 1.0]))
    assert shares[5] == pytest.approx(PSEUDOCOUNT / (3 + BINS * PSEUDOCOUNT))
    assert shares.sum() == pytest.approx(1)


def test_roughness_of_known_curves() -> None:
    """A full sine wave: 2/pi of its amplitude; a square wave: its amplitude; a triangle: half of it."""
    x = (np.arange(10_000) + 0.5) / 10_000
    assert roughness(0.5 + 0.5 * np.sin(2 * np.pi * x)) == pytest.approx(1 / np.pi, abs=1e-6)
    assert roughness((x < 0.5).astype(float)) == pytest.approx(0.5)
    assert roughness(x) == pytest.approx(0.25, abs=1e-6)


def test_profiles_are_averaged_over_one_angstrom_and_normalised() -> None:
    data = np.random.default_rng(3).random((50, 70))
    lines = line_profiles(picture(data, 0.25), axis=0)
    assert lines.shape == (12, 70)  # 4 rows each, 2 left over
    by_hand = data[4:8].astype(np.float32).astype(float).mean(axis=0)
    np.testing.assert_allclose(lines[1], (by_hand - by_hand.min()) / np.ptp(by_hand), atol=1e-12)
    assert line_profiles(picture(data, 0.25), axis=1).shape == (17, 50)
    assert mean_roughness(picture(data)) == pytest.approx(mean_roughness(picture(data.T)))


def test_constant_line_is_flat() -> None:
    data = np.zeros((40, 40))
    data[20:] = np.linspace(0, 1, 40)
    lines = line_profiles(picture(data, 1.0), axis=0)
    assert not lines[:20].any()
    assert np.ptp(lines[25]) == 1


def test_psnr_of_a_known_error() -> None:
    """An error of 0.1 everywhere: 20 dB."""
    data = np.random.default_rng(4).random((40, 40))
    assert peak_signal_to_noise(data, data + 0.1) == pytest.approx(20)
    assert peak_signal_to_noise(data, data) == math.inf
