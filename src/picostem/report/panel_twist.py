"""The panel of a twist: the atoms of all layers over a field in which their registry changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from picostem.report import palette
from picostem.report.panel_image import lattice_points, relative_radii, scale_bar
from picostem.report.view import whole
from picostem.structure.lattice import reduced, shortest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from picostem.resolve.result import ResolvedLayer, Result

FloatArray = NDArray[np.float64]

PERIODS = 3.2
"""Moiré periods across the panel."""

MAX_SIDE = 260.0
"""Å: a field with room for some thousands of atoms, which can still be seen one by one."""


def moire_period(lower: ResolvedLayer, upper: ResolvedLayer) -> float:
    """Lattice constant of the moiré of two lattices, the shortest there is, Å; infinite for equal lattices.

    Its reciprocal vectors are the differences of the lower lattice's and the nearest ones of the upper; for two equal
    hexagonal lattices at a twist t that is a/(2 sin(t/2)).
    """
    g1, g2 = (reduced(np.asarray(np.linalg.inv(layer.rows).T)) for layer in (lower, upper))
    beats = shortest(g1, g2)
    longest = float(np.linalg.norm(beats, axis=1).max())
    # 1e-6 1/Å: a period of 0.1 mm.
    if longest < 1e-6:
        return float("inf")
    # Lattices that differ along one direction only beat along it alone: no cell, but a distance of fringes.
    if abs(np.linalg.det(beats)) < 1e-3 * longest**2:
        return 1 / longest
    return float(np.linalg.norm(reduced(np.asarray(np.linalg.inv(beats).T)), axis=1).min())


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
