"""`picostem train`: networks for materials that picostem comes with none for."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from picostem.errors import UsageError

if TYPE_CHECKING:
    from picostem.dataset.microscopes import Beam
    from picostem.infer.card import NetCard

app = typer.Typer(help="Train networks that read stackings off images, for `picostem resolve --engine net`.")


class Task(StrEnum):
    """What a network is to tell."""

    SLIP = "slip"
    ANTIPARALLEL = "antiparallel"
    TRILAYER = "trilayer"


STACKS = {Task.SLIP: (2, False), Task.ANTIPARALLEL: (2, True), Task.TRILAYER: (3, False)}
"""How many layers, and whether they are antiparallel."""

STEPS, MICROSCOPES = 4000, 200
"""Of a training that takes a quarter of an hour on two processor cores."""


@app.callback()
def _train() -> None:
    """`stacking` is a command of its own, though it is the only one."""


@app.command("stacking")
def stacking(
    material: Annotated[str, typer.Option("--material", "-m", metavar="MATERIAL", help="Name or structure file.")],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for microscopes, checkpoint, losses, and DIR/net in the end.")
    ],
    task: Annotated[
        Task, typer.Option(help="Slip of two parallel or antiparallel layers, or both slips of three parallel ones.")
    ] = Task.SLIP,
    steps: Annotated[int, typer.Option(min=1, metavar="N", help="Of 512 windows each.")] = STEPS,
    microscopes: Annotated[int, typer.Option(min=1, metavar="N", help="To train with.")] = MICROSCOPES,
    window: Annotated[float, typer.Option(metavar="nm", help="Side of the windows, as in `picostem resolve`.")] = 2.0,
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
    """Train a network for the slips of one material; a stopped training goes on where it was."""
    from dataclasses import replace

    from picostem.checkpoint import require

    require("torch", "safetensors", "onnx")
    from picostem.cli.watch import watch
    from picostem.dataset.plan import Plan
    from picostem.infer.learn import NET, Recipe, learn
    from picostem.infer.training_settings import TrainingSettings
    from picostem.physics import NM

    layers, antiparallel = STACKS[task]
    plan = Plan(material, layers, antiparallel, window * NM, seed=seed)
    settings = replace(TrainingSettings(), steps=steps)
    recipe = Recipe(plan, microscopes, _beam(voltage, semiangle, detector), settings)
    out = out.expanduser()
    with watch() as progress:
        progress.begin(out.name, 0, 1)
        card = learn(
            recipe,
            out,
            name=name or out.resolve().name,
            licence=licence,
            device=device,
            threads=threads,
            progress=progress.report,
            resume=not fresh,
        )
        progress.pause()
    typer.echo(_summary(card, out / NET))


def _beam(voltage: float | None, semiangle: float | None, detector: tuple[float, float] | None) -> Beam | None:
    if voltage is None and semiangle is None and detector is None:
        return None
    if voltage is None or semiangle is None or detector is None:
        raise UsageError("--voltage, --semiangle and --detector make one microscope: give all of them, or none")
    return voltage, semiangle, detector


def _summary(card: NetCard, folder: Path) -> str:
    """What the network is worth, under microscopes that it has not seen."""
    lines = [f"{folder}: {card.material}, {card.layers} layers, windows of {card.window_A / 10:g} nm"]
    for what, figures in card.figures.items():
        lines.append(
            f"  {what}: error {figures['median_error_A']:.3f} Å (median), {figures['mean_error_A']:.3f} Å (mean); "
            f"95 % regions hold {figures['coverage']['0.95']:.1%}"
        )
    return "\n".join(lines)
