"""Twist read off the spots of a Fourier transform, as one would by eye: to compare the estimator with."""

from __future__ import annotations

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from picostem.physics import DEGREE
from picostem.structure import Monolayer, rotation_matrix

FloatArray = NDArray[np.float64]

STEP = 0.25 * DEGREE  # of the angles that are tried; maxima are refined between them
REACH = 0.7  # 1/Å: the nearest spots of all layered crystals lie within
STRONG = 0.4  # share of the strongest spot's amplitude from which on one is looked for
SAME_RING = 1.1  # lengths of the spots of one ring over that of its shortest


def spot_twist(patch: NDArray[np.float32], pixel_size: float, lower: Monolayer, upper: Monolayer) -> float | None:
    """Angle between the two lattices whose nearest spots stand highest, or None if there is one maximum only.

    The sum of the amplitudes at a layer's nearest spots has its maxima where a layer's lattice lies. Layers with equal
    spots are the two highest maxima, others the highest one each. It says nothing of 60 degrees more or less.

    Args:
        patch: square part of an image, shape (n, n).
        pixel_size: Å.

    Returns:
        rad, modulo the symmetry of the spots and its sign.
    """
    below, above = nearest_spots(lower), nearest_spots(upper)
    first = _maxima(patch, pixel_size, below)
    if lower == upper or _same_ring(below, above):
        return None if len(first) < 2 else abs(first[1] - first[0])
    second = _maxima(patch, pixel_size, above)
    return second[0] - first[0] if first and second else None


def nearest_spots(monolayer: Monolayer) -> FloatArray:
    """Reciprocal vectors of the innermost ring of strong spots, one of each pair, 1/Å, shape (n, 2)."""
    limit = int(REACH * np.linalg.norm(monolayer.cell, axis=1).max()) + 1
    h, k = (grid.ravel() for grid in np.mgrid[-limit : limit + 1, -limit : limit + 1])
    half = (h > 0) | ((h == 0) & (k > 0))
    indices = np.column_stack([h, k])[half]
    g = indices @ monolayer.reciprocal
    near = np.hypot(*g.T) < REACH
    indices, g = indices[near], g[near]
    numbers = np.array([atomic_numbers[symbol] for symbol in monolayer.symbols])
    amplitudes = np.abs(np.exp(-2j * np.pi * indices @ monolayer.scaled.T) @ numbers)
    strong = g[amplitudes > STRONG * amplitudes.max()]
    lengths = np.hypot(*strong.T)
    return np.asarray(strong[lengths < SAME_RING * lengths.min()])


def symmetry_angle(spots: FloatArray) -> float:
    """The turn after which the ring of spots repeats, rad: 60°, 90° or 180°."""
    both = np.concatenate([spots, -spots])
    for angle in (60 * DEGREE, 90 * DEGREE):
        turned = both @ rotation_matrix(angle).T
        off = np.linalg.norm(turned[:, None] - both, axis=-1).min(axis=1)
        if off.max() < 0.02 * np.hypot(*both.T).min():  # a hundredth: a ring is never that nearly regular by chance
            return angle
    return 180 * DEGREE


def _same_ring(a: FloatArray, b: FloatArray) -> bool:
    """Whether two rings are as long as each other, to half a per cent."""
    return bool(abs(np.hypot(*a.T).min() / np.hypot(*b.T).min() - 1) < 0.005)


def _maxima(patch: NDArray[np.float32], pixel_size: float, spots: FloatArray) -> list[float]:
    """Angles of the local maxima, the highest first, rad."""
    period = symmetry_angle(spots)
    angles: FloatArray = np.arange(round(period / STEP), dtype=np.float64) * STEP
    profile = _profile(patch, pixel_size, spots, angles)
    before, after = np.roll(profile, 1), np.roll(profile, -1)
    peaks = np.flatnonzero((profile > before) & (profile >= after))
    curvature = before[peaks] - 2 * profile[peaks] + after[peaks]
    shift = (before[peaks] - after[peaks]) / (2 * curvature)
    order = np.argsort(-profile[peaks])
    return [float(angle) for angle in (angles[peaks] + shift * STEP)[order]]


def _profile(patch: NDArray[np.float32], pixel_size: float, spots: FloatArray, angles: FloatArray) -> FloatArray:
    """Sum of the windowed transform's amplitudes at the spots turned by each angle, shape (angles,)."""
    rows, columns = patch.shape
    window = np.hanning(rows + 2)[1:-1, None] * np.hanning(columns + 2)[1:-1]
    flat = (patch - np.average(patch, weights=window)) * window
    x, y = np.arange(columns) * pixel_size, -np.arange(rows) * pixel_size
    g = np.concatenate([spots @ rotation_matrix(angle).T for angle in angles])
    along = flat @ np.exp(-2j * np.pi * np.outer(x, g[:, 0]))
    amplitudes = np.abs(np.sum(along * np.exp(-2j * np.pi * np.outer(y, g[:, 1])), axis=0))
    return np.asarray(amplitudes.reshape(len(angles), len(spots)).sum(axis=1))
