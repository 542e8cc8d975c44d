"""Every bad file gives one line that says what is wrong and what to do, never a traceback of a library."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image as Picture

from picostem.errors import DataError, FileError, ImageError
from picostem.files import list_datasets, read_image, read_images
from picostem.image import MAX_SIDE

Pixels = NDArray[np.uint16]
HDF5 = ("velox", "berkeley", "hspy", "nsid")
FORMATS = ("png", "jpg", "tif", "lzw.tif", "npy", "npz", "dm3", "dm4", "ser", "mrc", *HDF5)


@pytest.fixture
def write_any(
    tmp_path: Path,
    pixels: Pixels,
    write_dm: Any,
    write_ser: Any,
    write_mrc: Any,
    write_velox: Any,
    write_signal: Any,
    write_nsid: Any,
) -> Callable[[str], Path]:
    """Write a good file of one of FORMATS."""

    def picture(form: str) -> Path:
        path = tmp_path / f"a.{form}"
        if form in ("png", "jpg"):
            Picture.fromarray((pixels >> 8).astype(np.uint8)).save(path)
        elif form == "npz":
            np.savez_compressed(path, pixels)
        elif form == "npy":
            np.save(path, pixels)
        else:
            tifffile.imwrite(path, pixels, compression="lzw" if "lzw" in form else None)
        return path

    writers: dict[str, Callable[[], Path]] = {
        "dm3": lambda: write_dm({"a": pixels}, 3),
        "dm4": lambda: write_dm({"a": pixels}, 4),
        "ser": lambda: write_ser(pixels, 2e-11),
        "mrc": lambda: write_mrc(pixels, 0.2),
        "velox": lambda: write_velox({"HAADF": pixels}),
        "berkeley": lambda: write_signal("emd", pixels),
        "hspy": lambda: write_signal("hspy", pixels),
        "nsid": lambda: write_nsid(pixels, (0.02, 0.03)),
    }
    return lambda form: writers[form]() if form in writers else picture(form)


def _complaint(path: Path, kind: type[DataError] = FileError) -> str:
    """The message of the error that all three functions raise alike."""
    messages = set()
    for function in (read_image, read_images, list_datasets):
        with pytest.raises(kind) as caught:
            function(path)
        messages.add(str(caught.value))
    (message,) = messages
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_missing(tmp_path: Path) -> None:
    assert _complaint(tmp_path / "missing.tif").startswith("no such file: check the path")


def test_folder(tmp_path: Path) -> None:
    (tmp_path / "folder.tif").mkdir()
    assert _complaint(tmp_path / "folder.tif") == "is a folder, not a file: name a file in it"


@pytest.mark.parametrize("ending", ["tif", "png", "dm3", "npy", "emd", "mib", "xyz", ""])
def test_empty(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"empty.{ending}".rstrip(".")
    path.touch()
    assert _complaint(path) == "the file is empty: copy it again"


def test_no_permission(tmp_path: Path, pixels: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the tests run as a user who may read everything."""
    path = tmp_path / "a.npy"
    np.save(path, pixels)

    def refuse(self: Path, *arguments: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    assert _complaint(path).startswith("no permission to read it")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "does not fit into memory: crop it"),
        (PermissionError(13, "denied"), "no permission to read it"),
        (RuntimeError("first line\nsecond line " + "x" * 1000), "RuntimeError: first line second line x"),
    ],
)
def test_whatever_fails_while_reading(
    tmp_path: Path, pixels: Pixels, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def fail(*given: object) -> None:
        raise error

    np.save(tmp_path / "a.npy", pixels)
    monkeypatch.setattr("picostem.files.arrays.read_npy", fail)
    found = _complaint(tmp_path / "a.npy")
    assert message in found
    assert len(found) < 400


def test_hdf5_that_is_not_what_its_name_says(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.emd", "w") as file:
        file["a/b"] = np.zeros((40, 40))
    assert "not a supported EMD file" in _complaint(tmp_path / "a.emd")


@pytest.mark.skipif(os.name == "nt", reason="the path is impossible on Windows")
def test_part_of_the_path_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"x")
    assert "check the path" in _complaint(tmp_path / "a.tif" / "b.tif")


@pytest.mark.parametrize("name", ["a" * 5000, "a\0.tif"])
def test_impossible_paths(tmp_path: Path, name: str) -> None:
    assert "check the path" in _complaint(tmp_path / name)


@pytest.mark.parametrize("form", FORMATS)
def test_good_files_are_good(write_any: Callable[[str], Path], pixels: Pixels, form: str) -> None:
    """The files that the tests below spoil."""
    image = read_image(write_any(form))
    if form == "jpg":
        assert image.data.shape == pixels.shape
    else:
        assert np.array_equal(image.data, pixels >> 8 if form == "png" else pixels)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_truncated(write_any: Callable[[str], Path], form: str, share: float) -> None:
    path = write_any(form)
    whole = path.read_bytes()
    path.write_bytes(whole[: max(int(share * len(whole)), 1)])
    with pytest.raises(FileError) as caught:
        read_image(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", [form for form in FORMATS if form not in HDF5])
def test_spoilt_bytes(write_any: Callable[[str], Path], form: str) -> None:
    """Whatever the bytes: an image, or an error of ours on one line. Half of them hit the first 1 %, the header.

    Not for HDF5, whose own library can crash on them.
    """
    path = write_any(form)
    whole = path.read_bytes()
    rng = np.random.default_rng(len(whole))
    for attempt in range(30):
        spoilt = bytearray(whole)
        for _ in range(3):
            spoilt[rng.integers(len(whole) if attempt % 2 else len(whole) // 100 + 20)] = rng.integers(256)
        path.write_bytes(spoilt)
        try:
            image = read_image(path)
        except DataError as error:
            message = str(error)
            assert message.startswith(f"{path}: ")
            assert "\n" not in message
        else:
            assert image.data.dtype == np.float32


def test_the_reason_of_a_library_is_kept_short_and_chained(write_any: Callable[[str], Path]) -> None:
    path = write_any("hspy")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(FileError, match=r"cannot be read as .* \(OSError: .*truncated") as caught:
        read_image(path)
    assert isinstance(caught.value.__cause__, OSError)
    assert len(str(caught.value)) - len(str(path)) < 400


def _png(columns: int, rows: int) -> bytes:
    """A png of less than 100 bytes that claims any size."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


class TestBombs:
    """Small files that claim to be huge are refused before memory is taken: these would need 10 GB to 10 TB."""

    LARGE = MAX_SIDE + 1

    def _refused(self, path: Path) -> None:
        with pytest.raises(ImageError, match=f"are more than {MAX_SIDE} on a side: crop or bin") as caught:
            read_image(path)
        assert str(caught.value).startswith(f"{path}: ")

    @pytest.mark.parametrize("size", [(LARGE, 1), (1, LARGE), (300_000, 300_000), (2**31 - 1, 2**31 - 1)])
    def test_png(self, tmp_path: Path, size: tuple[int, int]) -> None:
        (tmp_path / "a.png").write_bytes(_png(*size))
        self._refused(tmp_path / "a.png")

    @pytest.mark.parametrize("compression", [None, "zlib"])
    def test_tif(self, tmp_path: Path, pixels: Pixels, compression: str | None) -> None:
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, pixels.astype(np.uint8), compression=compression, metadata=None)
        with tifffile.TiffFile(path, mode="r+") as tif:
            for tag in ("ImageWidth", "ImageLength", "RowsPerStrip"):
                tif.pages.first.tags[tag].overwrite(300_000, dtype="I")
        self._refused(path)

    def test_npy_and_npz(self, tmp_path: Path) -> None:
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (300000, 300000), }".ljust(117) + b"\n"
        text = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64)
        (tmp_path / "a.npy").write_bytes(text)
        self._refused(tmp_path / "a.npy")
        import zipfile

        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.writestr("a.npy", text)
        self._refused(tmp_path / "a.npz")

    def test_dm3(self, write_dm: Callable[..., Path]) -> None:
        path = write_dm({"a": np.zeros((400, 400), np.uint8)})
        path.write_bytes(path.read_bytes().replace(struct.pack("<i", 400), struct.pack("<i", 300_000)))
        with pytest.raises(DataError):
            read_image(path)

    def test_hspy(self, write_signal: Callable[..., Path]) -> None:
        """An HDF5 data set without its chunks takes no space on disk."""
        path = write_signal("hspy", np.zeros((40, 48)))
        with h5py.File(path, "a") as file:
            group = file["Experiments/HAADF"]
            del group["data"]
            group.create_dataset("data", (300_000, 300_000), "f8", chunks=(1000, 1000), compression="gzip")
            group["axis-0"].attrs["size"] = group["axis-1"].attrs["size"] = 300_000
        self._refused(path)

    def test_pieces_without_number(self, write_signal: Callable[..., Path]) -> None:
        """Already listing the pieces would exhaust memory."""
        path = write_signal("hspy", np.zeros((40, 48)))
        with h5py.File(path, "a") as file:
            file.create_dataset("Experiments/HAADF/more", (300_000, 300_000), "f8", chunks=(10, 10), compression="gzip")
        with pytest.raises(FileError, match="in 900000000 pieces: save it in larger chunks"):
            read_image(path)

    def test_nsid(self, write_nsid: Callable[..., Path]) -> None:
        path = write_nsid(np.zeros((40, 48)), (0.02, 0.03))
        with h5py.File(path, "a") as file:
            group = file["Measurement_000/Channel_000/HAADF"]
            attributes = dict(group["HAADF"].attrs)
            del group["HAADF"]
            large = group.create_dataset("HAADF", (300_000, 300_000), "f8", chunks=(1000, 1000), compression="gzip")
            large.attrs.update(
                {name: attributes[name] for name in ("quantity", "units", "main_data_name", "data_type")}
            )
        self._refused(path)

    def test_the_largest_side_is_read(self, tmp_path: Path) -> None:
        strip = np.zeros((33, MAX_SIDE), np.uint8)
        strip[32, MAX_SIDE - 1] = 9
        tifffile.imwrite(tmp_path / "a.tif", strip, compression="zlib")
        assert read_image(tmp_path / "a.tif").data[32, MAX_SIDE - 1] == 9
