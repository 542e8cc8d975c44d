"""What is to be done: the files that patterns name, and the identity of the work on each."""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from picostem.errors import UsageError
from picostem.files.identify import EXTENSIONS
from picostem.resolve.settings import Settings
from picostem.structure import load_materials
from picostem.version import VERSION

LEDGER = "ledger.sqlite"
RESULTS = "results"

NOT_IN_FOLDERS = {"txt", "xml", "unf"}
"""Endings of formats whose files in a folder are notes and metadata more often than images."""

DATA_BESIDE = {"emi", "par", "rpl", "xml"}
"""Endings of files whose image lies in other files, whose names begin with the same stem."""

Stamp = tuple[int, int]
"""Size in bytes and time of the last change in ns: two equal ones are taken to mean equal contents."""


@dataclass(frozen=True)
class Recipe:
    """What is done with every image.

    Attributes:
        dataset, frame: which image of a file, as `picostem.files.read_image` takes them.
        average: align all frames of a series and resolve their mean.
    """

    settings: Settings
    dataset: str | None = None
    frame: int | None = None
    average: bool = False

    def __post_init__(self) -> None:
        if self.frame is not None and self.frame < 0:
            raise UsageError(f"--frame is {self.frame}; frames are counted from 0")
        if self.frame is not None and self.average:
            raise UsageError("--frame chooses one frame and --average takes all: give one of them")

    def canonical(self) -> str:
        """Everything besides the image that a result depends on, as JSON that is equal where the work is.

        Materials and networks count by what is in their files, and by the names that a result repeats.

        Raises:
            UsageError, DataError: an unknown material or network, or a file of one that cannot be read.
        """
        settings = {
            name: float(value) if isinstance(value, int) else value for name, value in self.settings.as_dict().items()
        }
        materials = load_materials(self.settings.material)
        layers = [(m.name, m.symbols, m.cell.tolist(), m.positions.tolist(), m.layer_spacing) for m in materials]
        networks: list[str] = []
        if self.settings.engine != "fit":
            from picostem.infer.engine import nets_for  # only where it is asked: it takes time to import

            networks = [_digest(sorted(folder.iterdir())) for folder in nets_for(materials[0], self.settings.net)]
        asked = {"dataset": self.dataset, "frame": self.frame, "average": self.average}
        made_of = {"layers": _sha256(json.dumps(layers)), "networks": networks, "version": VERSION}
        return json.dumps({"settings": settings, **asked, **made_of}, sort_keys=True)


def identity(content: str, recipe: str) -> str:
    """SHA-256 of an image's content and the canonical recipe: equal work has equal identities."""
    return _sha256(f"{content}\n{recipe}")


def folder_name(path: Path, job: str) -> str:
    """Name of a result's folder: the image's stem, as far as it can be shown, and the beginning of the identity."""
    # 48 letters of up to 4 bytes leave room for the rest in the 255 bytes that file systems allow.
    stem = "".join(c if c.isprintable() else "_" for c in path.stem[:48])
    return f"{stem}.{job[:12]}"


def content_of(path: Path) -> str:
    """SHA-256 of a file, with the files beside it or in it (zspy) that hold its data.

    Raises:
        OSError: it is missing or cannot be read.
    """
    return _digest(_parts(path))


def stamp_of(path: Path) -> Stamp:
    """Whether a file is the one that was looked at before can be told from this without reading it.

    Raises:
        OSError: it is missing.
    """
    found = [part.stat() for part in _parts(path)]
    return sum(one.st_size for one in found), max((one.st_mtime_ns for one in found), default=0)


def _parts(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(part for part in path.rglob("*") if part.is_file())
    if path.suffix.lower().lstrip(".") in DATA_BESIDE:
        return sorted(part for part in path.parent.iterdir() if part.name.startswith(path.stem) and part.is_file())
    return [path]


def _digest(paths: Sequence[Path]) -> str:
    digests = []
    for path in paths:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else _sha256("".join(digests))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def find_files(patterns: Sequence[str], out: Path) -> list[Path]:
    """The files that patterns name, absolute, each once, in the order of their names.

    Args:
        patterns: files, folders (all images in them and below) and globs, ** for any folders.
        out: the folder of the batch: nothing in it is an image to resolve.

    Raises:
        UsageError: a pattern names nothing.
    """
    found: set[Path] = set()
    for pattern in patterns:
        named = list(_named(os.path.expanduser(pattern)))
        if not named:
            raise UsageError(f"no image is called {pattern!r}: check the path (the current folder is {os.getcwd()})")
        found.update(Path(os.path.abspath(path)) for path in named)
    own = Path(os.path.abspath(out))
    return sorted(path for path in found if not path.is_relative_to(own))


def _named(pattern: str) -> Iterator[str]:
    if os.path.lexists(pattern):
        yield from [pattern] if _is_one(pattern) else _images_in(pattern)
        return
    for path in glob.iglob(pattern, recursive=True):
        if _is_one(path) and not _is_result(os.path.dirname(path)):
            yield path


def _images_in(folder: str) -> Iterator[str]:
    """Images in a folder and below, but hidden ones."""
    for where, folders, files in os.walk(folder):
        if not _is_result(where):
            yield from (os.path.join(where, name) for name in (*files, *folders) if _is_image(name))
        folders[:] = [name for name in folders if not name.startswith(".") and not name.endswith(".zspy")]


def _is_one(path: str) -> bool:
    """Whether a path is one file, or a folder that is an image."""
    return not os.path.isdir(path) or path.endswith(".zspy")


def _is_result(folder: str) -> bool:
    """Whether a result is in a folder: its figure and its simulated image are none to resolve."""
    return all(os.path.exists(os.path.join(folder, name)) for name in ("result.json", "figure.png"))


def _is_image(name: str) -> bool:
    ending = os.path.splitext(name)[1].lower().lstrip(".")
    return not name.startswith(".") and ending in EXTENSIONS and ending not in NOT_IN_FOLDERS
