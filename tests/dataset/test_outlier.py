"""Outliers are what they are called."""

from __future__ import annotations

import numpy as np

from picostem.dataset.outlier import Kind, draw_kinds, substituted

from .made import bank_of

RIGHT = np.exp(1j * np.arange(5 * 18).reshape(5, 18)).astype(np.complex64) * np.arange(1, 19)
KINDS = np.array([Kind.STACK, Kind.ONE_LAYER, Kind.NOISE, Kind.CRYSTAL, Kind.AMORPHOUS])


def test_kinds_have_their_shares() -> None:
    counts = np.bincount(draw_kinds(40_000, 0.2, np.random.default_rng(0)), minlength=5)
    # five standard deviations of binomials
    assert abs(counts[0] - 32_000) < 400
    assert np.all(np.abs(counts[1:] - 2000) < 220)
    assert not draw_kinds(1000, 0.0, np.random.default_rng(0)).any()


def test_stacks_stay_and_noise_has_no_harmonics() -> None:
    found = substituted(RIGHT, KINDS, None, np.random.default_rng(0))
    np.testing.assert_array_equal(found[:2], RIGHT[:2])
    assert not found[[2, 4]].any()


def test_another_crystal_has_other_phases() -> None:
    found = substituted(RIGHT, KINDS, None, np.random.default_rng(0))[3]
    np.testing.assert_allclose(np.abs(found), np.abs(RIGHT[3]), rtol=1e-5)  # single precision
    agreement = np.vdot(found, RIGHT[3]) / np.linalg.norm(RIGHT[3]) ** 2
    assert abs(agreement) < 0.8  # random phases of 18 waves, the strongest 15 % of the power


def test_another_crystal_has_the_amplitudes_of_its_bank() -> None:
    for material, kept in (("ReS2", 18), ("MoS2", 18)):
        found = substituted(RIGHT, KINDS, bank_of(material), np.random.default_rng(0))[3]
        np.testing.assert_allclose(np.linalg.norm(found), np.linalg.norm(RIGHT[3]), rtol=1e-5)  # single precision
        assert np.count_nonzero(found) == kept
    wide = np.tile(RIGHT[:, :1], (1, 30))
    found = substituted(wide, KINDS, bank_of("MoS2"), np.random.default_rng(0))[3]
    assert not found[18:].any()
