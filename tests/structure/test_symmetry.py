from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from picostem.structure import Monolayer, Operation, layer_operations, load_monolayer, rotation_matrix
from picostem.structure.lattice import shortest_length
from picostem.structure.symmetry import isometries, projection, symmetry
from tests.strategies.structure import monolayers, seeded

FloatArray = NDArray[np.float64]
SHARED = Path(__file__).parents[2].parent / "shared"

# Rotations and all operations of the projected layer. ReS2 is P-1: its inversion is a two-fold rotation in projection.
# 1T' is P2_1/m: two-fold rotation and mirror lines. 2H layers are p3m1, graphene is p6mm.
ORDERS = {"ReS2": (2, 2), "ReSe2": (2, 2), "1T'-MoTe2": (2, 4), "MoS2": (3, 6), "WSe2": (3, 6), "hBN": (3, 6)}
ORDERS["graphene"] = (6, 12)


def rotations(operations: tuple[Operation, ...]) -> int:
    return sum(bool(np.linalg.det(operation.matrix) > 0) for operation in operations)


@pytest.mark.parametrize(("name", "orders"), ORDERS.items())
def test_known_point_groups(name: str, orders: tuple[int, int]) -> None:
    operations = layer_operations(load_monolayer(name))
    assert (rotations(operations), len(operations)) == orders


def test_glide_of_1T_prime() -> None:
    monolayer = load_monolayer("1T'-MoTe2")
    shifts = [operation.shift for operation in layer_operations(monolayer) if np.linalg.det(operation.matrix) < 0]
    # Mirror lines at x = ± a/4 and glide lines along a: both move by a/2. 1e-9 Å: rounding.
    assert [abs(shift) for shift in shifts] == [pytest.approx([monolayer.cell[0, 0] / 2, 0], abs=1e-9)] * 2


def misses(operation: Operation, monolayer: Monolayer, cell: FloatArray) -> FloatArray:
    """Distance of each moved atom from the nearest of its species, by brute force over all pairs."""
    points, species = monolayer.positions[:, :2], np.array(monolayer.symbols)
    distances = shortest_length(operation(points)[:, None] - points, cell)
    return np.asarray(np.where(species[:, None] == species, distances, np.inf).min(axis=1))


@seeded
@given(monolayers)
def test_operations_leave_the_projection_as_it_is(monolayer: Monolayer) -> None:
    for operation in layer_operations(monolayer):
        # 1e-5 Å: the coordinates have six digits (of a cell of up to 7 Å).
        assert misses(operation, monolayer, projection(monolayer).cell).max() < 1e-5


@seeded
@given(monolayers)
def test_every_lattice_symmetry_left_out_is_none(monolayer: Monolayer) -> None:
    found = [operation.matrix for operation in layer_operations(monolayer)]
    metal = [i for i, symbol in enumerate(monolayer.symbols) if symbol == monolayer.symbols[0]]
    for turn in np.arange(24):
        matrix = rotation_matrix(np.radians(30 * (turn % 12))) @ np.diag([1.0, 1.0 if turn < 12 else -1.0])
        if any(np.abs(matrix - other).max() < 1e-6 for other in found):
            continue
        for atom in metal:
            shift = monolayer.positions[atom, :2] - matrix @ monolayer.positions[metal[0], :2]
            # 0.05 Å: the tolerance within which a layer counts as symmetric.
            assert misses(Operation(matrix, shift), monolayer, projection(monolayer).cell).max() > 0.05


def same(one: Operation, other: Operation, cell: FloatArray) -> bool:
    # 1e-9 Å: rounding; closure is exact even though the coordinates are rounded to six digits.
    return bool(
        np.abs(one.matrix - other.matrix).max() < 1e-9 and shortest_length(one.shift - other.shift, cell) < 1e-9
    )


def noisy(monolayer: Monolayer, seed: int) -> Monolayer:
    """Atoms displaced by up to 0.01 Å and a cell strained by 0.05 %, as a calculation without symmetry leaves it."""
    rng = np.random.default_rng(seed)
    cell = monolayer.cell * (1 + rng.uniform(-5e-4, 5e-4, (2, 2)) * [[1, 0], [1, 1]])
    positions = np.column_stack([monolayer.scaled @ cell, monolayer.positions[:, 2]])
    moved = positions + rng.uniform(-0.007, 0.007, positions.shape)
    return Monolayer("noisy", cell, monolayer.symbols, moved, monolayer.layer_spacing, "noise")


@seeded
@given(monolayers, st.one_of(st.none(), st.integers(0, 1000)))
def test_operations_are_a_group(monolayer: Monolayer, seed: int | None) -> None:
    group = symmetry(projection(monolayer if seed is None else noisy(monolayer, seed)))
    operations, cell = group.operations, group.cell
    assert same(operations[0], Operation(np.eye(2), np.zeros(2)), cell)
    for first in operations:
        np.testing.assert_allclose(first.matrix @ first.matrix.T, np.eye(2), atol=1e-12)
        inverse = Operation(first.matrix.T, -first.matrix.T @ first.shift)
        assert any(same(inverse, other, cell) for other in operations)
        for second in operations:
            product = Operation(second.matrix @ first.matrix, second(first.shift))
            assert sum(same(product, other, cell) for other in operations) == 1


@seeded
@given(monolayers, st.integers(0, 1000))
def test_noise_does_not_hide_the_symmetry(monolayer: Monolayer, seed: int) -> None:
    assert len(layer_operations(noisy(monolayer, seed))) == len(layer_operations(monolayer))


def test_a_distortion_does_break_the_symmetry() -> None:
    monolayer = load_monolayer("MoS2")
    # 0.16 Å, between the mirror lines: the size of the shifts that make 1T' out of 1T.
    moved = monolayer.positions + np.array([[0.16, 0, 0], [0, 0, 0], [0, 0, 0]])
    distorted = Monolayer("distorted", monolayer.cell, monolayer.symbols, moved, 6.0, "test")
    assert len(layer_operations(distorted)) == 1


@seeded
@given(monolayers, st.integers(0, 1000))
def test_origin_and_order_of_atoms_do_not_matter(monolayer: Monolayer, seed: int) -> None:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(monolayer.symbols))
    shift = np.array([*rng.uniform(-5, 5, 2), 0.0])
    symbols = tuple(monolayer.symbols[k] for k in order)
    moved = Monolayer("moved", monolayer.cell, symbols, monolayer.positions[order] + shift, 6.0, "test")
    ours = {tuple(np.round(operation.matrix, 6).ravel() + 0.0) for operation in layer_operations(moved)}
    assert ours == {tuple(np.round(operation.matrix, 6).ravel() + 0.0) for operation in layer_operations(monolayer)}
    # The layer and its moved copy differ by a translation, which must be among the isometries.
    maps = isometries(projection(monolayer), projection(moved))
    unit = [operation for operation in maps if np.abs(operation.matrix - np.eye(2)).max() < 1e-6]
    assert len(unit) == 1
    assert shortest_length(unit[0].shift - shift[:2], projection(monolayer).cell) < 1e-5  # six digits, as above


def test_projection_can_have_a_smaller_cell_than_the_layer() -> None:
    # FeSe: selenium alternates above and below the iron plane, which projection does not show. M. C. Lehman et al.
    # (2010): a = 3.77 Å.
    points = [[0, 0, 0], [0.5, 0.5, 0], [0, 0.5, 1], [0.5, 0, -1]]
    layer = Monolayer(
        "FeSe", np.eye(2) * 3.77, ("Fe", "Fe", "Se", "Se"), np.array(points) * [3.77, 3.77, 1.47], 5.5, ""
    )
    seen = projection(layer)
    assert abs(np.linalg.det(seen.cell)) == pytest.approx(3.77**2 / 2)
    assert sorted(seen.species) == ["Fe", "Se"]
    assert (rotations(layer_operations(layer)), len(layer_operations(layer))) == (4, 8)


@pytest.mark.parametrize("name", ["MoS2", "ReS2"])
def test_a_supercell_has_the_symmetry_of_its_cell(name: str) -> None:
    monolayer = load_monolayer(name)
    sites = [monolayer.positions + [*(np.array([i, j]) @ monolayer.cell), 0] for i in range(2) for j in range(3)]
    cell = np.diag([2, 3]) @ monolayer.cell
    supercell = Monolayer("supercell", cell, monolayer.symbols * 6, np.concatenate(sites), 6.0, "test")
    assert len(projection(supercell).species) == len(monolayer.symbols)
    assert len(layer_operations(supercell)) == len(layer_operations(monolayer))


def test_different_materials_have_no_isometry() -> None:
    layers = [projection(load_monolayer(name)) for name in ("MoS2", "WS2", "ReS2", "ReSe2")]
    assert isometries(layers[0], layers[1]) == isometries(layers[2], layers[3]) == ()


def load_score() -> Any:
    path = SHARED / "bench" / "score.py"
    if not path.exists():
        pytest.skip("the shared benchmark is not here")
    spec = importlib.util.spec_from_file_location("bench_score", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["ReS2", "ReSe2", "1T'-MoTe2", "MoS2", "graphene"])
def test_operations_agree_with_an_independent_program(name: str) -> None:
    score = load_score()
    table = json.loads((SHARED / "structures.json").read_text(encoding="utf8"))
    theirs = score.layer_ops(table["MoTe2_1Tp" if "1T" in name else name])
    ours = layer_operations(load_monolayer(name))
    assert (rotations(ours), len(ours)) == (score.fold(theirs), len(theirs))
    for matrix, _ in theirs:
        # 1e-6: rounding of both.
        assert any(np.abs(matrix - operation.matrix).max() < 1e-6 for operation in ours)
