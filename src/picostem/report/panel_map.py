"""The map panel: how far each window's slip is from the interface's, and in which direction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.colors import Normalize
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from picostem.report import palette
from picostem.report.registry import image_from_layer
from picostem.report.view import whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from picostem.resolve.result import Result, SlipMap

FloatArray = NDArray[np.float64]

ARROWS = 22
"""Arrows across the panel; more cannot be told apart."""

ARROW: dict[str, Any] = {"width": 0.016, "headwidth": 3.6, "headlength": 4.2, "headaxislength": 3.8}
"""Their shape, in inches and widths."""


def deviation_scale(result: Result, index: int = 0) -> Normalize:
    """Colour scale of the deviations, from 0 to all but the largest 1 %, and at least to 4 σ of a typical window.

    So a map in which nothing but noise varies looks uniform. `index`: of the map and its interface.
    """
    if index >= len(result.maps) or not (result.maps[index].status == "ok").any():
        return Normalize(0.0, 1.0)
    slip_map = result.maps[index]
    ok = slip_map.status == "ok"
    length = np.linalg.norm(slip_map.slip[ok] - result.interfaces[index].slip, axis=1)
    # 1e-6 Å: a scale needs two ends.
    return Normalize(0.0, max(float(np.quantile(length, 0.99)), 4 * typical_sigma(slip_map), 1e-6))


def typical_sigma(slip_map: SlipMap) -> float:
    """Median over the windows that are ok of the square root of the covariance's trace, Å."""
    ok = slip_map.status == "ok"
    traces = np.trace(slip_map.covariance[ok], axis1=1, axis2=2)
    return float(np.sqrt(np.median(traces))) if ok.any() else 0.0


def draw_map(ax: Axes, result: Result, scale: Normalize, index: int = 0) -> QuadMesh:
    """Windows in the colour of their deviation, arrows, hatching where there is no slip, domains and boundaries."""
    slip_map, interface = result.maps[index], result.interfaces[index]
    frame(ax, result)
    deviation = np.where((slip_map.status == "ok")[:, None], slip_map.slip - interface.slip, np.nan)
    painted = paint(ax, slip_map, np.linalg.norm(deviation, axis=1), scale)
    _arrows(ax, slip_map, image_from_layer(result.layers[interface.lower - 1]), deviation, scale)
    outline_domains(ax, slip_map)
    return painted


def frame(ax: Axes, result: Result) -> None:
    """Axes as large as the image, without ticks, blank."""
    left, right, bottom, top = whole(result).extent
    ax.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[], facecolor=palette.BLANK)
    ax.set(aspect="equal", anchor="NW")
    ax.apply_aspect()


def outline_domains(ax: Axes, slip_map: SlipMap) -> None:
    """The lines between domains, and the domains' letters, if there are several."""
    for boundary in slip_map.boundaries:
        ax.plot(*boundary.points.T, color="white", lw=1.8, path_effects=[withStroke(linewidth=3.6, foreground="black")])
    for index, domain in enumerate(slip_map.domains if len(slip_map.domains) > 1 else ()):
        box = {"boxstyle": "circle,pad=0.25", "fc": "white", "ec": _colour(index), "lw": 2.2}
        x, y = domain.centre
        ax.text(x, y, domain_name(index), ha="center", va="center", weight="bold", size=11, bbox=box)


def _colour(index: int) -> str:
    return palette.DOMAINS[index % len(palette.DOMAINS)]


def domain_name(index: int) -> str:
    """A, B, ..., Z, 27, 28, ..."""
    return chr(ord("A") + index) if index < 26 else str(index + 1)


def paint(ax: Axes, slip_map: SlipMap, values: FloatArray, scale: Normalize) -> QuadMesh:
    """The coarse windows as one picture, the fine ones, half as large, on top; hatched where the value is NaN."""
    x_edges, y_edges, grid = cell_edges(slip_map)
    coarse = np.ma.masked_invalid(values[: grid.size].reshape(grid.shape))
    painted = ax.pcolormesh(x_edges, y_edges, coarse[::-1], cmap=palette.MAGNITUDE, norm=scale)
    row, col = np.nonzero(coarse.mask) if coarse.mask.any() else (np.empty(0, int), np.empty(0, int))
    # The rows of the grid go down, the edges up.
    up = len(grid) - 1 - row
    blank = np.stack(
        [np.column_stack([x_edges[col + i], y_edges[up + j]]) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))],
        axis=1,
    )
    if len(blank):
        _hatch(ax, blank)
    fine = np.flatnonzero(slip_map.fine & np.isfinite(values))
    if len(fine):
        corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * slip_map.stride / 4
        squares = PolyCollection(list(slip_map.position[fine, None] + corners), cmap=palette.MAGNITUDE, norm=scale)
        squares.set_array(values[fine])
        ax.add_collection(squares)
    return painted


def cell_edges(slip_map: SlipMap) -> tuple[FloatArray, FloatArray, NDArray[np.intp]]:
    """Edges along x and y, ascending, of the cells painted for the coarse windows; the windows' indices (rows, cols).

    A cell reaches halfway to the next window, at the border to the end of its own.
    """
    grid = np.arange(slip_map.grid[0] * slip_map.grid[1]).reshape(slip_map.grid)
    centres = slip_map.position[grid[0], 0], slip_map.position[grid[::-1, 0], 1]
    half = slip_map.window / 2
    x, y = (np.concatenate([[c[0] - half], (c[1:] + c[:-1]) / 2, [c[-1] + half]]) for c in centres)
    return x, y, grid


def _hatch(ax: Axes, squares: FloatArray) -> None:
    closed = np.concatenate([squares, squares[:, :1]], axis=1)
    codes = np.tile([Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY], len(closed))
    # One path for all: hatching each square by itself takes a hundred times longer.
    shape = Path(closed.reshape(-1, 2), codes)
    ax.add_patch(PathPatch(shape, fc="#D5DAE0", ec="#9AA3AD", lw=0.0, hatch="////"))


def _arrows(
    ax: Axes, slip_map: SlipMap, image_from_crystal: FloatArray, deviation: FloatArray, scale: Normalize
) -> None:
    """Deviations of some of the coarse windows, in the image frame; the longest as long as their distance."""
    grid = np.arange(slip_map.grid[0] * slip_map.grid[1]).reshape(slip_map.grid)
    step = -(-max(slip_map.grid) // ARROWS)
    chosen = grid[step // 2 :: step, step // 2 :: step].ravel()
    chosen = chosen[np.isfinite(deviation[chosen, 0])]
    if not len(chosen):
        return
    u, v = slip_map.stride * step / (scale.vmax or 1.0) * (deviation[chosen] @ image_from_crystal.T).T
    bright = scale(np.linalg.norm(deviation[chosen], axis=1)) > 0.72
    x, y = slip_map.position[chosen].T
    colours = np.where(bright, palette.INK, "white")
    ax.quiver(x, y, u, v, color=colours, angles="xy", scale_units="xy", scale=1.0, pivot="mid", units="inches", **ARROW)
