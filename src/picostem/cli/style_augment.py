"""`picostem style augment`: random patches of images, as a style is trained with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from picostem.style.picture import Picture

DOCUMENT, FIGURE = "patches.json", "patches.png"
SCHEMA = "picostem.patches/1"


def augment(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Experimental or simulated images.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the patches.")],
    count: Annotated[int, typer.Option(min=1, metavar="N", help="Patches, from the images in turn.")] = 24,
    patch: Annotated[int, typer.Option(min=2, metavar="PX", help="Side of the patches.")] = 128,
    pixel_size: Annotated[
        list[float] | None,
        typer.Option(
            metavar="Å", help="Of the images: one for all, or one for each in their order; default: the file's."
        ),
    ] = None,
    sampling: Annotated[float, typer.Option(metavar="Å", help="Pixel size of the patches on average.")] = 0.08,
    rotation: Annotated[float, typer.Option(metavar="DEG", help="Largest, to either side.")] = 45.0,
    crop: Annotated[
        tuple[float, float],
        typer.Option(metavar="LOW HIGH", help="Sides that are cut and resized to a patch, over their mean."),
    ] = (462 / 537, 612 / 537),
    flips: Annotated[
        bool, typer.Option("--flips/--no-flips", help="Mirror half of the patches along each axis.")
    ] = True,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of everything random.")] = 0,
) -> None:
    """Cut random patches out of images: turned, resized and mirrored, their pixel sizes kept account of."""
    import numpy as np

    from picostem.cli.style_select import read_pictures
    from picostem.cli.watch import watch
    from picostem.style.augment import AugmentSettings
    from picostem.style.augment import augment as cut

    settings = AugmentSettings(patch, rotation, crop, 1.0, flips)
    pictures = read_pictures(images, pixel_size or [], sampling)
    rng = np.random.default_rng(seed)
    patches: list[Picture] = []
    with watch() as progress:
        progress.begin(out.name, 0, 1)
        for index in range(count):
            progress.report("patches", index, count)
            patches.append(cut(pictures[index % len(pictures)], settings, rng))
        progress.report("figure and files", 0, 0)
        asked = {"patch": patch, "sampling_A": sampling, "rotation_deg": rotation, "crop": list(crop), "flips": flips}
        _write(out.expanduser(), patches, asked | {"seed": seed})
        progress.pause()
    sizes = [one.pixel_size for one in patches]
    typer.echo(f"{out}: {count} patches of {min(sizes):.4f} to {max(sizes):.4f} Å per pixel, {FIGURE}, {DOCUMENT}")


def _write(folder: Path, patches: Sequence[Picture], asked: dict[str, Any]) -> None:
    """Patches as calibrated tif files, contact sheet and document, all or none; an earlier run's are replaced."""
    from json import dumps

    from picostem.cli.style_select import replace_run
    from picostem.report.style_augment import draw_contact_sheet
    from picostem.version import VERSION

    names = [f"patch_{index:04d}.tif" for index in range(len(patches))]
    described = [
        {"file": name, "source": one.name, "pixel_size_A": one.pixel_size, "black": one.black, "white": one.white}
        for name, one in zip(names, patches, strict=True)
    ]
    head = {"schema": SCHEMA, "version": VERSION, "settings": asked, "files": [*names, FIGURE]}

    def fill(part: Path) -> None:
        for name, one in zip(names, patches, strict=True):
            _write_tif(part / name, one)
        draw_contact_sheet(patches).savefig(part / FIGURE, format="png")
        (part / DOCUMENT).write_text(dumps(head | {"patches": described}, indent=1, allow_nan=False) + "\n", "utf-8")

    replace_run(folder, [*names, FIGURE], DOCUMENT, fill)


def _write_tif(path: Path, picture: Picture) -> None:
    """float32, calibrated in nm as ImageJ does."""
    import tifffile

    from picostem.physics import NM

    per_nm = (NM / picture.pixel_size, NM / picture.pixel_size)
    tifffile.imwrite(path, picture.data, imagej=True, resolution=per_nm, metadata={"unit": "nm", "axes": "YX"})
