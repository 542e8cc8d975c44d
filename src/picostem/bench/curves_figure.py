"""The figures of `picostem bench curves` and `steps`: errors of windows against what they suffer, and label steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from picostem.bench import curves_steps
from picostem.bench.curves import PUBLISHED, TITLES
from picostem.report import palette
from picostem.report.style_train import save_training

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from picostem.bench.curves import CurvesReport, Point
    from picostem.bench.curves_spoil import Cause
    from picostem.bench.curves_steps import StepsReport

AXES: dict[Cause, str] = {
    "noise": "electrons per Å²",
    "vacancies": "atoms missing, %",
    "hole": "of the window, %",
    "contamination": "times the window's mean",
}
"""What is drawn along each panel; perfect crystals are the first points of the last three."""
MARKERS, WIDTHS = "os^", (3.0, 1.3, 1.0)
"""Of the engines, in the order in which they are asked: a line that another covers is the wider one."""
SIZE, STEPS_SIZE = (12.0, 3.4), (6.4, 3.4)
"""Inches."""


def draw_curves(report: CurvesReport) -> Figure:
    """One panel for each cause: mean errors of the engines, the bound dashed, published means as crosses."""
    engines = list(dict.fromkeys(one.engine for one in report.points))
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(palette.STYLE)
        figure = Figure(figsize=SIZE, layout="constrained")
        panels = figure.subplots(1, len(AXES), sharey=True)
        for ax, (cause, label) in zip(panels, AXES.items(), strict=True):
            shown = (cause,) if cause == "noise" else (cause, "none")
            points = sorted((one for one in report.points if one.step.cause in shown), key=_place)
            _draw_panel(ax, points, _styles(engines))
            ax.set(xlabel=label, title=TITLES[cause])
        _label_psnr(panels[0], [p for p in report.points if p.step.cause == "noise"])
        panels[0].set_ylabel("mean error of a window, Å")
        lines = [Line2D([], [], **style) for style in _styles(engines).values()]
        lines.append(Line2D([], [], ls="--", color=palette.FAINT, label="bound"))
        lines.append(Line2D([], [], ls="", marker="x", color=palette.INK, label="published, on other images"))
        figure.legend(handles=lines, loc="outside lower center", ncols=len(lines), frameon=False)
        return figure


def save_curves(report: CurvesReport, path: Path) -> None:
    """Write the figure as PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    save_training(draw_curves(report), path)


def draw_steps(report: StepsReport) -> Figure:
    """Mean and 95 % quantile of the errors of each network against the step of its labels; any slip is at 0."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(palette.STYLE)
        figure = Figure(figsize=STEPS_SIZE, layout="constrained")
        ax = figure.subplots()
        causes = list(dict.fromkeys(one.step for _, one in report.points))
        for cause, colour in zip(causes, palette.LAYERS, strict=False):
            shown = [(step or 0.0, one) for step, one in report.points if one.step == cause and one.found]
            found = [one.found for _, one in shown if one.found]
            where, dose = [step for step, _ in shown], float(np.mean([one.dose for _, one in shown]))
            mean = [np.mean(one.errors) for one in found]
            ax.plot(where, mean, "o-", ms=5, color=colour, label=f"mean at {dose / 1000:.2g} × 10³ e/Å²")
            ax.plot(where, [np.quantile(one.errors, 0.95) for one in found], "^:", ms=4, lw=1.0, color=colour)
            ax.plot(where, [one.bound or np.nan for one in found], "--", lw=1.0, color=colour, alpha=0.5)
        step, *published = curves_steps.PUBLISHED
        ax.plot([step] * 2, published, "x", ms=6, color=palette.INK, label="published, on other images")
        ticks = sorted({label or 0.0 for label, _ in report.points})
        ax.set_xticks(ticks, [f"{tick:g}" if tick else curves_steps.ANY for tick in ticks])
        ax.set(yscale="log", xlabel="step of the labels, Å", ylabel="error of a window, Å")
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.plot([], [], "^:", ms=4, lw=1.0, color=palette.FAINT, label="95 % are below")
        ax.plot([], [], "--", lw=1.0, color=palette.FAINT, label="bound, rms")
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        return figure


def save_steps(report: StepsReport, path: Path) -> None:
    """Write the figure as PNG; raises as `save_curves`."""
    save_training(draw_steps(report), path)


def _styles(engines: Sequence[str]) -> dict[str, dict[str, Any]]:
    """How the line of each engine is drawn."""
    return {
        engine: {"color": colour, "marker": marker, "ms": width + 2.5, "lw": width, "label": engine}
        for engine, colour, marker, width in zip(engines, palette.LAYERS, MARKERS, WIDTHS, strict=False)
    }


def _draw_panel(ax: Axes, points: Sequence[Point], styles: Mapping[str, dict[str, Any]]) -> None:
    """The lines of one cause; points in the order of their places."""
    for engine, style in styles.items():
        drawn = [(_place(p), np.mean(p.found.errors)) for p in points if p.engine == engine and p.found]
        ax.plot([x for x, _ in drawn], [y for _, y in drawn], **style)
    bounds = {_place(p): p.found.bound for p in reversed(points) if p.found and p.found.bound}
    ax.plot([*bounds.keys()], [*bounds.values()], "--", lw=1.0, color=palette.FAINT)
    published = {_place(p): PUBLISHED[p.step] for p in points if p.step in PUBLISHED}
    ax.plot([*published.keys()], [*published.values()], "x", ms=6, color=palette.INK)
    ax.set(yscale="log", xscale="log" if any(p.step.cause == "noise" for p in points) else "linear")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())


def _place(point: Point) -> float:
    """Along the panel."""
    if point.step.cause == "noise":
        return point.dose
    return point.step.amount * (100 if point.step.cause in ("vacancies", "hole") else 1)


def _label_psnr(ax: Axes, points: Sequence[Point]) -> None:
    """The peak signal-to-noise ratios along the upper edge."""
    above, ratios = ax.secondary_xaxis("top"), {p.dose: f"{p.psnr:.0f}" for p in points}
    above.set_xticks([*ratios.keys()], [*ratios.values()])
    above.minorticks_off()
    above.set_xlabel("peak signal-to-noise ratio, dB", size=8, color=palette.FAINT)
