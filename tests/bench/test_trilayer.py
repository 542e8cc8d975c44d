"""Scores of the positions of three layers."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.bench.trilayer import TRILAYER, TrilayerAnswer, score
from tests.bench.made import FloatArray, case, interface, layer, result

POSITIONS = np.array([[0.0, 0.0], [-0.65, 2.02], [1.86, 1.74]])
THREE = ("ReS2",) * 3
TRUTH = case("trilayer", THREE, positions=POSITIONS)


def answer(positions: FloatArray, sigma: float = 0.01) -> TrilayerAnswer | None:
    layers = tuple(layer("ReS2", position=position) for position in positions)
    one = interface(slip_covariance=np.eye(2) * sigma**2, slip_bound=sigma)
    return score(result("slip", layers, (one, one)), TRUTH)


def test_order_and_common_translation_cannot_be_seen() -> None:
    scored = answer(POSITIONS[[2, 0, 1]] - POSITIONS[2])
    assert scored is not None
    assert scored.distance == pytest.approx(0.0, abs=1e-9)


def test_distance_of_one_layer_that_is_off() -> None:
    scored = answer(POSITIONS + [[0, 0], [0, 0], [0.03, 0]])
    assert scored is not None
    # 0.03 Å without its mean: (-0.01, -0.01, 0.02)
    assert scored.distance == pytest.approx(np.sqrt((1 + 1 + 4) / 3) / 100)
    assert scored.worst == pytest.approx(0.02)


def test_the_stated_distance_is_what_draws_have() -> None:
    rng = np.random.default_rng(5)
    sigma = 0.01  # Å, of one component of one position; a slip has √2 times that
    scored = [answer(POSITIONS + sigma * rng.standard_normal((3, 2)), np.sqrt(2) * sigma) for _ in range(60)]
    ratios = [one.distance / one.sigma for one in scored if one is not None]
    assert len(ratios) == 60
    # 4 degrees of freedom in each of 60 draws: 1 ± 0.046; four of them.
    assert np.sqrt(np.mean(np.square(ratios))) == pytest.approx(1.0, abs=0.18)


def test_other_layers_than_there_are() -> None:
    assert score(result("slip", (layer("ReS2"),) * 2, (interface(),)), TRUTH) is None
    assert score(result("unresolved"), TRUTH) is None
    turned = result("slip", (layer("ReS2"),) * 3, (interface(60.0), interface()))
    assert score(turned, TRUTH) is None


def test_totals_and_table() -> None:
    scored = [("a", TrilayerAnswer(0.02, 0.03, 0.01, 0.005)), ("b", TrilayerAnswer(0.01, 0.01, 0.01, 0.01))]
    totals = TRILAYER.totals(scored)
    assert totals["sets"] == 2
    assert totals["worst_distance_A"] == pytest.approx(0.02)
    assert totals["rms_distance_over_stated"] == pytest.approx(np.sqrt((4 + 1) / 2))
    assert totals["rms_distance_over_bound"] == pytest.approx(np.sqrt((16 + 1) / 2))
    (table,) = TRILAYER.tables(scored)
    assert table.rows[0] == ("a", "0.0200", "0.0300", "0.0100", "0.0050", "2.00", "4.00")
