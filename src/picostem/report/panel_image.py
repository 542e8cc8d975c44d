"""Panels that show an image: grey scale or residual, scale bar, the resolved atoms and cells on top."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_numbers
from matplotlib.patches import Polygon, Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from picostem.physics import NM
from picostem.report import palette
from picostem.report.lettering import text_width
from picostem.report.view import View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

    from picostem.resolve.result import ResolvedLayer
    from picostem.structure import Monolayer

FloatArray = NDArray[np.float64]

_LETTERS = 9.5
"""Points."""

RADIUS = 0.30
"""Å, with which an atom of the heaviest element is drawn."""


def show(ax: Axes, view: View, limits: tuple[float, float], colours: str = "gray") -> AxesImage:
    """The pixels of a view, without ticks."""
    ax.set_xticks([])
    ax.set_yticks([])
    # Below the screen's resolution, pixels are blended; enlarged, they stay what they are.
    picture = ax.imshow(view.data, cmap=colours, vmin=limits[0], vmax=limits[1], extent=view.extent, origin="upper")
    ax.set_autoscale_on(False)
    ax.set_anchor("NW")
    ax.apply_aspect()
    return picture


def scale_bar(ax: Axes, calibrated: bool = True) -> None:
    """A bar of a round length in the lower left corner of axes in Å (or pixels), about a quarter of them long."""
    left, bottom = ax.get_xlim()[0], ax.get_ylim()[0]
    side = min(np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim()))
    length = round_length(0.3 * side)
    unit, shown = ("px", length) if not calibrated else ("nm", length / NM) if length >= NM else ("Å", length)
    x, y = left + 0.045 * side, bottom + 0.045 * side
    ax.add_patch(Rectangle((left, bottom), length + 0.09 * side, 0.135 * side, fc="black", ec="none", alpha=0.6))
    ax.add_patch(Rectangle((x, y), length, 0.014 * side, fc="white", ec="none"))
    ax.text(x + length / 2, y + 0.026 * side, f"{shown:g} {unit}", color="white", ha="center", va="bottom", size=9.5)


def round_length(limit: float) -> float:
    """The largest of 1, 2, 5, 10, ... that does not exceed `limit`."""
    decade = 10.0 ** np.floor(np.log10(limit))
    # 1e-9: limits that are themselves round.
    return float(decade * max(step for step in (1, 2, 5) if step * decade <= limit * (1 + 1e-9)))


def outline(ax: Axes, extent: tuple[float, float, float, float]) -> None:
    """A frame around a part of an image."""
    left, right, bottom, top = extent
    for colour, width in (("black", 2.6), ("white", 1.3)):
        ax.add_patch(Rectangle((left, bottom), right - left, top - bottom, fc="none", ec=colour, lw=width))


def atoms(ax: Axes, layers: Sequence[ResolvedLayer], extent: tuple[float, float, float, float]) -> None:
    """The resolved atoms within an extent, layer by layer; the heavier, the larger."""
    left, right, bottom, top = extent
    points = ax.get_window_extent().width * 72 / palette.DPI / abs(np.subtract(*ax.get_xlim()))
    for layer, colour in zip(layers, palette.LAYERS, strict=False):
        positions, sites = lattice_points(layer, extent)
        inside = (positions >= (left, bottom)).all(axis=1) & (positions <= (right, top)).all(axis=1)
        radii = relative_radii(layer.monolayer)[sites[inside]]
        x, y = positions[inside].T
        # Thin rims on small discs, or they would look white.
        ax.scatter(
            x, y, s=(2 * RADIUS * points * radii) ** 2, c=colour, edgecolors="white", linewidths=list(0.5 * radii**3)
        )


def relative_radii(monolayer: Monolayer) -> FloatArray:
    """Radius of each site's disc over that of the heaviest: as the square root of the atomic number, (sites,)."""
    numbers = np.array([atomic_numbers[symbol] for symbol in monolayer.symbols], dtype=np.float64)
    return np.asarray(np.sqrt(numbers / numbers.max()))


def lattice_points(
    layer: ResolvedLayer, extent: tuple[float, float, float, float]
) -> tuple[FloatArray, NDArray[np.intp]]:
    """Positions (n, 2) of a layer's atoms around an extent, and their sites (n,): r = fractions · rows + origin."""
    left, right, bottom, top = extent
    corners = np.array([(x, y) for x in (left, right) for y in (bottom, top)]) - layer.origin
    reach = corners @ np.linalg.inv(layer.rows)
    # One cell more on each side: an atom can lie outside of the cell that it is counted to.
    low, high = np.floor(reach.min(axis=0)) - 1, np.ceil(reach.max(axis=0)) + 1
    cells = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True))), axis=-1).reshape(-1, 1, 2)
    fractions = (cells + layer.monolayer.scaled).reshape(-1, 2)
    sites = np.tile(np.arange(len(layer.monolayer.symbols)), len(cells))
    return fractions @ layer.rows + layer.origin, sites


def cells(ax: Axes, layers: Sequence[ResolvedLayer], extent: tuple[float, float, float, float]) -> None:
    """One cell of each layer, near the middle of an extent and within it if it fits; a and b are named on the first."""
    first = layers[0]
    corner = _cell_within(first, extent)
    for layer, colour in zip(layers, palette.LAYERS, strict=False):
        offset = layer.origin - first.origin
        away = np.rint(offset @ np.linalg.inv(layer.rows))
        base = corner + offset - away @ layer.rows
        a, b = layer.rows
        shape = np.array([base, base + a, base + a + b, base + b])
        ax.add_patch(Polygon(shape, fc="none", ec="white", lw=2.6, joinstyle="round"))
        ax.add_patch(Polygon(shape, fc="none", ec=colour, lw=1.6, joinstyle="round"))
    letter: dict[str, Any] = {
        "color": "white",
        "style": "italic",
        "weight": "bold",
        "size": 12,
        "ha": "center",
        "va": "center",
    }
    for name, vector in zip("ab", first.rows, strict=True):
        arrow = {"arrowstyle": "-|>", "color": palette.LAYERS[0], "lw": 1.6, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", tuple(corner + vector), tuple(corner), arrowprops=arrow)
        # Beside the middle of its edge, outside the cell.
        outwards = vector / 2 - first.rows.sum(axis=0) / 2
        x, y = corner + vector / 2 + 0.045 * np.ptp(ax.get_xlim()) * outwards / np.linalg.norm(outwards)
        ax.text(x, y, name, clip_on=True, path_effects=[withStroke(linewidth=2.5, foreground="black")], **letter)


def key(ax: Axes, names: Sequence[str]) -> None:
    """The layers' colours, on dark ground in the upper right corner."""
    left, right = ax.get_xlim()
    top, step = max(ax.get_ylim()), 0.068 * (right - left)
    # A little more than the text, in the panel's inches.
    inches = ax.get_window_extent().width / palette.DPI
    width = (0.095 + max(text_width(name, _LETTERS) for name in names) / inches) * (right - left)
    height = (len(names) + 0.4) * step
    ax.add_patch(Rectangle((right - width, top - height), width, height, fc="black", ec="none", alpha=0.6, zorder=3))
    for i, (name, colour) in enumerate(zip(names, palette.LAYERS, strict=False)):
        y = top - (i + 0.7) * step
        ax.scatter(right - width + 0.04 * (right - left), y, s=42, c=colour, ec="white", lw=0.6, zorder=4)
        ax.text(
            right - width + 0.07 * (right - left), y, name, color="white", size=_LETTERS, va="center_baseline", zorder=4
        )


def _cell_within(layer: ResolvedLayer, extent: tuple[float, float, float, float]) -> FloatArray:
    """Origin of the cell that protrudes least from an extent, and of these the one nearest to its middle."""
    left, right, bottom, top = extent
    middle = np.array([left + right, bottom + top]) / 2
    nearest = np.rint((middle - layer.origin) @ np.linalg.inv(layer.rows) - 0.5)
    steps = np.stack(np.meshgrid(np.arange(-2, 3), np.arange(-2, 3)), axis=-1).reshape(-1, 2)
    origins = (nearest + steps) @ layer.rows + layer.origin
    corners = origins[:, None] + np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) @ layer.rows
    outside = np.maximum(np.array([left, bottom]) - corners, corners - np.array([right, top])).max(axis=(1, 2))
    distance = np.linalg.norm(corners.mean(axis=1) - middle, axis=1)
    return np.asarray(origins[np.lexsort((distance, np.maximum(outside, 0)))[0]])
