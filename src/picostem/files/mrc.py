"""mrc files, old and new (MRC2014): a header of 1024 bytes, perhaps another, then the sections one by one.

RosettaSciIO reads them too, but leaves the file open, and takes minutes over a damaged header.
Source: Cheng et al., J. Struct. Biol. 192, 146 (2015), table 1. Rows are taken in the order in which they are stored.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np

from picostem.errors import FileError
from picostem.files.dataset import Axis, Dataset

_HEADER_BYTES = 1024
_SIZES, _MODE, _INTERVALS, _CELL, _EXTENSION, _STAMP = 0, 12, 28, 40, 92, 212
"""Offsets: number of columns, rows, sections; type of value; intervals along x, y, z; their length in Å; length of the
second header; byte order."""
_TYPES = {0: "i1", 1: "i2", 2: "f4", 4: "c8", 6: "u2", 12: "f2"}
_FEI_EXTENSION_BYTES = 128 * 1024
_FEI_PIXEL_SIZE = _HEADER_BYTES + 44
"""Offset of the pixel size in m in the second header of old FEI files, which leave the first header's at 1 Å."""


def read_mrc(path: Path, form: str, stack: ExitStack) -> list[Dataset]:
    """The image or series of an mrc file, mapped, not read."""
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES + 48)
    order = ">" if header[_STAMP : _STAMP + 2] == b"\x11\x11" else "<"
    columns, rows, sections = np.frombuffer(header, f"{order}i4", 3, _SIZES).tolist()
    mode = int(np.frombuffer(header, f"{order}i4", 1, _MODE)[0])
    offset = _HEADER_BYTES + int(np.frombuffer(header, f"{order}i4", 1, _EXTENSION)[0])
    if mode not in _TYPES:
        raise FileError(f"{path}: values of mode {mode}, known are {sorted(_TYPES)}: save it in one of these")
    dtype = np.dtype(order + _TYPES[mode])
    needed = offset + columns * rows * sections * dtype.itemsize
    if min(columns, rows, sections) < 1 or offset < _HEADER_BYTES or needed > path.stat().st_size:
        raise FileError(
            f"{path}: its header promises {sections} × {rows} × {columns} values from byte {offset}, "
            f"but it has {path.stat().st_size} bytes: it is damaged or cut off, copy it again"
        )
    array = np.memmap(path, dtype, "r", offset, (sections, rows, columns))
    y, x = _pixel_size(header, order, offset)
    axes = (Axis(sections, name="z", navigate=True), Axis(rows, y, "Å", "y", False), Axis(columns, x, "Å", "x", False))
    return [Dataset(path.stem, axes, lambda key: array[key], "complex" if dtype.kind == "c" else "grey")]


def _pixel_size(header: bytes, order: str, offset: int) -> tuple[float, float]:
    """(row, column) spacing in Å; 1, the header's default, stands for unknown."""
    if offset == _HEADER_BYTES + _FEI_EXTENSION_BYTES:
        size = 1e10 * float(np.frombuffer(header, f"{order}f4", 1, _FEI_PIXEL_SIZE)[0])
        return size, size
    x, y, _ = np.frombuffer(header, f"{order}f4", 3, _CELL).tolist()
    along_x, along_y, _ = np.frombuffer(header, f"{order}i4", 3, _INTERVALS).tolist()
    return (y / along_y if along_y else 1.0), (x / along_x if along_x else 1.0)
