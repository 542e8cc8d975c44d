"""Slips drawn from a known landscape at a known temperature, with realistic errors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from picostem.catalog.landscape import EV, Landscape
from picostem.catalog.series import Series, grid_points
from picostem.catalog.slips import Slips
from picostem.structure import SlipEquivalence, load_monolayer

FloatArray = NDArray[np.float64]

LAYER = load_monolayer("ReS2")
WELLS = np.array([[0.25, 0.8], [0.75, 0.6]]) @ LAYER.cell
"""Å. With their equivalents -D they are 2.5 Å apart and more, so that each is a peak of its own, and nearly as far from
D = 0, where the upper layer eclipses the lower one and an image cannot tell whether it is there."""

DEPTHS = (0.10, 0.09)
"""eV per cell."""

WIDTH = 0.75
"""Å."""

BETA = 60.0
"""1/eV. Thermal energy is 1/6 of the deepest well: half of the slips lie within 0.35 Å of a well."""

SIGMAS = (0.02, 0.05)
"""Å, of windows of 2 nm along each axis: several times what images of ReS2 allow."""


def known_energy(points: FloatArray) -> FloatArray:
    """Two Gaussian wells in each cell, eV, at points (n, 2), Å."""
    out = np.zeros(len(points))
    steps = np.stack(np.meshgrid(np.arange(-2, 3), np.arange(-2, 3)), axis=-1).reshape(-1, 2) @ LAYER.cell
    inside = (points @ np.linalg.inv(LAYER.cell)) % 1 @ LAYER.cell
    for well, depth in zip(WELLS, DEPTHS, strict=True):
        squares = ((inside[:, None] - well - steps) ** 2).sum(axis=-1)
        out -= depth * np.exp(-squares / (2 * WIDTH**2)).sum(axis=1)
    return out


def known_landscape() -> Landscape:
    """The same as a landscape."""
    shape = (64, 58)
    values = known_energy(grid_points(LAYER.cell, shape)).reshape(shape)
    return Landscape(Series.of_grid(LAYER.cell, values), EV, "known")


def drawn(count: int, rng: np.random.Generator, beta: float = BETA) -> FloatArray:
    """True slips with the density exp(-beta E), by rejection, Å, shape (count, 2)."""
    found = np.zeros((0, 2))
    while len(found) < count:
        points = rng.random((20_000, 2)) @ LAYER.cell
        # 0.12 eV: below the deepest place.
        kept = rng.random(len(points)) < np.exp(-beta * (known_energy(points) + 0.12))
        found = np.concatenate([found, points[kept]])
    return found[:count]


def measured(true: FloatArray, image: NDArray[np.generic], rng: np.random.Generator) -> Slips:
    """Slips with errors, each one of its equivalents ±D at random, in any cell."""
    sigma = rng.uniform(*SIGMAS, (len(true), 2))
    sign = rng.choice([-1.0, 1.0], (len(true), 1))
    slip = sign * (true + sigma * rng.standard_normal(true.shape)) + rng.integers(-1, 2, true.shape) @ LAYER.cell
    covariance = np.zeros((len(true), 2, 2))
    covariance[:, [0, 1], [0, 1]] = sigma**2
    return Slips(slip, covariance, image, SlipEquivalence(LAYER))
