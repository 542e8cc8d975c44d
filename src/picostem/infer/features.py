"""What the harmonics of a window say, wherever its lattice lies: the numbers that the network reads.

Where the lattice moves by t, c(h) becomes c(h) exp(-2 pi i h · t). Moduli do not change, nor do the products of three
amplitudes whose indices sum to zero (the bispectrum). With s² = Σ |c|², the features are

    |c(h)| / s,    Re and Im of u(h1) u(h2) u(h3) with u = c / (s |c|^2)^(1/3),    ln(noise / s),    conditions.

So each triple has the modulus of the geometric mean of its amplitudes, and the phase of their product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from picostem.errors import DataError, UsageError
from picostem.infer.samples import CONDITIONS

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

TRIPLES = 300


@dataclass(frozen=True, eq=False)
class Invariants:
    """Features of windows that do not depend on where the lattice lies, nor on the unit of the image.

    Attributes:
        hk: reflections of one half plane, in the order of the amplitudes, shape (n, 2).
        triples: indices into hk followed by -hk, whose reflections sum to zero, shape (m, 3).

    Raises:
        UsageError: of other shapes, or triples that do not sum to zero.
    """

    hk: IntArray
    triples: IntArray

    def __post_init__(self) -> None:
        hk, triples = self.hk, self.triples
        if hk.ndim != 2 or hk.shape[1:] != (2,) or not len(hk) or triples.ndim != 2 or triples.shape[1:] != (3,):
            raise UsageError(f"expected reflections (n, 2) and triples (m, 3), got {hk.shape} and {triples.shape}")
        known = bool(np.all((triples >= 0) & (triples < 2 * len(hk))))
        if not known or np.any(np.concatenate([hk, -hk])[triples].sum(axis=1)):
            raise UsageError(f"expected triples of the {len(hk)} reflections and their opposites that sum to zero")

    @classmethod
    def lowest(cls, hk: IntArray, cell: FloatArray, count: int = TRIPLES) -> Invariants:
        """Those of the triples with the shortest reflections, all where there are fewer than `count`.

        Args:
            hk: reflections of one half plane, without (0, 0), shape (n, 2).
            cell: rows of the lattice, Å, shape (2, 2).
        """
        lengths = np.linalg.norm(hk @ np.linalg.inv(cell).T, axis=1)
        triples = _triples(hk)
        # rounded, so that the choice between equally short ones does not hang on the last digit
        order = np.argsort(np.round(lengths[triples % len(hk)].sum(axis=1), 9), kind="stable")
        return cls(hk, triples[order[:count]])

    @property
    def size(self) -> int:
        """How many features there are."""
        return len(self.hk) + 2 * len(self.triples) + 1 + len(CONDITIONS)

    def __call__(self, amplitudes: ArrayLike, noise: ArrayLike, conditions: ArrayLike) -> NDArray[np.float32]:
        """The features of windows, shape (k, size).

        Args:
            amplitudes: of the harmonics, shape (k, n).
            noise: root mean square of the noise of one amplitude, shape (k,).
            conditions: of the microscope, see `picostem.infer.samples.CONDITIONS`, shape (k, 3).

        Raises:
            UsageError: of other shapes.
            DataError: values that are not finite, or noise that is not positive.
        """
        c, sigma, known = self._checked(amplitudes, noise, conditions)
        total = np.sqrt(np.sum(c.real**2 + c.imag**2, axis=1))
        total = np.maximum(total, sigma)  # a window where nothing was recorded
        c = (c / total[:, None]).astype(np.complex64)
        modulus = np.abs(c)
        u = c * np.where(modulus > 0, modulus, 1) ** np.float32(-2 / 3)
        both = np.concatenate([u, u.conj()], axis=1)
        first, second, third = self.triples.T
        product = both[:, first] * both[:, second] * both[:, third]
        parts = (modulus, product.real, product.imag, np.log(sigma / total)[:, None], known)
        return np.concatenate(parts, axis=1, dtype=np.float32)

    def _checked(
        self, amplitudes: ArrayLike, noise: ArrayLike, conditions: ArrayLike
    ) -> tuple[NDArray[np.complexfloating], NDArray[np.floating], NDArray[np.floating]]:
        c, sigma, known = np.asarray(amplitudes), np.asarray(noise), np.asarray(conditions)
        count = len(sigma) if sigma.ndim else 0
        if (c.shape, sigma.shape, known.shape) != ((count, len(self.hk)), (count,), (count, len(CONDITIONS))):
            raise UsageError(
                f"expected amplitudes (k, {len(self.hk)}), noise (k,) and conditions (k, {len(CONDITIONS)}), got "
                f"{c.shape}, {sigma.shape} and {known.shape}"
            )
        if not (np.isfinite(c).all() and np.isfinite(known).all() and np.isfinite(sigma).all() and np.all(sigma > 0)):
            raise DataError(
                "amplitudes, noise and conditions must be finite, and noise positive: leave out such windows"
            )
        return c, sigma, known


def _triples(hk: IntArray) -> IntArray:
    """All sets of three of hk and -hk that sum to zero, one of each set and its opposite, shape (m, 3)."""
    both = np.concatenate([hk, -hk])
    index = {(int(h), int(k)): i for i, (h, k) in enumerate(both)}
    found: set[tuple[int, ...]] = set()
    for i, one in enumerate(both):
        for j, other in enumerate(both[i:], i):
            third = index.get((-int(one[0] + other[0]), -int(one[1] + other[1])))
            if third is not None:
                triple = tuple(sorted((i, j, third)))
                opposite = tuple(sorted((member + len(hk)) % len(both) for member in triple))
                found.add(min(triple, opposite))
    return np.array(sorted(found), dtype=np.int64).reshape(-1, 3)
