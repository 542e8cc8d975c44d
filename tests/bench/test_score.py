"""Scores with known answers, against an independent scorer where there is one, and their coverage by drawing."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from picostem.bench.case import Case
from picostem.bench.score import boundary_distance, score_slips, score_windows
from picostem.resolve.result import Boundary
from picostem.simulate.truth import _structure
from picostem.structure import SlipEquivalence, load_monolayer
from tests.bench import made
from tests.bench.made import slip_map

ORACLE = Path(__file__).parents[2].parent / "shared" / "bench" / "score.py"
RES2 = load_monolayer("ReS2")
EQUIVALENCE = SlipEquivalence(RES2)
TRUTH = np.array([1.2, -0.7])


def covariances(count: int, sigma: float = 0.01) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.tile(np.eye(2) * sigma**2, (count, 1, 1))


def test_error_is_the_distance_to_the_nearest_equivalent() -> None:
    off = np.array([0.003, 0.004])
    slips = np.array([TRUTH + off, -TRUTH + off, TRUTH + off + RES2.cell[0] - 2 * RES2.cell[1]])
    score = score_slips(slips, covariances(3), TRUTH, EQUIVALENCE)
    assert score.error == pytest.approx([0.005] * 3, abs=1e-12)
    assert score.sigma == pytest.approx([0.01 * np.sqrt(2)] * 3)
    assert score.mahalanobis == pytest.approx([0.25] * 3)  # (3² + 4²)/10²


def test_mahalanobis_distance_uses_the_whole_covariance() -> None:
    covariance = np.array([[[4e-4, 1.2e-4], [1.2e-4, 1e-4]]])
    off = np.array([0.02, 0.01])
    score = score_slips((TRUTH + off)[None], covariance, TRUTH, EQUIVALENCE)
    # d^T C^-1 d with C^-1 = [[1, -1.2], [-1.2, 4]] 1e-4 / (4e-8 - 1.44e-8), by hand
    assert score.mahalanobis[0] == pytest.approx((4e-4 - 2 * 1.2 * 2e-4 + 4e-4) * 1e-4 / 2.56e-8)


def test_stated_regions_hold_what_they_state() -> None:
    rng = np.random.default_rng(6)
    covariance = np.array([[9e-4, 2e-4], [2e-4, 3e-4]])
    slips = rng.multivariate_normal(TRUTH, covariance, 4000)
    score = score_slips(slips, np.tile(covariance, (4000, 1, 1)), TRUTH, EQUIVALENCE)
    # 4000 draws: standard deviations of 0.7 % and 0.3 %; four of them.
    assert score.inside_68.mean() == pytest.approx(0.683, abs=0.03)
    assert score.inside_95.mean() == pytest.approx(0.95, abs=0.014)


@pytest.fixture(scope="module")
def oracle() -> ModuleType:
    if not ORACLE.is_file():
        pytest.skip(f"no {ORACLE}")
    spec = importlib.util.spec_from_file_location("oracle", ORACLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("material", ["ReS2", "MoS2", "1T'-MoTe2"])
def test_errors_agree_with_an_independent_scorer(oracle: ModuleType, material: str) -> None:
    layer = load_monolayer(material)
    rng = np.random.default_rng(1)
    truth, slips = rng.random(2) @ layer.cell, rng.random((20, 2)) @ layer.cell
    ours = score_slips(slips, covariances(20), truth, SlipEquivalence(layer)).error
    theirs = [oracle.slip_error(truth, slip, _structure(layer)) for slip in slips]
    assert ours == pytest.approx(theirs, abs=2e-3)  # both find the symmetry from coordinates good to about 1e-3 Å


def case(**truth: Any) -> Case:
    return made.case("interface", ("ReS2", "ReS2"), **truth)


LINE = {"point_image_A": [5.0, 0.0], "normal_angle_deg": 90.0}


def test_windows_are_scored_against_their_own_side() -> None:
    other = np.array([-1.9, 0.3])
    truth = case(slip={"D_cart_A": TRUTH.tolist(), "D2_cart_A": other.tolist()}, boundary=LINE)
    below, across, above = (0, -20), (0, 1), (0, 30)
    score = score_windows(slip_map([TRUTH, [9, 9], -other], [below, across, above]), truth, EQUIVALENCE)
    assert score is not None
    assert score.error == pytest.approx([0, 0], abs=1e-12)


def test_windows_that_are_not_ok_or_fine_are_left_out() -> None:
    truth = case(slip={"D_cart_A": TRUTH.tolist()})
    slips, positions = [TRUTH, TRUTH + 0.5, TRUTH + 0.5], [(0, 0)] * 3
    status, fine = np.array(["ok", "edge", "ok"]), np.array([False, False, True])
    score = score_windows(slip_map(slips, positions, status=status, fine=fine), truth, EQUIVALENCE)
    assert score is not None
    assert score.error == pytest.approx([0], abs=1e-12)
    assert score_windows(slip_map(slips, positions, fine=np.ones(3, dtype=bool)), truth, EQUIVALENCE) is None


def test_boundary_distance() -> None:
    line = Boundary(np.array([[0.0, 3.0], [10.0, -4.0]]), (0, 1))
    truth = case(boundary=LINE)  # the line y = 0
    assert boundary_distance(slip_map([], [], boundaries=(line,)), truth) == pytest.approx(np.sqrt(12.5))
    assert boundary_distance(slip_map([], []), truth) is None
