"""`picostem style select`: the simulations that resemble experimental images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from picostem.cli.optics import (
    DEFOCUS,
    DETECTOR,
    SEMIANGLE,
    SOURCE_WIDTH,
    VOLTAGE,
    Defocus,
    Detector,
    Semiangle,
    SourceWidth,
    Voltage,
    microscope_of,
)
from picostem.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from picostem.style.picture import Picture
    from picostem.style.pool import Simulation
    from picostem.style.select import Selection

DOCUMENT, FIGURE = "selection.json", "embedding.png"
SCHEMA = "picostem.selection/1"


def select(
    experiments: Annotated[list[Path], typer.Argument(metavar="EXPERIMENT...", help="Experimental images.")],
    material: Annotated[
        str,
        typer.Option("--material", "-m", metavar="MATERIAL", help="As in `picostem simulate`: ReS2, MoS2/WSe2, CIF."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the simulations that are kept.")],
    pixel_size: Annotated[
        list[float] | None,
        typer.Option(
            metavar="Å", help="Of the images: one for all, or one for each in their order; default: the file's."
        ),
    ] = None,
    count: Annotated[int, typer.Option(min=1, metavar="N", help="Simulations to choose from.")] = 200,
    keep: Annotated[int, typer.Option(min=1, metavar="N", help="Simulations to keep at most.")] = 41,
    features: Annotated[
        str, typer.Option(metavar="NAME", help="builtin, or vgg16:FILE with weights as torchvision names them.")
    ] = "builtin",
    cut: Annotated[
        float | None, typer.Option(metavar="Å", help="Compare patches of this side instead of whole images.")
    ] = None,
    weigh: Annotated[
        bool | None,
        typer.Option("--weigh/--no-weigh", help="Weigh features by their reliability; default: with --twist."),
    ] = None,
    perplexity: Annotated[float, typer.Option(metavar="N", help="Of t-SNE.")] = 12.0,
    clusters: Annotated[int, typer.Option(min=1, metavar="K", help="Of K-means.")] = 2,
    sampling: Annotated[float, typer.Option(metavar="Å", help="Å per pixel of the simulations.")] = 0.08,
    layers: Annotated[int, typer.Option(min=1, max=4, metavar="N", help="Of one material.")] = 2,
    twist: Annotated[list[float] | None, typer.Option(metavar="DEG", help="Of bilayers, taken in turn.")] = None,
    step: Annotated[
        float | None, typer.Option(metavar="Å", help="Take slips from a grid of this step; default: spread evenly.")
    ] = None,
    voltage: Voltage = VOLTAGE,
    semiangle: Semiangle = SEMIANGLE,
    detector: Detector = DETECTOR,
    defocus: Defocus = DEFOCUS,
    source_width: SourceWidth = SOURCE_WIDTH,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of everything random.")] = 0,
) -> None:
    """Simulate a material's stackings without noise, and keep the images that resemble experimental ones."""
    from picostem.cli.watch import watch
    from picostem.physics import DEGREE
    from picostem.style.features import extractor_named
    from picostem.style.pool import simulate_pool
    from picostem.style.select import SelectSettings
    from picostem.style.select import cut as patches
    from picostem.style.select import select as choose

    settings = SelectSettings(keep, perplexity, clusters, seed, twist is not None if weigh is None else weigh)
    microscope = microscope_of(voltage, semiangle, detector, defocus, source_width)
    extractor = extractor_named(features)
    whole = read_pictures(experiments, pixel_size or [], sampling)
    pictures = whole if cut is None else [patch for one in whole for patch in patches(one, cut)]
    with watch() as progress:
        progress.begin(out.name, 0, 1)
        progress.report("simulations", 0, 0)
        pool = simulate_pool(
            material,
            count,
            pixel_size=sampling,
            extent=min(one.extent for one in whole),
            seed=seed,
            microscope=microscope,
            layers=layers,
            twists=[angle * DEGREE for angle in twist] if twist else None,
            step=step,
        )
        progress.report("features and embedding", 0, 0)
        selection = choose(pictures, [one.picture for one in pool], settings, extractor)
        progress.report("figure and files", 0, 0)
        asked = {"material": material, "features": features, "weigh": settings.weigh, "keep": keep, "cut_A": cut}
        _write(
            out.expanduser(),
            selection,
            pictures,
            pool,
            asked | {"clusters": clusters, "perplexity": perplexity, "seed": seed},
        )
        progress.pause()
    for note in selection.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"{out}: {len(selection.kept)} of {count} simulations, {FIGURE}, {DOCUMENT}")


def read_pictures(files: Sequence[Path], sizes: Sequence[float], sampling: float) -> list[Picture]:
    """Experimental images as pictures of one pixel size.

    Args:
        files: images.
        sizes: their pixel sizes, Å: none (what the files say), one for all, or one for each.
        sampling: pixel size of the pictures, Å.

    Raises:
        UsageError: another number of pixel sizes.
        DataError: a file cannot be read, or its pixel size is not known.
    """
    from picostem.files import read_image
    from picostem.style.picture import prepare

    if len(sizes) not in (0, 1, len(files)):
        raise UsageError(f"--pixel-size: expected one, or one for each of {len(files)} images, got {len(sizes)}")
    each: Sequence[float | None] = sizes if len(sizes) == len(files) else [*sizes, None][:1] * len(files)
    return [prepare(read_image(file), sampling, source_pixel_size=size) for file, size in zip(files, each, strict=True)]


def _write(
    folder: Path, selection: Selection, experiment: Sequence[Picture], pool: Sequence[Simulation], asked: dict[str, Any]
) -> None:
    """The simulations that are kept, the figure and the document, all or none; an earlier run's are replaced."""
    from json import dumps

    from picostem.report.style_select import draw_selection
    from picostem.simulate import write_simulation

    document = _document(selection, experiment, pool, asked)

    def fill(part: Path) -> None:
        for index in selection.kept:
            one = pool[index]
            write_simulation(part, one.image.name, one.image, one.truth)
        sheet = draw_selection(selection, experiment, [one.picture for one in pool])
        sheet.savefig(part / FIGURE, format="png")
        (part / DOCUMENT).write_text(dumps(document, indent=1, allow_nan=False) + "\n", "utf-8")

    names = [f"{pool[index].image.name}.{kind}" for index in selection.kept for kind in ("tif", "json")]
    replace_run(folder, [*names, FIGURE], DOCUMENT, fill)


def replace_run(folder: Path, names: Sequence[str], document: str, fill: Callable[[Path], None]) -> None:
    """Write files into a folder, all or none, and remove those of an earlier run that are not written again.

    Args:
        names: of the files that are to be there, without the document.
        document: name of the JSON file whose entry "files" says what an earlier run wrote.
        fill: writes them all, the document too, into the folder it is given.

    Raises:
        OutputError: they cannot be written.
    """
    import json

    from picostem.report.place import staged

    try:
        before = json.loads((folder / document).read_text("utf-8"))["files"]
        old = [name for name in before if isinstance(name, str) and name == Path(name).name]
    except (OSError, ValueError, KeyError, TypeError):
        old = []
    with staged(folder, [*dict.fromkeys([*old, *names]), document]) as part:
        fill(part)


def _document(
    selection: Selection, experiment: Sequence[Picture], pool: Sequence[Simulation], asked: dict[str, Any]
) -> dict[str, Any]:
    """The selection as plain values."""
    from picostem.version import VERSION

    kept = set(selection.kept.tolist())
    names = [f"{pool[index].image.name}.{kind}" for index in selection.kept for kind in ("tif", "json")]
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "settings": asked,
        "perplexity": selection.perplexity,
        "notes": list(selection.notes),
        "files": [*names, FIGURE],
        "experiments": [
            {"name": one.name, "pixel_size_A": one.pixel_size, "embedding": point.tolist(), "cluster": int(label)}
            for one, point, label in zip(experiment, selection.experiment, selection.experiment_labels, strict=True)
        ],
        "simulations": [
            {
                "name": pool[index].image.name,
                "kept": index in kept,
                "interfaces": pool[index].truth["interfaces"],
                "embedding": selection.simulated[index].tolist(),
                "cluster": int(selection.simulated_labels[index]),
                "distance": float(selection.distances[index]),
            }
            for index in range(len(pool))
        ],
    }
