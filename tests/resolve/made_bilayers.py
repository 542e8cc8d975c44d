"""Images of twisted stacks and what is found in them, computed once and shared by the tests of twist and the pipeline.

`found` and `resolved` look for everything by themselves; `known` starts its fit at the truth, which takes no time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from picostem.image import Image
from picostem.pipeline import resolve
from picostem.resolve.field import Field
from picostem.resolve.joint import Tie, fit_joint
from picostem.resolve.lattice import power_spectrum
from picostem.resolve.result import Result
from picostem.resolve.twisted import Reading, Twisted, find_twisted
from picostem.simulate import AcquisitionSettings, simulate_stack
from picostem.structure import Monolayer, Stack, load_monolayer

from .made import KNOWN, MICROSCOPE, OPTICS, PIXEL_SIZE, ROTATION, centred
from .made_twisted import build, clean_image, lattices_of, recorded, true_placement

FloatArray = NDArray[np.float64]

WSE2 = load_monolayer("WSe2")
SHIFT = (0.9, 1.4)
"""Å; position of the upper layer."""
SIDE = 280
"""Pixels; 33.6 Å, in which 0.02° are one standard deviation of a twist."""
DRIFT = ((1.03, 0.02), (-0.01, 0.98))
"""A distortion of 4 % that all layers share."""
UNDISTORTED = ((1.0, 0.0), (0.0, 1.0))


def stretched(layer: Monolayer, x: float, y: float) -> Monolayer:
    """The layer strained along its own axes."""
    factors = np.array([x, y, 1.0])
    return replace(layer, name="stretched", cell=layer.cell * factors[:2], positions=layer.positions * factors)


@dataclass(frozen=True)
class Made:
    """How an image is made: two layers, the twist in degrees between them, and the recording."""

    lower: Monolayer
    twist: float
    upper: Monolayer | None = None
    side: int = SIDE
    dose: float = 2.6e4
    seed: int = 1
    rotation: float = ROTATION
    mirrored: bool = False
    drift: tuple[tuple[float, float], tuple[float, float]] = UNDISTORTED

    @property
    def stack(self) -> Stack:
        return Stack.bilayer(self.lower, SHIFT, np.radians(self.twist), self.upper)


@cache
def imaged(made: Made) -> Image:
    """The image, without its pixel size."""
    image, _ = simulate_stack(
        made.stack,
        MICROSCOPE,
        AcquisitionSettings(dose=made.dose, drift=made.drift),
        (made.side, made.side),
        PIXEL_SIZE,
        np.random.default_rng(made.seed),
        rotation=made.rotation,
        mirrored=made.mirrored,
    )
    return replace(image, pixel_size=None, pixel_size_source=None)


def look(image: Image, layers: tuple[Monolayer, Monolayer], pixel_size: float | None = None) -> Twisted | None:
    """What is found in an image whose microscope is known."""
    data = centred(image)
    return find_twisted(data, power_spectrum(data), layers, pixel_size, (OPTICS,))


@cache
def found(made: Made, layers: tuple[Monolayer, Monolayer]) -> Twisted:
    """What is found in the image made so; the layers are those that are asked for."""
    answer = look(imaged(made), layers)
    assert answer is not None
    return answer


@cache
def resolved(made: Made, material: str) -> Result:
    """What the whole pipeline says to it."""
    return resolve(imaged(made), material, **KNOWN)


def fitted_from_truth(stack: Stack, field: Field, strain: float = 0.005) -> Reading:
    """The fit of a stack to a field, started at the truth."""
    lattices = lattices_of(stack)
    model, tie = build(tuple(layer.monolayer for layer in stack.layers), lattices), Tie.of(lattices, strain)
    fit = fit_joint(model, field, true_placement(stack, model), tie, free_microscope=True)
    return Reading(lattices, model, tie, fit)


@cache
def known(lower: Monolayer, degrees: float, upper: Monolayer | None = None, side: int = 420) -> Twisted:
    """A reading of a noisy image that was fitted from the truth, as what was found; 50 Å wide unless told."""
    stack = Stack.bilayer(lower, SHIFT, np.radians(degrees), upper)
    field = recorded(clean_image(stack, side), np.random.default_rng(5))
    reading = fitted_from_truth(stack, field)
    return Twisted((lower, upper or lower), reading, (), 0.0, field, field)
