from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from picostem.errors import UsageError
from picostem.structure import (
    Monolayer,
    SlipEquivalence,
    load_monolayer,
    rotation_matrix,
)
from tests.strategies.structure import seeded, steps, vectors
from tests.structure.test_symmetry import SHARED, load_score, noisy

FloatArray = NDArray[np.float64]

# Stackings with a common lattice: lower, upper, twist in degrees, number of equivalents. By hand: identical parallel
# layers have the operations of the layer and, through exchange, minus each of them; 2H layers at 60° have only their
# own (exchange gives nothing new); different 2H layers the same without exchange.
STACKINGS: dict[tuple[str, str, float], int] = {
    ("ReS2", "ReS2", 0): 2,
    ("ReS2", "ReS2", 180): 2,
    ("1T'-MoTe2", "1T'-MoTe2", 0): 4,
    ("MoS2", "MoS2", 0): 12,
    ("MoS2", "MoS2", 60): 6,
    ("MoS2", "MoS2", 120): 12,
    ("hBN", "hBN", 180): 6,
    ("graphene", "graphene", 0): 12,
    ("MoS2", "WSe2", 0): 6,
    ("MoS2", "WSe2", 60): 6,
    ("graphene", "hBN", 0): 6,
    ("ReS2", "ReSe2", 0): 2,
}


def equivalence(stacking: tuple[str, str, float], **options: bool) -> SlipEquivalence:
    lower, upper, twist = stacking
    return SlipEquivalence(load_monolayer(lower), load_monolayer(upper), np.radians(twist), **options)


stackings = st.sampled_from(sorted(STACKINGS)).map(equivalence)


@pytest.mark.parametrize(("stacking", "count"), STACKINGS.items(), ids=str)
def test_known_numbers_of_equivalents(stacking: tuple[str, str, float], count: int) -> None:
    found = equivalence(stacking)
    assert found.count == count
    assert len(found.equivalents((0.71, 0.33))) == count


def projected(stacking: tuple[str, str, float], slip: FloatArray) -> tuple[list[str], FloatArray, FloatArray]:
    """Species, points and lattice of a bilayer in projection, the upper layer strained onto the lower lattice."""
    bottom, top = load_monolayer(stacking[0]), load_monolayer(stacking[1])
    turn = rotation_matrix(np.radians(stacking[2]))
    steps = np.round(top.cell @ turn.T @ np.linalg.inv(bottom.cell))
    points = np.concatenate([bottom.positions[:, :2], top.scaled @ steps @ bottom.cell + slip])
    return [*bottom.symbols, *top.symbols], points, bottom.cell


def wrapped_length(vectors: FloatArray, cell: FloatArray) -> FloatArray:
    coordinates = vectors @ np.linalg.inv(cell)
    near = np.array(list(itertools.product((-1, 0, 1), repeat=2)))
    copies = ((coordinates - np.round(coordinates))[..., None, :] + near) @ cell
    return np.asarray(np.linalg.norm(copies, axis=-1).min(axis=-1))


def look_the_same(stacking: tuple[str, str, float], slip: FloatArray, other: FloatArray) -> bool:
    """Whether any isometry lays one projection on the other: all 24 rotations and mirrors, all translations."""
    names, points, cell = projected(stacking, slip)
    _, target, _ = projected(stacking, other)
    same_species = np.array(names)[:, None] == np.array(names)
    for turn, mirror in itertools.product(range(12), (1.0, -1.0)):
        matrix = rotation_matrix(np.radians(30 * turn)) @ np.diag([1.0, mirror])
        steps = cell @ matrix.T @ np.linalg.inv(cell)
        if np.abs(steps - np.round(steps)).max() > 1e-6:
            continue
        turned = points @ matrix.T
        for anchor in target[same_species[0]]:
            distance = np.where(
                same_species, wrapped_length((turned + anchor - turned[0])[:, None] - target, cell), 9.0
            )
            # 1e-4 Å: six digits of the coordinates. One to one, since both sets have equally many of each species.
            if distance.min(axis=1).max() < 1e-4 and distance.min(axis=0).max() < 1e-4:
                return True
    return False


@pytest.mark.parametrize("stacking", sorted(STACKINGS), ids=str)
def test_equivalents_are_all_that_look_the_same_and_no_others(stacking: tuple[str, str, float]) -> None:
    found = equivalence(stacking)
    slip = np.array([0.71, 0.33])
    assert all(look_the_same(stacking, slip, other) for other in found.equivalents(slip))
    for turn, mirror in itertools.product(range(12), (1.0, -1.0)):
        other = rotation_matrix(np.radians(30 * turn)) @ (slip * (1.0, mirror))
        # 1e-3 Å: between rounded coordinates and the next slip that is not equivalent.
        assert look_the_same(stacking, slip, other) == bool(found.distance(slip, other) < 1e-3)


@pytest.mark.parametrize("stacking", sorted(STACKINGS), ids=str)
def test_another_origin_of_the_layers_changes_nothing_but_the_slip(stacking: tuple[str, str, float]) -> None:
    lower, upper, twist = load_monolayer(stacking[0]), load_monolayer(stacking[1]), np.radians(stacking[2])
    moves = np.array([[0.3, -0.8], [1.1, 0.4]])
    lower_moved, upper_moved = (
        Monolayer("moved", m.cell, m.symbols, m.positions + [*move, 0], m.layer_spacing, "test")
        for m, move in zip((lower, upper), moves, strict=True)
    )
    # The layers lie where they did if the upper origin moves by -R move (strained with its layer), the lower by -move.
    steps = np.round(upper.cell @ rotation_matrix(twist).T @ np.linalg.inv(lower.cell))
    shift = moves[0] - moves[1] @ np.linalg.inv(upper.cell) @ steps @ lower.cell
    plain, moved = SlipEquivalence(lower, upper, twist), SlipEquivalence(lower_moved, upper_moved, twist)
    assert moved.count == plain.count
    slip = np.array([0.9, 0.2])
    # 1e-5 Å: six digits of the coordinates.
    assert np.max(moved.distance(plain.equivalents(slip) + shift, slip + shift)) < 1e-5


@seeded
@given(stackings, vectors(), steps)
def test_lattice_translations_and_the_canonical_slip(
    found: SlipEquivalence, slip: FloatArray, step: FloatArray
) -> None:
    canonical = found.canonical(slip)
    # 1e-5 Å: ties are decided within 1e-6, after one of which another image is taken; rounding is far below.
    np.testing.assert_allclose(found.canonical(slip + step @ found.cell), canonical, atol=1e-5)
    np.testing.assert_allclose(found.canonical(canonical), canonical, atol=1e-5)
    assert found.distance(slip, canonical) < 1e-9


@seeded
@given(stackings, vectors())
def test_all_equivalents_have_one_representative(found: SlipEquivalence, slip: FloatArray) -> None:
    equivalents = found.equivalents(slip)
    representatives = found.canonical(equivalents)
    # 1e-5 Å: as above.
    np.testing.assert_allclose(representatives, np.broadcast_to(found.canonical(slip), equivalents.shape), atol=1e-5)
    lengths = np.linalg.norm(equivalents, axis=1)
    assert np.linalg.norm(found.canonical(slip)) <= lengths.min() + 1e-5


@seeded
@given(stackings, st.tuples(st.integers(0, 12), st.integers(0, 12)), st.integers(0, 1000))
def test_special_positions_have_one_representative(
    found: SlipEquivalence, twelfths: tuple[int, int], seed: int
) -> None:
    """Twelfths of the cell lie on mirror lines and on the edges and corners of the Wigner-Seitz cell."""
    slip = np.array(twelfths) / 12 @ found.cell
    equivalents = found.equivalents(slip)
    noise = np.random.default_rng(seed).uniform(-1e-12, 1e-12, (*equivalents.shape,))
    # 1e-5 Å: as above; the noise of 1e-12 stands for rounding and must not decide.
    representatives = found.canonical(equivalents + noise)
    np.testing.assert_allclose(representatives, np.broadcast_to(found.canonical(slip), equivalents.shape), atol=1e-5)


@seeded
@given(stackings, vectors(), vectors(), vectors())
def test_distance_is_a_metric(found: SlipEquivalence, a: FloatArray, b: FloatArray, c: FloatArray) -> None:
    # 1e-9 Å: rounding of vectors of 30 Å.
    assert found.distance(a, b) == pytest.approx(found.distance(b, a), abs=1e-9)
    assert np.max(found.distance(a, found.equivalents(a))) < 1e-9
    assert found.distance(a, c) <= found.distance(a, b) + found.distance(b, c) + 1e-9
    assert found.distance(a, b) <= np.linalg.norm(a - b) + 1e-9


@seeded
@given(stackings, vectors(), vectors())
def test_distance_is_the_least_over_equivalents_by_brute_force(
    found: SlipEquivalence, a: FloatArray, b: FloatArray
) -> None:
    expected = wrapped_length(a - found.equivalents(b), found.cell).min()
    # 1e-6 Å: equivalents nearer than that count as one.
    assert found.distance(a, b) == pytest.approx(expected, abs=1e-6)


@seeded
@given(stackings, vectors())
def test_matrix_carries_a_small_step_along(found: SlipEquivalence, slip: FloatArray) -> None:
    canonical, matrix = found.canonical_with_matrix(slip)
    np.testing.assert_allclose(canonical, found.canonical(slip), atol=0)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(2), atol=1e-12)
    step = np.array([3e-3, -2e-3])
    # The step's image stays equivalent, wherever the slip lies. 1e-9 Å: rounding.
    assert found.distance(slip + step, canonical + matrix @ step) < 1e-9


def test_matrix_of_a_covariance_by_hand() -> None:
    found = equivalence(("ReS2", "ReS2", 0))
    canonical, matrix = found.canonical_with_matrix((-0.5, 0.2))
    assert canonical == pytest.approx([0.5, -0.2])
    np.testing.assert_allclose(matrix, -np.eye(2), atol=1e-12)


@seeded
@given(st.sampled_from(sorted(STACKINGS)), st.integers(0, 1000))
def test_operations_of_slips_are_a_group_even_with_noisy_atoms(stacking: tuple[str, str, float], seed: int) -> None:
    lower = noisy(load_monolayer(stacking[0]), seed)
    upper = lower if stacking[0] == stacking[1] else noisy(load_monolayer(stacking[1]), seed + 1)
    found = SlipEquivalence(lower, upper, np.radians(stacking[2]))
    assert found.count == STACKINGS[stacking]
    np.testing.assert_allclose(found.operations[0].matrix, np.eye(2), atol=1e-12)
    a, b = np.array([0.4, 1.3]), np.array([1.9, -0.6])
    for operation in found.operations:
        # 1e-6 Å: rounding; the errors of the coordinates, 0.01 Å, are averaged away.
        assert found.distance(a, operation(a)) < 1e-6
        assert found.distance(operation(a), operation(b)) == pytest.approx(found.distance(a, b), abs=1e-6)


def test_arrays_of_slips_equal_single_slips() -> None:
    found = equivalence(("MoS2", "MoS2", 0))
    rng = np.random.default_rng(1)
    # 5000 rows: more than are treated at once.
    a, b = rng.normal(0, 5, (2, 50, 100, 2))
    canonical, matrices = found.canonical_with_matrix(a)
    distance = found.distance(a, b)
    assert canonical.shape == (50, 100, 2) and matrices.shape == (50, 100, 2, 2) and distance.shape == (50, 100)
    for row, column in [(0, 0), (20, 47), (20, 48), (49, 99)]:
        # 1e-12 Å: the order of a sum differs between one row and many.
        np.testing.assert_allclose(canonical[row, column], found.canonical(a[row, column]), atol=1e-12)
        assert distance[row, column] == pytest.approx(float(found.distance(a[row, column], b[row, column])), abs=1e-12)
    assert found.distance(a, b[0, 0]).shape == (50, 100)
    assert found.canonical(np.zeros((0, 2))).shape == (0, 2)
    assert found.distance(np.zeros((0, 2)), np.zeros(2)).shape == (0,)


def test_a_fixed_frame_leaves_lattice_and_exchange() -> None:
    slip = np.array([0.7, -1.0])
    for stacking in [("MoS2", "MoS2", 0), ("MoS2", "MoS2", 60), ("ReS2", "ReS2", 0)]:
        found = equivalence(stacking, frame_fixed=True)
        assert found.count == 2
        assert found.distance(slip, -slip + [2, 1] @ found.cell) < 1e-9  # Å: rounding
        assert found.distance(slip, rotation_matrix(np.radians(120)) @ slip) > 0.1
    assert equivalence(("MoS2", "WSe2", 0), frame_fixed=True).count == 1


def test_a_fixed_frame_with_equal_layers_from_different_origins() -> None:
    lower = load_monolayer("MoS2")
    shift = np.array([0.4, 0.9])
    upper = Monolayer("moved", lower.cell, lower.symbols, lower.positions + [*shift, 0], 6.147, "test")
    found = SlipEquivalence(lower, upper, frame_fixed=True)
    # The metal atoms are apart by D + s, after the exchange by -(D + s). 1e-5 Å: six digits of the coordinates.
    slip = np.array([0.2, 0.3])
    assert found.count == 2
    assert found.distance(slip, -(slip + shift) - shift) < 1e-5


def test_an_upside_down_layer_is_the_same_material() -> None:
    # In projection a 2H layer turned upside down about a is one turned by 60°.
    lower = load_monolayer("MoS2")
    flipped, turned = SlipEquivalence(lower, lower.flipped()), SlipEquivalence(lower, twist=np.pi / 3)
    assert flipped.count == turned.count == 6
    slips = np.random.default_rng(2).normal(0, 3, (20, 2, 2))
    # 1e-5 Å: six digits of the coordinates.
    np.testing.assert_allclose(
        flipped.distance(*slips.swapaxes(0, 1)), turned.distance(*slips.swapaxes(0, 1)), atol=1e-5
    )


@pytest.mark.parametrize("name", ["MoS2", "hBN", "MoSe2"])
def test_an_antiparallel_layer_is_one_at_60_degrees(name: str) -> None:
    lower = load_monolayer(name)
    turned, at_60 = SlipEquivalence(lower, lower.turned()), SlipEquivalence(lower, twist=np.pi / 3)
    assert turned.count == at_60.count == 6
    slips = np.random.default_rng(9).normal(0, 3, (20, 2, 2))
    # 1e-5 Å: six digits of the coordinates.
    np.testing.assert_allclose(turned.distance(*slips.swapaxes(0, 1)), at_60.distance(*slips.swapaxes(0, 1)), atol=1e-5)
    # In a fixed frame the orientation tells which of the layers is the lower one, so that they cannot be exchanged.
    assert SlipEquivalence(lower, lower.turned(), frame_fixed=True).count == 1


def test_ReS2_turned_is_the_same_layer() -> None:
    lower = load_monolayer("ReS2")
    found = SlipEquivalence(lower, lower.turned())
    assert found.count == 2 and found.distance((0.4, 0.9), (-0.4, -0.9)) < 1e-9


def test_antiparallel_different_materials() -> None:
    lower, upper = load_monolayer("MoS2"), load_monolayer("WSe2").turned()
    found, at_60 = SlipEquivalence(lower, upper), equivalence(("MoS2", "WSe2", 60))
    a, b = np.random.default_rng(10).normal(0, 3, (2, 20, 2))
    assert found.count == 6
    # 1e-5 Å: six digits of the coordinates.
    np.testing.assert_allclose(found.distance(a, b), at_60.distance(a, b), atol=1e-5)


@pytest.mark.parametrize(
    ("lower", "upper", "twist_deg"), [("MoS2", "MoS2", 14.1), ("MoS2", "ReS2", 0), ("graphene", "MoS2", 0)]
)
def test_without_a_common_lattice_there_is_no_slip(lower: str, upper: str, twist_deg: float) -> None:
    with pytest.raises(UsageError, match="no common lattice"):
        equivalence((lower, upper, twist_deg))


def test_a_small_twist_is_a_local_registry() -> None:
    exact, near = equivalence(("MoS2", "MoS2", 0)), equivalence(("MoS2", "MoS2", 1.0))
    a, b = np.random.default_rng(3).normal(0, 3, (2, 10, 2))
    np.testing.assert_allclose(near.distance(a, b), exact.distance(a, b), atol=1e-9)


@pytest.mark.parametrize("bad", [1.0, [1.0], [1.0, 2.0, 3.0]])
def test_slips_have_two_components(bad: object) -> None:
    found = equivalence(("ReS2", "ReS2", 0))
    with pytest.raises(UsageError, match="expected vectors"):
        found.canonical(bad)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="expected vectors"):
        found.distance([0.0, 0.0], bad)  # type: ignore[arg-type]


def bench_entry(name: str) -> dict[str, Any]:
    table: dict[str, Any] = json.loads((SHARED / "structures.json").read_text(encoding="utf8"))
    entry: dict[str, Any] = table["MoTe2_1Tp" if name == "1T'-MoTe2" else name]
    return entry


@pytest.mark.parametrize("stacking", [key for key in sorted(STACKINGS) if key[0] == key[1]], ids=str)
def test_slip_distance_agrees_with_an_independent_program(stacking: tuple[str, str, float]) -> None:
    score, found, entry = load_score(), equivalence(stacking), bench_entry(stacking[0])
    rng = np.random.default_rng(4)
    for a, b in rng.uniform(-8, 8, (25, 2, 2)):
        # 2e-5 Å: the other program keeps the shifts that coordinates of six digits give it.
        assert found.distance(a, b) == pytest.approx(score.slip_error(a, b, entry, stacking[2]), abs=2e-5)


@pytest.mark.parametrize("name", ["ReS2", "MoS2", "1T'-MoTe2"])
def test_fixed_frame_agrees_with_an_independent_program(name: str) -> None:
    score, found, entry = load_score(), equivalence((name, name, 0), frame_fixed=True), bench_entry(name)
    rng = np.random.default_rng(5)
    for a, b in rng.uniform(-8, 8, (25, 2, 2)):
        # 1e-9 Å: rounding.
        assert found.distance(a, b) == pytest.approx(score.slip_error(a, b, entry, frame_free=False), abs=1e-9)
