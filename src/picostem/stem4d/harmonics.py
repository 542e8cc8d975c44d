"""Angular harmonics of diffraction patterns about their centre: orientation and symmetry breaking in closed form.

With hats B_k over the radius, rings that add up to one, a pattern I with pixels p at (r_p, phi_p) has

    T_km = sum_p I_p B_k(r_p) exp(-i m phi_p).

The sharp edge of a disk, seen in square pixels, has harmonics of order 4, 8, 12, ... which stand still on the detector
and may exceed a pattern's shot noise many times. Of counts they are taken off: T_km - T_k0 R_km / R_k0, R of the mean
pattern made round; where its centre lies on a symmetry of the pixels and the harmonic is in all patterns, of the mean
pattern made alike under all eight.

A pattern turned by alpha has T_km exp(-i m alpha), so |T_km| is invariant and -arg T_km / m an orientation modulo
2 pi / m. They are linear in the counts: nothing is interpolated, and the shot noise of each is known,
var T_km = sum_p I_p B_k². Angles are radians, counter-clockwise from x, in the frame of `Detector.vectors`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from picostem.errors import UsageError
from picostem.stem4d.rings import Rings
from picostem.stem4d.scan import Scan4D

FloatArray = NDArray[np.float64]
Single = NDArray[np.float32]
Complex = NDArray[np.complex64]

RINGS, ORDERS = 16, 18
"""How many rings, and the highest order: 18 is the third harmonic of six-fold patterns."""
STILL = 5.0
"""Standard errors of the mean from which a harmonic stands still on the detector: those of patterns that turn average
out."""
NEGATIVE = 0.01
"""Of the largest mean of a pixel: how far below 0 others may be if they are counts."""
MOVED = 0.25
"""Pixels by which centres differ that are taken as one where the beam wanders over the detector."""


@dataclass(frozen=True, eq=False)
class Order:
    """One harmonic of every pattern, in the shape of the scan.

    Attributes:
        m: its order. value: complex amplitude over the counts; exp(i m alpha) times that of a pattern turned back by
            alpha. sigma: standard error of the value's real and of its imaginary part by shot noise.
    """

    m: int
    value: NDArray[np.complex128]
    sigma: FloatArray

    @property
    def angle(self) -> FloatArray:
        """Orientation, radians from -pi/m up to pi/m."""
        return np.angle(self.value) / self.m

    @property
    def angle_sigma(self) -> FloatArray:
        """Standard error of the orientation; no more than that of angles of which nothing is known."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = self.sigma / np.abs(self.value)
        return np.asarray(np.fmin(ratio, np.pi / np.sqrt(3)) / self.m)

    @property
    def strength(self) -> FloatArray:
        """Its modulus without what noise adds to it, 0 where that is more."""
        return np.asarray(np.sqrt(np.maximum(np.abs(self.value) ** 2 - 2 * self.sigma**2, 0)))


@dataclass(frozen=True, eq=False)
class Harmonics:
    """Angular harmonics of the patterns of a scan.

    Attributes:
        values: T_km, shape (n, rings, orders + 1). noise: sums of I B_k² and of I B_k B_(k+1), the last of which is 0,
            shape (n, 2, rings). radii: of the rings, in `unit`, shape (rings,). area: sum of B_k, pixels, (rings,).
        known: which orders a ring has enough pixels for, shape (rings, orders + 1); the others are 0. shape: of the
            scan. unit: "1/Å" or "px".
    """

    values: Complex
    noise: Single
    radii: FloatArray
    area: FloatArray
    known: NDArray[np.bool_]
    shape: tuple[int, int]
    unit: str

    @property
    def counts(self) -> FloatArray:
        """Of each pattern within the rings, shape (n,)."""
        return np.asarray(self.values[:, :, 0].real.sum(axis=1, dtype=np.float64))

    @property
    def orders(self) -> int:
        """The highest."""
        return int(self.values.shape[2]) - 1

    def order(self, m: int, weights: NDArray[np.complexfloating] | FloatArray | None = None) -> Order:
        """A harmonic of all patterns, its rings added with weights, of shape (rings,); None adds them as they are.

        Raises:
            UsageError: an order that is not there.
        """
        if not 1 <= m <= self.orders:
            raise UsageError(f"expected an order from 1 to {self.orders}, got {m}: take more orders")
        w = np.ones(len(self.radii)) if weights is None else np.asarray(weights)
        counts = np.maximum(self.counts, 1e-30)
        value = np.conj(self.values[:, :, m].astype(np.complex128) @ w) / counts
        own, next_ = self.noise.astype(np.float64).transpose(1, 0, 2)
        variance = own @ np.abs(w) ** 2 + 2 * next_[:, :-1] @ (w[1:] * np.conj(w[:-1])).real
        sigma = np.sqrt(np.maximum(variance, 0) / 2) / counts
        return Order(m, value.reshape(self.shape).astype(np.complex128), sigma.reshape(self.shape))

    def best_weights(self, m: int) -> NDArray[np.complex128]:
        """Weights of rings that tell most of a harmonic: the first principal component in units of the noise.

        The phase is that of the ring that counts most, whose angle is then the orientation.
        """
        spread = np.sqrt(np.maximum(self.noise[:, 0].mean(axis=0, dtype=np.float64), 1e-30))
        scaled = self.values[:, :, m].astype(np.complex128) / spread
        covariance = scaled.T @ scaled.conj()
        first = np.linalg.eigh(covariance)[1][:, -1]
        first = first * np.exp(-1j * np.angle(first[np.argmax(np.abs(first))]))
        return np.asarray(np.conj(first) / spread)

    def breaking(self, n: int) -> FloatArray:
        """How much of the pattern is not n-fold: the root of the power in orders that are no multiples of n over the
        counts, what noise adds to it taken off, in the shape of the scan; 0 where noise is more.

        Raises:
            UsageError: n below 2: every pattern is 1-fold.
        """
        if n < 2:
            raise UsageError(f"expected a symmetry of order 2 or more, got {n}")
        rest = [m for m in range(1, self.orders + 1) if m % n]
        known = self.known[:, rest].astype(np.float64)
        power = np.einsum("nkm,km->n", np.abs(self.values[:, :, rest]) ** 2, known, dtype=np.float64)
        noise = self.noise[:, 0].astype(np.float64) @ known.sum(axis=1)
        counts = np.maximum(self.counts, 1e-30)
        return np.asarray(np.sqrt(np.maximum(power - noise, 0)) / counts).reshape(self.shape)


def angular_harmonics(
    scan: Scan4D,
    rings: int = RINGS,
    orders: int = ORDERS,
    radius: float | None = None,
    *,
    electrons_per_count: float = 1.0,
    progress: Callable[[int, int], object] | None = None,
) -> Harmonics:
    """Harmonics of all patterns in one pass through the data.

    Args:
        radius: of the outermost ring, in the detector's unit; None for the largest circle on the detector.
        electrons_per_count: for the noise. progress: called with positions done, and all.

    Raises:
        UsageError: too few rings, or a radius that is not on the detector.
    """
    if rings < 2 or orders < 1:
        raise UsageError(f"expected 2 rings and 1 order or more, got {rings} and {orders}")
    layout = Rings.of(scan, rings, orders, radius)
    rows, columns = scan.shape
    values = np.zeros((rows * columns, rings, orders + 1), dtype=np.complex64)
    noise = np.zeros((rows * columns, 2, rings), dtype=np.float32)
    shift, which = np.unique(np.rint((scan.centres() - scan.detector.centre) / MOVED), axis=0, return_inverse=True)
    which = which.ravel()
    totals = np.zeros((len(shift), layout.pixels))
    for where, patterns in scan.blocks():
        small = layout.binned(patterns)
        for index in np.unique(which[where]):
            mine = np.flatnonzero(which[where] == index)
            at = np.arange(where.start, where.stop)[mine]
            values[at], noise[at] = layout.split(small[mine] @ layout.matrix(shift[index] * MOVED))
            totals[index] += small[mine].sum(axis=0, dtype=np.float64)
        if progress is not None:
            progress(where.stop, rows * columns)
    if totals.min() >= -NEGATIVE * totals.max():
        for index, (even, alike) in enumerate(layout.pixelation(totals / np.bincount(which)[:, None], shift * MOVED)):
            mine = np.flatnonzero(which == index)
            own = values[mine] - even * values[mine, :, :1].real
            own[:, :, 0] = values[mine, :, 0]
            still = np.abs(own.mean(axis=0)) > STILL * np.sqrt(np.mean(np.abs(own) ** 2, axis=0) / len(mine))
            own -= np.where(still, alike - even, 0) * own[:, :, :1].real
            values[mine, :, 1:] = own[:, :, 1:]
    return Harmonics(
        values, noise / np.float32(electrons_per_count), layout.radii, layout.area(), layout.known, scan.shape,
        scan.detector.unit,
    )  # fmt: skip
