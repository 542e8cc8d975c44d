"""`picostem train`: networks for what picostem comes with none for."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from picostem.atoms.settings import ScenePlan
from picostem.errors import UsageError

if TYPE_CHECKING:
    from picostem.dataset.microscopes import Beam
    from picostem.infer.card import NetCard
    from picostem.infer.learn import Recipe
    from picostem.infer.patch_card import PatchCard
    from picostem.infer.patch_learn import PatchRecipe

app = typer.Typer(help="Train networks: for stackings (`picostem resolve --engine net`), and to find atoms.")


class Task(StrEnum):
    """What a network is to tell."""

    SLIP = "slip"
    ANTIPARALLEL = "antiparallel"
    TRILAYER = "trilayer"
    TWIST = "twist"


class Network(StrEnum):
    """What reads it, and what of an image."""

    WINDOWS = "windows"
    RINGS = "rings"
    TED_GEN = "ted-gen"
    TED_GEN_SMALL = "ted-gen-small"


STACKS = {Task.SLIP: (2, False), Task.ANTIPARALLEL: (2, True), Task.TRILAYER: (3, False)}
"""How many layers, and whether they are antiparallel."""

STEPS, MICROSCOPES = 4000, 200
"""Of a training that takes a quarter of an hour on two processor cores."""

WINDOW_NM = 2.0

FIGURE = "training.png"


@app.command("stacking")
def stacking(
    material: Annotated[str, typer.Option("--material", "-m", metavar="MATERIAL", help="Name or structure file.")],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for microscopes, checkpoint, losses, and DIR/net in the end.")
    ],
    task: Annotated[
        Task,
        typer.Option(help="Slip of two parallel or antiparallel layers, both slips of three parallel ones, or twist."),
    ] = Task.SLIP,
    network: Annotated[
        Network | None,
        typer.Option(
            help="windows: harmonics of windows, what `picostem resolve` asks; rings: Fourier transforms, for twists; "
            "ted-gen: the published one, which reads pixels. Default: windows, and rings for twists."
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, metavar="N", help="Default: those of the network.")] = None,
    microscopes: Annotated[int, typer.Option(min=1, metavar="N", help="To train with.")] = MICROSCOPES,
    window: Annotated[
        float | None,
        typer.Option(metavar="nm", help="Side of the windows; default: 2, as in `picostem resolve`, of others more."),
    ] = None,
    source: Annotated[
        str,
        typer.Option(
            metavar="fast|styled:NAME|multislice:FOLDER",
            help="Patches as simulated, in a style, or cropped from multislice images; not of `windows`.",
        ),
    ] = "fast",
    step_A: Annotated[
        float | None,
        typer.Option("--step-A", metavar="Å", help="Slips on a grid of this step, as published; default: any slip."),
    ] = None,
    voltage: Annotated[
        float | None, typer.Option(metavar="kV", help="With --semiangle and --detector: for this microscope only.")
    ] = None,
    semiangle: Annotated[float | None, typer.Option(metavar="mrad", help="Convergence semiangle.")] = None,
    detector: Annotated[
        tuple[float, float] | None, typer.Option(metavar="INNER OUTER", help="Half angles of the detector, mrad.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of everything random.")] = 0,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, metavar="N", help="Of the processor; default: all.")] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start anew where DIR has a training that was stopped.")
    ] = False,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Of the network; default: DIR's.")] = None,
    licence: Annotated[str, typer.Option(metavar="TEXT", help="Of the network, for its card.")] = "",
) -> None:
    """Train a network for the stackings of one material; a stopped training goes on where it was."""
    from picostem.checkpoint import require

    require("torch", "safetensors", "onnx")
    from picostem.cli.watch import watch
    from picostem.infer.learn import NET, Recipe, learn
    from picostem.infer.patch_learn import learn_patches
    from picostem.report.net_training import draw_training
    from picostem.report.style_train import save_training
    from picostem.training import HISTORY, read_history

    network = network or (Network.RINGS if task is Task.TWIST else Network.WINDOWS)
    beam = _beam(voltage, semiangle, detector)
    recipe = (
        _recipe(material, task, source, step_A, WINDOW_NM if window is None else window, seed, microscopes, beam, steps)
        if network is Network.WINDOWS
        else _patch_recipe(material, task, network, source, step_A, window, seed, microscopes, beam, steps)
    )
    out = out.expanduser()
    options: dict[str, Any] = {"name": name or out.resolve().name, "licence": licence, "device": device}
    with watch() as progress:
        progress.begin(out.name, 0, 1)
        options |= {"threads": threads, "progress": progress.report, "resume": not fresh}
        card = learn(recipe, out, **options) if isinstance(recipe, Recipe) else learn_patches(recipe, out, **options)
        progress.pause()
    save_training(draw_training(read_history(out / HISTORY)), out / FIGURE)
    typer.echo(_summary(card, out / NET))


@app.command("atoms")
def atoms(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for checkpoint, losses, and DIR/net in the end.")],
    cif: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CRYSTAL",
            help="To train with too: a built-in material, or a structure file, along its zone axes. Several times for "
            "several.",
        ),
    ] = None,
    share: Annotated[
        float, typer.Option(min=0, max=1, help="Of the scenes that show these; 1 for a network for nothing else.")
    ] = ScenePlan.share,
    defects: Annotated[
        float, typer.Option(min=0, max=1, help="Largest share of atoms that are missing, and of dopants, in a scene.")
    ] = ScenePlan.defects,
    examples: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Images to learn from, each with a table of its atoms NAME.csv or NAME.parquet (row, col, class), or "
            "without one: then the atoms are those that `picostem atoms` finds without a network.",
        ),
    ] = None,
    examples_share: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Of the patches that show these, not drawn scenes; default: 0.5, 1 for classes of their own.",
        ),
    ] = None,
    classes: Annotated[
        bool,
        typer.Option(
            "--classes",
            help="Tell classes apart: those of the examples; else single atoms, stacks, depleted stacks, vacancies, "
            "dopants and adatoms.",
        ),
    ] = False,
    steps: Annotated[int | None, typer.Option(min=1, metavar="N", help="Default: 20000.")] = None,
    workers: Annotated[int, typer.Option(min=0, metavar="N", help="Processes that draw scenes.")] = 0,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of everything random.")] = 0,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, metavar="N", help="Of the processor; default: all.")] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start anew where DIR has a training that was stopped.")
    ] = False,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Of the network; default: DIR's.")] = None,
    licence: Annotated[str, typer.Option(metavar="TEXT", help="Of the network, for its card.")] = "",
) -> None:
    """Train a network that finds atoms, on random scenes or your own images; a stopped training goes on."""
    from picostem.checkpoint import require

    require("torch", "safetensors", "onnx")
    if examples is None and examples_share is not None:
        raise UsageError("--examples-share says how many of the patches show --examples: give that folder, too")
    from picostem.atoms.examples import load_examples
    from picostem.atoms.settings import AtomSettings
    from picostem.atoms.specimens import KINDS
    from picostem.atoms.train import NET, learn_atoms
    from picostem.cli.watch import watch

    settings = AtomSettings()
    settings = settings if steps is None else replace(settings, steps=steps)
    own = None if examples is None else load_examples(examples.expanduser(), classes=classes, share=examples_share)
    if own is not None:
        settings = replace(settings, side=min(settings.side, own.side))
    settings = replace(settings, classes=len(KINDS if own is None else own.classes) if classes else 1)
    plan = ScenePlan(crystals=tuple(cif or ()), share=share, defects=defects)
    out = out.expanduser()
    with watch() as progress:
        progress.begin(out.name, 0, 1)
        card = learn_atoms(
            settings,
            plan,
            out,
            name=name or out.resolve().name,
            seed=seed,
            licence=licence,
            device=device,
            threads=threads,
            workers=workers,
            progress=lambda step, steps, figures: progress.report(f"loss {figures['loss']:.2f}", step, steps),
            resume=not fresh,
            examples=own,
        )
        progress.pause()
    ((shown, figures),) = card.figures.items()
    known = own is not None and not own.held
    said = ", ".join(f"{what} {figures[what]:.3f}" for what in ("f1", "recall", "precision"))
    where = f"on {shown} that it has {'learned from' if known else 'not seen'}"
    typer.echo(f"{out / NET}: {said} {where}, positions to {figures['rms_A']:.3f} Å (rms)")


def _recipe(
    material: str,
    task: Task,
    source: str,
    step_A: float | None,
    window: float,
    seed: int,
    microscopes: int,
    beam: Beam | None,
    steps: int | None,
) -> Recipe:
    """What a network for windows is trained with."""
    from picostem.dataset.plan import Plan
    from picostem.infer.learn import Recipe
    from picostem.infer.training_settings import TrainingSettings
    from picostem.physics import NM

    if task is Task.TWIST or source != "fast":
        raise UsageError(f"--network windows tells no twists and has no styles: take {_others(Network.WINDOWS)}")
    layers, antiparallel = STACKS[task]
    plan = Plan(material, layers, antiparallel, window * NM, step_A=step_A, seed=seed)
    return Recipe(plan, microscopes, beam, replace(TrainingSettings(), steps=steps or STEPS))


def _patch_recipe(
    material: str,
    task: Task,
    network: Network,
    source: str,
    step_A: float | None,
    window: float | None,
    seed: int,
    microscopes: int,
    beam: Beam | None,
    steps: int | None,
) -> PatchRecipe:
    """What a network for patches is trained with."""
    from picostem.infer.patch_learn import PatchRecipe
    from picostem.infer.patch_settings import preset
    from picostem.physics import NM

    taken = preset(network)
    side = taken.side if window is None else round(window * NM / taken.pixel_A)
    settings = taken.settings if steps is None else replace(taken.settings, steps=steps)
    plan = taken.plan(material, task.value, side=side, source=source, step_A=step_A)
    return PatchRecipe(plan, settings, microscopes, beam, seed)


def _others(network: Network) -> str:
    return ", ".join(one for one in Network if one is not network)


def _beam(voltage: float | None, semiangle: float | None, detector: tuple[float, float] | None) -> Beam | None:
    if voltage is None and semiangle is None and detector is None:
        return None
    if voltage is None or semiangle is None or detector is None:
        raise UsageError("--voltage, --semiangle and --detector make one microscope: give all of them, or none")
    return voltage, semiangle, detector


def _summary(card: NetCard | PatchCard, folder: Path) -> str:
    """What the network is worth, under microscopes that it has not seen."""
    from picostem.infer.patch_card import PatchCard

    size = card.extent_A if isinstance(card, PatchCard) else card.window_A
    what = card.task if isinstance(card, PatchCard) else f"{card.layers} layers"
    lines = [f"{folder}: {card.material}, {what}, windows of {size / 10:.2g} nm"]
    for case, figures in card.figures.items():
        unit, symbol, digits = ("deg", "°", 2) if "mean_error_deg" in figures else ("A", " Å", 3)
        median, mean = (f"{figures[f'{which}_error_{unit}']:.{digits}f}{symbol}" for which in ("median", "mean"))
        more = (
            f"95 % regions hold {figures['coverage']['0.95']:.1%}"
            if "coverage" in figures
            else f"95 % are off by less than {figures[f'error_95_{unit}']:.{digits}f}{symbol}"
        )
        lines.append(f"  {case}: error {median} (median), {mean} (mean); {more}")
    return "\n".join(lines)
