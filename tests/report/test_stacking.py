"""The resolved model as atoms, against the atoms that the figure draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picostem.physics import DEGREE
from picostem.report.panel_image import lattice_points
from picostem.report.stacking import GAP, crystal_piece, periodic_cell, resolved_stack
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
    cell, periodic = periodic_cell(resolved_stack(slip_result.layers))
    assert periodic
    assert len(cell) == 24  # two layers of Re4S8
    np.testing.assert_allclose(cell.cell.array[:2, :2], load_monolayer("ReS2").cell)


def test_a_twist_gets_a_box_with_empty_space_around(twist_result: Result) -> None:
    atoms, periodic = periodic_cell(resolved_stack(twist_result.layers))
    assert not periodic
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
