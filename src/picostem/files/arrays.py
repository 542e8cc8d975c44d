"""npy and npz files. Pickled objects are never loaded."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from picostem.errors import FileError
from picostem.files.dataset import Axis, Dataset, Key, Values
from picostem.files.grey import is_colour
from picostem.image import MAX_SIDE

MAX_MEMBER_BYTES = 8 * MAX_SIDE**2
"""An array of an npz file is unpacked whole, even for one frame: this is the largest image as float64, 3.2 GB."""


def read_npy(path: Path, form: str, stack: ExitStack) -> list[Dataset]:
    """The array of an npy file; a part of it is mapped, not read, when it is asked for."""
    with path.open("rb") as file:
        shape, dtype = _header(file)
    return [_dataset(path.stem, shape, dtype, lambda key: np.load(path, mmap_mode="r", allow_pickle=False)[key])]


def read_npz(path: Path, form: str, stack: ExitStack) -> list[Dataset]:
    """The arrays of an npz file; only their headers are read. `stack` closes it."""
    archive = stack.enter_context(zipfile.ZipFile(path))
    members = [name for name in archive.namelist() if name.endswith(".npy")]
    if not members:
        raise FileError(f"{path}: a zip file without NumPy arrays: unpack it, and name a file in it")
    return [_member(archive, name) for name in members]


def check_unpacked(path: Path) -> None:
    """Refuse a zip file with a member that is larger than MAX_MEMBER_BYTES when unpacked."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.file_size > MAX_MEMBER_BYTES:
                raise FileError(f"{path}: {member.filename} takes over 3.2 GB: save it as hspy, which is read in parts")


def _member(archive: zipfile.ZipFile, name: str) -> Dataset:
    with archive.open(name) as file:
        shape, dtype = _header(file)

    def load(key: Key) -> NDArray[Any]:
        if math.prod(shape) * dtype.itemsize > MAX_MEMBER_BYTES:
            raise FileError(f"{archive.filename}: {name} takes over 3.2 GB: save it as npy, which is read in parts")
        with archive.open(name) as file:
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False)[key])

    return _dataset(name.removesuffix(".npy"), shape, dtype, load)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type from the header of an npy file. (Version 3 differs from 2 in the names of tables only.)"""
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    return shape, dtype


def _dataset(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], load: Callable[[Key], NDArray[Any]]) -> Dataset:
    """An array without calibration; of three axes the first counts the frames."""
    colour = is_colour(shape, dtype)
    values: Values = "colour" if colour else "complex" if dtype.kind == "c" else "grey"
    if dtype.kind not in "biufc":
        values = "table"
    return Dataset(name, tuple(Axis(n) for n in (shape[:-1] if colour else shape)), load, values)
