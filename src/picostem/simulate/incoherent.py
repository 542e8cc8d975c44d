"""Fast ADF images by linear imaging: every atom's object transfer times the probe's transfer at the atom's depth.

The image (detected fraction of the beam at probe position r) is the sum over atoms of

    I^(g) = S_Z(g) exp(-2 pi² (u_Z² + s²) g²) O(g; C10 + z) exp(-2 pi i g.r_atom),

| symbol | meaning |
|---|---|
| S_Z | `adf_object_transfer` of element Z, Å² |
| u_Z, s | rms thermal displacement and source size along one axis, Å |
| O | `probe_transfer`, expanded to first order in z about the middle of each plane of atoms |

Two atoms on one column of a layer interfere, which counts as a scatterer of its own (see `column`). There is no other
interference and no multiple scattering, unless `together` adds it for layers of one lattice;
tests/simulate/test_multislice.py states what that costs. Perfect layers are
drawn as Fourier series (`simulate_periodic`), any other atoms by a non-uniform FFT (`simulate_atoms`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray
from scipy import fft, ndimage

from picostem.errors import UsageError
from picostem.simulate.column import scatterers
from picostem.simulate.gridding import PointSpectrum
from picostem.simulate.microscope import Microscope
from picostem.simulate.scattering import thermal_transfer
from picostem.simulate.synthesis import synthesise
from picostem.simulate.together import together_series
from picostem.simulate.transfer import ApertureOverlap
from picostem.structure import Layer, Stack, image_from_crystal

FloatArray = NDArray[np.float64]
FloatImage = NDArray[np.float32]
ComplexArray = NDArray[np.complex128]

PLANE_THICKNESS = 4.0
"""Å. Atoms no further apart in depth share one transfer and its slope. The second-order term is then some 0.1 % of the
signal, for a depth of focus, wavelength/semiangle², of 40 Å."""
MARGIN = 10.0
"""Å around the image in which atoms still count; their probe tails further out hold about 1 % of the beam."""
# Polar grid of the transfer that finite specimens are interpolated from: radii, azimuths over half a turn.
_RADII, _AZIMUTHS = 32, 24

Displacements = Mapping[str, float]


def simulate_periodic(
    stack: Stack,
    microscope: Microscope,
    shape: tuple[int, int],
    pixel_size: float,
    *,
    rotation: float = 0.0,
    mirrored: bool = False,
    origin: tuple[float, float] = (0.0, 0.0),
    displacements: Displacements | None = None,
    together: bool = False,
) -> FloatImage:
    """Noise-free ADF image of perfect, endless layers, which may be twisted or of different lattices.

    Args:
        stack: layers; the beam meets z = 0 (layer 1) first.
        microscope: probe and detector.
        shape: (rows, columns).
        pixel_size: Å.
        rotation: of layer 1's crystal frame in the image frame, counter-clockwise, rad.
        mirrored: whether the crystal frame is seen mirrored.
        origin: where layer 1's crystal frame has its origin in the image frame, Å.
        displacements: thermal displacement per element, rms along one axis, Å; `rms_displacement` where not given.
        together: add what neighbouring layers of one lattice do together (`together`), with usual displacements.

    Returns:
        detected fraction of the beam, shape (rows, columns), float32, row 0 at the top (+y).

    Raises:
        UsageError: for a shape or pixel size that is not positive, an element without scattering factors, or layers
            that do not share a lattice where what they do together is asked for.
    """
    _check_field(shape, pixel_size)
    frame, place = image_from_crystal(rotation, mirrored), np.asarray(origin)
    series = [_layer_series(layer, frame, place, microscope, displacements or {}) for layer in stack.layers]
    if together:
        series.append(together_series(stack, frame, place, microscope))
    g = np.concatenate([vectors for vectors, _ in series])
    coefficients = np.concatenate([values for _, values in series])
    return synthesise(*_merged(g, coefficients), shape, pixel_size)


def simulate_atoms(
    atoms: Atoms,
    microscope: Microscope,
    shape: tuple[int, int],
    pixel_size: float,
    *,
    displacements: Displacements | None = None,
) -> FloatImage:
    """Noise-free ADF image of any atoms: defects, flakes, ions.

    Args:
        atoms: positions in Å in the image frame (x right, y up, origin at the image centre), z along the beam. Those
            within MARGIN of the image count; a specimen that goes on beyond the image should be given that far.
        microscope, shape, pixel_size, displacements: as in `simulate_periodic`.

    Returns:
        detected fraction of the beam, shape (rows, columns), float32. Atoms are placed to 1e-4 of a pixel or better.

    Raises:
        UsageError: as `simulate_periodic`.
    """
    _check_field(shape, pixel_size)
    # Pixels finer than the Nyquist distance hold the whole spectrum; coarser ones are taken out of a finer image.
    refine = max(1, math.ceil(2 * microscope.cutoff * pixel_size * 1.01))
    step = pixel_size / refine
    counts = tuple(fft.next_fast_len((n - 1) * refine + 1 + 2 * math.ceil(MARGIN / step), real=True) for n in shape)
    grid = PointSpectrum(counts, step, microscope.cutoff)
    transfer = _TransferTable(grid.gx, grid.gy, microscope)
    spectrum = np.zeros(len(grid.gx), dtype=np.complex64)
    near = np.all(np.abs(atoms.positions[:, :2]) < grid.extent / 2, axis=1)
    symbols = [chemical_symbols[number] for number in atoms.numbers[near]]
    for z, members in _planes(atoms.positions[near, 2]):
        focused, slope = transfer.at(z)
        plane = [symbols[index] for index in members]
        for scatterer, positions in scatterers(plane, atoms.positions[near][members]):
            place, climb = grid.of(positions[:, :2], positions[:, 2] - z)
            signal = scatterer.transfer(grid.g, microscope, displacements or {}).astype(np.float32)
            spectrum += (place * focused + climb * slope) * signal
    spectrum *= thermal_transfer(grid.g, microscope.source_sigma).astype(np.float32)
    rows, columns = (np.arange(n) * refine for n in shape)
    return grid.image(spectrum, (rows[-1] + 1, columns[-1] + 1))[::refine, ::refine]


def _check_field(shape: tuple[int, int], pixel_size: float) -> None:
    if len(shape) != 2 or min(shape) < 1 or not (math.isfinite(pixel_size) and pixel_size > 0):
        raise UsageError(
            f"expected a shape (rows, columns) and a pixel size above zero, got {shape} and {pixel_size} Å"
        )


def _layer_series(
    layer: Layer, frame: FloatArray, origin: FloatArray, microscope: Microscope, displacements: Displacements
) -> tuple[FloatArray, ComplexArray]:
    """Half of the reciprocal vectors of one layer in the image frame, (n, 2), and doubled coefficients, (n,)."""
    cell = layer.cell @ frame.T
    g = _half_lattice(cell, microscope.cutoff)
    length = np.hypot(*g.T)
    positions = np.column_stack([layer.positions[:, :2] @ frame.T + origin, layer.monolayer.positions[:, 2]])
    overlap = ApertureOverlap(g[:, 0], g[:, 1], microscope.wavelength, microscope.semiangle)
    focused, slope, _ = overlap.expansion(microscope.aberrations_at(layer.z))
    total = np.zeros(len(g), dtype=np.complex128)
    for scatterer, where in scatterers(layer.monolayer.symbols, positions, cell):
        waves = np.exp(-2j * np.pi * g @ where[:, :2].T)
        place, climb = waves.sum(axis=1), waves @ where[:, 2]
        total += (place * focused + climb * slope[0]) * scatterer.transfer(length, microscope, displacements)
    total *= thermal_transfer(length, microscope.source_sigma)
    return g, total * np.where(length > 0, 2, 1) / layer.monolayer.area


def _half_lattice(cell: FloatArray, cutoff: float) -> FloatArray:
    """Reciprocal vectors of a cell with length up to cutoff, 0 first, one of each pair g and -g; shape (n, 2)."""
    h_max, k_max = (math.floor(cutoff * float(np.hypot(*row))) for row in cell)
    h, k = np.meshgrid(np.arange(h_max + 1), np.arange(-k_max, k_max + 1), indexing="ij")
    half = (h > 0) | (k >= 0)
    g = np.stack([h[half], k[half]], axis=-1) @ np.linalg.inv(cell).T
    g = g[np.hypot(*g.T) < cutoff]
    return np.asarray(g[np.argsort(np.hypot(*g.T), kind="stable")])


def _merged(g: FloatArray, coefficients: ComplexArray) -> tuple[FloatArray, ComplexArray]:
    """Coefficients of equal vectors (to 1e-9/Å) added, and those that no float32 image can show left out."""
    _, first, index = np.unique(np.round(g, 9), axis=0, return_index=True, return_inverse=True)
    total = np.zeros(len(first), dtype=np.complex128)
    np.add.at(total, index.ravel(), coefficients)
    visible = np.abs(total) > 1e-6 * np.abs(total).max()
    return g[first][visible], total[visible]


class _TransferTable:
    """Probe transfer and its slope with depth at many g, interpolated from a polar grid of exact values."""

    def __init__(self, gx: FloatArray, gy: FloatArray, microscope: Microscope) -> None:
        self._microscope = microscope
        # g = cutoff (1 - cos s)/2 with s from 0 to pi: as a function of s the transfer is even about both ends.
        s = np.arccos(np.clip(1 - 2 * np.hypot(gx, gy) / microscope.cutoff, -1, 1))
        azimuth = (np.arctan2(gy, gx) / np.pi + 0.5) * _AZIMUTHS
        # Two columns beyond the seam on each side let the spline run through it.
        self._where = np.stack([s / np.pi * (_RADII - 1), azimuth + 2]).astype(np.float32)
        radius = microscope.cutoff * (1 - np.cos(np.linspace(0, np.pi, _RADII))) / 2
        direction = (np.arange(_AZIMUTHS) / _AZIMUTHS - 0.5) * np.pi
        nodes = np.outer(radius, np.cos(direction)).ravel(), np.outer(radius, np.sin(direction)).ravel()
        self._overlap = ApertureOverlap(*nodes, microscope.wavelength, microscope.semiangle)

    def at(self, z: float) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
        """O(g) and dO/dz (1/Å) at depth z (Å), shape (n,)."""
        focused, slope, _ = self._overlap.expansion(self._microscope.aberrations_at(z))
        return self._interpolated(focused), self._interpolated(slope[0])

    def _interpolated(self, values: ComplexArray) -> NDArray[np.complex64]:
        half = values.reshape(_RADII, _AZIMUTHS)
        turn = np.concatenate([half, half.conj()], axis=1)  # O(-g) = O*(g)
        around = ndimage.spline_filter1d(turn, axis=1, output=np.complex128, mode="grid-wrap")
        smooth = ndimage.spline_filter1d(around, axis=0, output=np.complex128, mode="mirror")
        table = np.pad(smooth, ((0, 0), (2, 2)), mode="wrap").astype(np.complex64)
        return np.asarray(ndimage.map_coordinates(table, self._where, prefilter=False, mode="mirror"))


def _planes(depths: FloatArray) -> Iterator[tuple[float, NDArray[np.intp]]]:
    """Indices of atoms in planes no thicker than PLANE_THICKNESS, each with its middle depth, from the lowest up."""
    rest = np.argsort(depths)
    while len(rest):
        inside = depths[rest] <= depths[rest[0]] + PLANE_THICKNESS
        plane, rest = rest[inside], rest[~inside]
        yield float(depths[plane[0]] + depths[plane[-1]]) / 2, plane
