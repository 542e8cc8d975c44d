"""The resolved model of an image, simulated again without noise: the same content in a simulation's style."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from picostem.errors import DataError
from picostem.image import Image
from picostem.pipeline import resolve
from picostem.report.stacking import resolved_stack
from picostem.resolve.result import ResolvedLayer, Result
from picostem.simulate import Microscope, simulate_atoms
from picostem.simulate.synthesis import synthesise
from picostem.simulate.together import share_a_lattice, together_harmonics
from picostem.structure import image_from_crystal
from picostem.style.picture import Picture, prepare
from picostem.style.pool import PUBLISHED_MICROSCOPE

FloatArray = NDArray[np.float64]
FloatImage = NDArray[np.float32]

BORDER = 12.0
"""Å of specimen around the field: what `simulate_atoms` looks at, and a little more."""


def resolved(image: Image, material: str, microscope: Microscope = PUBLISHED_MICROSCOPE) -> Result:
    """What `resolve` finds in an image of a known microscope, its pixel size from the lattice if it has none.

    Raises:
        DataError: nothing that could be simulated again was found.
    """
    result = resolve(image, material, **told(microscope))
    if not result.layers:
        raise DataError(
            f"{image.name}: no model to simulate again: {result.reason} Give an image that `picostem resolve` resolves"
        )
    return result


def told(microscope: Microscope) -> dict[str, Any]:
    """What `resolve` is told of a microscope: voltage and angles, not its aberrations."""
    return {
        "voltage_kV": microscope.voltage_eV / 1e3,
        "semiangle_mrad": microscope.semiangle * 1e3,
        "detector_mrad": (microscope.detector_inner * 1e3, microscope.detector_outer * 1e3),
    }


def simulated_again(
    result: Result, pixel_size: float, shape: tuple[int, int], microscope: Microscope = PUBLISHED_MICROSCOPE
) -> Picture:
    """Noise-free picture of a resolved model, its atoms where the image shows them.

    Lattices are taken as measured, distortion included, and one for the whole field: what the slip's map says is left
    out. The microscope is that of the simulations that a style learned from, not the one that was fitted.

    Args:
        result: with layers.
        pixel_size: Å. shape: (rows, columns); the field has the image's centre.
    """
    field = (shape[1] * pixel_size, shape[0] * pixel_size)
    atoms = resolved_atoms(result.layers, field)
    data = simulate_atoms(atoms, microscope, shape, pixel_size) + _together(
        result.layers, microscope, shape, pixel_size
    )
    image = Image(data, (pixel_size, pixel_size), "lattice", result.image.name)
    return prepare(image)


def _together(
    layers: tuple[ResolvedLayer, ...], microscope: Microscope, shape: tuple[int, int], pixel_size: float
) -> FloatImage | float:
    """What layers of one lattice do together, on the lattice as it was measured."""
    stack, first = resolved_stack(layers), layers[0]
    if not share_a_lattice(stack):
        return 0.0
    hk, coefficients = together_harmonics(stack, image_from_crystal(first.rotation, first.mirrored), microscope)
    g = hk @ np.linalg.inv(first.rows).T
    return synthesise(g, coefficients * np.exp(-2j * np.pi * g @ first.origin), shape, pixel_size)


def resolved_atoms(layers: tuple[ResolvedLayer, ...], field: tuple[float, float]) -> Atoms:
    """Atoms of resolved layers as they lie in the image (x right, y up, Å, origin at its centre), with BORDER.

    Args:
        layers: as `resolve` found them, their lattices as measured.
        field: width and height, Å.
    """
    stack = resolved_stack(layers)
    symbols: list[str] = []
    positions = [np.zeros((0, 3))]
    for layer, placed in zip(layers, stack.layers, strict=True):
        below = -1.0 if layer.mirrored != layers[0].mirrored else 1.0
        steps = _steps(layer.rows, layer.origin, field)
        for symbol, fraction, position in zip(
            layer.monolayer.symbols, layer.monolayer.scaled, layer.monolayer.positions, strict=True
        ):
            places = layer.origin + (steps + fraction) @ layer.rows
            height = np.full((len(places), 1), placed.z + below * position[2])
            symbols += [symbol] * len(places)
            positions.append(np.hstack([places, height]))
    reach = np.asarray(field) / 2 + BORDER
    near = np.all(np.abs(np.concatenate(positions)[:, :2]) < reach, axis=1)
    return Atoms(np.array(symbols)[near], np.concatenate(positions)[near])


def _steps(rows: FloatArray, origin: FloatArray, field: tuple[float, float]) -> FloatArray:
    """Whole numbers of lattice vectors (n, 2) that reach every part of a field with its border."""
    half = np.asarray(field) / 2 + BORDER
    corners = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]]) * half - origin
    low, high = (f(corners @ np.linalg.inv(rows), axis=0) for f in (np.min, np.max))
    axes = [np.arange(np.floor(a) - 1, np.ceil(b) + 2) for a, b in zip(low, high, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
