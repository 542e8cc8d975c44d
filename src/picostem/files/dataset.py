"""A data set of a file before it is read: its axes, what it is, and a function that loads a part of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from numpy.typing import NDArray

from picostem.files.units import Dimension, dimension, pixel_size
from picostem.image import Acquisition

Kind = Literal[
    "image",
    "image series",
    "diffraction pattern",
    "spectrum or profile",
    "spectrum image",
    "4D data",
    "complex",
    "table",
]
Values = Literal["grey", "colour", "complex", "table"]
Key = tuple[int | slice, ...]

_ADVICE: dict[Kind, str] = {
    "diffraction pattern": "give it the image that belongs to it",
    "spectrum or profile": "give it a two-dimensional image",
    "spectrum image": "give it the ADF image that was recorded along with it",
    "4D data": "integrate 4D-STEM over an annular detector, or save one image of it, and give it that",
    "complex": "give it the image it was made of",
    "table": "save a two-dimensional array of plain numbers, and give it that (pickled objects are never loaded)",
}


@dataclass(frozen=True)
class Axis:
    """One axis of an array. `navigate` says whether it scans positions or frames, None where the file does not say."""

    size: int
    scale: object = 1.0
    units: object = None
    name: str = ""
    navigate: bool | None = None

    @property
    def dimension(self) -> Dimension:
        """What the axis measures."""
        return dimension(self.units)


@dataclass(frozen=True)
class Dataset:
    """One array of a file, not yet in memory.

    Attributes:
        axes: of the array, without that of the colour channels.
        load: gives the part of the array at a key with one entry per axis (colour channels stay, last).
        values: what one element is.
        spectral: the file says that the last axis is a spectrum.
    """

    name: str
    axes: tuple[Axis, ...]
    load: Callable[[Key], NDArray[Any]]
    values: Values = "grey"
    spectral: bool = False
    acquisition: Acquisition = field(default_factory=Acquisition)
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array, without colour channels."""
        return tuple(axis.size for axis in self.axes)

    @property
    def long_axes(self) -> tuple[int, ...]:
        """Indices of the axes that count: those of size 1 are dropped, but two are always kept."""
        surplus = max(len(self.axes) - 2, 0)
        short = [i for i, axis in enumerate(self.axes) if axis.size == 1][:surplus]
        return tuple(i for i in range(len(self.axes)) if i not in short)

    @property
    def kind(self) -> Kind:
        """What the array is, told from the number of its axes and what they measure."""
        if self.values in ("complex", "table"):
            return "complex" if self.values == "complex" else "table"
        axes = [self.axes[i] for i in self.long_axes]
        dimensions = [axis.dimension for axis in axes]
        scanned = [axis.navigate for axis in axes].count(True)
        if len(axes) < 2:
            return "spectrum or profile"
        if "energy" in dimensions or (len(axes) > 2 and (self.spectral or scanned == len(axes) - 1)):
            return "spectrum image"
        if len(axes) > 3:
            return "4D data"
        if [self.axes[i].dimension for i in self.image_axes].count("length") < 2 and (
            "reciprocal" in dimensions or "angle" in dimensions
        ):
            return "diffraction pattern"
        return "image" if len(axes) == 2 else "image series"

    @property
    def image_axes(self) -> tuple[int, int]:
        """Indices of rows and columns: of three axes the two that are lengths, or do not scan, or come last."""
        candidates = self.long_axes
        if len(candidates) == 3:
            lengths = [i for i in candidates if self.axes[i].dimension == "length"]
            still = [i for i in candidates if self.axes[i].navigate is False]
            candidates = next((tuple(pair) for pair in (lengths, still) if len(pair) == 2), candidates)
        return candidates[-2], candidates[-1]

    @property
    def frames(self) -> int:
        """Number of images that can be read from this data set."""
        if self.kind == "image":
            return 1
        return self.axes[self._frame_axis].size if self.kind == "image series" else 0

    @property
    def pixel_size(self) -> tuple[float, float] | None:
        """(row, column) spacing in Å, None where the file does not say it for both."""
        if self.frames == 0:
            return None
        row, column = (pixel_size(self.axes[i].scale, self.axes[i].units) for i in self.image_axes)
        return None if row is None or column is None else (row, column)

    def key(self, frame: int | None) -> Key:
        """Where one image stands in the array."""
        key: list[int | slice] = [0] * len(self.axes)
        for i in self.image_axes:
            key[i] = slice(None)
        if frame is not None:
            key[self._frame_axis] = frame
        return tuple(key)

    @property
    def _frame_axis(self) -> int:
        return next(i for i in self.long_axes if i not in self.image_axes)

    @property
    def advice(self) -> str:
        """What to do with a data set that is no image."""
        return _ADVICE.get(self.kind, "")


def describe(dataset: Dataset) -> str:
    """Name, kind and size in a few words, for messages."""
    size = " × ".join(str(n) for n in dataset.shape)
    return f"{dataset.name!r}, {dataset.kind}, {size}"
