"""One call from a stack of layers, or from any atoms, to a recorded image with its truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from picostem.errors import UsageError
from picostem.image import Acquisition, Image
from picostem.simulate.acquisition import AcquisitionSettings, acquire, clean_shape
from picostem.simulate.incoherent import MARGIN, simulate_atoms, simulate_periodic
from picostem.simulate.microscope import Microscope
from picostem.simulate.multislice import (
    MultisliceSettings,
    simulate_atoms_multislice,
    simulate_periodic_multislice,
)
from picostem.simulate.synthesis import synthesise
from picostem.simulate.together import share_a_lattice, together_series
from picostem.simulate.truth import Placement, describe, shares_lattice
from picostem.structure import Stack, image_from_crystal

FloatImage = NDArray[np.float32]
Engine = Literal["incoherent", "multislice"]
LINEAR = "picostem, linear imaging"
TOGETHER = "picostem, layers scattering together"
"""How the fast engine made an image, in its truth; of twisted layers it is always linear."""
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
    together: bool = True,
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
        engine: `incoherent` (fast) or `multislice` (needs the extra "sim").
        together: whether the fast engine adds what layers of one lattice do together (`simulate_periodic`); where atoms
            are missing, less of it by the square of the share that is left.
        multislice: how the multislice engine computes.
        name: of the image.

    Returns:
        the image, and its truth with the keys of `picostem.simulate.truth.describe`, ready for JSON.

    Raises:
        UsageError: for settings that contradict each other, or an engine that is not installed or not known.
    """
    damage_rng, phonon_rng, recording_rng = rng.spawn(3)
    placement = Placement(rotation, mirrored, origin)
    clean = _clean_field(shape, pixel_size, microscope, settings)
    atoms, left = None, 1.0
    if damage is not None or (engine == "multislice" and not shares_lattice(stack)):
        perfect = _atoms_around(stack, clean, placement)
        atoms = damage(perfect, damage_rng) if damage is not None else perfect
        left = len(atoms) / len(perfect)
    fractions = _fractions(engine, stack, atoms, microscope, clean, placement, phonon_rng, multislice)
    linear = engine != "incoherent" or not (together and len(stack.layers) > 1 and share_a_lattice(stack))
    if not linear:
        frame = image_from_crystal(rotation, mirrored)
        fractions += left**2 * synthesise(*together_series(stack, frame, np.asarray(origin), microscope), *clean)
    image = _recorded(fractions, microscope, settings, shape, (pixel_size, clean[1]), recording_rng, name)
    truth = describe(stack, microscope, settings, image, placement, atoms if damage is not None else None)
    return image, truth | _computed(truth, engine, fractions, multislice, LINEAR if linear else TOGETHER)


class Specimen(Protocol):
    """Atoms that need not be one perfect stack, and what is true of them."""

    @property
    def stack(self) -> Stack:
        """The perfect stack that comes nearest: its materials, heights, mean twist and mean slip."""

    def atoms(self, rotation: float, mirrored: bool, origin: tuple[float, float], extent: tuple[float, float]) -> Atoms:
        """The atoms of a field of the image frame; arguments and value as `Stack.atoms`."""

    def truth(self, placement: Placement) -> Mapping[str, Any]:
        """What is true of these atoms beside what is true of the stack, `task` among it, ready for JSON."""


def simulate_specimen(
    specimen: Specimen,
    microscope: Microscope,
    settings: AcquisitionSettings,
    shape: tuple[int, int],
    pixel_size: float,
    rng: np.random.Generator,
    *,
    rotation: float = 0.0,
    mirrored: bool = False,
    origin: tuple[float, float] = (0.0, 0.0),
    engine: Engine = "incoherent",
    multislice: MultisliceSettings = MultisliceSettings(),
    name: str = "simulated",
) -> tuple[Image, dict[str, Any]]:
    """Image of a specimen such as `TwistDomains` or `SlipField` as a microscope would record it, and its truth.

    Args:
        specimen: the atoms and what is true of them.
        rng: draws frozen phonons and everything about the recording, each from a stream of its own.

    The other arguments and the errors are those of `simulate_stack`.

    Returns:
        the image, and the truth about the specimen's stack (`picostem.simulate.truth.describe`) with that about the
        specimen over it, ready for JSON.
    """
    phonon_rng, recording_rng = rng.spawn(2)
    placement = Placement(rotation, mirrored, origin)
    clean = _clean_field(shape, pixel_size, microscope, settings)
    atoms = _atoms_around(specimen, clean, placement)
    fractions = _fractions(engine, specimen.stack, atoms, microscope, clean, placement, phonon_rng, multislice)
    image = _recorded(fractions, microscope, settings, shape, (pixel_size, clean[1]), recording_rng, name)
    truth = describe(specimen.stack, microscope, settings, image, placement) | dict(specimen.truth(placement))
    return image, truth | _computed(truth, engine, fractions, multislice)


def _clean_field(
    shape: tuple[int, int], pixel_size: float, microscope: Microscope, settings: AcquisitionSettings
) -> tuple[tuple[int, int], float]:
    """Shape and pixel size (Å) of the noise-free image."""
    # The spline wants pixels of at most 0.6 of the Nyquist distance; see `acquire`.
    refine = max(1, math.ceil(pixel_size * 2 * microscope.cutoff / 0.6)) if settings.is_distorted else 1
    return clean_shape(shape, settings, refine), pixel_size / refine


def _atoms_around(specimen: Stack | Specimen, clean: tuple[tuple[int, int], float], placement: Placement) -> Atoms:
    """The atoms that show in a noise-free image."""
    height, width = (n * clean[1] + 2 * MARGIN for n in clean[0])
    frame = (placement.rotation, placement.mirrored, placement.origin)
    return specimen.atoms(*frame, extent=(width, height))


def _recorded(
    fractions: FloatImage,
    microscope: Microscope,
    settings: AcquisitionSettings,
    shape: tuple[int, int],
    pixel_sizes: tuple[float, float],
    rng: np.random.Generator,
    name: str,
) -> Image:
    """The image of a shape; pixel sizes (Å) of it and of the noise-free one."""
    data = acquire(fractions, shape, pixel_sizes[0], settings, rng, round(pixel_sizes[0] / pixel_sizes[1]))
    return Image(data=data, name=name, acquisition=_acquisition(microscope)).with_pixel_size(pixel_sizes[0], "user")


def _computed(
    truth: Mapping[str, Any],
    engine: Engine,
    fractions: FloatImage,
    multislice: MultisliceSettings,
    fast: str = LINEAR,
) -> dict[str, Any]:
    """Parts of the truth that say how the image was computed."""
    by = {"incoherent": fast, "multislice": "picostem, abTEM multislice"}[engine]
    phonons = {"frozen_phonon_configs": multislice.configurations} if engine == "multislice" else {}
    return {
        "simulated": by,
        "acquisition": truth["acquisition"] | {"mean_detected_fraction": float(fractions.mean())},
        "specimen": truth["specimen"] | phonons,
    }


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


def _acquisition(microscope: Microscope) -> Acquisition:
    return Acquisition(
        voltage_eV=microscope.voltage_eV,
        semiangle=microscope.semiangle,
        detector_inner=microscope.detector_inner,
        detector_outer=microscope.detector_outer,
    )
