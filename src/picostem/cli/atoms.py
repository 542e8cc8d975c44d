"""`picostem atoms`: images or movies in, tables of all their atoms out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from picostem.atoms.settings import FINDER
from picostem.cli.document import STDOUT, write_document
from picostem.cli.resolve import plan
from picostem.cli.several import each
from picostem.errors import UsageError

if TYPE_CHECKING:
    from picostem.atoms.columns import Columns
    from picostem.atoms.predict import AtomNet
    from picostem.atoms.survey import Progress, Survey
    from picostem.image import Image


def atoms(
    files: Annotated[
        list[Path], typer.Argument(metavar="IMAGE", help="Images or movies: dm4, emd, tif, sxm, spm, ...")
    ],
    pixel_size: Annotated[
        float | None, typer.Option(metavar="Å", help="Å per pixel; else the file's, else places are in pixels only.")
    ] = None,
    cif: Annotated[
        str | None,
        typer.Option(
            "--cif",
            "--material",
            "-m",
            metavar="CRYSTAL",
            help="The crystal that is shown, to name sites and vacancies: a built-in name (see `picostem materials`) "
            "or a CIF, POSCAR or xyz file with c along the beam.",
        ),
    ] = None,
    weights: Annotated[
        str,
        typer.Option(
            metavar="NET",
            help="Network that proposes where atoms are: one that comes with picostem, the folder that `picostem train "
            "atoms` left in DIR/net, or `none` for the peaks that stand out alone.",
        ),
    ] = FINDER,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Data set of a file that holds several, by name or number.")
    ] = None,
    frame: Annotated[
        int | None, typer.Option(metavar="N", help="Only this frame of a movie, from 0; else all, with tracks.")
    ] = None,
    still: Annotated[
        bool,
        typer.Option("--still", help="Atoms of a movie stay in place: find them in its mean, refine in each frame."),
    ] = False,
    stm: Annotated[
        bool,
        typer.Option(
            "--stm", help="A tip scanned the image, though its file does not say so; sxm, spm and their like do."
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder for the files, default NAME.atoms; of several images, one in it for each."
        ),
    ] = None,
    json: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Write the result as JSON (- is standard output), and nothing else unless --out is given. Several "
            "files make an array of those that could be used.",
        ),
    ] = None,
) -> None:
    """Find every atom of images: place with covariance, class, vacancies; in movies, tracks."""
    from picostem.atoms.columns import load_columns
    from picostem.atoms.predict import AtomNet

    if pixel_size is not None and not 0 < pixel_size < float("inf"):
        raise UsageError(f"--pixel-size is {pixel_size:g}; expected a positive length in Å")
    if frame is not None and frame < 0:
        raise UsageError(f"--frame is {frame}; frames are counted from 0")
    columns = None if cif is None else load_columns(cif)  # said once, not for every file
    net = None if weights == "none" else AtomNet.load(weights)
    places = plan(files, out, json, "atoms")
    jobs = [Job(file, folder, dataset, frame) for file, folder in zip(files, places, strict=True)]
    how = How(pixel_size, columns, net, still, stm)
    found, code = each(jobs, lambda job, report: _document(job, how, report), to_stderr=json == STDOUT)
    if json is not None:
        write_document(found if len(files) > 1 else found[0], json)
    if code:
        raise typer.Exit(code)


@dataclass(frozen=True)
class Job:
    """One image or movie; `folder` is None where only JSON is wanted."""

    file: Path
    folder: Path | None
    dataset: str | None
    frame: int | None


@dataclass(frozen=True)
class How:
    """What is the same for all: Å per pixel where that is given, the crystal's columns, the network, whether the atoms
    of a movie stay where they are, and whether a tip scanned the images for certain."""

    pixel_size: float | None
    columns: Columns | None
    net: AtomNet | None
    still: bool
    stm: bool


def _document(job: Job, how: How, report: Progress) -> tuple[dict[str, Any], str]:
    """JSON form of a result, and the result in some lines; its files are written."""
    from picostem.report.atoms import atoms_dict, save_atoms

    found = _one(job, how, report)
    files: list[str] = []
    if job.folder is not None:
        report("figure and files", 0, 0)
        files = save_atoms(found, job.folder)
    return atoms_dict(found), _summary(found, job, files)


def _one(job: Job, how: How, report: Progress) -> Survey:
    from picostem.atoms.survey import survey
    from picostem.image import Acquisition

    images = _images(job)
    if how.pixel_size is not None:
        size = how.pixel_size
        images = (image.with_pixel_size(size, "user") for image in images)
    if how.stm:
        images = (replace(image, acquisition=Acquisition(tip=True)) for image in images)
    return survey(images, how.columns, how.net, report, still=how.still)


def _images(job: Job) -> Iterable[Image]:
    """The one image or frame that is meant, or all frames of a file that holds only a movie."""
    from picostem.files import list_datasets, read_image, read_images

    one = job.frame is not None
    if job.dataset is None and not one:
        one = any(data.kind == "image" for data in list_datasets(job.file))
    return [read_image(job.file, job.dataset, job.frame)] if one else read_images(job.file, job.dataset)


def _summary(found: Survey, job: Job, files: list[str]) -> str:
    """The result of one file in some lines."""
    import numpy as np

    table, what = found.table, found.found
    lines = [f"{job.file}: {len(table)} atoms" + (f" in {found.frames} frames" if found.frames > 1 else "")]
    if found.frames > 1:
        tracks = table.track[table.track >= 0]
        lines.append(f"{len(np.unique(tracks))} tracks")
    lines += [
        f"{one.name}: {one.atoms}, intensity {one.intensity:.4g}, spread {100 * one.spread:.1f} % beyond its errors"
        for one in what.classes
    ]
    if len(what.vacancies.row):
        names, counts = np.unique(what.vacancies.sublattice, return_counts=True)
        sites = ", ".join(f"{n} on {name}" for name, n in zip(names, counts, strict=True))
        lines.append(f"vacancies: {sites}")
    if len(found.dumbbells):
        lines.append(f"{len(np.unique(found.dumbbells.number))} dumbbells")
    odd, counts = np.unique(table.odd[table.odd != ""], return_counts=True)
    if len(odd):
        lines.append("odd atoms: " + ", ".join(f"{n} by {what}" for what, n in zip(odd, counts, strict=True)))
    if len(table):
        sigma = float(np.median(np.sqrt(np.einsum("nkk->n", table.covariance) / 2)))
        size = found.image.pixel_size
        length = "" if size is None else f", {sigma * np.sqrt(size[0] * size[1]):.3f} Å"
        lines.append(f"typical standard error of a place: {sigma:.3f} px{length} along each axis")
    lines += [f"note: {note}" for note in found.image.notes]
    seconds = f"{found.seconds:.1f} s"
    lines.append(seconds if job.folder is None else f"{seconds}; {job.folder}: {', '.join(files)}")
    return "\n  ".join(lines)
