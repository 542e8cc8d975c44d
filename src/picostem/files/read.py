"""Images out of files: which format, which data set, which frame."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from picostem.errors import FileError, ImageError, UsageError
from picostem.files.dataset import Dataset, Kind, describe
from picostem.files.guard import reading
from picostem.files.identify import identify
from picostem.files.load import image_of
from picostem.image import Image

_READERS = {
    **dict.fromkeys(("png", "jpg", "bmp"), ("picture", "read_picture")),
    "tif": ("tif", "read_tif"),
    "npy": ("arrays", "read_npy"),
    "npz": ("arrays", "read_npz"),
    "mrc": ("mrc", "read_mrc"),
    "nsid": ("nsid", "read_nsid"),
    "zspy": ("zspy", "read_zspy"),
    "sxm": ("sxm", "read_sxm"),
    "spm": ("iso28600", "read_iso28600"),
    "mtrx": ("matrix", "read_matrix"),
    "par": ("scala", "read_scala"),
    "txt": ("height_text", "read_height_text"),
}
"""Format to module and function; all others are RosettaSciIO's. Imported when needed, to start quickly."""


@dataclass(frozen=True)
class DatasetInfo:
    """What a file says of one of its data sets.

    Attributes:
        index: its place in the file: `dataset=` takes this or the name.
        shape: of the array, without colour channels.
        kind: 'image' and 'image series' can be read.
        frames: number of images in it.
        pixel_size: (row, column) in Å, None if not calibrated or not an image.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    kind: Kind
    frames: int
    pixel_size: tuple[float, float] | None


def read_image(path: str | os.PathLike[str], dataset: int | str | None = None, frame: int | None = None) -> Image:
    """One image of a file.

    Args:
        dataset: index or name of the data set, if the file has several images.
        frame: index of the frame, if the data set is a series or movie.

    Raises:
        FileError: the file cannot be read, or which image is meant must be said.
        ImageError: the data set is no real-space image, or too large.
        UsageError: no such data set or frame.
    """
    where = Path(path)
    with _opened(where) as (form, datasets):
        index = _find(where, datasets, dataset) if dataset is not None else _only(where, datasets, frame is not None)
        _check_frame(where, datasets[index], frame)
        with reading(where, form):
            return image_of(datasets[index], _name(where, datasets, index, frame), frame, where)


def read_images(path: str | os.PathLike[str], dataset: int | str | None = None) -> Iterator[Image]:
    """The frames of a series or movie one by one, or the single image.

    What is wrong with the request or the file is said at once, not at the first frame.

    Raises: as read_image.
    """
    where = Path(path)
    with _opened(where) as (_, datasets):
        if dataset is not None:
            index = _find(where, datasets, dataset)
        else:
            index = _only(where, datasets, any(one.kind == "image series" for one in datasets))
        if datasets[index].frames == 0:
            raise _not_an_image(where, datasets[index])
    return _frames(where, index)


def list_datasets(path: str | os.PathLike[str]) -> list[DatasetInfo]:
    """All data sets of a file, images or not. Raises FileError."""
    with _opened(Path(path)) as (_, datasets):
        return [
            DatasetInfo(i, one.name, one.shape, one.kind, one.frames, one.pixel_size) for i, one in enumerate(datasets)
        ]


def _frames(path: Path, index: int) -> Iterator[Image]:
    with _opened(path) as (form, datasets):
        one = datasets[index]
        for frame in [None] if one.kind == "image" else range(one.frames):
            with reading(path, form):
                image = image_of(one, _name(path, datasets, index, frame), frame, path)
            yield image


@contextmanager
def _opened(path: Path) -> Iterator[tuple[str, list[Dataset]]]:
    """The format and the data sets of a file, which stays open meanwhile."""
    form = identify(path)
    module, function = _READERS.get(form, ("rosetta", "read_rosetta"))
    with ExitStack() as stack:
        with reading(path, form):
            reader = getattr(importlib.import_module(f"picostem.files.{module}"), function)
            datasets: list[Dataset] = reader(path, form, stack)
            if not datasets:
                where = "its ser files belong into the same folder" if form == "emi" else "name another file"
                raise FileError(f"{path}: no images in this {form} file: {where}")
        yield form, datasets


def _only(path: Path, datasets: list[Dataset], series: bool) -> int:
    """Index of the only data set that can be meant; of a series if a frame is asked for."""
    wanted: Kind = "image series" if series else "image"
    found = [i for i, one in enumerate(datasets) if one.kind == wanted]
    if len(found) == 1:
        return found[0]
    if found:
        raise FileError(f"{path}: {len(found)} data sets could be meant, choose one ({_choice(datasets, found)})")
    if len(datasets) == 1:
        return 0
    other = [i for i, one in enumerate(datasets) if one.frames]
    if len(other) == 1:
        return other[0]
    if other:
        raise FileError(f"{path}: no single {wanted}, but {len(other)} others, choose one ({_choice(datasets, other)})")
    raise ImageError(f"{path}: no real-space image among its data sets ({_list(datasets)})")


def _find(path: Path, datasets: list[Dataset], wanted: int | str) -> int:
    """Index of a data set by index (a number or digits) or name (case does not matter)."""
    names = [one.name.casefold() for one in datasets]
    if isinstance(wanted, str) and names.count(wanted.casefold()) == 1:
        return names.index(wanted.casefold())
    if isinstance(wanted, int) or wanted.isdecimal():
        if 0 <= int(wanted) < len(datasets):
            return int(wanted)
        raise UsageError(f"{path}: no data set {wanted}, there are: {_list(datasets)}")
    problem = "several data sets are" if names.count(wanted.casefold()) else "no data set is"
    raise UsageError(f"{path}: {problem} called {wanted!r}, choose by number: {_list(datasets)}")


def _check_frame(path: Path, dataset: Dataset, frame: int | None) -> None:
    """Whether this frame of this data set is an image."""
    if dataset.frames == 0:
        raise _not_an_image(path, dataset)
    if dataset.kind == "image" and frame is not None:
        raise UsageError(f"{path}: frame {frame} of {describe(dataset)}: a single image has no frames, leave it out")
    last = dataset.frames - 1
    if dataset.kind == "image series" and frame is None:
        raise FileError(
            f"{path}: a series of {dataset.frames} images ({describe(dataset)}): "
            f"choose one with frame= (--frame), 0 to {last}, or take all with average_series (--average) or read_images"
        )
    if frame is not None and not 0 <= frame <= last:
        raise UsageError(f"{path}: no frame {frame} in {describe(dataset)}: choose 0 to {last}")


def _not_an_image(path: Path, dataset: Dataset) -> ImageError:
    return ImageError(f"{path}: not a real-space image ({describe(dataset)}): {dataset.advice}")


def _name(path: Path, datasets: list[Dataset], index: int, frame: int | None) -> str:
    """The file's name, as far as needed with that of the data set and the number of the frame."""
    name = path.stem if len(datasets) == 1 else f"{path.stem} {datasets[index].name}"
    return name if frame is None else f"{name} frame {frame}"


def _list(datasets: list[Dataset]) -> str:
    return "; ".join(f"{i}: {describe(one)}" for i, one in enumerate(datasets))


def _choice(datasets: list[Dataset], indices: list[int]) -> str:
    return "; ".join(f"dataset={i} (--dataset {i}): {describe(datasets[i])}" for i in indices)
