"""mrc files."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.errors import FileError, ImageError
from picostem.files import list_datasets, read_image, read_images

Pixels = NDArray[np.uint16]
Writer = Callable[..., Path]


@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32"])
def test_image(write_mrc: Writer, pixels: Pixels, dtype: str) -> None:
    values = (pixels // 2).astype(dtype)
    image = read_image(write_mrc(values, 0.2))
    assert np.array_equal(image.data, values)
    assert image.pixel_size == pytest.approx((0.2, 0.2), rel=1e-6)  # float32 in the header


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_same_as_rosettasciio(write_mrc: Writer, pixels: Pixels) -> None:
    """An independent reader, which gives nm."""
    from rsciio.mrc import file_reader

    path = write_mrc(pixels, 0.2)
    (other,) = file_reader(str(path))
    image = read_image(path)
    assert np.array_equal(image.data, other["data"])
    assert image.pixel_size == pytest.approx(tuple(10 * axis["scale"] for axis in other["axes"]))


@pytest.mark.parametrize("pixel_size", [1.0, 0.0])
def test_the_header_s_default_is_no_calibration(write_mrc: Writer, pixels: Pixels, pixel_size: float) -> None:
    assert read_image(write_mrc(pixels, pixel_size)).pixel_size is None


def test_series(write_mrc: Writer, pixels: Pixels) -> None:
    movie = np.stack([pixels, pixels[::-1], pixels[:, ::-1]])
    path = write_mrc(movie, 0.2)
    assert [(info.kind, info.frames) for info in list_datasets(path)] == [("image series", 3)]
    assert np.array_equal([frame.data for frame in read_images(path)], movie)


def test_big_endian(write_mrc: Writer, pixels: Pixels) -> None:
    path = write_mrc(pixels, 0.2)
    whole = path.read_bytes()
    header = np.frombuffer(whole[:208], "<u4").astype(">u4").tobytes() + b"MAP \x11\x11\0\0"
    path.write_bytes(header.ljust(1024, b"\0") + pixels.astype(">u2").tobytes())
    image = read_image(path)
    assert np.array_equal(image.data, pixels)
    assert image.pixel_size == pytest.approx((0.2, 0.2), rel=1e-6)


def test_second_header_of_fei(write_mrc: Writer, pixels: Pixels) -> None:
    path = write_mrc(pixels, 1.0)
    whole = path.read_bytes()
    second = bytes(44) + struct.pack("<f", 3e-11)
    first = whole[:92] + struct.pack("<i", 131_072) + whole[96:1024]
    path.write_bytes(first + second.ljust(131_072, b"\0") + whole[1024:])
    image = read_image(path)
    assert np.array_equal(image.data, pixels)
    assert image.pixel_size == pytest.approx((0.3, 0.3), rel=1e-6)


@pytest.mark.parametrize(("at", "value"), [(0, 10**6), (4, 0), (8, 2), (92, -1024), (92, 10**6)])
def test_headers_that_promise_what_is_not_there(write_mrc: Writer, pixels: Pixels, at: int, value: int) -> None:
    path = write_mrc(pixels, 0.2)
    whole = path.read_bytes()
    path.write_bytes(whole[:at] + struct.pack("<i", value) + whole[at + 4 :])
    with pytest.raises(FileError, match=r"its header promises .* but it has 4864 bytes"):
        read_image(path)


def test_unknown_type_of_value(write_mrc: Writer, pixels: Pixels) -> None:
    path = write_mrc(pixels, 0.2)
    whole = path.read_bytes()
    path.write_bytes(whole[:12] + struct.pack("<i", 101) + whole[16:])
    with pytest.raises(FileError, match=r"values of mode 101, known are \[0, 1, 2, 4, 6, 12\]"):
        read_image(path)


def test_fourier_transform(write_mrc: Writer) -> None:
    path = write_mrc(np.zeros((40, 96), np.float32), 0.2)
    whole = path.read_bytes()
    path.write_bytes(struct.pack("<4i", 48, 40, 1, 4) + whole[16:])
    with pytest.raises(ImageError, match="complex"):
        read_image(path)
