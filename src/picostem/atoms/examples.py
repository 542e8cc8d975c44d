"""A user's own images with their atoms, for a network to learn from.

Atoms come from a table beside the image, as people or `picostem atoms` write it; without one, from the image itself, as
Ziatdinov et al. made theirs (arXiv 1801.05133): those that the fit finds, and what is left where the lattice is taken
off. An image is kept in electrons, so that it can be shown at a smaller dose.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from picostem.atoms.find import find_atoms
from picostem.atoms.reading import PIXEL_A, Reading
from picostem.atoms.recording import measure_recording
from picostem.atoms.scale import peak_width, width_at
from picostem.atoms.scene import SURE, Scene
from picostem.atoms.specimens import KINDS, SINGLE, VACANCY
from picostem.atoms.subtraction import subtract_lattice
from picostem.errors import DataError, FileError, UsageError
from picostem.files import read_images
from picostem.image import Image, check_image

FloatArray = NDArray[np.float64]
Columns = dict[str, list[Any]]

TABLES = (".parquet", ".csv")
"""Endings of tables; of two for an image, the first."""
CLASS_COLUMNS = ("class", "species")
ONE_CLASS = ("atom",)
BRIGHTER, DARKER = "brighter", "darker"
"""Atoms that differ from the lattice, where no table names classes; a darker site without an atom is a vacancy."""
SHARE = 0.5
"""Of what a network learns from, if it learns from drawn scenes too."""
REACH = 2.0  # standard deviations of a peak between an atom and the defect that it is
LEAST_DOSE = 0.25  # of the image's own, at which it is shown
TURNED = 0.5  # of what is shown: the other half keeps its pixels, and so its noise
QUARTER = math.pi / 2


@dataclass(frozen=True, eq=False)
class Labels:
    """Atoms of an image: row and column, pixels, shape (n, 2); classes; whether each should be found, shape (n,)."""

    place: FloatArray
    names: NDArray[np.str_]
    sure: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Examples:
    """Images with known atoms.

    Attributes:
        names: of the images' files. scenes: one for each; `kind` is an index into `classes`, or into
            `picostem.atoms.specimens.KINDS` if there is one class; grey levels are electrons. classes: of atoms.
        share: of what a network learns from; the rest are drawn scenes. sha256: of all files.

    Raises:
        UsageError: a share out of range, or drawn scenes to go with classes that these have not.
    """

    names: tuple[str, ...]
    scenes: tuple[Scene, ...]
    classes: tuple[str, ...]
    share: float
    sha256: str

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UsageError(f"the share of examples is {self.share}; expected a number above 0, at most 1")
        if self.share < 1 and self.classes not in (ONE_CLASS, KINDS):
            raise UsageError(
                f"drawn scenes know nothing of the classes {', '.join(self.classes)}: take a share of examples of 1, "
                f"or name classes as they do ({', '.join(KINDS)}), or tell no classes"
            )

    @property
    def side(self) -> int:
        """Pixels of the largest patch that all images hold, a multiple of 4."""
        least = min(min(one.data.shape) * one.pixel_size for one in self.scenes)
        return int(max(math.ceil(least / PIXEL_A) - 2, 0) // 4 * 4)

    @property
    def held(self) -> int:
        """Images that are kept from learning: of four or more, a quarter."""
        return len(self.scenes) // 4

    def parted(self) -> tuple[Examples, Examples]:
        """Those to learn from, and those to measure with: the last ones, or all where none are held."""
        kept = len(self.scenes) - self.held
        last = slice(kept if self.held else 0, None)
        return (
            replace(self, names=self.names[:kept], scenes=self.scenes[:kept]),
            replace(self, names=self.names[last], scenes=self.scenes[last]),
        )

    def draw(self, rng: np.random.Generator, extent_A: float) -> Scene:
        """A part of an image, a square of that side if it is as large, so that images count by their area."""
        area = np.array([one.data.size * one.pixel_size**2 for one in self.scenes])
        scene = self.scenes[int(rng.choice(len(area), p=area / area.sum()))]
        size = np.minimum(scene.data.shape, math.ceil(extent_A / scene.pixel_size))
        return _part(scene, rng.integers(0, np.array(scene.data.shape) - size + 1), size)


def load_examples(folder: Path, *, classes: bool = False, share: float | None = None) -> Examples:
    """The images of a folder, in any format that `picostem.files` reads, with tables NAME.csv or NAME.parquet beside.

    A table has columns `row` and `col`, pixels from 0, and where classes are asked for `class` or `species`; what is of
    the class vacancy is no atom. Of a movie the first frame is taken, and rows whose `frame` is 0 if that is a column.

    Args:
        classes: tell the tables' classes apart; without tables these are atom, brighter, darker and vacancy.
        share: see `Examples`; None for SHARE, and for 1 where drawn scenes do not have the classes.

    Raises:
        FileError: no folder, no images in it, an unreadable file. ImageError: an image that shows no atoms.
        DataError: a table of something else, or without an image. UsageError: as Examples does.
    """
    images, tables = _files(folder)
    digest, labelled = hashlib.sha256(), {}
    for path in sorted([*images, *tables.values()]):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    if classes and tables and len(tables) < len(images):
        bare = ", ".join(path.name for path in images if path.stem not in tables)
        raise DataError(f"{folder}: nobody knows the classes of {bare}: add a table of its atoms, or take it away")
    for path in images:
        image = next(read_images(path))
        check_image(image)
        table = tables.get(path.stem)
        labelled[path.name] = image, _derived(image, classes) if table is None else _read(table, image, classes)
    found = sorted({name for _, labels in labelled.values() for name in labels.names.tolist()})
    if not found:
        raise DataError(f"{folder}: not one atom in all of its images and tables: give images that show some")
    # those of drawn scenes if they have all of them
    known = ONE_CLASS if not classes else KINDS if set(found) <= set(KINDS) else tuple(found)
    kinds = {KINDS[VACANCY]: VACANCY} if known == ONE_CLASS else {name: k for k, name in enumerate(known)}
    scenes = tuple(_scene(image, labels, kinds) for image, labels in labelled.values())
    if share is None:
        share = SHARE if known in (ONE_CLASS, KINDS) else 1.0
    return Examples(tuple(labelled), scenes, known, share, digest.hexdigest())


def _files(folder: Path) -> tuple[list[Path], dict[str, Path]]:
    """Images in their order, and tables by the name that they share with one."""
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    except OSError as error:
        raise FileError(f"{folder}: {error.strerror or error}: expected a folder of images") from error
    images = [path for path in files if path.suffix.lower() not in (*TABLES, ".json")]
    if not images:
        raise FileError(f"{folder}: no images: put some here, each with a table of its atoms NAME.csv if there is one")
    tables = {path.stem: path for suffix in reversed(TABLES) for path in files if path.suffix.lower() == suffix}
    alone = sorted(tables.keys() - {path.stem for path in images})
    if alone:
        raise DataError(f"{folder}: no image for the table {tables[alone[0]].name}: name both alike")
    twice = [path.name for path in images if path.stem in tables and [one.stem for one in images].count(path.stem) > 1]
    if twice:
        raise DataError(f"{folder}: one table for {' and '.join(twice)}: rename them")
    return images, tables


def _scene(image: Image, labels: Labels, kinds: Mapping[str, int]) -> Scene:
    """An image in electrons, its pixels square: their scale by calibration, else as `Reading` guesses it."""
    pixel = PIXEL_A / Reading.of(image).step
    square = Reading.resampled(image.data, pixel.max() / pixel)
    place = square.place_from_image(labels.place)
    width = width_at(square.data, place) or peak_width(square.data, (float(pixel.max()), float(pixel.max())))[0]
    counts = measure_recording(square.data, (width, width)).counts(square.data).astype(np.float32)
    kind = np.array([kinds.get(name, SINGLE) for name in labels.names.tolist()], dtype=np.int64)
    return Scene(counts, float(pixel.max()), width, place, np.ones(len(kind)), kind, labels.sure)


def _derived(image: Image, told: bool) -> Labels:
    """The atoms that the fit finds; if asked, which are brighter or darker than the lattice, and its empty sites."""
    table = find_atoms(image)
    place, names = np.column_stack([table.row, table.col]), np.full(len(table), ONE_CLASS[0], dtype="U8")
    sure = table.score > SURE
    if not told:
        return Labels(place, names, sure)
    defects = subtract_lattice(image).defects
    away = np.column_stack([defects.row, defects.col])
    said = np.where(defects.sign > 0, BRIGHTER, DARKER)
    gone = defects.sign < 0
    if len(place):
        distance, atom = cKDTree(place).query(away)
        near = distance < REACH * np.median(table.width)
        names[atom[near]] = said[near]
        gone &= ~near
    return Labels(
        np.concatenate([place, away[gone]]),
        np.concatenate([names, np.full(int(gone.sum()), KINDS[VACANCY])]),
        np.concatenate([sure, np.ones(int(gone.sum()), dtype=bool)]),
    )


def _read(path: Path, image: Image, told: bool) -> Labels:
    """The atoms of a table; raises DataError where it says something else."""
    columns = _parquet(path) if path.suffix.lower() == TABLES[0] else _csv(path)
    if not {"row", "col"} <= columns.keys():
        raise DataError(f"{path}: expected columns row and col (pixels), and class if there are some; got {[*columns]}")
    named = next((columns[one] for one in CLASS_COLUMNS if one in columns), None)
    if told and (named is None or not all(named)):
        raise DataError(f"{path}: expected a class of each atom, in a column class or species: add it, or tell none")
    try:
        place = np.array([columns["row"], columns["col"]], dtype=np.float64).T.reshape(-1, 2)
        first = np.array(columns.get("frame", np.zeros(len(place))), dtype=np.float64) == 0
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: expected numbers in row, col and frame ({error}): mend the table") from error
    outside = np.flatnonzero(~np.all((place > -0.5) & (place < np.array(image.data.shape) - 0.5), axis=1) & first)
    if len(outside):
        row, col = place[outside[0]]
        raise DataError(
            f"{path}: {len(outside)} atoms lie outside the image of {image.data.shape[0]} × {image.data.shape[1]} "
            f"pixels, the first at row {row:g}, col {col:g}: are rows and columns swapped, or are these lengths in Å?"
        )
    names = np.array([str(one) for one in named] if named is not None else [ONE_CLASS[0]] * len(place), dtype=np.str_)
    return Labels(place[first], names[first], np.ones(int(first.sum()), dtype=bool))


def _csv(path: Path) -> Columns:
    """Columns of a comma-separated file with a line of names."""
    try:
        lines = [line for line in csv.reader(path.read_text("utf-8-sig").splitlines(), skipinitialspace=True) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"{path}: cannot be read as comma-separated text ({error}): write it again") from error
    head, rows = (lines[0], lines[1:]) if lines else ([], [])
    for number, row in enumerate(rows, 1):
        if len(row) != len(head):
            raise DataError(f"{path}: {len(row)} values in row {number} for {len(head)} columns: mend the table")
    return {name: [row[k] for row in rows] for k, name in enumerate(head)}


def _parquet(path: Path) -> Columns:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        columns: Columns = parquet.read_table(path).to_pydict()
    except (OSError, pa.ArrowException) as error:
        raise FileError(f"{path}: cannot be read as parquet ({error}): write it again") from error
    return columns


def _part(scene: Scene, corner: NDArray[np.int64], size: NDArray[np.int64]) -> Scene:
    """A rectangle of a scene, rows and columns from a corner on."""
    data = scene.data[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]]
    return _kept(scene, data, scene.place - corner)


def _kept(scene: Scene, data: NDArray[np.float32], place: FloatArray) -> Scene:
    """The scene with other data, and those of its atoms that lie inside at their new places."""
    inside = np.all((place > -0.5) & (place < np.array(data.shape) - 0.5), axis=1)
    return replace(
        scene,
        data=data,
        place=place[inside],
        strength=scene.strength[inside],
        kind=scene.kind[inside],
        sure=scene.sure[inside],
    )


def varied(scene: Scene, rng: np.random.Generator, least_A: float) -> Scene:
    """The scene at a smaller dose, in half of all cases turned by any angle, or by a right one if it is too small.

    Grey levels have no other offset or gain: a network reads them standardised.

    Args:
        least_A: side of the square that must be left, Å.
    """
    if rng.random() < TURNED:
        angle = rng.uniform(0, 2 * np.pi)
        small = _inner(scene, angle) * scene.pixel_size < least_A
        scene = turned(scene, QUARTER * round(angle / QUARTER) if small else angle)
    return fainter(scene, math.exp(rng.uniform(math.log(LEAST_DOSE), 0)), rng)


def turned(scene: Scene, angle: float) -> Scene:
    """The largest square about a scene's middle that a turn leaves inside it, its atoms turned along.

    With c the middle of the scene and d that of the square, a place x of the square shows R x + c - R d of the scene,
    R turning rows towards columns by the angle, radians.
    """
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    side = _inner(scene, angle)
    middle, new = (np.array(scene.data.shape) - 1) / 2, (side - 1) / 2
    shift = middle - turn @ np.full(2, new)
    data = ndimage.affine_transform(scene.data, turn, shift, (side, side), order=3, mode="mirror")
    return _kept(scene, data, (scene.place - shift) @ turn)


def _inner(scene: Scene, angle: float) -> int:
    """Pixels on a side of the largest square that a turn leaves inside a scene."""
    return int(min(scene.data.shape) / (abs(math.cos(angle)) + abs(math.sin(angle))) + 1e-9)


def fainter(scene: Scene, share: float, rng: np.random.Generator) -> Scene:
    """The scene at a share of its dose, in the same grey levels.

    Of y electrons, each kept with probability q, q y ± √(q (1 - q) y) are left; over q, that is y ± √((1 - q) y / q).
    """
    noise = np.sqrt((1 - share) / share * np.maximum(scene.data, 0)) * rng.standard_normal(scene.data.shape)
    return replace(scene, data=(scene.data + noise).astype(np.float32))
