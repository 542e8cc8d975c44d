"""The figure of `picostem bench patches`: how errors of windows are distributed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from picostem.report import palette
from picostem.report.style_train import save_training

if TYPE_CHECKING:
    from picostem.bench.patches import PatchScore
    from picostem.infer.patch_labels import Labels

PER_DECADE = 5
"""Bins of the histogram."""

LEAST = 1e-4
"""Å or degrees; smaller errors are drawn there."""

PUBLISHED_DEG = 0.05
"""Mean error of twists that TED-Gen states, on images of its own generator."""

SIZE = (6.4, 3.2)
"""Inches."""


def draw_errors(scores: Sequence[PatchScore], labels: Labels) -> Figure:
    """Share of the windows by their error, every image with the same weight, and the share that is off by less."""
    error = np.concatenate([score.error for score in scores])
    weight = np.concatenate([np.full(len(score.error), 100 / len(score.error) / len(scores)) for score in scores])
    order = np.argsort(error)
    shown = np.maximum(error, LEAST)
    first, last = np.floor(np.log10(shown.min()) * PER_DECADE), np.floor(np.log10(shown.max()) * PER_DECADE) + 1
    edges = 10 ** (np.arange(first, last + 1) / PER_DECADE)
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(palette.STYLE)
        figure = Figure(figsize=SIZE, layout="constrained")
        ax = figure.subplots()
        ax.hist(shown, edges.tolist(), weights=weight, color=palette.LAYERS[1], alpha=0.7, label="windows")
        below = ax.twinx()
        below.step(shown[order], np.cumsum(weight[order]), where="post", color=palette.INK, lw=1.2)
        below.set(ylim=(0, 105), ylabel="off by less, %")
        mean = float(np.average(error, weights=weight))
        unit, axis = ("°", "error, °") if labels.twists else (" Å", "error, Å")
        ax.axvline(mean, color=palette.LAYERS[0], lw=1.3, label=f"mean, {mean:.3f}{unit}")
        if labels.twists:
            published = f"published mean, {PUBLISHED_DEG:g}°, on other images"
            ax.axvline(PUBLISHED_DEG, color=palette.FAINT, ls="--", lw=1.0, label=published)
        ax.set(xscale="log", xlabel=axis, ylabel="windows, %")
        ax.set_title(f"{len(scores)} images, {len(error)} windows")
        ax.xaxis.set_major_formatter("{x:g}")
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
        return figure


def save_errors(scores: Sequence[PatchScore], labels: Labels, path: Path) -> None:
    """Write the figure as PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    save_training(draw_errors(scores, labels), path)
