"""4D-STEM data out of files, never loaded whole: the microscope's own formats, HDF5, NumPy's, and raw numbers."""

from __future__ import annotations

import importlib
import json
import math
import os
import struct
import zipfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike

from picostem.errors import FileError, UsageError
from picostem.files.arrays import MAX_MEMBER_BYTES
from picostem.files.guard import quiet, reading
from picostem.files.identify import EXTENSIONS, identify
from picostem.files.metadata import acquisition_from
from picostem.files.mrc import read_mrc
from picostem.files.rosetta import PLUGINS
from picostem.files.scan_data import ScanAxis, ScanData, Shape, check_shape, scan_of
from picostem.files.scan_hdf5 import nion_axes, nion_voltage, read_hdf5, read_hspy_folder, volts
from picostem.files.zspy import read_zspy
from picostem.stem4d.scan import Scan4D

_RAW = ("raw", "bin", "dat")
"""Endings of files that may be nothing but numbers; others are if `dtype` is given."""
_LISTED = 8
"""Data sets that a message names."""


def read_scan(
    path: str | os.PathLike[str],
    dataset: int | str | None = None,
    *,
    shape: Shape | None = None,
    dtype: DTypeLike | None = None,
) -> Scan4D:
    """A scan of diffraction patterns; its file stays open, and is read when blocks are asked for.

    The detector's type of number is kept. Calibrations and the voltage are taken from the file where it has them:
    the scan's step, 1/Å per detector pixel (from angles with the voltage), the centre.

    Args:
        dataset: index or name of the data set, if the file has several scans.
        shape: (scan rows, scan columns, detector rows, detector columns); for raw files, and for files that hold
            patterns in one row without saying how they were scanned.
        dtype: type of the numbers in a raw file, as `numpy.dtype` takes it ('>u2' is big-endian).

    Raises:
        FileError: the file cannot be read, is cut off, has no scan of patterns, or several.
        UsageError: no such data set, or a shape or type that is missing, wrong, or does not belong to the file.
    """
    where = Path(path)
    check_shape(shape)
    form = "raw" if _is_raw(where, dtype) else "hdf5" if _is_hdf5(where) else identify(where)
    if dtype is not None and form != "raw":
        raise UsageError(f"{where}: a {form} file says the type of its numbers itself: leave dtype out")
    with reading(where, form):
        found = [_raw(where, shape, dtype)] if form == "raw" else _read(where, form, shape)
        one = _choose(where, found, dataset, shape)
        alone = sum(other.is_scan(shape) for other in found) == 1
        scan = scan_of(one, where.stem if alone else f"{where.stem} {one.name}", shape)
        np.asarray(scan.data[-1:, -1:])  # a file that is cut off shows here
    return scan


def _read(path: Path, form: str, shape: Shape | None) -> list[ScanData]:
    if form == "npy":
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        return [ScanData(path.stem, array.shape, array.dtype, lambda: array)]
    if form == "npz":
        return _zip(path)
    if form == "hdf5":
        return read_hdf5(path)
    if form == "zspy":
        with ExitStack() as stack:
            read_zspy(path, form, stack)  # refuses what must not be opened
        return read_hspy_folder(path)
    if form == "mrc":
        image = read_mrc(path, form, ExitStack())[0]
        array = image.load((slice(None),) * 3)
        return [ScanData(image.name, array.shape, array.dtype, lambda: array)]
    if form in PLUGINS:
        return _rosetta(path, form, shape)
    raise FileError(f"{path}: {form} files hold images, not 4D-STEM data: name the file with the patterns")


def _is_raw(path: Path, dtype: DTypeLike | None) -> bool:
    ending = path.suffix.lower().lstrip(".")
    return path.is_file() and (ending in _RAW or (dtype is not None and ending not in EXTENSIONS))


def _is_hdf5(path: Path) -> bool:
    if path.suffix.lower() == ".nxs" or not path.is_file():
        return False  # NeXus: RosettaSciIO knows where the axes are
    with path.open("rb") as file:
        return file.read(8) == b"\x89HDF\r\n\x1a\n"


def _raw(path: Path, shape: Shape | None, dtype: DTypeLike | None) -> ScanData:
    if shape is None or dtype is None:
        raise UsageError(
            f"{path}: raw numbers do not say what they are: pass "
            "shape=(scan rows, scan columns, detector rows, detector columns) and dtype="
        )
    try:
        kind = np.dtype(dtype)
    except TypeError as error:
        raise UsageError(f"dtype is {dtype!r}; expected a type of number such as 'uint16' or '>u2'") from error
    needed, size = math.prod(shape) * kind.itemsize, path.stat().st_size
    if needed != size:
        raise FileError(
            f"{path}: {' × '.join(map(str, shape))} values of {kind} take {needed} bytes, the file has {size}: "
            "it is cut off, or the shape or the type is another"
        )
    array = np.memmap(path, kind, "r", shape=shape)
    return ScanData(path.stem, shape, kind, lambda: array)


def _zip(path: Path) -> list[ScanData]:
    """Arrays of an npz file, or of Nion's ndata1 (data.npy and metadata.json)."""
    with zipfile.ZipFile(path) as archive:
        nion: dict[str, Any] = {}
        if "metadata.json" in archive.namelist():
            nion = json.loads(archive.read("metadata.json"))
        members = [one for one in archive.infolist() if one.filename.endswith(".npy")]
        return [_member(path, archive, one, nion) for one in members]


def _member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, nion: Mapping[str, Any]) -> ScanData:
    """An array in a zip file: mapped where it is stored as it is, else unpacked when it is asked for."""
    with archive.open(member) as packed:
        shape, fortran, dtype = _header(packed)
        start = packed.tell()

    def load() -> Any:
        if member.compress_type == zipfile.ZIP_STORED:
            return np.memmap(path, dtype, "r", _place(path, member) + start, shape, "F" if fortran else "C")
        if member.file_size > MAX_MEMBER_BYTES:
            raise FileError(f"{path}: {member.filename} takes over 3.2 GB: save it as npy, which is read in parts")
        with zipfile.ZipFile(path) as again, again.open(member) as file:
            return np.lib.format.read_array(file, allow_pickle=False)

    axes = nion_axes(nion)
    name = member.filename.removesuffix(".npy")
    return ScanData(name, shape, dtype, load, axes if len(axes) == len(shape) else (), nion_voltage(nion))


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def _place(path: Path, member: zipfile.ZipInfo) -> int:
    """Where the bytes of a member begin: after its local header, whose last two fields are lengths (zip, 4.3.7)."""
    with path.open("rb") as file:
        file.seek(member.header_offset)
        name, extra = struct.unpack("<26x2H", file.read(30))
    return member.header_offset + 30 + int(name) + int(extra)


def _rosetta(path: Path, form: str, shape: Shape | None) -> list[ScanData]:
    """The data sets that RosettaSciIO finds, as dask arrays where it can."""
    importlib.import_module("rsciio")  # sets up its logger, so before it is made quiet
    plugin = PLUGINS[form]
    options = dict(plugin.options)
    if form == "mib" and shape is not None:
        options["navigation_shape"] = (shape[1], shape[0])
    with quiet("rsciio"):
        entries = importlib.import_module(f"rsciio.{plugin.module}").file_reader(str(path), lazy=plugin.lazy, **options)
    return [_entry(entry) for entry in entries]


def _entry(entry: Mapping[str, Any]) -> ScanData:
    array = entry["data"]
    original = entry.get("original_metadata") or {}
    voltage = acquisition_from(entry.get("metadata") or {}, original).voltage_eV
    return ScanData(
        name=str((entry.get("metadata") or {}).get("General", {}).get("title") or "untitled"),
        shape=tuple(array.shape),
        dtype=array.dtype,
        load=lambda: array,
        axes=tuple(
            ScanAxis(one.get("scale"), one.get("units"), one.get("offset"), one.get("navigate"))
            for one in entry["axes"]
        ),
        voltage_eV=voltage or volts(original.get("blockfile_header", {}).get("Beam_energy")),
    )


def _choose(path: Path, found: list[ScanData], wanted: int | str | None, shape: Shape | None) -> ScanData:
    """The data set that is meant: by index or name, or the only one that is a scan."""
    scans = [one for one in found if one.is_scan(shape)]
    if wanted is not None:
        number = int(wanted) if isinstance(wanted, int) or wanted.isdecimal() else None
        named = [i for i, one in enumerate(found) if number is None and one.name.casefold() == str(wanted).casefold()]
        index = number if number is not None else named[0] if len(named) == 1 else -1
        if not 0 <= index < len(found):
            raise UsageError(f"{path}: no data set {wanted!r}, or several, choose by number: {_list(found, found)}")
        scans = [found[index]] if found[index].is_scan(shape) else []
        found = [found[index]]
    if len(scans) == 1:
        return scans[0]
    if scans:
        raise FileError(f"{path}: {len(scans)} scans of patterns, choose one with dataset=: {_list(scans, found)}")
    if shape is not None:
        size = " × ".join(map(str, shape))
        raise FileError(f"{path}: no {size} values of plain numbers in it ({_list(found, found)}): correct the shape")
    raise FileError(
        f"{path}: no data set with four axes (scan rows, scan columns, detector rows, detector columns) of plain "
        f"numbers ({_list(found, found)}): name another file, or for patterns in a row pass shape= with these four"
    )


def _list(some: list[ScanData], found: list[ScanData]) -> str:
    words = [f"{found.index(one)}: {one.name!r}, {' × '.join(map(str, one.shape))} {one.dtype}" for one in some]
    return "; ".join(words[:_LISTED] + ["…"] * (len(words) > _LISTED)) or "it has no arrays"
