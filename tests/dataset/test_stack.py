"""Harmonics of stacks: translations, lattice vectors and missing atoms."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.dataset.stack import amplitudes, mean_intensity, waves

from .made import bank_of, without_kernels

SLIPS = np.random.default_rng(1).random((6, 1, 2))
SINGLE = 3e-6  # single precision of sums over some hundred columns, of the largest amplitude


def test_waves_are_the_exponentials() -> None:
    vectors = np.array([[0, 0], [3, -2], [-7, 1], [5, 5]])
    at = np.random.default_rng(0).uniform(-2, 2, (9, 2))
    np.testing.assert_allclose(waves(vectors, at), np.exp(-2j * np.pi * at @ vectors.T), atol=1e-6)  # single precision


def test_a_lattice_vector_more_is_the_same_stack() -> None:
    bank = bank_of()
    one, other = amplitudes(bank, 1, SLIPS), amplitudes(bank, 1, SLIPS + [2, -1])
    np.testing.assert_allclose(other, one, atol=SINGLE * np.abs(one).max())


def test_full_occupancy_is_the_perfect_crystal() -> None:
    bank = bank_of("MoS2", 3)
    slips = np.random.default_rng(2).random((5, 2, 2))
    perfect = amplitudes(bank, 0, slips)
    full = amplitudes(bank, 0, slips, np.ones((5, 3, 3), np.float32))
    np.testing.assert_allclose(full, perfect, atol=SINGLE * np.abs(perfect).max())


def test_an_empty_upper_layer_is_the_lower_one_alone() -> None:
    bank = bank_of()
    occupancy = np.ones((6, 2, 3), np.float32)
    occupancy[:, 1] = 0
    found = amplitudes(bank, 2, SLIPS, occupancy)
    np.testing.assert_allclose(found, np.tile(bank.sites[2, 0].sum(axis=0), (6, 1)), rtol=1e-5)  # single precision


def test_a_missing_sulphur_takes_its_own_part_and_that_of_its_column() -> None:
    """In 2H-MoS2 the two sulphurs (atoms 1 and 2) share a column: the term after the atoms is that of both."""
    bank = without_kernels(bank_of())
    assert bank.pairs.tolist() == [[1, 2]]
    occupancy = np.ones((1, 2, 3), np.float32)
    perfect = amplitudes(bank, 0, SLIPS[:1], occupancy)
    occupancy[0, 1, 2] = 0.25
    lost = perfect - amplitudes(bank, 0, SLIPS[:1], occupancy)
    expected = 0.75 * (bank.sites[0, 1, 2] + bank.sites[0, 1, 3]) * waves(bank.hk, SLIPS[0])
    np.testing.assert_allclose(lost, expected, atol=SINGLE * np.abs(perfect).max())
    half = mean_intensity(bank, 0, np.ones((1, 2, 3), np.float32))[0] - mean_intensity(bank, 0, occupancy)[0]
    assert half == pytest.approx(0.75 * bank.mean[0, 1, 2:].sum(), rel=1e-4)  # single precision of a difference


def test_slow_oracle_of_three_layers() -> None:
    bank = bank_of("MoS2", 3)
    slip = np.array([[0.2, 0.7], [0.5, 0.1]])
    t = np.array([[0, 0], slip[0], slip[0] + slip[1]])
    expected = np.zeros(len(bank.hk), complex)
    for i, h in enumerate(bank.hk):
        for layer in range(3):
            expected[i] += np.exp(-2j * np.pi * h @ t[layer]) * bank.sites[1, layer, :, i].sum()
        for pair, (lower, upper) in enumerate([(0, 1), (0, 2), (1, 2)]):
            for q, kernel in zip(bank.q, bank.kernels[1, pair, i], strict=True):
                expected[i] += kernel * np.exp(-2j * np.pi * (h @ t[lower] + q @ (t[upper] - t[lower])))
    found = amplitudes(bank, 1, slip[None])[0]
    np.testing.assert_allclose(found, expected, atol=SINGLE * np.abs(expected).max())
