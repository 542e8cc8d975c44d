"""`picostem bench`: how well and how fast it works, measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args

import typer

from picostem.atoms.settings import FINDER
from picostem.cli.document import STDOUT, write_document
from picostem.cli.optics import DETECTOR, SEMIANGLE, VOLTAGE, Detector, Semiangle, Voltage, microscope_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from picostem.bench.ask import Given
    from picostem.bench.table import Table

app = typer.Typer(help="Measure how well and how fast it works.", rich_markup_mode=None)


Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Images NAME.tif with their truth NAME.json.")]
NoiseFree = Annotated[Path, typer.Argument(metavar="FOLDER", help="Of benchmarks/curve_set.py: images without noise.")]
UnknownMicroscope = Annotated[
    bool, typer.Option("--unknown-microscope", help="Leave voltage, semiangle and detector to be found.")
]
UnknownPixelSize = Annotated[bool, typer.Option("--unknown-pixel-size", help="Leave the pixel size to be found.")]
EngineName = Literal["fit", "net", "hybrid"]
WithEngine = Annotated[EngineName, typer.Option(help="What finds slips of windows, as in `picostem resolve`.")]
Net = Annotated[str | None, typer.Option(metavar="NAME", help="A network that comes with picostem, or its folder.")]
Json = Annotated[str | None, typer.Option(metavar="FILE", help="Write JSON there (- is standard output).")]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")]


@app.command("stack")
def stack(
    folder: Folder,
    unknown_microscope: UnknownMicroscope = False,
    unknown_pixel_size: UnknownPixelSize = False,
    engine: WithEngine = "fit",
    net: Net = None,
    json: Json = None,
    markdown: Markdown = False,
) -> None:
    """Resolve images whose truth is known, and compare: slips, twists, trilayers, maps."""
    from picostem.bench import stack as bench
    from picostem.cli.watch import watch

    given = _given(unknown_pixel_size, unknown_microscope, engine, net)
    with watch() as progress:
        report = bench.measure(folder, given, progress.begin)
        progress.pause()
    _deliver(report.as_dict(), report.tables(), json, markdown)


@app.command("choice")
def choice(
    folder: Folder,
    draws: Annotated[int, typer.Option(metavar="N", help="Of each image.")] = 10,
    share: Annotated[float, typer.Option(metavar="SHARE", help="Of its electrons that a draw keeps.")] = 0.8,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of the draws.")] = 0,
    unknown_microscope: UnknownMicroscope = False,
    unknown_pixel_size: UnknownPixelSize = False,
    engine: WithEngine = "fit",
    net: Net = None,
    json: Json = None,
    markdown: Markdown = False,
) -> None:
    """Draw the electrons of images whose truth is known again, and count how often the right stacking is chosen."""
    from picostem.bench import choice as bench
    from picostem.cli.watch import watch

    asked, given = bench.Draws(draws, share, seed), _given(unknown_pixel_size, unknown_microscope, engine, net)
    with watch() as progress:
        report = bench.measure(folder, given, asked, progress.begin)
        progress.pause()
    _deliver(report.as_dict(), report.tables(), json, markdown)


@app.command("engines")
def engines(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Any images of one material's layers.")],
    material: Annotated[str, typer.Option("--material", "-m", metavar="NAME", help="Of the layers.")],
    net: Net = None,
    window: Annotated[float, typer.Option(metavar="nm", help="Side of the map's windows.")] = 2.0,
    json: Json = None,
    markdown: Markdown = False,
) -> None:
    """Resolve images with fit, network and hybrid, side by side: how far apart their answers are."""
    from picostem.bench import engines as bench
    from picostem.cli.watch import watch
    from picostem.resolve.settings import Settings

    with watch() as progress:
        answers = bench.measure(images, Settings(material, window_nm=window), net, progress.begin)
        progress.pause()
    _deliver(bench.as_dict(answers), bench.tables(answers), json, markdown)


@app.command("curves")
def curves(
    folder: NoiseFree,
    net: Net = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="fit, net or hybrid; may be repeated. Default: all three with --net, else fit."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of electrons, holes and dirt.")] = 0,
    json: Json = None,
    markdown: Markdown = False,
    figure: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the curves there, as PNG.")] = None,
) -> None:
    """Errors of 2 nm windows against electrons, vacancies, holes and dirt that are put into images without noise."""
    from picostem.bench import curves as bench
    from picostem.cli.watch import watch

    engines = engine or get_args(EngineName)[: 1 if net is None else None]
    with watch() as progress:
        report = bench.measure(folder, cast("Sequence[EngineName]", engines), net, seed=seed, progress=progress.begin)
        progress.pause()
    if figure is not None:
        from picostem.bench.curves_figure import save_curves

        save_curves(report, figure)
    _deliver(report.as_dict(), report.tables(), json, markdown)


@app.command("steps")
def steps(
    folder: NoiseFree,
    net: Annotated[list[str], typer.Option(metavar="NAME", help="Trained with --step-A; may be repeated.")],
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of electrons.")] = 0,
    json: Json = None,
    markdown: Markdown = False,
    figure: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the curves there, as PNG.")] = None,
) -> None:
    """Errors of 2 nm windows against the step of the grid that networks' labels lay on."""
    from picostem.bench import curves_steps as bench
    from picostem.cli.watch import watch

    with watch() as progress:
        report = bench.measure(folder, net, seed=seed, progress=progress.begin)
        progress.pause()
    if figure is not None:
        from picostem.bench.curves_figure import save_steps

        save_steps(report, figure)
    _deliver(report.as_dict(), report.tables(), json, markdown)


@app.command("outliers")
def outliers(
    folder: NoiseFree,
    net: Annotated[str, typer.Option(metavar="NAME", help="A network that comes with picostem, or its folder.")],
    draws: Annotated[int, typer.Option(min=1, metavar="N", help="Recordings of each image.")] = 2,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of their electrons.")] = 0,
    json: Json = None,
    markdown: Markdown = False,
) -> None:
    """Count how often a network knows that it does not know: one layer, other materials, no order, noise."""
    from picostem.bench import outliers as bench
    from picostem.cli.watch import watch

    with watch() as progress:
        report = bench.measure(folder, net, draws=draws, seed=seed, progress=progress.begin)
        progress.pause()
    _deliver(report.as_dict(), report.tables(), json, markdown)


@app.command("patches")
def patches(
    folder: Folder,
    net: Annotated[str, typer.Option(metavar="NAME", help="A network that reads patches, or its folder.")],
    json: Json = None,
    markdown: Markdown = False,
    figure: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the errors there, as PNG.")] = None,
) -> None:
    """Let a network that reads patches say the slip or twist of windows all over images whose truth is known."""
    from picostem.bench import patches as bench
    from picostem.infer.folder import PATCH_CARD, net_folder
    from picostem.infer.patch_predict import PatchNet

    asked = PatchNet.load(net_folder(net, PATCH_CARD))
    scores = bench.measure(folder, asked)
    if figure is not None:
        from picostem.bench.patches_figure import save_errors

        save_errors(scores, asked.labels, figure)
    _deliver(bench.as_dict(scores, asked.labels), bench.tables(scores, asked.labels), json, markdown)


@app.command("atoms")
def atoms(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="Of benchmarks/atoms_set.py: images without noise.")
    ] = None,
    case: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="What needs no files: positions, speed, dumbbells, tracking, charge, buckybowls, stm; instead of the "
            "rest of a FOLDER: inspection. May be repeated.",
        ),
    ] = None,
    labelled: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Micrographs with published labels, single_atoms or WSe2_Ti.")
    ] = None,
    weights: Annotated[
        str,
        typer.Option(metavar="NET", help="As of `picostem atoms`: a network that proposes where atoms are, or none."),
    ] = FINDER,
    doses: Annotated[
        list[float] | None, typer.Option("--dose", metavar="SHARE", help="Of the full dose; may be repeated.")
    ] = None,
    places: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Score another program's places there, not our own.")
    ] = None,
    write: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Only write the recordings there, for other programs.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of electrons and whatever else is drawn.")] = 0,
    json: Json = None,
    markdown: Markdown = False,
) -> None:
    """Find atoms whose places and classes are known: multislice images, labelled micrographs, peaks, movies."""
    from picostem.bench import atoms as bench
    from picostem.bench.atoms_cases import run
    from picostem.cli.watch import watch
    from picostem.errors import UsageError

    if (folder is None and (write or places)) or not (folder or case or labelled):
        raise UsageError("give a FOLDER of images without noise, --labelled DIR or --case NAME: there is nothing to do")
    shares = tuple(doses or bench.DOSES)
    if not all(0 < share <= 1 for share in shares):
        raise UsageError(f"--dose is a share of the full dose, more than 0 and at most 1, got {shares}")
    if folder is not None and write is not None:
        bench.write_recordings(folder, write, shares, seed)
        return
    with watch() as progress:
        document, tables = run(
            folder,
            case or [],
            labelled,
            bench.Asked(None if weights == "none" else weights, places, shares, seed),
            progress.begin,
        )
        progress.pause()
    _deliver(document, tables, json, markdown)


@app.command("4d")
def stem4d(
    case: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="toy, invariance, graphene, speed, memory (reads 17 GB), agreement, recovered; may be repeated. "
            "Default: all but memory and recovered.",
        ),
    ] = None,
    recovered: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A scan as scores and components, recovered from published figures."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, metavar="N", help="Drawn and trained, of toy patterns.")] = 5,
    json: Json = None,
    markdown: Markdown = False,
) -> None:
    """Read scans of diffraction patterns whose truth is known: angles, defects, centres of mass, speed, memory."""
    from picostem.bench.stem4d import Asked, run
    from picostem.cli.watch import watch

    with watch() as progress:
        document, tables = run(case or [], Asked(seeds, recovered), progress.begin)
        progress.pause()
    _deliver(document, tables, json, markdown)


@app.command("catalog")
def catalog(
    case: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="drawn, images (simulates and resolves, 2 s each), rows; may be repeated. Default: drawn and rows.",
        ),
    ] = None,
    images: Annotated[int, typer.Option(min=1, metavar="N", help="In the catalog.")] = 150,
    keep: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep the catalog there, and add to it.")] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of whatever is drawn.")] = 0,
    json: Json = None,
    markdown: Markdown = False,
) -> None:
    """Statistics of slips whose landscape and temperature are known; how fast a catalog takes rows and answers."""
    from picostem.bench.catalog import Asked, run
    from picostem.cli.catalog import tidy
    from picostem.cli.watch import watch

    tidy()
    with watch() as progress:
        document, tables = run(case or ["drawn", "rows"], Asked(images, seed, keep), progress.begin)
        progress.pause()
    _deliver(document, tables, json, markdown)


@app.command("speed")
def speed(
    json: Json = None,
    markdown: Markdown = False,
    quick: Annotated[bool, typer.Option("--quick", help="Small images: to see that it works.")] = False,
) -> None:
    """Measure speed and memory on this machine."""
    from picostem.bench import speed as bench

    figures = bench.measure(bench.QUICK if quick else bench.FULL)
    _deliver(bench.as_dict(figures), [bench.table(figures)], json, markdown)


@app.command("style")
def style(
    weights: Annotated[str, typer.Option(metavar="NAME", help="A shipped style, or the folder of one.")],
    experiment: Annotated[
        list[Path], typer.Option(metavar="IMAGE", help="Experimental image, scored in its own style; may be repeated.")
    ],
    held_out: Annotated[
        list[Path] | None,
        typer.Option(metavar="IMAGE", help="Scored in the style of the first experiment; may be repeated."),
    ] = None,
    material: Annotated[str | None, typer.Option(metavar="NAME", help="Of the images; default: the style's.")] = None,
    pixel_size: Annotated[
        float | None, typer.Option(metavar="Å", help="Of the images; default: the file's, else found from the lattice.")
    ] = None,
    voltage: Voltage = VOLTAGE,
    semiangle: Semiangle = SEMIANGLE,
    detector: Detector = DETECTOR,
    count: Annotated[int, typer.Option(min=0, metavar="N", help="Slips to style and resolve; 0 leaves it out.")] = 200,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of slips, noise and patches.")] = 0,
    json: Json = None,
    markdown: Markdown = False,
) -> None:
    """Score a style: likeness to experiments on the same content, and whether slips and atoms stay where they are."""
    from dataclasses import replace

    from picostem.bench import style as bench
    from picostem.cli.watch import watch

    experiments = bench.read_experiments(experiment, held_out or [], material, pixel_size)
    experiments = replace(experiments, microscope=microscope_of(voltage, semiangle, detector))
    with watch() as progress:
        report = bench.measure(weights, experiments, count=count, seed=seed, progress=progress.begin)
        progress.pause()
    _deliver(report.as_dict(), report.tables(), json, markdown)


def _given(unknown_pixel_size: bool, unknown_microscope: bool, engine: EngineName, net: str | None) -> Given:
    """What the options say."""
    from picostem.bench.ask import Given

    return Given(not unknown_pixel_size, not unknown_microscope, engine, net)


def _deliver(document: dict[str, Any], tables: list[Table], json: str | None, markdown: bool) -> None:
    """Print the tables; write the JSON, and then the tables only if standard output is free."""
    if json is not None:
        write_document(document, json)
    if json != STDOUT:
        typer.echo("\n\n".join(table.markdown() if markdown else table.text() for table in tables))
