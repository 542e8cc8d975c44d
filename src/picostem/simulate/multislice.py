"""Multislice simulation with potentials from abTEM: slow, with multiple scattering, the judge of the fast model.

Each probe position is computed in its own square window, cut from the transmission functions of a larger, non-periodic
field of atoms, so that oblique and twisted lattices need no supercell. Frozen phonons displace every atom of the field
on its own. Needs the extra: pip install "picostem[sim]".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray
from scipy import fft, ndimage

from picostem.errors import UsageError
from picostem.simulate.microscope import Microscope
from picostem.simulate.propagation import POTENTIAL_MARGIN, ScanField, Slices, detected_fractions
from picostem.simulate.scattering import rms_displacement, thermal_transfer
from picostem.simulate.synthesis import synthesise
from picostem.structure import Stack, image_from_crystal

FloatArray = NDArray[np.float64]
FloatImage = NDArray[np.float32]


@dataclass(frozen=True)
class MultisliceSettings:
    """How to compute.

    Attributes:
        configurations: frozen-phonon configurations; they come in opposite pairs, so that mean positions stay exact.
        slice_thickness: Å, at most.
        window: side of the field that one probe is propagated in, Å; None takes 14.2 wavelength/semiangle, where the
            pixels of the aperture add up to the area of its disc.
        displacements: rms displacement along one axis per element, Å; `scattering.rms_displacement` where not given.
        scan_step: distance of the probe positions over any atoms, as a share of the Nyquist distance of the band limit
            2 semiangle/wavelength. The quintic spline between them errs by (s/(2 - s))^6 of what lies at s times that
            limit: below 0.1 % up to 0.45 of it, where most reflections are, at 0.9.
    """

    configurations: int = 2
    slice_thickness: float = 2.0
    window: float | None = None
    displacements: dict[str, float] = field(default_factory=dict)
    scan_step: float = 0.7

    def __post_init__(self) -> None:
        if not 0 < self.scan_step < 1:
            raise UsageError(f"scan_step is {self.scan_step}; expected more than 0 and less than 1")
        if self.configurations < 1 or self.slice_thickness <= 0 or (self.window is not None and self.window <= 0):
            raise UsageError(f"expected at least 1 configuration and positive lengths, got {self}")

    def window_for(self, microscope: Microscope) -> float:
        """Side of the window in Å."""
        return self.window or 14.2 * microscope.wavelength / microscope.semiangle


def simulate_atoms_multislice(
    atoms: Atoms,
    microscope: Microscope,
    shape: tuple[int, int],
    pixel_size: float,
    rng: np.random.Generator,
    settings: MultisliceSettings = MultisliceSettings(),
) -> FloatImage:
    """Noise-free ADF image of any atoms: detected fraction of the beam, shape (rows, columns), float32.

    A quintic spline leads from the probe positions to the pixels (error below 0.5 % of the contrast, and 0.1 % with a
    source of 0.5 Å, where `scan_step` is 0.7).

    Args:
        atoms: positions in Å in the image frame (x right, y up, origin at the image centre), z along the beam. They
            must reach half a window beyond the field where the specimen is not meant to end.
        microscope: probe and detector.
        shape: (rows, columns).
        pixel_size: Å.
        rng: draws the displacements of the frozen phonons.
        settings: see `MultisliceSettings`.

    Raises:
        UsageError: if abTEM is not installed.
    """
    step = settings.scan_step / (2 * microscope.cutoff)
    margin = 4 * microscope.source_sigma + 3 * step
    half = [(n - 1) / 2 * pixel_size + margin for n in shape]
    counts = [2 * math.ceil(h / step) + 1 for h in half]
    y, x = ((np.arange(n) - (n - 1) / 2) * step for n in counts)
    positions = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    fractions = _mean_fraction(atoms, microscope, positions, rng, settings).reshape(len(y), len(x))
    blurred = _blurred(fractions, microscope.source_sigma / step)
    rows = (counts[0] - 1) / 2 + ((shape[0] - 1) / 2 - np.arange(shape[0])) * pixel_size / step
    columns = (counts[1] - 1) / 2 + (np.arange(shape[1]) - (shape[1] - 1) / 2) * pixel_size / step
    where = np.meshgrid(rows, columns, indexing="ij")
    return np.asarray(ndimage.map_coordinates(blurred, where, order=5, mode="nearest"), dtype=np.float32)


def _blurred(fractions: FloatArray, sigma: float) -> FloatArray:
    """Convolution with a Gaussian, sigma in samples, that takes the image to go on as in a mirror.

    By its cosine transform: a Gaussian about as narrow as a sample has no faithful samples itself.
    """
    y, x = (np.pi * np.arange(n) / n for n in fractions.shape)
    damping = np.exp(-((sigma * y[:, None]) ** 2 + (sigma * x) ** 2) / 2)
    return np.asarray(fft.idctn(fft.dctn(fractions) * damping))


def simulate_periodic_multislice(
    stack: Stack,
    microscope: Microscope,
    shape: tuple[int, int],
    pixel_size: float,
    rng: np.random.Generator,
    settings: MultisliceSettings = MultisliceSettings(),
    *,
    rotation: float = 0.0,
    mirrored: bool = False,
    origin: tuple[float, float] = (0.0, 0.0),
) -> FloatImage:
    """Noise-free ADF image of an untwisted stack: one unit cell is scanned at the band limit, its Fourier series drawn.

    Arguments and errors are those of `simulate_atoms_multislice` and `simulate_periodic`.
    """
    rows = np.asarray(stack.unit_cell().cell)[:2, :2] @ image_from_crystal(rotation, mirrored).T
    counts = [2 * math.ceil(microscope.cutoff * float(np.hypot(*row))) + 2 for row in rows]
    fractional = np.stack(np.meshgrid(*(np.arange(n) / n for n in counts), indexing="ij"), axis=-1).reshape(-1, 2)
    positions = (fractional - 0.5) @ rows
    reach = 2 * float(np.abs(positions).max()) + settings.window_for(microscope) + 4 * POTENTIAL_MARGIN
    atoms = stack.atoms(rotation=rotation, mirrored=mirrored, extent=(reach, reach))
    fractions = _mean_fraction(atoms, microscope, positions, rng, settings).reshape(counts)
    coefficients = fft.fft2(fractions) / fractions.size
    h = np.stack(np.meshgrid(*(fft.fftfreq(n, 1 / n) for n in counts), indexing="ij"), axis=-1).reshape(-1, 2)
    g = h @ np.linalg.inv(rows).T
    shift = np.exp(-2j * np.pi * (g @ (np.asarray(origin) - rows.sum(axis=0) / 2)))
    series = coefficients.ravel() * shift * thermal_transfer(np.hypot(*g.T), microscope.source_sigma)
    inside = np.hypot(*g.T) <= microscope.cutoff
    return synthesise(g[inside], series[inside], shape, pixel_size)


def _mean_fraction(
    atoms: Atoms, microscope: Microscope, positions: FloatArray, rng: np.random.Generator, settings: MultisliceSettings
) -> FloatArray:
    """Detected fraction of the beam at each position, shape (n,), averaged over frozen phonons."""
    grid = ScanField.around(positions, microscope, settings.window_for(microscope))
    near = np.all(np.abs(atoms.positions[:, :2] - grid.centre) < grid.extent / 2, axis=1)
    numbers, means = atoms.numbers[near], atoms.positions[near]
    total = np.zeros(len(positions))
    for displacements in _displacements(numbers, rng, settings):
        displaced = Atoms(numbers, means + displacements)
        slices = Slices.of(displaced, grid, microscope, settings.slice_thickness)
        total += detected_fractions(slices, grid, microscope, positions)
    return total / settings.configurations


def _displacements(
    numbers: NDArray[np.int64], rng: np.random.Generator, settings: MultisliceSettings
) -> Iterator[FloatArray]:
    """In-plane displacements in Å, shape (atoms, 3), one array per configuration, in opposite pairs."""
    symbols = [chemical_symbols[number] for number in numbers]
    rms = np.array([settings.displacements.get(symbol, rms_displacement(symbol)) for symbol in symbols])
    for index in range(settings.configurations):
        if index % 2 == 0:
            drawn = rng.normal(size=(len(numbers), 3)) * rms[:, None] * [1.0, 1.0, 0.0]
        yield drawn if index % 2 == 0 else -drawn
