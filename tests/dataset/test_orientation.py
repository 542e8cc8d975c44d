"""Turned and mirrored crystals: under a microscope that is round, the turned image is that of the turned slip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from picostem.dataset.microscopes import build
from picostem.dataset.orientation import Orientations
from picostem.dataset.stack import amplitudes

from .made import BEAM, MOS2, RES2, Steady, bank_of, steady_bank, without_kernels


@pytest.mark.parametrize(("material", "antiparallel"), [("MoS2", False), ("MoS2", True), ("ReS2", False)])
def test_the_turned_image_is_that_of_the_turned_slip(material: str, antiparallel: bool) -> None:
    bank = steady_bank(material, antiparallel)
    slips = np.random.default_rng(2).random((4, 1, 2))
    straight = amplitudes(bank, 0, slips)
    for i in range(len(bank.orientations)):
        turned, labels = bank.orientations.apply(bank.hk, straight, slips, np.full(4, i))
        assert np.all((labels >= 0) & (labels < 1))
        expected = amplitudes(bank, 0, labels)
        # columns left out of the kernels, and coordinates that are symmetric to 1e-3 of the cell only: 1 % together
        assert np.abs(turned - expected).max() < 0.01 * np.abs(expected).max()


@pytest.mark.parametrize("antiparallel", [False, True])
def test_turned_factors_make_the_turned_image(antiparallel: bool) -> None:
    """Layers that scatter independently, each at its own place, before and after; the fit has no error."""
    bank = without_kernels(bank_of(antiparallel=antiparallel))
    factors = bank.sites[0].sum(axis=1)[None]
    slips = np.random.default_rng(2).random((1, 1, 2))
    straight = amplitudes(bank, 0, slips)
    for i in range(len(bank.orientations)):
        which = np.full(1, i)
        expected, labels = bank.orientations.apply(bank.hk, straight, slips, which)
        first, second = bank.orientations.turned(bank.hk, factors, which)[0]
        found = first + second * np.exp(-2j * np.pi * bank.hk @ labels[0, 0])
        np.testing.assert_allclose(found, expected[0], atol=1e-5 * np.abs(expected).max())  # single precision


def test_the_first_one_changes_nothing() -> None:
    bank = bank_of()
    slips = np.random.default_rng(2).random((4, 1, 2))
    found = amplitudes(bank, 0, slips)
    turned, labels = bank.orientations.apply(bank.hk, found, slips, np.zeros(4, int))
    np.testing.assert_allclose(turned, found, atol=1e-6 * np.abs(found).max())  # rounding
    np.testing.assert_allclose(labels, slips, atol=1e-12)  # rounding


def test_how_many_there_are_and_that_they_change_labels() -> None:
    """In projection, 2H layers have three-fold axes and mirrors, 1T' ReS2 layers a two-fold axis."""
    assert len(bank_of().orientations) == 6
    res2 = Orientations.of((RES2, RES2), bank_of("ReS2").hk)
    assert len(res2) == 2
    np.testing.assert_array_equal(res2.turns[1], -np.eye(2))
    assert res2.conjugate[1].all()
    np.testing.assert_array_equal(res2.permutation[1], np.arange(len(bank_of("ReS2").hk)))


def test_antiparallel_layers_whose_axis_is_not_at_their_origin() -> None:
    """The same crystal described about another point: both layers move when they are turned, and apart."""
    moved = replace(MOS2, positions=MOS2.positions + (0.7, 0.4, 0.0))
    bank = build((moved, moved.turned()), 1, Steady(), BEAM)
    assert len(bank.orientations) == 6
    slips = np.random.default_rng(2).random((4, 1, 2))
    straight = amplitudes(bank, 0, slips)
    for i in range(6):
        turned, labels = bank.orientations.apply(bank.hk, straight, slips, np.full(4, i))
        expected = amplitudes(bank, 0, labels)
        assert np.abs(turned - expected).max() < 0.01 * np.abs(expected).max()  # as above
