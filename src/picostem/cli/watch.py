"""A progress bar on standard error, where that is a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Watch:
    """Shows which file, stage and window the work has come to; does nothing without a bar."""

    def __init__(self, bar: Progress | None = None) -> None:
        self._bar = bar
        self._task: TaskID | None = None
        self._title = ""

    def begin(self, name: str, index: int, count: int) -> None:
        """A new file."""
        self._title = name if count == 1 else f"{name} ({index + 1} of {count})"
        self.report("lattice and microscope", 0, 0)

    def report(self, stage: str, done: int, total: int) -> None:
        """A stage of it; a total of 0 if its length is not known."""
        if self._bar is None:
            return
        if self._task is None:
            self._task = self._bar.add_task("")
            self._bar.start()
        self._bar.update(self._task, description=f"{self._title}: {stage}", completed=done, total=total or None)

    def pause(self) -> None:
        """Take the bar away, so that lines can be printed."""
        if self._bar is not None and self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
            self._bar.refresh()
            self._bar.stop()


@contextlib.contextmanager
def watch() -> Iterator[Watch]:
    """A Watch for the duration of a block."""
    if not sys.stderr.isatty():
        yield Watch()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    try:
        yield Watch(bar)
    finally:
        bar.stop()
