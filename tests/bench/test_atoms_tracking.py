"""Links that are wrong or lost, counted by hand, and the scores of small movies."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.bench.atoms_tracking import SPACING, lattice, measure, nearest, seen, vibrating, walking, wrong


def test_wrong_and_lost_links_by_hand() -> None:
    """Two atoms in three frames: in the last, exchanged; then one joined to nothing."""
    truth = [np.array([0, 1])] * 3
    assert wrong(truth, truth) == (0.0, 0.0, 4)
    assert wrong([np.array([0, 1]), np.array([0, 1]), np.array([1, 0])], truth) == (0.5, 0.5, 4)
    assert wrong([np.array([0, 1]), np.array([0, 1]), np.array([0, 2])], truth) == (0.0, 0.25, 4)


def test_what_is_no_atom_has_no_links() -> None:
    assert wrong([np.array([0, 1])] * 2, [np.array([0, -1])] * 2) == (0.5, 0.0, 1)


def test_nearest_neighbours() -> None:
    places = lattice(3)
    tracks = nearest([places, places[::-1] + 1.0, places[:-1]])
    assert tracks[1].tolist() == list(range(8, -1, -1))
    assert tracks[2].tolist() == list(range(8))
    assert nearest([places, places + SPACING / 2])[1].min() >= 9  # beyond reach: new


def test_motion_is_as_large_as_said() -> None:
    rng = np.random.default_rng(0)
    still = vibrating(rng, 200, 5, 3.2)
    assert np.sqrt(np.mean(np.sum((still - lattice(5)) ** 2, axis=-1))) == pytest.approx(3.2, rel=0.03)
    steps = np.diff(walking(rng, 60, 6, 2.0), axis=0)
    assert np.sqrt(np.mean(np.sum(steps**2, axis=-1))) == pytest.approx(2.0, rel=0.06)  # repulsion takes some off
    frames, truth = seen(still, rng)
    assert np.mean([len(one) for one in frames]) == pytest.approx(0.95 * 25, abs=0.3)
    assert all(len(a) == len(b) for a, b in zip(frames, truth, strict=True))


def test_scores() -> None:
    """At most 1 % of links wrong; nearest neighbours are beyond."""
    report = measure((3.2,), frames=20, across=9, images=5, seed=1)
    still, walk, drawn = report.scores
    assert max(still.wrong, walk.wrong) < 0.01
    assert still.nearest_wrong + still.nearest_lost > 5 * (still.wrong + still.lost)
    assert drawn.wrong < 0.02  # of about 300 links
    assert drawn.missed == pytest.approx(0.05, abs=0.04)
    assert report.tables()[0].text().count("\n") == 4
    assert report.as_dict()["scores"][0]["motion"] == "vibrating"
