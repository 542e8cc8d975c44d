"""Which format a file has: by its first bytes where the format has a signature, else by its name."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from picostem.errors import FileError
from picostem.files.hdf5 import flavour

SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"\xff\xd8\xff", "jpg"),
    (0, b"BM", "bmp"),
    (0, b"II*\x00", "tif"),
    (0, b"MM\x00*", "tif"),
    (0, b"II+\x00", "tif"),
    (0, b"MM\x00+", "tif"),
    (0, b"II\x97\x01", "ser"),
    (0, b"\x93NUMPY", "npy"),
    (0, b"\x89HDF\r\n\x1a\n", "hdf5"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"\x00\x00\x00\x03", "dm3"),
    (0, b"\x00\x00\x00\x04", "dm4"),
    (0, b"IMGBLO", "blo"),
    (208, b"MAP", "mrc"),
    (0, b":NANONIS_VERSION:", "sxm"),
    (0, b"ISO/TC 201 SPM data transfer format", "spm"),
    (0, b"ONTMATRX0101", "mtrx"),
)
"""(offset, bytes, format)."""

_OWN_NAME = (
    "png bmp tif npy npz dm3 dm4 ser emi hspy zspy nxs mrc mrcz blo mib prz tvips unf rpl bcf asw app5 xml emd jpg "
    "sxm spm mtrx par txt"
)
EXTENSIONS: dict[str, str] = {name: name for name in _OWN_NAME.split()} | {
    "tiff": "tif",
    "jpeg": "jpg",
    "de5": "emd",
    "ali": "mrc",
    "hdf5": "hdf5",
    "h5": "hdf5",
    "hf5": "hdf5",
    "nsid": "hdf5",
}
"""Name's ending to format."""

_HDF5 = {"hdf5", "hspy", "emd", "nxs"}
_ZIP = {"npz", "prz", "zspy"}
_NEED_SIGNATURE = {name for *_, name in SIGNATURES} - {"bmp", "mrc"} | _HDF5 | {"npz", "prz"}
"""Formats without whose signature the file is something else. (Old mrc files have none.)"""

_LONGEST_HEAD = 512


def identify(path: Path) -> str:
    """The format of a file, as a value of EXTENSIONS or one of 'nsid', 'hspy', ...: a key of the readers.

    The contents decide where they can: a png that is called tif is read as png.

    Raises:
        FileError: missing, a directory, not readable, empty, of an unknown format, or not what its name says.
    """
    named = EXTENSIONS.get(path.suffix.lower().lstrip("."))
    if named == "zspy" and os.path.isdir(path):
        return "zspy"
    head = _head(path)
    found = next((name for at, magic, name in SIGNATURES if head[at : at + len(magic)] == magic), None)
    if found == "hdf5":
        return flavour(path, named)
    if found == "zip":
        return named if named in _ZIP else "npz"
    if found is not None:
        return found
    if named is None:
        known = " ".join(sorted(EXTENSIONS))
        raise FileError(f"{path}: of an unknown format: save it as tif, or as another of {known}")
    if named in _NEED_SIGNATURE:
        raise FileError(
            f"{path}: not a {named} file, though its name says so (it starts with {head[:8]!r}): "
            "give it the ending of its true format, or copy it again"
        )
    return named


def _head(path: Path) -> bytes:
    """The first bytes of a file that can be read and is not empty."""
    try:
        with path.open("rb") as file:
            head = file.read(_LONGEST_HEAD)
    except (OSError, ValueError) as error:
        raise FileError(f"{path}: {_what_to_do(path, error)}") from error
    if not head:
        raise FileError(f"{path}: the file is empty: copy it again")
    return head


def _what_to_do(path: Path, error: OSError | ValueError) -> str:
    if not isinstance(error, OSError):  # a null character in it
        return "no file can be called so: check the path"
    if os.path.isdir(path):  # unlike Path.is_dir, not upset by a name that is too long
        return "is a folder, not a file: name a file in it"
    if error.errno == errno.ENOENT:
        return f"no such file: check the path (the current folder is {os.getcwd()})"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "no permission to read it: change the file's permissions"
    return f"cannot be opened ({error.strerror}): check the path and the disk"
