"""`picostem 4d`: scans of diffraction patterns in, maps of all that they tell out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from picostem.cli.document import STDOUT, write_document
from picostem.cli.resolve import plan
from picostem.cli.several import Report, each
from picostem.errors import UsageError
from picostem.stem4d.settings import RVAESettings

if TYPE_CHECKING:
    from picostem.stem4d.analysis import Analysis, ExploreSettings
    from picostem.stem4d.scan import Scan4D

Shape = tuple[int, int, int, int]


ODD = 5.0
"""Standard deviations from which on a position is told to be unlike other unit cells."""


def stem4d(
    files: Annotated[
        list[Path], typer.Argument(metavar="SCAN", help="4D-STEM data: h5, emd, hspy, mib, blo, dm4, npy, raw, ...")
    ],
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Data set of a file that holds several, by name or number.")
    ] = None,
    shape: Annotated[
        Shape | None,
        typer.Option(
            metavar="R C R C", help="Scan and detector rows and columns: of raw numbers, or of patterns in a row."
        ),
    ] = None,
    dtype: Annotated[str | None, typer.Option(metavar="TYPE", help="Of raw numbers: uint16, >u2, float32, ...")] = None,
    centre: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="ROW COL", help="Optic axis on the detector, pixels; else the bright disk is found."),
    ] = None,
    radius: Annotated[
        float | None,
        typer.Option(
            metavar="K", help="Of the outermost ring, 1/Å, or pixels without a calibration; else up to the border."
        ),
    ] = None,
    voltage: Annotated[float | None, typer.Option(metavar="kV", help="If the file does not say it.")] = None,
    semiangle: Annotated[
        float | None, typer.Option(metavar="mrad", help="Of the probe: calibrates the detector by its bright disk.")
    ] = None,
    step: Annotated[
        float | None, typer.Option(metavar="Å", help="Between positions, if the file does not say.")
    ] = None,
    electrons_per_count: Annotated[float, typer.Option(metavar="E", help="1 / gain; 1 where electrons count.")] = 1.0,
    symmetry: Annotated[
        int, typer.Option(min=1, metavar="N", help="Of the patterns: orientations are meant modulo 360°/N.")
    ] = 1,
    network: Annotated[bool, typer.Option(help="Train the autoencoder on the scan (needs torch).")] = True,
    latent: Annotated[int, typer.Option(min=0, metavar="N", help="Numbers that it describes a pattern by.")] = 2,
    classes: Annotated[int, typer.Option(min=1, metavar="N", help="Kinds of patterns that it tells apart.")] = 1,
    likelihood: Annotated[
        Literal["auto", "poisson", "gaussian", "bernoulli"],
        typer.Option(help="Of the data: counts, any numbers, numbers from 0 to 1."),
    ] = "auto",
    steps: Annotated[int, typer.Option(min=1, metavar="N", help="Of its training, at most.")] = RVAESettings.steps,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of all random numbers.")] = 0,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda, ...")] = "auto",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder for the files, default NAME.4d; of several scans, one in it for each."
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
    """Map deflection, orientation and symmetry breaking over a 4D-STEM scan, linearly and by an autoencoder."""
    from picostem.physics import MRAD
    from picostem.stem4d.analysis import ExploreSettings

    for name, value in (("--voltage", voltage), ("--step", step)):
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"{name} is {value:g}; expected a positive number")
    settings = ExploreSettings(
        centre=centre,
        radius=radius,
        semiangle=None if semiangle is None else semiangle * MRAD,
        symmetry=symmetry,
        latent=latent,
        classes=classes,
        likelihood=likelihood,
        network=network,
        steps=steps,
        seed=seed,
        device=device,
        electrons_per_count=electrons_per_count,
    )
    given = Given(dataset, shape, dtype, voltage, step)
    places = plan(files, out, json, "4d")
    jobs = [Job(file, folder) for file, folder in zip(files, places, strict=True)]
    found, code = each(jobs, lambda job, report: _one(job, given, settings, report), to_stderr=json == STDOUT)
    if json is not None:
        write_document(found if len(files) > 1 else found[0], json)
    if code:
        raise typer.Exit(code)


@dataclass(frozen=True)
class Job:
    """One scan; `folder` is None where only JSON is wanted."""

    file: Path
    folder: Path | None


@dataclass(frozen=True)
class Given:
    """What the user says of the files: data set, layout, kV, Å."""

    dataset: str | None
    shape: Shape | None
    dtype: str | None
    voltage: float | None
    step: float | None


def _one(job: Job, given: Given, settings: ExploreSettings, report: Report) -> tuple[dict[str, Any], str]:
    from picostem.report.stem4d import TRAINING, analysis_dict, save_analysis
    from picostem.stem4d.explore import analyse

    report("reading", 0, 0)
    folder = None if job.folder is None else job.folder / TRAINING
    found = analyse(_scan(job.file, given), settings, folder=folder, report=report)
    files: list[str] = []
    if job.folder is not None:
        report("figure and files", 0, 0)
        files = save_analysis(found, job.folder)
    return analysis_dict(found), _summary(found, job, files)


def _scan(file: Path, given: Given) -> Scan4D:
    from picostem.files.scan4d import read_scan
    from picostem.physics import KV

    scan = read_scan(file, given.dataset, shape=given.shape, dtype=given.dtype)
    if given.voltage is not None:
        scan = replace(scan, detector=replace(scan.detector, voltage_eV=given.voltage * KV))
    return scan if given.step is None else replace(scan, step_A=(given.step, given.step))


def _summary(found: Analysis, job: Job, files: list[str]) -> str:
    """The result of one file in some lines."""
    import numpy as np

    from picostem.physics import DEGREE

    scan = found.scan
    size, pixels = (" × ".join(map(str, shape)) for shape in (scan.shape, scan.detector.shape))
    lines = [f"{job.file}: {size} patterns of {pixels} pixels"]
    row, column = scan.detector.centre
    disk = f", bright disk of {found.disk.radius:.2f} pixels around it" if found.disk else ""
    lines.append(f"optic axis at row {row:.2f}, column {column:.2f}{disk}")
    if found.com is not None:
        unit = scan.detector.mrad or 1.0
        length = float(np.nanmedian(np.linalg.norm(found.com.vectors, axis=-1))) * unit
        error = float(np.nanmedian(found.com.error)) * unit
        lines.append(f"centre of mass: typically {length:.3g} {found.momentum_unit} off, standard error {error:.2g}")
    if found.unusual is not None:
        odd = int(np.sum(found.unusual > ODD))
        lines.append(f"{odd} positions differ by more than {ODD:g} σ from the same place of other unit cells")
    if found.learned is not None:
        told, alarms = found.learned.found, found.learned.alarms
        lines.append(
            f"angle: typical standard error {np.median(told.angle_sigma) / DEGREE:.2g}°, {alarms.angle:.2g} nats"
        )
        lines.append("latents: " + ", ".join(f"z{k} {nats:.2g} nats" for k, nats in enumerate(alarms.latents)))
        lines.append(f"clusters of the latents: {', '.join(map(str, np.bincount(found.learned.clusters)))} positions")
    lines += [f"note: {note}" for note in found.notes]
    seconds = f"{found.seconds:.1f} s"
    lines.append(seconds if job.folder is None else f"{seconds}; {job.folder}: {', '.join(files)}")
    return "\n  ".join(lines)
