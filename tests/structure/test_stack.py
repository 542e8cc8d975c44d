from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from picostem.errors import UsageError
from picostem.structure import Layer, Monolayer, Stack, image_from_crystal, load_monolayer, rotation_matrix
from tests.strategies.structure import angles, monolayers, seeded, vectors

FloatArray = NDArray[np.float64]
BENCH = Path(__file__).parents[2].parent / "shared" / "bench"
TRUTHS = sorted(BENCH.glob("dev_*.json"))

# A square cell with one atom off the origin: every step of the frame can be followed by hand.
SQUARE = Monolayer("square", np.eye(2) * 100.0, ("C",), np.array([[3.0, 1.0, 0.5]]), 4.0, "made up")


def only(atoms: Atoms, layer: int) -> list[float]:
    """Position of the one atom of a layer."""
    (position,) = atoms.positions[atoms.arrays["layer"] == layer]
    return [float(value) for value in position]


@pytest.mark.parametrize(
    ("rotation_deg", "mirrored", "expected"),
    [(0, False, (3, 1)), (90, False, (-1, 3)), (0, True, (3, -1)), (90, True, (1, 3)), (180, False, (-3, -1))],
)
def test_rotation_and_mirror_of_one_atom(rotation_deg: float, mirrored: bool, expected: tuple[float, float]) -> None:
    atoms = Stack((Layer(SQUARE),)).atoms(np.radians(rotation_deg), mirrored)
    # 1e-12 Å: rounding of cos and sin.
    assert only(atoms, 1) == pytest.approx([*expected, 0.5], abs=1e-12)


def test_origin_slip_and_height_of_two_atoms() -> None:
    atoms = Stack.bilayer(SQUARE, (0.5, 2.0)).atoms(np.radians(90), mirrored=True, origin=(-4.0, 7.0))
    # layer 1: R(90°) M (3, 1) = (1, 3); layer 2: R(90°) M (3.5, 3) = (3, 3.5)
    assert only(atoms, 1) == pytest.approx([-3.0, 10.0, 0.5])
    assert only(atoms, 2) == pytest.approx([-1.0, 10.5, 4.5])


def test_twist_is_counter_clockwise_about_the_upper_origin() -> None:
    atoms = Stack.bilayer(SQUARE, (10.0, 0.0), twist=np.radians(90)).atoms()
    assert only(atoms, 2) == pytest.approx([9.0, 3.0, 4.5])


def test_a_mirrored_image_shows_the_opposite_twist() -> None:
    layers = Stack.bilayer(load_monolayer("MoS2"), (0, 0), twist=0.2).layers
    seen = [layer.cell @ image_from_crystal(0.7, mirrored=True).T for layer in layers]
    directions = [np.arctan2(cell[0, 1], cell[0, 0]) for cell in seen]
    assert directions == pytest.approx([0.7, 0.7 - 0.2])


def naive_field(stack: Stack, frame: FloatArray, origin: FloatArray, half: FloatArray) -> Counter[tuple[object, ...]]:
    """Every atom inside the field, one at a time, from far more cells than needed."""
    found: Counter[tuple[object, ...]] = Counter()
    for index, layer in enumerate(stack.layers, start=1):
        for i in range(-30, 31):
            for j in range(-30, 31):
                cell = np.array([i, j]) @ layer.monolayer.cell
                for site, (x, y, z) in enumerate(layer.monolayer.positions):
                    crystal = rotation_matrix(layer.twist) @ (cell + (x, y)) + layer.position
                    image = frame @ crystal + origin
                    if (np.abs(image) < half).all():
                        found[index, site, *np.round([*image, z + layer.z], 4)] += 1
    return found


@pytest.mark.parametrize("name", ["MoS2", "1T'-MoTe2"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_field_equals_a_naive_loop(name: str, mirrored: bool) -> None:
    rng = np.random.default_rng(5)
    rotation, origin, half = rng.uniform(0, 7), rng.uniform(-9, 9, 2), np.array([9.0, 6.5])
    stack = Stack.of([load_monolayer(name)] * 2, [rng.normal(size=2)], [0.3])
    atoms = stack.atoms(rotation, mirrored, origin, tuple(2 * half))
    labels = zip(atoms.arrays["layer"], atoms.arrays["site"], np.round(atoms.positions, 4), strict=True)
    found = Counter((int(layer), int(site), *position) for layer, site, position in labels)
    assert found == naive_field(stack, image_from_crystal(rotation, mirrored), origin, half)
    assert sum(found.values()) > 50


def test_labels_belong_to_the_atoms() -> None:
    stack = Stack.bilayer(load_monolayer("MoS2"), (1.0, 0.5), upper=load_monolayer("WSe2"))
    atoms = stack.atoms(0.4, extent=(30.0, 20.0))
    for layer, name in ((1, "MoS2"), (2, "WSe2")):
        chosen = atoms[atoms.arrays["layer"] == layer]
        symbols = np.array(load_monolayer(name).symbols)
        assert list(chosen.symbols) == symbols[chosen.arrays["site"]].tolist()
    assert set(atoms.arrays["layer"]) == {1, 2}


def test_atoms_fill_the_box_that_they_state() -> None:
    atoms = Stack.bilayer(load_monolayer("ReS2"), (1.0, 0.5)).atoms(0.3, extent=(40.0, 30.0))
    corner = atoms.get_celldisp().ravel()
    assert corner[:2] == pytest.approx([-20, -15])
    scaled = (atoms.positions - corner) / atoms.cell.lengths()
    # 1e-9: rounding at the top and bottom, where atoms touch the box.
    assert scaled.min() > -1e-9 and scaled.max() < 1 + 1e-9
    assert not atoms.pbc.any()


def test_edges_belong_to_one_field_only() -> None:
    unit = Monolayer("unit", np.eye(2), ("C",), np.zeros((1, 3)), 3.0, "made up")
    assert len(Stack((Layer(unit),)).atoms(extent=(4.0, 4.0))) == 16


@seeded
@given(monolayers, vectors(), vectors(), angles, angles)
def test_slips_and_twists_are_recovered(
    monolayer: Monolayer, first: FloatArray, second: FloatArray, twist: float, other: float
) -> None:
    stack = Stack.of([monolayer] * 3, [first, second], [twist, other])
    # 1e-9: rounding of two rotations of vectors of 30 Å.
    np.testing.assert_allclose(stack.slips, [first, second], atol=1e-9)
    np.testing.assert_allclose(stack.twists, [twist, other], atol=1e-9)
    assert [layer.z for layer in stack.layers] == pytest.approx([monolayer.layer_spacing * k for k in range(3)])


def test_defaults_of_a_stack() -> None:
    lower, upper = load_monolayer("MoS2"), load_monolayer("WSe2")
    stack = Stack.of([lower, upper])
    assert stack.layers[1].z == pytest.approx((lower.layer_spacing + upper.layer_spacing) / 2)
    assert stack.slips.tolist() == [[0, 0]] and stack.twists.tolist() == [0]
    assert Stack.of([lower, upper], spacings=[7.0]) == Stack.bilayer(lower, (0, 0), upper=upper, spacing=7.0)
    assert Stack.of([lower]).slips.shape == (0, 2)


@pytest.mark.parametrize("twist_deg", [0, 60, 120, 180])
def test_repeated_unit_cell_is_the_field(twist_deg: float) -> None:
    stack = Stack.bilayer(load_monolayer("MoS2"), (0.7, -0.4), np.radians(twist_deg))
    cell = stack.unit_cell()
    assert cell.pbc.tolist() == [True, True, False]
    repeated = cell.repeat((21, 21, 1))
    repeated.translate(-10 * (cell.cell[0] + cell.cell[1]))
    field = stack.atoms(extent=(15.0, 15.0))
    distance, index = cKDTree(repeated.positions).query(field.positions)
    # 1e-9 Å: rounding.
    assert distance.max() < 1e-9
    assert (repeated.arrays["layer"][index] == field.arrays["layer"]).all()
    assert (repeated.numbers[index] == field.numbers).all()
    inside = ((repeated.positions[:, :2] >= -7.5) & (repeated.positions[:, :2] < 7.5)).all(axis=1)
    assert inside.sum() == len(field)


def test_unit_cell_has_the_vacuum_asked_for() -> None:
    cell = Stack.bilayer(load_monolayer("MoS2"), (0, 0)).unit_cell(vacuum=12.0)
    assert cell.cell.lengths()[2] == pytest.approx(6.147 + 2 * 1.5859 + 12.0)
    corner = cell.get_celldisp().ravel()
    assert cell.positions[:, 2].min() - corner[2] == pytest.approx(6.0)


@pytest.mark.parametrize(("upper", "twist_deg"), [("MoS2", 14.1), ("WSe2", 0.0), ("ReS2", 0.0)])
def test_no_unit_cell_without_a_common_lattice(upper: str, twist_deg: float) -> None:
    stack = Stack.bilayer(load_monolayer("MoS2"), (0, 0), np.radians(twist_deg), load_monolayer(upper))
    with pytest.raises(UsageError, match=r"layer 2 .* another lattice .* use atoms\(\)"):
        stack.unit_cell()


@pytest.mark.parametrize("extent", [(0.0, 5.0), (-1.0, 5.0), (np.nan, 5.0), (5.0,)])
def test_impossible_fields_are_turned_down(extent: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="larger than nothing|two finite numbers"):
        Stack((Layer(SQUARE),)).atoms(extent=extent)


def test_impossible_stacks_are_turned_down() -> None:
    monolayer = load_monolayer("MoS2")
    with pytest.raises(UsageError, match="at least one layer"):
        Stack.of([])
    with pytest.raises(UsageError, match="one slip for each of 1 interfaces, got 2"):
        Stack.of([monolayer] * 2, [(0, 0), (1, 1)])
    with pytest.raises(UsageError, match="two components"):
        Stack.bilayer(monolayer, (1.0, 2.0, 3.0))
    with pytest.raises(UsageError, match="finite position"):
        Stack.bilayer(monolayer, (np.nan, 0.0))
    with pytest.raises(UsageError, match="finite position"):
        Layer(monolayer, (1.0, 2.0, 3.0))  # type: ignore[arg-type]


def test_empty_field_is_an_empty_set_of_atoms() -> None:
    atoms = Stack((Layer(SQUARE),)).atoms(extent=(1.0, 1.0))
    assert len(atoms) == 0 and len(atoms.arrays["layer"]) == 0


@seeded
@given(monolayers, angles, st.booleans(), vectors())
def test_density_of_a_large_field(monolayer: Monolayer, rotation: float, mirrored: bool, origin: FloatArray) -> None:
    atoms = Stack((Layer(monolayer),)).atoms(rotation, mirrored, origin, (60.0, 50.0))
    expected = 60 * 50 / monolayer.area * len(monolayer.symbols)
    # Only cells that the edge of 220 Å crosses can count wrongly, on average half, and in both directions.
    assert len(atoms) == pytest.approx(expected, rel=0.1)


def bench_stack(truth: dict[str, Any]) -> Stack:
    layers = [
        Layer(
            load_monolayer(entry["structure"]), entry["position_cart_A"], np.radians(entry["twist_deg"]), entry["z_A"]
        )
        for entry in truth["layers"]
    ]
    return Stack(tuple(layers))


@pytest.mark.skipif(not TRUTHS, reason="the shared benchmark is not here")
@pytest.mark.parametrize("path", [path for path in TRUTHS if "_I1_" not in path.name], ids=lambda path: path.stem)
def test_positions_are_those_of_an_independent_simulation(path: Path) -> None:
    truth = json.loads(path.read_text(encoding="utf8"))
    known = np.load(path.with_name(f"{path.stem}_atoms.npz"), allow_pickle=False)
    pixel, (rows, columns) = truth["image"]["pixel_size_A"], truth["image"]["shape_rows_cols"]
    frame = truth["layer1"]
    # 20 Å wider than the image, so that no atom of the benchmark's margin is missing.
    extent = (columns * pixel + 20.0, rows * pixel + 20.0)
    atoms = bench_stack(truth).atoms(
        np.radians(frame["rotation_deg"]), frame["mirrored"], frame["origin_image_A"], extent
    )
    drifted = atoms.positions[:, :2] @ np.array(truth["acquisition"]["drift_matrix_apparent_from_ideal"]).T
    pixels = np.column_stack([(columns - 1) / 2 + drifted[:, 0] / pixel, (rows - 1) / 2 - drifted[:, 1] / pixel])
    expected = np.column_stack([known["col"], known["row"]])
    for symbol, layer in {*zip(known["sym"].tolist(), known["layer"].tolist(), strict=True)}:
        ours = pixels[(np.array(atoms.symbols) == symbol) & (atoms.arrays["layer"] == layer)]
        theirs = expected[(known["sym"] == symbol) & (known["layer"] == layer)]
        # 1e-4 pixels: the benchmark's positions are single precision, 3e-5 at 350 pixels.
        assert cKDTree(ours).query(theirs)[0].max() < 1e-4
        # Half a pixel inside the image, so that rounding cannot move an atom over the edge.
        inner = [((p > 0.5) & (p < np.array([columns, rows]) - 1.5)).all(axis=1).sum() for p in (ours, theirs)]
        assert inner[0] == inner[1] > 0
