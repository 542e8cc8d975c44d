from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from picostem.errors import UsageError
from picostem.structure import Stack, hole, load_monolayer, random_sites, substitutions, vacancies

FIELD = Stack.bilayer(load_monolayer("MoS2"), (1.0, 0.4)).atoms(extent=(80.0, 80.0))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def rows(atoms: Atoms) -> set[tuple[float, ...]]:
    columns = [atoms.positions, atoms.numbers, atoms.arrays["layer"], atoms.arrays["site"]]
    return {tuple(row) for row in np.column_stack(columns).tolist()}


@pytest.mark.parametrize(("symbol", "layer"), [(None, None), ("S", None), ("Mo", 2), (None, 1)])
@pytest.mark.parametrize("fraction", [0.02, 0.3])
def test_the_fraction_asked_for_is_hit_where_asked(symbol: str | None, layer: int | None, fraction: float) -> None:
    hit = random_sites(FIELD, fraction, rng(), symbol=symbol, layer=layer)
    where = np.ones(len(FIELD), dtype=bool)
    if symbol:
        where &= np.array(FIELD.symbols) == symbol
    if layer:
        where &= FIELD.arrays["layer"] == layer
    assert not hit[~where].any()
    count = where.sum()
    # Four standard deviations of a binomial: one seed in 16000 fails, and the seed is fixed.
    assert abs(hit.sum() - fraction * count) < 4 * np.sqrt(count * fraction * (1 - fraction))


def test_vacancies_keep_the_labels_of_what_stays() -> None:
    before = len(FIELD)
    left = vacancies(FIELD, 0.1, rng(), symbol="S", layer=2)
    assert len(FIELD) == before and 0 < before - len(left) < before / 3
    assert rows(left) < rows(FIELD)
    gone = rows(FIELD) - rows(left)
    assert {(row[3], row[4]) for row in gone} == {(16.0, 2.0)}
    assert left.cell.array == pytest.approx(FIELD.cell.array)


def test_vacancies_are_the_sites_of_the_mask() -> None:
    hit = random_sites(FIELD, 0.1, rng(3), symbol="Mo")
    left = vacancies(FIELD, 0.1, rng(3), symbol="Mo")
    assert rows(left) == rows(FIELD[~hit])


def test_nothing_and_everything() -> None:
    assert len(vacancies(FIELD, 0.0, rng())) == len(FIELD)
    assert len(vacancies(FIELD, 1.0, rng())) == 0
    assert set(vacancies(FIELD, 1.0, rng(), symbol="S").symbols) == {"Mo"}


def test_substitutions_change_the_element_and_nothing_else() -> None:
    changed = substitutions(FIELD, 0.2, "W", rng(), symbol="Mo")
    different = changed.numbers != FIELD.numbers
    assert set(np.array(FIELD.symbols)[different]) == {"Mo"} and set(np.array(changed.symbols)[different]) == {"W"}
    assert different.sum() > 100
    assert (changed.positions == FIELD.positions).all()
    for name in ("layer", "site"):
        assert (changed.arrays[name] == FIELD.arrays[name]).all()
    assert "W" not in FIELD.symbols


def test_a_smooth_hole_is_a_disc_in_one_layer() -> None:
    left = hole(FIELD, (5.0, -8.0), 12.0, rng(), roughness=0.0, layer=2)
    distance = np.hypot(*(FIELD.positions[:, :2] - [5.0, -8.0]).T)
    expected = FIELD[(distance >= 12.0) | (FIELD.arrays["layer"] == 1)]
    assert rows(left) == rows(expected)
    assert len(left) < len(FIELD)


def test_a_rough_hole_has_about_the_area_of_the_disc() -> None:
    counts = [len(FIELD) - len(hole(FIELD, (0, 0), 15.0, rng(seed))) for seed in range(40)]
    disc = len(FIELD) - len(hole(FIELD, (0, 0), 15.0, rng(), roughness=0.0))
    # Area = disc · (1 + roughness²/2 · sum (u² + v²)/m²): on average 1.033, scattering by 2.3 %, the mean of 40 by
    # 0.4 %; 2 %: the granularity of atoms at the edge besides.
    assert np.mean(counts) == pytest.approx(1.033 * disc, rel=0.02)
    assert 0.01 * disc < np.std(counts) < 0.05 * disc


def test_defects_follow_their_generator() -> None:
    first, again, other = (vacancies(FIELD, 0.1, rng(seed)) for seed in (1, 1, 2))
    assert rows(first) == rows(again) != rows(other)
    first, again, other = (hole(FIELD, (0, 0), 10.0, rng(seed)) for seed in (1, 1, 2))
    assert rows(first) == rows(again) != rows(other)


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_impossible_fractions(fraction: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        vacancies(FIELD, fraction, rng())


def test_unknown_elements_and_layers() -> None:
    with pytest.raises(UsageError, match="symbol of a chemical element, got 'Qq'"):
        vacancies(FIELD, 0.1, rng(), symbol="Qq")
    with pytest.raises(UsageError, match="symbol of a chemical element, got 'X'"):
        substitutions(FIELD, 0.1, "X", rng())
    with pytest.raises(UsageError, match="no layer 3 .* layers present: 1, 2"):
        hole(FIELD, (0, 0), 5.0, rng(), layer=3)
    with pytest.raises(UsageError, match="layers present: none"):
        vacancies(Atoms("C"), 0.1, rng(), layer=1)


@pytest.mark.parametrize(("radius", "roughness"), [(-1.0, 0.1), (5.0, -0.1)])
def test_impossible_holes(radius: float, roughness: float) -> None:
    with pytest.raises(UsageError, match="must not be negative"):
        hole(FIELD, (0, 0), radius, rng(), roughness=roughness)
