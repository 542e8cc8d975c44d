"""tif files through tifffile: pages, colours, inverted scales. Their calibration is in tif_calibration.py."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from tifffile import PHOTOMETRIC

from picostem.files.dataset import Axis, Dataset, Key, Values
from picostem.files.guard import quiet
from picostem.files.metadata import acquisition_from
from picostem.files.tif_calibration import pixel_scales, titan_metadata

INVERTED_NOTE = "the file stores white as zero: its values were inverted"
PALETTE_NOTE = "the file has a colour table: the indices into it were taken as grey values"


def read_tif(path: Path, form: str, stack: ExitStack) -> list[Dataset]:
    """The image series of a tif file (one per size of page), without thumbnails. `stack` closes the file."""
    with quiet("tifffile"):
        tif = stack.enter_context(tifffile.TiffFile(path))
        series = [one for one in tif.series if not one.keyframe.is_reduced]
        return [_dataset(tif, i, one, path.stem) for i, one in enumerate(series)]


def _dataset(tif: tifffile.TiffFile, index: int, series: tifffile.TiffPageSeries, name: str) -> Dataset:
    """tifffile names axes by letters: Y, X rows and columns, S samples of a colour, all others count pages."""
    scales = dict(zip("YX", pixel_scales(tif, series.keyframe, index), strict=True))
    axes = tuple(
        Axis(size, *scales.get(letter, (1.0, None)), name=letter, navigate=letter not in "YX")
        for letter, size in zip(series.axes, series.shape, strict=True)
        if letter != "S"
    )
    values, note = _values(series)
    return Dataset(
        name=series.name or f"{name} {index}",
        axes=axes,
        load=lambda key: _load(tif, series, key),
        values=values,
        acquisition=acquisition_from({}, titan_metadata(series.keyframe)),
        notes=(note,) if note else (),
    )


def _values(series: tifffile.TiffPageSeries) -> tuple[Values, str]:
    """What a pixel holds, and a note if it is not what one sees."""
    kind = series.dtype.kind if series.dtype is not None else "V"
    if kind not in "biuf":
        return ("complex" if kind == "c" else "table"), ""
    if "S" in series.axes:
        return ("colour" if series.shape[series.axes.index("S")] <= 4 else "table"), ""
    if series.keyframe.photometric == PHOTOMETRIC.PALETTE:
        return "grey", PALETTE_NOTE
    return "grey", INVERTED_NOTE if _is_inverted(series) else ""


def _load(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, key: Key) -> NDArray[Any]:
    """A part of a series, colours last: mapped if it lies in the file as it is, else by the page, else all of it."""
    with quiet("tifffile"):
        if series.dataoffset is not None and series.dtype is not None:
            dtype = np.dtype(tif.byteorder + series.dtype.char)
            array = tif.filehandle.memmap_array(dtype, series.shape, series.dataoffset)
        elif len(key) == 3 and len(series.pages) == series.shape[0] and isinstance(key[0], int):
            array, key = tif.asarray(key=key[0], series=series)[np.newaxis], (0, *key[1:])
        else:
            array = series.asarray()
    if "S" in series.axes:
        array = np.moveaxis(array, series.axes.index("S"), -1)
    part = np.asarray(array[key])
    return ~part if _is_inverted(series) else part


def _is_inverted(series: tifffile.TiffPageSeries) -> bool:
    """White is zero. (tifffile writes truth values under this heading too, without inverting them.)"""
    unsigned = series.dtype is not None and series.dtype.kind == "u"
    return unsigned and series.keyframe.photometric == PHOTOMETRIC.MINISWHITE
