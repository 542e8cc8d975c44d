"""Scores of atoms by hand: pairs, counts, classes and their probabilities; and bounds against formulas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from picostem.bench.atoms_bound import Profile, joint_bound
from picostem.bench.atoms_score import Calls, Detection, detection, matched

NAN = float("nan")


class TestMatching:
    def test_as_many_pairs_as_there_can_be(self) -> None:
        """The nearest atom of the first site is the only one of the second."""
        found, true = np.array([[0.0, 1.0], [0.0, -2.0]]), np.array([[0.0, 0.0], [0.0, 2.0]])
        i, j = matched(found, true, 2.5)
        assert dict(zip(i.tolist(), j.tolist(), strict=True)) == {0: 1, 1: 0}

    def test_nothing_beyond_reach(self) -> None:
        assert len(matched(np.array([[0.0, 3.0]]), np.zeros((1, 2)), 2.9)[0]) == 0
        assert len(matched(np.empty((0, 2)), np.zeros((1, 2)), 2.9)[0]) == 0

    def test_like_the_plainest_code(self) -> None:
        rng = np.random.default_rng(0)
        found, true = rng.uniform(0, 20, (60, 2)), rng.uniform(0, 20, (70, 2))
        i, j = matched(found, true, 1.5)
        distance = np.linalg.norm(found[:, None] - true, axis=-1)
        cost = np.where(distance < 1.5, distance**2 - 1e4, 0)
        one, other = linear_sum_assignment(cost)
        kept = cost[one, other] < 0
        assert set(zip(i.tolist(), j.tolist(), strict=True)) == set(
            zip(one[kept].tolist(), other[kept].tolist(), strict=True)
        )


def scored(found: list[list[float]], sure: list[bool]) -> Detection:
    place = np.array(found).reshape(-1, 2)
    true = np.array([[10.0, 10.0], [10.0, 20.0], [20.0, 10.0]])
    return detection(place, np.full_like(place, 0.04), true, np.full((3, 2), 0.01), np.array(sure), 2.0)


class TestDetection:
    def test_hits_misses_and_inventions(self) -> None:
        one = scored([[10.1, 10], [10, 20.3], [40, 40]], [True] * 3)
        assert (one.hits, one.missed, one.invented) == (2, 1, 1)
        assert one.f1 == pytest.approx(4 / 6)
        np.testing.assert_allclose(one.errors, [[0.1, 0], [0, 0.3]], atol=1e-12)
        np.testing.assert_allclose(one.over_bound, [[1, 0], [0, 3]], atol=1e-9)
        assert one.inside_95 == 1

    def test_unsure_columns_count_neither_way(self) -> None:
        seen, unseen = (scored(places, [True, True, False]) for places in ([[10.0, 10], [20, 10]], [[10.0, 10]]))
        assert (seen.hits, seen.missed, seen.invented) == (unseen.hits, unseen.missed, unseen.invented) == (1, 1, 0)

    def test_nothing_found(self) -> None:
        assert scored([], [True] * 3).f1 == 0


class TestCalls:
    CALLS = Calls(
        np.array(["W", "W", "W", "S2", "S2", "no S2", "nothing"]),
        np.array(["W", "W", "S2", "S2", "nothing", "no S2", "S2"]),
        np.array([0.9, 0.8, 0.6, 0.9, NAN, NAN, 0.5]),
    )

    def test_f1(self) -> None:
        assert self.CALLS.classes == ["W", "S2", "no S2"]
        assert [self.CALLS.f1(name) for name in self.CALLS.classes] == pytest.approx([4 / 5, 2 / 5, 1])
        assert self.CALLS.macro_f1 == pytest.approx((4 / 5 + 2 / 5 + 1) / 3)

    def test_calibrated_probabilities(self) -> None:
        rng = np.random.default_rng(1)
        p = rng.uniform(0.5, 1, 20000)
        right = rng.random(20000) < p
        calls = Calls(np.full(20000, "a"), np.where(right, "a", "b"), p)
        assert calls.ece == pytest.approx(0, abs=0.02)  # 2000 a bin: 0.01 is a deviation
        sure = Calls(calls.true, calls.called, np.ones(20000))
        assert sure.ece == pytest.approx(0.25, abs=0.02)

    def test_no_probabilities(self) -> None:
        assert Calls(np.array(["a"]), np.array(["a"]), np.array([NAN])).ece is None


def gaussian(sigma: float) -> Profile:
    axis = np.arange(-60, 61) * 0.2
    line = np.exp(-(axis**2) / (2 * sigma**2)) / np.sqrt(2 * np.pi * sigma**2)
    return Profile.sampled(np.outer(line, line), 0.2)


class TestBound:
    def rendered(self, place: np.ndarray, strength: float, level: float) -> np.ndarray:
        rows, cols = np.mgrid[:40, :50]
        peaks = [np.exp(-((rows - r) ** 2 + (cols - c) ** 2) / 8) / (8 * np.pi) for r, c in place]
        return np.asarray(strength * np.sum(peaks, axis=0) + level)

    def test_one_peak_on_nothing(self) -> None:
        """Without background a place is known to σ/√counts, and the counts to their root."""
        place = np.array([[19.3, 24.8]])
        expected = self.rendered(place, 1000.0, 1e-6)
        bound = joint_bound(expected, place, np.array([1000.0]), [gaussian(2.0)], np.zeros(1, dtype=np.intp))
        assert bound.counts[0] == pytest.approx(1000, rel=1e-3)
        # its reach, 6 σ, leaves nothing out; pixels of half a σ blur nothing as profiles are sampled, not summed
        np.testing.assert_allclose(np.sqrt(np.diag(bound.covariance[0])), 2 / 1000**0.5, rtol=0.01)
        assert bound.significance[0] == pytest.approx(1000**0.5, rel=0.02)

    def test_neighbours_and_levels_cost(self) -> None:
        alone, pair = np.array([[19.3, 24.8]]), np.array([[19.3, 24.8], [19.3, 29.0]])
        errors = []
        for place, level in ((alone, 1e-6), (alone, 5.0), (pair, 5.0)):
            kind = np.zeros(len(place), dtype=np.intp)
            strength = np.full(len(place), 1000.0)
            expected = self.rendered(place, 1000.0, level)
            errors.append(joint_bound(expected, place, strength, [gaussian(2.0)], kind).covariance[0, 1, 1])
        assert errors[0] < errors[1] < errors[2]
