from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from picostem.errors import UsageError
from picostem.structure import (
    Monolayer,
    SlipEquivalence,
    canonical_twist,
    layer_operations,
    load_monolayer,
    rotation_matrix,
    trilayer_distance,
    twist_distance,
)
from tests.strategies.structure import angles, monolayers, seeded, steps, vectors
from tests.structure.test_equivalence import bench_entry
from tests.structure.test_symmetry import load_score

FloatArray = NDArray[np.float64]

# By hand: lower, upper, the period of the twist and whether its sign shows (degrees).
TWISTS = [
    ("MoS2", "MoS2", 120, False),
    ("ReS2", "ReS2", 180, False),
    ("1T'-MoTe2", "1T'-MoTe2", 180, False),
    ("graphene", "graphene", 60, False),
    ("MoS2", "WSe2", 120, False),
    ("ReS2", "ReSe2", 180, True),
    ("ReS2", "MoS2", 60, True),
    ("MoS2", "1T'-MoTe2", 60, False),
]


@pytest.mark.parametrize(("lower", "upper", "period", "signed"), TWISTS)
def test_period_and_sign_of_a_twist(lower: str, upper: str, period: int, signed: bool) -> None:
    layers = load_monolayer(lower), load_monolayer(upper)
    twist = np.radians(11.0)
    # 1e-9 rad: rounding.
    assert twist_distance(twist, twist + np.radians(period), *layers) < 1e-9
    half = twist_distance(twist, twist + np.radians(period / 2), *layers)
    assert half > np.radians(5)
    assert (twist_distance(twist, -twist, *layers) < 1e-9) != signed
    if signed:
        assert np.degrees(twist_distance(twist, -twist, *layers)) == pytest.approx(22.0)


@pytest.mark.parametrize(
    ("twist_deg", "expected"), [(0, 0), (14.1, 14.1), (-14.1, 14.1), (45.9, 45.9), (74.1, 45.9), (119, 1), (180, 60)]
)
def test_canonical_twist_of_2H_layers(twist_deg: float, expected: float) -> None:
    assert np.degrees(canonical_twist(np.radians(twist_deg), load_monolayer("MoS2"))) == pytest.approx(
        expected, abs=1e-9
    )


def test_parallel_and_antiparallel_2H_layers_differ() -> None:
    assert np.degrees(twist_distance(0, np.pi / 3, load_monolayer("WSe2"))) == pytest.approx(60)


@seeded
@given(monolayers, monolayers, angles, angles)
def test_canonical_twist_is_idempotent_and_equivalent(lower: Monolayer, upper: Monolayer, a: float, b: float) -> None:
    layers = lower, upper
    canonical = canonical_twist(a, *layers)
    assert 0 <= canonical <= np.pi
    # 1e-8 rad: angles within 1e-9 of a full turn count as 0.
    assert canonical_twist(canonical, *layers) == pytest.approx(float(canonical), abs=1e-8)
    assert twist_distance(a, canonical, *layers) < 1e-8
    assert twist_distance(a, b, *layers) == pytest.approx(float(twist_distance(b, a, *layers)), abs=1e-8)
    assert twist_distance(a, b, *layers) == pytest.approx(
        float(twist_distance(a, canonical_twist(b, *layers), *layers)), abs=1e-8
    )


def test_twists_of_arrays() -> None:
    monolayer = load_monolayer("MoS2")
    twists = np.radians([[0.0, 10.0, 130.0]])
    np.testing.assert_allclose(np.degrees(canonical_twist(twists, monolayer)), [[0, 10, 10]], atol=1e-9)
    np.testing.assert_allclose(np.degrees(twist_distance(twists, 0.0, monolayer)), [[0, 10, 10]], atol=1e-9)


@pytest.mark.parametrize(("lower", "upper"), [("MoS2", "MoS2"), ("ReS2", "ReS2"), ("MoS2", "WSe2"), ("ReS2", "MoS2")])
def test_twist_distance_agrees_with_an_independent_program(lower: str, upper: str) -> None:
    score = load_score()
    operations = [score.layer_ops(bench_entry(name)) for name in (lower, upper)]
    for a, b in np.random.default_rng(6).uniform(-180, 180, (50, 2)):
        ours = np.degrees(twist_distance(np.radians(a), np.radians(b), load_monolayer(lower), load_monolayer(upper)))
        # 1e-9°: rounding.
        assert ours == pytest.approx(score.twist_error(a, b, *operations, lower == upper), abs=1e-9)


def test_mirror_lines_of_different_layers_need_not_coincide() -> None:
    # A rhombic layer with one mirror line, at 50° to its a; MoS2 has one at 30°. Mirrored, twist t becomes -40° - t.
    gamma = np.radians(100)
    cell = 4.0 * np.array([[1.0, 0.0], [np.cos(gamma), np.sin(gamma)]])
    rhombic = Monolayer("rhombic", cell, ("C", "N"), np.array([[0, 0, 0], [*(0.3 * cell.sum(axis=0)), 0]]), 3.0, "")
    layers = load_monolayer("MoS2"), rhombic
    # 1e-9: rounding.
    assert twist_distance(np.radians(10), np.radians(-50), *layers) < 1e-9
    assert np.degrees(twist_distance(np.radians(10), np.radians(-10), *layers)) == pytest.approx(20)
    assert np.degrees(canonical_twist(np.radians(-50), *layers)) == pytest.approx(10)


@seeded
@given(monolayers, monolayers, angles, angles)
def test_a_turned_layer_is_a_twist_of_180_degrees(lower: Monolayer, upper: Monolayer, a: float, b: float) -> None:
    expected = twist_distance(a + np.pi, b + np.pi, lower, upper)
    # 1e-8 rad: operations of six-digit coordinates are orthogonal to rounding.
    assert twist_distance(a, b, lower, upper.turned()) == pytest.approx(float(expected), abs=1e-8)


@pytest.mark.parametrize(
    ("lower", "upper", "period", "signed"),
    [("ReS2", "ReS2", 180, True), ("MoS2", "WSe2", 120, False), ("ReS2", "MoS2", 60, True), ("hBN", "hBN", 120, False)],
)
def test_twists_of_a_layer_upside_down(lower: str, upper: str, period: int, signed: bool) -> None:
    # By hand. ReS2 upside down is its mirror image: a mirror that changed the sign would exchange the layers, and
    # exchanging them changes it back.
    layers, twist = (load_monolayer(lower), load_monolayer(upper).flipped()), np.radians(11.0)
    # 1e-9 rad: rounding.
    assert twist_distance(twist, twist + np.radians(period), *layers) < 1e-9
    assert (twist_distance(twist, -twist, *layers) < 1e-9) != signed
    assert np.degrees(canonical_twist(twist, *layers)) == pytest.approx(11.0)


def brute_force_distance(a: FloatArray, b: FloatArray, monolayer: Monolayer) -> tuple[float, float]:
    """Every operation, order and choice of images up to two cells away."""
    cells = np.array(list(itertools.product(range(-2, 3), repeat=2))) @ monolayer.cell
    best = (np.inf, np.inf)
    for operation in layer_operations(monolayer):
        for order in itertools.permutations(range(3)):
            difference = a - b[list(order)] @ operation.matrix.T
            relative = difference - difference[0]
            relative -= np.round(relative @ np.linalg.inv(monolayer.cell)) @ monolayer.cell
            sets = np.zeros((25, 25, 3, 2))
            sets[:, :, 1] = (relative[1] + cells)[:, None]
            sets[:, :, 2] = relative[2] + cells
            squares = ((sets - sets.mean(axis=2, keepdims=True)) ** 2).sum(axis=-1).reshape(-1, 3)
            k = squares.mean(axis=1).argmin()
            best = min(best, (float(np.sqrt(squares[k].mean())), float(np.sqrt(squares[k].max()))))
    return best


@pytest.mark.parametrize("name", ["ReS2", "MoS2", "1T'-MoTe2"])
def test_trilayer_distance_equals_brute_force(name: str) -> None:
    monolayer = load_monolayer(name)
    for a, b in np.random.default_rng(7).uniform(-5, 5, (10, 2, 3, 2)):
        found = trilayer_distance(a, b, monolayer)
        # 1e-9 Å: rounding.
        assert found.rms == pytest.approx(brute_force_distance(a, b, monolayer)[0], abs=1e-9)
        assert found.rms <= found.max <= found.rms * np.sqrt(3)


@seeded
@given(monolayers, vectors(5), vectors(5), vectors(5), steps)
def test_trilayer_distance_forgets_what_projection_cannot_show(
    monolayer: Monolayer, first: FloatArray, second: FloatArray, shift: FloatArray, step: FloatArray
) -> None:
    positions = np.array([[0.0, 0.0], first, second])
    for operation in layer_operations(monolayer):
        for order in itertools.permutations(range(3)):
            other = operation(positions)[list(order)] + shift
            other[1] += step @ monolayer.cell
            # 1e-5 Å: six digits of the cell's coordinates.
            assert trilayer_distance(positions, other, monolayer).max < 1e-5


def test_trilayer_distance_of_a_small_known_displacement() -> None:
    monolayer = load_monolayer("ReS2")
    positions = np.array([[0.0, 0.0], [1.5, 0.4], [-0.6, 2.1]])
    moved = positions + [[0.0, 0.0], [0.03, 0.0], [0.0, 0.0]]
    found = trilayer_distance(positions, moved, monolayer)
    # Without the mean: 0.02, 0.01 and 0.01 Å.
    assert found.max == pytest.approx(0.02)
    assert found.rms == pytest.approx(np.sqrt((0.02**2 + 2 * 0.01**2) / 3))


@seeded
@given(monolayers, vectors(), vectors())
def test_two_layers_are_half_a_slip_apart(monolayer: Monolayer, a: FloatArray, b: FloatArray) -> None:
    first, second = (np.array([[0.0, 0.0], slip]) for slip in (a, b))
    expected = SlipEquivalence(monolayer).distance(a, b)
    # Each layer is off by half the error of the slip. 1e-9 Å: rounding.
    assert trilayer_distance(first, second, monolayer).rms == pytest.approx(float(expected) / 2, abs=1e-9)


@pytest.mark.parametrize("name", ["ReS2", "MoS2"])
def test_trilayer_distance_agrees_with_an_independent_program(name: str) -> None:
    score, monolayer = load_score(), load_monolayer(name)
    rng = np.random.default_rng(8)
    for positions in rng.uniform(-5, 5, (10, 3, 2)):
        near = (positions + rng.normal(0, 0.02, (3, 2)))[rng.permutation(3)] + rng.normal(size=2)
        theirs = score.trilayer_error(positions, near, bench_entry(name))
        ours = trilayer_distance(positions, near, monolayer)
        # 1e-9 Å: rounding. Far apart, the other program does not look for the best common translation.
        assert ours == pytest.approx((theirs["trilayer_rms_A"], theirs["trilayer_max_A"]), abs=1e-9)
        far = rng.uniform(-5, 5, (3, 2))
        theirs = score.trilayer_error(positions, far, bench_entry(name))
        assert trilayer_distance(positions, far, monolayer).rms <= theirs["trilayer_rms_A"] + 1e-9


@pytest.mark.parametrize(
    "shapes", [((3, 2), (2, 2)), ((1, 2), (1, 2)), ((5, 2), (5, 2)), ((3, 3), (3, 3)), ((2,), (2,))]
)
def test_impossible_sets_of_layers_are_turned_down(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(UsageError, match="expected"):
        trilayer_distance(np.zeros(shapes[0]), np.zeros(shapes[1]), load_monolayer("ReS2"))


@pytest.mark.parametrize("name", ["MoS2", "ReS2", "hBN"])
def test_two_antiparallel_layers_are_half_a_slip_apart(name: str) -> None:
    layers = load_monolayer(name), load_monolayer(name).turned()
    found = SlipEquivalence(*layers)
    for a, b in np.random.default_rng(11).uniform(-5, 5, (10, 2, 2)):
        sets = np.array([[0.0, 0.0], a]), np.array([[0.0, 0.0], b])
        # 1e-5 Å: six digits of the coordinates, of which the operations of slips are averages.
        assert trilayer_distance(*sets, layers).rms == pytest.approx(float(found.distance(a, b)) / 2, abs=1e-5)


def test_antiparallel_trilayers_by_hand() -> None:
    layer = load_monolayer("MoS2")
    stack = layer, layer.turned(), layer
    positions = np.array([[0.0, 0.0], [1.2, 0.3], [0.4, -0.9]])
    # The outer layers are alike and can be exchanged; inverted about the middle one, all is as it was, but turned.
    assert trilayer_distance(positions, positions[::-1], stack).max < 1e-9
    assert trilayer_distance(positions, positions[[1, 0, 2]], stack).rms > 0.1
    assert trilayer_distance(positions, positions[[1, 0, 2]], layer).max < 1e-9
    # A third of a turn about the metal atom of layer 1 is a symmetry of all three.
    assert trilayer_distance(positions, positions @ rotation_matrix(2 * np.pi / 3).T, stack).max < 1e-5
    assert trilayer_distance(positions, positions @ rotation_matrix(np.pi / 3).T, stack).rms > 0.1


def test_layers_of_different_materials_cannot_be_exchanged() -> None:
    layers = load_monolayer("MoS2"), load_monolayer("WS2"), load_monolayer("MoS2")
    positions = np.array([[0.0, 0.0], [1.2, 0.3], [0.4, -0.9]])
    assert trilayer_distance(positions, positions[::-1], layers).max < 1e-9
    assert trilayer_distance(positions, positions[[1, 0, 2]], layers).rms > 0.1
    with pytest.raises(UsageError, match="for 2 layers"):
        trilayer_distance(positions, positions, layers[:2])
