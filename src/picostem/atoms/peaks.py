"""Peaks of atoms: 2D Gaussians on a small stamp of pixels each, drawn and summed many at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
StampArray = NDArray[np.float32]

REACH = 3.7  # standard deviations that a stamp reaches to: a peak is 1/1000 of its height there
BEYOND = 2.0  # standard deviations beyond the border that a peak may lie and still be seen
BATCH = 1024  # peaks at a time: what fits into a processor's cache


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

    @property
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
            `margin`, shape (n, 2). x, y: distances along rows and columns, pixels, shape (n, side). values: peaks of
            intensity 1, shape (n, side, side).
    """

    members: slice
    nearest: NDArray[np.intp]
    first: NDArray[np.intp]
    x: StampArray
    y: StampArray
    values: StampArray


def stamps(peaks: Peaks) -> Iterator[Stamps]:
    """All peaks on their stamps, a batch at a time."""
    for start in range(0, len(peaks), BATCH):
        members = slice(start, min(start + BATCH, len(peaks)))
        place = peaks.place[members]
        nearest = np.rint(place).astype(np.intp)
        x, y = (
            (np.arange(-half, half + 1) + (nearest[:, k] - place[:, k])[:, None]).astype(np.float32)
            for k, half in enumerate(peaks.half)
        )
        yield Stamps(members, nearest, nearest + peaks.margin, x, y, gaussian(peaks, x, y, peaks.swell[members]))


def gaussian(peaks: Peaks, x: StampArray, y: StampArray, swell: FloatArray) -> StampArray:
    """Peaks of intensity 1 at distances (n, side) along rows and columns, shape (n, side, side)."""
    shrink = np.exp(-2 * swell)[:, None]
    (rr, rc), (_, cc) = peaks.precision
    height = np.sqrt(rr * cc - rc**2) / (2 * np.pi) * shrink
    row = height.astype(np.float32) * np.exp((-0.5 * rr * shrink).astype(np.float32) * x**2)
    values: StampArray = row[:, :, None] * np.exp((-0.5 * cc * shrink).astype(np.float32) * y**2)[:, None, :]
    if rc != 0:
        values *= np.exp((((-rc * shrink).astype(np.float32) * x)[:, :, None]) * y[:, None, :])
    return values


def render(peaks: Peaks, shape: tuple[int, int]) -> FloatArray:
    """The sum of all peaks on an image's pixels."""
    canvas = Canvas(peaks, shape)
    for some in stamps(peaks):
        canvas.add(some, peaks.intensity[some.members, None, None].astype(np.float32) * some.values)
    return canvas.image


class Canvas:
    """An image that stamps are added to."""

    def __init__(self, peaks: Peaks, shape: tuple[int, int]) -> None:
        self._top, self._left = (h + m for h, m in zip(peaks.half, peaks.margin, strict=True))
        self._shape, self._wide = shape, shape[1] + 2 * self._left
        self._total = np.zeros((shape[0] + 2 * self._top) * self._wide)

    def add(self, some: Stamps, values: StampArray) -> None:
        """Add values, shape (n, side, side)."""
        low = int(some.first[:, 0].min()) * self._wide
        corner = some.first[:, 0] * self._wide + some.first[:, 1] - low
        inner = np.arange(values.shape[1])[:, None] * self._wide + np.arange(values.shape[2])
        summed = np.bincount((corner[:, None] + inner.ravel()).ravel(), values.ravel())
        self._total[low : low + len(summed)] += summed

    @property
    def image(self) -> FloatArray:
        """What was added, without what lies beyond the border."""
        (rows, columns), top, left = self._shape, self._top, self._left
        return self._total.reshape(-1, self._wide)[top : top + rows, left : left + columns]


def windows(data: FloatArray, peaks: Peaks) -> StampArray:
    """All stamps of an image padded with 0: windows(...)[first[:, 0], first[:, 1]] has shape (n, side, side)."""
    padded: StampArray = np.pad(
        data.astype(np.float32), [(h + m, h + m) for h, m in zip(peaks.half, peaks.margin, strict=True)]
    )
    return sliding_window_view(padded, (2 * peaks.half[0] + 1, 2 * peaks.half[1] + 1))


def moments(data: StampArray, x: StampArray, y: StampArray, order: int) -> FloatArray:
    """Sums over stamps of data · x^a · y^b for a, b up to an order, shape (n, order + 1, order + 1)."""
    return (powers(x, order) @ (data @ powers(y, order).transpose(0, 2, 1))).astype(np.float64)


def powers(offset: StampArray, order: int) -> StampArray:
    """offset^k, shape (n, order + 1, side)."""
    out = np.empty((len(offset), order + 1, offset.shape[1]), dtype=np.float32)
    out[:, 0] = 1
    for k in range(order):
        np.multiply(out[:, k], offset, out=out[:, k + 1])
    return out
