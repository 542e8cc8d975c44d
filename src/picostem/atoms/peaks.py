"""Peaks of atoms: 2D Gaussians on a small stamp of pixels each, drawn and summed many at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import sparse

FloatArray = NDArray[np.float64]
StampArray = NDArray[np.float32]

REACH = 3.7  # standard deviations that a stamp reaches to: a peak is 1/1000 of its height there
BEYOND = 2.0  # standard deviations beyond the border that a peak may lie and still be seen
BATCH = 512  # peaks at a time: what fits into a processor's cache


@dataclass(frozen=True, eq=False)
class Peaks:
    """Peaks Q / (2π √|S|) exp(-d·S⁻¹d / 2) at distances d = (Δrow, Δcol), with S = form · exp(2 swell).

    Attributes:
        place: row and column, pixels, shape (n, 2). intensity: Q, shape (n,). swell: logarithm of each peak's width
            over the common one, shape (n,). form: common covariance of row and column, pixels², shape (2, 2).
    """

    place: FloatArray
    intensity: FloatArray
    swell: FloatArray
    form: FloatArray

    @classmethod
    def at(cls, place: FloatArray, intensity: FloatArray, sigma: tuple[float, float]) -> Peaks:
        """Peaks of one width, along rows and columns, pixels."""
        return cls(place, intensity, np.zeros(len(place)), np.diag(np.square(sigma)))

    def __len__(self) -> int:
        return len(self.place)

    def __getitem__(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> Peaks:
        return Peaks(self.place[chosen], self.intensity[chosen], self.swell[chosen], self.form)

    @property
    def sigma(self) -> tuple[float, float]:
        """Standard deviations along rows and columns, pixels."""
        return float(np.sqrt(self.form[0, 0])), float(np.sqrt(self.form[1, 1]))

    @cached_property
    def precision(self) -> FloatArray:
        """Inverse of the common form, shape (2, 2)."""
        return np.asarray(np.linalg.inv(self.form))

    @property
    def half(self) -> tuple[int, int]:
        """Pixels that stamps reach up and down, left and right of the pixel nearest to the peak."""
        row, col = (int(np.ceil(REACH * s)) for s in self.sigma)
        return row, col

    @property
    def margin(self) -> tuple[int, int]:
        """Pixels beyond the image's border that a peak's centre may lie."""
        row, col = (int(np.ceil(BEYOND * s)) for s in self.sigma)
        return row, col

    def joined(self, place: FloatArray, intensity: FloatArray) -> Peaks:
        """These and further ones of the common width."""
        swell = np.concatenate([self.swell, np.zeros(len(place))])
        both = np.concatenate([self.place, place]), np.concatenate([self.intensity, intensity])
        return Peaks(*both, swell, self.form)


@dataclass(frozen=True, eq=False)
class Stamps:
    """Some peaks on their stamps.

    Attributes:
        members: which peaks. nearest: pixels, shape (n, 2). first: upper left ones in the image padded by `half` and
            `margin`, shape (n, 2). off: how far the nearest pixels lie from the peaks along rows and columns, pixels,
            shape (n, 2). values: peaks of intensity 1, shape (n, side, side).
    """

    members: slice
    nearest: NDArray[np.intp]
    first: NDArray[np.intp]
    off: FloatArray
    values: StampArray


def stamps(peaks: Peaks) -> Iterator[Stamps]:
    """All peaks on their stamps, a batch at a time."""
    for start in range(0, len(peaks), BATCH):
        members = slice(start, min(start + BATCH, len(peaks)))
        place = peaks.place[members]
        nearest = np.rint(place).astype(np.intp)
        off = nearest - place
        yield Stamps(members, nearest, nearest + peaks.margin, off, gaussian(peaks, off, peaks.swell[members]))


def gaussian(peaks: Peaks, off: FloatArray, swell: FloatArray) -> StampArray:
    """Peaks of intensity 1 on stamps whose middles lie `off`, shape (n, 2), from them; shape (n, side, side)."""
    shrink = np.exp(-2 * swell)
    (rr, rc), (_, cc) = peaks.precision
    slope = shrink[:, None] * (off @ peaks.precision)
    terms = np.zeros((len(off), 3, 3))
    terms[:, 0, 0] = -np.sum(off * slope, axis=1) / 2
    terms[:, 1, 0], terms[:, 0, 1] = -slope.T
    terms[:, 2, 0], terms[:, 1, 1], terms[:, 0, 2] = -rr / 2 * shrink, -rc * shrink, -cc / 2 * shrink
    values = polynomials(terms, peaks.half)
    np.exp(values, out=values)
    height = np.sqrt(rr * cc - rc**2) / (2 * np.pi) * shrink
    values *= height.astype(np.float32)[:, None, None]
    return values


def render(peaks: Peaks, shape: tuple[int, int]) -> FloatArray:
    """The sum of all peaks on an image's pixels."""
    canvas = Canvas(peaks, shape)
    for some in stamps(peaks):
        canvas.add(some, [some.values])
    return np.asarray(canvas.images[0], dtype=np.float64)


class Canvas:
    """Images that stamps, times their peaks' intensities, are added to."""

    def __init__(self, peaks: Peaks, shape: tuple[int, int], images: int = 1) -> None:
        self._peaks, self._intensity = peaks, peaks.intensity.astype(np.float32)
        self._inside = _inside(peaks, shape)
        top, left = (part.start for part in self._inside)
        self._padded: StampArray = np.zeros((images, shape[0] + 2 * top, shape[1] + 2 * left), dtype=np.float32)

    def add(self, some: Stamps, values: Sequence[StampArray]) -> None:
        """Add values to each image, shape (n, side, side)."""
        wide = self._padded.shape[2]
        low = int(some.first[:, 0].min()) * wide
        corner = (some.first[:, 0] * wide + some.first[:, 1] - low).astype(np.int32)
        down, across = (np.arange(n, dtype=np.int32) for n in some.values.shape[1:])
        pixels = (corner[:, None] + (down[:, None] * wide + across).ravel()).ravel()
        starts = np.arange(0, len(pixels) + 1, len(down) * len(across), dtype=np.int32)
        shape = int(pixels.max()) + 1, len(corner)
        for image, one in zip(self._padded, values, strict=True):
            drawn = sparse.csc_array((one.ravel(), pixels, starts), shape=shape)  # a column is a stamp
            image.ravel()[low : low + shape[0]] += drawn @ self._intensity[some.members]

    @property
    def images(self) -> StampArray:
        """What was added, without what lies beyond the border, shape (images, rows, columns)."""
        return self._padded[:, *self._inside]

    def windows(self) -> list[StampArray]:
        """All stamps of each image, with what lies beyond the border."""
        return [_windows(one, self._peaks) for one in self._padded]


def _inside(peaks: Peaks, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The image in its padded one."""
    top, left = (h + m for h, m in zip(peaks.half, peaks.margin, strict=True))
    return slice(top, top + shape[0]), slice(left, left + shape[1])


def windows(data: NDArray[np.floating], peaks: Peaks) -> StampArray:
    """All stamps of an image padded with 0: windows(...)[first[:, 0], first[:, 1]] has shape (n, side, side)."""
    inside = _inside(peaks, data.shape)
    padded: StampArray = np.zeros(
        [n + 2 * part.start for n, part in zip(data.shape, inside, strict=True)], dtype=np.float32
    )
    padded[inside] = data
    return _windows(padded, peaks)


def _windows(padded: StampArray, peaks: Peaks) -> StampArray:
    return sliding_window_view(padded, (2 * peaks.half[0] + 1, 2 * peaks.half[1] + 1))


@cache
def _powers(half: tuple[int, int], order: int) -> StampArray:
    """i^a j^b, a, b up to an order, of the pixels of a stamp counted from its middle, ((order + 1)², pixels)."""
    down, across = (np.arange(-h, h + 1) ** np.arange(order + 1)[:, None] for h in half)
    both = down[:, None, :, None] * across[None, :, None, :]
    return both.reshape((order + 1) ** 2, -1).astype(np.float32)


def product(one: FloatArray, other: FloatArray) -> FloatArray:
    """Terms of the product of two linear functions of i and j, whose terms are of (1, i, j), (n, 3); (n, 3, 3)."""
    out = np.zeros((len(one), 3, 3))
    out[:, 0, 0], out[:, 2, 0], out[:, 0, 2] = (one * other).T
    for at, (k, m) in (((1, 0), (0, 1)), ((0, 1), (0, 2)), ((1, 1), (1, 2))):
        out[:, *at] = one[:, k] * other[:, m] + one[:, m] * other[:, k]
    return out


def polynomials(terms: FloatArray, half: tuple[int, int]) -> StampArray:
    """Sums of terms times i^a j^b on stamps, i and j counted from their middles, shape (n, side, side).

    Args:
        terms: shape (n, order + 1, order + 1).
    """
    flat = terms.reshape(len(terms), -1).astype(np.float32) @ _powers(half, terms.shape[1] - 1)
    return np.asarray(flat.reshape(-1, 2 * half[0] + 1, 2 * half[1] + 1))


def moments(data: StampArray, off: FloatArray, order: int) -> FloatArray:
    """Sums over stamps of data · x^a · y^b for a, b up to an order, shape (order + 1, order + 1, n).

    x = i + off, and so on: taken of whole pixels for all stamps at once, and moved.
    """
    n, *side = data.shape
    summed = _powers((side[0] // 2, side[1] // 2), order) @ data.reshape(n, -1).T
    return moved(summed.reshape(order + 1, order + 1, n).astype(np.float64), off)


def moved(sums: FloatArray, off: FloatArray) -> FloatArray:
    """Moments of x = i + off, y = j + off from those of i and j, in place, shape (order + 1, order + 1, ..., n)."""
    order = len(sums) - 1
    for by_power, by in ((sums, off[:, 0]), (sums.swapaxes(0, 1), off[:, 1])):
        for least in range(1, order + 1):
            for power in range(order, least - 1, -1):
                by_power[power] += by * by_power[power - 1]
    return sums
