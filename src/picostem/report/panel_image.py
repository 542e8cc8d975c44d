"""Panels that show an image: grey scale or residual, scale bar, the resolved atoms and cells on top."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase.data import atomic_numbers
from matplotlib.patches import Polygon, Rectangle
from numpy.typing import NDArray

from picostem.physics import NM
from picostem.report import palette
from picostem.report.view import View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

    from picostem.resolve.result import ResolvedLayer
    from picostem.structure import Monolayer

FloatArray = NDArray[np.float64]

RADIUS = 0.30
"""Å, with which an atom of the heaviest element is drawn."""


def show(ax: Axes, view: View, limits: tuple[float, float], colours: str = "gray") -> AxesImage:
    """The pixels of a view, without ticks."""
    ax.set_xticks([])
    ax.set_yticks([])
    picture = ax.imshow(view.data, cmap=colours, vmin=limits[0], vmax=limits[1], extent=view.extent, origin="upper")
    ax.set_autoscale_on(False)
    return picture


def scale_bar(ax: Axes, width: float, calibrated: bool = True) -> None:
    """A bar of a round length, about a quarter of the panel's width (in Å, or pixels), in its lower left corner."""
    length = round_length(0.3 * width)
    unit, shown = ("px", length) if not calibrated else ("nm", length / NM) if length >= NM else ("Å", length)
    left, right = ax.get_xlim()
    bottom = min(ax.get_ylim())
    x, y, step = left + 0.045 * width, bottom + 0.045 * width, right - left
    ax.add_patch(Rectangle((left, bottom), length + 0.09 * width, 0.135 * step, fc="black", ec="none", alpha=0.55))
    ax.add_patch(Rectangle((x, y), length, 0.014 * step, fc="white", ec="none"))
    ax.text(x + length / 2, y + 0.026 * step, f"{shown:g} {unit}", color="white", ha="center", va="bottom", size=9.5)


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
        size = (2 * RADIUS * points * relative_radii(layer.monolayer)[sites[inside]]) ** 2
        x, y = positions[inside].T
        ax.scatter(x, y, s=size, c=colour, edgecolors="white", linewidths=0.5, alpha=0.92)


def relative_radii(monolayer: Monolayer) -> FloatArray:
    """Radius of each site's disc over that of the heaviest: with the square root of the atomic number, shape (sites,)."""
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


def cells(ax: Axes, layers: Sequence[ResolvedLayer], near: FloatArray) -> None:
    """The cell of each layer whose middle is nearest to a point, with a and b as arrows on the first."""
    first = layers[0]
    step = np.rint((near - first.rows.sum(axis=0) / 2 - first.origin) @ np.linalg.inv(first.rows))
    corner = step @ first.rows + first.origin
    for layer, colour in zip(layers, palette.LAYERS, strict=False):
        offset = layer.origin - first.origin
        away = np.rint(offset @ np.linalg.inv(layer.rows))
        base = corner + offset - away @ layer.rows
        a, b = layer.rows
        shape = np.array([base, base + a, base + a + b, base + b])
        ax.add_patch(Polygon(shape, fc="none", ec="white", lw=2.6, joinstyle="round"))
        ax.add_patch(Polygon(shape, fc="none", ec=colour, lw=1.6, joinstyle="round"))
    for name, vector in zip("ab", first.rows, strict=True):
        arrow = {"arrowstyle": "-|>", "color": palette.LAYERS[0], "lw": 1.6, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", corner + vector, corner, arrowprops=arrow)
        x, y = corner + vector * (1 + 0.55 / np.linalg.norm(vector))
        ax.text(x, y, name, color="white", style="italic", weight="bold", ha="center", va="center", size=11, clip_on=True)
