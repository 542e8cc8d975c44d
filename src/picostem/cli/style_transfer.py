"""`picostem style transfer`: simulated images in the style of experimental ones, with their labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from picostem.cli.failure import explain, say, wants_traceback
from picostem.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from picostem.simulate.acquisition import AcquisitionSettings
    from picostem.style.batch import Job, Order
    from picostem.style.transfer import Attribute, Style

Pair = tuple[float, float]


def transfer(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="IN...",
            help="Images that `picostem simulate --dose inf` wrote, with their truth beside them, or folders of them; "
            "give that command --defocus and the other aberrations.",
        ),
    ],
    weights: Annotated[
        str, typer.Option(metavar="NAME|FOLDER", help="A shipped style, or a folder that `style train` wrote.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for images, truths and index of the set.")],
    like: Annotated[
        Path | None, typer.Option(metavar="IMAGE", help="Make all look like this image of the same microscope.")
    ] = None,
    exemplar: Annotated[
        str | None, typer.Option(metavar="NAME", help="Make all look like this image that the style was trained with.")
    ] = None,
    prior: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Without --like and --exemplar each image samples a look between those of the exemplars: share of "
            "the standard normal prior in it, default 0; 1 is the prior.",
        ),
    ] = None,
    count: Annotated[int, typer.Option(metavar="N", help="Images to make of each input.")] = 1,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of everything random.")] = 0,
    pixel_size: Annotated[
        float | None, typer.Option(metavar="Å", help="Å per pixel of inputs whose files do not say.")
    ] = None,
    like_pixel_size: Annotated[
        float | None, typer.Option(metavar="Å", help="Å per pixel of the --like image, if its file does not say.")
    ] = None,
    dose: Annotated[
        float | None, typer.Option(metavar="E", help="Electrons per Å² for the content before it is styled.")
    ] = None,
    read_noise: Annotated[float, typer.Option(metavar="N", help="Of the detector, counts; needs --dose.")] = 0.0,
    jitter: Annotated[float, typer.Option(metavar="PX", help="Along the fast scan axis, rms pixels.")] = 0.0,
    line_jitter: Annotated[
        Pair, typer.Option(metavar="X Y", help="Of whole lines along fast and slow axis, rms pixels.")
    ] = (0.0, 0.0),
    drift: Annotated[
        Pair, typer.Option(metavar="X Y", help="Of the specimen along x and y, in pixels per 100 lines.")
    ] = (0.0, 0.0),
    tile: Annotated[int, typer.Option(min=64, metavar="PX", help="Side of the tiles of large images.")] = 1024,
    threads: Annotated[int, typer.Option(min=0, metavar="N", help="0 for all cores.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Make again what is there.")] = False,
) -> None:
    """Make labelled images in a learned style from simulated ones.

    Labels are carried over from the truth beside each input; inputs without one are styled, too, and have no labels.
    Images that are there already are left, so that a set that was interrupted goes on where it stopped.
    """
    from picostem.style.batch import Order, plan
    from picostem.style.transfer import PRIOR, Style

    if sum(one is not None for one in (like, exemplar, prior)) > 1:
        raise UsageError("--like, --exemplar and --prior each say how images are to look: give one of them")
    out = out.expanduser()
    jobs = plan([path.expanduser() for path in inputs], count, out)
    recording = _recording(dose, read_noise, jitter, line_jitter, drift)
    style = Style.load(weights, threads=threads)
    attribute = _attribute(style, like, like_pixel_size, exemplar)
    prior = PRIOR if prior is None else prior
    if not 0 <= prior <= 1:
        raise UsageError(f"--prior is {prior:g}; expected a share from 0 to 1")
    order = Order(attribute, prior, seed, recording, pixel_size, tile)
    code = _make_all(jobs, style, order, out, overwrite)
    if out.is_dir():
        _write_index(out)
    if code:
        raise typer.Exit(code)


def _recording(
    dose: float | None, read_noise: float, jitter: float, line_jitter: Pair, drift: Pair
) -> AcquisitionSettings | None:
    """What is to be done to the content, None for nothing."""
    import math

    from picostem.simulate import AcquisitionSettings

    if dose is None and not any((read_noise, jitter, *line_jitter, *drift)):
        return None
    # A line is scanned the later the further down it is: at y the specimen has moved by -y/100 drift, and the beam
    # hits what was at p + y/100 drift.
    x, y = (one / 100 for one in drift)
    return AcquisitionSettings(
        dose=math.inf if dose is None else dose,
        read_noise=read_noise,
        jitter=jitter,
        line_offset=line_jitter[0],
        line_jitter=line_jitter[1],
        drift=((1.0, x), (0.0, 1.0 + y)),
    )


def _attribute(style: Style, like: Path | None, pixel_size: float | None, exemplar: str | None) -> Attribute | None:
    if exemplar is not None:
        return style.exemplar(exemplar)
    if like is None:
        if pixel_size is not None:
            raise UsageError("--like-pixel-size is of the image that --like names: give --like, too")
        return None
    from picostem.errors import ImageError
    from picostem.files import read_image
    from picostem.style.picture import prepare

    image = read_image(like)
    if pixel_size is None and image.pixel_size is None:
        raise ImageError(f"{like}: its pixel size is not known: give --like-pixel-size, in Å")
    return style.attribute_of(prepare(image, source_pixel_size=pixel_size))


def _make_all(jobs: Sequence[Job], style: Style, order: Order, out: Path, overwrite: bool) -> int:
    """Make what is not there, and return the exit code; an input that cannot be used does not stop the others."""
    from picostem.cli.watch import watch
    from picostem.style.batch import is_finished, make

    asked = order.as_dict(style)
    todo = [job for job in jobs if overwrite or not is_finished(job, out, asked)]
    made, notes, failed = 0, dict[str, None](), dict[Path, None]()
    with watch() as progress:
        for index, job in enumerate(todo):
            if job.source in failed:
                continue
            progress.begin(job.source.name, index, len(todo))
            progress.report("style", index, len(todo))
            try:
                notes |= dict.fromkeys(make(job, style, order, out))
                made += 1
            except Exception as error:
                if len(jobs) == 1 or wants_traceback():
                    raise
                progress.pause()
                say(explain(error, str(job.source)))
                failed[job.source] = None
        progress.pause()
    for note in notes:
        say(f"note: {note}")
    typer.echo(f"{out}: {made} made, {len(jobs) - len(todo)} were there")
    return DataError.exit_code if failed else 0


def _write_index(out: Path) -> None:
    """labels.csv and labels.parquet of all styled images in a folder, each completely or not at all."""
    import csv
    import io

    import pyarrow
    import pyarrow.parquet

    from picostem.report.place import write_file
    from picostem.style.batch import index_rows

    names, rows = index_rows(out)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([names, *rows])
    write_file(out / "labels.csv", text.getvalue().encode())
    table = pyarrow.table({name: [row[i] for row in rows] for i, name in enumerate(names)})
    binary = io.BytesIO()
    pyarrow.parquet.write_table(table, binary)
    write_file(out / "labels.parquet", binary.getvalue())
