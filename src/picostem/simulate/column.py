"""Which things scatter on their own in an ADF image: single atoms, and atoms of one layer that sit on one column.

Two atoms straight above one another, a few Å apart, scatter partly in phase into a detector that starts at 2 to 3 times
the probe's semiangle: at 60 kV and 50 to 200 mrad the two S of 2H-MoS2 give 1.4 times the sum of their single signals
by multislice, of which the interference of single scattering computed here is 1.32. It fades within 0.4 Å sideways.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree

from picostem.physics import electron_wavelength, relativistic_factor, scattering_amplitude
from picostem.simulate.microscope import Microscope
from picostem.simulate.scattering import (
    FREQUENCIES,
    adf_object_transfer,
    annulus_nodes,
    overlap_nodes,
    rms_displacement,
    thermal_transfer,
)

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.intp]

ALIGNED = 0.1
"""Å sideways within which two atoms count as one column."""
REACH = 4.0
"""Å of depth beyond which two atoms' interference is left out (it would be a matter of stacking, not of the layer)."""


@dataclass(frozen=True)
class Scatterer:
    """One atom, or the interference of two atoms on one column.

    Attributes:
        symbols: of the atom, or of the lower and the upper atom.
        separation: of the two atoms along the beam, Å; 0 for one atom.
    """

    symbols: tuple[str, ...]
    separation: float = 0.0

    def transfer(self, g: FloatArray, microscope: Microscope, displacements: Mapping[str, float]) -> FloatArray:
        """Object transfer with thermal motion, Å², at abs(g) (1/Å); displacements are rms along one axis, Å."""
        m = microscope
        rms = tuple(displacements.get(symbol, rms_displacement(symbol)) for symbol in self.symbols)
        if len(self.symbols) == 1:
            still = adf_object_transfer(
                self.symbols[0], g, m.voltage_eV, m.semiangle, m.detector_inner, m.detector_outer
            )
            return still * thermal_transfer(g, rms[0])
        geometry = (m.voltage_eV, m.semiangle, m.detector_inner, m.detector_outer)
        return np.asarray(_pair_spline(self.symbols, self.separation, rms, geometry)(np.minimum(np.abs(g), m.cutoff)))


def scatterers(
    symbols: Sequence[str], positions: FloatArray, cell: FloatArray | None = None
) -> Iterator[tuple[Scatterer, FloatArray]]:
    """Groups of like scatterers with their positions, (n, 3) in Å; a pair sits half-way between its atoms.

    Args:
        symbols, positions: atoms, shape (n,) and (n, 3).
        cell: rows a, b of a periodic lattice in the plane, Å, shape (2, 2); None for atoms that are not repeated.
    """
    names = np.array(symbols)
    for symbol in sorted(set(symbols)):
        yield Scatterer((symbol,)), positions[names == symbol]
    below, above, offset = _aligned(positions, cell)
    # Separations that differ by less than 0.05 Å are one: the interference changes by 2 % of itself over that.
    separation = np.round(20 * offset[:, 2]) / 20
    middle = positions[below] + offset / 2
    kinds = list(zip(names[below].tolist(), names[above].tolist(), separation.tolist(), strict=True))
    for kind in sorted(set(kinds)):
        yield Scatterer(kind[:2], kind[2]), middle[[other == kind for other in kinds]]


def _aligned(positions: FloatArray, cell: FloatArray | None) -> tuple[IndexArray, IndexArray, FloatArray]:
    """Indices of lower and upper atoms of each pair on one column, (n,), and the vector between them, (n, 3)."""
    if cell is None:
        pairs = cKDTree(positions[:, :2]).query_pairs(ALIGNED, output_type="ndarray")
        below, above = np.concatenate([pairs, pairs[:, ::-1]]).T
    else:
        below, above = np.indices((len(positions),) * 2).reshape(2, -1)
    offset = positions[above] - positions[below]
    if cell is not None:
        offset[:, :2] -= np.round(offset[:, :2] @ np.linalg.inv(cell)) @ cell
    # Half an Å: nuclei of one column are never closer.
    chosen = (np.hypot(*offset.T[:2]) < ALIGNED) & (offset[:, 2] > 0.5) & (offset[:, 2] < REACH)
    return below[chosen], above[chosen], offset[chosen]


@lru_cache(maxsize=64)
def _pair_spline(
    symbols: tuple[str, str], separation: float, rms: tuple[float, float], geometry: tuple[float, float, float, float]
) -> CubicSpline:
    """Interference of two atoms, d apart along the beam, over g: twice the real part of

    (lambda gamma)²/|L| * integral over p in L, k in D of f1(a) f2*(b) exp(-i pi lambda d (k² - p² - g²/4))
    exp(-2 pi² (u1² |a|² + u2² |b|²)),   a, b = k - p +- g/2,

    atom 1 the lower one, with the symbols of `adf_object_transfer` and displacements u1, u2 that are independent.
    """
    voltage_eV, semiangle, inner, outer = geometry
    wavelength = electron_wavelength(voltage_eV)
    frequencies = np.linspace(0, 2 * semiangle / wavelength, FREQUENCIES)
    kx, ky, weight = annulus_nodes(inner / wavelength, outer / wavelength)
    values = []
    for g in frequencies:
        px, py, share = overlap_nodes(g, semiangle / wavelength)
        ux, uy = kx[:, None] - px, ky[:, None] - py
        a, b = np.hypot(ux + g / 2, uy), np.hypot(ux - g / 2, uy)
        delay = np.pi * wavelength * separation * ((kx**2 + ky**2)[:, None] - px**2 - py**2 - g**2 / 4)
        waves = scattering_amplitude(symbols[0], a, voltage_eV) * scattering_amplitude(symbols[1], b, voltage_eV).conj()
        coherence = np.exp(-1j * delay) * thermal_transfer(a, rms[0]) * thermal_transfer(b, rms[1])
        values.append(weight @ (waves * coherence).real @ share)
    return CubicSpline(frequencies, 2 * (wavelength * relativistic_factor(voltage_eV)) ** 2 * np.array(values))
