"""What the panels draw, taken back from matplotlib's objects and compared with known geometry."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, PathPatch, Polygon
from matplotlib.quiver import Quiver
from numpy.typing import NDArray

from picostem.physics import DEGREE
from picostem.report.panel_image import (
    atoms,
    cells,
    lattice_points,
    relative_radii,
    round_length,
    scale_bar,
    show,
)
from picostem.report.panel_map import (
    cell_edges,
    deviation_scale,
    domain_name,
    draw_map,
    typical_sigma,
)
from picostem.report.panel_slip import draw_cell, draw_cells, draw_windows, ellipse
from picostem.report.registry import image_from_layer
from picostem.report.stacking import resolved_stack
from picostem.report.view import View, whole
from picostem.resolve.result import Interface, ResolvedLayer, Result, SlipMap
from picostem.structure import Stack, image_from_crystal, load_monolayer, rotation_matrix


@pytest.fixture
def ax() -> Axes:
    """Square axes of 4 inches."""
    return Figure(figsize=(4, 4), dpi=150).add_axes((0, 0, 1, 1))


def map_of(result: Result) -> SlipMap:
    assert result.map is not None
    return result.map


def offsets(collection: Collection) -> NDArray[np.float64]:
    """Positions of a collection's marks, shape (n, 2)."""
    return np.asarray(collection.get_offsets(), dtype=np.float64)


def lone_layer(name: str, turn: float, stretch: float = 1.0) -> ResolvedLayer:
    monolayer = load_monolayer(name)
    rows = stretch * monolayer.cell @ rotation_matrix(turn).T
    return ResolvedLayer(monolayer, turn, False, rows, np.zeros(2), np.zeros(2))


# Images


@pytest.mark.parametrize(("limit", "length"), [(1.0, 1), (1.99, 1), (2.0, 2), (4.9, 2), (7.2, 5), (30, 20), (0.3, 0.2)])
def test_round_lengths(limit: float, length: float) -> None:
    assert round_length(limit) == pytest.approx(length)


@given(st.floats(1e-3, 1e6))
def test_round_lengths_fill_their_limit(limit: float) -> None:
    # The largest gap between 1, 2, 5, 10 is a factor of 2.5; 1e-9 as in the function.
    assert limit / 2.5 * (1 - 1e-9) <= round_length(limit) <= limit * (1 + 1e-9)


def test_the_scale_bar_is_as_long_as_it_says(ax: Axes) -> None:
    show(ax, View(np.zeros((10, 10), dtype=np.float32), (-40.0, 40.0, -40.0, 40.0)), (0, 1))
    scale_bar(ax)
    assert ax.texts[0].get_text() == "2 nm"
    assert ax.patches[1].get_width() == 20.0  # type: ignore[attr-defined]


def test_atoms_lie_on_the_bright_columns(slip_result: Result) -> None:
    assert slip_result.simulated is not None
    view = whole(slip_result, slip_result.simulated)
    left, _, _, top = view.extent
    values: list[NDArray[np.float32]] = []
    for layer in slip_result.layers:
        points, sites = lattice_points(layer, (-14.0, 14.0, -14.0, 14.0))
        heavy = points[relative_radii(layer.monolayer)[sites] == 1]
        inside = heavy[(np.abs(heavy) < 14).all(axis=1)]
        col, row = ((inside[:, 0] - left) / 0.12).astype(int), ((top - inside[:, 1]) / 0.12).astype(int)
        values.append(view.data[row, col])
    # The brightness is measured at the nearest pixel, 0.06 Å from the atom at most, of a peak of 1 Å: every Re atom is
    # among the brightest 12 % of the pixels, though atoms cover 24 · π 0.25² per 36 Å², or 13 %.
    assert np.concatenate(values).min() > np.quantile(view.data, 0.88)


def test_heavier_atoms_are_drawn_larger() -> None:
    radii = relative_radii(load_monolayer("MoS2"))
    # sqrt(16/42)
    np.testing.assert_allclose(sorted(set(radii)), [0.617, 1.0], atol=1e-3)


def test_only_atoms_of_the_extent_are_drawn(ax: Axes, slip_result: Result) -> None:
    show(ax, whole(slip_result), (0, 1))
    atoms(ax, slip_result.layers, (2.0, 9.0, -5.0, 5.0))
    assert len(ax.collections) == 2
    for collection in ax.collections:
        points = offsets(collection)
        # 70 Å² hold two cells of 36 Å² with 12 atoms.
        assert 18 <= len(points) <= 30
        assert (points >= (2, -5)).all()
        assert (points <= (9, 5)).all()


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-3.1, 3.1))
def test_lattice_points_fill_the_extent_evenly(x: float, y: float, turn: float) -> None:
    layer = replace(lone_layer("ReS2", turn), origin=np.array([x, y]))
    points, _ = lattice_points(layer, (-50.0, 50.0, -40.0, 40.0))
    inside = ((points >= (-50, -40)) & (points < (50, 40))).all(axis=1)
    expected = 12 * 8000 / layer.monolayer.area
    # The border is 360 Å long, a cell 6 Å across: the count is off by less than the atoms in a tenth of that strip.
    assert abs(np.count_nonzero(inside) - expected) < 0.1 * 360 * 6 * 12 / layer.monolayer.area


def test_the_cells_lie_within_their_part_of_the_image(ax: Axes, slip_result: Result) -> None:
    show(ax, whole(slip_result), (0, 1))
    cells(ax, slip_result.layers, (-15.0, 0.0, -9.0, 15.0))
    corners = [patch.get_xy()[:4] for patch in ax.patches if isinstance(patch, Polygon)]
    first, second = np.array(corners[0]), np.array(corners[2])
    assert (first > (-15, -9)).all()
    assert (first < (0, 15)).all()
    layer = slip_result.layers[0]
    np.testing.assert_allclose(first[[1, 3]] - first[0], layer.rows)
    # The second cell is off by the slip, or a lattice vector more.
    away = (second[0] - first[0] - (slip_result.layers[1].origin - layer.origin)) @ np.linalg.inv(layer.rows)
    np.testing.assert_allclose(away, np.round(away), atol=1e-9)


# Slips


def test_the_ellipse_holds_95_percent() -> None:
    covariance = np.array([[4.0, 1.5], [1.5, 1.0]])
    centre = np.array([3.0, -2.0])
    drawn = np.random.default_rng(8).multivariate_normal(centre, covariance, 40_000)
    shape = ellipse(centre, covariance)
    inside = shape.get_patch_transform().inverted().transform(drawn)
    # 0.1 % is the standard error of 40 000 draws.
    assert np.mean(np.hypot(*inside.T) < 1) == pytest.approx(0.95, abs=0.004)


def arrows_of(ax: Axes) -> list[NDArray[np.float64]]:
    """Heads of the arrows that start at the origin, in the axes' units."""
    found: list[Any] = [text for text in ax.texts if getattr(text, "arrow_patch", None) is not None]
    return [np.array(text.xy) for text in found]


def test_the_slip_is_an_arrow_and_equivalents_lie_in_the_cell(ax: Axes, slip_result: Result) -> None:
    interface, stack = slip_result.interfaces[0], resolved_stack(slip_result.layers)
    draw_cell(ax, stack, [interface], slip_result.maps)
    np.testing.assert_allclose(arrows_of(ax), [interface.slip])
    folded = next(points for points in map(offsets, ax.collections) if len(points) == 2)
    fractions = folded @ np.linalg.inv(stack.layers[0].cell)
    assert (fractions >= 0).all()
    assert (fractions < 1).all()
    away = (folded - interface.equivalents) @ np.linalg.inv(stack.layers[0].cell)
    # 1e-9: rounding.
    np.testing.assert_allclose(away, np.round(away), atol=1e-9)


def test_domains_have_arrows_of_their_own(ax: Axes, domain_result: Result) -> None:
    stack, slip_map = resolved_stack(domain_result.layers), map_of(domain_result)
    draw_cell(ax, stack, domain_result.interfaces, [slip_map])
    # The first domain is the interface's.
    np.testing.assert_allclose(arrows_of(ax), [slip_map.domains[0].slip, slip_map.domains[1].slip])


def test_each_slip_of_three_layers_starts_where_the_last_one_ends(ax: Axes, trilayer_result: Result) -> None:
    stack = resolved_stack(trilayer_result.layers)
    draw_cell(ax, stack, trilayer_result.interfaces, trilayer_result.maps)
    positions = [np.array(layer.position) for layer in stack.layers]
    np.testing.assert_allclose(arrows_of(ax), positions[1:])
    assert [text.get_text() for text in ax.texts if text.get_text()] == ["D₁₂", "D₂₃"]
    outlines = [patch.get_xy()[0] for patch in ax.patches if isinstance(patch, Polygon)]
    np.testing.assert_allclose(outlines, positions, atol=1e-12)


def test_the_upper_slip_is_in_the_frame_of_the_layer_below_it(ax: Axes, trilayer_result: Result) -> None:
    layer, slip = load_monolayer("MoS2"), np.array([0.5, 0.2])
    stack = Stack.of([layer] * 3, [slip, slip], [60 * DEGREE, 60 * DEGREE])
    interfaces = [replace(i, slip=slip, twist=60 * DEGREE) for i in trilayer_result.interfaces]
    draw_cell(ax, stack, interfaces)
    np.testing.assert_allclose(arrows_of(ax)[1], stack.layers[2].position)


@pytest.mark.parametrize("slip", [(0.0, 0.0), (-3.1, 2.8), (1e-9, 0.0)])
def test_any_slip_fits_into_the_panel(ax: Axes, slip_result: Result, slip: tuple[float, float]) -> None:
    vector = np.array(slip)
    interface = replace(slip_result.interfaces[0], slip=vector, equivalents=vector[None])
    draw_cell(ax, Stack.bilayer(load_monolayer("ReS2"), slip), [interface])
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    assert x0 < slip[0] < x1
    assert y0 < slip[1] < y1
    ax.figure.canvas.draw()


def test_a_twist_is_drawn_from_one_corner(ax: Axes, twist_result: Result) -> None:
    draw_cells(ax, resolved_stack(twist_result.layers))
    lower, upper = (np.array(patch.get_xy()) for patch in ax.patches if isinstance(patch, Polygon))
    np.testing.assert_allclose(lower[0], upper[0])
    np.testing.assert_allclose(upper[1], rotation_matrix(4.2 * DEGREE) @ lower[1], atol=1e-9)
    assert not [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]


def test_windows_are_seen_from_their_own_domain(ax: Axes, domain_result: Result) -> None:
    slip_map = map_of(domain_result)
    draw_windows(ax, domain_result.interfaces[0], slip_map)
    for collection, domain in zip(ax.collections, slip_map.domains, strict=True):
        np.testing.assert_allclose(offsets(collection), slip_map.slip[domain.windows] - domain.slip)
    # 0.012 Å is a window's error; four times that holds all of 74.
    assert 0.012 < ax.get_xlim()[1] < 0.06


# Maps


@pytest.mark.parametrize("which", ["slip_result", "domain_result"])
def test_cells_of_the_map_tile_the_image(which: str, request: pytest.FixtureRequest) -> None:
    result: Result = request.getfixturevalue(which)
    slip_map = map_of(result)
    x, y, grid = cell_edges(slip_map)
    left, right, bottom, top = whole(result).extent
    # 1e-9 Å: rounding; the windows touch the image's borders.
    np.testing.assert_allclose([x[0], x[-1], y[0], y[-1]], [left, right, bottom, top], atol=1e-9)
    assert (np.diff(x) > 0).all()
    assert (np.diff(y) > 0).all()
    for row, column in np.ndindex(grid.shape):
        centre = slip_map.position[grid[row, column]]
        up = len(grid) - 1 - row
        assert x[column] < centre[0] < x[column + 1]
        assert y[up] < centre[1] < y[up + 1]


def test_a_map_of_one_window_is_a_cell_as_large_as_the_window(ax: Axes, slip_result: Result) -> None:
    slip_map = map_of(slip_result)
    middle = int(np.flatnonzero(slip_map.status == "ok")[0])
    fields = {name: getattr(slip_map, name)[[middle]] for name in ("row", "col", "position", "slip", "covariance")}
    one = replace(
        slip_map, **fields, chi2=np.ones(1), status=np.array(["ok"]), fine=np.array([False]), grid=(1, 1), domains=()
    )
    x, y, _ = cell_edges(one)
    np.testing.assert_allclose([np.ptp(x), np.ptp(y)], slip_map.window)
    result = replace(slip_result, maps=(one,))
    draw_map(ax, result, deviation_scale(result))
    ax.figure.canvas.draw()


def test_colours_are_deviations_at_their_place(ax: Axes, domain_result: Result) -> None:
    slip_map = map_of(domain_result)
    painted = draw_map(ax, domain_result, deviation_scale(domain_result))
    values: Any = np.ma.asarray(painted.get_array())[::-1].ravel()
    coarse = np.flatnonzero(~slip_map.fine)
    expected = np.linalg.norm(slip_map.slip[coarse] - domain_result.interfaces[0].slip, axis=1)
    ok = slip_map.status[coarse] == "ok"
    np.testing.assert_array_equal(np.ma.getmaskarray(values), ~ok)
    np.testing.assert_allclose(values[ok], expected[ok])


def test_windows_without_a_slip_are_hatched(ax: Axes, slip_result: Result) -> None:
    draw_map(ax, slip_result, deviation_scale(slip_result))
    (hatched,) = [patch for patch in ax.patches if isinstance(patch, PathPatch)]
    bad = np.count_nonzero(map_of(slip_result).status != "ok")
    assert hatched.get_hatch()
    assert np.shape(hatched.get_path().vertices) == (5 * bad, 2)


def test_arrows_point_the_way_the_upper_layer_moved_in_the_image(ax: Axes, slip_result: Result) -> None:
    slip_map, interface = map_of(slip_result), slip_result.interfaces[0]
    moved = replace(slip_map, slip=np.tile(interface.slip + (0.1, 0.0), (len(slip_map), 1)))
    result = replace(slip_result, maps=(moved,))
    draw_map(ax, result, deviation_scale(result))
    (quiver,) = [c for c in ax.collections if isinstance(c, Quiver)]
    # Along a, which lies at 0.3 rad in the fake images.
    np.testing.assert_allclose(np.arctan2(quiver.V, quiver.U), 0.3, atol=1e-9)
    # 0.1 Å exceeds four times 0.017 Å, so that it ends the scale and is as long as the windows are apart.
    np.testing.assert_allclose(np.hypot(quiver.U, quiver.V), slip_map.stride)


def test_a_map_of_noise_alone_stays_in_the_lower_part_of_the_scale(slip_result: Result) -> None:
    slip_map = map_of(slip_result)
    scale = deviation_scale(slip_result)
    assert scale.vmax == pytest.approx(4 * typical_sigma(slip_map))
    # sqrt(2) · 0.012 Å.
    assert typical_sigma(slip_map) == pytest.approx(0.01697, rel=1e-3)


def test_a_map_without_any_slip_can_be_drawn(ax: Axes, slip_result: Result) -> None:
    slip_map = map_of(slip_result)
    lost = replace(
        slip_map, status=np.full(len(slip_map), "vacuum"), slip=np.full_like(slip_map.slip, np.nan), domains=()
    )
    result = replace(slip_result, maps=(lost,))
    draw_map(ax, result, deviation_scale(result))
    draw_windows(ax, result.interfaces[0], lost)
    ax.figure.canvas.draw()


def test_a_map_without_any_deviation_or_error_can_be_drawn(ax: Axes, slip_result: Result) -> None:
    slip_map, interface = map_of(slip_result), slip_result.interfaces[0]
    exact = replace(
        slip_map,
        slip=np.tile(interface.slip, (len(slip_map), 1)),
        covariance=np.zeros((len(slip_map), 2, 2)),
        status=np.full(len(slip_map), "ok"),
    )
    result = replace(slip_result, maps=(exact,))
    assert (deviation_scale(result).vmax or 0.0) > 0
    draw_map(ax, result, deviation_scale(result))
    ax.figure.canvas.draw()


def test_a_slip_is_carried_into_the_image_as_the_lattice_is(slip_result: Result) -> None:
    matrix = image_from_layer(slip_result.layers[0])
    np.testing.assert_allclose(matrix, image_from_crystal(0.3, False), atol=1e-9)


def test_domain_names() -> None:
    assert [domain_name(i) for i in (0, 1, 25, 26)] == ["A", "B", "Z", "27"]


def test_interfaces_need_no_covariance_to_be_drawn(ax: Axes, slip_result: Result) -> None:
    exact: Interface = replace(slip_result.interfaces[0], slip_covariance=np.zeros((2, 2)))
    draw_cell(ax, resolved_stack(slip_result.layers), [exact])
    ax.figure.canvas.draw()
