"""Pairs found or not, what is measured of them by hand, errors by simulation, and changes called as often as stated."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from picostem.atoms.constancy import LOCAL, measure_changes
from picostem.atoms.dumbbells import Dumbbells, find_dumbbells
from picostem.atoms.follow import follow
from picostem.atoms.table import AtomTable
from picostem.errors import UsageError
from picostem.image import Image
from picostem.physics import DEGREE
from tests.atoms.made import FloatArray, expected

PITCH, LENGTH = 20.0, 7.0  # pixels
WIDTH = 2.2


def pairs(side: int = 5, angle: float = 20 * DEGREE, length: float = LENGTH) -> FloatArray:
    """Places of dumbbells on a square lattice, one atom after the other, (2 side², 2)."""
    middle = np.stack(np.mgrid[:side, :side], axis=-1).reshape(-1, 1, 2) * PITCH + PITCH
    half = length / 2 * np.array([-np.sin(angle), np.cos(angle)])  # row, column; rows go down
    return np.asarray((middle + np.array([[-1], [1]]) * half).reshape(-1, 2))


def table(place: FloatArray, pixel_size: tuple[float, float] | None = None, tracked: bool = False) -> AtomTable:
    n, nothing = len(place), np.full(len(place), np.nan)
    return AtomTable(
        row=place[:, 0], col=place[:, 1], covariance=np.tile(np.eye(2) * 0.01, (n, 1, 1)), shape=(120, 120),
        pixel_size=pixel_size, intensity=np.full(n, 1000.0), intensity_sigma=np.full(n, 40.0),
        background=np.full(n, 5.0), width=np.full(n, WIDTH), score=np.full(n, 20.0), chi2=np.ones(n),
        species=np.full(n, ""), p_species=nothing, anomaly=nothing, odd=np.full(n, ""),
        frame=np.zeros(n, dtype=np.int64), track=np.arange(n) if tracked else np.full(n, -1),
    )  # fmt: skip


@pytest.mark.parametrize("angle", [-40.0, 0.0, 20.0, 90.0, 91.0, 130.0])
def test_length_and_angle(angle: float) -> None:
    found = find_dumbbells(table(pairs(angle=angle * DEGREE)))
    assert len(found) == 25
    assert found.unit == "px"
    assert found.limit is not None and LENGTH < found.limit < PITCH - LENGTH
    assert found.value[:, 0] == pytest.approx(LENGTH)
    assert found.value[:, 1] / DEGREE == pytest.approx(angle)


def test_upright_dumbbells_keep_their_ends() -> None:
    """Noise turns some beyond 90 degrees, which must not exchange the two atoms."""
    rng = np.random.default_rng(1)
    place = pairs(angle=90 * DEGREE) + rng.normal(0, 0.2, (50, 2))
    bright = replace(table(place), intensity=np.tile([2000.0, 1000.0], 25))
    assert find_dumbbells(bright).value[:, 2] == pytest.approx(np.full(25, np.log(2)))


def test_lengths_in_angstrom_with_oblong_pixels() -> None:
    flat = table(pairs(angle=0.0), (0.1, 0.2))
    found = find_dumbbells(flat)
    assert found.unit == "A"
    assert found.value[:, 0] == pytest.approx(LENGTH * 0.2)
    assert "length_A" in found.columns()


def test_scale_does_not_matter() -> None:
    place = pairs() * 0.37
    small = replace(table(place), width=np.full(50, WIDTH * 0.37), shape=(45, 45))
    assert find_dumbbells(small).value[:, 0] == pytest.approx(LENGTH * 0.37)


def test_an_atom_without_a_partner_is_none() -> None:
    assert len(find_dumbbells(table(np.delete(pairs(), [10, 30], axis=0)))) == 23


def test_a_pair_of_tracks_is_followed_where_it_is_far_apart() -> None:
    """In frame 1 one pair is as long as atoms of different pairs are apart, in frame 2 one lacks an atom."""
    places = [pairs(), pairs(), np.delete(pairs(), 20, axis=0)]
    places[1][8] += (places[1][8] - places[1][9]) * 0.8
    numbers = [np.arange(50), np.arange(50), np.delete(np.arange(50), 20)]
    parts = [replace(table(p), track=numbers[k], frame=np.full(len(p), k)) for k, p in enumerate(places)]
    arrays = [one.name for one in fields(AtomTable) if one.name not in ("shape", "pixel_size")]
    movie = replace(parts[0], **{name: np.concatenate([getattr(one, name) for one in parts]) for name in arrays})
    found = find_dumbbells(movie)
    assert np.bincount(found.frame).tolist() == [25, 25, 24]
    far = (found.frame == 1) & (found.value[:, 0] > 1.5 * LENGTH)
    assert found.value[far, 0] == pytest.approx([1.8 * LENGTH])
    assert set(movie.track[found.atoms[far]].ravel().tolist()) == {8, 9}
    assert np.bincount(found.number).tolist().count(2) == 1


def test_no_dumbbells_on_lattices_and_in_disorder() -> None:
    rng = np.random.default_rng(2)
    square = np.stack(np.mgrid[:8, :8], axis=-1).reshape(-1, 2) * 12.0 + 12
    honeycomb = np.concatenate([square @ [[1, 0], [0.5, 0.866]], square @ [[1, 0], [0.5, 0.866]] + [8.0, 4.6]])
    for place in (square, square + rng.normal(0, 0.5, square.shape), honeycomb, rng.uniform(0, 120, (200, 2))):
        found = find_dumbbells(table(place))
        assert (len(found), found.limit) == (0, None)


def test_few_atoms() -> None:
    for count in (0, 1, 2, 5):
        assert len(find_dumbbells(table(pairs()[:count]))) == 0
        assert measure_changes(find_dumbbells(table(pairs()[:count]))).z.shape == (0, 3)


def test_atoms_that_cannot_be_told_apart() -> None:
    unknown = table(pairs())
    unknown.covariance[3] = np.diag([np.inf, np.inf])
    found = find_dumbbells(unknown)
    assert len(found) == 24
    assert 3 not in found.atoms


def images(place: FloatArray, frames: int, rng: np.random.Generator, dose: float) -> list[Image]:
    mean = expected(place, np.full(len(place), dose), np.eye(2) * WIDTH**2, (120, 120), 3.0)
    return [Image(rng.poisson(mean).astype(np.float32)) for _ in range(frames)]


def test_errors_hold_where_peaks_overlap() -> None:
    """Atoms three widths apart: what one's error along the dumbbell is, the other's is in part, too."""
    found = find_dumbbells(follow(images(pairs(length=3 * WIDTH), 8, np.random.default_rng(3), 2000.0)))
    assert len(found) == 200
    matrix = found.value.reshape(8, 25, 3)
    z = (matrix - matrix.mean(axis=0)) * np.sqrt(8 / 7) / found.sigma.reshape(8, 25, 3)
    # 175 free draws: 5 %; the fit's own errors are up to a tenth too large
    assert np.sqrt(np.mean(z**2, axis=(0, 1))) == pytest.approx([0.95, 0.95, 0.95], abs=0.15)


def test_frames_of_one_shape_to_follow() -> None:
    with pytest.raises(UsageError, match="one shape"):
        follow([])
    with pytest.raises(UsageError, match="one shape"):
        follow([Image(np.ones((64, 64), dtype=np.float32)), Image(np.ones((64, 66), dtype=np.float32))])


def measured(rng: np.random.Generator, dumbbells: int, frames: int, sigma: float = 0.1) -> Dumbbells:
    """Dumbbells of one length, angle and asymmetry, with noise, all seen in all frames."""
    number, frame = (grid.ravel() for grid in np.mgrid[:dumbbells, :frames])
    k = len(number)
    value = np.array([2.0, 1.0, 0.0]) + rng.normal(0, sigma, (k, 3))
    atoms, nowhere = np.zeros((k, 2), dtype=np.int64), np.zeros(k)
    return Dumbbells(atoms, frame, number, nowhere, nowhere, value, np.full((k, 3), sigma), "A", 3.0)


def test_noise_is_called_a_change_as_often_as_stated() -> None:
    found = measure_changes(measured(np.random.default_rng(4), 300, 8))
    assert np.mean(np.abs(found.z) > 2) == pytest.approx(LOCAL, abs=0.01)  # 7200 draws of 0.046: 0.0025
    assert np.mean(np.abs(found.z) > found.threshold) < 5e-4
    assert np.mean(found.p < 0.05) == pytest.approx(0.05, abs=0.03)
    assert found.rescaled == pytest.approx(np.ones(3), abs=0.08)


def test_errors_that_are_too_small_or_large_are_brought_right() -> None:
    data = measured(np.random.default_rng(5), 200, 8)
    for factor in (0.5, 2.0):
        found = measure_changes(replace(data, sigma=data.sigma * factor))
        assert found.rescaled == pytest.approx(np.full(3, 1 / factor), rel=0.08)


def test_a_planted_change_is_found_and_named() -> None:
    data = measured(np.random.default_rng(6), 100, 8)
    planted = (data.number == 17) & (data.frame == 3)
    data.value[planted, 0] += 0.8
    found = measure_changes(data)
    assert np.flatnonzero(np.abs(found.z[:, 0]) > found.threshold).tolist() == np.flatnonzero(planted).tolist()
    assert found.deviation[planted, 0] == pytest.approx(0.8, abs=0.35)
    assert int(np.argmin(found.p[:, 0])) == 17
    assert found.as_dict()["length"]["beyond_threshold"] == 1


def test_what_all_do_together_is_no_change() -> None:
    data = measured(np.random.default_rng(7), 100, 8)
    data.value[:, 0] += 0.5 * (data.frame == 2)
    assert np.mean(np.abs(measure_changes(data).z[:, 0]) > 2) < 0.07


def test_level_is_of_the_other_frames() -> None:
    """The slow way: for each row the median of the other frames of its dumbbell, some of which lack it."""
    data = measured(np.random.default_rng(8), 5, 7)
    kept = np.random.default_rng(9).random(len(data)) < 0.8
    parts = {name: getattr(data, name)[kept] for name in ("atoms", "frame", "number", "row", "col", "value", "sigma")}
    data = replace(data, **parts)
    found = measure_changes(data)  # five dumbbells: too few for a common change
    for k in range(len(data)):
        others = (data.number == data.number[k]) & (data.frame != data.frame[k])
        assert found.deviation[k] == pytest.approx(data.value[k] - np.median(data.value[others], axis=0))
    assert found.frames.tolist() == np.bincount(data.number).tolist()


def test_a_dumbbell_seen_once_says_nothing() -> None:
    found = measure_changes(measured(np.random.default_rng(10), 3, 1))
    assert np.isnan(found.z).all() and np.isnan(found.p).all() and np.isnan(found.smallest).all()
