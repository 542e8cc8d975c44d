"""What the harmonics of a window say, wherever its lattice lies: the numbers that the network reads.

The fit of the image knows the microscope, and so how each layer alone would look: its factors Q_l(h). Amplitudes are
measured in those of layer 1, with a constant that keeps what is lost in the noise small,

    x(h) = c(h) Q_1(h)* / (|Q_1(h)|² + noise²),        c / sqrt(Σ |c|²) and Q / sqrt(Σ |Q|²) for c and Q,

so that x of two like layers at one height is 1 + exp(-2 pi i h · D), and that of one layer 1, whatever the material and
the microscope. Where the lattice moves by t, x(h) becomes x(h) exp(-2 pi i h · t). Moduli do not change, nor do the
products of three amplitudes whose indices sum to zero (the bispectrum). The features are

    |x(h)|,    Re and Im of u(h1) u(h2) u(h3) with u = x / |x|^(2/3),    ln(1 + |Q_1(h)|² / noise²),
    Re and Im of Q_l(h) Q_1(h)* / (|Q_1(h)|² + noise²) for the layers above,    ln(noise),    conditions.

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
Complex = NDArray[np.complexfloating]

TRIPLES = 300


@dataclass(frozen=True, eq=False)
class Invariants:
    """Features of windows that do not depend on where the lattice lies, nor on the unit of the image.

    Attributes:
        hk: reflections of one half plane, in the order of the amplitudes, shape (n, 2).
        triples: indices into hk followed by -hk, whose reflections sum to zero, shape (m, 3).
        layers: how many there are.

    Raises:
        UsageError: of other shapes, or triples that do not sum to zero.
    """

    hk: IntArray
    triples: IntArray
    layers: int = 2

    def __post_init__(self) -> None:
        hk, triples = self.hk, self.triples
        if hk.ndim != 2 or hk.shape[1:] != (2,) or not len(hk) or triples.ndim != 2 or triples.shape[1:] != (3,):
            raise UsageError(f"expected reflections (n, 2) and triples (m, 3), got {hk.shape} and {triples.shape}")
        known = bool(np.all((triples >= 0) & (triples < 2 * len(hk))))
        if not known or np.any(np.concatenate([hk, -hk])[triples].sum(axis=1)):
            raise UsageError(f"expected triples of the {len(hk)} reflections and their opposites that sum to zero")

    @classmethod
    def lowest(cls, hk: IntArray, cell: FloatArray, layers: int = 2, count: int = TRIPLES) -> Invariants:
        """Those of the triples with the shortest reflections, all where there are fewer than `count`.

        Args:
            hk: reflections of one half plane, without (0, 0), shape (n, 2).
            cell: rows of the lattice, Å, shape (2, 2).
        """
        lengths = np.linalg.norm(hk @ np.linalg.inv(cell).T, axis=1)
        triples = _triples(hk)
        # rounded, so that the choice between equally short ones does not hang on the last digit
        order = np.argsort(np.round(lengths[triples % len(hk)].sum(axis=1), 9), kind="stable")
        return cls(hk, triples[order[:count]], layers)

    @property
    def size(self) -> int:
        """How many features there are."""
        return 2 * self.layers * len(self.hk) + 2 * len(self.triples) + 1 + len(CONDITIONS)

    def __call__(
        self, amplitudes: ArrayLike, noise: ArrayLike, factors: ArrayLike, conditions: ArrayLike
    ) -> NDArray[np.float32]:
        """The features of windows, shape (k, size).

        Args:
            amplitudes: of the harmonics, shape (k, n).
            noise: root mean square of the noise of one amplitude, shape (k,).
            factors: of each layer alone, at the origin, in any unit, shape (k, layers, n).
            conditions: of the microscope, see `picostem.infer.samples.CONDITIONS`, shape (k, 3).

        Raises:
            UsageError: of other shapes.
            DataError: values that are not finite, noise that is not positive, or layers without any factors.
        """
        c, sigma, q, known = self._checked(amplitudes, noise, factors, conditions)
        total = np.maximum(np.sqrt(np.sum(c.real**2 + c.imag**2, axis=1)), sigma)  # where nothing was recorded
        c, sigma = (c / total[:, None]).astype(np.complex64), (sigma / total).astype(np.float32)[:, None]
        q = (q / np.sqrt(np.sum(q.real**2 + q.imag**2, axis=(1, 2)))[:, None, None]).astype(np.complex64)
        first = q[:, 0]
        strength = first.real**2 + first.imag**2
        measure = first.conj() / (strength + sigma**2)
        x, above = c * measure, np.concatenate([other * measure for other in np.moveaxis(q[:, 1:], 1, 0)], axis=1)
        modulus = np.abs(x)
        u = x * np.where(modulus > 0, modulus, 1) ** np.float32(-2 / 3)
        both = np.concatenate([u, u.conj()], axis=1)
        one, two, three = self.triples.T
        product = both[:, one] * both[:, two] * both[:, three]
        clear = np.log1p(strength / sigma**2)
        parts = (modulus, product.real, product.imag, clear, above.real, above.imag, np.log(sigma), known)
        return np.concatenate(parts, axis=1, dtype=np.float32)

    def _checked(
        self, amplitudes: ArrayLike, noise: ArrayLike, factors: ArrayLike, conditions: ArrayLike
    ) -> tuple[Complex, NDArray[np.floating], Complex, NDArray[np.floating]]:
        c, sigma, q, known = (np.asarray(one) for one in (amplitudes, noise, factors, conditions))
        count, n = len(sigma) if sigma.ndim else 0, len(self.hk)
        wanted = ((count, n), (count,), (count, self.layers, n), (count, len(CONDITIONS)))
        if (c.shape, sigma.shape, q.shape, known.shape) != wanted:
            raise UsageError(
                f"expected amplitudes (k, {n}), noise (k,), factors (k, {self.layers}, {n}) and conditions (k, "
                f"{len(CONDITIONS)}), got {c.shape}, {sigma.shape}, {q.shape} and {known.shape}"
            )
        if not (all(np.isfinite(one).all() for one in (c, sigma, q, known)) and np.all(sigma > 0)):
            raise DataError(
                "amplitudes, noise, factors and conditions must be finite, and noise positive: leave out such windows"
            )
        if not np.all(np.any(q != 0, axis=(1, 2))):
            raise DataError("layers without any factors look like nothing: check the material and the reflections")
        return c, sigma, q, known


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
