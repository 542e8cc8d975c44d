"""Find the lattices of layers that are turned against each other, or of different materials, in the power spectrum.

All layers share the distortion of the image. To a lattice that explains part of the peaks belongs, for every angle, the
one that the second layer would have; the angle is taken at which it explains most of the peaks that are left. What the
spectrum can't tell (which of the settings with nearly the same peaks) is left to the fit.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from picostem.resolve.lattice import (
    PRESENT,
    RESOLUTION,
    Lattice,
    Spectrum,
    expected_power,
    find_lattices,
    refine_lattice,
    same_setting,
)
from picostem.structure.lattice import reflections
from picostem.structure.monolayer import Monolayer
from picostem.structure.stack import image_from_crystal
from picostem.structure.symmetry import layer_operations

FloatArray = NDArray[np.float64]

CANDIDATES = 12  # lattices of the first layer that are looked at
STEP = 0.2  # of a resolution element: what an angle's step moves reflections by
TYPICAL = 0.6  # 1/Å; the reflections that count
APART = 1.5  # resolution elements: reflections of the layers nearer than that are one peak
SAME = 0.01  # of a cell vector: lattices that differ by less are one
PSEUDO = 0.06  # of a cell vector: settings that differ by less share their peaks


@dataclass(frozen=True)
class Pair:
    """The lattices of two layers and how well they explain the spectrum."""

    lattices: tuple[Lattice, Lattice]
    score: float


def find_pairs(
    spectrum: Spectrum, layers: tuple[Monolayer, Monolayer], pixel_size: float | None, side: float, count: int
) -> list[Pair]:
    """Pairs of lattices that explain the peaks together, the best first.

    Args:
        layers: of the two lattices. pixel_size: Å per pixel, if known.
        side: of the part of the image that the spectrum was taken over, pixels: its resolution is 1/side.
        count: how many pairs at most.
    """
    found = _led(spectrum, layers, pixel_size, side)
    if layers[0] != layers[1]:
        led = _led(spectrum, layers[::-1], pixel_size, side)
        found += [Pair(pair.lattices[::-1], pair.score) for pair in led]
    kept: list[Pair] = []
    for pair in sorted(found, key=lambda pair: -pair.score):
        if not any(_alike(pair, other, layers) for other in kept):
            kept.append(pair)
    return kept[:count]


def _led(spectrum: Spectrum, layers: tuple[Monolayer, Monolayer], pixel_size: float | None, side: float) -> list[Pair]:
    """Pairs of lattices of which the first one's peaks lead to the second."""
    turned = [np.linalg.det(operation.matrix) < 0 for operation in layer_operations(layers[1])]
    hands = (False,) if any(turned) else (False, True)
    found = []
    for candidate, _ in find_lattices(spectrum, layers[0], pixel_size, CANDIDATES):
        first = refine_lattice(spectrum, candidate)
        own = _score(spectrum, first.reciprocal[None], layers[0], None, side)[0]
        for mirrored in hands:
            second, score = _second(spectrum, first, layers, mirrored, side)
            # refined where its own peaks stand apart; where they merge with the first one's, that would pull it there
            near = [second, refine_lattice(spectrum, second)]
            found += [Pair((first, other), float(own + score)) for other in near if not same_points(other, first)]
    return found


def _alike(one: Pair, other: Pair, layers: tuple[Monolayer, Monolayer]) -> bool:
    """Whether two pairs have the same lattices up to settings with like peaks, and, of like layers, their order."""
    orders = [(0, 1), (1, 0)] if layers[0] == layers[1] else [(0, 1)]
    return any(all(same_points(one.lattices[i], other.lattices[j]) for i, j in enumerate(order)) for order in orders)


def same_points(one: Lattice, other: Lattice) -> bool:
    """Whether two lattices have the same points, to SAME of a cell vector."""
    steps = one.rows @ np.linalg.inv(other.rows)
    return bool(np.abs(steps - np.rint(steps)).max() < SAME and abs(round(np.linalg.det(steps))) == 1)


def _second(
    spectrum: Spectrum, first: Lattice, layers: tuple[Monolayer, Monolayer], mirrored: bool, side: float
) -> tuple[Lattice, float]:
    """The best lattice of the second layer under the first one's distortion, and its score."""
    angles = np.arange(0, np.pi, STEP / (side * first.pixel_size * TYPICAL))
    inverse = np.linalg.inv(first.image_from_crystal)
    bases = np.stack([layers[1].reciprocal @ image_from_crystal(a, mirrored).T @ inverse for a in angles])
    scores = _score(spectrum, bases, layers[1], first.reciprocal, side)
    best = int(np.argmax(scores))
    return Lattice(np.linalg.inv(bases[best]).T, layers[1].cell), float(scores[best])


def _score(
    spectrum: Spectrum, bases: FloatArray, monolayer: Monolayer, other: FloatArray | None, side: float
) -> FloatArray:
    """Sum over reflections of sqrt(expected power) (ln power - PRESENT), another lattice's left out, shape (n,)."""
    hk = reflections(monolayer.reciprocal, RESOLUTION)
    expected = expected_power(monolayer, hk)
    g = np.einsum("hi,nij->nhj", hk.astype(float), bases)
    row, col = spectrum.index(g)
    power = np.where(np.all(np.abs(g) < 0.5, axis=-1), spectrum.ratio[row, col], 1.0)
    value = (np.log(np.maximum(power, 1.0)) - PRESENT) * np.sqrt(expected / expected.max())
    if other is not None:
        index = g @ np.linalg.inv(other)
        off = np.linalg.norm((index - np.rint(index)) @ other, axis=-1)
        value = np.where(off * side > APART, value, 0.0)
    return np.asarray(value.sum(axis=1))


def settings_like(lattice: Lattice, monolayer: Monolayer) -> list[Lattice]:
    """The settings of a layer with nearly the same peaks, the given one first, each another projected layer."""
    found = [lattice]
    metric = lattice.cell @ lattice.cell.T
    steps = np.array(list(itertools.product((-1.0, 0.0, 1.0), repeat=4))).reshape(-1, 2, 2)
    # those of the same hand first: a mirrored setting is another one only if the layer has no mirror line
    for step in sorted(steps, key=lambda step: -np.linalg.det(step)):
        if np.abs(step @ metric @ step.T - metric).max() > 2 * PSEUDO * metric.max() or not np.linalg.det(step):
            continue
        other = Lattice(step @ lattice.rows, lattice.cell)
        if not any(same_setting(other, known, monolayer) for known in found):
            found.append(other)
    return found
