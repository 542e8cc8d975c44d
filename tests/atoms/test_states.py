"""Transitions counted from known chains, intervals that hold what they say, defects and their windows."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.atoms.species import AtomClass, Classified, Vacancies
from picostem.atoms.states import Sightings, Transitions, sites, transitions
from picostem.atoms.table import AtomTable
from picostem.atoms.windows import drift, find_defects, window_side, windows
from picostem.errors import UsageError
from picostem.image import Image
from tests.atoms.made import FloatArray

SPACING = 12.0
TRUE = np.array([[0.9, 0.08, 0.02], [0.2, 0.7, 0.1], [0.0, 0.3, 0.7]])


def sightings(names: list[str], frame: list[int], track: list[int], p: float | list[float] = 1.0) -> Sightings:
    n = len(names)
    probability = np.broadcast_to(np.asarray(p, dtype=float), n)
    return Sightings(np.zeros(n), np.zeros(n), np.array(frame), np.array(track), np.array(names), probability)


def chain(rng: np.random.Generator, frames: int, tracks: int) -> Sightings:
    """Classes a, b, c of independent sites that follow TRUE."""
    state = rng.integers(0, 3, tracks)
    states = [state]
    for _ in range(frames - 1):
        state = (rng.random(tracks)[:, None] > TRUE.cumsum(axis=1)[state]).sum(axis=1)
        states.append(state)
    names = np.array(["a", "b", "c"])[np.concatenate(states)]
    return sightings(names.tolist(), np.repeat(np.arange(frames), tracks).tolist(), list(range(tracks)) * frames)


def test_steps_counted_by_hand() -> None:
    """Track 0: a a b, then a gap of a frame, then b; track 1: b a; untracked atoms do not count."""
    seen = sightings(list("aabbba") + ["a", "a"], [0, 1, 2, 4, 0, 1, 0, 1], [0, 0, 0, 0, 1, 1, -1, -1])
    found = transitions(seen)
    assert found.names == ("a", "b")
    assert found.counts.tolist() == [[1, 1], [1, 0]]
    assert (found.unsure, found.wrong) == (0, 0.0)


def test_order_of_rows_and_names() -> None:
    seen = sightings(["b", "a"], [1, 0], [0, 0])
    found = transitions(seen, names=("c", "b"))
    assert found.names == ("c", "b", "a")
    assert found.counts.tolist() == [[0, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_unsure_calls_are_left_out_and_wrong_ones_expected() -> None:
    seen = sightings(["a", "a", "b", "b"], [0, 1, 2, 3], [0] * 4, [0.95, 0.96, 0.6, 1.0])
    found = transitions(seen)
    assert found.counts.sum() == 1
    assert found.unsure == 2
    assert found.wrong == pytest.approx(1 - 0.95 * 0.96)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    inside, dwells = [], []
    for _ in range(150):
        found = transitions(chain(rng, 12, 8))
        low, high = found.interval()
        inside.append((low <= TRUE) & (high >= TRUE))
        stay = 1 / (1 - np.diag(TRUE))
        _, shortest, longest = found.dwell().T
        dwells.append((shortest <= stay) & (longest >= stay))
    possible = np.mean(inside, axis=0)[TRUE > 0]
    # 150 draws of 0.95 scatter by 0.018; Jeffreys' intervals of few counts miss theirs by some hundredths as well
    assert possible.mean() == pytest.approx(0.95, abs=0.03)
    assert possible.min() > 0.87
    assert np.mean(dwells) == pytest.approx(0.95, abs=0.03)


def test_matrix_and_dwell_of_many_steps() -> None:
    found = transitions(chain(np.random.default_rng(2), 60, 200))
    assert found.probability == pytest.approx(TRUE, abs=0.02)  # 3000 steps or more from each class: 0.009
    assert found.dwell()[:, 0] == pytest.approx(1 / (1 - np.diag(TRUE)), rel=0.1)
    assert found.probability.sum(axis=1) == pytest.approx(np.ones(3))


def test_classes_without_steps_and_one_class_alone() -> None:
    found = Transitions(("a", "b"), np.array([[3, 1], [0, 0]]), 0, 0.0)
    assert np.isnan(found.probability[1]).all() and np.isnan(found.dwell()[1]).all()
    assert np.isfinite(found.probability[0]).all()
    alone = transitions(sightings(["a", "a"], [0, 1], [0, 0]))
    assert alone.probability.tolist() == [[1.0]]
    assert alone.interval()[0].tolist() == [[1.0]]
    assert transitions(sightings([], [], [])).counts.shape == (0, 0)


def test_columns_and_dict() -> None:
    found = transitions(chain(np.random.default_rng(3), 10, 5))
    columns = found.columns()
    assert {len(values) for values in columns.values()} == {9}
    assert (columns["from"][1], columns["to"][1]) == ("a", "b")
    assert columns["steps"].sum() == found.as_dict()["steps"].sum() == 45


def made(frames: int = 4, side: int = 6) -> Classified:
    """A lattice that drifts; atom 14 leaves in frame 2, atom 21 is a dopant, in the last frame its neighbour 22 is."""
    place = np.stack(np.mgrid[:side, :side], axis=-1).reshape(-1, 2) * SPACING + SPACING
    parts, gone = [], []
    for frame in range(frames):
        here = place + frame * np.array([1.5, -1.0])
        species = np.full(len(here), "A1", dtype="U8")
        species[21 if frame < frames - 1 else 22] = "A2"
        kept = np.arange(len(here)) != 14 if frame >= 2 else np.ones(len(here), dtype=bool)
        parts.append((here[kept], species[kept], np.arange(len(here))[kept], np.full(kept.sum(), frame)))
        gone += [(*here[14], frame)] if frame >= 2 else []
    where, species, track, frame_of = (np.concatenate(column) for column in zip(*parts, strict=True))
    table = _table(where, species, frame_of, track)
    classes = (AtomClass("A2", "A", None, frames, 2.0, 0.1), AtomClass("A1", "A", None, len(table) - frames, 1.0, 0.1))
    row, col, when = np.array(gone).T
    return Classified(table, classes, Vacancies(row, col, np.array(["A"] * len(gone)), when.astype(int)), None, None)


def test_a_site_whose_atom_leaves_becomes_vacant() -> None:
    seen = sites(made())
    found = transitions(seen, names=("A2", "A1"))
    at = dict(zip(found.names, range(3), strict=True))
    assert found.counts[at["A1"], at["V_A"]] == 1
    assert found.counts[at["V_A"], at["V_A"]] == 1
    assert found.counts[at["A2"], at["A1"]] == found.counts[at["A1"], at["A2"]] == 1
    assert found.counts.sum() == 3 * 36
    assert len(np.unique(seen.track)) == 36


def test_drift_is_the_common_motion() -> None:
    assert drift(made().table) == pytest.approx(np.arange(4)[:, None] * [1.5, -1.0])


def test_defects_and_their_windows() -> None:
    found = made()
    defects = find_defects(found)
    assert sorted(zip(defects.species.tolist(), defects.frame.tolist(), strict=True)) == [
        ("A2", 0), ("A2", 1), ("A2", 2), ("A2", 3), ("V_A", 2), ("V_A", 3),
    ]  # fmt: skip
    assert len(np.unique(defects.track[defects.species == "V_A"])) == 1
    assert len(np.unique(defects.track[defects.species == "A2"])) == 1  # it went to the next site
    side = window_side(found.table)
    assert side == 49
    images = [Image(np.arange(96 * 96, dtype=np.float32).reshape(96, 96) + frame) for frame in range(4)]
    cut = windows(images, defects, side)
    assert cut.shape == (6, 49, 49)
    for k in range(6):
        row, col = round(defects.row[k]), round(defects.col[k])
        assert cut[k, 24, 24] == images[defects.frame[k]].data[row, col]
    corner = Sightings(*(np.array([v]) for v in (0.0, 0.0, 0, 0, "A2", 1.0)))
    edge = windows(images, corner, 5)[0]
    assert np.isnan(edge[:2]).all() and np.isnan(edge[:, :2]).all() and np.isfinite(edge[2:, 2:]).all()


def test_windows_need_images_of_all_frames_and_atoms() -> None:
    found = made()
    with pytest.raises(UsageError, match="images of 4 frames"):
        windows([Image(np.ones((96, 96), dtype=np.float32))], find_defects(found), 5)
    with pytest.raises(UsageError, match="two atoms"):
        window_side(_table(np.ones((1, 2)), np.array(["A1"]), np.zeros(1, dtype=int), np.zeros(1, dtype=int)))


def _table(place: FloatArray, species: np.ndarray, frame: np.ndarray, track: np.ndarray) -> AtomTable:
    n, ones = len(place), np.ones(len(place))
    return AtomTable(
        row=place[:, 0], col=place[:, 1], covariance=np.tile(np.eye(2) * 0.01, (n, 1, 1)), shape=(96, 96),
        pixel_size=None, intensity=ones, intensity_sigma=ones, background=ones, width=ones, score=ones, chi2=ones,
        species=species, p_species=ones, anomaly=ones * np.nan, odd=np.full(len(ones), ""), frame=frame, track=track,
    )  # fmt: skip
