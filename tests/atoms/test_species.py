"""Sublattices, classes of brightness and vacancies of lattices with known ones, and whether probabilities hold."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path

import ase.build
import ase.io
import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.atoms.columns import load_columns
from picostem.atoms.mixture import fit_mixture
from picostem.atoms.species import classify
from picostem.atoms.sublattice import find_sublattices
from picostem.atoms.table import AtomTable
from picostem.errors import FileError, StructureError, UnknownMaterialError
from picostem.structure import load_monolayer
from tests.atoms.made import FloatArray

SIZE = (300, 340)
"""Pixels."""


def table_of(place: FloatArray, intensity: FloatArray, sigma: float, pixel_size: float | None) -> AtomTable:
    """What would be found if peaks were 2 pixels wide, in no order."""
    n, nothing = len(place), np.full(len(place), np.nan)
    order = np.random.default_rng(0).permutation(n)
    return AtomTable(
        row=place[order, 0], col=place[order, 1], covariance=np.tile(np.eye(2) * 0.01, (n, 1, 1)), shape=SIZE,
        pixel_size=None if pixel_size is None else (pixel_size, pixel_size), intensity=intensity[order],
        intensity_sigma=np.full(n, sigma), background=np.ones(n), width=np.full(n, 2.0), score=np.full(n, 20.0),
        chi2=np.ones(n), species=np.full(n, ""), p_species=nothing, anomaly=nothing, odd=np.full(n, ""),
        frame=np.zeros(n, dtype=np.int64), track=np.full(n, -1),
    )  # fmt: skip


@dataclass
class Made:
    """A lattice in the image: places (row, column), number of the site in the cell, and its cell."""

    place: FloatArray
    site: NDArray[np.int64]

    def without(self, gone: NDArray[np.int64]) -> Made:
        kept = np.setdiff1d(np.arange(len(self.site)), gone)
        return Made(self.place[kept], self.site[kept])


def lattice(cell: FloatArray, sites: FloatArray, turn: float, rng: np.random.Generator, bent: float = 0.0) -> Made:
    """Sites of a lattice, rows of the cell as (x, y) in pixels, turned, scattered by 0.3 pixels.

    bent: pixels by which the middle of the image is off in x against its upper and lower border.
    """
    cos, sin = np.cos(turn), np.sin(turn)
    cells = np.stack(np.mgrid[-60:60, -60:60], axis=-1).reshape(-1, 1, 2)
    xy = ((cells + sites) @ cell @ np.array([[cos, sin], [-sin, cos]])).reshape(-1, 2)
    place = np.column_stack([SIZE[0] / 2 - xy[:, 1], SIZE[1] / 2 + xy[:, 0]])
    place[:, 1] += bent * np.sin(np.pi * place[:, 0] / SIZE[0])
    place += rng.normal(0, 0.3, place.shape)
    inside = np.all((place > 4) & (place < np.array(SIZE) - 5), axis=1)
    return Made(place[inside], np.tile(np.arange(len(sites)), len(cells))[inside])


def monolayer(name: str, pixel_size: float, rng: np.random.Generator, turn: float = 0.3) -> Made:
    """Projected columns of a 2H layer: site 0 the metal, site 1 both chalcogens."""
    layer = load_monolayer(name)
    return lattice(layer.cell / pixel_size, layer.scaled[:2], turn, rng)


def bright(made: Made, values: tuple[float, ...], spread: float, rng: np.random.Generator) -> FloatArray:
    return np.array(values)[made.site] * (1 + rng.normal(0, spread, len(made.site)))


SQUARE = np.array([[16.0, 0.0], [0.0, 16.0]])
HEXAGON = np.array([[17.0, 0.0], [-8.5, 14.72]])
HONEYCOMB = np.array([[1 / 3, 2 / 3], [2 / 3, 1 / 3]])


@pytest.mark.parametrize("bent", [0.0, 12.0])
def test_sublattices_of_a_honeycomb(bent: float) -> None:
    """Alike in brightness, so that only translations tell them apart; bent by nearly a cell."""
    rng = np.random.default_rng(1)
    made = lattice(HEXAGON, HONEYCOMB, 0.2, rng, bent)
    found = find_sublattices(made.place, bright(made, (1.0, 1.0), 0.05, rng), SIZE, 4.0)
    assert found.basis is not None
    assert np.linalg.norm(found.basis, axis=1) == pytest.approx(17.0, rel=0.03)
    assert found.label.min() == 0 and found.label.max() == 1
    first = found.label == found.label[made.site == 0][0]
    assert np.array_equal(first, made.site == 0)


def test_brightness_tells_sublattices_apart_where_places_do_not() -> None:
    """A and B columns of a perovskite along [001] lie on one square lattice."""
    rng = np.random.default_rng(2)
    made = lattice(SQUARE, np.array([[0.0, 0.0], [0.5, 0.5]]), 0.1, rng)
    found = find_sublattices(made.place, bright(made, (1.0, 0.6), 0.05, rng), SIZE, 4.0)
    assert found.basis is not None
    assert abs(np.linalg.det(found.basis)) == pytest.approx(256, rel=0.01)
    assert np.array_equal(found.label, made.site)


def test_scattered_atoms_have_no_lattice() -> None:
    place = np.random.default_rng(3).uniform(0, 300, (150, 2))
    found = find_sublattices(place, np.ones(150), SIZE, 4.0)
    assert found.basis is None
    assert not found.label.any()
    assert len(found.vacancies) == 0


def test_vacancies_and_atoms_off_the_lattice() -> None:
    rng = np.random.default_rng(4)
    made = lattice(HEXAGON, HONEYCOMB, 0.2, rng)
    inner = np.flatnonzero(np.all((made.place > 20) & (made.place < np.array(SIZE) - 20), axis=1))
    gone = rng.choice(inner, 15, replace=False)
    left = made.without(gone)
    hollow = _hollow(made)
    place = np.vstack([left.place, hollow])
    intensity = np.append(bright(left, (1.0, 0.5), 0.05, rng), 0.7)
    found = find_sublattices(place, intensity, SIZE, 6.0)
    assert len(found.vacancies) == 15
    for site in made.place[gone]:
        assert np.linalg.norm(found.vacancies - site, axis=1).min() < 1.0  # scatter of 0.3 in each axis
    vacant = [int(np.linalg.norm(made.place[gone] - one, axis=1).argmin()) for one in found.vacancies]
    assert np.array_equal(found.vacancy_label, made.site[gone][vacant])
    assert found.label[-1] == -1
    assert np.array_equal(found.label[:-1], left.site)


def _hollow(made: Made) -> FloatArray:
    """The middle of the hexagon nearest to the middle of the image."""
    grid = np.stack(np.mgrid[120:180:2, 140:200:2], axis=-1).reshape(-1, 2)
    distance = np.linalg.norm(grid[:, None] - made.place, axis=-1).min(axis=1)
    return grid[distance.argmax()].astype(np.float64)


def test_number_of_classes_and_their_means() -> None:
    rng = np.random.default_rng(5)
    kind = rng.choice(3, 2000, p=[0.03, 0.9, 0.07])
    mean = np.array([150.0, 100.0, 60.0])
    sigma = rng.uniform(2, 10, 2000)
    intensity = rng.normal(mean[kind], np.hypot(0.04 * mean[kind], sigma))
    found = fit_mixture(intensity, sigma)
    assert len(found.mean) == 3
    # errors of about 7 to 10 over the root of 60, 1800 and 140 atoms
    assert found.mean == pytest.approx(mean, abs=3)
    assert found.share == pytest.approx([0.03, 0.9, 0.07], abs=0.02)
    assert found.spread == pytest.approx(0.04, abs=0.015)


@pytest.mark.parametrize("n", [1, 5, 30, 3000])
def test_one_class_stays_one(n: int) -> None:
    rng = np.random.default_rng(6)
    sigma = rng.uniform(1, 20, n)
    assert len(fit_mixture(rng.normal(100, np.hypot(5, sigma)), sigma).mean) == 1


def test_probabilities_are_calibrated() -> None:
    """Two classes that overlap: of the calls made with p, a share p is right."""
    rng = np.random.default_rng(7)
    kind = rng.choice(2, 6000, p=[0.7, 0.3])
    mean = np.array([100.0, 70.0])
    sigma = rng.uniform(4, 14, 6000)
    intensity = rng.normal(mean[kind], np.hypot(0.03 * mean[kind], sigma))
    found = fit_mixture(intensity, sigma)
    assert len(found.mean) == 2
    called = found.probability(intensity, sigma)
    p, right = called.max(axis=1), called.argmax(axis=1) == kind
    bins = np.minimum((p * 10).astype(int), 9)
    error = sum(abs(p[bins == b].sum() - right[bins == b].sum()) for b in np.unique(bins)) / len(p)
    assert error < 0.02  # drawn: about 0.007
    assert right.mean() == pytest.approx(p.mean(), abs=0.012)  # three deviations of 6000 calls


def test_labels_without_chemistry() -> None:
    rng = np.random.default_rng(8)
    made = lattice(HEXAGON, HONEYCOMB, 0.2, rng)
    intensity = bright(made, (1000.0, 500.0), 0.03, rng)
    dim = rng.choice(np.flatnonzero(made.site == 1), 12, replace=False)
    intensity[dim] *= 0.5
    found = classify(table_of(made.place, intensity, 10.0, None))
    assert [one.name for one in found.classes] == ["A1", "B1", "B2"]
    assert found.classes[2].atoms == 12
    assert found.crystal is None
    assert np.all(found.table.p_species > 0.99)
    assert len(found.vacancies.row) == 0


def ws2(rng: np.random.Generator) -> tuple[AtomTable, int]:
    """WS2 with 10 S1 sites and 5 S vacancies, the brightness of S2 1/8 of that of W."""
    made = monolayer("WS2", 0.2, rng)
    inner = np.all((made.place > 15) & (made.place < np.array(SIZE) - 15), axis=1)
    chosen = rng.choice(np.flatnonzero((made.site == 1) & inner), 15, replace=False)
    intensity = bright(made, (4000.0, 500.0), 0.03, rng)
    intensity[chosen[:10]] *= 0.52
    left = np.setdiff1d(np.arange(len(made.site)), chosen[10:])
    return table_of(made.place[left], intensity[left], 25.0, 0.2), int(inner.sum())


@pytest.mark.parametrize("pixel_size", [0.2, None])
def test_known_crystal_names_sites_and_vacancies(pixel_size: float | None) -> None:
    table, _ = ws2(np.random.default_rng(9))
    table = replace(table, pixel_size=None if pixel_size is None else (pixel_size, pixel_size))
    found = classify(table, load_columns("WS2"))
    assert found.crystal == "WS2"
    assert [one.name for one in found.classes] == ["W", "S2", "S1"]
    assert found.classes[2].atoms == 10
    assert found.vacancies.sublattice.tolist() == ["S2"] * 5


def test_sheared_image_of_a_known_crystal() -> None:
    """By drift of the scan: columns shifted by an eighth of their row's height, 7° off a right angle."""
    table, _ = ws2(np.random.default_rng(13))
    col = table.col + (table.row - SIZE[0] / 2) / 8
    inside = (col > 4) & (col < SIZE[1] - 5)
    place = np.column_stack([table.row, col])[inside]
    found = classify(table_of(place, table.intensity[inside], 25.0, 0.2), load_columns("WS2"))
    assert found.crystal == "WS2"
    assert {"W", "S2"} <= {one.name for one in found.classes}


def test_wrong_crystal_is_not_forced_upon_an_image() -> None:
    table, _ = ws2(np.random.default_rng(10))
    found = classify(table, load_columns("ReS2"))
    assert found.crystal is None
    assert {one.sublattice for one in found.classes} == {"A", "B"}


def test_bulk_crystal_along_its_c_axis(tmp_path: Path) -> None:
    """Strontium titanate: Sr, TiO, and O, which is too faint to be seen."""
    a, px = 3.905, 0.25
    atoms = ase.Atoms("SrTiO3", scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5),
                      (0, 0.5, 0.5)], cell=[a, a, a], pbc=True)  # fmt: skip
    ase.io.write(tmp_path / "sto.cif", atoms)
    rng = np.random.default_rng(11)
    made = lattice(np.eye(2) * a / px, np.array([[0.0, 0.0], [0.5, 0.5]]), 0.4, rng)
    table = table_of(made.place, bright(made, (900.0, 500.0), 0.04, rng), 10.0, px)
    found = classify(table, load_columns(str(tmp_path / "sto.cif")))
    assert [one.name for one in found.classes] == ["Sr", "OTi"]


def test_crystals_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(UnknownMaterialError):
        load_columns("Unobtainium")
    with pytest.raises(FileError):
        load_columns(str(tmp_path / "none.cif"))
    ase.io.write(tmp_path / "si.cif", ase.build.bulk("Si"))
    with pytest.raises(StructureError, match="upright"):
        load_columns(str(tmp_path / "si.cif"))


def test_movie_keeps_its_labels() -> None:
    """Sublattices alike in brightness: which is the brighter changes from frame to frame, their tracks tell."""
    rng = np.random.default_rng(12)
    made = lattice(HEXAGON, HONEYCOMB, 0.2, rng)
    n = len(made.site)
    tables = [table_of(made.place, bright(made, (1.0, 1.0), 0.05, rng), 0.01, None) for _ in range(4)]
    order = np.random.default_rng(0).permutation(n)  # as in table_of
    whole = {
        name: np.concatenate([getattr(one, name) for one in tables])
        for name in vars(tables[0])
        if name not in ("shape", "pixel_size", "frame", "track")
    }
    movie = replace(tables[0], **whole, frame=np.repeat(np.arange(4), n), track=np.tile(np.arange(n), 4))
    species = classify(movie).table.species.reshape(4, n)
    assert len(np.unique(species)) == 2
    assert np.all(species == species[0])
    assert len(np.unique(species[0][made.site[order] == 0])) == 1


def test_no_atoms() -> None:
    empty = table_of(np.empty((0, 2)), np.empty(0), 1.0, 0.1)
    found = classify(empty)
    assert found.classes == ()
    assert found.basis is None
    assert io.BytesIO(found.table.as_parquet()).getbuffer().nbytes > 0
