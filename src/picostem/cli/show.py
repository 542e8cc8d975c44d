"""`picostem materials` and `picostem info`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from picostem.files import DatasetInfo
    from picostem.image import Acquisition


def materials() -> None:
    """List the built-in materials with their lattices and sources."""
    import numpy as np

    from picostem.structure import load_monolayer, material_names

    for name in material_names():
        layer = load_monolayer(name)
        (a, b), gamma = np.hypot(*layer.cell.T), np.degrees(np.arctan2(layer.cell[1, 1], layer.cell[1, 0]))
        typer.echo(
            f"{name:12} a {a:.4f} Å, b {b:.4f} Å, γ {gamma:.3f}°, {len(layer.symbols)} atoms, "
            f"layer spacing {layer.layer_spacing:.3f} Å\n{'':12} {layer.source}"
        )


def info(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Any file that `picostem resolve` reads.")],
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Describe the image in this data set, by name or number.")
    ] = None,
    frame: Annotated[int | None, typer.Option(metavar="N", help="Frame of a series or movie, from 0.")] = None,
) -> None:
    """Show what a file holds: data sets, shapes, calibration, microscope."""
    from picostem.errors import DataError
    from picostem.files import list_datasets, read_image

    datasets = list_datasets(file)
    typer.echo(f"{file}: {len(datasets)} data set{'s' if len(datasets) != 1 else ''}")
    for one in datasets:
        typer.echo(_dataset(one))
    try:
        image = read_image(file, dataset, frame)
    except DataError as error:
        if dataset is not None or frame is not None:
            raise
        typer.echo(f"none is taken by itself: {error}")
        return
    typer.echo(f"image {image.name!r}: mean {image.data.mean():.5g}, {image.data.min():.5g} to {image.data.max():.5g}")
    typer.echo(_microscope(image.acquisition))
    for note in image.notes:
        typer.echo(f"note: {note}")


def _dataset(one: DatasetInfo) -> str:
    size = " × ".join(str(n) for n in one.shape)
    calibration = ""
    if one.frames:
        calibration = ", not calibrated"
        if one.pixel_size is not None:
            calibration = f", {one.pixel_size[0]:.5g} × {one.pixel_size[1]:.5g} Å per pixel"
    return f"  {one.index}: {one.name!r}, {one.kind}, {size}{calibration}"


def _microscope(acquisition: Acquisition) -> str:
    from picostem.physics import KV, MRAD

    parts = (
        ("voltage", acquisition.voltage_eV, KV, "kV"),
        ("semiangle", acquisition.semiangle, MRAD, "mrad"),
        ("detector from", acquisition.detector_inner, MRAD, "mrad"),
        ("detector to", acquisition.detector_outer, MRAD, "mrad"),
    )
    if acquisition.tip:
        return "microscope: a scanning probe"
    known = [f"{name} {value / unit:g} {symbol}" for name, value, unit, symbol in parts if value is not None]
    return "microscope: " + (", ".join(known) or "the file says nothing")
