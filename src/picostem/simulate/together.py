"""What neighbouring layers of one lattice do together in an ADF image: channelling and interference.

Electrons that one layer has deflected meet the next one elsewhere, and amplitudes of atoms nearly above one another
add before they are squared. To the linear image of layers l and m, at t_l and t_m, this adds the Fourier series

    I^(h) = exp(-2 pi i h . t_l) * sum over q of kernel(h, q) exp(-2 pi i q . (t_m - t_l)),

whose kernel depends on the layers' lattice and the microscope alone, and so is computed once for all slips. See
`channelling` and `interference` for its parts.
"""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from picostem.errors import UsageError
from picostem.simulate.channelling import channelling
from picostem.simulate.column import scatterers
from picostem.simulate.interference import interference
from picostem.simulate.microscope import Microscope
from picostem.simulate.scattering import thermal_transfer
from picostem.simulate.transfer import ApertureOverlap
from picostem.structure import Monolayer, Stack
from picostem.structure.lattice import reflections

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.int64]

LIMIT = 1.6
"""1/Å; source and thermal motion leave less than 1 % of the term beyond."""

SAME_CELL = 1e-6
"""Å; rounding of cells that are meant to be one."""


def share_a_lattice(stack: Stack) -> bool:
    """Whether all layers have one lattice and lie parallel, so that their harmonics coincide."""
    first = stack.layers[0].cell
    return all(
        layer.cell.shape == first.shape and np.abs(layer.cell - first).max() < SAME_CELL for layer in stack.layers
    )


def together_series(
    stack: Stack, frame: FloatArray, origin: FloatArray, microscope: Microscope
) -> tuple[FloatArray, ComplexArray]:
    """Half of the reciprocal vectors in the image frame, 1/Å, (n, 2), and doubled coefficients, (n,), of all pairs.

    Args:
        stack: layers that share a lattice.
        frame: image frame from layer 1's crystal frame, shape (2, 2). origin: of that frame in the image, Å.

    Raises:
        UsageError: layers that do not share a lattice.
    """
    hk, coefficients = together_harmonics(stack, frame, microscope)
    g = hk @ np.linalg.inv(stack.layers[0].cell).T @ frame.T
    return g, coefficients * np.exp(-2j * np.pi * g @ origin)


def together_harmonics(stack: Stack, frame: FloatArray, microscope: Microscope) -> tuple[IntArray, ComplexArray]:
    """`together_series` with indices h, (n, 2), in place of vectors, and with layer 1's origin in the image's."""
    if not share_a_lattice(stack):
        raise UsageError("what layers do together is known for parallel layers of one lattice: leave `together` out")
    layers = stack.layers
    cell = layers[0].cell
    hk = _half(cell, microscope)
    # a round probe looks the same from all sides: one kernel serves every orientation
    turned = np.linalg.inv(cell).T @ (np.eye(2) if _is_round(microscope) else frame.T)
    total = np.zeros(len(hk), dtype=complex)
    for lower, upper in itertools.combinations(layers, 2):
        materials, depths = (lower.monolayer, upper.monolayer), (lower.z, upper.z)
        q, kernel = _kernel(*materials, *depths, turned.tobytes(), microscope)
        below, above = (np.asarray(one.position) @ np.linalg.inv(cell) for one in (lower, upper))
        total += np.exp(-2j * np.pi * hk @ below) * (kernel @ np.exp(-2j * np.pi * q @ (above - below)))
    length = np.linalg.norm(hk @ np.linalg.inv(cell).T, axis=1)
    twice = np.where(length > 0, 2.0, 1.0)
    return hk, np.asarray(total * twice * thermal_transfer(length, microscope.source_sigma) / layers[0].monolayer.area)


def _half(cell: FloatArray, microscope: Microscope) -> IntArray:
    """(0, 0) and one of each pair h, -h of the harmonics that the term is computed for, shape (n, 2)."""
    limit = min(LIMIT, microscope.cutoff)
    return np.concatenate([np.zeros((1, 2), dtype=np.int64), reflections(np.asarray(np.linalg.inv(cell).T), limit)])


def _is_round(microscope: Microscope) -> bool:
    return microscope.C12 == 0 and microscope.C21 == 0


@lru_cache(maxsize=8)
def _kernel(
    lower: Monolayer, upper: Monolayer, z_lower: float, z_upper: float, reciprocal: bytes, microscope: Microscope
) -> tuple[IntArray, ComplexArray]:
    """Lattice vectors q, shape (m, 2), and kernel(h, q) in Å², shape (n, m), for h of `_half`."""
    m = microscope
    rows = np.frombuffer(reciprocal).reshape(2, 2)
    hk = _half(lower.cell, m)
    here, below = (m.aberrations_at(z) for z in (z_lower, z_upper))
    detector = (m.detector_inner, m.detector_outer)
    depths = (z_lower, z_upper)
    q, kernel = interference(
        (lower, upper), depths, rows, hk, m.voltage_eV, m.semiangle, detector, m.aberrations_at(0.0)
    )
    near, passed = channelling(lower, rows, hk, z_upper - z_lower, m.voltage_eV, m.semiangle, here)
    column = {tuple(vector): index for index, vector in enumerate(q.tolist())}
    kernel[:, [column[tuple(vector)] for vector in near.tolist()]] += passed * _object(upper, near, m)
    g = hk @ rows
    undisturbed = ApertureOverlap(g[:, 0], g[:, 1], m.wavelength, m.semiangle).expansion(below)[0]
    own = [column[tuple(vector)] for vector in hk.tolist()]
    kernel[np.arange(len(hk)), own] -= _object(upper, hk, m) * undisturbed
    return q, kernel


def _object(layer: Monolayer, hk: IntArray, microscope: Microscope) -> ComplexArray:
    """Object transfer of a layer as if it were flat, at reflections hk, Å², shape (n,)."""
    g = np.linalg.norm(hk @ layer.reciprocal, axis=1)
    total = np.zeros(len(hk), dtype=complex)
    for scatterer, positions in scatterers(layer.symbols, layer.positions, layer.cell):
        waves = np.exp(-2j * np.pi * positions[:, :2] @ np.linalg.inv(layer.cell) @ hk.T)
        total += scatterer.transfer(g, microscope, {}) * waves.sum(axis=0)
    return total
