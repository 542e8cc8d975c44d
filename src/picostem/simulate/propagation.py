"""Propagation of one probe after the other through slices of a specimen, each in a window of its own.

Conventions: arrays of waves and transmission functions have the index (ix, iy), x right, y up; a slice multiplies the
wave by exp(i sigma V), free space over dz multiplies its spectrum by exp(-i pi lambda k² dz).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy import fft

from picostem.errors import UsageError
from picostem.physics import interaction_parameter
from picostem.simulate.microscope import Microscope

FloatArray = NDArray[np.float64]
WaveArray = NDArray[np.complex64]

# Half-width (Å) of atoms kept beyond the windows: their potential there is below 1 % of its value at 0.5 Å.
POTENTIAL_MARGIN = 2.0
# A nucleus is sharper than the grid that holds the scattered wave; transmission functions are computed on one this much
# finer, and then band-limited.
POTENTIAL_REFINEMENT = 3


@dataclass(frozen=True)
class ScanField:
    """Grid of the transmission functions: index (ix, iy) lies at corner + (ix, iy) sampling.

    Attributes:
        corner: (x, y) in the image frame, Å.
        sampling: Å.
        counts: (nx, ny).
        window: grid points along a side of the square that one probe is propagated in.
    """

    corner: FloatArray
    sampling: float
    counts: tuple[int, int]
    window: int

    @classmethod
    def around(cls, positions: FloatArray, microscope: Microscope, side: float) -> ScanField:
        """The grid that holds a window of this side (Å) around each probe position, (n, 2) in Å."""
        # The antialiasing aperture keeps 2/3 of the Nyquist frequency, which must hold the whole detector.
        finest = microscope.wavelength / (3 * microscope.detector_outer)
        window = fft.next_fast_len(math.ceil(side / finest))
        sampling = side / window
        low, high = positions.min(axis=0), positions.max(axis=0)
        need = np.ceil((high - low + side + 2 * POTENTIAL_MARGIN) / sampling)
        counts = (fft.next_fast_len(int(need[0])), fft.next_fast_len(int(need[1])))
        corner = (low + high) / 2 - np.array(counts) * sampling / 2
        return cls(corner, sampling, counts, window)

    @property
    def extent(self) -> FloatArray:
        """(width, height) in Å."""
        return np.array(self.counts) * self.sampling

    @property
    def centre(self) -> FloatArray:
        """(x, y) of the middle, Å."""
        return self.corner + self.extent / 2


@dataclass(frozen=True)
class Slices:
    """Transmission functions, shape (slices, nx, ny), and the depth of each, Å."""

    transmission: WaveArray
    depths: FloatArray

    @classmethod
    def of(cls, atoms: Atoms, grid: ScanField, microscope: Microscope, thickness: float) -> Slices:
        """The atoms, cut into slices of at most this thickness, Å.

        Raises:
            UsageError: if abTEM is not installed.
        """
        z = atoms.positions[:, 2] if len(atoms) else np.zeros(1)
        # Half a slice of room on both sides keeps atoms off the faces.
        low, high = z.min() - thickness / 2, z.max() + thickness / 2
        count = math.ceil((high - low) / thickness)
        thickness = (high - low) / count
        box = [*grid.extent, high - low]
        placed = Atoms(atoms.numbers, atoms.positions - [*grid.corner, low], cell=box)
        fine = (grid.counts[0] * POTENTIAL_REFINEMENT, grid.counts[1] * POTENTIAL_REFINEMENT)
        potentials = _projected_potential(placed, fine, thickness)
        sigma = interaction_parameter(microscope.voltage_eV)
        transmission = np.stack([_transmission(sigma * potential, grid) for potential in potentials])
        return cls(transmission, low + (np.arange(count) + 0.5) * thickness)


def _transmission(phase: NDArray[np.float32], grid: ScanField) -> WaveArray:
    """exp(i phase) from the fine grid to that of the windows, band-limited by the antialiasing aperture."""
    nx, ny = grid.counts
    spectrum = fft.fft2(np.exp(1j * phase.astype(np.complex64)))
    ix, iy = fft.fftfreq(nx, 1 / nx).astype(int), fft.fftfreq(ny, 1 / ny).astype(int)
    kept = spectrum[ix[:, None], iy] * _antialias(grid.counts, grid.sampling)
    return np.asarray(fft.ifft2(kept) / np.float32(POTENTIAL_REFINEMENT**2), dtype=np.complex64)


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


def detected_fractions(slices: Slices, grid: ScanField, microscope: Microscope, positions: FloatArray) -> FloatArray:
    """Detected fraction of the beam for probes at positions (n, 2) in Å, shape (n,)."""
    detector = detector_shares(grid, microscope)
    spectra = exit_spectra(slices, grid, microscope, positions)
    return np.array([np.vdot(detector, one.real**2 + one.imag**2) for one in spectra], dtype=np.float64)


def exit_spectra(slices: Slices, grid: ScanField, microscope: Microscope, positions: FloatArray) -> Iterator[WaveArray]:
    """Spectra (index kx, ky; FFT order) behind the specimen for probes at positions (n, 2) in Å, beam of unit power."""
    k = _frequencies(grid.window, grid.sampling)
    probe = _probe_spectrum(k, microscope, slices.depths[0])
    propagators = [_propagator(k, microscope.wavelength, dz) for dz in np.diff(slices.depths)]
    propagators = [p * _antialias((grid.window,) * 2, grid.sampling) for p in propagators]
    for position in positions:
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
        yield spectrum


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


def detector_shares(grid: ScanField, microscope: Microscope) -> NDArray[np.float32]:
    """Share of each spatial frequency that the detector counts, shape (n, n); linear over one pixel at its rims."""
    k = _frequencies(grid.window, grid.sampling)
    radius = np.hypot(k[:, None], k) / k[1]
    inner, outer = (
        angle / microscope.wavelength / k[1] for angle in (microscope.detector_inner, microscope.detector_outer)
    )
    return np.asarray(np.clip(radius - inner + 0.5, 0, 1) * np.clip(outer - radius + 0.5, 0, 1), dtype=np.float32)
