"""From a data set to an Image."""

from __future__ import annotations

from pathlib import Path

from picostem.files.dataset import Dataset
from picostem.files.grey import to_grey
from picostem.image import Image, check_size


def image_of(dataset: Dataset, name: str, frame: int | None = None, path: Path | None = None) -> Image:
    """One image of a data set of kind 'image' (frame None) or 'image series' (frame a valid index).

    Its size is checked before memory is taken for it.

    Raises:
        ImageError: larger than an image may be.
    """
    rows, columns = (dataset.shape[i] for i in dataset.image_axes)
    check_size((rows, columns), str(path or name))
    grey, notes = to_grey(dataset.load(dataset.key(frame)))
    return Image(
        data=grey,
        pixel_size=dataset.pixel_size,
        pixel_size_source=None if dataset.pixel_size is None else "file",
        name=name,
        path=path,
        acquisition=dataset.acquisition,
        notes=dataset.notes + notes,
    )
