"""Stackings: orders of layers by hand, distances against trying everything, symmetries."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from picostem.resolve.stacking import Stackings, all_orders, order_matrix
from picostem.structure import SlipEquivalence
from picostem.structure.equivalence import trilayer_distance

from .made import MOS2, RES2, SLIP

FloatArray = NDArray[np.float64]
PAIR, TRIPLE = Stackings((RES2, RES2)), Stackings((RES2, RES2, RES2))
FIXED = SlipEquivalence(RES2, frame_fixed=True)

components = st.floats(-20, 20)
vectors = st.tuples(components, components)
STEPS = list(itertools.product((-1, 0, 1), repeat=2))


def positions(slips: FloatArray) -> FloatArray:
    return np.concatenate([np.zeros((1, 2)), np.cumsum(slips, axis=0)])


@pytest.mark.parametrize("order", all_orders(3))
def test_matrix_of_an_order_is_what_it_does_to_positions(order: tuple[int, ...]) -> None:
    slips = np.array([[1.0, 2.0], [-0.3, 0.7]])
    np.testing.assert_allclose(order_matrix(order) @ slips, np.diff(positions(slips)[list(order)], axis=0), atol=1e-12)


def test_orders_of_like_layers_alone() -> None:
    assert len(PAIR.orders) == 2
    assert len(TRIPLE.orders) == 6
    assert TRIPLE.orders[0].tolist() == [0, 1, 2]
    assert Stackings((MOS2, MOS2.turned())).orders.tolist() == [[0, 1]]
    assert Stackings((MOS2, MOS2.turned(), MOS2)).orders.tolist() == [[0, 1, 2], [2, 1, 0]]
    assert all_orders(3)[-1] == (2, 1, 0)


@given(vectors, vectors)
def test_pairs_are_alike_as_the_equivalence_says(slip: tuple[float, float], other: tuple[float, float]) -> None:
    one, two = np.array([slip]), np.array([other])
    expected = float(FIXED.distance(one[0], two[0]))
    assert float(PAIR.distance(one, two)) == pytest.approx(expected, abs=1e-6)
    near, order = PAIR.aligned(one[None], two)
    assert np.linalg.norm(near[0] - two) == pytest.approx(expected, abs=1e-6)
    # it is the slip with the sign of its order, modulo the lattice
    steps = (near[0] - PAIR.matrices[order[0]] @ one) @ np.linalg.inv(RES2.cell)
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)


@given(st.tuples(vectors, vectors), st.permutations([0, 1, 2]), st.integers(-3, 3))
def test_orders_and_lattice_vectors_make_no_difference(
    slips: tuple[tuple[float, float], ...], order: list[int], step: int
) -> None:
    one = np.array(slips)
    other = order_matrix(order) @ one + step * RES2.cell[0]
    assert float(TRIPLE.distance(one, other)) < 1e-6
    np.testing.assert_allclose(TRIPLE.aligned(other[None], one)[0][0], one, atol=1e-6)
    assert trilayer_distance(positions(one), positions(other), RES2).max < 1e-6


def test_distance_is_the_smallest_of_all_orders() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        one, other = rng.uniform(-5, 5, (2, 2, 2))
        lengths = []
        for order in itertools.permutations(range(3)):
            difference = np.diff(positions(one)[list(order)], axis=0) - other
            steps = np.rint(difference @ np.linalg.inv(RES2.cell))
            copies = [difference - (steps + shift) @ RES2.cell for shift in itertools.product(STEPS, STEPS)]
            best = min(copies, key=lambda d: float(np.sum(d**2)))
            lengths.append((float(np.sum(best**2)), float(np.linalg.norm(best, axis=1).max())))
        assert float(TRIPLE.distance(one, other)) == pytest.approx(min(lengths)[1])


def test_mean_and_distinct_ones() -> None:
    a, b = RES2.cell
    slips = np.array([SLIP, -SLIP + a, SLIP - 2 * b, SLIP + 0.5])[:, None]
    np.testing.assert_allclose(PAIR.mean(slips[:3]), SLIP[None], atol=1e-6)
    assert PAIR.distinct(slips, 0.1) == [0, 3]
    assert PAIR.distinct(slips, 1.0) == [0]


def test_covariance_follows_the_order() -> None:
    """Draws of slips with a covariance, put into another order, have the covariance that is told."""
    rng = np.random.default_rng(1)
    root = rng.normal(size=(4, 4))
    covariance = root @ root.T
    index = int(np.flatnonzero((TRIPLE.orders == (1, 2, 0)).all(axis=1))[0])
    told = TRIPLE.covariance(covariance[None], np.array([index]))[0]
    draws = (rng.normal(size=(40000, 4)) @ root.T).reshape(-1, 2, 2)
    turned = np.einsum("ij,wjx->wix", TRIPLE.matrices[index], draws).reshape(-1, 4)
    # 40000 draws: 1.5 % of the largest element is three standard deviations
    np.testing.assert_allclose(np.cov(turned.T), told, atol=0.03 * np.abs(told).max())


def test_equivalents_of_a_pair_are_those_of_its_slip() -> None:
    for layer in (RES2, MOS2):
        found = Stackings((layer, layer)).equivalents(SLIP[None])[:, 0]
        expected = SlipEquivalence(layer).equivalents(SLIP)
        assert len(found) == len(expected)
        assert (SlipEquivalence(layer).distance(found, SLIP) < 1e-6).all()


def test_equivalents_of_three_layers_show_the_same_set() -> None:
    slips = np.array([SLIP, [-0.7, 2.2]])
    found = TRIPLE.equivalents(slips)
    assert len(found) == 12  # six orders, and the two-fold axis of ReS2
    for other in found:
        assert trilayer_distance(positions(other), positions(slips), RES2).max < 1e-6
