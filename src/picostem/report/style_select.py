"""The figure of a selection: where experiment and simulations lie in the embedding, and which look most alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from picostem.report import palette
from picostem.report.lettering import shortened, with_glyphs
from picostem.report.sheet import Sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from picostem.style.picture import Picture
    from picostem.style.select import Selection

MARKERS = "os^Dv"
"""Of the clusters."""
MOST_ROWS = 4
"""Experimental pictures that are shown beside the simulation nearest to each."""
SHOWN = 25.0
"""Å: side of what is shown of a picture."""
SIDE, STEP, PLOT, GAP, HEAD = 1.3, 1.55, 6.2, 0.35, 0.75
"""Inches: of a picture, from one to the next, of the embedding, at the edges, above all."""


def draw_selection(selection: Selection, experiment: Sequence[Picture], simulated: Sequence[Picture]) -> Figure:
    """The embedding, with numbered experimental pictures, and each beside its nearest simulation.

    experiment, simulated: what was given to `picostem.style.select.select`.
    """
    width, height = PLOT + 2 * GAP + 2 * STEP, PLOT + HEAD + GAP
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(palette.STYLE)
        sheet = Sheet(figsize=(width, height))
        ax = sheet.add_axes((GAP / width, GAP / height, PLOT / width, PLOT / height))
        _draw_embedding(ax, selection)
        head = f"{len(selection.kept)} of {len(simulated)} simulations kept"
        sheet.text(GAP / width, 1 - 0.32 / height, head, size=13, weight="bold", va="center")
        left = PLOT + 2 * GAP
        for column, name in enumerate(("experiment", "nearest simulation")):
            sheet.text((left + column * STEP) / width, 1 - 0.32 / height, name, size=9.5, va="center")
        for row, one in enumerate(experiment[:MOST_ROWS]):
            nearest = int(np.argmin(np.linalg.norm(selection.simulated - selection.experiment[row], axis=1)))
            pair = (one, f"{row + 1}  {one.name}"), (simulated[nearest], simulated[nearest].name)
            for column, (picture, title) in enumerate(pair):
                corner = ((left + column * STEP) / width, 1 - (HEAD + row * STEP + SIDE) / height)
                _draw_picture(sheet.add_axes((*corner, SIDE / width, SIDE / height)), picture, title)
        return sheet


def _draw_embedding(ax: Axes, selection: Selection) -> None:
    kept = np.isin(np.arange(len(selection.simulated)), selection.kept)
    clusters = sorted({*selection.experiment_labels.tolist(), *selection.simulated_labels.tolist()})
    for index, label in enumerate(clusters):
        marker, inside = MARKERS[index % len(MARKERS)], selection.simulated_labels == label
        for chosen, colour in ((False, palette.RULE), (True, palette.LAYERS[1])):
            points = selection.simulated[inside & (kept == chosen)]
            what = f"{'kept' if chosen else 'not kept'}, cluster {index + 1}"
            if len(points):
                ax.scatter(points[:, 0], points[:, 1], s=26, marker=marker, color=colour, lw=0, label=what)
    x, y = selection.experiment.T
    ax.scatter(x, y, s=90, marker="*", color=palette.LAYERS[0], lw=0, label="experiment")
    for number, where in enumerate(zip(x, y, strict=True), start=1):
        label = ax.annotate(str(number), where, xytext=(5, 5), textcoords="offset points")
        label.set(color=palette.LAYERS[0], weight="bold", size=10)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.margins(0.06)
    ax.legend(frameon=True, framealpha=0.85, edgecolor="none", fontsize=8, loc="best")


def _draw_picture(ax: Axes, picture: Picture, title: str) -> None:
    side = min(round(SHOWN / picture.pixel_size), *picture.data.shape)
    row, column = ((n - side) // 2 for n in picture.data.shape)
    ax.imshow(picture.data[row : row + side, column : column + side], cmap="gray")
    ax.set_title(shortened(with_glyphs(title), SIDE, 7.5), size=7.5, loc="left", pad=2.5)
    ax.set_axis_off()
