"""Panels that show a slip: on the cell of the lower layer, and window by window around the interface's slip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.patches import Ellipse, Polygon
from numpy.typing import NDArray

from picostem.report import palette
from picostem.report.panel_image import relative_radii

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

    from picostem.resolve.result import Interface, SlipMap
    from picostem.structure import Layer, Stack

FloatArray = NDArray[np.float64]

CHI2_95 = -2 * np.log(0.05)
"""95 % quantile of chi² with two degrees of freedom."""


def draw_cell(ax: Axes, stack: Stack, interface: Interface | None) -> None:
    """The first two layers around one cell of the first, in the crystal frame; slip, its ellipse and equivalents.

    Without an interface, or with one that has no common slip, only atoms and cells are drawn.
    """
    lower = stack.layers[0]
    a, b = lower.cell
    middle = (a + b) / 2
    half = 0.62 * max(np.ptp([0, a[0], b[0], a[0] + b[0]]), np.ptp([0, a[1], b[1], a[1] + b[1]]))
    ax.set_xlim(middle[0] - half, middle[0] + half)
    ax.set_ylim(middle[1] - half, middle[1] + half)
    ax.set_aspect("equal")
    ax.set_xlabel("x (Å)", labelpad=1)
    ax.set_ylabel("y (Å)", labelpad=1)
    for layer, colour in zip(stack.layers[:2], palette.LAYERS, strict=False):
        _atoms(ax, layer, colour)
        corner = np.array(layer.position)
        shape = corner + np.array([(0, 0), layer.cell[0], layer.cell.sum(axis=0), layer.cell[1]])
        ax.add_patch(Polygon(shape, fc="none", ec=colour, lw=1.1, ls="-" if layer is lower else (0, (4, 2))))
    if interface is not None:
        _slip(ax, interface, lower.cell)


def _atoms(ax: Axes, layer: Layer, colour: str) -> None:
    steps = np.stack(np.meshgrid(np.arange(-2, 4), np.arange(-2, 4)), axis=-1).reshape(-1, 1, 2) @ layer.cell
    x, y = (steps + layer.positions[:, :2]).reshape(-1, 2).T
    points = 72 / palette.DPI * ax.get_window_extent().width / np.ptp(ax.get_xlim())
    size = np.tile((2 * 0.34 * points * relative_radii(layer.monolayer)) ** 2, len(steps))
    ax.scatter(x, y, s=size, c=colour, alpha=0.32, linewidths=0)


def _slip(ax: Axes, interface: Interface, cell: FloatArray) -> None:
    copies = np.stack(np.meshgrid(np.arange(-2, 4), np.arange(-2, 4)), axis=-1).reshape(-1, 1, 2) @ cell
    x, y = (copies + interface.equivalents).reshape(-1, 2).T
    ax.scatter(x, y, s=26, facecolors=palette.PAPER, edgecolors=palette.FAINT, linewidths=1.0)
    arrow = {"arrowstyle": "-|>,head_width=0.28,head_length=0.55", "color": palette.INK, "lw": 2.0}
    ax.annotate("", interface.slip, (0, 0), arrowprops={**arrow, "shrinkA": 0, "shrinkB": 0})
    ax.add_patch(ellipse(interface.slip, interface.slip_covariance, fc=palette.INK, alpha=0.35))
    where = interface.slip / 2
    ax.annotate("D", where, (7, 7), textcoords="offset points", weight="bold", size=12)


def ellipse(centre: FloatArray, covariance: FloatArray, **style: object) -> Ellipse:
    """The ellipse that holds the truth with 95 % probability."""
    values, vectors = np.linalg.eigh(covariance)
    width, height = 2 * np.sqrt(CHI2_95 * np.maximum(values, 0))
    angle = float(np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0])))
    return Ellipse((float(centre[0]), float(centre[1])), float(width), float(height), angle=angle, **style)  # type: ignore[arg-type]


def draw_windows(ax: Axes, interface: Interface, slip_map: SlipMap, colours: Normalize) -> None:
    """Slips of the windows that are ok, seen from the interface's slip, with the 95 % ellipses of mean and window."""
    ok = slip_map.status == "ok"
    deviation = slip_map.slip[ok] - interface.slip
    typical = np.median(slip_map.covariance[ok], axis=0) if ok.any() else interface.slip_covariance
    means = [(d.slip - interface.slip, d.slip_covariance) for d in slip_map.domains]
    reach = 1.15 * max(
        float(np.quantile(np.abs(deviation), 0.998)) if ok.any() else 0.0,
        float(np.sqrt(CHI2_95 * np.linalg.eigvalsh(interface.slip_covariance + typical)[-1])),
        *(float(np.abs(mean).max()) for mean, _ in means),
        1e-6,
    )
    ax.set_xlim(-reach, reach)
    ax.set_ylim(-reach, reach)
    ax.set_aspect("equal")
    ax.axhline(0, color=palette.RULE, lw=0.7, zorder=0)
    ax.axvline(0, color=palette.RULE, lw=0.7, zorder=0)
    length = np.linalg.norm(deviation, axis=1)
    ax.scatter(*deviation.T, c=length, cmap=palette.MAGNITUDE, norm=colours, s=13, linewidths=0.3, edgecolors="white")
    for mean, _ in means or [(np.zeros(2), None)]:
        ax.add_patch(ellipse(mean, typical, fc="none", ec=palette.FAINT, lw=1.0, ls=(0, (4, 2))))
    ax.add_patch(ellipse(np.zeros(2), interface.slip_covariance, fc="none", ec=palette.INK, lw=1.6))
    ax.set_xlabel("ΔD along x (Å)", labelpad=1)
    ax.set_ylabel("ΔD along y (Å)", labelpad=1)
    ax.locator_params(nbins=5)
