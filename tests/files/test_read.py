"""Which data set, which frame: requests and their answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from picostem.errors import FileError, ImageError, UsageError
from picostem.files import DatasetInfo, list_datasets, read_image, read_images
from picostem.files.load import image_of
from picostem.image import Image

Pixels = NDArray[np.uint16]


@pytest.fixture
def movie(tmp_path: Path, pixels: Pixels) -> Path:
    path = tmp_path / "movie.tif"
    frames = np.stack([pixels, pixels[::-1], pixels[:, ::-1]])
    tifffile.imwrite(path, frames, imagej=True, resolution=(1 / 0.03, 1 / 0.02), metadata={"unit": "nm"})
    return path


@pytest.fixture
def several(tmp_path: Path, pixels: Pixels) -> Path:
    path = tmp_path / "several.npz"
    frames = np.stack([pixels, pixels[::-1]])
    np.savez(path, HAADF=pixels, movie=frames, profile=pixels[0], transform=np.fft.fft2(pixels))
    return path


def test_the_single_image_among_others_is_taken(several: Path, pixels: Pixels) -> None:
    image = read_image(several)
    assert np.array_equal(image.data, pixels)
    assert (image.name, image.path) == ("several HAADF", several)


def test_the_single_series_is_taken_when_a_frame_is_asked_for(several: Path, pixels: Pixels) -> None:
    image = read_image(several, frame=1)
    assert np.array_equal(image.data, pixels[::-1])
    assert image.name == "several movie frame 1"


@pytest.mark.parametrize("dataset", [0, "0", "HAADF", "haadf"])
def test_by_number_or_name(several: Path, pixels: Pixels, dataset: int | str) -> None:
    assert np.array_equal(read_image(several, dataset).data, pixels)


def test_str_and_path(several: Path, pixels: Pixels) -> None:
    assert np.array_equal(read_image(str(several)).data, pixels)


def test_names_that_look_like_numbers_come_first(tmp_path: Path, pixels: Pixels) -> None:
    named: dict[str, Any] = {"1": pixels, "0": pixels[::-1]}
    np.savez(tmp_path / "a.npz", **named)
    assert np.array_equal(read_image(tmp_path / "a.npz", "0").data, pixels[::-1])
    assert np.array_equal(read_image(tmp_path / "a.npz", 0).data, pixels)


def test_list(several: Path) -> None:
    assert list_datasets(several) == [
        DatasetInfo(0, "HAADF", (40, 48), "image", 1, None),
        DatasetInfo(1, "movie", (2, 40, 48), "image series", 2, None),
        DatasetInfo(2, "profile", (48,), "spectrum or profile", 0, None),
        DatasetInfo(3, "transform", (40, 48), "complex", 0, None),
    ]


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        ({"dataset": 4}, UsageError, "no data set 4, there are: 0: 'HAADF'"),
        ({"dataset": -1}, UsageError, "no data set -1"),
        ({"dataset": "BF"}, UsageError, "no data set is called 'BF'"),
        ({"dataset": "profile"}, ImageError, "not a real-space image .'profile', spectrum or profile, 48"),
        ({"dataset": "movie"}, FileError, "a series of 2 images .*frame= .--frame., 0 to 1, or .* read_images"),
        ({"dataset": "movie", "frame": 2}, UsageError, "no frame 2 in 'movie', .*: choose 0 to 1"),
        ({"dataset": "movie", "frame": -1}, UsageError, "no frame -1"),
        ({"dataset": "HAADF", "frame": 0}, UsageError, "a single image has no frames, leave it out"),
    ],
)
def test_requests_that_cannot_be_met(several: Path, request_: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        read_image(several, **request_)
    assert type(caught.value) is error
    assert str(caught.value).startswith(f"{several}: ")
    assert "\n" not in str(caught.value)


def test_names_that_are_not_unique(write_dm: Any, pixels: Pixels, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=pixels, A=pixels)
    with pytest.raises(UsageError, match="several data sets are called 'a', choose by number: 0: "):
        read_image(tmp_path / "a.npz", "a")


def test_several_series(tmp_path: Path, pixels: Pixels) -> None:
    frames = np.stack([pixels] * 2)
    np.savez(tmp_path / "a.npz", a=frames, b=frames)
    with pytest.raises(FileError, match=r"no single image, but 2 others, choose one \(dataset=0 .*dataset=1 "):
        read_image(tmp_path / "a.npz")
    with pytest.raises(FileError, match="2 data sets could be meant"):
        read_images(tmp_path / "a.npz")
    assert read_image(tmp_path / "a.npz", "b", frame=1).name == "a b frame 1"


def test_a_series_among_other_things_is_offered(tmp_path: Path, pixels: Pixels) -> None:
    np.savez(tmp_path / "a.npz", movie=np.stack([pixels] * 2), profile=pixels[0])
    with pytest.raises(FileError, match="a series of 2 images"):
        read_image(tmp_path / "a.npz")


def test_no_image_at_all(tmp_path: Path, pixels: Pixels) -> None:
    np.savez(tmp_path / "a.npz", profile=pixels[0], transform=np.fft.fft2(pixels))
    with pytest.raises(ImageError, match=r"no real-space image among its data sets \(0: 'profile'.*1: 'transform'"):
        read_image(tmp_path / "a.npz")


class TestReadImages:
    def test_frames_have_all_that_an_image_has(self, movie: Path) -> None:
        frames = list(read_images(movie))
        assert [frame.name for frame in frames] == [f"movie frame {i}" for i in range(3)]
        for i, frame in enumerate(frames):
            single = read_image(movie, frame=i)
            assert np.array_equal(frame.data, single.data)
            assert (frame.pixel_size, frame.path) == (single.pixel_size, movie)

    def test_reads_no_further_than_asked(self, movie: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        read_so_far = []

        def counted(*given: Any) -> Image:
            read_so_far.append(1)
            return image_of(*given)

        monkeypatch.setattr("picostem.files.read.image_of", counted)
        frames = read_images(movie)
        next(frames)
        assert len(read_so_far) == 1
        frames.close()  # type: ignore[attr-defined]
        movie.unlink()  # nothing holds it any more, not on Windows either

    def test_complains_before_the_first_frame(self, several: Path, tmp_path: Path) -> None:
        with pytest.raises(FileError):
            read_images(tmp_path / "missing.tif")
        with pytest.raises(ImageError):
            read_images(several, "profile")
        with pytest.raises(UsageError):
            read_images(several, "BF")

    def test_prefers_the_series_and_accepts_the_image(self, several: Path) -> None:
        assert len(list(read_images(several))) == 2
        assert len(list(read_images(several, "HAADF"))) == 1


def test_importing_is_cheap() -> None:
    """The command line's --help must be instant: readers are imported when a file is read."""
    heavy = ("rsciio", "tifffile", "pint", "h5py", "PIL", "dask", "scipy", "hyperspy", "xml.etree")
    code = f"import sys, picostem.files; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
