"""The resolved model as atoms, against the atoms that the figure draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picostem.physics import DEGREE
from picostem.report.panel_image import lattice_points
from picostem.report.stacking import GAP, cell_model, crystal_piece, resolved_stack
from picostem.resolve.result import ResolvedLayer, Result
from picostem.structure import Stack, image_from_crystal, load_monolayer


def placed(
    rotation: float, mirrored: bool, twist: float, slip: tuple[float, float], flipped: bool
) -> list[ResolvedLayer]:
    """Two layers of ReS2 as a fit would report them; `flipped`: the upper one of the other hand."""
    monolayer = load_monolayer("ReS2")
    frame = image_from_crystal(rotation, mirrored)
    turn = rotation + (-twist if mirrored else twist)
    origin = np.array([0.3, -0.8])
    layers = []
    for angle, hand, position in ((rotation, mirrored, np.zeros(2)), (turn, mirrored != flipped, np.array(slip))):
        rows = monolayer.cell @ image_from_crystal(angle, hand).T
        layers.append(ResolvedLayer(monolayer, angle, hand, rows, position, frame @ position + origin))
    return layers


def sorted_points(
    points: np.ndarray[tuple[int, int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Points in an order that does not depend on how they were listed."""
    return points[np.lexsort(np.round(points, 6).T)]


@settings(max_examples=30, deadline=None)
@given(
    rotation=st.floats(-3.1, 3.1),
    mirrored=st.booleans(),
    twist=st.floats(-3.1, 3.1),
    slip=st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
    flipped=st.booleans(),
)
def test_the_stack_puts_its_atoms_where_the_figure_does(
    rotation: float, mirrored: bool, twist: float, slip: tuple[float, float], flipped: bool
) -> None:
    layers = placed(rotation, mirrored, twist, slip, flipped)
    stack = resolved_stack(layers)
    atoms = stack.atoms(rotation=rotation, mirrored=mirrored, origin=(0.3, -0.8), extent=(20.0, 16.0))
    for index, layer in enumerate(layers, start=1):
        drawn, _ = lattice_points(layer, (-10.0, 10.0, -8.0, 8.0))
        # 1e-6 Å: atoms this near to the border may fall on either side of it by rounding.
        inner = (np.abs(drawn) < (10 - 1e-6, 8 - 1e-6)).all(axis=1)
        stacked = atoms.positions[atoms.arrays["layer"] == index, :2]
        within = (np.abs(stacked) < (10 - 1e-6, 8 - 1e-6)).all(axis=1)
        # 1e-9 Å: rounding of coordinates of some 10 Å.
        np.testing.assert_allclose(sorted_points(stacked[within]), sorted_points(drawn[inner]), atol=1e-9)


def test_slip_twist_and_heights_come_back(slip_result: Result, twist_result: Result) -> None:
    stack = resolved_stack(slip_result.layers)
    np.testing.assert_allclose(stack.slips[0], slip_result.interfaces[0].slip)
    assert stack.layers[1].z == pytest.approx(load_monolayer("ReS2").layer_spacing)
    assert resolved_stack(twist_result.layers).twists[0] == pytest.approx(4.2 * DEGREE)


def test_twists_are_within_half_a_turn() -> None:
    layers = placed(3.0, False, 0.5, (0.0, 0.0), False)
    wrapped = ResolvedLayer(
        layers[1].monolayer, layers[1].rotation - 2 * np.pi, False, layers[1].rows, layers[1].position, layers[1].origin
    )
    assert resolved_stack([layers[0], wrapped]).twists[0] == pytest.approx(0.5)


def test_a_slip_has_a_periodic_cell(slip_result: Result) -> None:
    model = cell_model(resolved_stack(slip_result.layers))
    assert model.note == "one periodic cell"
    assert len(model.atoms) == 24  # two layers of Re4S8
    np.testing.assert_allclose(model.atoms.cell.array[:2, :2], load_monolayer("ReS2").cell)


def test_antiparallel_and_three_layers_have_a_periodic_cell(
    antiparallel_result: Result, trilayer_result: Result
) -> None:
    for result, count in ((antiparallel_result, 6), (trilayer_result, 36)):
        model = cell_model(resolved_stack(result.layers))
        assert model.note == "one periodic cell"
        assert len(model.atoms) == count


def test_a_twist_gets_the_supercell_that_both_layers_share(field_result: Result) -> None:
    model = cell_model(resolved_stack(field_result.layers))
    atoms = model.atoms
    assert atoms.pbc.tolist() == [True, True, False]
    layer = np.asarray(atoms.arrays["layer"])
    metal = np.array(atoms.get_chemical_symbols()) == "Mo"
    assert np.count_nonzero(metal & (layer == 1)) == np.count_nonzero(metal & (layer == 2)) == len(atoms) // 6
    # Neighbours of one layer stay a lattice constant apart, within half of the mismatch allowed, 1 %.
    for number in (1, 2):
        chosen = atoms[metal & (layer == number)]
        distances = chosen.get_distances(0, np.arange(1, len(chosen)), mic=True)
        np.testing.assert_allclose(np.sort(distances)[:6], load_monolayer("MoS2").cell[0, 0], rtol=0.006)
    assert "14.1" in model.note
    assert f"{len(atoms)} atoms" in model.note


@pytest.mark.parametrize("which", ["hetero_result", "twisted_trilayer_result"])
def test_without_a_supercell_there_is_a_box_with_empty_space_around(which: str, request: pytest.FixtureRequest) -> None:
    model = cell_model(resolved_stack(request.getfixturevalue(which).layers))
    atoms = model.atoms
    assert model.note.startswith("a piece in empty space")
    for axis in range(3):
        along = atoms.positions[:, axis]
        # 1e-6: rounding in ASE's centring.
        assert along.min() == pytest.approx(GAP, abs=1e-6)
        assert atoms.cell.lengths()[axis] - along.max() == pytest.approx(GAP, abs=1e-6)


def test_the_piece_is_in_the_crystal_frame() -> None:
    stack = Stack.bilayer(load_monolayer("MoS2"), (0.5, 0.2))
    piece = crystal_piece(stack)
    metal = piece.positions[(piece.arrays["layer"] == 1) & (np.array(piece.get_chemical_symbols()) == "Mo"), :2]
    steps = metal[np.linalg.norm(metal - metal[0], axis=1).argsort()[1:7]] - metal[0]
    # a lies along x: one of the six nearest neighbours at least is straight to the left or right.
    assert np.abs(steps[:, 1]).min() < 1e-9
