"""What can be asked of `resolve`, as options of commands."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

Material = Annotated[
    str,
    typer.Option(
        "--material",
        "-m",
        help="Built-in name (see `picostem materials`), CIF, POSCAR or xyz file; layers of several materials as "
        "MoS2/WSe2.",
    ),
]
PixelSize = Annotated[
    float | None, typer.Option(metavar="Å", help="Å per pixel; else the file's, else found from the lattice.")
]
Voltage = Annotated[float | None, typer.Option(metavar="kV", help="Of the electrons; else the file's, else fitted.")]
Semiangle = Annotated[
    float | None, typer.Option(metavar="mrad", help="Convergence semiangle; else the file's, else fitted.")
]
Detector = Annotated[
    tuple[float, float] | None,
    typer.Option(metavar="INNER OUTER", help="Half angles of the detector, mrad; else the file's, else usual."),
]
Window = Annotated[float, typer.Option(metavar="nm", help="Side of the windows of the slip or twist map.")]
Stride = Annotated[float, typer.Option(metavar="nm", help="Distance between the windows' centres.")]
Scattering = Annotated[
    Literal["full", "independent"],
    typer.Option(help="independent: a linear model (a convolution with the probe) made the image."),
]
Layers = Annotated[
    Literal["auto", "1", "2", "3"], typer.Option(help="Number of layers, or auto to let the image decide.")
]
Engine = Annotated[
    Literal["fit", "net", "hybrid"],
    typer.Option(
        help="What finds the slips or the twists of windows: the fit of a model, a trained network, or both: the "
        "fit, and the network where the model does not hold."
    ),
]
Net = Annotated[
    str | None,
    typer.Option(
        metavar="NET", help="Network: folder or name; default: the one that comes with picostem for what is shown."
    ),
]
Dataset = Annotated[
    str | None, typer.Option(metavar="NAME", help="Data set of a file that holds several, by name or number.")
]
Frame = Annotated[int | None, typer.Option(metavar="N", help="Frame of a series or movie, from 0.")]
Average = Annotated[
    bool, typer.Option("--average", help="Align all frames of a series or movie, and resolve their mean.")
]
