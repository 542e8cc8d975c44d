"""The panel of a twist: the atoms of all layers over a field in which their registry changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from picostem.report import palette
from picostem.report.panel_image import lattice_points, relative_radii, scale_bar
from picostem.report.view import whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from picostem.resolve.result import ResolvedLayer, Result

FloatArray = NDArray[np.float64]

PERIODS = 3.2
"""Moiré periods across the panel."""

MAX_SIDE = 260.0
"""Å: a field with room for some thousands of atoms, which can still be seen one by one."""


def moire_period(lower: ResolvedLayer, upper: ResolvedLayer) -> float:
    """Longest period of the moiré of two lattices, Å: 1/|g1 - g2| for the closest pair of shortest reciprocal vectors.

    Infinite for equal lattices.
    """
    g1, g2 = (_shortest_reciprocal(layer.rows) for layer in (lower, upper))
    difference = np.linalg.norm(g1[:, None] - g2[None], axis=-1).min(axis=1)
    shortest = float(difference.max())
    # 1e-6 1/Å: a period of 0.1 mm.
    return 1 / shortest if shortest > 1e-6 else float("inf")


def _shortest_reciprocal(rows: FloatArray) -> FloatArray:
    """The reciprocal vectors of the first order, both signs, 1/Å."""
    a, b = np.linalg.inv(rows).T
    candidates = np.array([a, b, a + b, a - b])
    kept = candidates[np.argsort(np.linalg.norm(candidates, axis=1))[:2]]
    return np.concatenate([kept, -kept])


def draw_registry(ax: Axes, result: Result) -> None:
    """The heavier atoms of each layer in the image frame, about the image centre; width and height as the axes'."""
    period = moire_period(result.layers[0], result.layers[1])
    view = whole(result)
    height = view.extent[3] - view.extent[2]
    box = ax.get_window_extent()
    wide = min(PERIODS * period, MAX_SIDE, view.width, height * box.width / box.height)
    half = np.array([wide, wide * box.height / box.width]) / 2
    ax.set(xlim=(-half[0], half[0]), ylim=(-half[1], half[1]), xticks=[], yticks=[], aspect="equal")
    points = 72 / palette.DPI * box.width / wide
    for layer, colour in zip(result.layers, palette.LAYERS, strict=False):
        positions, sites = lattice_points(layer, (-half[0], half[0], -half[1], half[1]))
        # 0.8 of the largest radius is two thirds of the largest atomic number.
        heavy = relative_radii(layer.monolayer)[sites] > 0.8
        x, y = positions[heavy].T
        ax.scatter(x, y, s=(1.5 * points) ** 2, c=colour, alpha=0.6, linewidths=0)
    scale_bar(ax)
