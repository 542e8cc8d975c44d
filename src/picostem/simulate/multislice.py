"""Multislice simulation with potentials from abTEM: slow, with multiple scattering, the judge of the fast model.

Each probe position is computed in its own square window, cut from the transmission functions of a larger, non-periodic
field of atoms, so that oblique and twisted lattices need no supercell. Frozen phonons displace every atom of the field
on its own. Needs the extra: pip install "picostem[sim]".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import NDArray
from scipy import fft, ndimage

from picostem.errors import UsageError
from picostem.physics import interaction_parameter
from picostem.simulate.microscope import Microscope
from picostem.simulate.scattering import rms_displacement, thermal_transfer
from picostem.simulate.synthesis import synthesise
from picostem.structure import Stack, image_from_crystal

FloatArray = NDArray[np.float64]
FloatImage = NDArray[np.float32]
WaveArray = NDArray[np.complex64]

# Half-width (Å) of atoms kept beyond the windows: their potential there is below 1 % of its value at 0.5 Å.
_POTENTIAL_MARGIN = 2.0
# A nucleus is sharper than the grid that holds the scattered wave; transmission functions are computed on one this much
# finer, and then band-limited.
_POTENTIAL_REFINEMENT = 3


@dataclass(frozen=True)
class MultisliceSettings:
    """How to compute.

    Attributes:
        configurations: frozen-phonon configurations; they come in opposite pairs, so that mean positions stay exact.
        slice_thickness: Å, at most.
        window: side of the field that one probe is propagated in, Å; None takes 14 wavelength/semiangle, in which the
            aperture is 28 pixels wide and the signal right to 2 %.
        displacements: rms displacement along one axis per element, Å; `scattering.rms_displacement` where not given.
    """

    configurations: int = 2
    slice_thickness: float = 2.0
    window: float | None = None
    displacements: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.configurations < 1 or self.slice_thickness <= 0 or (self.window is not None and self.window <= 0):
            raise UsageError(f"expected at least 1 configuration and positive lengths, got {self}")

    def window_for(self, microscope: Microscope) -> float:
        """Side of the window in Å."""
        return self.window or 14 * microscope.wavelength / microscope.semiangle


def simulate_atoms_multislice(
    atoms: Atoms,
    microscope: Microscope,
    shape: tuple[int, int],
    pixel_size: float,
    rng: np.random.Generator,
    settings: MultisliceSettings = MultisliceSettings(),
) -> FloatImage:
    """Noise-free ADF image of any atoms: detected fraction of the beam, shape (rows, columns), float32.

    Probe positions lie on the image's pixels, or 0.7 of the Nyquist distance of the band limit 2 semiangle/wavelength
    apart where pixels are finer, and a quintic spline leads from one to the other (error below 0.5 %
    of the contrast, and 0.1 % with a source of 0.5 Å).

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
    step = min(pixel_size, 0.7 / (2 * microscope.cutoff))
    margin = 4 * microscope.source_sigma + 3 * step
    half = [(n - 1) / 2 * pixel_size + margin for n in shape]
    counts = [2 * math.ceil(h / step) + 1 for h in half]
    y, x = ((np.arange(n) - (n - 1) / 2) * step for n in counts)
    positions = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    fractions = _mean_fraction(atoms, microscope, positions, rng, settings).reshape(len(y), len(x))
    blurred = ndimage.gaussian_filter(fractions, microscope.source_sigma / step, mode="nearest", truncate=6)
    rows = (counts[0] - 1) / 2 + ((shape[0] - 1) / 2 - np.arange(shape[0])) * pixel_size / step
    columns = (counts[1] - 1) / 2 + (np.arange(shape[1]) - (shape[1] - 1) / 2) * pixel_size / step
    where = np.meshgrid(rows, columns, indexing="ij")
    return np.asarray(ndimage.map_coordinates(blurred, where, order=5, mode="nearest"), dtype=np.float32)


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
    reach = 2 * float(np.abs(positions).max()) + settings.window_for(microscope) + 4 * _POTENTIAL_MARGIN
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
    grid = _Field.around(positions, microscope, settings)
    near = np.all(np.abs(atoms.positions[:, :2] - grid.centre) < grid.extent / 2, axis=1)
    numbers, means = atoms.numbers[near], atoms.positions[near]
    total = np.zeros(len(positions))
    for displacements in _displacements(numbers, rng, settings):
        displaced = Atoms(numbers, means + displacements)
        total += _scan(_Slices.of(displaced, grid, microscope, settings), grid, microscope, positions)
    return total / settings.configurations


def _displacements(
    numbers: NDArray[np.int64], rng: np.random.Generator, settings: MultisliceSettings
) -> Iterator[FloatArray]:
    """In-plane displacements in Å, shape (atoms, 3), one array per configuration, in opposite pairs."""
    symbols = [chemical_symbols[number] for number in numbers]
    rms = np.array([[settings.displacements.get(symbol, rms_displacement(symbol))] for symbol in symbols])
    for index in range(settings.configurations):
        if index % 2 == 0:
            drawn = rng.normal(size=(len(numbers), 3)) * rms * [1.0, 1.0, 0.0]
        yield drawn if index % 2 == 0 else -drawn


@dataclass(frozen=True)
class _Field:
    """Grid of the transmission functions: index (ix, iy) lies at corner + (ix, iy) sampling."""

    corner: FloatArray
    sampling: float
    counts: tuple[int, int]
    window: int

    @classmethod
    def around(cls, positions: FloatArray, microscope: Microscope, settings: MultisliceSettings) -> _Field:
        # The antialiasing aperture keeps 2/3 of the Nyquist frequency, which must hold the whole detector.
        finest = microscope.wavelength / (3 * microscope.detector_outer)
        side = settings.window_for(microscope)
        window = fft.next_fast_len(math.ceil(side / finest))
        sampling = side / window
        low, high = positions.min(axis=0), positions.max(axis=0)
        need = np.ceil((high - low + side + 2 * _POTENTIAL_MARGIN) / sampling)
        counts = (fft.next_fast_len(int(need[0])), fft.next_fast_len(int(need[1])))
        corner = (low + high) / 2 - np.array(counts) * sampling / 2
        return cls(corner, sampling, counts, window)

    @property
    def extent(self) -> FloatArray:
        return np.array(self.counts) * self.sampling

    @property
    def centre(self) -> FloatArray:
        return self.corner + self.extent / 2


@dataclass(frozen=True)
class _Slices:
    """Transmission functions, shape (slices, nx, ny), and the depth of each, Å."""

    transmission: WaveArray
    depths: FloatArray

    @classmethod
    def of(cls, atoms: Atoms, grid: _Field, microscope: Microscope, settings: MultisliceSettings) -> _Slices:
        z = atoms.positions[:, 2] if len(atoms) else np.zeros(1)
        # Half a slice of room on both sides keeps atoms off the faces.
        low, high = z.min() - settings.slice_thickness / 2, z.max() + settings.slice_thickness / 2
        count = math.ceil((high - low) / settings.slice_thickness)
        thickness = (high - low) / count
        box = [*grid.extent, high - low]
        placed = Atoms(atoms.numbers, atoms.positions - [*grid.corner, low], cell=box)
        fine = (grid.counts[0] * _POTENTIAL_REFINEMENT, grid.counts[1] * _POTENTIAL_REFINEMENT)
        potentials = _projected_potential(placed, fine, thickness)
        sigma = interaction_parameter(microscope.voltage_eV)
        transmission = np.stack([_transmission(sigma * potential, grid) for potential in potentials])
        return cls(transmission, low + (np.arange(count) + 0.5) * thickness)


def _transmission(phase: NDArray[np.float32], grid: _Field) -> WaveArray:
    """exp(i phase) from the fine grid to that of the windows, band-limited by the antialiasing aperture."""
    nx, ny = grid.counts
    spectrum = fft.fft2(np.exp(1j * phase.astype(np.complex64)))
    ix, iy = fft.fftfreq(nx, 1 / nx).astype(int), fft.fftfreq(ny, 1 / ny).astype(int)
    kept = spectrum[ix[:, None], iy] * _antialias(grid.counts, grid.sampling)
    return np.asarray(fft.ifft2(kept) / np.float32(_POTENTIAL_REFINEMENT**2), dtype=np.complex64)


def _projected_potential(atoms: Atoms, counts: tuple[int, int], thickness: float) -> NDArray[np.float32]:
    """Projected potential in V Å of each slice, shape (slices, nx, ny); Lobato's parametrisation, from abTEM."""
    try:
        import abtem
    except ImportError as error:
        raise UsageError('multislice needs abTEM, which is not installed: pip install "picostem[sim]"') from error
    potential: Any = abtem.Potential(
        atoms, gpts=counts, slice_thickness=thickness, parametrization="lobato", projection="infinite", device="cpu"
    )
    array: NDArray[np.float32] = potential.build(lazy=False).array
    return array


def _frequencies(count: int, sampling: float) -> NDArray[np.float32]:
    return np.asarray(fft.fftfreq(count, sampling), dtype=np.float32)


def _antialias(counts: tuple[int, int], sampling: float) -> NDArray[np.bool_]:
    kx, ky = (_frequencies(n, sampling) for n in counts)
    return np.hypot(kx[:, None], ky) < 1 / (3 * sampling)


def _scan(slices: _Slices, grid: _Field, microscope: Microscope, positions: FloatArray) -> FloatArray:
    """Detected fraction of the beam for probes at positions, shape (n,)."""
    k = _frequencies(grid.window, grid.sampling)
    probe = _probe_spectrum(k, microscope, slices.depths[0])
    propagators = [_propagator(k, microscope.wavelength, dz) for dz in np.diff(slices.depths)]
    propagators = [p * _antialias((grid.window,) * 2, grid.sampling) for p in propagators]
    detector = _detector(k, microscope)
    fractions = np.empty(len(positions))
    for index, position in enumerate(positions):
        pixel = (position - grid.corner) / grid.sampling - grid.window / 2
        first = np.rint(pixel).astype(int)
        ramp = np.exp(-2j * np.pi * k[:, None] * (pixel - first + grid.window / 2) * grid.sampling).astype(np.complex64)
        cut = slices.transmission[:, first[0] : first[0] + grid.window, first[1] : first[1] + grid.window]
        spectrum = probe * ramp[:, 0, None] * ramp[:, 1]
        for transmission, propagator in zip(cut, [*propagators, None], strict=True):
            wave = fft.ifft2(spectrum, overwrite_x=True)
            wave *= transmission
            spectrum = fft.fft2(wave, overwrite_x=True)
            if propagator is not None:
                spectrum *= propagator
        fractions[index] = np.vdot(detector, spectrum.real**2 + spectrum.imag**2)
    return fractions


def _probe_spectrum(k: NDArray[np.float32], microscope: Microscope, z: float) -> WaveArray:
    """Aperture times exp(-i chi) in a plane at depth z, of unit total intensity; shape (n, n), index (kx, ky)."""
    kx, ky = np.meshgrid(k.astype(np.float64), k.astype(np.float64), indexing="ij")
    a = microscope.aberrations_at(z)
    wavelength = microscope.wavelength
    k2 = kx**2 + ky**2
    chi = np.pi * wavelength * (a.C10 * k2 + a.C12a * (kx**2 - ky**2) + 2 * a.C12b * kx * ky)
    chi += 2 * np.pi / 3 * wavelength**2 * k2 * (a.C21a * kx + a.C21b * ky) + np.pi / 2 * wavelength**3 * a.C30 * k2**2
    wave = (np.sqrt(k2) < microscope.semiangle / wavelength) * np.exp(-1j * chi)
    return np.asarray(wave / np.linalg.norm(wave), dtype=np.complex64)


def _propagator(k: NDArray[np.float32], wavelength: float, distance: float) -> WaveArray:
    line = np.exp(-1j * np.pi * wavelength * distance * k.astype(np.float64) ** 2)
    return np.asarray(line[:, None] * line, dtype=np.complex64)


def _detector(k: NDArray[np.float32], microscope: Microscope) -> NDArray[np.float32]:
    """Share of each spatial frequency that the detector counts, shape (n, n); linear over one pixel at its rims."""
    radius = np.hypot(k[:, None], k) / k[1]
    inner, outer = (
        angle / microscope.wavelength / k[1] for angle in (microscope.detector_inner, microscope.detector_outer)
    )
    return np.asarray(np.clip(radius - inner + 0.5, 0, 1) * np.clip(outer - radius + 0.5, 0, 1), dtype=np.float32)
