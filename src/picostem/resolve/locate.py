"""Where two layers with given lattices lie: all positions of both on a grid, by their overlap with a field.

With U_l(t) the image of layer l at position t, d the data, the drop in misfit that both bring is

    (<d, U_1(t_1)> + <d, U_2(t_2)>)² / (|U_1|² + |U_2|² + 2 <U_1(t_1), U_2(t_2)>),

in which the last product matters where the lattices' reciprocal vectors merge within the field.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from picostem.resolve.field import Field
from picostem.resolve.waves import WaveModel

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

STEP = 0.45  # Å; distance of the positions tried: half of what the fit's basin of attraction reaches
APART = 0.25  # of a cell vector: positions nearer than that are one maximum
LEAST_NORM = 0.05  # of both layers' power; the model is not trusted to cancel further


@dataclass(frozen=True)
class Located:
    """Positions of both layers, fractions, shape (2, 2); the scale; and the share of the data's power explained."""

    positions: FloatArray
    scale: float
    explained: float


def locate(
    model: WaveModel, field: Field, microscope: FloatArray, reciprocals: FloatArray, count: int
) -> list[Located]:
    """The positions of two layers that explain a field best, at most `count`, each a maximum among its neighbours.

    Args:
        microscope: parameters in the order of the model's prior.
        reciprocals: of both lattices, cycles per pixel, shape (2, 2, 2).
    """
    level = float(np.mean(field.weight.astype(np.float64) ** 2))
    one, two = (_OneLayer.of(model, index, field, microscope, reciprocals) for index in (0, 1))
    products = level * one.amplitude[:, None] * np.conj(two.amplitude) * _products(field, one.g, two.g)
    cross = (np.conj(one.turn) @ products.astype(np.complex64) @ two.turn.T).real
    both = np.maximum(one.overlap[:, None] + two.overlap, 0)
    power = one.power + two.power
    norm = np.maximum(power + 2 * cross, LEAST_NORM * power)
    score = both**2 / norm
    total = _power(field)
    return [
        Located(np.stack([one.grid[i], two.grid[j]]), float(both[i, j] / norm[i, j]), float(score[i, j] / total))
        for i, j in _best(score, (one.grid, two.grid), count)
    ]


def explained_alone(model: WaveModel, field: Field, microscope: FloatArray, reciprocals: FloatArray) -> float:
    """Share of the data's power that a single layer explains where it explains most."""
    layer = _OneLayer.of(model, 0, field, microscope, reciprocals)
    return float(np.maximum(layer.overlap, 0).max() ** 2 / layer.power / _power(field))


def locate_alone(model: WaveModel, field: Field, microscope: FloatArray, reciprocals: FloatArray) -> FloatArray:
    """Where a single layer explains most of the data, fractions, shape (2,)."""
    layer = _OneLayer.of(model, 0, field, microscope, reciprocals)
    return np.asarray(layer.grid[int(layer.overlap.argmax())])


@dataclass(frozen=True)
class _OneLayer:
    """A layer's waves and their conjugates, and its overlap with the data at each position of a grid.

    Attributes:
        g: frequencies, cycles per pixel, shape (n, 2). amplitude: shape (n,). grid: positions, fractions, (m, 2).
        turn: what the positions do to the waves, conjugate, shape (m, n). overlap: with the data, shape (m,).
        power: of the layer's image over the field.
    """

    g: FloatArray
    amplitude: ComplexArray
    grid: FloatArray
    turn: ComplexArray
    overlap: FloatArray
    power: float

    @classmethod
    def of(
        cls, model: WaveModel, index: int, field: Field, microscope: FloatArray, reciprocals: FloatArray
    ) -> _OneLayer:
        own = np.any(model.orders[:, index] != 0, axis=1)
        g = model.reciprocal(reciprocals)[own]
        amplitude = model.amplitudes(microscope)[0][own] * field.response(g)
        hk, g = (np.concatenate([part, -part]) for part in (model.orders[own, index], g))
        amplitude = np.concatenate([amplitude, np.conj(amplitude)])
        grid = _grid(model.parts[index].cell)
        turn = np.exp(2j * np.pi * grid @ hk.T).astype(np.complex64)
        weight = field.weight.astype(np.float64) ** 2
        overlap = (turn @ (np.conj(amplitude) * _sums(field, field.values * weight, g))).real
        power = float(np.sum(np.abs(amplitude) ** 2) * weight.sum())
        return cls(g, amplitude, grid, turn, overlap, power)


def _power(field: Field) -> float:
    return float(np.sum((field.values * field.weight).astype(np.float64) ** 2))


def _grid(cell: FloatArray) -> FloatArray:
    counts = np.ceil(np.linalg.norm(cell, axis=1) / STEP).astype(int)
    a, b = np.meshgrid(*(np.arange(n) / n for n in counts), indexing="ij")
    return np.stack([a.ravel(), b.ravel()], axis=1)


def _sums(field: Field, data: FloatArray, g: FloatArray) -> ComplexArray:
    """Sum over the samples of data exp(-2 pi i g . r), shape (n,)."""
    across = np.exp(-2j * np.pi * np.outer(field.x, g[:, 0]))
    down = np.exp(-2j * np.pi * np.outer(field.y, g[:, 1]))
    return np.asarray(np.einsum("yn,yn->n", data @ across, down))


def _products(field: Field, f1: FloatArray, f2: FloatArray) -> ComplexArray:
    """Sum over the samples of exp(2 pi i (f1 - f2) . r), shape (n1, n2)."""
    parts = []
    for axis, places in ((0, field.x), (1, field.y)):
        one, two = (np.exp(2j * np.pi * np.outer(f[:, axis], places)) for f in (f1, f2))
        parts.append(one @ np.conj(two).T)
    return np.asarray(parts[0] * parts[1])


def _best(score: FloatArray, grids: tuple[FloatArray, FloatArray], count: int) -> list[tuple[int, int]]:
    """Indices of the highest scores that lie apart in one position at least."""
    chosen: list[tuple[int, int]] = []
    # 60: enough of the highest to hold the neighbours of each maximum
    some = min(60 * count, score.size)
    highest = np.argpartition(score, -some, axis=None)[-some:]
    for flat in highest[np.argsort(score.ravel()[highest])[::-1]]:
        pair = (int(flat) // score.shape[1], int(flat) % score.shape[1])
        if not any(_near(grids[0], pair[0], i) and _near(grids[1], pair[1], j) for i, j in chosen):
            chosen.append(pair)
        if len(chosen) == count:
            break
    return chosen


def _near(grid: FloatArray, one: int, other: int) -> bool:
    return bool(np.abs((grid[one] - grid[other] + 0.5) % 1 - 0.5).max() < APART)
