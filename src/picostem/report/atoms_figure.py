"""The figure of `picostem atoms`: atoms by class on the image, a detail or the tracks of a movie, and intensities."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from picostem.report import palette
from picostem.report.lettering import shortened, with_glyphs
from picostem.report.panel_image import scale_bar, show
from picostem.report.view import View, grey_limits

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from picostem.atoms.survey import Survey

FloatArray = NDArray[np.float64]

SHOWN = 9.0
"""Typical distances between atoms across the detail."""

COLOURS = (palette.LAYERS[0], *(palette.DOMAINS[k] for k in (7, 3, 2, 1, 4, 6)))
"""Of classes, the brightest atoms' first: all light enough to be seen on dark and on bright grey."""

MOST = len(COLOURS)
"""Classes with a colour of their own; fainter ones share the last."""

LONGEST = 400
"""Tracks that are drawn: more cannot be followed."""


def png(survey: Survey) -> bytes:
    """The figure as a png file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    stream = io.BytesIO()
    FigureCanvasAgg(draw(survey)).print_png(stream)
    return stream.getvalue()


def draw(survey: Survey) -> Figure:
    """Atoms of the first frame on the image, in the middle of it, or the tracks, and the intensities of all."""
    import matplotlib as mpl

    colours = {one.name: COLOURS[min(k, MOST - 1)] for k, one in enumerate(survey.found.classes)}
    view = _view(survey)
    with mpl.rc_context({**mpl.rcParamsDefault, **palette.STYLE}):
        sheet = Figure(figsize=(14.4, 7.4))
        grid = sheet.add_gridspec(2, 2, left=0.02, right=0.98, top=0.93, bottom=0.08, width_ratios=(1.25, 1))
        ax = sheet.add_subplot(grid[:, 0])
        title = f"{survey.image.name}: {int((survey.table.frame == 0).sum())} atoms"
        _panel(ax, survey, view, colours, f"{title}, first of {survey.frames} frames" if survey.frames > 1 else title)
        beside = sheet.add_subplot(grid[0, 1])
        if survey.frames > 1:
            _tracks(beside, survey, _middle(survey, view))
        else:
            _panel(beside, survey, _middle(survey, view), colours, "middle of the image")
        _intensities(sheet.add_subplot(grid[1, 1]), survey, colours)
    return sheet


def _view(survey: Survey) -> View:
    """The first frame, in Å, or in pixels without a calibration."""
    rows, cols = survey.image.data.shape
    dy, dx = survey.image.pixel_size or (1.0, 1.0)
    return View(survey.image.data, (-cols * dx / 2, cols * dx / 2, -rows * dy / 2, rows * dy / 2))


def _middle(survey: Survey, view: View) -> View:
    side = min(view.width, view.extent[3] - view.extent[2])
    count = max(len(survey.table), 1)
    apart = np.sqrt(view.width * (view.extent[3] - view.extent[2]) / count)
    return view.cut(np.zeros(2), min(side, SHOWN * apart))


def _xy(survey: Survey, row: FloatArray, col: FloatArray) -> tuple[FloatArray, FloatArray]:
    rows, cols = survey.image.data.shape
    dy, dx = survey.image.pixel_size or (1.0, 1.0)
    return (col - (cols - 1) / 2) * dx, ((rows - 1) / 2 - row) * dy


def _panel(ax: Axes, survey: Survey, view: View, colours: dict[str, str], title: str) -> None:
    """Rings around atoms in the colours of their classes, and squares where atoms are missing."""
    show(ax, view.binned(), grey_limits(survey.image.data))
    table, gone = survey.table, survey.found.vacancies
    first = table.frame == 0
    x, y = _xy(survey, table.row, table.col)
    points = ax.get_window_extent().width * 72 / palette.DPI / view.width  # per Å, or pixel
    unit = (survey.image.pixel_size or (1.0, 1.0))[1]
    size = max(2.0, 3 * float(np.median(table.width)) * unit * points) if len(table) else 2.0
    for name, colour in colours.items():
        mine = first & (table.species == name)
        ax.scatter(x[mine], y[mine], s=size**2, facecolors="none", edgecolors=colour, linewidths=min(1.8, size / 3))
    here = gone.frame == 0
    if here.any():
        ax.scatter(
            *_xy(survey, gone.row[here], gone.col[here]), s=2 * size**2, marker="s", fc="none", ec="white", lw=1.4
        )
    scale_bar(ax, survey.image.pixel_size is not None)
    ax.set_title(shortened(with_glyphs(title), 6.0, 10.0), loc="left")


def _tracks(ax: Axes, survey: Survey, view: View) -> None:
    """Paths of the longest tracks, in the middle of the first frame."""
    show(ax, view.binned(), grey_limits(survey.image.data))
    table = survey.table
    numbers, lengths = np.unique(table.track, return_counts=True)
    x, y = _xy(survey, table.row, table.col)
    for k, number in enumerate(numbers[np.argsort(-lengths, kind="stable")][:LONGEST]):
        mine = np.flatnonzero(table.track == number)
        mine = mine[np.argsort(table.frame[mine], kind="stable")]
        ax.plot(x[mine], y[mine], color=COLOURS[k % MOST], lw=0.9)
    ax.set_title(f"{len(numbers)} tracks, median of {np.median(lengths) if len(lengths) else 0:g} frames", loc="left")


def _intensities(ax: Axes, survey: Survey, colours: dict[str, str]) -> None:
    """Histograms of the classes, over each other."""
    table = survey.table
    if not len(table):
        ax.set_axis_off()
        return
    edges = np.histogram_bin_edges(table.intensity, bins=min(80, max(10, len(table) // 8))).tolist()
    for one in survey.found.classes:
        values = table.intensity[table.species == one.name]
        ax.hist(values, edges, color=colours[one.name], alpha=0.75, label=with_glyphs(f"{one.name}: {one.atoms}"))
    missing = len(survey.found.vacancies.row)
    if missing:
        ax.plot([], [], "s", mfc="none", mec=palette.FAINT, label=f"vacancies: {missing}")
    scanned = survey.image.acquisition.tip
    what = "height above the surroundings, grey levels" if scanned else "intensity, grey levels summed over the atom"
    ax.set(xlabel=what, ylabel="sites" if scanned else "atoms")
    ax.legend(frameon=False, fontsize=8)
    ax.set_title("intensities and classes", loc="left")
