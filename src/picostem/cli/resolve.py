"""`picostem resolve`: images in, results out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from picostem.cli.document import STDOUT, write_document
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
from picostem.cli.several import Report, each
from picostem.errors import OutputError, UsageError

if TYPE_CHECKING:
    from picostem.resolve.result import Result
    from picostem.resolve.settings import Settings


def resolve(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Images: dm3, dm4, emd, tif, mrc, npy, png")],
    material: Material,
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
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for the files, default NAME.picostem; of several images, one in it for each.",
        ),
    ] = None,
    json: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Write the result as JSON (- is standard output), and nothing else unless --out is given. Several "
            "files make an array of those that could be resolved.",
        ),
    ] = None,
) -> None:
    """Resolve the stacking that images show: slip or twist with its error, map, figure, model, report."""
    from picostem.resolve.settings import Settings
    from picostem.structure import load_materials

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
    load_materials(material)  # said once, not for every file
    if frame is not None and frame < 0:
        raise UsageError(f"--frame is {frame}; frames are counted from 0")
    if frame is not None and average:
        raise UsageError("--frame chooses one frame and --average takes all: give one of them")
    places = plan(files, out, json)
    jobs = [Job(file, folder, dataset, frame, average) for file, folder in zip(files, places, strict=True)]
    keep, to_stderr = json is not None, json == STDOUT
    results, code = each(jobs, lambda job, report: _document(job, settings, report, keep), to_stderr=to_stderr)
    if json is not None:
        write_document(results if len(files) > 1 else results[0], json)
    if code:
        raise typer.Exit(code)


@dataclass(frozen=True)
class Job:
    """One image to resolve, or one series to average; `folder` is None where only JSON is wanted."""

    file: Path
    folder: Path | None
    dataset: str | None
    frame: int | None
    average: bool


def plan(files: list[Path], out: Path | None, json: str | None, ending: str = "picostem") -> list[Path | None]:
    """Folder for each file's results, by default its name with an ending.

    A place that cannot be written to is found before anything is computed.

    Raises:
        UsageError: two files have one folder, or the JSON file would replace an image.
        OutputError: a folder cannot be made, or the JSON file not be written.
    """
    if json is not None and json != STDOUT:
        target = Path(json).expanduser()
        if any(target.resolve() == file.resolve() for file in files):
            raise UsageError(f"--json {json} would replace the image: give another name")
        if target.is_dir():
            raise OutputError(f"cannot write {json}: it is a folder; give the name of a file")
        _check_place(target.parent, made=False)
    if json is not None and out is None:
        return [None] * len(files)
    folders = [out.expanduser()] if out and len(files) == 1 else [(out or Path()) / f"{f.stem}.{ending}" for f in files]
    for folder in folders:
        if folders.count(folder) > 1:
            same = " and ".join(str(file) for file, other in zip(files, folders, strict=True) if other == folder)
            raise UsageError(f"{same} would both write to {folder}: take them one by one, each with its own --out")
        _check_place(folder, made=True)
    return list(folders)


def _check_place(folder: Path, made: bool) -> None:
    """Whether a folder is there, or (`made`) can be made, and written to."""
    import os

    nearest = folder
    while made and not os.path.lexists(nearest) and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        why = "a file" if nearest.exists() else "missing"
        raise OutputError(f"cannot write to {folder}: {nearest} is {why}; give another place")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write to {folder}: no permission in {nearest}; give another place")


def _document(job: Job, settings: Settings, report: Report, keep: bool) -> tuple[dict[str, Any] | None, str]:
    """JSON form of a result, if it is to be kept, and the result in some lines; its files are written."""
    from picostem.cli.summary import summarise

    result = _resolve_one(job, settings, report)
    return result.as_dict() if keep else None, summarise(result, job.file, job.folder)


def _resolve_one(job: Job, settings: Settings, report: Report) -> Result:
    from picostem.files import average_series, read_image
    from picostem.pipeline import resolve_with

    if job.average:
        image = average_series(job.file, job.dataset, pixel_size=settings.pixel_size_A, progress=report)
    else:
        image = read_image(job.file, job.dataset, job.frame)
    result = resolve_with(image, settings, report)
    if job.folder is not None:
        from picostem.report import save_result

        report("figure and files", 0, 0)
        save_result(result, job.folder)
    return result
