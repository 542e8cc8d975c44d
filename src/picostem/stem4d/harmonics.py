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

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import interpolate

from picostem.errors import UsageError
from picostem.stem4d.scan import Scan4D

FloatArray = NDArray[np.float64]
Single = NDArray[np.float32]
Complex = NDArray[np.complex64]

RINGS, ORDERS = 16, 18
"""How many rings, and the highest order: 18 is the third harmonic of six-fold patterns."""
ACROSS = 40
"""Pixels of the largest radius from which pixels are added up before: rings need no finer ones."""
NYQUIST = 0.9 * np.pi
"""Largest order of a ring for each pixel of its radius."""
RIDGE = 1e-3
"""Of the mean information on a harmonic: what it is taken to be 0 with, where masked pixels leave it open."""
FINE = 0.05
"""Pixels of radius over which a pattern that is made round is averaged before its profile is smoothed."""
STILL = 5.0
"""Standard errors of the mean from which a harmonic stands still on the detector: those of patterns that turn average
out."""
OFF = 0.1
"""Pixels from a pixel's middle, corner or side's middle, up to which the centre is taken to lie there."""
NEGATIVE = 0.01
"""Of the largest mean of a pixel: how far below 0 others may be if they are counts."""
PARTS = 3
"""Of a pixel along each side, over which its rings and angles are averaged."""
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
    layout = _Layout.of(scan, rings, orders, radius)
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


class _Layout:
    """Rings on a detector whose pixels are added up in squares of `bins`."""

    def __init__(self, scan: Scan4D, radii: FloatArray, orders: int, bins: int) -> None:
        self.detector, self.radii, self.orders, self.bins = scan.detector, radii, orders, bins
        self.pixel = float(np.sqrt(abs(np.linalg.det(np.asarray(scan.detector.matrix))))) * bins
        self.known = np.arange(orders + 1) <= NYQUIST * radii[:, None] / self.pixel
        self.pixels = math.prod(n // bins for n in scan.detector.shape)
        self._made: dict[tuple[float, float], Single] = {}

    @classmethod
    def of(cls, scan: Scan4D, rings: int, orders: int, radius: float | None) -> _Layout:
        detector = scan.detector
        away = np.linalg.norm(detector.vectors(), axis=-1)
        reach = float(min(away[0].min(), away[-1].min(), away[:, 0].min(), away[:, -1].min()))
        reach = reach if radius is None else radius
        if not 0 < reach <= away.max():
            most = f"{away.max():.4g} {detector.unit}"
            raise UsageError(f"expected a radius on the detector, up to {most}, got {reach:.4g}")
        pixel = float(np.sqrt(abs(np.linalg.det(np.asarray(detector.matrix)))))
        bins = max(1, int(reach / pixel / ACROSS))
        return cls(scan, np.linspace(0, reach, rings), orders, bins)

    def binned(self, patterns: NDArray[np.generic]) -> Single:
        """Patterns as rows of numbers, shape (n, pixels)."""
        good = self.detector.mask
        data = patterns if good.all() else np.where(good, patterns, 0)
        return self._small(data).reshape(len(data), -1)

    def _small(self, data: NDArray[np.generic]) -> Single:
        b = self.bins
        rows, columns = (n // b * b for n in data.shape[1:])
        if b == 1:
            return data.astype(np.float32)
        parts = data[:, :rows, :columns].reshape(len(data), rows // b, b, columns // b, b)
        return np.asarray(parts.sum(axis=(2, 4), dtype=np.float32))

    def pixelation(self, patterns: FloatArray, shifts: FloatArray) -> Iterator[tuple[Complex, Complex]]:
        """R_km / R_k0 for each centre that patterns have, of the mean pattern made round, and made alike under the
        symmetries of the pixels, which is the same where the centre lies on none.

        Args:
            patterns: the mean of those of each centre, binned, shape (centres, pixels). shifts: of the centres, pixels.
        """
        good = self._good()
        radius = np.array([np.linalg.norm(self._middle(shift), axis=1) for shift in shifts])
        group = np.rint(radius[:, good] / (FINE * self.pixel)).astype(np.int64).ravel()
        count = np.bincount(group)
        at, mean = (
            np.bincount(group, one[:, good].ravel())[count > 0] / count[count > 0] for one in (radius, patterns)
        )
        profile = interpolate.make_smoothing_spline(at, mean, count[count > 0].astype(np.float64))
        for own, shift, pattern in zip(radius, shifts, patterns, strict=True):
            even, alike = profile(np.minimum(own, at[-1])), self._symmetrised(pattern, shift)
            round_ = self._shares(even, shift)
            yield round_, round_ if alike is None else self._shares(alike, shift)

    def _shares(self, pattern: FloatArray, shift: FloatArray) -> Complex:
        """T_km / T_k0 of a pattern, 0 for rings without counts."""
        seen = self.split((pattern @ self.matrix(shift))[None].astype(np.float32))[0][0]
        level = seen[:, :1].real
        out: Complex = np.zeros_like(seen)
        return np.asarray(np.divide(seen, level, out=out, where=np.abs(level) > 1e-6 * np.abs(level).max()))

    def _symmetrised(self, pattern: FloatArray, shift: FloatArray) -> FloatArray | None:
        """The mean of a pattern and of those that the eight symmetries of square pixels make of it; None where the
        centre is on no such symmetry, or the pixels are not square, shape (pixels,)."""
        matrix = np.asarray(self.detector.matrix)
        centre = (np.asarray(self.detector.centre) + shift + 0.5) / self.bins - 0.5
        near = np.rint(2 * centre) / 2
        square = np.allclose(matrix @ matrix.T, self.pixel**2 / self.bins**2 * np.eye(2), rtol=1e-3)
        if not square or np.abs(centre - near).max() > OFF or (near[0] - near[1]) % 1:
            return None
        shape = [n // self.bins for n in self.detector.shape]
        away = np.moveaxis(np.indices(shape), 0, -1) - near
        total, count = np.zeros(shape), np.zeros(shape)
        flat, good = pattern.reshape(shape), self._good().reshape(shape)
        for swapped in (away, away[..., ::-1]):
            for signs in product((1, -1), repeat=2):
                at = np.rint(near + swapped * signs).astype(np.int64)
                inside = np.all((at >= 0) & (at < shape), axis=-1)
                row, column = np.where(inside[..., None], at, 0).transpose(2, 0, 1)
                inside &= good[row, column]
                total += np.where(inside, flat[row, column], 0)
                count += inside
        return np.asarray((total / np.maximum(count, 1)).ravel())

    def _good(self) -> NDArray[np.bool_]:
        """Binned pixels of which any part counts, shape (pixels,)."""
        return np.asarray(self._small(self.detector.mask[None])[0].ravel() > 0)

    def _middle(self, shift: FloatArray) -> FloatArray:
        """(kx, ky) of binned pixels from a centre that is shifted by rows and columns, shape (pixels, 2)."""
        vectors = self.detector.vectors() - np.asarray(self.detector.matrix) @ shift
        return np.asarray(self._small(np.moveaxis(vectors, -1, 0)).reshape(2, -1).T / self.bins**2, dtype=np.float64)

    def matrix(self, shift: FloatArray) -> Single:
        """From pixels to real and imaginary parts of all T_km and to the noise, shape (pixels, numbers)."""
        key = (float(shift[0]), float(shift[1]))
        if key not in self._made:
            self._made[key] = self._matrix(shift)
        return self._made[key]

    def _matrix(self, shift: FloatArray) -> Single:
        matrix, middle = np.asarray(self.detector.matrix), self._middle(shift)
        inside = (np.stack(np.meshgrid(*[np.arange(PARTS)] * 2), axis=-1).reshape(-1, 2) + 0.5) / PARTS - 0.5
        t = np.zeros((len(middle), self.known.size), dtype=np.complex128)
        hats = np.zeros((len(middle), len(self.radii)))
        for part in inside * self.bins @ matrix.T:  # a pixel counts what falls on all of it
            kx, ky = (middle + part).T
            mine = _hats(np.hypot(kx, ky), self.radii) / len(inside)
            turns = np.exp(-1j * np.arange(self.orders + 1) * np.arctan2(ky, kx)[:, None])
            t += (mine[:, :, None] * turns[:, None] * self.known).reshape(len(middle), -1)
            hats += mine
        if not self._good().all():
            t = _completed(t, self._good())
        beside = np.zeros_like(hats)
        beside[:, :-1] = hats[:, :-1] * hats[:, 1:]
        return np.concatenate([t.real, t.imag, hats**2, beside], axis=1).astype(np.float32)

    def split(self, out: Single) -> tuple[Complex, Single]:
        """Columns of the matrix back as T_km and noise."""
        k, m = self.known.shape
        real, imaginary, noise = np.split(out, [k * m, 2 * k * m], axis=1)
        return (real + 1j * imaginary).astype(np.complex64).reshape(-1, k, m), noise.reshape(-1, 2, k)

    def area(self) -> FloatArray:
        """Sum of each hat over all pixels, those that do not count too."""
        r = np.linalg.norm(self.detector.vectors(), axis=-1).ravel()
        return np.asarray(_hats(r, self.radii).sum(axis=0))


def _hats(r: FloatArray | Single, radii: FloatArray) -> FloatArray:
    """B_k(r), shape (len(r), rings): 1 at its radius, 0 at the next ones; beyond the last ring all are 0."""
    at = np.asarray(r, dtype=np.float64) / radii[1]
    return np.asarray(np.maximum(1 - np.abs(at[:, None] - np.arange(len(radii))), 0) * (at <= len(radii) - 1)[:, None])


def _completed(t: NDArray[np.complex128], good: NDArray[np.bool_]) -> NDArray[np.complex128]:
    """The same sums as if all pixels counted: where they do not, harmonics fitted to the others stand for them.

    Args:
        t: what each pixel adds to each T_km, shape (pixels, numbers). good: pixels that count, shape (pixels,).
    """
    waves = np.concatenate([t.real, t.imag], axis=1)
    waves = waves[:, np.abs(waves).max(axis=0) > 0]
    gram = waves[good].T @ waves[good]
    ridge = RIDGE * np.trace(gram) / len(gram)
    fit = np.linalg.solve(gram + ridge * np.eye(len(gram)), waves[good].T)
    out = np.zeros_like(t)
    out[good] = t[good] + (waves[~good] @ fit).T @ t[~good]
    return out
