"""`picostem simulate 4d`: 4D-STEM data by multislice, with the truth about every scan point."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from picostem.cli.optics import Defocus, Semiangle, SourceWidth, Voltage
from picostem.errors import UsageError

Pair = tuple[float, float]


def simulate_4d(
    structure: Annotated[
        str,
        typer.Option(
            metavar="NAME or FILE",
            help="graphene, graphene-vacancy, graphene-Si3, graphene-Si4, ZnS, a built-in monolayer, a structure file.",
        ),
    ] = "graphene-Si3",
    zone: Annotated[
        tuple[int, int, int] | None,
        typer.Option(metavar="U V W", help="Zone axis of ZnS (1 1 0 by default) or of the crystal in a file."),
    ] = None,
    thickness: Annotated[float, typer.Option(metavar="Å", help="Of crystals along a zone axis, about.")] = 15.0,
    rotation: Annotated[float, typer.Option(metavar="DEG", help="Of the specimen in the scan.")] = 0.0,
    field: Annotated[Pair, typer.Option(metavar="WIDTH HEIGHT", help="Of the scan, Å.")] = (12.3, 12.8),
    step: Annotated[float, typer.Option(metavar="Å", help="Distance of scan points.")] = 0.3,
    electrons: Annotated[float, typer.Option(metavar="N", help="In each pattern; inf for no noise.")] = 1e4,
    detector_pixel: Annotated[
        float | None, typer.Option(metavar="mrad", help="Of the patterns; default: semiangle/16.25.")
    ] = None,
    voltage: Voltage = 60.0,
    semiangle: Semiangle = 32.0,
    defocus: Defocus = 0.0,
    astigmatism: Annotated[Pair, typer.Option(metavar="Å DEG", help="C12 and its angle.")] = (0.0, 0.0),
    coma: Annotated[Pair, typer.Option(metavar="Å DEG", help="C21 and its angle.")] = (0.0, 0.0),
    defocus_spread: Annotated[float, typer.Option(metavar="Å", help="Standard deviation of the defocus.")] = 0.0,
    source_width: SourceWidth = 0.0,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of the electrons.")] = 0,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.npy", help="Default STRUCTURE_4d.npy; the truth goes beside it.")
    ] = None,
) -> None:
    """Simulate 4D-STEM data by multislice (extra "sim"), with the truth about every scan point beside it."""
    import numpy as np

    from picostem.cli.watch import watch
    from picostem.physics import DEGREE, KV, MRAD
    from picostem.simulate.scan4d import Scan4DSettings, corrected_microscope, simulate_scan4d, write_scan4d
    from picostem.simulate.specimen import make_specimen

    if out is not None and out.suffix.lower() != ".npy":
        raise UsageError(f"--out is {out}; expected the name of an npy file")
    microscope = corrected_microscope(
        voltage * KV,
        semiangle * MRAD,
        defocus=defocus,
        C12=astigmatism[0],
        phi12=astigmatism[1] * DEGREE,
        C21=coma[0],
        phi21=coma[1] * DEGREE,
        source_fwhm=source_width,
    )
    pixel = detector_pixel * MRAD if detector_pixel is not None else None
    settings = Scan4DSettings(field, step, electrons, pixel, defocus_spread)
    specimen = make_specimen(
        structure, settings.side(microscope), rotation=rotation * DEGREE, zone=zone, thickness=thickness
    )
    target = (out or Path(f"{specimen.name}_4d.npy")).expanduser()
    with watch() as progress:
        progress.begin(specimen.name, 0, 1)
        scan = simulate_scan4d(specimen, microscope, settings, np.random.default_rng(seed), progress.report)
        progress.pause()
    scan.truth.update(rotation_deg=rotation, seeds={"all": seed})
    data, text, maps = write_scan4d(target.parent, target.stem, scan)
    shape = " × ".join(map(str, scan.patterns.shape))
    typer.echo(f"{data}: {shape} (scan rows, columns, detector rows, columns); truth in {text} and {maps}")
