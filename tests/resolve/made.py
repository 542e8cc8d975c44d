"""Lattices, models and images with a known truth, made once and shared by the tests of `resolve` and the pipeline."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from picostem.image import Image
from picostem.physics import KV, MRAD
from picostem.resolve.estimate import Observation, State, predict
from picostem.resolve.evidence import harmonics_of
from picostem.resolve.lattice import Lattice, power_spectrum
from picostem.resolve.model import Optics, StackModel
from picostem.resolve.orient import Setting, fit_setting
from picostem.simulate import AcquisitionSettings, Microscope, simulate_stack
from picostem.structure import Monolayer, Stack, image_from_crystal, load_monolayer

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.int64]

RES2, MOS2 = load_monolayer("ReS2"), load_monolayer("MoS2")
OPTICS = Optics(300 * KV, 21.3 * MRAD, 0.0, 39 * MRAD, 200 * MRAD, "user")
MICROSCOPE = Microscope.from_lab_units(
    voltage_kV=300, semiangle_mrad=21.3, detector_mrad=(39, 200), defocus_A=6, C12_A=5, source_fwhm_A=0.6
)
KNOWN = {"voltage_kV": 300, "semiangle_mrad": 21.3, "detector_mrad": (39, 200)}
PIXEL_SIZE = 0.12
SLIP = np.array([1.2, 1.9])
ROTATION = 0.7


def make_lattice(
    monolayer: Monolayer,
    pixel_size: float = PIXEL_SIZE,
    rotation: float = ROTATION,
    mirrored: bool = False,
    distortion: FloatArray | None = None,
) -> Lattice:
    """The lattice of r_image = distortion · R(rotation) · M · r_crystal / pixel_size."""
    frame = image_from_crystal(rotation, mirrored)
    return Lattice(
        monolayer.cell @ ((np.eye(2) if distortion is None else distortion) @ frame).T / pixel_size, monolayer.cell
    )


def plane_waves(shape: tuple[int, int], g: FloatArray, amplitudes: ComplexArray, mean: float = 0.0) -> FloatArray:
    """mean + sum of 2 Re c exp(2 pi i g.r), g in cycles per pixel, r from the image centre, x right and y up."""
    rows, cols = shape
    x, y = np.arange(cols) - (cols - 1) / 2, (rows - 1) / 2 - np.arange(rows)
    across = np.exp(2j * np.pi * np.outer(g[:, 0], x)) * amplitudes[:, None]
    return mean + 2 * (np.exp(2j * np.pi * np.outer(y, g[:, 1])) @ across).real


def crystal_image(monolayer: Monolayer, lattice: Lattice, shape: tuple[int, int], damping: float = 0.06) -> FloatArray:
    """Layer of Gaussian atoms of weight Z^1.7, variance `damping` Å², as plane waves up to 1.1 1/Å."""
    from ase.data import atomic_numbers

    hk = harmonics_of(lattice)
    weights = np.array([atomic_numbers[s] for s in monolayer.symbols], dtype=float) ** 1.7
    g2 = np.sum((hk @ monolayer.reciprocal) ** 2, axis=1)
    factor = np.exp(-2j * np.pi * hk @ monolayer.scaled.T) @ weights * np.exp(-2 * np.pi**2 * damping * g2)
    return plane_waves(shape, hk @ lattice.reciprocal, factor / weights.sum(), 1.0)


def make_model(layers: int = 2, monolayer: Monolayer = RES2, optics: Optics = OPTICS) -> StackModel:
    """Model of equal layers as they lie in `make_lattice`."""
    lattice = make_lattice(monolayer)
    return StackModel.build((monolayer,) * layers, harmonics_of(lattice), lattice.orthogonal, optics)


def microscope_vector(model: StackModel) -> FloatArray:
    """A microscope off the prior's mean in every parameter, so that no derivative vanishes by symmetry."""
    step = np.where(np.arange(len(model.prior.mean)) % 2, -0.4, 0.5)
    return model.prior.mean + step * model.prior.sigma * np.where(model.prior.sigma > 0.2, 0.5, 1.0)


def make_state(model: StackModel, windows: int, rng: np.random.Generator, spread: float = 1.0) -> State:
    """Random origins and slips (around one slip, if spread is less than 1)."""
    middle = rng.uniform(-0.5, 0.5, (1, model.layer_count - 1, 2))
    return State(
        microscope=microscope_vector(model),
        scale=rng.uniform(0.5, 1.5, windows),
        origin=rng.uniform(-0.5, 0.5, (windows, 2)),
        slips=middle + spread * rng.uniform(-0.5, 0.5, (windows, model.layer_count - 1, 2)),
    )


def white(amplitudes: ComplexArray, sigma: float) -> Observation:
    """Amplitudes whose noise is white already: real and imaginary part of each vary by sigma / sqrt(2).

    The whitened vector holds c and its conjugate, so that its squared length is 2 |c|² / sigma².
    """
    windows, n = amplitudes.shape
    ones = np.ones((windows, 2 * n), dtype=complex)
    return Observation(amplitudes, ones, np.eye(2 * n) / sigma, ones, np.eye(2 * n, dtype=complex))


def noisy(model: StackModel, state: State, sigma: float, rng: np.random.Generator) -> Observation:
    """Harmonics of the model with noise of that level."""
    shape = (len(state.scale), len(model.hk))
    noise = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    return white(predict(model, state) + sigma / np.sqrt(2) * noise, sigma)


@cache
def simulated(
    slip: tuple[float, float] | None = (float(SLIP[0]), float(SLIP[1])),
    side: int = 336,
    rotation: float = ROTATION,
    mirrored: bool = False,
    material: str = "ReS2",
    seed: int = 4,
    dose: float = 2.6e4,
) -> Image:
    """Image of a bilayer, or of one layer if there is no slip; without its pixel size."""
    layer = load_monolayer(material)
    stack = Stack.of([layer]) if slip is None else Stack.bilayer(layer, slip)
    image, _ = simulate_stack(
        stack,
        MICROSCOPE,
        AcquisitionSettings(dose=dose),
        (side, side),
        PIXEL_SIZE,
        np.random.default_rng(seed),
        rotation=rotation,
        mirrored=mirrored,
    )
    return replace(image, pixel_size=None, pixel_size_source=None)


BOUNDARY = 3.0
"""Å; the slip changes on the line x = BOUNDARY of `two_halves`."""
OTHER_SLIP = (-1.6, 2.4)


@cache
def two_halves() -> Image:
    """Two stackings, one on each side of a vertical line, on one lattice; 280 × 500 pixels, 60 Å wide."""
    halves = []
    for slip in ((float(SLIP[0]), float(SLIP[1])), OTHER_SLIP):
        image, _ = simulate_stack(
            Stack.bilayer(RES2, slip),
            MICROSCOPE,
            AcquisitionSettings(),
            (280, 500),
            PIXEL_SIZE,
            np.random.default_rng(11),
            rotation=ROTATION,
        )
        halves.append(image)
    x = (np.arange(500) - 249.5) * PIXEL_SIZE
    return replace(halves[0], data=np.where(x < BOUNDARY, halves[0].data, halves[1].data))


def centred(image: Image) -> NDArray[np.float32]:
    """The pixels with their mean subtracted."""
    return image.data - np.float32(image.data.mean(dtype=np.float64))


@cache
def fitted() -> tuple[NDArray[np.float32], Setting]:
    """Pixels of the `simulated` bilayer without their mean, and the setting that was fitted at its true lattice."""
    data = centred(simulated())
    setting = fit_setting(data, power_spectrum(data), make_lattice(RES2), (RES2, RES2), 20.0, OPTICS)
    return data, setting
