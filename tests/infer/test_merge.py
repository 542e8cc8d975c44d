from __future__ import annotations

import numpy as np
import pytest

from picostem.infer.merge import distinct_modes
from picostem.infer.torus import Torus
from tests.infer.made_samples import CELL, LAYER, THREE, TWO

NARROW = 1e-4 * np.eye(2)


def one(torus: Torus, weights: list[float], means: list[object], covariances: list[object]) -> tuple[np.ndarray, ...]:
    given = (np.array([values], dtype=np.float64) for values in (weights, means, covariances))
    return tuple(part[0] for part in distinct_modes(torus, *given))


def test_equivalents_are_one() -> None:
    weights, means, covariances = one(TWO, [0.4, 0.35, 0.25], [[[0.5, 0.1]], [[0.3, 0.2]], [[0.7, 0.8]]], [NARROW] * 3)
    np.testing.assert_allclose(weights, [0.6, 0.4, 0], atol=1e-15)  # rounding, as below
    np.testing.assert_allclose(means[:2], [[[0.3, 0.2]], [[0.5, 0.1]]], atol=1e-12)
    np.testing.assert_allclose(covariances[:2], [NARROW] * 2, atol=1e-12)


def test_unlike_layers_keep_both() -> None:
    torus = Torus.of((LAYER, LAYER.turned()))
    weights, means, _ = one(torus, [0.3, 0.7], [[[0.3, 0.2]], [[-0.3, -0.2]]], [NARROW] * 2)
    assert weights.tolist() == [0.7, 0.3]
    np.testing.assert_allclose(means, [[[0.7, 0.8]], [[0.3, 0.2]]], atol=1e-12)  # rounding


def test_the_covariance_turns_with_the_mode() -> None:
    """Of three layers: that of the order that exchanges the upper two."""
    order = next(m for m in THREE.matrices if m.tolist() == [[1, 1], [0, -1]])
    slips, spread = np.array([[0.1, 0.25], [0.3, 0.15]]), np.diag([1e-4, 4e-4, 9e-4, 1e-4])
    turn = np.kron(order, np.eye(2))
    weights, means, covariances = one(THREE, [0.6, 0.4], [slips, order @ slips], [spread, turn @ spread @ turn.T])
    assert weights.tolist() == pytest.approx([1, 0])
    np.testing.assert_allclose(means[0], slips, atol=1e-12)  # rounding
    np.testing.assert_allclose(covariances[0], spread, atol=1e-12)


def test_near_ones_have_the_moments_of_both() -> None:
    rng = np.random.default_rng(0)
    shift = np.array([0.015, 0.0])  # Å, one and a half deviations
    mean = np.array([0.999, 0.4])  # the other one lies across the seam
    both = [[mean], [mean + shift @ np.linalg.inv(CELL)]]
    weights, means, covariances = one(TWO, [0.75, 0.25], both, [NARROW, 4 * NARROW])
    drawn = rng.standard_normal((400_000, 2)) * 0.01
    second = rng.random(len(drawn)) < 0.25
    drawn[second] = 2 * drawn[second] + shift
    offset = (means[0, 0] - mean + 0.5) % 1 - 0.5
    # of 400 000 draws: 3 deviations of the mean, 2e-5 Å each, and of the variances, 0.3 % each
    np.testing.assert_allclose(offset @ CELL, drawn.mean(axis=0), atol=6e-5)
    np.testing.assert_allclose(covariances[0], np.cov(drawn.T), atol=2e-6)
    assert weights.tolist() == [1, 0]


@pytest.mark.parametrize(("deviations", "modes"), [(1.9, 1), (2.1, 2)])
def test_where_two_have_two_maxima(deviations: float, modes: int) -> None:
    shift = np.array([[deviations * 0.01, 0.0]]) @ np.linalg.inv(CELL)
    weights, _, _ = one(TWO, [0.5, 0.5], [[[0.2, 0.4]], [[0.2, 0.4]] + shift], [NARROW] * 2)
    assert np.count_nonzero(weights) == modes


def test_each_window_by_itself_and_inputs_left_alone() -> None:
    rng = np.random.default_rng(4)
    weights, means = rng.dirichlet(np.ones(4), 50), rng.uniform(-0.5, 0.5, (50, 4, 2, 2))
    covariances = np.broadcast_to(0.05 * np.eye(4), (50, 4, 4, 4))
    before = weights.copy(), means.copy()
    together = distinct_modes(THREE, weights, means, covariances)
    for row in range(50):
        part = slice(row, row + 1)
        alone = distinct_modes(THREE, weights[part], means[part], covariances[part])
        for a, b in zip(alone, together, strict=True):
            np.testing.assert_allclose(a[0], b[row], atol=1e-12)  # rounding
    assert (before[0] == weights).all() and (before[1] == means).all()
    assert (np.diff(together[0], axis=1) <= 0).all() and (together[0] == 0).any()
    np.testing.assert_allclose(together[0].sum(axis=1), 1, atol=1e-12)
    assert ((together[1] >= 0) & (together[1] < 1)).all()
