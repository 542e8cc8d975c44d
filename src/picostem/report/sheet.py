"""The figure's layout: which panels a result gets and where they stand, in inches from the upper left corner."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from picostem.physics import NM
from picostem.report import palette
from picostem.report.panel_image import atoms, cells, outline, scale_bar, show
from picostem.report.panel_map import deviation_scale, domain_name, draw_map, typical_sigma
from picostem.report.panel_slip import draw_cell, draw_windows
from picostem.report.stacking import resolved_stack
from picostem.report.view import View, detail_of, grey_limits, residual, whole
from picostem.report.words import fixed, formula, headline, status_counts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from picostem.resolve.result import Result

WIDTH, HEIGHT, PLAIN_HEIGHT = 16.0, 9.55, 7.2
LEFT, PANEL, GAP = 0.4, 3.56, 0.32
TOP, SECOND = 1.62, 5.62
"""Upper edges of the two rows of panels."""

RESIDUAL_LIMIT = 4.0
"""Standard deviations: white noise leaves this range once in 16 000 pixels."""


class Sheet(Figure):
    """A figure that shows itself in notebooks, whether or not pyplot has been imported."""

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        FigureCanvasAgg(self).print_png(stream)
        return stream.getvalue()


def draw(result: Result) -> Figure:
    """Draw a result. The user's own matplotlib settings have no influence, and are left as they are."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(palette.STYLE)
        full = bool(result.interfaces) and len(result.layers) > 1
        sheet = Sheet(figsize=(WIDTH, HEIGHT if full else PLAIN_HEIGHT))
        _headline(sheet, result)
        if full:
            _images(sheet, result)
            _stacking(sheet, result)
        else:
            _plain(sheet, result)
        return sheet


def _place(sheet: Figure, left: float, top: float, width: float, height: float, letter: str, title: str) -> Axes:
    """Axes of a panel with its letter and title above."""
    total = sheet.get_figheight()
    ax = sheet.add_axes((left / WIDTH, 1 - (top + height) / total, width / WIDTH, height / total))
    y = 1 - (top - 0.1) / total
    sheet.text(left / WIDTH, y, letter, weight="bold", size=13)
    sheet.text((left + 0.22) / WIDTH, y, title, size=10.5)
    return ax


def _column(index: int) -> float:
    return LEFT + index * (PANEL + GAP)


def _headline(sheet: Figure, result: Result) -> None:
    head, total = headline(result), sheet.get_figheight()
    lines = [
        (0.36, f"{head.subject}   {head.finding}", {"size": 21, "weight": "bold"}),
        (0.72, "   ".join(part for part in (head.fractions, result.reason or "") if part), {"size": 13}),
        (1.06, "   ·   ".join([*head.facts, result.image.name]), {"size": 10.5, "color": palette.FAINT}),
    ]
    for top, text, style in lines:
        sheet.text(LEFT / WIDTH, 1 - top / total, _with_glyphs(text), va="center", **style)


def _with_glyphs(text: str) -> str:
    """The text with a box in place of what the font does not have (a file's name can be in any script)."""
    charmap = get_font(findfont(FontProperties(family=["DejaVu Sans"]))).get_charmap()
    return "".join(c if c.isprintable() and ord(c) in charmap else "\N{WHITE SQUARE}" for c in text)


def _images(sheet: Figure, result: Result) -> None:
    """The upper row: image, detail with atoms, the same from the model, residual."""
    image = whole(result)
    detail = image.cut(*detail_of(result))
    limits = grey_limits(image.data)
    ax = _place(sheet, _column(0), TOP, PANEL, PANEL, "a", f"image, {image.width / NM:.3g} nm wide")
    show(ax, image.binned(), limits)
    outline(ax, detail.extent)
    scale_bar(ax, image.width)
    limits = grey_limits(detail.data)
    ax = _place(sheet, _column(1), TOP, PANEL, PANEL, "b", "detail with the resolved atoms")
    show(ax, detail, limits)
    _overlay(ax, result, detail)
    if result.simulated is None:
        return
    ax = _place(sheet, _column(2), TOP, PANEL, PANEL, "c", "the same detail, simulated from the result")
    show(ax, whole(result, result.simulated).cut(*detail_of(result)), limits)
    scale_bar(ax, detail.width)
    left = _column(3)
    ax = _place(sheet, left, TOP, PANEL - 0.52, PANEL - 0.52, "d", "image − simulation, in σ of the noise")
    shown = show(ax, residual(result), (-RESIDUAL_LIMIT, RESIDUAL_LIMIT), palette.SIGNED)
    _colour_bar(sheet, ax, shown, "σ")


def _overlay(ax: Axes, result: Result, detail: View) -> None:
    """Atoms on the right side of the detail, cells on its left."""
    left, right, bottom, top = detail.extent
    middle = left + 0.46 * (right - left)
    atoms(ax, result.layers, (middle, right, bottom, top))
    cells(ax, result.layers, np.array([left + 0.23 * (right - left), (bottom + top) / 2]))
    ax.axvline(middle, color="white", lw=0.8, ls=(0, (2, 2)))
    scale_bar(ax, detail.width)
    _layer_key(ax, result)


def _layer_key(ax: Axes, result: Result) -> None:
    names = [formula(layer.monolayer.name) for layer in result.layers]
    for i, (name, colour) in enumerate(zip(names, palette.LAYERS, strict=False)):
        text = f"● layer {i + 1}" if len(set(names)) == 1 else f"● {i + 1}: {name}"
        box = {"fc": "black", "ec": "none", "alpha": 0.6, "pad": 2.5}
        ax.text(
            0.975, 0.965 - 0.066 * i, _with_glyphs(text), transform=ax.transAxes, color=colour, ha="right", va="top",
            size=9.5, weight="bold", bbox=box,
        )  # fmt: skip


def _colour_bar(sheet: Figure, ax: Axes, shown: object, label: str) -> Axes:
    box = ax.get_position()
    bar = sheet.add_axes((box.x1 + 0.1 / WIDTH, box.y0, 0.13 / WIDTH, box.height))
    sheet.colorbar(shown, cax=bar)  # type: ignore[arg-type]
    bar.set_title(label, size=9, pad=4, loc="left")
    return bar


def _stacking(sheet: Figure, result: Result) -> None:
    """The lower row: slip on the cell, windows around it, map, and the key to them."""
    stack, with_slip = resolved_stack(result.layers), result.verdict == "slip"
    side = PANEL - 0.5
    title = "slip D on the cell of layer 1, crystal frame" if with_slip else "cells of the two layers, crystal frame"
    ax = _place(sheet, _column(0) + 0.42, SECOND, side, side, "e", title)
    draw_cell(ax, stack, result.interfaces[0] if with_slip else None)
    if result.map is None or not with_slip:
        return
    scale = deviation_scale(result)
    ax = _place(sheet, _column(1) + 0.5, SECOND, side, side, "f", "slips of the windows, seen from D")
    draw_windows(ax, result.interfaces[0], result.map, scale)
    rows, cols = result.image.data.shape
    dy, dx = result.image.pixel_size or (1.0, 1.0)
    wide = min(side * cols * dx / (rows * dy), 1.5 * side)
    ax = _place(sheet, _column(2), SECOND, wide, side, "g", "map: distance of each window's slip from D")
    bar = _colour_bar(sheet, ax, draw_map(ax, result, scale), "Å")
    bar.axhline(typical_sigma(result.map), color="white", lw=1.6)
    scale_bar(ax, cols * dx)
    _key(sheet, result, _column(2) + wide + 0.85)


def _key(sheet: Figure, result: Result, left: float) -> None:
    """What the lower row shows, in words."""
    assert result.map is not None
    counts = status_counts(result)
    others = ", ".join(f"{n} {name}" for name, n in counts.items() if name != "ok")
    lines = [("Windows", f"{result.map.window / NM:.3g} nm wide, {result.map.stride / NM:.3g} nm apart")]
    lines += [("", f"{counts.get('ok', 0)} ok" + (f"; hatched: {others}" if others else ""))]
    lines += [("Error", f"{typical_sigma(result.map):.3f} Å for a window (1σ)"), ("", "(white line on the colour bar)")]
    lines += [("Spread", f"{result.interfaces[0].slip_spread:.3f} Å beyond the errors")]
    for index, domain in enumerate(result.map.domains if len(result.map.domains) > 1 else ()):
        x, y = (fixed(float(v), 3) for v in domain.slip)
        lines.append((f"Domain {domain_name(index)}", f"({x}, {y}) Å, {100 * domain.share:.0f} %"))
    total = sheet.get_figheight()
    for i, (name, text) in enumerate(lines):
        y = 1 - (SECOND + 0.08 + 0.21 * i) / total
        sheet.text(left / WIDTH, y, name, size=9, weight="bold", va="center")
        sheet.text((left + 0.72) / WIDTH, y, text, size=9, va="center")


def _plain(sheet: Figure, result: Result) -> None:
    """Image, and a detail of it, where no stacking was found."""
    side = PLAIN_HEIGHT - TOP - 0.3
    image = whole(result)
    calibrated = result.image.pixel_size is not None
    title = f"image, {image.width / NM:.3g} nm wide" if calibrated else "image, pixel size unknown"
    ax = _place(sheet, LEFT, TOP, side, side, "a", title)
    show(ax, image.binned(2 * 540), grey_limits(image.data))
    scale_bar(ax, image.width, calibrated)
    if result.layers:
        detail = image.cut(*detail_of(result))
        outline(ax, detail.extent)
        ax = _place(sheet, LEFT + side + 2 * GAP, TOP, side, side, "b", "detail with the resolved atoms")
        show(ax, detail, grey_limits(detail.data))
        _overlay(ax, result, detail)
