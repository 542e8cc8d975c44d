"""Rings on a detector: from the pixels of a pattern to its angular harmonics, and what square pixels add to them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import interpolate

from picostem.errors import UsageError
from picostem.stem4d.scan import Scan4D

FloatArray = NDArray[np.float64]
Single = NDArray[np.float32]
Complex = NDArray[np.complex64]

ACROSS = 40
"""Pixels of the largest radius from which pixels are added up before: rings need no finer ones."""
NYQUIST = 0.9 * np.pi
"""Largest order of a ring for each pixel of its radius."""
RIDGE = 1e-3
"""Of the mean information on a harmonic: what it is taken to be 0 with, where masked pixels leave it open."""
FINE = 0.05
"""Pixels of radius over which a pattern that is made round is averaged before its profile is smoothed."""
OFF = 0.1
"""Pixels from a pixel's middle, corner or side's middle, up to which the centre is taken to lie there."""
PARTS = 3
"""Of a pixel along each side, over which its rings and angles are averaged."""


class Rings:
    """Rings on a detector whose pixels are added up in squares of `bins`."""

    def __init__(self, scan: Scan4D, radii: FloatArray, orders: int, bins: int) -> None:
        self.detector, self.radii, self.orders, self.bins = scan.detector, radii, orders, bins
        self.pixel = float(np.sqrt(abs(np.linalg.det(np.asarray(scan.detector.matrix))))) * bins
        self.known = np.arange(orders + 1) <= NYQUIST * radii[:, None] / self.pixel
        self.pixels = math.prod(n // bins for n in scan.detector.shape)
        self._made: dict[tuple[float, float], Single] = {}

    @classmethod
    def of(cls, scan: Scan4D, rings: int, orders: int, radius: float | None) -> Rings:
        """For a scan; without a radius, up to the largest circle on the detector.

        Raises:
            UsageError: a radius that is not on the detector.
        """
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
