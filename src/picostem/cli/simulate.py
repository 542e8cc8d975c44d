"""`picostem simulate`: a stack as a microscope would record it, with the truth about it; hands `simulate 4d` on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
import typer.main

from picostem.cli.optics import (
    DETECTOR,
    SEMIANGLE,
    SOURCE_WIDTH,
    VOLTAGE,
    Defocus,
    Detector,
    Semiangle,
    SourceWidth,
    Voltage,
)
from picostem.cli.pairs import PairsCommand
from picostem.cli.simulate_4d import simulate_4d
from picostem.errors import UsageError

if TYPE_CHECKING:
    from picostem.simulate.experiment import Damage

Pair = tuple[float, float]
MAX_LAYERS = 20


class SimulateCommand(PairsCommand):
    """`simulate MATERIAL`, and `simulate 4d`, which has options of its own."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of one or of the other, by the first word."""
        if args[:1] != ["4d"]:
            return super().make_context(info_name, args, parent, **extra)
        other = typer.Typer(rich_markup_mode=None, add_completion=False)
        other.command()(simulate_4d)
        return typer.main.get_command(other).make_context(f"{info_name} 4d", args[1:], parent, **extra)


def simulate(
    material: Annotated[
        str,
        typer.Argument(metavar="MATERIAL", help="Built-in name, CIF, POSCAR or xyz file; one per layer: MoS2/WSe2."),
    ],
    slip: Annotated[
        list[str] | None,
        typer.Option(
            metavar="X Y",
            help="Slip of a layer against the one below, Å, in that one's crystal frame; once for every interface, or "
            "again for each further one.",
        ),
    ] = None,
    slip_frac: Annotated[list[str] | None, typer.Option(metavar="DA DB", help="The same in units of a and b.")] = None,
    twist: Annotated[
        list[float] | None, typer.Option(metavar="DEG", help="Of a layer against the one below; as often as --slip.")
    ] = None,
    layers: Annotated[
        int | None,
        typer.Option(min=1, max=MAX_LAYERS, metavar="N", help="Number of layers; default: what was given, or 2."),
    ] = None,
    pixel_size: Annotated[float, typer.Option(metavar="Å", help="Å per pixel.")] = 0.117,
    size: Annotated[str, typer.Option(metavar="N or ROWSxCOLS", help="Of the image, pixels.")] = "512",
    rotation: Annotated[float, typer.Option(metavar="DEG", help="Of the crystal in the image.")] = 0.0,
    mirrored: Annotated[bool, typer.Option("--mirrored", help="Show the crystal from its other side.")] = False,
    voltage: Voltage = VOLTAGE,
    semiangle: Semiangle = SEMIANGLE,
    detector: Detector = DETECTOR,
    defocus: Defocus = 0.0,
    astigmatism: Annotated[Pair, typer.Option(metavar="Å DEG", help="C12 and its angle.")] = (0.0, 0.0),
    coma: Annotated[Pair, typer.Option(metavar="Å DEG", help="C21 and its angle.")] = (0.0, 0.0),
    source_width: SourceWidth = SOURCE_WIDTH,
    dose: Annotated[
        float, typer.Option(metavar="N", help="Electrons per Å²; inf for no noise, as styles want it.")
    ] = 2.6e4,
    read_noise: Annotated[float, typer.Option(metavar="N", help="Of the detector, counts.")] = 0.0,
    jitter: Annotated[float, typer.Option(metavar="PX", help="Along the fast scan axis, rms pixels.")] = 0.0,
    vacancies: Annotated[float, typer.Option(metavar="SHARE", help="Share of the atoms that is missing.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of everything random.")] = 0,
    engine: Annotated[
        Literal["fast", "multislice"],
        typer.Option(help='multislice needs pip install "picostem[sim]".'),
    ] = "fast",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.tif", help="Default MATERIAL_simulated.tif; the truth goes beside it.")
    ] = None,
) -> None:
    """Simulate an ADF-STEM image of a stack, with its truth as JSON beside it; `simulate 4d`: 4D-STEM data."""
    from dataclasses import replace

    import numpy as np

    from picostem.cli.stacking import stack_of
    from picostem.physics import DEGREE
    from picostem.simulate import AcquisitionSettings, Microscope, simulate_stack, write_simulation
    from picostem.structure.materials import load_materials

    stack = stack_of(load_materials(material), layers, slip or [], slip_frac or [], twist or [])
    microscope = Microscope.from_lab_units(
        voltage_kV=voltage,
        semiangle_mrad=semiangle,
        detector_mrad=detector,
        defocus_A=defocus,
        C12_A=astigmatism[0],
        phi12_deg=astigmatism[1],
        C21_A=coma[0],
        phi21_deg=coma[1],
        source_fwhm_A=source_width,
    )
    recording = AcquisitionSettings(dose=dose, read_noise=read_noise, jitter=jitter)
    target = _target(out, "-".join(dict.fromkeys(layer.monolayer.name for layer in stack.layers)))
    image, truth = simulate_stack(
        stack,
        microscope,
        recording,
        _shape(size),
        pixel_size,
        np.random.default_rng(seed),
        rotation=rotation * DEGREE,
        mirrored=mirrored,
        damage=_damage(vacancies),
        engine="incoherent" if engine == "fast" else "multislice",
        name=target.stem,
    )
    truth["seeds"] = {"all": seed}
    tif, text = write_simulation(target.parent, target.stem, replace(image, path=target), truth)
    typer.echo(f"{tif}: {image.data.shape[0]} × {image.data.shape[1]} pixels; truth in {text}")


def _shape(size: str) -> tuple[int, int]:
    from picostem.image import MAX_SIDE

    parts = size.lower().split("x")
    numbers = [int(part) for part in parts if part.strip().isdecimal()]
    if len(numbers) != len(parts) or len(parts) > 2 or not all(1 <= n <= MAX_SIDE for n in numbers):
        raise UsageError(f"--size is {size!r}; expected 512 or 512x600 (rows x columns), at most {MAX_SIDE} each")
    return numbers[0], numbers[-1]


def _damage(fraction: float) -> Damage | None:
    if fraction == 0:
        return None
    if not 0 < fraction <= 1:
        raise UsageError(f"--vacancies is {fraction:g}; expected a share from 0 to 1")
    from picostem.structure import vacancies

    return lambda atoms, rng: vacancies(atoms, fraction, rng)


def _target(out: Path | None, name: str) -> Path:
    if out is None:
        return Path(f"{name}_simulated.tif")
    if out.suffix.lower() not in (".tif", ".tiff"):
        raise UsageError(f"--out is {out}; expected the name of a tif file")
    return out.expanduser().with_suffix(".tif")
