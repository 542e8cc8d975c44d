"""Asking `resolve` about an image whose truth is known: what it is told and what is kept from it, and who answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from picostem.bench.case import Case
from picostem.files import read_image
from picostem.image import Acquisition, Image
from picostem.pipeline import resolve_with
from picostem.resolve.result import Result
from picostem.resolve.settings import Engine, LayerCount, Settings


@dataclass(frozen=True)
class Given:
    """What `resolve` is told of the truth, and what finds the slips of windows.

    What it is not told, it is not told by the file either.

    Attributes:
        engine, net: as in `Settings`.

    Raises:
        UsageError: no such engine, or a network that it does not ask.
    """

    pixel_size: bool = True
    microscope: bool = True
    engine: Engine = "fit"
    net: str | None = None

    def __post_init__(self) -> None:
        Settings("", engine=self.engine, net=self.net)  # says at once what else each image would


def bare_image(case: Case) -> Image:
    """The image without what its file says of pixel size and microscope."""
    return replace(read_image(case.path), pixel_size=None, pixel_size_source=None, acquisition=Acquisition())


def ask(case: Case, image: Image, given: Given, layers: LayerCount = "auto", **options: Any) -> Result:
    """Resolve an image of the case.

    Args:
        options: other fields of `Settings`.

    Raises:
        PicostemError: what `resolve` raises.
    """
    microscope = case.truth["microscope"] if given.microscope else {}
    settings = Settings(
        material=case.material,
        pixel_size_A=case.truth["image"]["pixel_size_A"] if given.pixel_size else None,
        voltage_kV=microscope.get("kV"),
        semiangle_mrad=microscope.get("semiangle_mrad"),
        detector_mrad=tuple(microscope["detector_mrad"]) if given.microscope else None,
        layers=layers,
        engine=given.engine,
        net=given.net,
        **options,
    )
    return resolve_with(image, settings)
