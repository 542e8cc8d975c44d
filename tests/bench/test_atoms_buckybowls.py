"""The case of bowls: what is drawn, how states are sampled, and scores of a small scan."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.atoms.molecules import Field, Graph, neighbour_graph
from picostem.bench.atoms_buckybowls import (
    PIXEL_SIZE,
    SPACING,
    bowls,
    calibration_error,
    measure,
    ordered_scan,
    sample,
    true_field,
)


def test_states_are_sampled_from_the_field() -> None:
    pair = Graph(2, np.array([0]), np.array([1]), np.array([0]))
    field = Field(np.array([0.0, 0.5]), np.array([[[0.0, 1.0], [0.0, 0.3]]]))
    joint = np.exp(field.own[:, None] + field.own + field.coupling[0])
    joint /= joint.sum()
    rng, counts = np.random.default_rng(0), np.zeros((2, 2))
    for _ in range(1500):
        first, second = sample(pair, field, 8, rng)
        counts[first, second] += 1
    assert counts / counts.sum() == pytest.approx(joint, abs=0.05)  # 4 standard errors of 1500 draws


def test_domains_are_ordered() -> None:
    scan = ordered_scan(0.1, 200, np.random.default_rng(0))
    graph = neighbour_graph(scan.place)
    polar, turn = np.divmod(scan.sites.state, 4)
    same = turn[graph.first] == turn[graph.second]
    assert same.mean() > 0.7  # 0.25 by chance
    both = (polar[graph.first] == 1) & (polar[graph.second] == 1)
    assert both.mean() < 0.2 * polar.mean() ** 2
    assert graph.kinds == 3
    coupling = true_field(graph, scan.place).coupling
    assert sorted(coupling[:, 0, 0]) == pytest.approx([0.85, 1.0, 1.15])


def test_turns_are_by_30_degrees() -> None:
    sites = bowls(np.zeros((5, 2)), np.array([0, 1, 2, 3, 4]), (0.0, 0.0, 0.0), np.random.default_rng(0))
    assert np.angle(sites.lobes[:, 2], deg=True) % 360 == pytest.approx([0, 90, 180, 270, 0])
    assert sites.height[4] != sites.height[0]


def test_calibration_error() -> None:
    p = np.array([[0.75, 0.25]] * 4)
    assert calibration_error(p, np.array([0, 0, 0, 1])) == pytest.approx(0)
    assert calibration_error(p, np.array([1, 1, 1, 0])) == pytest.approx(0.5)


def test_scores() -> None:
    report = measure((0.8,), side=260, scans=4, asked=1, seed=0)
    score = report.scores[0]
    inside = (260 * PIXEL_SIZE / SPACING - 2) ** 2 / np.sqrt(0.75)
    assert score.molecules == pytest.approx(inside, rel=0.1)
    assert score.found > 0.98
    assert score.field > score.alone + 0.03
    assert score.known > score.alone
    assert score.field_ece < 0.1
    assert report.as_dict()["scores"][0]["noise"] == 0.8
    assert report.tables()[0].text().count("\n") == 2
