"""Fisher information and covariances against a dense Jacobian by differences."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.atoms.background import Grid
from picostem.atoms.covariance import covariances
from picostem.atoms.fisher import information, scores
from picostem.atoms.peaks import Peaks, render

SHAPE = (44, 52)
FORM = np.array([[4.4, 0.9], [0.9, 3.6]])
PLACE = np.array([[15.2, 14.9], [15.8, 20.1], [21.0, 17.2], [30.4, 38.7]])
INTENSITY = np.array([300.0, 180.0, 90.0, 400.0])
SWELL = np.array([0.05, -0.1, 0.0, 0.1])
LEVELS = 1.5


def _peaks(swell: NDArray[np.float64]) -> Peaks:
    return Peaks(PLACE, INTENSITY, swell, FORM)


def _model(vector: NDArray[np.float64], knots: Grid) -> NDArray[np.float64]:
    """All parameters: 4 of each peak, levels of the knots, 3 of the form."""
    atoms = vector[: 4 * len(PLACE)].reshape(-1, 4)
    levels, (a, b, c) = vector[4 * len(PLACE) : -3].reshape(knots.shape), vector[-3:]
    peaks = Peaks(atoms[:, 1:3], atoms[:, 0], atoms[:, 3], np.array([[a, b], [b, c]]))
    return render(peaks, SHAPE) + knots.render(levels)


def _dense(free: int) -> tuple[NDArray[np.float64], NDArray[np.float64], Grid]:
    """Information on all parameters from central differences, the model, and the knots."""
    swell = SWELL if free == 4 else np.zeros(4)
    knots = Grid.of(SHAPE, _peaks(swell).sigma)
    atoms = np.column_stack([INTENSITY, PLACE, swell])
    vector = np.concatenate(
        [atoms.ravel(), np.full(knots.down.shape[1] * knots.across.shape[1], LEVELS), [4.4, 0.9, 3.6]]
    )
    steps = np.concatenate([np.tile([1.0, 0.01, 0.01, 0.01], 4), np.full(len(vector) - 19, 0.1), [0.02] * 3])
    jacobian = np.stack(
        [
            (_model(vector + step * unit, knots) - _model(vector - step * unit, knots)).ravel() / (2 * step)
            for unit, step in zip(np.eye(len(vector)), steps, strict=True)
        ]
    )
    model = _model(vector, knots)
    return (jacobian / model.ravel()) @ jacobian.T, model, knots


@pytest.mark.parametrize("free", [3, 4])
def test_information_is_that_of_the_jacobian(free: int) -> None:
    dense, model, knots = _dense(free)
    fisher = information(_peaks(SWELL if free == 4 else np.zeros(4)), 1 / model, knots, free)
    # stamps end where peaks are 1/1000 of their height: 1 % of the largest element of each kind
    near = {"rtol": 0.02}
    for i in range(4):
        own = dense[4 * i : 4 * i + free, 4 * i : 4 * i + free]
        scale = np.sqrt(np.outer(np.diag(own), np.diag(own)))
        np.testing.assert_allclose(fisher.diagonal[i] / scale, own / scale, atol=0.01)
        level = np.zeros((free, knots.down.shape[1] * knots.across.shape[1]))
        level[:, fisher.knots[i]] = fisher.border[i]
        expected = dense[4 * i : 4 * i + free, 16:-3]
        np.testing.assert_allclose(level, expected, atol=0.01 * np.abs(expected).max())
        spread = dense[4 * i : 4 * i + free, -3:]
        np.testing.assert_allclose(fisher.spread[i], spread, atol=0.02 * np.abs(spread).max())
    for (i, j), block in zip(fisher.pairs, fisher.blocks, strict=True):
        scale = np.sqrt(np.outer(np.diag(dense)[4 * i : 4 * i + free], np.diag(dense)[4 * j : 4 * j + free]))
        np.testing.assert_allclose(block / scale, dense[4 * i : 4 * i + free, 4 * j : 4 * j + free] / scale, atol=0.01)
    np.testing.assert_allclose(fisher.form, dense[-3:, -3:], atol=0.01 * dense[-3:, -3:].max())
    np.testing.assert_allclose(fisher.level.toarray(), dense[16:-3, 16:-3], **near)


def test_pairs_are_peaks_that_overlap() -> None:
    fisher = information(_peaks(np.zeros(4)), np.ones(SHAPE), Grid.of(SHAPE, _peaks(SWELL).sigma), 3)
    assert fisher.pairs.tolist() == [[0, 1], [0, 2], [1, 0], [1, 2], [2, 0], [2, 1]]


def test_covariance_is_the_inverse_of_all_information() -> None:
    dense, model, knots = _dense(3)
    fitted = np.array([k for k in range(len(dense)) if k >= 16 or k % 4 != 3])
    inverse = np.linalg.inv(dense[np.ix_(fitted, fitted)])
    fisher = information(_peaks(np.zeros(4)), 1 / model, knots, 3)
    covariance, alone = covariances(fisher, knots, PLACE, form=True)
    for i in range(4):
        own = inverse[3 * i : 3 * i + 3, 3 * i : 3 * i + 3]
        scale = np.sqrt(np.outer(np.diag(own), np.diag(own)))
        # the uncertainties of background and form are taken for independent, and this form is known from 4 peaks alone
        np.testing.assert_allclose(covariance[i] / scale, own / scale, atol=0.15)
        # positions hardly depend on either
        np.testing.assert_allclose(np.diag(covariance[i])[1:], np.diag(own)[1:], rtol=0.05)
    assert np.all(alone <= covariance[:, 0, 0])


def test_scores_are_the_gradient_of_the_likelihood() -> None:
    knots = Grid.of(SHAPE, _peaks(SWELL).sigma)
    levels = np.full(knots.down.shape[1] * knots.across.shape[1], LEVELS)
    vector = np.concatenate([np.column_stack([INTENSITY, PLACE, SWELL]).ravel(), levels, [4.4, 0.9, 3.6]])
    counts = np.random.default_rng(3).poisson(1.1 * _model(vector, knots)).astype(float)

    def likelihood(changed: NDArray[np.float64]) -> float:
        model = _model(changed, knots)
        return float(np.sum(counts * np.log(model) - model))

    gradient, form = scores(_peaks(SWELL), counts / _model(vector, knots) - 1)
    steps = np.tile([1.0, 0.01, 0.01, 0.003], 4)
    for k, step in enumerate(steps):
        unit = step * np.eye(len(vector))[k]
        slope = (likelihood(vector + unit) - likelihood(vector - unit)) / (2 * step)
        # 0.5 of the information's root, a typical gradient, is beyond the stamps and in the differences' third order
        assert gradient.ravel()[k] == pytest.approx(slope, rel=0.05, abs=0.3 / step**0.25)
    for k in range(3):
        unit = 0.01 * np.eye(len(vector))[k - 3]
        slope = (likelihood(vector + unit) - likelihood(vector - unit)) / 0.02
        assert form[k] == pytest.approx(slope, rel=0.05, abs=0.3)
