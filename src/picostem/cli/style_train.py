"""`picostem style train`: learn how an experiment's images look."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from picostem.cli.optics import DETECTOR, SEMIANGLE, VOLTAGE, Detector, Semiangle, Voltage, microscope_of
from picostem.errors import UsageError

if TYPE_CHECKING:
    from picostem.simulate import Microscope
    from picostem.style.card import StyleCard
    from picostem.style.network import StyleNetwork
    from picostem.style.picture import Picture
    from picostem.style.presets import Preset

FIGURE, STYLE = "training.png", "style"
"""What is added to the training's folder when it is done: a figure, and a folder with the style itself."""


def train(
    experiments: Annotated[list[Path], typer.Argument(metavar="EXPERIMENT...", help="Images whose style to learn.")],
    material: Annotated[str, typer.Option(metavar="MATERIAL", help="As in `picostem simulate`: MoS2, MoS2/WSe2, CIF.")],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for checkpoint, losses, samples, and DIR/style in the end.")
    ],
    pixel_size: Annotated[
        list[float] | None,
        typer.Option(
            metavar="Å", help="Of the images: one for all, or one for each in their order; default: the file's."
        ),
    ] = None,
    simulations: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Noise-free simulated images to train with; default: made, and chosen."),
    ] = None,
    voltage: Voltage = VOLTAGE,
    semiangle: Semiangle = SEMIANGLE,
    detector: Detector = DETECTOR,
    preset: Annotated[
        str, typer.Option(metavar="NAME", help="cpu or paper; -no-selection and others after it leave steps out.")
    ] = "cpu",
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of everything random.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, metavar="N", help="Default: as the preset says.")] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, metavar="N", help="Of the processor; default: all.")] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start anew where DIR has a training that was stopped.")
    ] = False,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Of the style; default: DIR's.")] = None,
    licence: Annotated[str, typer.Option(metavar="TEXT", help="Of the images, for the style's card.")] = "",
    credit: Annotated[str, typer.Option(metavar="TEXT", help="Whose images they are, for the style's card.")] = "",
) -> None:
    """Learn how an experiment's images look from a few of them; a stopped training goes on where it was."""
    from dataclasses import replace

    from picostem.checkpoint import require

    require("torch", "safetensors", "onnx")
    from picostem.cli.watch import watch
    from picostem.style.describe import describe
    from picostem.style.presets import preset_named
    from picostem.style.train import train as learn

    chosen = preset_named(preset)
    chosen = chosen if steps is None else replace(chosen, steps=steps)
    experimental = _experiments(experiments, pixel_size or [], chosen)
    out = out.expanduser()
    with watch() as progress:
        progress.begin(out.name, 0, 1)
        if simulations is None:
            progress.report("simulations", 0, 0)
            pool = _pool(material, chosen, microscope_of(voltage, semiangle, detector), seed)
        else:
            pool = _read(simulations, chosen)
        progress.report("likeness", 0, 0)
        simulated, partners = _chosen(pool, experimental, chosen, seed, keep_all=simulations is not None)
        network = learn(
            simulated,
            experimental,
            chosen,
            out,
            seed=seed,
            partners=partners,
            device=device,
            threads=threads,
            progress=lambda step, count, losses: progress.report(_said(losses), step, count),
            resume=not fresh,
        )
        progress.report("figure and files", 0, 0)
        card = describe(network, simulated, experimental, chosen, seed, name or out.resolve().name, material)
        _write(network, simulated, experimental, chosen, out, replace(card, licence=licence, credit=credit))
        progress.pause()
    typer.echo(f"{out / STYLE}: from {len(experimental)} images and {len(simulated)} simulations; see {out / FIGURE}")


def _said(losses: dict[str, float]) -> str:
    return f"style {losses.get('adversarial', 0.0):.2f}, structure {losses.get('consistency', 0.0):.2f}"


def _experiments(files: list[Path], sizes: list[float], preset: Preset) -> list[Picture]:
    """The images as pictures, each by its own pixel size, the one for all, or what its file says."""
    from picostem.files import read_image
    from picostem.style.picture import prepare

    if len(sizes) not in (0, 1, len(files)):
        raise UsageError(f"--pixel-size is given {len(sizes)} times for {len(files)} images: give one, or one for each")
    known: list[float | None] = [*sizes] if len(sizes) == len(files) else [sizes[0] if sizes else None] * len(files)
    return [
        prepare(read_image(file), preset.pixel_size, source_pixel_size=size)
        for file, size in zip(files, known, strict=True)
    ]


def _read(folder: Path, preset: Preset) -> list[Picture]:
    """Noise-free simulations from a folder."""
    from picostem.files import read_image
    from picostem.style.picture import prepare

    files = sorted(file for file in folder.expanduser().glob("*.tif*") if not file.name.startswith("."))
    if not files:
        raise UsageError(f"--simulations {folder}: no tif files there; `picostem style select` writes some")
    return [prepare(read_image(file), preset.pixel_size) for file in files]


def _pool(material: str, preset: Preset, microscope: Microscope, seed: int) -> list[Picture]:
    """Noise-free simulations, made."""
    from picostem.style.pool import simulate_pool

    size, extent = preset.pixel_size, preset.extent
    made = simulate_pool(material, preset.simulations, pixel_size=size, extent=extent, seed=seed, microscope=microscope)
    return [simulation.picture for simulation in made]


def _chosen(
    pool: list[Picture], experimental: list[Picture], preset: Preset, seed: int, *, keep_all: bool
) -> tuple[list[Picture], list[list[int]] | None]:
    """Those of the pool that are like the experiment, and which of them belong to each experimental picture."""
    from picostem.style.select import SelectSettings, cut, nearest, select

    if preset.nearest is not None:
        found = nearest(experimental, pool, preset.nearest)
        kept = sorted({index for each in found for index in each})
        return [pool[index] for index in kept], [[kept.index(index) for index in each] for each in found]
    if preset.keep is None or keep_all:
        return pool, None
    extent = min(picture.extent for picture in (*pool, *experimental))
    fields = [part for picture in experimental for part in cut(picture, extent)]
    settings = SelectSettings(keep=preset.keep, seed=seed)
    selection = select(fields, [cut(picture, extent)[0] for picture in pool], settings)
    return [pool[index] for index in sorted(selection.kept.tolist())], None


def _write(
    network: StyleNetwork,
    simulated: list[Picture],
    experimental: list[Picture],
    preset: Preset,
    out: Path,
    card: StyleCard,
) -> None:
    """Figure and style folder."""
    from picostem.report.style_train import draw_training, save_training
    from picostem.style.export import export_style
    from picostem.style.showcase import showcase
    from picostem.training import HISTORY, read_history

    shown = showcase(network, preset, preset.content(simulated), experimental)
    save_training(draw_training(read_history(out / HISTORY), shown, preset.pixel_size), out / FIGURE)
    export_style(network, card, out / STYLE)
