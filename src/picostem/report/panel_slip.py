"""Panels that show a slip: on the cell of the lower layer, and window by window around the mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.patches import Ellipse, Polygon
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from picostem.report import palette
from picostem.report.panel_image import relative_radii
from picostem.report.quantities import SUBSCRIPTS
from picostem.structure import rotation_matrix

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes

    from picostem.resolve.result import Interface, SlipMap
    from picostem.structure import Layer, Stack

FloatArray = NDArray[np.float64]

CHI2_95 = -2 * np.log(0.05)
"""95 % quantile of chi² with two degrees of freedom."""

ATOM = 0.34
"""Å, radius of the heaviest element's disc."""

_AROUND = np.stack(np.meshgrid(np.arange(-2, 4), np.arange(-2, 4)), axis=-1).reshape(-1, 1, 2)


def draw_cell(ax: Axes, stack: Stack, interfaces: Sequence[Interface], maps: Sequence[SlipMap] = ()) -> None:
    """The layers around one cell of the first, in the crystal frame; slips, ellipses and equivalents on top.

    Each slip starts where the layer below lies. The windows' slips and the equivalents are shown of a single interface.
    """
    first = stack.layers[0]
    starts, slips = _chain(stack, interfaces)
    ends = starts + slips
    alone = maps[0] if len(interfaces) == len(maps) == 1 else None
    _frame(ax, np.vstack([_corners(first.cell, np.zeros(2)), starts, ends, *_domain_slips(alone)]))
    for index, (layer, colour) in enumerate(zip(stack.layers, palette.LAYERS, strict=False)):
        corner = np.zeros(2) if index == 0 else ends[index - 1]
        _atoms(ax, layer, corner, colour)
        line = "-" if index == 0 else (0, (4, 2))
        ax.add_patch(Polygon(_corners(first.cell, corner), fc="none", ec=colour, lw=1.3, ls=line))
    if len(interfaces) == 1:
        _equivalents(ax, interfaces[0], first.cell, alone)
        for name, slip in _named_slips(interfaces[0], alone):
            _arrow(ax, np.zeros(2), slip, name)
    else:
        for interface, start, slip in zip(interfaces, starts, slips, strict=True):
            _arrow(ax, start, slip, "D" + f"{interface.lower}{interface.upper}".translate(SUBSCRIPTS))
    for interface, end in zip(interfaces, ends, strict=True):
        ax.add_patch(ellipse(end, interface.slip_covariance, fc=palette.INK, alpha=0.35))


def draw_cells(ax: Axes, stack: Stack) -> None:
    """The cells of layers with lattices of their own from one corner, in the crystal frame, to show the angle."""
    outlines = [_corners(layer.cell, np.zeros(2)) for layer in stack.layers]
    _frame(ax, np.vstack(outlines))
    for index, (layer, shape, colour) in enumerate(zip(stack.layers, outlines, palette.LAYERS, strict=False)):
        _atoms(ax, layer, np.zeros(2), colour)
        ax.add_patch(Polygon(shape, fc="none", ec=colour, lw=1.6, ls="-" if index == 0 else (0, (4, 2))))


def _chain(stack: Stack, interfaces: Sequence[Interface]) -> tuple[FloatArray, FloatArray]:
    """Where each slip starts, and the slips, in the first layer's crystal frame, (interfaces, 2)."""
    slips = [
        rotation_matrix(stack.layers[interface.lower - 1].twist) @ interface.slip if index else interface.slip
        for index, interface in enumerate(interfaces)
    ]
    ends = np.cumsum(slips, axis=0)
    return np.vstack([np.zeros(2), ends[:-1]]), np.array(slips)


def _equivalents(ax: Axes, interface: Interface, cell: FloatArray, slip_map: SlipMap | None) -> None:
    """Circles where the same image would have its slip, within one cell, and dots of the windows."""
    fractions = interface.equivalents @ np.linalg.inv(cell)
    x, y = ((fractions - np.floor(fractions)) @ cell).T
    ax.scatter(x, y, s=30, c=palette.PAPER, edgecolors=palette.FAINT, linewidths=1.0)
    if slip_map is not None:
        x, y = slip_map.slip[slip_map.status == "ok"].T
        ax.scatter(x, y, s=2.5, c=palette.INK, alpha=0.35, linewidths=0)


def _domain_slips(slip_map: SlipMap | None) -> list[FloatArray]:
    return [] if slip_map is None else [domain.slip for domain in slip_map.domains]


def _named_slips(interface: Interface, slip_map: SlipMap | None) -> Iterator[tuple[str, FloatArray]]:
    """D, and further domains by their letters."""
    yield "D", interface.slip
    for name, slip in zip("ABCDEFGH", _domain_slips(slip_map), strict=False):
        # A tenth of an Å apart, two arrows can be told from each other.
        if np.linalg.norm(slip - interface.slip) > 0.1:
            yield name, slip


def _corners(cell: FloatArray, corner: FloatArray) -> FloatArray:
    a, b = cell
    return np.asarray(corner + np.array([(0, 0), a, a + b, b]))


def _frame(ax: Axes, points: FloatArray) -> None:
    """A square view that holds all points with a margin of a tenth."""
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    half = 0.6 * float(np.ptp(points, axis=0).max())
    ax.set_xlim(middle[0] - half, middle[0] + half)
    ax.set_ylim(middle[1] - half, middle[1] + half)
    ax.set_aspect("equal")
    ax.set_xlabel("x (Å)", labelpad=1)
    ax.set_ylabel("y (Å)", labelpad=1)


def _atoms(ax: Axes, layer: Layer, corner: FloatArray, colour: str) -> None:
    sites = layer.positions[:, :2] - layer.position
    x, y = (_AROUND @ layer.cell + sites + corner).reshape(-1, 2).T
    points = 72 / palette.DPI * ax.get_window_extent().width / np.ptp(ax.get_xlim())
    size = np.tile((2 * ATOM * points * relative_radii(layer.monolayer)) ** 2, len(_AROUND))
    ax.scatter(x, y, s=size, c=colour, alpha=0.3, linewidths=0)


def _arrow(ax: Axes, start: FloatArray, slip: FloatArray, name: str) -> None:
    style = {"arrowstyle": "-|>,head_width=0.26,head_length=0.5", "color": palette.INK, "lw": 1.8}
    ax.annotate("", tuple(start + slip), tuple(start), arrowprops={**style, "shrinkA": 0, "shrinkB": 0})
    # Beside the middle of the arrow, to its right as seen from its tail.
    away = 6 + 3 * len(name)
    x, y = np.array([slip[1], -slip[0]]) / max(float(np.linalg.norm(slip)), 1e-6) * away
    letter: dict[str, Any] = {"weight": "bold", "size": 12, "ha": "center", "va": "center"}
    glow = [withStroke(linewidth=2.5, foreground=palette.PAPER)]
    place = (float(x), float(y))
    ax.annotate(name, tuple(start + slip / 2), place, textcoords="offset points", path_effects=glow, **letter)


def ellipse(centre: FloatArray, covariance: FloatArray, **style: Any) -> Ellipse:
    """The ellipse that holds the truth with 95 % probability."""
    values, vectors = np.linalg.eigh(covariance)
    width, height = 2 * np.sqrt(CHI2_95 * np.maximum(values, 0))
    angle = float(np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0])))
    middle = (float(centre[0]), float(centre[1]))
    return Ellipse(middle, float(width), float(height), angle=angle, **style)


def draw_windows(ax: Axes, interface: Interface, slip_map: SlipMap) -> None:
    """Slips of the windows that are ok, with the 95 % ellipses of the mean and of a typical window.

    One stacking is seen from the interface's slip; where there are domains, each is seen from its own mean, in the
    colours of the map's letters.
    """
    ok = slip_map.status == "ok"
    typical = np.median(slip_map.covariance[ok], axis=0) if ok.any() else interface.slip_covariance
    groups = [(slip_map.slip[ok] - interface.slip, interface.slip_covariance)]
    if len(slip_map.domains) > 1:
        groups = [(slip_map.slip[d.windows] - d.slip, d.slip_covariance) for d in slip_map.domains]
    everything = np.concatenate([deviation for deviation, _ in groups])
    outermost = float(np.quantile(np.abs(everything), 0.998)) if len(everything) else 0.0
    radius = float(np.sqrt(CHI2_95 * np.linalg.eigvalsh(typical + interface.slip_covariance)[-1]))
    reach = 1.15 * max(outermost, radius, 1e-6)
    ax.set_xlim(-reach, reach)
    ax.set_ylim(-reach, reach)
    ax.set_aspect("equal")
    ax.axhline(0, color=palette.RULE, lw=0.7, zorder=0)
    ax.axvline(0, color=palette.RULE, lw=0.7, zorder=0)
    # Up to 200 windows can be told apart at this size, more of them at a smaller one.
    size = 13 * min(1.0, 200 / max(len(everything), 1)) ** 0.5
    for (deviation, covariance), colour in zip(groups, palette.DOMAINS, strict=False):
        x, y = deviation.T
        ax.scatter(x, y, c=colour, s=size, linewidths=0.02 * size, edgecolors="white")
        ax.add_patch(ellipse(np.zeros(2), covariance, fc="none", ec=palette.INK, lw=1.6, zorder=3))
    ax.add_patch(ellipse(np.zeros(2), typical, fc="none", ec=palette.INK, lw=1.0, ls=(0, (4, 2)), zorder=3))
    ax.set_xlabel("ΔD along x (Å)", labelpad=1)
    ax.set_ylabel("ΔD along y (Å)", labelpad=1)
    ax.locator_params(nbins=5)
