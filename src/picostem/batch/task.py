"""The work on one image, wherever it is done: a result in a folder, complete and on the disk, or why there is none."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picostem.batch.work import Recipe, Stamp, stamp_of
from picostem.errors import FileError, OutputError, PicostemError
from picostem.image import Image


@dataclass(frozen=True)
class Task:
    """An image to resolve.

    Attributes:
        job: the identity of the work.
        stamp: of the file when its identity was found.
        folder: for the result.
    """

    job: str
    path: Path
    stamp: Stamp
    recipe: Recipe
    folder: Path


@dataclass(frozen=True)
class Outcome:
    """What came of a task: what the summary tells of its result, or an error.

    Attributes:
        fatal: the error is not the image's: nothing can be written.
    """

    answer: dict[str, Any] | None = None
    error: str | None = None
    fatal: bool = False
    seconds: float = 0.0


Work = Callable[[Task], Outcome]
Outcomes = Generator[tuple[Task, Outcome], None, None]


def resolve_task(task: Task) -> Outcome:
    """Resolve an image and write its result; whatever goes wrong is an outcome, too.

    A result that is there already was left by a run that ended before its ledger knew, and is taken over.
    """
    start = time.perf_counter()
    try:
        if not is_complete(task.folder):
            _resolve(task)
        document = json.loads((task.folder / "result.json").read_bytes())
        return Outcome(answer=answer_of(document), seconds=time.perf_counter() - start)
    except OutputError as error:
        return Outcome(error=str(error), fatal=True)
    except Exception as error:
        return Outcome(error=_told(error), seconds=time.perf_counter() - start)


def is_complete(folder: Path) -> bool:
    """Whether a result's folder is there; where it is, all of it is."""
    return (folder / "result.json").exists()


def _resolve(task: Task) -> None:
    from threadpoolctl import threadpool_limits

    from picostem.pipeline import resolve_with
    from picostem.report.contents import FILES
    from picostem.report.place import staged
    from picostem.report.save import save_result

    _check_unchanged(task)
    # Images go side by side: threads of BLAS and OpenMP would get into each other's way.
    with threadpool_limits(1), staged(task.folder, tuple(FILES)) as part:
        save_result(resolve_with(_image(task), task.recipe.settings), part)
        for path in (*part.iterdir(), part):
            _sync(path)
    _sync(task.folder.parent)


def _image(task: Task) -> Image:
    from picostem.files import average_series, read_image

    recipe = task.recipe
    if recipe.average:
        return average_series(task.path, recipe.dataset, pixel_size=recipe.settings.pixel_size_A)
    return read_image(task.path, recipe.dataset, recipe.frame)


def _check_unchanged(task: Task) -> None:
    try:
        unchanged = stamp_of(task.path) == task.stamp
    except OSError as error:
        raise FileError(f"{task.path}: {error.strerror or error}: check the path and the disk") from error
    if not unchanged:
        raise FileError(f"{task.path}: changed while the batch went on: run it again when the file is complete")


def _sync(path: Path) -> None:
    """Wait until a file or the list of a folder is on the disk, so that no power cut takes it."""
    if os.name == "nt":  # which opens no folders
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _told(error: Exception) -> str:
    if isinstance(error, PicostemError):
        return " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return "not enough memory: crop the image, or use fewer workers or a machine with more"
    return " ".join(f"unforeseen error, please report it: {type(error).__name__}: {error}".split())


def answer_of(document: dict[str, Any]) -> dict[str, Any]:
    """What the summary tells of a result, from its result.json: one entry for each interface, and the image's own."""
    image, fit, windows = document["image"], document["fit"] or {}, document["map"] or {}
    return {
        "verdict": document["verdict"],
        "reason": document["reason"],
        "pixel_size_A": image["pixel_size_A"],
        "chi2_reduced": fit.get("chi2_reduced"),
        "windows": windows.get("windows"),
        "interfaces": [_interface(one) for one in document["interfaces"]],
    }


def _interface(one: dict[str, Any]) -> dict[str, Any]:
    (x, y), ((xx, _), (_, yy)) = one["slip_cart_A"], one["slip_cov_A2"]
    own = bool(one["twist_sigma_deg"])
    # Layers with lattices of their own have no common slip, and the twist of those with one lattice is exact.
    return {
        "lower": one["lower"],
        "upper": one["upper"],
        "slip_x_A": None if own else x,
        "slip_y_A": None if own else y,
        "slip_sigma_A": None if own or xx is None or yy is None else (xx + yy) ** 0.5,
        "slip_bound_A": None if own else one["slip_bound_A"],
        "twist_deg": one["twist_deg"],
        "twist_sigma_deg": one["twist_sigma_deg"],
        "twist_bound_deg": one["twist_bound_deg"] if own else None,
    }
