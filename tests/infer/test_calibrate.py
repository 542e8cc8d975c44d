from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from picostem.errors import DataError, UsageError
from picostem.infer.calibrate import Calibration, calibrate, credible_levels, reliability
from picostem.infer.prediction import Prediction
from picostem.infer.torus import Torus
from tests.infer.made_samples import CELL, THREE, TWO

COUNT = 1500


def honest(torus: Torus = TWO, modes: int = 2, seed: int = 0) -> tuple[Prediction, np.ndarray]:
    """Predictions, and truths drawn from them, each given as any of its equivalents."""
    rng = np.random.default_rng(seed)
    size = 2 * torus.interfaces
    root = 0.03 * (np.eye(size) + 0.3 * rng.standard_normal((COUNT, modes, size, size)))
    weights = -np.sort(-rng.dirichlet(np.ones(modes), COUNT), axis=1)
    means = rng.random((COUNT, modes, torus.interfaces, 2))
    outlier = rng.standard_normal(COUNT)
    trusted = np.ones(COUNT, dtype=np.bool_)
    made = Prediction(torus, means, root @ np.swapaxes(root, -1, -2), weights, outlier, trusted)
    order = torus.matrices[rng.integers(len(torus.matrices), size=COUNT)]
    return made, np.einsum("kij,kjx->kix", order, made.draw(rng, 1)[:, 0])


NONE = np.zeros(COUNT, dtype=np.bool_)


@pytest.mark.parametrize(("torus", "modes"), [(TWO, 1), (TWO, 3), (THREE, 2)], ids=["one", "modes", "three layers"])
def test_levels_of_the_truth_are_even(torus: Torus, modes: int) -> None:
    levels = credible_levels(*honest(torus, modes), np.random.default_rng(1))
    for share in (0.1, 0.5, 0.9):
        # 4 deviations of a share of 1500 windows
        assert np.mean(levels <= share) == pytest.approx(share, abs=4 * 0.5 / COUNT**0.5)


def test_levels_of_one_mode_are_those_of_chi_squared() -> None:
    """Of two dimensions: 1 - exp(-d²/2) at a distance of d deviations."""
    made, _ = honest(modes=1)
    made = replace(made, covariances=np.broadcast_to(1e-4 * np.eye(2), (COUNT, 1, 2, 2)))
    truth = made.slips + np.array([0.015, 0.0]) @ np.linalg.inv(CELL)
    levels = credible_levels(made, truth, np.random.default_rng(1))
    expected = 1 - np.exp(-(1.5**2) / 2)
    assert levels.mean() == pytest.approx(expected, abs=4 * 0.5 / (99 * COUNT) ** 0.5)  # 4 deviations


@pytest.mark.parametrize("wrong", [0.25, 1.0, 9.0])
def test_the_factor_that_was_left_out_is_found(wrong: float) -> None:
    made, truth = honest(modes=1)
    found = calibrate(made.widened(1 / wrong), truth, NONE, np.random.default_rng(2))
    # 95 % of 1500 are known to 0.56 %, which is 0.225 in the chi² of 5.99 at that level: 3 deviations
    assert found.factor == pytest.approx(wrong, rel=3 * 0.04)
    assert found.windows == COUNT
    right = made.widened(found.factor / wrong)
    assert np.mean(credible_levels(right, truth, np.random.default_rng(3)) <= 0.95) == pytest.approx(0.95, abs=0.006)


def test_outliers_do_not_count_and_are_caught() -> None:
    made, truth = honest(modes=1)
    wild = np.arange(COUNT) % 3 == 0
    truth[wild] = np.nan
    made = replace(made, outlier=np.where(wild, 9.0, made.outlier))
    found = calibrate(made, truth, wild, np.random.default_rng(2))
    assert found.windows == 1000
    assert found.threshold == pytest.approx(np.quantile(made.outlier[~wild], 0.99))
    made = replace(made, trusted=made.outlier <= found.threshold)
    figures = reliability(made, truth, wild, np.random.default_rng(3))
    assert figures["caught"] == 1 and figures["false_alarms"] == pytest.approx(0.01, abs=0.001)  # one window
    assert figures["windows"] == 1000


def test_figures() -> None:
    made, truth = honest(modes=1)
    figures = reliability(made, truth, NONE, np.random.default_rng(3))
    error = made.torus.distance(made.slips, truth)
    assert figures["mean_error_A"] == pytest.approx(error.mean())
    assert figures["median_error_A"] == pytest.approx(np.median(error))
    assert figures["caught"] is None
    assert list(figures["coverage"]) == ["0.5", "0.68", "0.8", "0.9", "0.95", "0.99"]
    for level, share in figures["coverage"].items():
        assert share == pytest.approx(float(level), abs=4 * 0.5 / COUNT**0.5)  # 4 deviations


def test_a_network_that_is_surely_wrong_cannot_be_calibrated() -> None:
    made, _ = honest(modes=1)
    other = made.slips + 0.3
    with pytest.raises(DataError, match="95% hold 0.0% to .* train it longer"):
        calibrate(made.widened(1e-4), other, NONE, np.random.default_rng(2))


def test_bad_input() -> None:
    made, truth = honest(modes=1)
    rng = np.random.default_rng(0)
    with pytest.raises(UsageError, match=r"true slips \(1500, 1, 2\)"):
        calibrate(made, truth[:, 0], NONE, rng)
    with pytest.raises(UsageError, match="at least 100 windows of known stacking, got 0"):
        reliability(made, truth, ~NONE, rng)
    for wrong in ({"factor": 0.0}, {"threshold": np.nan}, {"windows": -1}):
        with pytest.raises(DataError, match="calibrate again"):
            Calibration(**wrong)
