"""How often atoms of a perfect crystal are called odd, and whether planted oddities are, and for what they are."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import cKDTree

from picostem.atoms.anomaly import ASPECTS, NAMED, Anomalies, _Perfect, anomalies, shapes
from picostem.atoms.find import find_atoms
from picostem.atoms.species import classify
from picostem.atoms.table import AtomTable
from picostem.errors import UsageError
from picostem.files import read_image
from picostem.image import Image
from tests.atoms.made import FloatArray, image
from tests.atoms.test_descriptors import table_of

LABELLED = Path(__file__).parents[3] / "shared" / "data" / "monolayers" / "WSe2_Ti"
PITCH, WIDTH, COUNTS = 15.0, 2.2, (2000.0, 1000.0)
"""Pixels, and electrons in an atom of either sublattice of a honeycomb; its bonds are 8.7 pixels long."""
ERROR, SPREAD = 0.15, 0.04
"""Of places, pixels, and of brightness, relative."""


@dataclass
class Crystal:
    """Atoms that are there: row and column, electrons, sublattice, and the ratio of their width along rows."""

    place: FloatArray
    counts: FloatArray
    site: np.ndarray
    long: FloatArray

    @classmethod
    def honeycomb(cls, side: int, rng: np.random.Generator) -> Crystal:
        cell = PITCH * np.array([[0.0, 1.0], [3**0.5 / 2, 0.5]])
        turn = np.array([[np.cos(0.1), np.sin(0.1)], [-np.sin(0.1), np.cos(0.1)]])
        cells = np.stack(np.mgrid[-80:80, -80:80], axis=-1).reshape(-1, 1, 2)
        place = ((cells + np.array([[1 / 3, 1 / 3], [2 / 3, 2 / 3]])) @ cell @ turn).reshape(-1, 2) + side / 2
        inside = np.all((place > -6) & (place < side + 6), axis=1)
        place, site = place[inside], np.tile([0, 1], len(cells))[inside]
        counts = np.array(COUNTS)[site] * (1 + rng.normal(0, 0.01, len(site)))
        return cls(place, counts, site, np.ones(len(site)))

    def inner(self, side: int, chosen: int, rng: np.random.Generator, apart: float = 45.0) -> np.ndarray:
        """Atoms of sublattice 1 far from the border and from one another."""
        found: list[int] = []
        for atom in rng.permutation(np.flatnonzero(self.site == 1)):
            free = all(np.linalg.norm(self.place[atom] - self.place[other]) > apart for other in found)
            if free and np.all(np.abs(self.place[atom] - side / 2) < side / 2 - 40) and len(found) < chosen:
                found.append(int(atom))
        return np.array(found)

    def image(self, side: int, rng: np.random.Generator, background: float = 5.0) -> Image:
        reach, mean = 12, np.full((side + 48, side + 48), background)
        for (r, c), q, long in zip(self.place + 24, self.counts, self.long, strict=True):
            rows, cols = np.mgrid[int(r) - reach : int(r) + reach + 1, int(c) - reach : int(c) + reach + 1]
            power = ((rows - r) / long) ** 2 + ((cols - c) * long) ** 2
            mean[rows, cols] += q / (2 * np.pi * WIDTH**2) * np.exp(-0.5 * power / WIDTH**2)
        return image(rng.poisson(mean[24:-24, 24:-24]), 0.16)

    def table(self, side: int, rng: np.random.Generator, background: float = 5.0) -> AtomTable:
        """What a fit would find, with its errors: those inside the image."""
        inside = np.all((self.place > 0) & (self.place < side - 1), axis=1)
        n = int(inside.sum())
        place = self.place[inside] + rng.normal(0, ERROR, (n, 2))
        counts = self.counts[inside] * (1 + rng.normal(0, SPREAD, n))
        table = table_of(place, counts, (side, side), background, (0.16, 0.16), WIDTH)
        return replace(table, intensity_sigma=SPREAD * self.counts[inside], width=WIDTH * (1 + rng.normal(0, 0.03, n)))


def asked(crystal: Crystal, side: int, rng: np.random.Generator) -> tuple[AtomTable, Anomalies]:
    table, data = crystal.table(side, rng), crystal.image(side, rng)
    found = classify(table)
    return found.table, anomalies(found.table, found.classes, found.basis, shapes(data, table))


def at(table: AtomTable, place: FloatArray) -> np.ndarray:
    """Atoms nearest to places."""
    return np.asarray(cKDTree(np.column_stack([table.row, table.col])).query(place)[1])


def test_atoms_of_a_perfect_crystal_are_as_odd_as_chance_has_it() -> None:
    rng = np.random.default_rng(0)
    table, found = asked(Crystal.honeycomb(640, rng), 640, rng)
    known = found.score[np.isfinite(found.score)]
    assert 3000 < len(known) < len(table)
    for threshold in (1.0, 2.0, 3.0):
        share, wanted = float((known > threshold).mean()), 10.0**-threshold
        # neighbours share their errors, so that a share scatters twice as much as if they did not
        scatter = 2 * np.sqrt(wanted / len(known))
        assert wanted / 2 - 3 * scatter < share < 1.5 * wanted + 3 * scatter
    for column, name in enumerate(ASPECTS):
        one = found.oddness[:, column]
        one = one[np.isfinite(one)]
        assert len(one) > 2500, name
        assert (one > 2).mean() < 0.02, name
    assert found.score[np.isfinite(found.score)].max() < 7


def test_atoms_at_the_border_are_not_odd_for_that() -> None:
    rng = np.random.default_rng(1)
    table, found = asked(Crystal.honeycomb(400, rng), 400, rng)
    edge = np.minimum(np.minimum(table.row, table.col), 399 - np.maximum(table.row, table.col))
    assert np.isnan(found.score[edge < 8 * 0.9 * WIDTH]).all()
    near = (edge < 45) & np.isfinite(found.score)
    assert near.sum() > 200
    assert (found.score[near] > 2).sum() <= 0.01 * near.sum() + 3 * np.sqrt(0.01 * near.sum())


@dataclass
class Planted:
    table: AtomTable
    found: Anomalies
    place: dict[str, FloatArray]
    bonded: dict[str, FloatArray]


@pytest.fixture(scope="module")
def planted() -> Planted:
    """Five of each: brighter by a half, long, displaced by 1.5 pixels, missing, and one more amid a hexagon."""
    rng, side = np.random.default_rng(2), 640
    crystal = Crystal.honeycomb(side, rng)
    chosen = crystal.inner(side, 25, rng)
    assert len(chosen) == 25
    kinds = dict(zip(("dopant", "long", "displaced", "vacancy", "adatom"), chosen.reshape(5, 5), strict=True))
    tree = cKDTree(crystal.place)
    bonded = {kind: crystal.place[tree.query(crystal.place[mine], 4)[1][:, 1:]] for kind, mine in kinds.items()}
    crystal.counts[kinds["dopant"]] *= 1.5
    crystal.long[kinds["long"]] = 1.45
    direction = rng.uniform(0, 2 * np.pi, 5)
    crystal.place[kinds["displaced"]] += 1.5 * np.column_stack([np.sin(direction), np.cos(direction)])
    place = {kind: crystal.place[mine] for kind, mine in kinds.items()}
    bond = bonded["adatom"][:, 0] - place["adatom"]
    place["adatom"] = place["adatom"] - bond  # opposite to a bond is the middle of a hexagon
    bonded["adatom"] = crystal.place[tree.query(place["adatom"], 6)[1]]
    crystal.place = np.vstack([crystal.place, place["adatom"]])
    crystal.counts, crystal.long = np.append(crystal.counts, np.full(5, 700.0)), np.append(crystal.long, np.ones(5))
    kept = np.delete(np.arange(len(crystal.place)), kinds["vacancy"])
    crystal.place, crystal.counts, crystal.long = crystal.place[kept], crystal.counts[kept], crystal.long[kept]
    table, found = asked(crystal, side, rng)
    return Planted(table, found, place, bonded)


@pytest.mark.parametrize(
    ("kind", "what"),
    [("dopant", "brightness"), ("long", "shape"), ("displaced", "place surroundings"), ("adatom", "place")],
)
def test_planted_atoms_are_odd(planted: Planted, kind: str, what: str) -> None:
    atoms = at(planted.table, planted.place[kind])
    assert planted.found.score[atoms].min() > 5
    assert all(name in what.split() for name in planted.found.what[atoms])


@pytest.mark.parametrize("kind", ["vacancy", "adatom"])
def test_neighbours_of_vacancies_and_adatoms_are_odd(planted: Planted, kind: str) -> None:
    atoms = at(planted.table, planted.bonded[kind].reshape(-1, 2))
    assert planted.found.score[atoms].min() > 5
    assert set(planted.found.what[atoms].tolist()) == {"surroundings"}
    # rings say so too: few atoms have such
    assert np.median(planted.found.oddness[atoms, ASPECTS.index("rings")]) > 1


def test_other_atoms_are_not_odd(planted: Planted) -> None:
    table, found = planted.table, planted.found
    planted_at = np.concatenate(list(planted.place.values()))
    far = cKDTree(planted_at).query(np.column_stack([table.row, table.col]))[0] > 2.5 * PITCH
    known = far & np.isfinite(found.score)
    assert known.sum() > 1500
    assert (found.score[known] > NAMED).mean() < 3e-3  # 1e-3, and 1.6 by chance
    assert np.array_equal(found.what != "", np.nan_to_num(found.score) >= NAMED)


def test_half_of_an_alloy_is_not_odd() -> None:
    """A tenth and more of a sublattice is a class of its own."""
    rng, side = np.random.default_rng(3), 500
    crystal = Crystal.honeycomb(side, rng)
    crystal.counts[(crystal.site == 1) & (rng.random(len(crystal.site)) < 0.3)] *= 1.5
    _, found = asked(crystal, side, rng)
    known = found.oddness[:, 0][np.isfinite(found.oddness[:, 0])]
    assert (known > 2).mean() < 0.02


def test_a_gradient_of_brightness_is_not_odd() -> None:
    rng, side = np.random.default_rng(4), 400
    crystal = Crystal.honeycomb(side, rng)
    crystal.counts *= 1 + 0.2 * crystal.place[:, 0] / side
    _, found = asked(crystal, side, rng)
    known = found.oddness[:, 0][np.isfinite(found.oddness[:, 0])]
    assert (known > 2).mean() < 0.03


@pytest.mark.parametrize(("tail", "rarest"), [("normal", 3), ("laplace", 2)])
def test_probabilities_hold_beside_outliers(tail: str, rarest: int) -> None:
    """A tenth of all is odd. Tails heavier than Gaussians' are seen, but not followed to the end."""
    rng = np.random.default_rng(5)
    values = getattr(rng, tail)(size=(4000, 3)) @ rng.normal(size=(3, 3))
    odd = rng.random(4000) < 0.1
    far = values + 30 * odd[:, None]
    found = _Perfect.of(far).oddness(far)
    assert found[odd].min() > 4
    for threshold in range(1, rarest + 1):
        wanted = 10.0**-threshold * (~odd).sum()
        assert abs((found[~odd] > threshold).sum() - wanted) < 0.5 * wanted + 3 * np.sqrt(wanted)


def test_oddness_of_gaussians_is_that_of_chi_squared() -> None:
    values = np.random.default_rng(6).normal(size=(20000, 3))
    found = float(_Perfect.of(values).oddness(np.array([[0.0, 0.0, 5.0]]))[0])
    assert found == pytest.approx(-np.log10(stats.chi2(3).sf(25.0)), abs=0.5)  # the tail's exponent is good to 5 %


def test_what_cannot_be_asked_is_nan() -> None:
    rng = np.random.default_rng(6)
    few = table_of(rng.uniform(30, 90, (6, 2)), np.full(6, 500.0), (120, 120), 1.0)
    found = classify(few)
    result = anomalies(found.table, found.classes, found.basis, shapes(image(np.ones((120, 120))), few))
    assert np.isnan(result.score).all() and np.isnan(result.oddness).all()
    assert (result.what == "").all()
    empty = table_of(np.empty((0, 2)), np.empty(0), (120, 120), 1.0)
    assert len(anomalies(empty, (), None, shapes(image(np.ones((120, 120))), empty)).score) == 0
    with pytest.raises(UsageError, match="shape"):
        shapes(image(np.ones((100, 120))), few)


def test_frames_of_a_movie_count_together() -> None:
    """Four small frames tell what one alone cannot."""
    rng, side = np.random.default_rng(7), 130
    tables, parts = [], []
    for frame in range(4):
        crystal = Crystal.honeycomb(side, rng)
        if frame == 2:
            atom = int(
                np.flatnonzero(crystal.site == 1)[
                    np.linalg.norm(crystal.place[crystal.site == 1] - 65, axis=1).argmin()
                ]
            )
            crystal.counts[atom] *= 1.6
            odd = crystal.place[atom]
        table = crystal.table(side, rng)
        tables.append(replace(table, frame=np.full(len(table), frame)))
        parts.append(shapes(crystal.image(side, rng), table))
    names = [name for name in vars(tables[0]) if name not in ("shape", "pixel_size")]
    movie = replace(tables[0], **{name: np.concatenate([getattr(one, name) for one in tables]) for name in names})
    found = classify(movie)
    result = anomalies(found.table, found.classes, found.basis, np.concatenate(parts))
    oddest = int(np.nanargmax(result.score))
    assert movie.frame[oddest] == 2
    assert np.hypot(movie.row[oddest] - odd[0], movie.col[oddest] - odd[1]) < 1
    assert result.what[oddest] == "brightness"


def test_speed() -> None:
    """5000 atoms in less than a second of a core."""
    rng, side = np.random.default_rng(8), 700
    crystal = Crystal.honeycomb(side, rng)
    table, data = crystal.table(side, rng), crystal.image(side, rng)
    found = classify(table)
    start = time.process_time()
    anomalies(found.table, found.classes, found.basis, shapes(data, table))
    assert len(table) > 4900
    assert time.process_time() - start < 1


@pytest.mark.slow
@pytest.mark.skipif(not LABELLED.is_dir(), reason="the shared images are not here")
def test_dopants_of_a_real_image() -> None:
    """Ti in WSe2, sites labelled by jiadongdan/random-defect-model: 1 is the rare kind, 0 and 2 the rest."""
    at_, side = 300, 420
    whole = read_image(LABELLED / "1028_ADF1_2.dm4")
    data = replace(whole, data=whole.data[at_ : at_ + side, at_ : at_ + side].copy())
    sites = np.load(LABELLED / "1028_Ti2_pts_new.npy")[:, ::-1] - at_
    label = np.load(LABELLED / "1028_Ti2_lbs_new.npy")
    table = find_atoms(data)
    found = classify(table)
    result = anomalies(found.table, found.classes, found.basis, shapes(data, table))
    away, atom = cKDTree(np.column_stack([table.row, table.col])).query(sites)
    known = (away < 2) & np.isfinite(result.score[atom])
    rare, usual = atom[known & (label == 1)], atom[known & np.isin(label, (0, 2))]
    assert len(rare) >= 15 and len(usual) > 1000
    assert (result.score[rare] > NAMED).mean() >= 0.9
    assert (result.score[usual] > NAMED).mean() < 0.02  # some of these are beside defects


@pytest.mark.slow
def test_whole_way_from_an_image() -> None:
    """A dopant, and the neighbours of a vacancy, in an image of which nothing is known."""
    rng, side = np.random.default_rng(9), 300
    crystal = Crystal.honeycomb(side, rng)
    dopant, gone = crystal.inner(side, 2, rng, 80.0)
    around = crystal.place[cKDTree(crystal.place).query(crystal.place[gone], 4)[1][1:]]
    crystal.counts[dopant] *= 1.6
    kept = np.delete(np.arange(len(crystal.place)), gone)
    left = Crystal(crystal.place[kept], crystal.counts[kept], crystal.site[kept], crystal.long[kept])
    data = left.image(side, rng)
    table = find_atoms(data)
    found = classify(table)
    result = anomalies(found.table, found.classes, found.basis, shapes(data, table))
    assert result.what[at(table, crystal.place[[dopant]])].tolist() == ["brightness"]
    assert result.what[at(table, around)].tolist() == ["surroundings"] * 3
    known = np.isfinite(result.score)
    assert (result.score[known] > NAMED).sum() <= 4 + 12  # planted ones, and what is within reach of them
