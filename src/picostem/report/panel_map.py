"""The map panel: how far each window's slip is from the interface's, and in which direction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.patheffects import Normal, Stroke
from numpy.typing import NDArray

from picostem.report import palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from picostem.resolve.result import ResolvedLayer, Result, SlipMap

FloatArray = NDArray[np.float64]

ARROWS = 22
"""Arrows across the panel; more cannot be told apart."""


def deviation_scale(result: Result) -> Normalize:
    """Colour scale of the deviations, from 0 to all but the largest 1 %, and at least to 4 σ of a typical window.

    So a map in which nothing but noise varies looks uniform.
    """
    slip_map, ok = result.map, _ok(result)
    if slip_map is None or not ok.any():
        return Normalize(0.0, 1.0)
    length = np.linalg.norm(slip_map.slip[ok] - result.interfaces[0].slip, axis=1)
    return Normalize(0.0, max(float(np.quantile(length, 0.99)), 4 * typical_sigma(slip_map)))


def typical_sigma(slip_map: SlipMap) -> float:
    """Median over the windows that are ok of the square root of the covariance's trace, Å."""
    ok = slip_map.status == "ok"
    traces = np.trace(slip_map.covariance[ok], axis1=1, axis2=2)
    return float(np.sqrt(np.median(traces))) if ok.any() else 0.0


def draw_map(ax: Axes, result: Result, scale: Normalize) -> PolyCollection:
    """Windows in the colour of their deviation, arrows, hatching where there is no slip, domains and boundaries."""
    slip_map, ok = result.map, _ok(result)
    assert slip_map is not None
    rows, cols = result.image.data.shape
    dy, dx = result.image.pixel_size or (1.0, 1.0)
    half = np.array([cols * dx, rows * dy]) / 2
    ax.set_xlim(-half[0], half[0])
    ax.set_ylim(-half[1], half[1])
    ax.set_aspect("equal")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_facecolor(palette.BLANK)
    squares = np.clip(_squares(slip_map), -half, half)
    deviation = slip_map.slip - result.interfaces[0].slip
    painted = PolyCollection(list(squares[ok]), cmap=palette.MAGNITUDE, norm=scale, linewidths=0.3)
    painted.set_array(np.linalg.norm(deviation[ok], axis=1))
    painted.set_edgecolor("face")
    ax.add_collection(painted)
    if not ok.all():
        _hatch(ax, squares[~ok])
    _arrows(ax, result, ok, scale)
    for boundary in slip_map.boundaries:
        ax.plot(*boundary.points.T, color="white", lw=2.0, path_effects=[Stroke(linewidth=4.0, foreground="black"), Normal()])
    for index, domain in enumerate(slip_map.domains):
        if len(slip_map.domains) > 1:
            box = {"boxstyle": "circle,pad=0.25", "fc": "white", "ec": palette.INK, "lw": 1.0}
            ax.text(*domain.centre, domain_name(index), ha="center", va="center", weight="bold", size=11, bbox=box)
    return painted


def domain_name(index: int) -> str:
    """A, B, ..., Z, 27, 28, ..."""
    return chr(ord("A") + index) if index < 26 else str(index + 1)


def _ok(result: Result) -> NDArray[np.bool_]:
    return np.empty(0, dtype=bool) if result.map is None else result.map.status == "ok"


def _squares(slip_map: SlipMap) -> FloatArray:
    """Corners of the cell painted for each window, shape (n, 4, 2): half as large for the fine windows."""
    side = np.full((len(slip_map), 2), slip_map.stride)
    count = slip_map.grid[0] * slip_map.grid[1]
    coarse = slip_map.position[:count].reshape(*slip_map.grid, 2)
    # The grid is stretched a little, so that it touches the image's borders: take its own steps.
    if slip_map.grid[1] > 1:
        side[:, 0] = coarse[0, 1, 0] - coarse[0, 0, 0]
    if slip_map.grid[0] > 1:
        side[:, 1] = coarse[0, 0, 1] - coarse[1, 0, 1]
    side[slip_map.fine] /= 2
    corners = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
    return np.asarray(slip_map.position[:, None] + corners * side[:, None])


def _hatch(ax: Axes, squares: FloatArray) -> None:
    closed = np.concatenate([squares, squares[:, :1]], axis=1)
    codes = np.tile([Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY], len(closed))
    # One path for all: hatching each square by itself takes a hundred times longer.
    shape = Path(closed.reshape(-1, 2), codes)
    ax.add_patch(PathPatch(shape, fc="#D5DAE0", ec="#9AA3AD", lw=0.0, hatch="////"))


def _arrows(ax: Axes, result: Result, ok: NDArray[np.bool_], scale: Normalize) -> None:
    """Deviations of some of the coarse windows, in the image frame; the longest as long as their distance."""
    slip_map = result.map
    assert slip_map is not None
    grid = np.arange(slip_map.grid[0] * slip_map.grid[1]).reshape(slip_map.grid)
    step = -(-max(slip_map.grid) // ARROWS)
    chosen = grid[step // 2 :: step, step // 2 :: step].ravel()
    chosen = chosen[ok[chosen]]
    if not len(chosen):
        return
    deviation = slip_map.slip[chosen] - result.interfaces[0].slip
    lower = result.layers[result.interfaces[0].lower - 1]
    arrows = deviation @ image_from_layer(lower).T
    length = slip_map.stride * step / (scale.vmax or 1.0)
    light = scale(np.linalg.norm(deviation, axis=1)) > 0.72
    colours = np.where(light, palette.INK, "white")
    x, y = slip_map.position[chosen].T
    ax.quiver(
        x, y, *(arrows.T * length), color=colours, angles="xy", scale_units="xy", scale=1.0, pivot="mid",
        units="inches", width=0.016, headwidth=3.6, headlength=4.2, headaxislength=3.8,
    )  # fmt: skip


def image_from_layer(layer: ResolvedLayer) -> FloatArray:
    """Matrix that takes a vector of the layer's crystal frame into the image, as measured, for column vectors."""
    return np.asarray((np.linalg.inv(layer.monolayer.cell) @ layer.rows).T)
