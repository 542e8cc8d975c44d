"""How strong noise is at each frequency, in sectors of rings: measured in experiments, and wanted of grain."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from picostem.style.picture import Picture

RINGS, SECTORS = 24, 6
"""From 0 to the Nyquist frequency, and over half a turn."""

FLOOR = 1e-9
"""Power of a pixel, of greys from 0 to 1, well below that of rounding to 8 bit."""

FEWEST = 5
"""Frequencies that a sector of a ring must hold to have a level."""


def bins(rows: int, columns: int) -> NDArray[np.int64]:
    """Number of the sector of a ring that each frequency of an rfft2 lies in, RINGS × SECTORS for those in none."""
    y, x = np.meshgrid(np.fft.fftfreq(rows), np.fft.rfftfreq(columns), indexing="ij")
    ring = np.floor(np.hypot(x, y) / 0.5 * RINGS).astype(np.int64)
    sector = np.floor((np.arctan2(y, x) / np.pi + 0.5) * SECTORS).astype(np.int64) % SECTORS
    return np.where(ring < RINGS, ring * SECTORS + sector, RINGS * SECTORS)


@functools.lru_cache(maxsize=256)
def measured(picture: Picture) -> NDArray[np.float32]:
    """log10 of the noise's power in each bin, of greys from 0 to 1, white noise of variance s² being s² everywhere.

    It is the median over ln 2, which peaks of a lattice do not raise (exponentially distributed ordinates), of one Hann
    window over the whole picture, in which they are narrow. NaN where a bin holds fewer than FEWEST frequencies.
    """
    rows, columns = picture.data.shape
    taper = np.outer(np.hanning(rows + 2)[1:-1], np.hanning(columns + 2)[1:-1])
    data = picture.data.astype(np.float64)
    flat = taper * (data - np.sum(taper * data) / taper.sum())
    power = np.abs(np.fft.rfft2(flat)) ** 2 / np.sum(taper**2)
    place, level = bins(rows, columns), np.full(RINGS * SECTORS, np.nan)
    for index in range(RINGS * SECTORS):
        inside = power[place == index]
        if len(inside) >= FEWEST:
            level[index] = np.median(inside) / math.log(2)
    return np.asarray(np.log10(level + FLOOR), dtype=np.float32)


def decades(grain: Tensor) -> Tensor:
    """log10 of the mean power of patches of grain in each bin, (batch, bins); grain: (batch, 1, rows, columns)."""
    rows, columns = grain.shape[-2:]
    one, other = (torch.hann_window(n, periodic=False).to(grain) for n in (rows, columns))
    taper = one[:, None] * other
    power = torch.fft.rfft2(grain[:, 0] * taper).abs().square() / taper.square().sum()
    return torch.log10(power.flatten(1) @ _shares(rows, columns).to(grain) + FLOOR)


@functools.cache
def _shares(rows: int, columns: int) -> Tensor:
    """What each frequency counts in the mean over each bin, (frequencies, bins)."""
    place = bins(rows, columns).ravel()
    chosen = np.eye(RINGS * SECTORS + 1, dtype=np.float32)[place, :-1]
    return torch.from_numpy(chosen / np.maximum(chosen.sum(axis=0), 1))


def spectrum_difference(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean absolute difference in decades, over the bins that have a level; both (batch, bins)."""
    known = torch.isfinite(wanted)
    return (found - torch.where(known, wanted, found)).abs().sum() / known.sum().clamp(min=1)
