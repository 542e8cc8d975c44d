"""Work that takes no time or ends badly, files to do it on, and a batch as a program of its own."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from picostem.batch.run import Plan, Tally, run_batch
from picostem.batch.task import Outcome, Task, answer_of, is_complete
from picostem.batch.work import Recipe, find_files
from picostem.report.place import staged
from picostem.resolve.settings import Settings


def document(verdict: str = "slip", **changed: Any) -> dict[str, Any]:
    """What a summary reads of a result.json."""
    interface = {
        "lower": 1,
        "upper": 2,
        "slip_cart_A": [0.62, -1.25],
        "slip_cov_A2": [[9e-6, 0.0], [0.0, 16e-6]],
        "slip_bound_A": 0.004,
        "twist_deg": 0.0,
        "twist_sigma_deg": 0.0,
        "twist_bound_deg": 0.0,
    }
    return {
        "verdict": verdict,
        "reason": None,
        "image": {"pixel_size_A": 0.12},
        "fit": {"chi2_reduced": 1.25},
        "map": {"windows": 25},
        "interfaces": [{**interface, **changed}],
    }


def quick(task: Task) -> Outcome:
    """A result that says which bytes it was made of, as quickly as can be."""
    if not is_complete(task.folder):
        with staged(task.folder, ("bytes", "result.json")) as part:
            (part / "bytes").write_bytes(task.path.read_bytes())
            (part / "result.json").write_text(json.dumps(document()))
    return Outcome(answer=answer_of(document()), seconds=0.01)


def slow(task: Task) -> Outcome:
    """The same, but it lies half-written for 0.3 s."""
    if not is_complete(task.folder):
        with staged(task.folder, ("bytes", "result.json")) as part:
            (part / "bytes").write_bytes(task.path.read_bytes())
            time.sleep(0.3)
            (part / "result.json").write_text(json.dumps(document()))
    return Outcome(answer=answer_of(document()), seconds=0.3)


def sick(task: Task) -> Outcome:
    """Work that ends as the file's name says."""
    name = task.path.stem
    marker = task.path.with_suffix(".tried")
    if name == "killed" or (name == "killed_once" and not marker.exists()):
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "bad" and not marker.exists():
        marker.touch()
        return Outcome(error="bad: no image", seconds=0.01)
    if name == "full":
        return Outcome(error="the disk is full", fatal=True)
    return quick(task)


class Silent:
    """Listens, and keeps which files ended how."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Outcome]] = []

    def stage(self, name: str, done: int, total: int) -> None:
        """A stage."""

    def ended(self, task: Task, outcome: Outcome, done: int, total: int) -> None:
        """An image."""
        self.heard.append((task.path.name, outcome))


RECIPE = Recipe(Settings("ReS2"))


def files_of(folder: Path, *names: str) -> Path:
    """A folder with npy files that hold their names."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}.npy").write_text(name)
    return folder


def batch(
    folder: Path, out: Path, work: Any = quick, recipe: Recipe = RECIPE, **plan: Any
) -> tuple[Tally, list[tuple[str, Outcome]]]:
    """Run a batch over a folder; what it came to, and which files were worked on."""
    listener = Silent()
    tally = run_batch(find_files([str(folder)], out), recipe, out, Plan(**plan), listener, work)
    return tally, listener.heard


def contents(out: Path) -> dict[str, bytes]:
    """All files of all results, hidden ones too."""
    root = out / "results"
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def main(arguments: Sequence[str]) -> None:
    """A program: folder, out."""
    folder, out = map(Path, arguments)
    batch(folder, out, slow, workers=2)


if __name__ == "__main__":
    main(sys.argv[1:])
