"""`picostem batch`: many images, on all cores or a cluster, that can be interrupted at any time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from picostem.cli.failure import say
from picostem.cli.resolve_options import (
    Average,
    Dataset,
    Detector,
    Engine,
    Frame,
    Layers,
    Material,
    Net,
    PixelSize,
    Scattering,
    Semiangle,
    Stride,
    Voltage,
    Window,
)
from picostem.cli.watch import Watch, watch
from picostem.errors import DataError

if TYPE_CHECKING:
    from picostem.batch.run import Tally
    from picostem.batch.task import Outcome, Task


def batch(
    patterns: Annotated[
        list[str],
        typer.Argument(metavar="FILES", help="Images, folders, and globs in quotes such as 'data/**/*.dm4'."),
    ],
    material: Material,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for ledger, results and summary.")],
    pixel_size: PixelSize = None,
    voltage: Voltage = None,
    semiangle: Semiangle = None,
    detector: Detector = None,
    window: Window = 2.0,
    stride: Stride = 1.0,
    scattering: Scattering = "full",
    layers: Layers = "auto",
    engine: Engine = "fit",
    net: Net = None,
    dataset: Dataset = None,
    frame: Frame = None,
    average: Average = False,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Processes; default: one for each core that may be used.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="WHERE", help="Dask cluster (extra batch): local, or its scheduler such as tcp://host:8786."
        ),
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try again what failed before.")] = False,
) -> None:
    """Resolve many images. What is done is never done again: after an interrupt, run the same command to go on."""
    from picostem.batch.run import Plan, run_batch
    from picostem.batch.work import Recipe, find_files
    from picostem.resolve.settings import Settings

    settings = Settings(
        material,
        pixel_size_A=pixel_size,
        voltage_kV=voltage,
        semiangle_mrad=semiangle,
        detector_mrad=detector,
        window_nm=window,
        stride_nm=stride,
        layers=layers,
        scattering=scattering,
        engine=engine,
        net=net,
    )
    out = out.expanduser()
    recipe = Recipe(settings, dataset, frame, average)
    plan = Plan(workers or _cores(), cluster, retry_failed)
    with watch() as bar:
        tally = run_batch(find_files(patterns, out), recipe, out, plan, _Teller(bar, str(out)))
    typer.echo(_words(tally, out))
    if tally.failed:
        raise typer.Exit(DataError.exit_code)


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Teller:
    """Says a line for each image, and on a terminal how far the batch is and when it will end."""

    def __init__(self, bar: Watch, title: str) -> None:
        self._bar, self._start = bar, time.monotonic()
        bar.begin(title, 0, 1)

    def stage(self, name: str, done: int, total: int) -> None:
        """A stage before the images are worked on."""
        self._bar.report(name, done, total)
        self._start = time.monotonic()

    def ended(self, task: Task, outcome: Outcome, done: int, total: int) -> None:
        """An image has been worked on."""
        from picostem.batch.summary import duration, told

        left = duration((time.monotonic() - self._start) / done * (total - done))
        ahead = f"{done} of {total}" + (f", {left} left" if done < total else "")
        self._bar.pause()
        if outcome.answer is None:
            error = outcome.error or ""
            say(error if str(task.path) in error else f"{task.path}: {error}")
        else:
            typer.echo(f"[{ahead}] {task.path}: {told(outcome.answer)}; {outcome.seconds:.1f} s")
        self._bar.report(ahead, done, total)


def _words(tally: Tally, out: Path) -> str:
    parts = [f"{tally.done} done"]
    parts += [f"{tally.failed} failed"] if tally.failed else []
    parts += [f"{tally.before} of them before"] if tally.before else []
    parts += [f"{tally.same} with the contents of another"] if tally.same else []
    return f"{', '.join(parts)}; {out / 'summary.html'}"
