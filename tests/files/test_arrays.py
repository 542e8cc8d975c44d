"""npy and npz."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.errors import FileError, ImageError
from picostem.files import arrays, list_datasets, read_image, read_images

Pixels = NDArray[np.uint16]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<f8", ">f4", "?", "i1"])
def test_npy(tmp_path: Path, pixels: Pixels, dtype: str, order: Any) -> None:
    values = np.asarray((pixels % 100).astype(dtype), order=order)
    np.save(tmp_path / "a.npy", values)
    image = read_image(tmp_path / "a.npy")
    assert np.array_equal(image.data, values.astype(np.float32))
    assert image.data.flags.c_contiguous
    assert image.data.dtype == np.float32
    assert image.pixel_size is None


def test_npy_movie(tmp_path: Path, pixels: Pixels) -> None:
    movie = np.stack([pixels, pixels[::-1]])
    np.save(tmp_path / "a.npy", movie)
    assert np.array_equal(read_image(tmp_path / "a.npy", frame=1).data, movie[1])
    assert np.array_equal([frame.data for frame in read_images(tmp_path / "a.npy")], movie)


@pytest.mark.parametrize("channels", [3, 4])
def test_npy_of_colours(tmp_path: Path, pixels: Pixels, channels: int) -> None:
    grey = (pixels >> 8).astype(np.uint8)
    np.save(tmp_path / "a.npy", np.stack([grey] * channels, axis=-1))
    assert np.array_equal(read_image(tmp_path / "a.npy").data, grey)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path: Path, pixels: Pixels, save: Any) -> None:
    save(tmp_path / "a.npz", image=pixels, positions=np.zeros((5, 7)), count=np.array(3))
    assert [info.name for info in list_datasets(tmp_path / "a.npz")] == ["image", "positions", "count"]
    assert np.array_equal(read_image(tmp_path / "a.npz", dataset="image").data, pixels)
    with pytest.raises(FileError, match=r"2 data sets could be meant.*'image', image, 40 × 48"):
        read_image(tmp_path / "a.npz")


def test_the_only_image_of_an_npz_needs_no_name(tmp_path: Path, pixels: Pixels) -> None:
    np.savez(tmp_path / "a.npz", image=pixels, columns=np.zeros(5))
    assert np.array_equal(read_image(tmp_path / "a.npz").data, pixels)


class Bomb:
    """Leaves a trace when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    objects = np.array([[Bomb(trace)] * 40] * 40)
    np.save(tmp_path / "a.npy", objects)
    np.savez(tmp_path / "a.npz", objects)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(ImageError, match=r"table.*pickled objects are never loaded"):
            read_image(tmp_path / name)
    np.load(tmp_path / "a.npy", allow_pickle=True)
    assert trace.exists()  # the trap works


@pytest.mark.parametrize("values", [np.zeros(4, "U3"), np.zeros((40, 40), "M8[s]"), np.zeros((40, 40), "f4,f4")])
def test_what_is_not_numbers(tmp_path: Path, values: NDArray[Any]) -> None:
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(ImageError):
        read_image(tmp_path / "a.npy")


def test_prz_too_large_to_unpack(tmp_path: Path, pixels: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.prz"
    with path.open("wb") as file:
        np.savez_compressed(file, data=pixels, meta_data_json=np.array('[{"type": "2D"}]'))
    assert np.array_equal(read_image(path).data, pixels)
    monkeypatch.setattr(arrays, "MAX_MEMBER_BYTES", pixels.nbytes)  # less than with the header
    with pytest.raises(FileError, match="data.npy takes over 3.2 GB: save it as hspy"):
        read_image(path)


def test_zip_of_other_things(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("readme.txt", "words")
    with pytest.raises(FileError, match="without NumPy arrays"):
        read_image(tmp_path / "a.npz")


def test_members_too_large_to_unpack(tmp_path: Path, pixels: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "a.npz", movie=np.stack([pixels] * 3))
    monkeypatch.setattr(arrays, "MAX_MEMBER_BYTES", 3 * pixels.nbytes)
    assert np.array_equal(read_image(tmp_path / "a.npz", frame=2).data, pixels)
    monkeypatch.setattr(arrays, "MAX_MEMBER_BYTES", 3 * pixels.nbytes - 1)
    with pytest.raises(FileError, match="save it as npy"):
        read_image(tmp_path / "a.npz", frame=2)
