"""One call from a stack of layers to a recorded image with its truth, and writing both."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Literal

import numpy as np
import tifffile
from ase import Atoms
from numpy.typing import NDArray

from picostem.errors import OutputError, UsageError
from picostem.image import Acquisition, Image
from picostem.physics import NM
from picostem.simulate.acquisition import AcquisitionSettings, acquire, clean_shape
from picostem.simulate.incoherent import MARGIN, simulate_atoms, simulate_periodic
from picostem.simulate.microscope import Microscope
from picostem.simulate.multislice import (
    MultisliceSettings,
    simulate_atoms_multislice,
    simulate_periodic_multislice,
)
from picostem.simulate.truth import Placement, describe
from picostem.structure import Stack

FloatImage = NDArray[np.float32]
Engine = Literal["incoherent", "multislice"]
Damage = Callable[[Atoms, np.random.Generator], Atoms]
"""Takes the perfect atoms (image frame) and returns those that are left; see `picostem.structure.defect`."""


def simulate_stack(
    stack: Stack,
    microscope: Microscope,
    settings: AcquisitionSettings,
    shape: tuple[int, int],
    pixel_size: float,
    rng: np.random.Generator,
    *,
    rotation: float = 0.0,
    mirrored: bool = False,
    origin: tuple[float, float] = (0.0, 0.0),
    damage: Damage | None = None,
    engine: Engine = "incoherent",
    multislice: MultisliceSettings = MultisliceSettings(),
    name: str = "simulated",
) -> tuple[Image, dict[str, Any]]:
    """Image of a stack as a microscope would record it, and the truth about it.

    Args:
        stack: layers from the beam's entrance side upwards.
        microscope, settings: probe and detector; dose, noise, scan distortion.
        shape: (rows, columns).
        pixel_size: Å.
        rng: draws damage, frozen phonons and everything about the recording, each from a stream of its own.
        rotation, mirrored, origin: of layer 1's crystal frame in the image frame, rad and Å.
        damage: makes defects; None for perfect layers.
        engine: `incoherent` (fast, linear) or `multislice` (needs the extra "sim").
        multislice: how the multislice engine computes.
        name: of the image.

    Returns:
        the image, and its truth with the keys of `picostem.simulate.truth.describe`, ready for JSON.

    Raises:
        UsageError: for settings that contradict each other, or an engine that is not installed or not known.
    """
    damage_rng, phonon_rng, recording_rng = rng.spawn(3)
    placement = Placement(rotation, mirrored, origin)
    # The spline wants pixels of at most 0.6 of the Nyquist distance; see `acquire`.
    refine = max(1, math.ceil(pixel_size * 2 * microscope.cutoff / 0.6)) if settings.is_distorted else 1
    field = clean_shape(shape, settings, refine)
    atoms = None
    if damage is not None or (engine == "multislice" and not _shares_lattice(stack)):
        height, width = (n * pixel_size / refine + 2 * MARGIN for n in field)
        perfect = stack.atoms(rotation=rotation, mirrored=mirrored, origin=origin, extent=(width, height))
        atoms = damage(perfect, damage_rng) if damage is not None else perfect
    clean = (field, pixel_size / refine)
    fractions = _fractions(engine, stack, atoms, microscope, clean, placement, phonon_rng, multislice)
    data = acquire(fractions, shape, pixel_size, settings, recording_rng, refine)
    image = Image(data=data, name=name, acquisition=_acquisition(microscope)).with_pixel_size(pixel_size, "user")
    truth = describe(stack, microscope, settings, image, placement, atoms if damage is not None else None)
    truth["simulated"] = {"incoherent": "picostem, linear imaging", "multislice": "picostem, abTEM multislice"}[engine]
    truth["acquisition"]["mean_detected_fraction"] = float(fractions.mean())
    if engine == "multislice":
        truth["specimen"]["frozen_phonon_configs"] = multislice.configurations
    return image, truth


def _fractions(
    engine: Engine,
    stack: Stack,
    atoms: Atoms | None,
    microscope: Microscope,
    clean: tuple[tuple[int, int], float],
    placement: Placement,
    rng: np.random.Generator,
    multislice: MultisliceSettings,
) -> FloatImage:
    """Noise-free image by the engine asked for; atoms are given where perfect layers will not do."""
    frame: dict[str, Any] = {
        "rotation": placement.rotation,
        "mirrored": placement.mirrored,
        "origin": placement.origin,
    }
    if engine == "incoherent":
        if atoms is None:
            return simulate_periodic(stack, microscope, *clean, **frame)
        return simulate_atoms(atoms, microscope, *clean)
    if engine == "multislice":
        if atoms is None:
            return simulate_periodic_multislice(stack, microscope, *clean, rng, multislice, **frame)
        return simulate_atoms_multislice(atoms, microscope, *clean, rng, multislice)
    raise UsageError(f"unknown engine {engine!r}: expected 'incoherent' or 'multislice'")


def _shares_lattice(stack: Stack) -> bool:
    try:
        stack.unit_cell()
    except UsageError:
        return False
    return True


def _acquisition(microscope: Microscope) -> Acquisition:
    return Acquisition(
        voltage_eV=microscope.voltage_eV,
        semiangle=microscope.semiangle,
        detector_inner=microscope.detector_inner,
        detector_outer=microscope.detector_outer,
    )


def write_simulation(folder: Path, name: str, image: Image, truth: Mapping[str, Any]) -> tuple[Path, Path]:
    """Write NAME.tif (float32, calibrated in nm as ImageJ does) and NAME.json, each completely or not at all.

    Returns:
        the two paths.

    Raises:
        OutputError: if a file cannot be written, or the image has no pixel size.
    """
    if image.pixel_size is None:
        raise OutputError(f"image {image.name!r} has no pixel size: call with_pixel_size before writing it")
    per_nm = (NM / image.pixel_size[1], NM / image.pixel_size[0])
    document = json.dumps({**truth, "image": {**truth["image"], "file": f"{name}.tif"}}, indent=1)

    def write_tif(path: Path) -> None:
        tifffile.imwrite(path, image.data, imagej=True, resolution=per_nm, metadata={"unit": "nm", "axes": "YX"})

    tif, text = folder / f"{name}.tif", folder / f"{name}.json"
    _write_whole(tif, write_tif)
    _write_whole(text, lambda path: path.write_text(document + "\n", "utf-8"))
    return tif, text


def _write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside the path, then move: a reader never sees half a file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.stem}", suffix=path.suffix, delete=False) as handle:
            beside = Path(handle.name)
        try:
            write(beside)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
