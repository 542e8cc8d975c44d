"""The figure of a network's training: its losses, step by step, and the errors on stackings that it did not learn."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
from matplotlib.figure import Figure

from picostem.report import palette
from picostem.report.style_train import curve

UNITS = {"A": "error, Å", "deg": "error, °"}
"""By the endings of their names in a history."""

SIZE = (9.0, 3.2)
"""Inches."""


def draw_training(history: Sequence[dict[str, float]]) -> Figure:
    """Losses on the left, errors on the right.

    history: the losses of each step, as `read_history` gives them.
    """
    names = list(dict.fromkeys(name for row in history for name in row if name != "step"))
    errors = [name for name in names if "error" in name]
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(palette.STYLE)
        figure = Figure(figsize=SIZE, layout="constrained")
        left, right = figure.subplots(1, 2)
        losses = [name for name in names if name not in errors]
        for ax, chosen in ((left, losses), (right, errors)):
            for name, colour in zip(chosen, palette.DOMAINS, strict=False):
                ax.plot(*curve(history, name), color=colour, lw=1.1, label=_words(name))
            if chosen:
                ax.legend(frameon=False, fontsize=7)
            ax.set_xlabel("step")
        left.set_ylabel("loss")
        if errors:
            right.set_ylabel(UNITS[errors[0].rpartition("_")[2]])
            right.set_yscale("log")
        return figure


def _words(name: str) -> str:
    for ending in UNITS:
        name = name.removesuffix(f"_{ending}")
    return name.replace("_", " ")
