"""The figure of a catalog's slips, for a paper: on the landscape, their density, and the Boltzmann plot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from numpy.typing import NDArray

from picostem.catalog.landscape import EV
from picostem.errors import UsageError
from picostem.report import palette
from picostem.report.panel_slip import ellipse
from picostem.report.place import staged

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

    from picostem.catalog.series import Series
    from picostem.catalog.statistics import Statistics

FloatArray = NDArray[np.float64]

SIZE = (7.2, 2.75)
"""Inches: the width of a page of two columns."""

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
DATELESS = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}, ".png": {}}
STYLE = palette.STYLE | {"font.size": 7.0, "xtick.labelsize": 6.5, "ytick.labelsize": 6.5, "axes.titlesize": 7.5}
TEXT = {"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "picostem"}
"""Letters stay letters, so that a journal can set them; equal figures are equal files."""

DOTS = 4000
"""Windows that are drawn."""


def save_figure(statistics: Statistics, path: str | Path) -> None:
    """Write the figure as pdf, svg or png, by the ending of the name.

    Raises:
        UsageError: another ending.
        OutputError: it cannot be written.
    """
    path = Path(path).expanduser()
    kind = path.suffix.lower()
    if kind not in DATELESS:
        raise UsageError(f"{path}: expected a name that ends in {', '.join(DATELESS)}")
    with rc_context(STYLE | TEXT):
        figure = _draw(statistics)
        with staged(path.parent, (path.name,)) as part:
            figure.savefig(part / path.name, format=kind[1:], dpi=300, metadata=DATELESS[kind])


def _draw(statistics: Statistics) -> Figure:
    figure = Figure(figsize=SIZE, layout="constrained")
    FigureCanvasAgg(figure)
    first, second, third = figure.subplots(1, 3, width_ratios=(1, 1, 0.95))
    slips, landscape = statistics.selection.slips, statistics.landscape
    cell = statistics.selection.layers[0].cell
    energy = _shade(first, landscape.series, cell, "cividis")
    unit = "meV per cell" if landscape.unit == EV else landscape.unit
    if landscape.unit == EV:
        energy.set_data(1e3 * np.asarray(energy.get_array()))
        energy.autoscale()
    figure.colorbar(energy, ax=first, location="bottom", shrink=0.8, label=f"energy ({unit})", pad=0.02)
    fractions = slips.slip @ np.linalg.inv(cell)
    x, y = ((fractions - np.floor(fractions)) @ cell)[:: max(1, len(slips) // DOTS)].T
    first.scatter(x, y, s=1.2, c="#D1495B", linewidths=0, alpha=0.6)
    images = len(np.unique(slips.image))
    first.set_title(f"a  {len(slips)} windows of {images} images", loc="left")
    shade = _shade(second, statistics.density.series, cell, "Blues")
    shade.set_clim(0, None)
    figure.colorbar(shade, ax=second, location="bottom", shrink=0.8, label="density (1/Å²)", pad=0.02)
    second.set_title("b  density, errors taken out", loc="left")
    inverse = np.linalg.inv(cell)
    for letter, peak in zip(LETTERS, statistics.peaks, strict=False):
        for equivalent in slips.equivalence.equivalents(peak.slip):
            place = (equivalent @ inverse - np.floor(equivalent @ inverse + 1e-9)) @ cell
            second.plot(*place, "+", ms=5, mew=0.9, color="#D1495B")
        home = (peak.slip @ inverse - np.floor(peak.slip @ inverse + 1e-9)) @ cell
        second.annotate(letter, tuple(home), (3, 3), textcoords="offset points", color="#D1495B", weight="bold")
        if np.isfinite(peak.covariance).all():
            second.add_patch(ellipse(home, peak.covariance, fc="none", ec="#D1495B", lw=0.7))
    _boltzmann(third, statistics, unit)
    figure.text(0.995, 0.005, f"landscape: {landscape.source}", ha="right", va="bottom", size=5, color=palette.FAINT)
    return figure


def _shade(ax: Axes, series: Series, cell: FloatArray, colours: str) -> AxesImage:
    """A function over the cell and a little around it, with the cell, its fractions and a bar of 1 Å."""
    corners = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]) @ cell
    (left, bottom), (right, top) = corners.min(axis=0) - 0.7, corners.max(axis=0) + 0.7
    x, y = np.arange(left, right, 0.08), np.arange(bottom, top, 0.08)
    points = np.stack(np.meshgrid(x, y), axis=-1)
    values = series(points.reshape(-1, 2)).reshape(points.shape[:2])
    shown = ax.imshow(
        values,
        cmap=colours,
        origin="lower",
        extent=(left, right, bottom, top),
        interpolation="bilinear",
        aspect="equal",
    )
    ax.add_patch(Polygon(corners, fc="none", ec=palette.INK, lw=0.8))
    for name, along, across in (("a", cell[0], cell[1]), ("b", cell[1], cell[0])):
        out = -across / np.linalg.norm(across)
        for fraction in (0.5, 1.0):
            place = fraction * along
            ax.plot(*np.array([place, place - 0.12 * out]).T, color=palette.INK, lw=0.8)
            label = f"{fraction:g} {name}" if fraction < 1 else name
            ax.annotate(
                label, tuple(place), tuple(5 * out), textcoords="offset points", size=5.5, ha="center", va="center"
            )
    ax.plot([left + 0.3, left + 1.3], [bottom + 0.25] * 2, color=palette.INK, lw=2, solid_capstyle="butt")
    ax.text(left + 0.8, bottom + 0.35, "1 Å", ha="center", va="bottom", size=6)
    ax.set_xlabel("slip along x (Å)")
    ax.set_ylabel("slip along y (Å)")
    return shown


def _boltzmann(ax: Axes, statistics: Statistics, unit: str) -> None:
    fit, plot = statistics.fit, statistics.plot
    scale = 1e3 if statistics.landscape.unit == EV else 1.0
    ax.set_title("c  occupancy against energy", loc="left")
    ax.set_xlabel(f"energy ({unit})")
    ax.set_ylabel("ln(occupancy / even)")
    if plot is None:
        ax.text(0.5, 0.5, "too few windows", ha="center", va="center", transform=ax.transAxes)
        return
    sigma = plot.occupancy_sigma / plot.occupancy
    ax.errorbar(scale * plot.energy, np.log(plot.occupancy), sigma, fmt="o", ms=3, lw=0.9, color=palette.INK)
    ends = np.array([plot.energy.min(), plot.energy.max()])
    middle = np.average(plot.energy, weights=1 / sigma**2)
    height = np.average(np.log(plot.occupancy), weights=1 / sigma**2)
    ax.plot(
        scale * ends,
        plot.intercept + plot.slope * ends,
        color=palette.FAINT,
        lw=0.9,
        ls="--",
        label=_line(plot.slope, plot.slope_sigma, scale, "line"),
    )
    ax.plot(
        scale * ends,
        height - fit.beta * (ends - middle),
        color="#D1495B",
        lw=1.1,
        label=_line(-fit.beta, fit.sigma, scale, "likelihood"),
    )
    ax.legend(frameon=False, fontsize=5.5)


def _line(slope: float, sigma: float, scale: float, name: str) -> str:
    unit = "/meV" if scale > 1 else ""
    return f"{name}: slope {slope / scale:.3g} ± {sigma / scale:.2g}{unit}"
