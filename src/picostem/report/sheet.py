"""The sheet that panels are put on: its headline, places in inches from the upper left corner, bars and keys."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from picostem.report import palette
from picostem.report.lettering import shortened, text_width, with_glyphs, wrapped
from picostem.report.words import headline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable

    from picostem.resolve.result import Result

LEFT = 0.4
TOP = 1.62
"""Upper edge of the first row of panels."""

MAX_REASON = 4
"""Lines that the reason of a verdict, or one entry of a key, may take."""

FINDING_SIZES = (21.0, 18.0, 15.5)
"""Points of the finding, the largest in which it fits into a line."""


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


def headline_rows(sheet: Sheet) -> int:
    """Pixel rows above the panels' titles."""
    return round((TOP - 0.4 + sheet.drop) * sheet.dpi)


def titled_sheet(result: Result, width: float, height: float) -> Sheet:
    """An empty sheet with its headline: the finding, fractions or reason, and how far to trust them."""
    head, room = headline(result), width - 2 * LEFT
    size, line = 13.0, 0.29
    below = with_glyphs("; ".join(filter(None, (head.fractions, result.reason))))
    reason = wrapped(below, room, size)[:MAX_REASON]
    drop = line * (max(len(reason), 1) - 1)
    sheet = Sheet(figsize=(width, height + drop))
    sheet.drop = drop
    colour = palette.WARNING if result.verdict == "unresolved" else palette.INK
    finding = with_glyphs(":  ".join(filter(None, (head.subject, head.finding))))
    fitting = [size for size in FINDING_SIZES if text_width(finding, size, bold=True) <= room]
    lines = [(0.38, finding, [*fitting, FINDING_SIZES[-1]][0], colour)]
    lines += [(0.76 + line * i, text, size, palette.INK) for i, text in enumerate(reason)]
    lines.append((1.09 + drop, "   ·   ".join([*head.facts, result.image.name]), 10.5, palette.FAINT))
    for i, (top, text, size, colour) in enumerate(lines):
        shown = shortened(with_glyphs(text), room, size, bold=i == 0)
        weight = "normal" if i else "bold"
        sheet.text(LEFT / width, 1 - top / (height + drop), shown, size=size, color=colour, weight=weight, va="center")
    return sheet


def place(sheet: Sheet, left: float, top: float, side: tuple[float, float], letter: str, title: str) -> Axes:
    """Axes of a panel, (width, height) large, with its letter and title above."""
    width, height = sheet.get_size_inches()
    top += sheet.drop
    ax = sheet.add_axes((left / width, 1 - (top + side[1]) / height, side[0] / width, side[1] / height))
    y = 1 - (top - 0.1) / height
    sheet.text(left / width, y, letter, weight="bold", size=13)
    sheet.text((left + 0.22) / width, y, title, size=10.5)
    return ax


def colour_bar(sheet: Figure, ax: Axes, shown: ScalarMappable) -> Axes:
    """A bar of the panel's colours to its right."""
    box, width = ax.get_position(), sheet.get_figwidth()
    bar = sheet.add_axes((box.x1 + 0.09 / width, box.y0, 0.13 / width, box.height))
    sheet.colorbar(shown, cax=bar)
    return bar


def write_lines(sheet: Sheet, left: float, top: float, lines: list[tuple[str, str]], size: float = 9.0) -> None:
    """Pairs of a word and what it is, below each other, as far as they fit."""
    width, height = sheet.get_size_inches()
    indent, line = 0.094 * size, 0.0212 * size
    room = width - left - indent - 0.1
    y = top + sheet.drop + line / 2
    for index, (name, text) in enumerate(lines):
        parts = wrapped(with_glyphs(text), room, size)[:MAX_REASON]
        # A line without a name goes on from the one above.
        y += line / 3 if name and index else 0.0
        if y + line * len(parts) > height - line:
            break
        sheet.text(left / width, 1 - y / height, with_glyphs(name), size=size, weight="bold", va="center")
        for part in parts:
            sheet.text((left + indent) / width, 1 - y / height, part, size=size, va="center")
            y += line
