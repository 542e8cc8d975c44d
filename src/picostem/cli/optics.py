"""The microscope of noise-free simulations, as options of commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from picostem.simulate import Microscope

Voltage = Annotated[float, typer.Option(metavar="kV", help="Of the electrons.")]
Semiangle = Annotated[float, typer.Option(metavar="mrad", help="Convergence semiangle.")]
Detector = Annotated[tuple[float, float], typer.Option(metavar="INNER OUTER", help="Half angles, mrad.")]
Defocus = Annotated[float, typer.Option(metavar="Å", help="-C10, at layer 1.")]
SourceWidth = Annotated[float, typer.Option("--source-fwhm", metavar="Å", help="Width of the source at the specimen.")]

VOLTAGE, SEMIANGLE, DETECTOR = 300.0, 21.3, (39.0, 200.0)
"""Of the published images of ReS2: TED-Gen, Methods."""

DEFOCUS, SOURCE_WIDTH = 35.0, 0.6
"""What those images resolve to, about."""


def microscope_of(
    voltage: float,
    semiangle: float,
    detector: tuple[float, float],
    defocus: float = DEFOCUS,
    source_width: float = SOURCE_WIDTH,
) -> Microscope:
    """A microscope without aberrations but defocus, from the units of the options."""
    from picostem.simulate import Microscope

    return Microscope.from_lab_units(
        voltage_kV=voltage,
        semiangle_mrad=semiangle,
        detector_mrad=detector,
        defocus_A=defocus,
        source_fwhm_A=source_width,
    )
