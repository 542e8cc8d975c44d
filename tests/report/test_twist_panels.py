"""The panels of layers with lattices of their own: moiré, layers apart, twist map and slip field."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from matplotlib.quiver import Quiver
from numpy.typing import NDArray

from picostem.physics import DEGREE
from picostem.report.panel_field import (
    direction_colours,
    draw_slip_field,
    draw_twist_map,
    slips_at,
    twist_scale,
    uniform,
)
from picostem.report.panel_image import lattice_points
from picostem.report.panel_twist import draw_apart, draw_registry, layer_images
from picostem.report.registry import antiparallel, coincidence, image_from_layer, moire_period, own_lattices
from picostem.report.view import View, whole
from picostem.resolve.result import Result
from picostem.structure import Stack, load_monolayer
from picostem.structure.lattice import reduced, shortest_length
from tests.report.made_stacks import TWIST_SIGMA, lie, local_slips, make_twisted

FloatArray = NDArray[np.float64]


@pytest.fixture
def ax() -> Axes:
    """Square axes of 4 inches."""
    return Figure(figsize=(4, 4), dpi=150).add_axes((0, 0, 1, 1))


def offsets(collection: Collection) -> FloatArray:
    return np.asarray(collection.get_offsets(), dtype=np.float64)


def cell_of(ax: Axes) -> FloatArray:
    """Corners of the moiré cell that was drawn, shape (4, 2)."""
    (shape,) = [patch.get_xy()[:4] for patch in ax.patches if isinstance(patch, Polygon)]
    return np.asarray(shape)


# Registry


def test_which_interfaces_have_lattices_of_their_own(
    slip_result: Result, antiparallel_result: Result, twisted_trilayer_result: Result
) -> None:
    assert not own_lattices(slip_result.interfaces[0])
    assert not antiparallel(slip_result.interfaces[0])
    assert antiparallel(antiparallel_result.interfaces[0])
    assert [own_lattices(i) for i in twisted_trilayer_result.interfaces] == [False, True]


@pytest.mark.parametrize("turn_deg", [60, 180, -60, 300])
def test_antiparallel_is_60_or_180_degrees(antiparallel_result: Result, turn_deg: float) -> None:
    assert antiparallel(replace(antiparallel_result.interfaces[0], twist=turn_deg * DEGREE))
    assert not antiparallel(replace(antiparallel_result.interfaces[0], twist=(turn_deg + 60) * DEGREE))


@settings(max_examples=25, deadline=None)
@given(twist=st.floats(2, 28), slip=st.tuples(st.floats(-2, 2), st.floats(-2, 2)), mirrored=st.booleans())
def test_the_lattices_coincide_about_the_corner_of_the_moire(
    twist: float, slip: tuple[float, float], mirrored: bool
) -> None:
    stack = Stack.bilayer(load_monolayer("MoS2"), slip, twist * DEGREE, load_monolayer("WSe2"))
    lower, upper = lie(stack, mirrored)
    place = coincidence(lower, upper)
    assert place is not None
    fractions = [(place - layer.origin) @ np.linalg.inv(layer.rows) for layer in (lower, upper)]
    # The beats are those of the shortest reciprocal vectors, which for twists below 30° are those of the same indices.
    away = fractions[0] - fractions[1]
    # 1e-8: rounding, in cells, at places up to 100 Å away.
    np.testing.assert_allclose(away, np.round(away), atol=1e-8)


def test_the_order_of_the_layers_does_not_move_the_corner() -> None:
    stack = Stack.bilayer(load_monolayer("MoS2"), (0.4, -0.3), 7 * DEGREE, load_monolayer("WSe2"))
    lower, upper = lie(stack)
    first, second = coincidence(lower, upper), coincidence(upper, lower)
    assert first is not None
    assert second is not None
    # 1e-8 Å: rounding.
    np.testing.assert_allclose(first, second, atol=1e-8)


def test_equal_lattices_have_no_corner() -> None:
    lower, upper = lie(Stack.bilayer(load_monolayer("MoS2"), (0.4, -0.3)))
    assert coincidence(lower, upper) is None


def test_the_moire_period_is_the_results_or_measured(field_result: Result) -> None:
    interface = field_result.interfaces[0]
    # 2 sin(7.05°) = 0.24547
    expected = load_monolayer("MoS2").cell[0, 0] / (2 * np.sin(14.1 / 2 * DEGREE))
    assert moire_period(field_result, interface) == pytest.approx(expected)
    assert moire_period(field_result, replace(interface, moire=None)) == pytest.approx(expected)
    stated = replace(interface, moire=np.array([[3.0, 0.0], [30.0, 20.0]]))
    assert moire_period(field_result, stated) == pytest.approx(3.0)


# Moiré and layers


@pytest.mark.parametrize("which", ["field_result", "twist_domain_result", "hetero_result"])
def test_the_moire_cell_leads_from_coincidence_to_coincidence(
    ax: Axes, which: str, request: pytest.FixtureRequest
) -> None:
    result: Result = request.getfixturevalue(which)
    draw_registry(ax, result)
    interface = result.interfaces[0]
    lower = result.layers[0]
    stretch = float(result.layers[1].monolayer.cell[0, 0] / lower.monolayer.cell[0, 0])
    slips = local_slips(cell_of(ax), interface.twist, stretch)
    upper_cell = reduced(result.layers[1].rows @ np.linalg.inv(image_from_layer(lower)).T)
    # 1e-8 Å: rounding.
    np.testing.assert_allclose(shortest_length(slips, upper_cell), 0, atol=1e-8)
    sides = np.diff(cell_of(ax), axis=0)
    assert np.linalg.norm(sides, axis=1).min() == pytest.approx(moire_period(result, interface))


def test_only_heavy_atoms_show_the_registry(ax: Axes, twist_result: Result) -> None:
    draw_registry(ax, twist_result)
    side = np.ptp(ax.get_xlim())
    assert len(ax.collections) == 2
    for collection in ax.collections:
        points = offsets(collection)
        inside = (np.abs(points) <= side / 2).all(axis=1)
        expected = side**2 / load_monolayer("MoS2").area
        # One Mo in a cell; the border is uncertain by some of the cells that it cuts.
        assert np.count_nonzero(inside) == pytest.approx(expected, abs=np.sqrt(expected))


def detail(result: Result, side: float = 16.0) -> View:
    return whole(result).cut(np.array([3.0, -2.0]), side)


@pytest.mark.parametrize("mirrored", [False, True])
def test_each_layer_is_simulated_where_its_atoms_are(field_result: Result, mirrored: bool) -> None:
    stack = Stack.bilayer(load_monolayer("MoS2"), (0.4, -0.3), 14.1 * DEGREE)
    result = replace(field_result, layers=lie(stack, mirrored))
    view = detail(result)
    left, right, bottom, top = view.extent
    for layer, picture in zip(result.layers, layer_images(result, view), strict=True):
        points, sites = lattice_points(layer, view.extent)
        heavy = points[np.array(layer.monolayer.symbols)[sites] == "Mo"]
        # 1 Å: the brightest pixel is inside.
        inner = heavy[((heavy > (left + 1, bottom + 1)) & (heavy < (right - 1, top - 1))).all(axis=1)]
        rows, cols = picture.shape
        col = ((inner[:, 0] - left) / (right - left) * cols).astype(int)
        row = ((top - inner[:, 1]) / (top - bottom) * rows).astype(int)
        assert len(inner) > 15
        # Mo covers π 0.25² of 8.6 Å², 2 %; each is among the brightest 5 %.
        assert picture[row, col].min() > np.quantile(picture, 0.95)


def test_layers_apart_add_up_to_the_picture_of_both(ax: Axes, field_result: Result) -> None:
    view = detail(field_result)
    draw_apart(ax, field_result, view)
    shown = np.asarray(ax.images[0].get_array())
    first, second = layer_images(field_result, view)
    both = (first + second).ravel()
    # The colours' own brightness differs, and the brightest spots are cut off.
    assert np.corrcoef(shown.sum(axis=2).ravel(), both)[0, 1] > 0.95
    # Orange where the first layer is alone, blue where the second is.
    red_over_blue = shown[..., 0] - shown[..., 2]
    assert np.corrcoef(red_over_blue.ravel(), (first - second).ravel())[0, 1] > 0.95


def test_without_a_microscope_the_layers_atoms_are_drawn(ax: Axes, field_result: Result) -> None:
    draw_apart(ax, replace(field_result, microscope=None), detail(field_result))
    assert not np.asarray(ax.images[0].get_array()).any()
    assert len([c for c in ax.collections if len(offsets(c)) > 20]) == 2


# Maps


def test_the_twist_map_shows_each_windows_twist(ax: Axes, twist_domain_result: Result) -> None:
    (one,) = twist_domain_result.maps
    painted = draw_twist_map(ax, twist_domain_result)
    values: Any = np.ma.asarray(painted.get_array())[::-1].ravel()
    coarse = np.flatnonzero(~one.fine)
    assert one.twist is not None
    ok = one.status[coarse] == "ok"
    np.testing.assert_array_equal(np.ma.getmaskarray(values), ~ok)
    np.testing.assert_allclose(values[ok], one.twist[coarse][ok] / DEGREE)
    assert [text.get_text() for text in ax.texts] == ["A", "B"]
    assert not uniform(one)


def test_a_twist_map_of_noise_alone_fills_a_part_of_its_scale(field_result: Result) -> None:
    (one,) = field_result.maps
    assert uniform(one)
    scale = twist_scale(one)
    assert scale.vmin is not None
    assert scale.vmax is not None
    assert scale.vmax - scale.vmin == pytest.approx(8 * TWIST_SIGMA / DEGREE)
    # 0.03°: three standard errors of a middle taken from the outermost of some hundred windows.
    assert (scale.vmax + scale.vmin) / 2 == pytest.approx(14.1, abs=0.03)


def test_scales_of_maps_without_a_twist(field_result: Result) -> None:
    (one,) = field_result.maps
    lost = replace(one, status=np.full(len(one), "vacuum"))
    assert (twist_scale(lost).vmin, twist_scale(lost).vmax) == (0.0, 1.0)


def test_slips_between_windows_are_those_of_the_twist(field_result: Result) -> None:
    (one,) = field_result.maps
    exact = replace(one, slip=local_slips(one.position, 14.1 * DEGREE))
    places = np.random.default_rng(3).uniform(-20, 20, (200, 2))
    found, slips = slips_at(exact, places)
    assert len(found) > 150
    # 1e-6 Å: the field is a plane, which the interpolation holds but for rounding.
    np.testing.assert_allclose(slips, local_slips(found, 14.1 * DEGREE), atol=1e-6)


def test_slips_are_only_told_where_windows_are_ok(field_result: Result) -> None:
    (one,) = field_result.maps
    middle = np.abs(one.position).max(axis=1) < 12
    holed = replace(one, status=np.where(middle, "vacuum", "ok"), slip=local_slips(one.position, 0.1))
    found, _ = slips_at(holed, one.position)
    nearest = np.abs(found[:, None] - one.position[~middle]).max(axis=2).min(axis=1)
    # 1e-6 Å: rounding.
    assert (nearest <= one.window / 2 + 1e-6).all()
    assert len(found) < len(one)


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_a_few_windows_or_a_line_of_them_are_not_a_field(ax: Axes, field_result: Result, kept: int) -> None:
    (one,) = field_result.maps
    status = np.full(len(one), "vacuum")
    status[:kept] = "ok"  # the first row
    poor = replace(one, status=status, slip=np.zeros((len(one), 2)), domains=())
    assert len(slips_at(poor, one.position)[0]) == 0
    draw_slip_field(ax, replace(field_result, maps=(poor,)))


def test_arrows_of_the_slip_field_are_the_shortest_slips_in_the_image(ax: Axes, field_result: Result) -> None:
    draw_slip_field(ax, field_result)
    (quiver,) = [c for c in ax.collections if isinstance(c, Quiver)]
    places = offsets(quiver)
    crystal = local_slips(places, 14.1 * DEGREE)
    lattice = reduced(field_result.layers[1].rows @ np.linalg.inv(image_from_layer(field_result.layers[0])).T)
    expected = shortest_length(crystal, lattice)
    lengths = np.hypot(quiver.U, quiver.V)
    scale = lengths.max() / expected.max()
    # 0.05 Å: four standard deviations of the windows' noise, which neighbouring windows share.
    np.testing.assert_allclose(lengths / scale, expected, atol=0.05)
    # The longest arrows just reach their neighbours.
    step = np.diff(np.unique(np.round(places[:, 0], 6))).min()
    assert 0.6 * step < lengths.max() < 1.3 * step


def test_opposite_directions_differ_for_any_colour_vision() -> None:
    wheel = direction_colours()
    turn = np.linspace(0, 1, 24, endpoint=False)
    colours, opposite = wheel(turn)[:, :3], wheel((turn + 0.5) % 1)[:, :3]
    lightness = np.abs((colours - opposite) @ [0.21, 0.72, 0.07])
    blueness = np.abs((colours - opposite) @ [-0.5, -0.5, 1.0])
    # 0.2 of full contrast can be told; red against green, which cannot by everybody, counts in neither.
    assert (np.maximum(lightness, blueness) > 0.2).all()
    assert wheel(0.0) == pytest.approx(wheel(1.0), abs=0.02)


def test_a_twist_map_of_two_materials_at_no_twist() -> None:
    result = make_twisted((0.0,), ("MoS2", "WSe2"), pixels=200)
    period = moire_period(result, result.interfaces[0])
    a, b = (load_monolayer(name).cell[0, 0] for name in ("MoS2", "WSe2"))
    assert period == pytest.approx(1 / (1 / a - 1 / b))
