"""Real functions on the torus of slips, as Fourier series.

f(D) = mean + 2 Re sum_k c_k exp(2 pi i k · D)        k over one half of the reciprocal lattice
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from picostem.structure.lattice import reflections

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

ROWS = 1024
"""Points treated at once, so that their waves stay in some 10 MB."""


@dataclass(frozen=True, eq=False)
class Series:
    """A function with the period of a lattice.

    Attributes:
        cell: rows of the lattice, Å, shape (2, 2).
        hk: indices of the waves, one of each pair ±, shape (m, 2).
        coefficients: c_k, shape (m,).
        mean: of the function over the cell.
    """

    cell: FloatArray
    hk: NDArray[np.int64]
    coefficients: ComplexArray
    mean: float

    @property
    def waves(self) -> FloatArray:
        """Vectors k, 1/Å, shape (m, 2)."""
        return waves(self.cell, self.hk)

    def __call__(self, points: FloatArray) -> FloatArray:
        """Values at points (n, 2), Å; shape (n,)."""
        parts = [
            2 * (oscillations(self.cell, self.hk, points[i : i + ROWS]) @ self.coefficients).real
            for i in range(0, len(points), ROWS)
        ]
        return self.mean + np.concatenate([np.zeros(0), *parts])

    def derivatives(self, point: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Gradient (2,) and Hessian (2, 2) at one point, per Å and per Å²."""
        k = 2 * np.pi * self.waves
        terms = self.coefficients * np.exp(1j * k @ point)
        return 2 * (1j * terms @ k).real, -2 * np.einsum("m,mi,mj->ij", terms, k, k).real

    def grid(self, shape: tuple[int, int]) -> FloatArray:
        """Values at fractions (i / n, j / m) of the cell vectors; waves beyond the grid's reach are left out."""
        spectrum = np.zeros(shape, dtype=np.complex128)
        inside = (2 * np.abs(self.hk) < np.array(shape)).all(axis=1)
        h, k = self.hk[inside].T
        spectrum[h, k] = self.coefficients[inside]
        spectrum[-h, -k] = self.coefficients[inside].conj()
        spectrum[0, 0] = self.mean
        return np.asarray(np.fft.ifft2(spectrum).real * spectrum.size)

    def pruned(self) -> Series:
        """Without the waves that are rounding."""
        kept = np.abs(self.coefficients) > 1e-9 * np.abs(self.coefficients).max(initial=0.0)
        return Series(self.cell, self.hk[kept], self.coefficients[kept], self.mean)

    @classmethod
    def of_grid(cls, cell: FloatArray, values: FloatArray, limit: float = np.inf) -> Series:
        """The series through values at fractions (i / n, j / m), of waves up to `limit` in 1/Å.

        Waves of the grid's own half frequency, whose phase it cannot tell, are left out.
        """
        n, m = values.shape
        hk = np.stack(np.meshgrid(np.arange((n + 1) // 2), np.arange(-((m - 1) // 2), (m + 1) // 2), indexing="ij"), -1)
        hk = hk.reshape(-1, 2)
        hk = hk[(hk[:, 0] > 0) | (hk[:, 1] > 0)]
        hk = hk[np.linalg.norm(waves(cell, hk), axis=1) <= limit]
        spectrum = np.fft.fft2(values) / values.size
        return cls(cell, hk, spectrum[hk[:, 0], hk[:, 1]], float(values.mean()))


def waves(cell: FloatArray, hk: NDArray[np.int64]) -> FloatArray:
    """Vectors of the reciprocal lattice, 1/Å, shape (m, 2)."""
    return np.asarray(hk @ np.linalg.inv(cell).T)


def oscillations(cell: FloatArray, hk: NDArray[np.int64], points: FloatArray) -> ComplexArray:
    """exp(2 pi i k · D) of waves (m, 2) at points (n, 2), Å; shape (n, m).

    As products of those along either cell vector, which takes a fifth of the time.
    """
    turns = points @ np.linalg.inv(cell)
    most = np.abs(hk).max(axis=0, initial=0)
    first, second = (np.exp(2j * np.pi * turns[:, [i]] * np.arange(-most[i], most[i] + 1)) for i in (0, 1))
    return np.asarray(first[:, hk[:, 0] + most[0]] * second[:, hk[:, 1] + most[1]])


def half_of_waves(cell: FloatArray, limit: float) -> NDArray[np.int64]:
    """Indices of all waves up to `limit` in 1/Å, one of each pair ±, shape (m, 2)."""
    return reflections(np.asarray(np.linalg.inv(cell).T), limit)


def grid_shape(cell: FloatArray, step: float) -> tuple[int, int]:
    """Numbers of points along both cell vectors that are at most `step` apart, Å."""
    a, b = np.ceil(np.linalg.norm(cell, axis=1) / step).astype(int)
    return int(a), int(b)


def grid_points(cell: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """The points of a grid over the cell, Å, shape (n m, 2)."""
    fractions = np.stack(np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij"), axis=-1)
    return np.asarray(fractions.reshape(-1, 2) @ cell)


def damping(k: FloatArray, covariance: FloatArray) -> FloatArray:
    """What normal errors leave of waves k (m, 2): exp(-2 pi² k · C k), for covariances (n, 2, 2), shape (n, m)."""
    squares = np.stack([k[:, 0] ** 2, 2 * k[:, 0] * k[:, 1], k[:, 1] ** 2])
    parts = np.stack([covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]], axis=1)
    return np.asarray(np.exp(-2 * np.pi**2 * parts @ squares))
