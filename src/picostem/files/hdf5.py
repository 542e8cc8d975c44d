"""HDF5 is a container: which of the formats that use it a file has."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from picostem.errors import FileError
from picostem.files.guard import reading
from picostem.files.nsid import main_datasets

MAX_CHUNKS = 1_000_000
"""Pieces of one data set. Lazy reading lists them all, which takes 20 s and 1 GB for a million; a 4D scan has one for
each of its 65 536 patterns, or fewer. More means that a small file claims a huge array."""


def flavour(path: Path, named: str | None) -> str:
    """'hspy', 'emd', 'nsid' or 'nxs': by the contents, else as the file is `named`.

    Raises:
        FileError: damaged, of another format, or with a data set in too many pieces.
    """
    import h5py

    with reading(path, "HDF5"), h5py.File(path, "r") as file:
        file.visititems(lambda name, item: _check_chunks(path, name, item))
        found = _flavour(file)
    if found is None and named in ("hspy", "emd", "nxs"):
        return named
    if found is None:
        raise FileError(
            f"{path}: an HDF5 file, but not HyperSpy's, EMD (Velox or Berkeley), NSID or NeXus: "
            "save the image as tif, or load it in Python and use picostem.files.from_array"
        )
    return found


def _flavour(file: Any) -> str | None:
    if str(file.attrs.get("file_format", "")).lower() == "hyperspy":
        return "hspy"
    if (
        "version_major" in file.attrs
        or "Version" in file
        or any("emd_group_type" in one.attrs for one in file.values())
    ):
        return "emd"
    if main_datasets(file):
        return "nsid"
    if any(one.attrs.get("NX_class") in ("NXentry", b"NXentry") for one in file.values()):
        return "nxs"
    return None


def _check_chunks(path: Path, name: str, item: Any) -> None:
    chunks = getattr(item, "chunks", None)
    if chunks is not None:
        pieces = math.prod(-(-size // piece) for size, piece in zip(item.shape, chunks, strict=True))
        if pieces > MAX_CHUNKS:
            raise FileError(f"{path}: its data set {name} is in {pieces} pieces: save it in larger chunks")
