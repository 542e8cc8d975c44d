"""The figure of a training: its losses, step by step, and what the network makes of a few patches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from picostem.report import palette
from picostem.report.figure import png_bytes
from picostem.report.place import write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from picostem.style.showcase import Showcase

PANELS = {
    "pictures, mean |difference|": ("self_reconstruction", "cross_reconstruction", "consistency"),
    "styles": ("latent", "kl", "mode_seeking"),
    "generators against judges": ("adversarial", "random_adversarial", "content_adversarial"),
    "judges": ("judge_x", "judge_y", "judge_content"),
}
"""Losses by what they are about."""

POINTS = 200
"""Of a curve: each is the median over so many steps that there are no more."""

WIDTH, CURVES, MARGIN = 13.0, 2.6, 0.55
"""Inches."""

Row = dict[str, float]


def draw_training(history: Sequence[Row], shown: Showcase, pixel_size: float) -> Figure:
    """Losses above, samples below.

    history: the losses of each step, as `read_history` gives them; pixel_size: of the patches on average, Å.
    """
    columns = shown.columns()
    side = (WIDTH - MARGIN) / len(columns)
    rows = len(shown.simulated)
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(palette.STYLE)
        figure = Figure(figsize=(WIDTH, CURVES + 2 * MARGIN + rows * side), layout="constrained")
        parts = figure.subfigures(2, 1, squeeze=False, height_ratios=(CURVES + MARGIN, rows * side + MARGIN))
        above, below = parts[:, 0]
        for ax, (title, names) in zip(above.subplots(1, len(PANELS)), PANELS.items(), strict=True):
            _curves(ax, history, title, names)
        below.suptitle(f"patches of {shown.simulated.shape[-1] * pixel_size / 10:.2g} nm", color=palette.FAINT, size=9)
        for column, (title, images) in zip(
            below.subplots(rows, len(columns), squeeze=False).T, columns.items(), strict=True
        ):
            column[0].set_title(title, size=9)
            for ax, image in zip(column, images, strict=True):
                ax.imshow(image, cmap="gray", vmin=0, vmax=1)
                ax.set_axis_off()
        return figure


def _curves(ax: Axes, history: Sequence[Row], title: str, names: Sequence[str]) -> None:
    ax.set_title(title)
    ax.set_xlabel("step")
    used = [name for name in names if any(name in row for row in history)]
    for name, colour in zip(used, palette.DOMAINS, strict=False):
        steps, values = curve(history, name)
        ax.plot(steps, values, color=colour, lw=1.1, label=name.replace("_", " "))
    if used:
        ax.legend(frameon=False, fontsize=7)


def curve(history: Sequence[Row], name: str) -> tuple[list[float], list[float]]:
    """Steps and losses of a term, no more than POINTS: medians over equal numbers of steps that have it."""
    rows = [row for row in history if name in row]
    parts = [part for part in np.array_split(np.arange(len(rows)), min(POINTS, len(rows))) if len(part)]
    return (
        [float(np.median([rows[i]["step"] for i in part])) for part in parts],
        [float(np.median([rows[i][name] for i in part])) for part in parts],
    )


def save_training(figure: Figure, path: Path) -> None:
    """Write the figure as PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    write_file(path, png_bytes(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")))
