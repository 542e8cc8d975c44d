"""The background: a surface of straight pieces between knots on a grid, wide apart compared with an atom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

FloatArray = NDArray[np.float64]
StampArray = NDArray[np.float32]

SPACING = 12.0  # standard deviations of a peak between knots
CLOSE = 8.0  # the same where a support has grains; no less, as a stamp must be narrower
TOUCHED = 3  # knots along an axis whose hats a stamp can reach


@dataclass(frozen=True, eq=False)
class Grid:
    """Hat functions at the knots, shape (rows, knots) and (columns, knots)."""

    down: FloatArray
    across: FloatArray

    @classmethod
    def of(cls, shape: tuple[int, int], sigma: tuple[float, float], spacing: float = SPACING) -> Grid:
        """The grid of an image whose peaks have these standard deviations, pixels; spacing: in units of them."""
        return cls(
            *(_hats(np.arange(n), n, max(2, round(n / (spacing * s)) + 1)) for n, s in zip(shape, sigma, strict=True))
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Knots along rows and columns."""
        return self.down.shape[1], self.across.shape[1]

    @property
    def reach(self) -> int:
        """Knots that a stamp can touch."""
        return min(TOUCHED, self.shape[0]) * min(TOUCHED, self.shape[1])

    def render(self, levels: FloatArray) -> FloatArray:
        """The surface with these levels at the knots, on the image's pixels."""
        return np.asarray(sparse.csr_array(self.down) @ (levels @ self.across.T))

    def gather(self, data: NDArray[np.floating]) -> FloatArray:
        """Sum over the pixels of data times each hat, shape of the knots."""
        return np.asarray((sparse.csr_array(self.down.T.astype(data.dtype)) @ data) @ self.across)

    def at(self, place: FloatArray) -> tuple[NDArray[np.intp], FloatArray]:
        """Cell of each place (row, column), numbers of its four knots and their hats' values there, (n, 4) each."""
        index, value = [], []
        for axis, hats in enumerate((self.down, self.across)):
            span, knots = len(hats) - 1, hats.shape[1]
            scaled = np.clip(place[:, axis] / max(span, 1) * (knots - 1), 0, knots - 1)
            left = np.minimum(scaled.astype(np.intp), knots - 2)
            index.append(np.stack([left, left + 1], axis=1))
            value.append(np.stack([1 - (scaled - left), scaled - left], axis=1))
        number = index[0][:, :, None] * self.shape[1] + index[1][:, None, :]
        return number.reshape(-1, 4), (value[0][:, :, None] * value[1][:, None, :]).reshape(-1, 4)

    def touched(self, first: NDArray[np.intp], half: tuple[int, int]) -> tuple[NDArray[np.intp], list[StampArray]]:
        """Numbers of all knots whose hats reach stamps, (n, a b), and the hats, (n, a or b, side).

        first: pixels in the middle of the stamps, shape (n, 2). half: pixels that stamps reach to either side.
        """
        index, values = [], []
        for axis, hats in enumerate((self.down, self.across)):
            length, knots = hats.shape
            pixels = np.clip(first[:, axis, None] + np.arange(-half[axis], half[axis] + 1), 0, length - 1)
            scaled = pixels * ((knots - 1) / max(length - 1, 1))
            start = np.maximum(np.minimum(scaled[:, 0].astype(np.intp), knots - TOUCHED), 0)
            several = np.arange(min(TOUCHED, knots))
            index.append(start[:, None] + several)
            beyond = (scaled - start[:, None]).astype(np.float32)[:, None] - several.astype(np.float32)[:, None]
            values.append(np.maximum(1 - np.abs(beyond), 0))
        number = index[0][:, :, None] * self.shape[1] + index[1][:, None, :]
        return number.reshape(len(first), -1), values

    def gram(self, weight: FloatArray) -> sparse.csr_array:
        """Sum over the pixels of weight times two hats, (knots, knots)."""
        rows, columns = self.shape
        number = np.arange(rows * columns).reshape(rows, columns)
        parts = []
        for a in (0, 1):
            half = sparse.csr_array((self.down * _shifted(self.down, a)).T) @ weight
            for b in (-1, 0, 1) if a else (0, 1):
                values = half @ (self.across * _shifted(self.across, b))
                r, c = np.nonzero(values)
                one, other = number[r, c], number[r + a, c + b]
                parts.append((values[r, c], one, other))
                if a or b:
                    parts.append((values[r, c], other, one))
        data, first, second = (np.concatenate([part[k] for part in parts]) for k in range(3))
        return sparse.csr_array((data, (first, second)), shape=(number.size, number.size))


def _hats(points: NDArray[np.intp], length: int, knots: int) -> FloatArray:
    scaled = points / max(length - 1, 1) * (knots - 1)
    return np.asarray(np.maximum(0.0, 1 - np.abs(scaled[:, None] - np.arange(knots))))


def _shifted(hats: FloatArray, by: int) -> FloatArray:
    """The hat of the knot `by` further on, 0 beyond the last."""
    out = np.zeros_like(hats)
    if by == 0:
        out[:] = hats
    elif by > 0:
        out[:, :-by] = hats[:, by:]
    else:
        out[:, -by:] = hats[:, :by]
    return out
