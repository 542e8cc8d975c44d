"""A labelled set as files: which images make which files, and which of them are there already."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from picostem.errors import DataError, FileError, UsageError
from picostem.files import read_image
from picostem.simulate.acquisition import AcquisitionSettings
from picostem.simulate.writing import write_simulation
from picostem.style.labelled import is_labelled, label_row, restyle
from picostem.style.recording import is_noise_free
from picostem.style.transfer import PRIOR, TILE, Attribute, Style

SUFFIXES = (".tif", ".tiff")


@dataclass(frozen=True)
class Order:
    """What is asked of a set; the same order gives the same files.

    Attributes:
        attribute: how all images look; None samples one for each file.
        prior: share of the prior in sampled attributes.
        seed: of everything random.
        recording: dose and scan noise for the content before it is styled; None for none.
        pixel_size: of the inputs, Å, where their files do not say.
        tile: as `Style.apply` takes it; does not change what is asked.
    """

    attribute: Attribute | None = None
    prior: float = PRIOR
    seed: int = 0
    recording: AcquisitionSettings | None = None
    pixel_size: float | None = None
    tile: int = TILE

    def as_dict(self, style: Style) -> dict[str, Any]:
        """Plain values, the style's among them, to know files by that this order made."""
        asked = {key: value for key, value in asdict(self).items() if key != "tile"}
        if self.recording is not None and self.recording.is_noise_free:
            asked["recording"]["dose"] = None  # JSON has no infinity
        return dict(json.loads(json.dumps(asked | {"weights": style.fingerprint}, allow_nan=False)))


@dataclass(frozen=True)
class Job:
    """One file to make: a copy of a source in the style, called `name` without suffix."""

    source: Path
    copy: int
    name: str


def plan(inputs: Sequence[Path], count: int, out: Path) -> list[Job]:
    """The files to make of images, or of all tif files in folders: NAME, or NAME_000, NAME_001, ... of several copies.

    Raises:
        UsageError: no copies, two sources of one name, or a file that would replace its source.
        FileError: an input is missing, or a folder without tif files.
    """
    if count < 1:
        raise UsageError(f"count is {count}; expected 1 or more images of each input")
    sources = [source for path in inputs for source in _images(path)]
    by_name: dict[str, Path] = {}
    for source in sources:
        other = by_name.setdefault(source.stem, source)
        if other is not source:
            raise UsageError(
                f"{other} and {source} would both become {source.stem}: style them into folders of their own"
            )
        if out.resolve() == source.parent.resolve() and count == 1:
            raise UsageError(f"{source} would be replaced by its styled image: give another folder than {out}")
    width = max(3, len(str(count - 1)))
    return [
        Job(source, copy, source.stem if count == 1 else f"{source.stem}_{copy:0{width}d}")
        for source in sources
        for copy in range(count)
    ]


def _images(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(one for one in path.iterdir() if one.suffix.lower() in SUFFIXES)
        if not found:
            raise FileError(f"{path}: a folder without tif images; give images, or a folder of simulated ones")
        return found
    if not path.exists():
        raise FileError(f"{path}: no such file or folder")
    return [path]


def is_finished(job: Job, out: Path, asked: Mapping[str, Any]) -> bool:
    """Whether a job's files are there; the truth is written last, so that where it is, both are.

    Raises:
        UsageError: files of that name were made by another order.
    """
    tif, text = out / f"{job.name}.tif", out / f"{job.name}.json"
    if not (tif.exists() and text.exists()):
        return False
    style = _parsed(text).get("style", {})
    if not isinstance(style, dict) or (style.get("asked"), style.get("source")) != (dict(asked), str(job.source)):
        raise UsageError(
            f"{tif} is there and was made from other images or with other settings: "
            "give another --out, or --overwrite to replace it"
        )
    return True


def make(job: Job, style: Style, order: Order, out: Path) -> tuple[str, ...]:
    """Style one image and write it as NAME.tif and NAME.json, each completely or not at all.

    Returns:
        what the user should know of it, a sentence each.

    Raises:
        DataError: the source or its truth cannot be used, or the files not be written.
    """
    image = replace(read_image(job.source), name=job.name)
    if order.pixel_size is not None:
        image = image.with_pixel_size(order.pixel_size, "user")
    truth = _truth_of(job.source)
    # Of its own for each source and copy, so that neither their order nor what was there before plays a part.
    random = np.random.default_rng([order.seed, job.copy, zlib.crc32(job.source.stem.encode())])
    sampling, rng = random.spawn(2)
    attribute = order.attribute or style.sample(sampling, order.prior)
    origin = {"seed": order.seed, "source": str(job.source), "copy": job.copy, "asked": order.as_dict(style)}
    result, told = restyle(
        style, image, truth, attribute, rng, recording=order.recording, origin=origin, tile=order.tile
    )
    (out / f"{job.name}.json").unlink(missing_ok=True)
    write_simulation(out, job.name, result, told)
    return _notes(job, truth, style, told["image"]["pixel_size_A"])


def _truth_of(source: Path) -> dict[str, Any] | None:
    """The labels beside an image, None if there are none."""
    path = source.with_suffix(".json")
    truth = _parsed(path) if path.is_file() else None
    return truth if is_labelled(truth) else None


def _parsed(path: Path) -> dict[str, Any]:
    try:
        truth = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FileError(f"{path}: cannot be read as JSON ({error}): simulate the image again") from error
    if not isinstance(truth, dict):
        raise DataError(f"{path}: expected the truth of a simulated image, found {type(truth).__name__}")
    return truth


def _notes(job: Job, truth: Mapping[str, Any] | None, style: Style, pixel_size: float) -> tuple[str, ...]:
    notes = []
    if truth is None:
        notes.append(f"{job.source}: no truth beside it, so its styled images have no labels")
    elif not is_noise_free(truth):
        notes.append(f"{job.source}: has noise of its own; styles are learned for `picostem simulate --dose inf`")
    size = style.pixel_size_for(pixel_size)
    if size != pixel_size:
        low, high = style.card.pixel_range_A
        notes.append(
            f"{job.source}: {pixel_size:.4g} Å per pixel, styled at {size:.4g} and brought back; "
            f"nothing is lost with {low:.4g} to {high:.4g}"
        )
    return tuple(notes)


def index_rows(out: Path) -> tuple[list[str], list[list[Any]]]:
    """The index of all styled images in a folder: names of its columns, and a row each, None where a label is missing.

    Raises:
        FileError: a truth there cannot be read.
    """
    truths = [_parsed(path) for path in sorted(out.glob("*.json")) if path.with_suffix(".tif").is_file()]
    rows = [label_row(truth) for truth in truths if "style" in truth]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return names, [[row.get(name) for name in names] for row in rows]
