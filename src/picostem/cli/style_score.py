"""`picostem style score`: how much an image looks like another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from picostem.errors import UsageError

if TYPE_CHECKING:
    from picostem.bench.style_kept import SlipKept
    from picostem.image import Image
    from picostem.style.metrics import Score


def score(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="The image to judge, simulated or styled.")],
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help="What it should look like: an experiment.")],
    pixel_size: Annotated[
        list[float] | None,
        typer.Option(metavar="Å", help="Once: of images whose files do not say; twice: of IMAGE and of REFERENCE."),
    ] = None,
    json: Annotated[str | None, typer.Option(metavar="FILE", help="Write JSON there (- is standard output).")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Write the figure there.")] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of the places of the patches.")] = 0,
) -> None:
    """Score how much IMAGE looks like REFERENCE: greys, lines, spectra, noise, patches, each beside its floor.

    Where the truth of IMAGE lies beside it (NAME.json), its slip is resolved too, and compared with its label.
    """
    from picostem.cli.document import STDOUT, write_document
    from picostem.files import read_image
    from picostem.style.metrics import score as compare
    from picostem.style.picture import prepare

    if out is not None and out.suffix.lower() != ".png":
        raise UsageError(f"--out is {out}; expected the name of a png file")
    images = _sized([read_image(file) for file in (image, reference)], pixel_size or [])
    pictures = [prepare(one) for one in images]
    found = compare(pictures[0], pictures[1], seed=seed)
    kept = _kept(image, images[0])
    if out is not None:
        from picostem.report.place import write_file

        write_file(out.expanduser(), _png(pictures, found))
    if json is not None:
        write_document(_document(found, kept, image, reference), json)
    if json != STDOUT:
        typer.echo(_table(found, kept))


def _sized(images: list[Image], given: list[float]) -> list[Image]:
    """Images with the pixel sizes that were given, Å: one is that of all whose files do not say, two are of each."""
    if len(given) > len(images):
        raise UsageError(f"--pixel-size was given {len(given)} times; expected once, or once for each image")
    if len(given) == len(images):
        return [one.with_pixel_size(size, "user") for one, size in zip(images, given, strict=True)]
    if given and all(one.pixel_size is not None for one in images):
        raise UsageError("both files say their pixel size: give --pixel-size twice, for IMAGE and for REFERENCE")
    return [one.with_pixel_size(given[0], "user") if given and one.pixel_size is None else one for one in images]


def _kept(file: Path, image: Image) -> SlipKept | None:
    """How far the resolved slip is from the label, where there is a truth of one slip beside the image."""
    from json import loads

    truth_file = file.with_suffix(".json")
    try:
        truth = loads(truth_file.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(truth, dict) or truth.get("task") != "slip" or "layers" not in truth:
        return None
    from picostem.bench.style_kept import slip_kept

    return slip_kept(image, truth)


def _document(found: Score, kept: SlipKept | None, image: Path, reference: Path) -> dict[str, Any]:
    """For JSON."""
    structure = None if kept is None else {"error_A": kept.error, "bound_A": kept.bound}
    return {**found.as_dict(), "image": image.name, "reference": reference.name, "structure_kept": structure}


def _png(pictures: list[Any], found: Score) -> bytes:
    from io import BytesIO

    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from picostem.report.style_score import draw

    stream = BytesIO()
    FigureCanvasAgg(draw(pictures[0], pictures[1], found)).print_png(stream)
    return stream.getvalue()


def _table(found: Score, kept: SlipKept | None) -> str:
    """A line for each measure with its floor."""
    from picostem.bench.table import Table, number
    from picostem.style.metrics import COMPARES

    rows = [
        (key, number(getattr(found.likeness, key), 4), number(getattr(found.floor, key), 4), words)
        for key, words in COMPARES.items()
    ]
    text = Table("Likeness", ("measure", "value", "floor", "compares"), tuple(rows)).text()
    if kept is None:
        return text
    if kept.error is None:
        return f"{text}\nstructure: no slip was found in the image"
    return f"{text}\nstructure: slip {kept.error:.4f} Å from its label (bound {number(kept.bound, 4)} Å)"
