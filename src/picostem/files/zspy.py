"""zspy folders (HyperSpy on zarr), after a look at what they would make zarr do."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from picostem.errors import FileError
from picostem.files.dataset import Dataset
from picostem.files.hdf5 import MAX_CHUNKS
from picostem.files.rosetta import read_rosetta

_ARRAYS = (".zarray", ".zmetadata", "zarr.json")
"""Files in which zarr describes arrays."""


def read_zspy(path: Path, form: str, stack: ExitStack) -> list[Dataset]:
    """The data sets of a zspy folder.

    Raises:
        FileError: zipped, with pickled values (which could run any program), or in too many pieces.
    """
    if path.is_file():
        raise FileError(f"{path}: a zipped zspy folder: unpack it, and name the folder")
    for name in _ARRAYS:
        for file in path.rglob(name):
            for part in _parts(json.loads(file.read_text())):
                _check(path, part)
    return read_rosetta(path, form, stack)


def _parts(tree: Any) -> Iterator[dict[str, Any]]:
    """All dictionaries within a tree of dictionaries and lists."""
    if isinstance(tree, dict):
        yield tree
    for branch in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from _parts(branch)


def _check(path: Path, part: dict[str, Any]) -> None:
    if "pickle" in (part.get("id"), part.get("name")):
        raise FileError(f"{path}: holds pickled values, which are never loaded: save it as hspy")
    if "chunks" in part and "shape" in part:
        pieces = math.prod(-(-size // piece) for size, piece in zip(part["shape"], part["chunks"], strict=True))
        if pieces > MAX_CHUNKS:
            raise FileError(f"{path}: a data set is in {pieces} pieces: save it in larger chunks")
