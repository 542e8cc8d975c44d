"""One pass over a scan: counts, first and second moments of every pattern, virtual images and the mean pattern."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from picostem.errors import UsageError
from picostem.physics import FloatArray
from picostem.stem4d.scan import Scan4D

CHUNK_BYTES = 2**22  # of counts turned to floating point at a time: they are summed four times while the cache has them
MOST_THREADS = 8
EXACT_BYTES = 2  # counts of at most two bytes are whole numbers of 24 bits, which single precision holds


@dataclass(frozen=True, eq=False)
class Moments:
    """What is summed over the pixels of every pattern; only pixels of the detector's mask count.

    Attributes:
        counts: sum of the pixels, shape (rows, columns) of the scan.
        mean: (row, column) of the centre of mass in pixels, shape (rows, columns, 2); NaN where counts <= 0.
        spread: mean of d d^T, d the (row, column) from there in pixels, shape (rows, columns, 2, 2); NaN likewise.
        pattern: mean of all patterns, shape of the detector; 0 outside its mask.
        images: sums weighted by masks, shape (masks, rows, columns).
    """

    counts: FloatArray
    mean: FloatArray
    spread: FloatArray
    pattern: FloatArray
    images: FloatArray


def accumulate(scan: Scan4D, masks: Sequence[ArrayLike] = ()) -> Moments:
    """Counts, centre and spread of every pattern, its sums under masks, and the mean pattern, each pattern read once.

    Along each row of pixels, sums of I, x I and x² I are products of a matrix and a vector; these are summed with
    powers of y in double precision. Nothing is subtracted from the counts and none are left out. Counts of one or two
    bytes are taken as 32-bit floating point numbers, all others as 64-bit ones. Memory: one block of the scan, and 4 MB
    a thread.

    Args:
        scan: the patterns.
        masks: of the detector's shape: weights, or True where a pixel counts. They lie still on the detector, whatever
            the descan.

    Raises:
        UsageError: a mask of another shape.
    """
    shape = scan.detector.shape
    for mask in masks:
        if np.shape(mask) != tuple(shape):
            raise UsageError(f"{scan.name}: a mask has shape {np.shape(mask)}, the patterns {tuple(shape)}")
    positions = scan.shape[0] * scan.shape[1]
    powers, images = np.empty((positions, 3, 3)), np.empty((positions, len(masks)))
    summers = [_Summer(scan, masks) for _ in range(min(os.cpu_count() or 1, MOST_THREADS))]
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(len(summers)) as pool:
        for where, block in scan.blocks():
            starts = iter(range(0, len(block), summers[0].step))  # all take from it until nothing is left
            list(pool.map(_Summer.add, summers, *map(repeat, (block, starts, powers[where], images[where]))))
    grid = scan.shape
    counts, mean, spread = _central(powers, shape)
    return Moments(
        counts.reshape(grid),
        mean.reshape(*grid, 2),
        spread.reshape(*grid, 2, 2),
        np.sum([summer.total for summer in summers], axis=0).reshape(shape) / positions,
        np.ascontiguousarray(images.T).reshape(-1, *grid),
    )


class _Summer:
    """One thread's share of the sums, with its memory; x and y are column and row from the middle of the detector."""

    def __init__(self, scan: Scan4D, masks: Sequence[ArrayLike]) -> None:
        rows, columns = scan.detector.shape
        dtype = np.float32 if np.dtype(scan.data.dtype).itemsize <= EXACT_BYTES else np.float64
        self.step = max(1, CHUNK_BYTES // (rows * columns * np.dtype(dtype).itemsize))
        self.x_powers = _powers(columns).astype(dtype)
        self.y_powers = _powers(rows).T
        self.ignored = None if scan.detector.mask.all() else ~scan.detector.mask
        self.weights = [np.asarray(mask, dtype).ravel() for mask in masks]
        self.ones = np.ones(self.step, dtype)
        self.chunk = np.empty((self.step, rows, columns), dtype)
        self.along_rows = np.empty((3, self.step * rows), dtype)
        self.total = np.zeros(rows * columns)

    def add(self, block: NDArray[Any], starts: Iterator[int], powers: FloatArray, images: FloatArray) -> None:
        """Sums of x^m y^n I into powers[:, m, n], those under masks into images, of all patterns into the total."""
        rows, columns = block.shape[1:]
        for start in starts:
            here = slice(start, min(start + self.step, len(block)))
            n = here.stop - start
            chunk = self.chunk[:n]
            np.copyto(chunk, block[here])
            if self.ignored is not None:
                np.copyto(chunk, 0, where=self.ignored)
            lines, flat = chunk.reshape(-1, columns), chunk.reshape(n, -1)
            along_rows = self.along_rows[:, : n * rows]
            for power, out in zip(self.x_powers, along_rows, strict=True):
                np.dot(lines, power, out=out)
            powers[here] = np.moveaxis(along_rows.reshape(3, n, rows).astype(float) @ self.y_powers, 0, 1)
            for i, weight in enumerate(self.weights):
                images[here, i] = flat @ weight
            np.add(self.total, self.ones[:n] @ flat, out=self.total)


def _powers(n: int) -> FloatArray:
    """1, x and x² of n pixels, x from their middle, shape (3, n)."""
    x = np.arange(n) - (n - 1) / 2
    return np.stack([np.ones(n), x, x * x])


def _central(powers: FloatArray, shape: tuple[int, int]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Counts, shape (n,), centres (row, column), shape (n, 2), and spread about them, shape (n, 2, 2)."""
    counts = powers[:, 0, 0]
    means = powers / np.where(counts > 0, counts, np.nan)[:, None, None]
    middle = np.stack([means[:, 0, 1], means[:, 1, 0]], axis=1)
    second = np.stack([means[:, 0, 2], means[:, 1, 1], means[:, 1, 1], means[:, 2, 0]], axis=1).reshape(-1, 2, 2)
    return counts, middle + (np.array(shape) - 1) / 2, second - middle[:, :, None] * middle[:, None, :]
