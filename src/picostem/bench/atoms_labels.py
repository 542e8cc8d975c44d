"""Atoms of micrographs against the labels that others published for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from picostem.atoms.predict import AtomNet
from picostem.bench.atoms import found_atoms
from picostem.bench.atoms_positions import Figures
from picostem.bench.atoms_score import matched
from picostem.bench.table import Table, number
from picostem.errors import FileError
from picostem.files import read_image
from picostem.image import Image

FloatArray = NDArray[np.float64]

LABELS = {"single_atoms/*_Results.csv": 1.5, "monolayers/WSe2_Ti/*_pts_new.npy": 0.7}
"""Files of labels, and Å within which an atom is the labelled one."""


@dataclass(frozen=True)
class Labelled:
    """A micrograph: labelled atoms, found ones, and how many are both."""

    name: str
    labelled: int
    found: int
    both: int

    @property
    def f1(self) -> float:
        """Of found against labelled atoms."""
        return 2 * self.both / max(self.labelled + self.found, 1)

    @property
    def row(self) -> tuple[str, ...]:
        """Of the table."""
        shares = (self.both / max(self.labelled, 1), self.both / max(self.found, 1), self.f1)
        return (self.name, str(self.labelled), str(self.found), *(number(share, 3) for share in shares))


def measure(folder: Path, weights: str | None = None) -> Figures:
    """Find the atoms of labelled micrographs: Pt on carbon, NNN_*.tif with NNN_Results.csv, and WSe2 with Ti, *.dm4
    with *_pts_new.npy.

    Args:
        folder: with `single_atoms` or `monolayers/WSe2_Ti` in it. weights: folder of a network; None for maxima.

    Raises:
        FileError: there are no labels in the folder, or an image of theirs is missing.
    """
    net = None if weights is None else AtomNet.load(weights)
    scored: list[Labelled] = []
    for pattern, reach in LABELS.items():
        group = [_score(path, reach, net) for path in sorted(folder.glob(pattern))]
        if group:
            sums = (sum(getattr(one, field) for one in group) for field in ("labelled", "found", "both"))
            scored += [*group, Labelled(f"all of {pattern.split('/')[-2]}", *sums)]
    if not scored:
        raise FileError(f"{folder}: expected labels {' or '.join(LABELS)}, found none")
    head = ("micrograph", "labelled", "found", "of the labelled", "of the found", "F1")
    figures = {"micrographs": [{**vars(one), "f1": one.f1} for one in scored]}
    return Figures(Table("Published labels", head, tuple(one.row for one in scored)), figures)


def _score(path: Path, reach: float, net: AtomNet | None) -> Labelled:
    """Of a file of labels; reach in Å."""
    image, labels = _read(path)
    if image.pixel_size is None:
        raise FileError(f"{path}: the image of these labels has no pixel size")
    table = found_atoms(image, None, net).table
    place = np.column_stack([table.row, table.col])
    both = matched(place, labels, reach / image.pixel_size[0])[0]
    return Labelled(path.name.rsplit("_", 1)[0].removesuffix("_pts"), len(labels), len(place), len(both))


def _read(path: Path) -> tuple[Image, FloatArray]:
    """The image of a file of labels, and their row and column, pixels."""
    if path.suffix == ".csv":
        start, columns = path.name.split("_")[0], np.loadtxt(path, delimiter=",", skiprows=1)[:, 1:]
        images = sorted(path.parent.glob(f"{start}_*.tif"))
    else:
        start, columns = path.name.split("_")[1].removeprefix("Ti"), np.load(path).astype(np.float64)
        images = sorted(path.parent.glob(f"*_ADF1_{start}.dm4"))
    if len(images) != 1:
        raise FileError(f"{path}: expected one image of these labels beside them, found {len(images)}")
    return read_image(images[0]), np.asarray(columns[:, ::-1])
