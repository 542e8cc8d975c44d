from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from picostem.errors import UsageError
from picostem.structure import Monolayer, beat_period, load_monolayer, moire_period, moire_vectors, rotation_matrix
from picostem.structure.moire import beats, matched
from tests.strategies.structure import monolayers, seeded, steps

FloatArray = NDArray[np.float64]
HEXAGONAL = np.array([[1.0, 0.0], [-0.5, np.sqrt(3) / 2]])


def turned(rows: FloatArray, angle: float) -> FloatArray:
    return rows @ rotation_matrix(angle).T


def vectors(lower: FloatArray, upper: FloatArray) -> FloatArray:
    found = moire_vectors(lower, upper)
    assert found is not None
    return found


def same_lattice(a: FloatArray, b: FloatArray) -> bool:
    steps = a @ np.linalg.inv(b)
    # 1e-6: rounding, enlarged by the ratio of the moiré to the lattice.
    return bool(np.abs(steps - np.round(steps)).max() < 1e-6 and abs(round(np.linalg.det(steps))) == 1)


small_twists = st.floats(np.radians(0.2), np.radians(25)).flatmap(lambda angle: st.sampled_from([angle, -angle]))


@seeded
@given(st.floats(2.0, 7.0), small_twists)
def test_equal_hexagonal_lattices(a: float, twist: float) -> None:
    found = vectors(a * HEXAGONAL, turned(a * HEXAGONAL, twist))
    # 1e-9: rounding.
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), moire_period(a, twist), rtol=1e-9)
    assert moire_period(a, twist) == pytest.approx(a / np.sqrt(2 * (1 - np.cos(twist))), rel=1e-9)
    # At half the twist from the direction across the lattice vectors, one way or the other.
    direction = np.arctan2(found[0, 1], found[0, 0]) - twist / 2 - np.pi / 2
    assert np.remainder(direction + 1e-6, np.pi / 3) < 2e-6


@seeded
@given(st.floats(2.0, 4.0), st.floats(0.005, 0.08), st.floats(-0.2, 0.2))
def test_hexagonal_lattices_of_different_size(a: float, mismatch: float, twist: float) -> None:
    # M. Yankowitz et al., Nature Physics 8, 382 (2012), https://doi.org/10.1038/nphys2272, eq. (1).
    closed = (1 + mismatch) * a / np.sqrt(2 * (1 + mismatch) * (1 - np.cos(twist)) + mismatch**2)
    lower, upper = a * HEXAGONAL, turned((1 + mismatch) * a * HEXAGONAL, twist)
    # 1e-9: rounding.
    assert beat_period(lower, upper) == pytest.approx(closed, rel=1e-9)
    assert beat_period(upper, lower) == pytest.approx(closed, rel=1e-9)


def test_graphene_on_boron_nitride() -> None:
    # 14 nm: J. Xue et al., Nature Materials 10, 282 (2011), for a mismatch of 1.8 %.
    assert beat_period(load_monolayer("graphene").cell, load_monolayer("hBN").cell) == pytest.approx(143, abs=1.0)


@pytest.mark.parametrize(("twist_deg", "cell"), [(21.7868, 7), (27.7958, 13), (13.1736, 19)])
def test_shortest_moires_in_units_of_the_lattice(twist_deg: float, cell: int) -> None:
    # Twists with (m, n) = (1, 2), (1, 3), (2, 3): the common cell is the moiré where n - m = 1, larger otherwise.
    period = moire_period(1.0, np.radians(twist_deg))
    expected = cell if cell != 13 else 13 / 3
    # 1e-4: the digits of the twist.
    assert period**2 == pytest.approx(expected, rel=1e-4)


@seeded
@given(monolayers, small_twists, st.floats(-7, 7), steps, st.integers(-2, 2))
def test_rotation_and_choice_of_basis(
    layer: Monolayer, twist: float, angle: float, step: FloatArray, shear: int
) -> None:
    lower = layer.cell
    upper = turned(lower, twist)
    found = vectors(lower, upper)
    basis = np.array([[1, 0], [shear, 1]]) @ np.array([[1, int(step[0])], [0, 1]])
    assert same_lattice(vectors(basis @ lower, upper), found)
    assert same_lattice(vectors(upper, lower), found)
    assert same_lattice(vectors(turned(lower, angle), turned(upper, angle)), turned(found, angle))


@seeded
@given(monolayers, small_twists)
def test_form_of_the_vectors(layer: Monolayer, twist: float) -> None:
    lower = layer.cell
    upper = turned(lower, twist)
    a, b = vectors(lower, upper)
    # 1e-9: rounding.
    assert np.linalg.det([a, b]) > 0 and a @ b <= 1e-9 * (a @ a) and a[0] >= 0
    assert np.linalg.norm(a) <= np.linalg.norm(b) * (1 + 1e-9)
    assert same_lattice(np.array([a, b]), np.linalg.inv(beats(lower, upper)).T)


@seeded
@given(monolayers, small_twists)
def test_registry_repeats_after_a_moire_vector_and_not_before(layer: Monolayer, twist: float) -> None:
    lower = layer.cell
    upper = turned(lower, twist)
    first, second = matched(lower, upper)
    assert same_lattice(first, lower) and same_lattice(second, upper)
    for i, j in itertools.product(range(4), repeat=2):
        point = np.array([i, j]) / 2 @ vectors(lower, upper)
        registry = point @ np.linalg.inv(first) - point @ np.linalg.inv(second)
        # 1e-6: rounding of coordinates up to some hundred.
        assert (np.abs(registry - np.round(registry)).max() < 1e-6) == (i % 2 == j % 2 == 0)


@pytest.mark.parametrize("twist_deg", [14.1, 45.9, 60.5, 120.3])
def test_a_twist_beyond_30_degrees_is_that_of_the_lattices(twist_deg: float) -> None:
    lower = load_monolayer("MoS2").cell
    small = twist_deg - 60 * round(twist_deg / 60)
    # 1e-9: rounding.
    assert beat_period(lower, turned(lower, np.radians(twist_deg))) == pytest.approx(
        moire_period(3.16, np.radians(small)), rel=1e-9
    )


def test_a_cell_near_a_multiple_of_the_other_one() -> None:
    # 2.02 times as large: beats with the second harmonics, as lattices that differ by 1 % do.
    lower, upper = 3.0 * HEXAGONAL, 6.06 * HEXAGONAL
    # 1e-9: rounding.
    assert beat_period(lower, upper) == beat_period(upper, lower) == pytest.approx(3.0 * 1.01 / 0.01, rel=1e-9)
    with pytest.raises(UsageError, match="do not correspond cell by cell"):
        matched(upper, lower)


def test_equal_lattices_have_no_moire() -> None:
    cell = load_monolayer("ReS2").cell
    for other in (cell, -cell, np.array([[1, 0], [3, 1]]) @ cell, cell * (1 + 1e-9)):
        assert moire_vectors(cell, other) is None
        assert beat_period(cell, other) == np.inf
    assert moire_period(3.16, 0.0) == np.inf


@pytest.mark.parametrize("angle", [0.0, 0.7])
def test_lattices_that_differ_along_one_direction_beat_in_fringes(angle: float) -> None:
    lower = turned(load_monolayer("1T'-MoTe2").cell, angle)
    upper = turned(load_monolayer("1T'-MoTe2").cell * [1.02, 1.0], angle)
    assert moire_vectors(lower, upper) is None
    # 3.452 · 1.02 / 0.02 Å. 1e-9: rounding.
    assert beat_period(lower, upper) == pytest.approx(3.452 * 1.02 / 0.02, rel=1e-9)


@pytest.mark.parametrize("bad", [np.eye(3), [[1.0, 0.0]], [[1.0, 0.0], [2.0, 0.0]], [[1.0, np.nan], [0.0, 1.0]]])
def test_impossible_lattices(bad: object) -> None:
    with pytest.raises(UsageError, match="two finite rows"):
        moire_vectors(bad, np.eye(2))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="two finite rows"):
        beat_period(np.eye(2), bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(("a", "twist"), [(0.0, 0.1), (-1.0, 0.1), (3.0, float("nan")), (float("inf"), 0.1)])
def test_impossible_twists(a: float, twist: float) -> None:
    with pytest.raises(UsageError, match="positive lattice constant"):
        moire_period(a, twist)
