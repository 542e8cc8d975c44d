"""Panels of layers with lattices of their own: their atoms over a moiré, and each layer by itself."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.patches import Polygon
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from picostem.report import palette
from picostem.report.panel_image import atoms, lattice_points, relative_radii, scale_bar, show
from picostem.report.registry import coincidence, layers_of, moire_period, own_lattices
from picostem.report.view import View, whole
from picostem.resolve.settings import DETECTOR
from picostem.structure.moire import moire_vectors

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from picostem.resolve.result import FittedMicroscope, ResolvedLayer, Result
    from picostem.simulate import Microscope

FloatArray = NDArray[np.float64]

PERIODS = 3.2
"""Moiré periods across a panel that shows the registry."""

MAX_SIDE = 260.0
"""Å: a field with room for some thousands of atoms, which can still be seen one by one."""

LAYER_PIXELS = 200
"""Pixels across a layer that is simulated by itself: an atom's image of 1 Å is some ten wide."""


def registry_field(ax: Axes, result: Result) -> tuple[float, float]:
    """Half width and half height, Å, of the field about the image's centre that some moiré periods fill, and set it."""
    periods = [moire_period(result, interface) for interface in result.interfaces if own_lattices(interface)]
    view, box = whole(result), ax.get_window_extent()
    tall = view.extent[3] - view.extent[2]
    wide = min(PERIODS * min(periods), MAX_SIDE, view.width, tall * box.width / box.height)
    half = wide / 2, wide * box.height / box.width / 2
    ax.set(xlim=(-half[0], half[0]), ylim=(-half[1], half[1]), xticks=[], yticks=[], aspect="equal")
    return half


def draw_registry(ax: Axes, result: Result) -> None:
    """The heavier atoms of each layer in the image frame, about the image centre, and the cell of each moiré."""
    half = registry_field(ax, result)
    points = 72 / palette.DPI * ax.get_window_extent().width / (2 * half[0])
    for layer, colour in zip(result.layers, palette.LAYERS, strict=False):
        positions, sites = lattice_points(layer, (-half[0], half[0], -half[1], half[1]))
        # 0.8 of the largest radius is two thirds of the largest atomic number.
        heavy = relative_radii(layer.monolayer)[sites] > 0.8
        x, y = positions[heavy].T
        ax.scatter(x, y, s=(1.5 * points) ** 2, c=colour, alpha=0.6, linewidths=0)
    for interface in result.interfaces:
        if own_lattices(interface):
            moire_cell(ax, *layers_of(result, interface))
    scale_bar(ax)


def moire_cell(ax: Axes, lower: ResolvedLayer, upper: ResolvedLayer) -> None:
    """The outline of one moiré cell, its corners where the layers' origins coincide, as far inside as can be."""
    rows, corner = moire_vectors(lower.rows, upper.rows), coincidence(lower, upper)
    if rows is None or corner is None:
        return
    outline = np.array([np.zeros(2), rows[0], rows.sum(axis=0), rows[1]])
    steps = np.stack(np.meshgrid(np.arange(-2, 2), np.arange(-2, 2)), axis=-1).reshape(-1, 2)
    cells = corner + (steps @ rows)[:, None] + outline
    # The least that sticks out of the panel; of equals, the nearest to the middle.
    out = np.maximum(np.abs(cells) - (ax.get_xlim()[1], ax.get_ylim()[1]), 0).max(axis=(1, 2))
    shape = cells[np.lexsort((np.linalg.norm(cells.mean(axis=1), axis=1), out))[0]]
    glow = [withStroke(linewidth=4.0, foreground=palette.PAPER)]
    ax.add_patch(Polygon(shape, fc="none", ec=palette.INK, lw=1.8, joinstyle="round", path_effects=glow))


def draw_apart(ax: Axes, result: Result, detail: View) -> None:
    """Each layer simulated by itself over a detail, in its own colour; light adds up where layers do.

    Without a microscope, the layers' atoms.
    """
    left, right, bottom, top = detail.extent
    pictures = [] if result.microscope is None else layer_images(result, detail)
    colours = np.zeros((LAYER_PIXELS, LAYER_PIXELS, 3)) if not pictures else _coloured(pictures)
    shown = show(ax, View(np.zeros((1, 1), dtype=np.float32), detail.extent), (0, 1))
    shown.set_data(colours)
    if not pictures:
        atoms(ax, result.layers, (left, right, bottom, top))
    scale_bar(ax)


def _coloured(pictures: list[NDArray[np.float32]]) -> FloatArray:
    """Pictures of the layers as lights of their colours, shape (rows, columns, 3), from 0 to 1."""
    low, high = min(float(p.min()) for p in pictures), max(float(p.max()) for p in pictures)
    lights = [
        (p[..., None] - low) / (high - low or 1.0) * to_rgb(c) for p, c in zip(pictures, palette.LAYERS, strict=False)
    ]
    return np.asarray(np.clip(1.25 * np.sum(lights, axis=0), 0, 1))


def layer_images(result: Result, detail: View) -> list[NDArray[np.float32]]:
    """What each layer alone adds to the image of a detail, as the fitted microscope sees it, each (rows, columns)."""
    from picostem.report.stacking import resolved_stack
    from picostem.simulate import simulate_periodic
    from picostem.structure import Stack

    assert result.microscope is not None
    microscope = _as_simulated(result.microscope)
    left, right, bottom, top = detail.extent
    centre, step = np.array([left + right, bottom + top]) / 2, (right - left) / LAYER_PIXELS
    shape = max(1, round((top - bottom) / step)), LAYER_PIXELS
    images = []
    for layer, stacked in zip(result.layers, resolved_stack(result.layers).layers, strict=True):
        # From its lattice point nearest to the detail: distortion adds up with the distance.
        cells = np.rint((centre - layer.origin) @ np.linalg.inv(layer.rows))
        x, y = layer.origin + cells @ layer.rows - centre
        alone = Stack((replace(stacked, monolayer=layer.monolayer, position=(0.0, 0.0), twist=0.0),))
        place = {"rotation": layer.rotation, "mirrored": layer.mirrored, "origin": (float(x), float(y))}
        images.append(simulate_periodic(alone, microscope, shape, step, **place))  # type: ignore[arg-type]
    return images


def _as_simulated(m: FittedMicroscope) -> Microscope:
    """The fitted microscope for the simulation, with the detector that is usual for its semiangle."""
    from picostem.simulate import Microscope

    inner, outer = (ratio * m.semiangle for ratio in DETECTOR)
    names = ("voltage_eV", "semiangle", "defocus", "C12", "phi12", "C21", "phi21", "source_fwhm")
    values = {name: getattr(m, name) for name in names}
    return Microscope(detector_inner=inner, detector_outer=min(outer, 0.49 * math.pi), **values)
