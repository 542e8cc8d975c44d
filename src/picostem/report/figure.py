"""The figure of a result, as matplotlib's object and as a PNG file."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from picostem.resolve.result import Result


def plot(result: Result) -> Figure:
    """The figure as matplotlib's `Figure`, which Jupyter shows and which can be changed and saved."""
    from picostem.report.sheet import draw

    return draw(result)


def figure_png(result: Result) -> bytes:
    """The figure as a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image as Picture

    canvas = FigureCanvasAgg(plot(result))
    canvas.draw()
    stream = io.BytesIO()
    # RGB without alpha, and a fast level of compression: half the time of matplotlib's own for the same size.
    picture = Picture.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    picture.save(stream, "PNG", compress_level=4, dpi=(canvas.figure.dpi, canvas.figure.dpi))
    return stream.getvalue()
