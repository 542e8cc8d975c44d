"""The figure's layout: which panels a result gets and where they stand, in inches from the upper left corner."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from picostem.physics import NM
from picostem.report import palette
from picostem.report.key import map_key, plain_key, twist_key
from picostem.report.lettering import shortened, with_glyphs, wrapped
from picostem.report.panel_image import atoms, cells, key, outline, scale_bar, show
from picostem.report.panel_map import deviation_scale, draw_map, typical_sigma
from picostem.report.panel_slip import draw_cell, draw_windows
from picostem.report.panel_twist import draw_registry
from picostem.report.stacking import resolved_stack
from picostem.report.view import View, detail_of, grey_limits, residual, whole
from picostem.report.words import formula, headline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable

    from picostem.resolve.result import Result

WIDTH, HEIGHT = 16.0, 9.3
LEFT, PANEL, GAP = 0.4, 3.5, 0.34
TOP, SECOND = 1.62, 5.6
"""Upper edges of the two rows of panels."""

PLAIN_PANEL = 5.4
"""Side of the panels where no stacking was found."""

WORDS = 4.2
"""Width of the column of words beside an image in which nothing was found."""

TICKS = 0.46
"""Room that axes with numbers need to their left and below."""

MAX_REASON = 4
"""Lines that the reason of a verdict, or one entry of a key, may take."""

RESIDUAL_LIMIT = 4.0
"""Standard deviations: white noise leaves this range once in 16 000 pixels."""


class Sheet(Figure):
    """A figure that shows itself in notebooks, whether or not pyplot has been imported.

    Attributes:
        drop: inches by which the panels stand lower, because the headline takes more lines.
    """

    drop = 0.0

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        FigureCanvasAgg(self).print_png(stream)
        return stream.getvalue()


def draw(result: Result) -> Sheet:
    """Draw a result. The user's own matplotlib settings have no influence, and are left as they are."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(palette.STYLE)
        if result.interfaces and len(result.layers) > 1:
            sheet = _sheet(result, WIDTH, HEIGHT)
            _images(sheet, result)
            (_slip if result.verdict == "slip" else _twist)(sheet, result)
        else:
            width = LEFT + PLAIN_PANEL + GAP + (PLAIN_PANEL + LEFT if result.layers else WORDS)
            sheet = _sheet(result, width, TOP + PLAIN_PANEL + 0.3)
            _plain(sheet, result)
        return sheet


def headline_rows(sheet: Sheet) -> int:
    """Pixel rows above the panels' titles."""
    return round((TOP - 0.4 + sheet.drop) * sheet.dpi)


def _sheet(result: Result, width: float, height: float) -> Sheet:
    """An empty sheet with its headline: the finding, fractions or reason, and how far to trust them."""
    head, room = headline(result), width - 2 * LEFT
    size, line = 13.0, 0.29
    below = with_glyphs("; ".join(filter(None, (head.fractions, result.reason))))
    reason = wrapped(below, room, size)[:MAX_REASON]
    drop = line * (max(len(reason), 1) - 1)
    sheet = Sheet(figsize=(width, height + drop))
    sheet.drop = drop
    colour = palette.WARNING if result.verdict == "unresolved" else palette.INK
    lines = [(0.38, ":  ".join(filter(None, (head.subject, head.finding))), 21.0, colour)]
    lines += [(0.76 + line * i, text, size, palette.INK) for i, text in enumerate(reason)]
    lines.append((1.09 + drop, "   ·   ".join([*head.facts, result.image.name]), 10.5, palette.FAINT))
    for i, (top, text, size, colour) in enumerate(lines):
        shown = shortened(with_glyphs(text), room, size, bold=i == 0)
        weight = "normal" if i else "bold"
        sheet.text(LEFT / width, 1 - top / (height + drop), shown, size=size, color=colour, weight=weight, va="center")
    return sheet


def _place(sheet: Sheet, left: float, top: float, side: tuple[float, float], letter: str, title: str) -> Axes:
    """Axes of a panel, (width, height) large, with its letter and title above."""
    width, height = sheet.get_size_inches()
    top += sheet.drop
    ax = sheet.add_axes((left / width, 1 - (top + side[1]) / height, side[0] / width, side[1] / height))
    y = 1 - (top - 0.1) / height
    sheet.text(left / width, y, letter, weight="bold", size=13)
    sheet.text((left + 0.22) / width, y, title, size=10.5)
    return ax


def _column(index: int) -> float:
    return LEFT + index * (PANEL + GAP)


def _images(sheet: Sheet, result: Result) -> None:
    """The upper row: image, detail with atoms, the same from the model, residual."""
    image = whole(result)
    detail = image.cut(*detail_of(result))
    square = (PANEL, PANEL)
    ax = _place(sheet, _column(0), TOP, square, "a", f"image, {image.width / NM:.3g} nm wide")
    show(ax, image.binned(), grey_limits(image.data))
    outline(ax, detail.extent)
    scale_bar(ax)
    limits = grey_limits(detail.data)
    ax = _place(sheet, _column(1), TOP, square, "b", "detail with the resolved atoms")
    show(ax, detail, limits)
    _overlay(ax, result, detail)
    if result.simulated is None:
        return
    ax = _place(sheet, _column(2), TOP, square, "c", "the same detail, simulated from the result")
    show(ax, whole(result, result.simulated).cut(*detail_of(result)), limits)
    scale_bar(ax)
    ax = _place(sheet, _column(3), TOP, square, "d", "image − simulation, in σ of the noise")
    shown = show(ax, residual(result), (-RESIDUAL_LIMIT, RESIDUAL_LIMIT), palette.SIGNED)
    # Sharp pixels: blending neighbours would take noise away.
    shown.set_interpolation("nearest")
    _colour_bar(sheet, ax, shown)


def _overlay(ax: Axes, result: Result, detail: View) -> None:
    """Atoms on the right side of the detail, cells on its left."""
    left, right, bottom, top = detail.extent
    middle = left + 0.48 * (right - left)
    atoms(ax, result.layers, (middle, right, bottom, top))
    # Above the scale bar.
    cells(ax, result.layers, (left, middle, bottom + 0.2 * (top - bottom), top))
    ax.axvline(middle, color="white", lw=0.8, ls=(0, (2, 2)))
    scale_bar(ax)
    names = [with_glyphs(formula(layer.monolayer.name)) for layer in result.layers]
    key(ax, [f"layer {i + 1}" if len(set(names)) == 1 else name for i, name in enumerate(names)])


def _colour_bar(sheet: Figure, ax: Axes, shown: ScalarMappable) -> Axes:
    box, width = ax.get_position(), sheet.get_figwidth()
    bar = sheet.add_axes((box.x1 + 0.09 / width, box.y0, 0.13 / width, box.height))
    sheet.colorbar(shown, cax=bar)
    return bar


def _slip(sheet: Sheet, result: Result) -> None:
    """The lower row of a slip: on the cell, window by window, as a map, and the key to them."""
    side = PANEL - TICKS
    ax = _place(sheet, _column(0) + TICKS, SECOND, (side, side), "e", "slip D on the cell of layer 1")
    draw_cell(ax, resolved_stack(result.layers), result.interfaces[0], result.map)
    if result.map is None:
        return
    ax = _place(sheet, _column(1) + TICKS, SECOND, (side, side), "f", "slips of the windows around their mean")
    draw_windows(ax, result.interfaces[0], result.map)
    scale = deviation_scale(result)
    ax = _place(sheet, _column(2), SECOND, (PANEL, PANEL), "g", "map: each window's distance from D, in Å")
    bar = _colour_bar(sheet, ax, draw_map(ax, result, scale))
    bar.axhline(typical_sigma(result.map), color="white", lw=1.6)
    scale_bar(ax)
    _lines(sheet, _column(3) + 0.55, SECOND, map_key(result))


def _twist(sheet: Sheet, result: Result) -> None:
    """The lower row of a twist: the cells, how the registry changes over the image, and what follows from the angle."""
    side = PANEL - TICKS
    ax = _place(sheet, _column(0) + TICKS, SECOND, (side, side), "e", "cells of the layers, crystal frame")
    draw_cell(ax, resolved_stack(result.layers), None)
    wide = (2 * PANEL + GAP, PANEL)
    ax = _place(sheet, _column(1), SECOND, wide, "f", "heavy atoms of the layers, as resolved, image frame")
    draw_registry(ax, result)
    _lines(sheet, _column(3), SECOND, twist_key(result))


def _plain(sheet: Sheet, result: Result) -> None:
    """Image, and a detail of it with the layer's atoms, or in words what was looked for."""
    square = (PLAIN_PANEL, PLAIN_PANEL)
    image = whole(result)
    calibrated = (result.image.pixel_size or result.pixel_size_lattice) is not None
    title = f"image, {image.width / NM:.3g} nm wide" if calibrated else "image, pixel size unknown"
    ax = _place(sheet, LEFT, TOP, square, "a", title)
    # The panels are larger here than those of a stacking.
    show(ax, image.binned(800), grey_limits(image.data))
    scale_bar(ax, calibrated)
    if not result.layers:
        _lines(sheet, LEFT + PLAIN_PANEL + GAP, TOP, plain_key(result), 11.0)
        return
    detail = image.cut(*detail_of(result))
    outline(ax, detail.extent)
    ax = _place(sheet, LEFT + PLAIN_PANEL + GAP, TOP, square, "b", "detail with the resolved atoms")
    show(ax, detail, grey_limits(detail.data))
    _overlay(ax, result, detail)


def _lines(sheet: Sheet, left: float, top: float, lines: list[tuple[str, str]], size: float = 9.0) -> None:
    """Pairs of a word and what it is, below each other, as far as they fit."""
    width, height = sheet.get_size_inches()
    indent, line = 0.094 * size, 0.0212 * size
    room = width - left - indent - 0.1
    y = top + sheet.drop + line / 2
    for name, text in lines:
        parts = wrapped(with_glyphs(text), room, size)[:MAX_REASON]
        if y + line * len(parts) > height - line:
            break
        sheet.text(left / width, 1 - y / height, with_glyphs(name), size=size, weight="bold", va="center")
        for part in parts:
            sheet.text((left + indent) / width, 1 - y / height, part, size=size, va="center")
            y += line
        y += line / 3
