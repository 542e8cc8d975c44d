"""What an image says about a stacking, window by window: harmonics, their noise, and the likelihood they make."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from picostem.resolve.estimate import Observation
from picostem.resolve.lattice import Lattice
from picostem.resolve.noise import Noise, Whitener
from picostem.resolve.window import Harmonics, extract_harmonics, window_starts
from picostem.structure.lattice import reflections

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.int64]

HARMONIC_LIMIT = 1.1  # 1/Å; reflections beyond add less than 2 % to what is known of a slip, at any dose tried


@dataclass(frozen=True)
class Evidence:
    """Harmonics of some windows with their noise.

    Attributes:
        harmonics: amplitudes, shape (windows, n).
        observation: the same, ready to be compared with a model.
        noise_power: mean noise power of each harmonic, shape (n,).
        whitener: that made the observation.
    """

    harmonics: Harmonics
    observation: Observation
    noise_power: FloatArray
    whitener: Whitener

    @property
    def signal_to_noise(self) -> FloatArray:
        """Bragg power over its noise in each window, shape (windows,); 1 where there is no lattice."""
        power = np.abs(self.harmonics.amplitudes) ** 2
        return np.asarray(np.mean(power / self.noise_power, axis=1))

    def take(self, index: NDArray[np.bool_]) -> Evidence:
        """The chosen windows."""
        return replace(self, harmonics=self.harmonics.take(index), observation=self.observation.take(index))

    def explained(self, predicted: ComplexArray) -> float:
        """Share of the Bragg power above the noise that a model explains."""
        amplitudes = self.harmonics.amplitudes
        noise = self.noise_power.sum() * len(amplitudes)
        signal = np.sum(np.abs(amplitudes) ** 2) - noise
        missed = np.sum(np.abs(amplitudes - predicted) ** 2) - noise
        return float(np.clip(1 - missed / signal, 0, 1)) if signal > 0 else 0.0


def harmonics_of(lattice: Lattice) -> IntArray:
    """The reflections that are used, of one half plane, shape (n, 2); all lie below the image's Nyquist frequency."""
    hk = reflections(lattice.crystal_reciprocal, HARMONIC_LIMIT)
    inside = np.max(np.abs(hk @ lattice.reciprocal), axis=1) < 0.48
    return np.asarray(hk[inside])


def gather(
    data: NDArray[np.float32],
    noise: Noise,
    lattice: Lattice,
    window: int,
    starts: tuple[IntArray, IntArray],
    whitener: Whitener | None = None,
) -> Evidence:
    """Evidence of all windows of a grid; `data` has its mean subtracted, `window` and `starts` are in pixels.

    The whitener is made from these windows unless one is given.
    """
    harmonics = extract_harmonics(data, lattice.reciprocal, harmonics_of(lattice), window, starts)
    whitener = whitener or Whitener(noise, harmonics, lattice.reciprocal)
    power = noise.spectrum.noise_at(harmonics.hk @ lattice.reciprocal) / window**2
    return Evidence(harmonics, whitener.observe(harmonics), power, whitener)


def tile_starts(shape: tuple[int, int], window: int, limit: int) -> tuple[IntArray, IntArray]:
    """First rows and columns of at most `limit` windows side by side; neighbours overlap by up to a half."""
    rows, cols = (window_starts(n, window, window) for n in shape)
    while len(rows) * len(cols) > limit:
        if len(rows) >= len(cols):
            rows = _thinned(rows)
        else:
            cols = _thinned(cols)
    return rows, cols


def _thinned(starts: IntArray) -> IntArray:
    if len(starts) == 2:
        return np.array([starts.sum() // 2], dtype=np.int64)
    keep = np.unique(np.rint(np.linspace(0, len(starts) - 1, len(starts) - 1)).astype(int))
    return np.asarray(starts[keep])
