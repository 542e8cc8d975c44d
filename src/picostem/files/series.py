"""One image from a series of one place: frames aligned by their drift and averaged.

Rigid: each frame moves as a whole. What the scan distorts within a frame stays.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picostem.errors import ImageError
from picostem.files.drift import Drift, Frames, box_of, drift_of, sum_aligned
from picostem.files.memory import from_array
from picostem.files.read import read_images
from picostem.image import Image

Source = str | os.PathLike[str] | NDArray[Any] | Sequence[Image]
PixelSize = float | tuple[float, float]
Progress = Callable[[str, int, int], None]

LISTED = 10
"""Dropped frames that are named."""


def average_series(
    source: Source,
    dataset: int | str | None = None,
    *,
    pixel_size: PixelSize | None = None,
    max_step: float | None = None,
    progress: Progress | None = None,
) -> Image:
    """The mean of a series' frames, corrected for drift, of the area that all of them show.

    Frames that do not correlate with the others are dropped. The image's notes say how many frames it is the mean of,
    how far they drifted and which were dropped. Only a few frames are in memory at a time, unless the source is.

    Args:
        source: a file with a series or movie, an array (frames, rows, columns), or images of one shape.
        dataset: of the file, as in `read_image`.
        pixel_size: Å, one number or (row, column), instead of the frames' own.
        max_step: largest drift from a frame to the next, pixels; by default an eighth of the shorter side. Less than
            half a lattice vector excludes that frames are put one lattice vector off.
        progress: called with what is done, the frames done, and 0 as their number is not known.

    Raises:
        FileError, UsageError: as `read_images`, and for a single image.
        ImageError: frames of different shapes or pixel sizes; no two of them show the same place; their common area is
            too small; or what `check_image` says if it refuses all frames.
    """
    frames = _frames_of(source, dataset, pixel_size, progress)
    drift = drift_of(frames, max_step)
    first = next(image for i, image in enumerate(frames()) if i == drift.kept[0])
    data = sum_aligned(frames, drift, box_of(first, drift)) / len(drift.kept)
    base = first.name.removesuffix(f" frame {drift.kept[0]}")
    name = f"{base} mean of {len(drift.kept)} frames"
    return replace(first, data=data.astype(np.float32), name=name, notes=(*first.notes, _note(drift, first)))


def measure_drift(source: Source, dataset: int | str | None = None, *, max_step: float | None = None) -> Drift:
    """Where the frames of a series lie; arguments and errors as `average_series`.

    First from each frame to the next, then of each frame against the mean of all others.
    """
    return drift_of(_frames_of(source, dataset, None, None), max_step)


def _frames_of(
    source: Source, dataset: int | str | None, pixel_size: PixelSize | None, progress: Progress | None
) -> Frames:
    """Goes through a file, an array or images as often as asked, with the pixel size that the user gives."""
    is_file = isinstance(source, str | os.PathLike)
    if isinstance(source, Image) or not (is_file or getattr(source, "ndim", 3) == 3):
        shape = source.data.shape if isinstance(source, Image) else np.shape(source)  # type: ignore[arg-type]
        raise ImageError(f"a series has the axes (frame, row, column) or is a list of images, got the shape {shape}")

    def frames() -> Iterator[Image]:
        for i, one in enumerate(read_images(source, dataset) if isinstance(source, str | os.PathLike) else source):
            image = one if isinstance(one, Image) else from_array(one, name=f"array frame {i}")
            yield image if pixel_size is None else image.with_pixel_size(pixel_size, "user")
            if progress is not None:
                progress("drift of the frames", i + 1, 0)

    return frames


def _note(drift: Drift, first: Image) -> str:
    """How many frames, how far they drifted, which were dropped."""
    scale, unit = (first.pixel_size, "Å") if first.pixel_size else ((1.0, 1.0), "pixels")
    row, column = np.round(drift.position * scale, 2).T + 0.0  # no -0.00
    farthest = float(np.hypot(row, column).max())
    said = (
        f"the mean of {len(drift.kept)} of {drift.count} frames, aligned: from the first to the last they drifted "
        f"{column[-1]:.2f} {unit} to the right and {0.0 - row[-1]:.2f} {unit} up, at most {farthest:.2f} {unit}"
    )
    if not len(drift.dropped):
        return said
    which = ", ".join(map(str, drift.dropped[:LISTED])) + (", ..." if len(drift.dropped) > LISTED else "")
    frames = "frame" if len(drift.dropped) == 1 else "frames"
    return f"{said}; {len(drift.dropped)} {frames} unlike the others dropped ({which})"
