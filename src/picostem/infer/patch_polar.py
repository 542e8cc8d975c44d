"""What a network for twists reads of a patch: its Fourier transform along the rings of a crystal's reflections.

With F the transform of a patch under a round window, and g_h the reflections of one layer before it is turned,

    a_o(φ) = (mean over h in orbit o of |F(R(φ) g_h)|²)^(1/2),
    t_o(φ) = mean over (h, k, l) in orbit o, h + k + l = 0, of F(R(φ) g_h) F(R(φ) g_k) F(R(φ) g_l),

t with its modulus to the power 1/3. Neither depends on where the layers lie; all layers of a crystal have their peaks
at the angles that they are turned to, and a turn of the patch shifts all of it along φ. The t tell a layer from one
turned by 180°, for which a is the same. Reflections that the layer's own rotations, or -1, make of each other are one
orbit. The a are taken at a few scales, so that pixel sizes need not be exact.

The transform is that of a non-uniform FFT, with a Kaiser-Bessel window as in `picostem.simulate.gridding`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft, sparse
from scipy.special import i0

from picostem.infer.patch_input import finite_patches
from picostem.structure.stack import rotation_matrix

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Single = NDArray[np.float32]
SingleComplex = NDArray[np.complex64]
Index = tuple[int, int]

SCALES = (-0.02, 0.0, 0.02)
"""At which the rings are taken; a peak of the outermost ring is 2 % of its radius wide."""

ORBITS, TRIPLES = 8, 4
"""At most, the strongest."""

_WIDTH, _OVERSAMPLING = 4, 2.0
_BETA = math.pi * math.sqrt(_WIDTH**2 / _OVERSAMPLING**2 * (_OVERSAMPLING - 0.5) ** 2 - 0.8)


@dataclass(frozen=True, eq=False)
class Polar:
    """How patches are read.

    Attributes:
        side: of the patches, pixels. pixel_A: Å per pixel.
        period: the twist, rad, after which two layers look as before. angles: how many φ divide it.
        reciprocal: rows a*, b* of the layer before it is turned, 1/Å, shape (2, 2).
        orbits: of each, the reflections, one of each h and -h, (o, r, 2). triples: h, k and l, (t, r, 3, 2).

    Raises:
        ValueError: arrays of other shapes, or three reflections that do not sum to zero.
    """

    side: int
    pixel_A: float
    period: float
    angles: int
    reciprocal: FloatArray
    orbits: IntArray
    triples: IntArray

    def __post_init__(self) -> None:
        orbits, triples = self.orbits.shape, self.triples.shape
        if self.reciprocal.shape != (2, 2) or orbits[2:] != (2,) or triples[2:] != (3, 2) or not len(self.orbits):
            raise ValueError(f"expected reflections (o, r, 2) and triples (t, r, 3, 2), got {orbits} and {triples}")
        if self.triples.sum(axis=2).any():
            raise ValueError("three reflections that do not sum to zero")

    @classmethod
    def strongest(
        cls,
        side: int,
        pixel_A: float,
        cell: FloatArray,
        period: float,
        angles: int,
        hk: IntArray,
        strength: FloatArray,
    ) -> Polar:
        """The orbits and triples of the strongest reflections; hk: of a half plane, (n, 2), and how strong, (n,)."""
        reciprocal: FloatArray = np.asarray(np.linalg.inv(cell).T, dtype=np.float64)
        turn = np.rint(reciprocal @ rotation_matrix(period).T @ cell.T).astype(np.int64)  # indices of R(period) g
        count = round(2 * np.pi / period)
        pairs = zip(hk.tolist(), strength.tolist(), strict=True)
        strong = {(sign * h, sign * k): s for (h, k), s in pairs for sign in (1, -1)}
        turned = [np.linalg.matrix_power(turn, power) for power in range(count)]
        return cls(side, pixel_A, period, angles, reciprocal, _orbits(strong, turned), _triples(strong, turned))

    @property
    def channels(self) -> int:
        """How many a and t, the latter's real and imaginary parts, there are for each angle."""
        return len(self.orbits) * len(SCALES) + 2 * len(self.triples)

    def __call__(self, patches: ArrayLike) -> Single:
        """The a of each orbit and scale, then the t, over the root mean square of the a; (k, channels, angles).

        Raises as `standardised` does.
        """
        f = self._transformed(finite_patches(patches))
        signed = np.concatenate([f, f.conj()], axis=1)
        count, (orbits, members) = len(f), self.orbits.shape[:2]
        power = np.abs(f[:, self._place(self.orbits.reshape(-1, 2)) % f.shape[1]]) ** 2
        a = np.sqrt(power.reshape(count, orbits, members, len(SCALES), self.angles).mean(axis=2))
        a = a.reshape(count, orbits * len(SCALES), self.angles)
        middle = signed[:, :, SCALES.index(0.0)]
        three = [middle[:, self._place(self.triples[..., i, :].reshape(-1, 2))] for i in range(3)]
        t = (three[0] * three[1] * three[2]).reshape(count, *self.triples.shape[:2], self.angles).mean(axis=2)
        t /= np.maximum(np.abs(t), 1e-30) ** (2 / 3)
        level = np.sqrt(np.mean(a**2, axis=(1, 2), keepdims=True))
        read = np.concatenate([a, t.real, t.imag], axis=1) / np.maximum(level, 1e-30)
        return np.asarray(read, dtype=np.float32)

    @cached_property
    def _half(self) -> IntArray:
        """Reflections that are sampled, one of each pair ±h, shape (n, 2)."""
        every = np.concatenate([self.orbits.reshape(-1, 2), self.triples.reshape(-1, 2)])
        sign = np.where((every[:, 0] > 0) | ((every[:, 0] == 0) & (every[:, 1] > 0)), 1, -1)
        return np.unique(every * sign[:, None], axis=0)

    def _place(self, hk: IntArray) -> IntArray:
        """Where reflections (m, 2) are among those of `_half` and, after them, their opposites."""
        known = {tuple(h): i for i, h in enumerate([*self._half.tolist(), *(-self._half).tolist()])}
        return np.array([known[tuple(h)] for h in hk.tolist()], dtype=np.int64)

    @cached_property
    def _grid(self) -> int:
        return int(fft.next_fast_len(math.ceil(_OVERSAMPLING * self.side)))

    @cached_property
    def _window(self) -> Single:
        """1 - ρ² within the round window, over the transform of the kernel that interpolates, (side, side)."""
        offset = np.arange(self.side) - (self.side - 1) / 2
        rho = np.hypot(offset, offset[:, None]) / (self.side / 2)
        root = np.sqrt(_BETA**2 - (np.pi * _WIDTH * offset / self._grid) ** 2)
        kernel = _WIDTH * np.sinh(root) / root
        return np.asarray(np.clip(1 - rho**2, 0, None) / np.outer(kernel, kernel), dtype=np.float32)

    @cached_property
    def _sampling(self) -> tuple[IntArray, sparse.csr_array]:
        """Pixels of the padded patch's transform that are needed, and the weights that F is made of them with."""
        scales = 1 + np.array(SCALES)
        turns = np.array([rotation_matrix(angle) for angle in np.arange(self.angles) * (self.period / self.angles)])
        g = np.einsum("s,aij,hj->hsai", scales, turns, self._half @ self.reciprocal).reshape(-1, 2)
        position = np.stack([-g[:, 1], g[:, 0]], axis=1) * self.pixel_A * self._grid  # row, column
        index = np.ceil(position - _WIDTH / 2)[:, :, None] + np.arange(_WIDTH)
        distance = (index - position[:, :, None]) / (_WIDTH / 2)
        phase = np.exp(2j * np.pi * index * (self.side - 1) / 2 / self._grid)
        weight = i0(_BETA * np.sqrt(np.clip(1 - distance**2, 0, None))) * phase
        whole = index.astype(np.int64) % self._grid
        cells = (whole[:, 0, :, None] * self._grid + whole[:, 1, None, :]).ravel()
        weights = (weight[:, 0, :, None] * weight[:, 1, None, :]).ravel().astype(np.complex64)
        needed, columns = np.unique(cells, return_inverse=True)
        rows = np.arange(0, len(cells) + 1, _WIDTH**2)
        return needed, sparse.csr_array((weights, columns.ravel(), rows), shape=(len(g), len(needed)))

    def _transformed(self, patches: Single) -> SingleComplex:
        """F of the patches' differences from their means, shape (k, reflections, scales, angles)."""
        window, (needed, weights) = self._window, self._sampling
        mean = patches.mean(axis=(1, 2), keepdims=True, dtype=np.float64).astype(np.float32)
        spectra = np.empty((len(needed), len(patches)), dtype=np.complex64)
        for i, patch in enumerate((patches - mean) * window):
            spectra[:, i] = fft.fft2(patch, (self._grid, self._grid)).ravel()[needed]
        found = np.asarray(weights @ spectra)
        return np.ascontiguousarray(found.T).reshape(len(patches), len(self._half), len(SCALES), self.angles)


def _orbits(strong: Mapping[Index, float], turned: Sequence[IntArray]) -> IntArray:
    """The strongest orbits, shape (o, r, 2)."""
    found: dict[frozenset[Index], list[Index]] = {}
    for h in sorted(strong, key=lambda h: (-strong[h], h)):
        half: list[Index] = []
        for member in (_times(h, turn) for turn in turned):
            if member not in half and _opposite(member) not in half:
                half.append(member)
        found.setdefault(frozenset(half) | frozenset(map(_opposite, half)), half)
        if len(found) == ORBITS:
            break
    return np.array(list(found.values()), dtype=np.int64)


def _triples(strong: Mapping[Index, float], turned: Sequence[IntArray]) -> IntArray:
    """The strongest orbits of three reflections that sum to zero, shape (t, r, 3, 2); of opposite ones, either."""
    three = {
        tuple(sorted((h, k, (-h[0] - k[0], -h[1] - k[1]))))
        for h, k in combinations_with_replacement(sorted(strong), 2)
        if (-h[0] - k[0], -h[1] - k[1]) in strong
    }
    found: dict[frozenset[tuple[Index, ...]], list[tuple[Index, ...]]] = {}
    for one in sorted(three, key=lambda one: (-math.prod(strong[h] for h in one), one)):
        orbit = [tuple(sorted(_times(h, turn) for h in one)) for turn in turned]
        opposite = [tuple(sorted(map(_opposite, each))) for each in orbit]
        found.setdefault(frozenset(orbit) | frozenset(opposite), orbit)
        if len(found) == TRIPLES:
            break
    return np.array(list(found.values()), dtype=np.int64).reshape(-1, len(turned), 3, 2)


def _times(h: Index, turn: IntArray) -> Index:
    first, second = (np.array(h) @ turn).tolist()
    return first, second


def _opposite(h: Index) -> Index:
    return -h[0], -h[1]
