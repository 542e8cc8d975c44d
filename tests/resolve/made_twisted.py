"""Layers with lattices of their own, made with the fast engine, and what a fit in real space should find in them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from picostem.resolve.field import BAND, Field
from picostem.resolve.joint import Placement
from picostem.resolve.lattice import Lattice, Spectrum
from picostem.resolve.noise import Noise
from picostem.resolve.waves import WaveModel
from picostem.simulate import simulate_periodic
from picostem.structure import Monolayer, Stack, image_from_crystal

from .made import MICROSCOPE, OPTICS, PIXEL_SIZE, ROTATION

FloatArray = NDArray[np.float64]

LIMIT = BAND
"""1/Å; reflections of the models: all that a field keeps."""
DOSE = 2.6e4
ORIGIN = (0.5, -0.9)
"""Å; where the first layer's origin lies in the image."""


def flat_noise(variance: float = 1.0, slope: float = 0.0, mean: float = 0.0) -> Noise:
    """White noise; the mean is that of the intensity where its variance is the given one."""
    spectrum = Spectrum(np.ones((8, 8)), np.array([0.0, 0.5]), np.array([variance, variance]))
    return Noise(spectrum, slope, mean)


def bare_field(shape: tuple[int, int], step: float = 3.0, variance: float = 1.0) -> Field:
    """Samples a step apart, all of value 0 and weight 1, on which nothing but the noise's variance matters."""
    y, x = ((np.arange(n) - (n - 1) / 2) * step for n in shape)
    zero, one = np.zeros(shape, dtype=np.float32), np.ones(shape, dtype=np.float32)
    return Field(zero, one, x, -y, flat_noise(variance).spectrum, 1.0, 1.0, shape)


def lattices_of(
    stack: Stack, rotation: float = ROTATION, mirrored: bool = False, distortion: FloatArray | None = None
) -> tuple[Lattice, ...]:
    """The lattices of a stack's layers in the image."""
    frame = (np.eye(2) if distortion is None else distortion) @ image_from_crystal(rotation, mirrored)
    return tuple(Lattice(layer.cell @ frame.T / PIXEL_SIZE, layer.monolayer.cell) for layer in stack.layers)


def build(layers: tuple[Monolayer, ...], lattices: tuple[Lattice, ...], limit: float = LIMIT) -> WaveModel:
    """The model of layers each with its own lattice, in the usual microscope."""
    return WaveModel.build(layers, lattices, tuple(range(len(layers))), OPTICS, limit)


def true_microscope(model: WaveModel) -> FloatArray:
    """The parameters of the microscope that images are made with."""
    at = MICROSCOPE.aberrations_at(0.0)
    known = {"C10": at.C10, "C12a": at.C12a, "C12b": at.C12b, "variance": MICROSCOPE.source_sigma**2}
    return np.array([known.get(name, 0.0) for name in model.prior.names])


def true_placement(stack: Stack, model: WaveModel, rotation: float = ROTATION, dose: float = DOSE) -> Placement:
    """What a fit of a stack's image, in electrons, should find."""
    lattices = lattices_of(stack, rotation)
    frame = image_from_crystal(rotation, False)
    positions = [
        lattice.reciprocal @ (frame @ layer.position + ORIGIN) / PIXEL_SIZE
        for lattice, layer in zip(lattices, stack.layers, strict=True)
    ]
    # waves are those of one cell of the first layer in units of its strongest scatterer
    scale = dose * PIXEL_SIZE**2 * model.parts[0].unit / stack.layers[0].monolayer.area
    return Placement(
        true_microscope(model), scale, np.array(positions), np.array([lattice.reciprocal for lattice in lattices])
    )


def clean_image(stack: Stack, side: int, rotation: float = ROTATION, dose: float = DOSE) -> FloatArray:
    """Expected electrons in each pixel of a square image."""
    image = simulate_periodic(stack, MICROSCOPE, (side, side), PIXEL_SIZE, rotation=rotation, origin=ORIGIN)
    return image.astype(np.float64) * dose * PIXEL_SIZE**2


def recorded(expected: FloatArray, rng: np.random.Generator | None = None) -> Field:
    """The field of an image with counting noise (none without a generator), the noise known exactly."""
    mean = float(expected.mean())
    counts = expected if rng is None else rng.poisson(expected).astype(np.float64)
    data = (counts - mean).astype(np.float32)
    return Field.of(data, flat_noise(mean, slope=1 / mean), PIXEL_SIZE)
