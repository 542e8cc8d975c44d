"""A contact sheet: patches side by side, each with a bar of one length, so that their scales can be compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib
from matplotlib.figure import Figure

from picostem.report import palette
from picostem.report.sheet import Sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from picostem.style.picture import Picture

COLUMNS, MOST = 6, 36
"""Patches in a row, and on the sheet."""
SIDE, GAP, LINE = 1.6, 0.08, 0.2
"""Inches: of a patch, between patches, of the line below each."""
BAR = 5.0
"""Å: length of the bars."""


def draw_contact_sheet(patches: Sequence[Picture]) -> Figure:
    """The first MOST patches in rows; below each its pixel size, and in it a bar of BAR, as the last line says."""
    shown = patches[:MOST]
    columns = min(COLUMNS, len(shown))
    rows = math.ceil(len(shown) / columns)
    width, height = columns * (SIDE + GAP) + GAP, rows * (SIDE + LINE + GAP) + GAP + LINE
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(palette.STYLE)
        sheet = Sheet(figsize=(width, height))
        for index, patch in enumerate(shown):
            row, column = divmod(index, columns)
            left, top = GAP + column * (SIDE + GAP), GAP + row * (SIDE + LINE + GAP)
            ax = sheet.add_axes((left / width, 1 - (top + SIDE) / height, SIDE / width, SIDE / height))
            _draw_patch(ax, patch)
            below = 1 - (top + SIDE + LINE / 2) / height
            sheet.text(left / width, below, f"{patch.pixel_size:.4f} Å/px", size=7, color=palette.FAINT, va="center")
        said = f"bars: {BAR:g} Å; {len(shown)} of {len(patches)} patches"
        sheet.text(GAP / width, LINE / 2 / height, said, size=7, va="center")
        return sheet


def _draw_patch(ax: Axes, patch: Picture) -> None:
    rows, columns = patch.data.shape
    ax.imshow(patch.data, cmap="gray", vmin=0, vmax=1)
    y, x, length = 0.94 * rows, 0.05 * columns, BAR / patch.pixel_size
    ax.plot([x, x + length], [y, y], color=palette.PAPER, lw=2.5, solid_capstyle="butt")
    ax.set_xlim(-0.5, columns - 0.5)
    ax.set_ylim(rows - 0.5, -0.5)
    ax.set_axis_off()
