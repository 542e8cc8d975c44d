"""Stackings as the values of waves on their torus that do not tell apart what looks the same.

A stacking u, coordinates modulo 1, looks like A u for the integer matrices A of some group. With w an integer vector,

    f(u) = mean over A of cos(2π w · A u - φ), φ = 0 or π/2,

is smooth everywhere and the same for all that look the same: it has neither the seam that a coordinate has at the
border of the cell, nor the cut that a network has to make somewhere if it must choose between D and -D. Enough of them
tell everything else apart. What they cannot tell well is how far a stacking is off one that looks like its own
mirror image, where all of them are flat.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

GRID = {1: 512, 2: 48, 4: 12}
"""Points along each coordinate, by their number, from which the nearest stacking is sought: all waves are longer."""

ROWS = 128
"""Stackings that are sought at once."""

STEPS = 20
DAMPING = 1e-3
"""Of the steps towards the nearest stacking, over the largest curvature."""


@dataclass(frozen=True, eq=False)
class Waves:
    """Waves that are alike for like stackings.

    Attributes:
        vectors: w A, shape (n, e, c).
        phase: φ, shape (n,).
        scale: that gives each the variance of one cosine, shape (n,).
    """

    vectors: FloatArray
    phase: FloatArray
    scale: FloatArray

    @classmethod
    def of(cls, maps: FloatArray) -> Waves:
        """All waves of one or two coordinates, up to the second harmonic of one, for maps A (e, c, c)."""
        coordinates = maps.shape[1]
        vectors, phases, scales, seen = [], [], [], set()
        for wave in _simple(coordinates):
            alike = np.rint(np.einsum("i,eij->ej", wave, maps))
            if _key(alike) in seen:
                continue
            seen |= {_key(alike), _key(-alike)}
            for phase in (0.0, np.pi / 2):
                strength = _strength(alike, phase)
                if strength > 0:
                    vectors.append(alike)
                    phases.append(phase)
                    scales.append(1 / strength)
        return cls(np.array(vectors), np.array(phases), np.array(scales))

    def __len__(self) -> int:
        return len(self.phase)

    def at(self, turns: FloatArray) -> FloatArray:
        """f of stackings (k, c), shape (k, n)."""
        return np.asarray(np.cos(self._angles(turns)).mean(axis=2) * self.scale)

    def _angles(self, turns: FloatArray) -> FloatArray:
        return np.asarray(2 * np.pi * np.einsum("nec,kc->kne", self.vectors, turns) - self.phase[:, None])

    def _slopes(self, turns: FloatArray) -> FloatArray:
        """df/du of stackings (k, c), shape (k, n, c)."""
        slope = -2 * np.pi * np.einsum("kne,nec->knc", np.sin(self._angles(turns)), self.vectors)
        return np.asarray(slope / self.vectors.shape[1] * self.scale[:, None])

    def nearest(self, values: FloatArray) -> FloatArray:
        """Stackings whose waves come nearest to values (k, n), one of those that look the same, shape (k, c)."""
        coordinates = self.vectors.shape[2]
        axis = np.arange(GRID[coordinates]) / GRID[coordinates]
        grid = np.stack(np.meshgrid(*[axis] * coordinates, indexing="ij"), axis=-1).reshape(-1, coordinates)
        known = self.at(grid)
        square = np.sum(known**2, axis=1)
        parts = [np.empty((0, coordinates))]
        for start in range(0, len(values), ROWS):
            part = values[start : start + ROWS]
            parts.append(self._settled(grid[np.argmin(square - 2 * part @ known.T, axis=1)], part))
        return np.concatenate(parts)

    def _settled(self, turns: FloatArray, values: FloatArray) -> FloatArray:
        """The nearest stackings, from others close by: Gauss-Newton, steps that lead away from the values undone."""
        misfit = np.sum((values - self.at(turns)) ** 2, axis=1)
        for _ in range(STEPS):
            slope = self._slopes(turns)
            curvature = np.einsum("kni,knj->kij", slope, slope)
            floor = DAMPING * np.trace(curvature, axis1=1, axis2=2) + 1e-9
            pull = np.einsum("kni,kn->ki", slope, values - self.at(turns))
            step = np.linalg.solve(curvature + floor[:, None, None] * np.eye(turns.shape[1]), pull[..., None])[..., 0]
            moved = turns + step
            after = np.sum((values - self.at(moved)) ** 2, axis=1)
            better = after < misfit
            turns, misfit = np.where(better[:, None], moved, turns), np.where(better, after, misfit)
        return turns


def _simple(coordinates: int) -> list[FloatArray]:
    """Integer vectors with one entry of 1 or 2, or two of ±1; of opposite ones one."""
    unit = np.eye(coordinates)
    pairs = [(unit[i] + sign * unit[j]) for i, j in itertools.combinations(range(coordinates), 2) for sign in (1, -1)]
    return [*unit, *pairs, *(2 * unit)]


def _key(vectors: FloatArray) -> tuple[tuple[float, ...], ...]:
    return tuple(sorted(tuple(v + 0.0) for v in vectors))  # 0.0: no -0


def _strength(vectors: FloatArray, phase: float) -> float:
    """Standard deviation of a wave over that of one cosine; 0 where opposite vectors cancel."""
    weight: dict[tuple[float, ...], float] = {}
    for vector in vectors:
        one, other = tuple(vector + 0.0), tuple(-vector + 0.0)
        sign = -1.0 if phase and other < one else 1.0
        weight[max(one, other)] = weight.get(max(one, other), 0.0) + sign / len(vectors)
    return float(np.sqrt(sum(w**2 for w in weight.values())))
