"""Windows of an image: harmonics rendered as pixels, and pixels made harmonics again.

    I(r) = mean + 2 Re sum over h of c(h) exp(2 pi i g_h . (r + d)),

r in pixels from the window's centre, x right and y up, d where the beam lands instead. Back they come by the least
squares of `picostem.resolve.window`: a constant and slow waves beside them, every pixel weighted alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from picostem.errors import UsageError
from picostem.resolve.window import gram_matrix

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Single = NDArray[np.float32]
SingleComplex = NDArray[np.complex64]

SAMPLING = 0.36  # Å per pixel, for HARMONIC_LIMIT = 1.1 1/Å: 0.40 cycles per pixel
HIGHEST = 0.48  # cycles per pixel, as in `harmonics_of`
GOLDEN = np.pi * (3 - np.sqrt(5))  # rad; multiples of it cover the circle evenly, however many there are


@dataclass(frozen=True, eq=False)
class Window:
    """A square window with a lattice in it.

    Attributes:
        side: pixels. sampling: Å per pixel.
        hk: reflections, shape (n, 2). g: their frequencies, cycles per pixel, shape (n, 2).
        across, down: exp(2 pi i g . r) along x and y, shape (n, side) and (side, n).
        inverse: real and imaginary part of each amplitude by pixels, in turn, shape (2n, side²).
        noise_factor: F with F Fᵀ the covariance of these parts for white pixel noise of variance 1, shape (2n, 2n).
    """

    side: int
    sampling: float
    hk: IntArray
    g: FloatArray
    across: SingleComplex
    down: SingleComplex
    inverse: Single
    noise_factor: Single

    @classmethod
    def build(
        cls, hk: IntArray, reciprocal: FloatArray, side_A: float, rotation: float = 0.0, sampling: float = SAMPLING
    ) -> Window:
        """A window of side_A with a lattice turned counter-clockwise by `rotation`, rad.

        Args:
            hk: reflections of one half plane, shape (n, 2).
            reciprocal: rows a*, b*, crystal frame, 1/Å. sampling: Å per pixel.

        Raises:
            UsageError: pixels too large for the reflections, or a window too small to tell them apart.
        """
        turn = np.array([[np.cos(rotation), -np.sin(rotation)], [np.sin(rotation), np.cos(rotation)]])
        g = hk @ reciprocal @ turn.T * sampling
        if np.abs(g).max() >= HIGHEST:
            raise UsageError(
                f"pixels of {sampling:g} Å put a reflection at {np.abs(g).max():.2f} cycles per pixel; expected less "
                f"than {HIGHEST}: make them smaller"
            )
        side = round(side_A / sampling)
        shortest = np.linalg.norm(hk @ reciprocal, axis=1).min()
        if side * sampling * shortest < 2:
            raise UsageError(
                f"a window of {side_A:g} Å is too small for lattice rows {1 / shortest:.2f} Å apart: take two or more"
            )
        inverse = _least_squares(g, side)
        offset = np.arange(side) - (side - 1) / 2
        return cls(
            side=side,
            sampling=sampling,
            hk=hk,
            g=g,
            across=np.exp(2j * np.pi * np.outer(g[:, 0], offset)).astype(np.complex64),
            down=np.exp(-2j * np.pi * np.outer(offset, g[:, 1])).astype(np.complex64),
            inverse=inverse.astype(np.float32),
            noise_factor=np.linalg.cholesky(inverse @ inverse.T).astype(np.float32),
        )

    @property
    def area(self) -> float:
        """Of the window, Å²."""
        return (self.side * self.sampling) ** 2

    def render(self, amplitudes: SingleComplex, mean: Single, landing: Single | None = None) -> Single:
        """Pixels of harmonics, shape (k, side, side).

        Args:
            amplitudes: referred to the window's centre, shape (k, n).
            mean: shape (k,).
            landing: d of each row, pixels (x, y), shape (k, side, 2); None for where it should.
        """
        rows = amplitudes[:, None] * self.down
        if landing is not None:
            rows *= np.exp((2j * np.pi * landing @ self.g.T).astype(np.complex64))
        parts = rows.reshape(-1, len(self.g)).view(np.float32)
        columns = np.ascontiguousarray(self.across.conj().T).view(np.float32).T
        patches = (parts @ columns).reshape(len(amplitudes), self.side, self.side)
        patches *= 2
        patches += mean[:, None, None]
        return np.asarray(patches)

    def extract(self, patches: Single) -> SingleComplex:
        """Amplitudes of windows, (k, side, side), referred to their centre, shape (k, n)."""
        parts = patches.reshape(len(patches), -1) @ self.inverse.T
        return np.ascontiguousarray(parts, dtype=np.float32).view(np.complex64)

    def noise(self, sigma: Single, rng: np.random.Generator) -> SingleComplex:
        """What white pixel noise of standard deviations sigma, (k,), adds to the amplitudes, shape (k, n)."""
        drawn = rng.standard_normal((len(sigma), len(self.noise_factor)), dtype=np.float32) * sigma[:, None]
        return np.ascontiguousarray(drawn @ self.noise_factor.T).view(np.complex64)


def _least_squares(g: FloatArray, side: int) -> FloatArray:
    """Real and imaginary part, in turn, of the amplitudes by pixels, shape (2n, side²)."""
    slow = np.array([[0.0, 0.0], [0.5 / side, 0.0], [0.0, 0.5 / side]])
    half = np.concatenate([slow, g])
    both = np.concatenate([half, -half[1:]])
    offset = np.arange(side) - (side - 1) / 2
    waves = np.exp(2j * np.pi * both[:, 1:] * offset)[:, :, None] * np.exp(-2j * np.pi * both[:, :1] * offset)[:, None]
    solved = np.linalg.inv(gram_matrix(both, side))[len(slow) : len(half)] @ waves.reshape(len(both), -1)
    return np.stack([solved.real, solved.imag], axis=1).reshape(-1, side**2)


def turned_windows(hk: IntArray, reciprocal: FloatArray, side_A: float, count: int) -> tuple[Window, ...]:
    """Windows of one size with a lattice in `count` orientations, kept for the next call."""
    return _turned_windows(hk.astype(np.int64).tobytes(), reciprocal.astype(np.float64).tobytes(), side_A, count)


@lru_cache(maxsize=4)
def _turned_windows(hk: bytes, reciprocal: bytes, side_A: float, count: int) -> tuple[Window, ...]:
    reflections = np.frombuffer(hk, dtype=np.int64).reshape(-1, 2)
    rows = np.frombuffer(reciprocal).reshape(2, 2)
    return tuple(Window.build(reflections, rows, side_A, GOLDEN * i) for i in range(count))
