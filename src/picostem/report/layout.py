"""The figure's layout: which panels a result gets and where they stand, in inches from the upper left corner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib

from picostem.physics import NM
from picostem.report import palette
from picostem.report.key import plain_key, slip_key, twist_key
from picostem.report.lettering import with_glyphs
from picostem.report.panel_field import draw_slip_field, draw_twist_map, uniform
from picostem.report.panel_image import atoms, cells, key, outline, scale_bar, show
from picostem.report.panel_map import deviation_scale, draw_map, typical_sigma
from picostem.report.panel_slip import draw_cell, draw_cells, draw_windows
from picostem.report.panel_twist import draw_apart, draw_registry
from picostem.report.quantities import formula
from picostem.report.registry import own_lattices
from picostem.report.sheet import LEFT, TOP, Sheet, colour_bar, place, titled_sheet, write_lines
from picostem.report.stacking import resolved_stack
from picostem.report.view import View, detail_of, grey_limits, residual, whole
from picostem.report.words import symbol

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from picostem.resolve.result import Result

HEIGHT, PANEL, GAP = 9.3, 3.5, 0.34
SECOND = 5.6
"""Upper edge of the lower row of panels."""

RIGHT = 0.58
"""Room to the right of the last column, for the residual's bar."""

MAP = PANEL - 0.45
"""Width of a map with its bar between it and the next panel."""

PLAIN_PANEL = 5.4
"""Side of the panels where no stacking was found."""

WORDS = 4.2
"""Width of the column of words beside an image in which nothing was found."""

TICKS = 0.46
"""Room that axes with numbers need to their left and below."""

RESIDUAL_LIMIT = 4.0
"""Standard deviations: white noise leaves this range once in 16 000 pixels."""


def draw(result: Result) -> Sheet:
    """Draw a result. The user's own matplotlib settings have no influence, and are left as they are."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(palette.STYLE)
        if result.interfaces and len(result.layers) > 1:
            twisted = any(own_lattices(interface) for interface in result.interfaces)
            # Layers with lattices of their own are also shown apart.
            columns = 5 if twisted else 4
            sheet = titled_sheet(result, _column(columns) - GAP + RIGHT, HEIGHT)
            _images(sheet, result, twisted)
            (_twist if twisted else _slips)(sheet, result)
        else:
            width = LEFT + PLAIN_PANEL + GAP + (PLAIN_PANEL + LEFT if result.layers else WORDS)
            sheet = titled_sheet(result, width, TOP + PLAIN_PANEL + 0.3)
            _plain(sheet, result)
        return sheet


def _column(index: int) -> float:
    return LEFT + index * (PANEL + GAP)


def _images(sheet: Sheet, result: Result, apart: bool) -> None:
    """The upper row: image, detail with atoms, its layers apart, the same from the model, residual."""
    image = whole(result)
    detail = image.cut(*detail_of(result))
    square = (PANEL, PANEL)
    letters = iter("abcde")
    ax = place(sheet, _column(0), TOP, square, next(letters), f"image, {image.width / NM:.3g} nm wide")
    show(ax, image.binned(), grey_limits(image.data))
    outline(ax, detail.extent)
    scale_bar(ax)
    limits = grey_limits(detail.data)
    ax = place(sheet, _column(1), TOP, square, next(letters), "detail with the resolved atoms")
    show(ax, detail, limits)
    _overlay(ax, result, detail)
    if apart:
        ax = place(sheet, _column(2), TOP, square, next(letters), "its layers, each simulated by itself")
        draw_apart(ax, result, detail)
    if result.simulated is None:
        return
    ax = place(sheet, _column(2 + apart), TOP, square, next(letters), "the same detail, simulated from the result")
    show(ax, whole(result, result.simulated).cut(*detail_of(result)), limits)
    scale_bar(ax)
    ax = place(sheet, _column(3 + apart), TOP, square, next(letters), "image − simulation, in σ of the noise")
    shown = show(ax, residual(result), (-RESIDUAL_LIMIT, RESIDUAL_LIMIT), palette.SIGNED)
    # Sharp pixels: blending neighbours would take noise away.
    shown.set_interpolation("nearest")
    colour_bar(sheet, ax, shown)


def _overlay(ax: Axes, result: Result, detail: View) -> None:
    """Atoms on the right side of the detail, cells on its left."""
    left, right, bottom, top = detail.extent
    middle = left + 0.48 * (right - left)
    atoms(ax, result.layers, (middle, right, bottom, top))
    # Above the scale bar.
    cells(ax, result.layers, (left, middle, bottom + 0.2 * (top - bottom), top))
    ax.axvline(middle, color="white", lw=0.8, ls=(0, (2, 2)))
    scale_bar(ax)
    key(ax, _layer_names(result))


def _layer_names(result: Result) -> list[str]:
    """`layer 1` if all are of one material, `MoS₂` if all differ, `1: MoS₂` otherwise."""
    names = [with_glyphs(formula(layer.monolayer.name)) for layer in result.layers]
    if len(set(names)) == len(names) > 1:
        return names
    return [f"layer {i + 1}" if len(set(names)) == 1 else f"{i + 1}: {name}" for i, name in enumerate(names)]


def _slips(sheet: Sheet, result: Result) -> None:
    """The lower row of slips: on the cell, window by window, as a map, and the key; of three layers, two maps."""
    side, alone = PANEL - TICKS, len(result.interfaces) == 1
    title = "slip D on the cell of layer 1" if alone else "slips on the cell of layer 1"
    ax = place(sheet, _column(0) + TICKS, SECOND, (side, side), "e", title)
    draw_cell(ax, resolved_stack(result.layers), result.interfaces, result.maps)
    if not result.maps:
        return
    if alone:
        ax = place(sheet, _column(1) + TICKS, SECOND, (side, side), "f", "slips of the windows around their mean")
        draw_windows(ax, result.interfaces[0], result.maps[0])
        _slip_map(sheet, result, 0, _column(2), "g", PANEL)
    else:
        for index, letter in zip(range(len(result.maps)), "fg", strict=False):
            _slip_map(sheet, result, index, _column(1 + index), letter, MAP)
    write_lines(sheet, _column(3) + 0.55, SECOND, slip_key(result))


def _slip_map(sheet: Sheet, result: Result, index: int, left: float, letter: str, width: float) -> None:
    name = symbol(result, "D", result.interfaces[index])
    title = f"map: each window's distance from {name}, in Å" if width == PANEL else f"map: distance from {name}, in Å"
    ax = place(sheet, left, SECOND, (width, PANEL), letter, title)
    bar = colour_bar(sheet, ax, draw_map(ax, result, deviation_scale(result, index), index))
    bar.axhline(typical_sigma(result.maps[index]), color="white", lw=1.6)
    scale_bar(ax)


def _twist(sheet: Sheet, result: Result) -> None:
    """The lower row of a twist: the cells, the atoms over the moiré, maps, and the key."""
    side = PANEL - TICKS
    ax = place(sheet, _column(0) + TICKS, SECOND, (side, side), "f", "cells of the layers, crystal frame")
    draw_cells(ax, resolved_stack(result.layers))
    wide = PANEL if result.maps else 3 * PANEL + 2 * GAP
    title = "heavy atoms as resolved" if result.maps else "heavy atoms of the layers, as resolved, image frame"
    ax = place(sheet, _column(1), SECOND, (wide, PANEL), "g", title)
    draw_registry(ax, result)
    if result.maps:
        _twist_maps(sheet, result)
    write_lines(sheet, _column(4), SECOND, twist_key(result))


def _twist_maps(sheet: Sheet, result: Result) -> None:
    """Twist map and slip field of two layers; of three, for each interface the one that tells more."""
    first = result.maps[0]
    if len(result.maps) == 1 and first.twist is not None:
        _twist_map(sheet, result, 0, _column(2), "h")
        _slip_field(sheet, result, 0, _column(3), "i")
        return
    for index, letter in zip(range(len(result.maps)), "hi", strict=False):
        left, one = _column(2 + index), result.maps[index]
        if one.twist is None:
            _slip_map(sheet, result, index, left, letter, MAP)
        elif uniform(one):
            _slip_field(sheet, result, index, left, letter)
        else:
            _twist_map(sheet, result, index, left, letter)


def _twist_map(sheet: Sheet, result: Result, index: int, left: float, letter: str) -> None:
    name = symbol(result, "θ", result.interfaces[index])
    ax = place(sheet, left, SECOND, (MAP, PANEL), letter, f"map: twist {name} of each window, in °")
    colour_bar(sheet, ax, draw_twist_map(ax, result, index))
    scale_bar(ax)


def _slip_field(sheet: Sheet, result: Result, index: int, left: float, letter: str) -> None:
    name = symbol(result, "D", result.interfaces[index])
    ax = place(sheet, left, SECOND, (PANEL, PANEL), letter, f"local slip {name}(r), modulo the lattice")
    draw_slip_field(ax, result, index)


def _plain(sheet: Sheet, result: Result) -> None:
    """Image, and a detail of it with the layer's atoms, or in words what was looked for."""
    square = (PLAIN_PANEL, PLAIN_PANEL)
    image = whole(result)
    calibrated = (result.image.pixel_size or result.pixel_size_lattice) is not None
    title = f"image, {image.width / NM:.3g} nm wide" if calibrated else "image, pixel size unknown"
    ax = place(sheet, LEFT, TOP, square, "a", title)
    # The panels are larger here than those of a stacking.
    show(ax, image.binned(800), grey_limits(image.data))
    scale_bar(ax, calibrated)
    if not result.layers:
        write_lines(sheet, LEFT + PLAIN_PANEL + GAP, TOP, plain_key(result), 11.0)
        return
    detail = image.cut(*detail_of(result))
    outline(ax, detail.extent)
    ax = place(sheet, LEFT + PLAIN_PANEL + GAP, TOP, square, "b", "detail with the resolved atoms")
    show(ax, detail, grey_limits(detail.data))
    _overlay(ax, result, detail)
