"""The figure of a result, as matplotlib's object, and as the picture that is written to files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image as Picture

    from picostem.resolve.result import Result


def plot(result: Result) -> Figure:
    """The figure as matplotlib's `Figure`, which Jupyter shows and which can be changed and saved."""
    from picostem.report.layout import draw

    return draw(result)


def draw_picture(result: Result) -> tuple[Picture, int]:
    """The figure as pixels, RGB, and how many rows of them the headline takes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    from picostem.report.layout import draw
    from picostem.report.sheet import headline_rows

    sheet = draw(result)
    canvas = FigureCanvasAgg(sheet)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"), headline_rows(sheet)


def png_bytes(picture: Picture) -> bytes:
    """The picture as a PNG file, without loss."""
    from picostem.report.palette import DPI

    stream = io.BytesIO()
    # Level 3: on noisy greys, as small as the slowest level in a tenth of the time.
    picture.save(stream, "PNG", compress_level=3, dpi=(DPI, DPI))
    return stream.getvalue()


def webp_bytes(picture: Picture, skipped_rows: int = 0) -> bytes:
    """The picture below some rows as a WebP file, a third of the size of the PNG."""
    stream = io.BytesIO()
    picture.crop((0, skipped_rows, *picture.size)).save(stream, "WEBP", quality=90, method=0)
    return stream.getvalue()
