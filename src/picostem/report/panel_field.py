"""Maps of layers with lattices of their own: each window's twist, and how the registry changes from place to place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.patches import Circle
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from picostem.physics import DEGREE
from picostem.report import palette
from picostem.report.panel_image import scale_bar
from picostem.report.panel_map import ARROW, frame, outline_domains, paint
from picostem.report.panel_twist import moire_cell, registry_field
from picostem.report.registry import image_from_layer, layers_of, upper_lattice
from picostem.structure.lattice import shortest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh

    from picostem.resolve.result import Result, SlipMap

FloatArray = NDArray[np.float64]

ARROWS = 26
"""Arrows across the panel of a slip field: eight for each moiré period."""

_STYLE: dict[str, Any] = {**ARROW, "width": 0.024, "angles": "xy", "scale_units": "xy", "scale": 1, "units": "inches"}

NEIGHBOURS = 24
"""Windows from which the slip between windows follows: two rings around it."""


def uniform(slip_map: SlipMap) -> bool:
    """Whether the twist is the same all over the map, as far as its domains say."""
    return len(slip_map.domains) < 2


def twist_scale(slip_map: SlipMap) -> Normalize:
    """Colour scale of a twist map, degrees: all but the outermost 1 %, and at least 4 σ of a window to either side."""
    ok = slip_map.status == "ok"
    if slip_map.twist is None or slip_map.twist_sigma is None or not ok.any():
        return Normalize(0.0, 1.0)
    low, high = np.quantile(slip_map.twist[ok], (0.005, 0.995)) / DEGREE
    middle = (low + high) / 2
    # 1e-6°: a scale needs two ends.
    half = max((high - low) / 2, 4 * float(np.median(slip_map.twist_sigma[ok])) / DEGREE, 1e-6)
    return Normalize(middle - half, middle + half)


def draw_twist_map(ax: Axes, result: Result, index: int = 0) -> QuadMesh:
    """Windows in the colour of their twist, hatched where there is none, with domains and boundaries."""
    slip_map = result.maps[index]
    assert slip_map.twist is not None
    frame(ax, result)
    twist = np.where(slip_map.status == "ok", slip_map.twist / DEGREE, np.nan)
    painted = paint(ax, slip_map, twist, twist_scale(slip_map))
    outline_domains(ax, slip_map)
    return painted


def draw_slip_field(ax: Axes, result: Result, index: int = 0) -> None:
    """The upper layer's local shift against the lower one as arrows in the image frame, coloured by their direction.

    Shifts are modulo the upper layer's lattice, the shortest: arrows vanish where the layers lie exactly above each
    other (AA). The field is that of the moiré's panel.
    """
    slip_map, interface = result.maps[index], result.interfaces[index]
    lower, upper = layers_of(result, interface)
    half = registry_field(ax, result)
    ax.set(facecolor=palette.BLANK)
    step = 2 * half[0] / ARROWS
    x, y = (np.arange(-h + step / 2, h, step) for h in half)
    places = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    places, slips = slips_at(slip_map, places)
    if len(places):
        lattice = upper_lattice(lower, upper)
        wrapped = shortest(slips, lattice) @ image_from_layer(lower).T
        # The longest shift modulo a lattice is about half a lattice vector; arrows may come close to their neighbours.
        longest = 0.6 * float(np.linalg.norm(lattice, axis=1).max())
        u, v = (1.15 * step / longest * wrapped).T
        colours = direction_colours()((np.arctan2(v, u) / (2 * np.pi)) % 1)
        ax.quiver(*places.T, u, v, color=colours, pivot="mid", **_STYLE)
    for boundary in slip_map.boundaries:
        ax.plot(*boundary.points.T, color=palette.INK, lw=1.0, ls=(0, (4, 2)))
    moire_cell(ax, lower, upper)
    scale_bar(ax)
    _direction_key(ax)


def slips_at(slip_map: SlipMap, places: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Places (n, 2), image frame, that lie in windows that are ok, and the slips there, (n, 2), crystal frame, Å.

    Slips are continuous from window to window and nearly linear in between.
    """
    ok = (slip_map.status == "ok") & np.isfinite(slip_map.slip).all(axis=1)
    known = slip_map.position[ok]
    # A plane needs three points that are not in line.
    if len(known) < 3 or np.linalg.matrix_rank(known - known.mean(axis=0), tol=1e-3) < 2:
        return np.zeros((0, 2)), np.zeros((0, 2))
    away = np.abs(places - known[cKDTree(known).query(places, p=np.inf)[1]]).max(axis=1)
    # A window reaches half its side, and 1e-9 Å of rounding, to each side.
    inside = places[away <= slip_map.window / 2 + 1e-9]
    if not len(inside):
        return inside, np.zeros((0, 2))
    smooth = RBFInterpolator(known, slip_map.slip[ok], neighbors=min(NEIGHBOURS, len(known)), kernel="linear", degree=1)
    return inside, np.asarray(smooth(inside))


def direction_colours() -> LinearSegmentedColormap:
    """Colours of directions from 0 to a full turn: opposite ones differ in lightness, or as yellow from blue."""
    return LinearSegmentedColormap.from_list("directions", [*palette.DIRECTIONS, palette.DIRECTIONS[0]])


def _direction_key(ax: Axes) -> None:
    """A wheel of the directions' colours in the upper right corner."""
    wheel = ax.inset_axes((0.85, 0.85, 0.14, 0.14))
    wheel.set_axis_off()
    wheel.set(xlim=(-1.25, 1.25), ylim=(-1.25, 1.25), aspect="equal")
    wheel.add_patch(Circle((0, 0), 1.2, fc=palette.PAPER, ec=palette.FAINT, lw=0.8))
    turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    u, v = np.cos(turn), np.sin(turn)
    colours = direction_colours()(turn / (2 * np.pi))
    wheel.quiver(0.35 * u, 0.35 * v, 0.7 * u, 0.7 * v, color=colours, **_STYLE)
