"""What repeats over a scan of a crystal, and where it does not: defects that no single pattern gives away.

Patterns differ more between the places of a unit cell than by a defect. Maps shifted by lattice vectors show what
should be at each position; what is left of them, against its own spread, is odd.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

NEAREST = 2.5
"""Positions from which on a distance can be a period."""
ALIKE = 0.6
"""Of the highest maximum of the autocorrelation, from which another one is of a lattice vector."""
APART = 0.3
"""Sine of the angle between two lattice vectors, at least."""
REACH = 3
"""Lattice vectors in each direction, over which maps are compared."""
REFINED, STEPS = 3, 4
"""Rounds in which vectors are fitted to maxima up to so many steps away."""
SURE = 3.0
"""Standard errors of an autocorrelation by noise, which maxima must exceed on average."""
CLIPPED = 3.0
"""Standard deviations beyond which a position, perhaps a defect, counts no more."""
FEWEST = 3
"""Positions with the same place in the cell that must tell what is usual there."""
SMOOTH = 1.0
"""Positions, standard deviation: the probe sees its neighbours' defect, too."""


def lattice_vectors(maps: FloatArray) -> FloatArray | None:
    """Two vectors, rows of (row, column) in scan positions, by which maps of shape (rows, columns, k) repeat; None if
    they do not: maxima of the maps' common autocorrelation, fitted to many of its maxima."""
    rows, columns, _ = maps.shape
    away = maps - np.median(maps, axis=(0, 1))
    scaled = np.clip(away / np.maximum(away.std(axis=(0, 1)), 1e-30), -CLIPPED, CLIPPED)
    size = (2 * rows, 2 * columns)
    power = np.abs(fft.rfft2(scaled, s=size, axes=(0, 1))) ** 2
    pairs = fft.irfft2(np.abs(fft.rfft2(np.ones((rows, columns)), s=size)) ** 2, s=size)
    half = min(rows, columns) // 2
    at = np.arange(-half, half + 1)
    whole = fft.irfft2(power.sum(axis=2), s=size) / np.maximum(pairs, 1)
    alike = whole[np.ix_(at, at)]
    row, col = np.nonzero(alike == ndimage.maximum_filter(alike, size=5))
    far = np.hypot(row - half, col - half)
    inner = (far > NEAREST) & (far < half - 2)
    row, col, far = row[inner], col[inner], far[inner]
    if not len(far):
        return None
    if not alike[half, half] > 0:
        return None
    strong = alike[row, col] > ALIKE * alike[row, col].max()
    if not strong.any():
        return None
    peaks = np.stack([row, col], axis=1)[strong][np.argsort(far[strong], kind="stable")] - half
    across = np.abs(peaks @ np.array([-peaks[0, 1], peaks[0, 0]])) / np.hypot(*peaks.T) / np.hypot(*peaks[0])
    if not (across > APART).any():
        return None
    vectors = np.array([peaks[0], peaks[np.argmax(across > APART)]], dtype=np.float64)
    for _ in range(REFINED):
        vectors = _refined(alike, vectors)
    noise = np.sqrt(maps.shape[2] / pairs[half, half])
    return vectors if np.mean(alike[tuple(_multiples(vectors, half)[1].T)]) > SURE * noise else None


def _multiples(vectors: FloatArray, half: int) -> tuple[IntArray, IntArray]:
    """How many of each vector, shape (n, 2), and where that is in an autocorrelation with its middle at `half`."""
    steps = np.array([step for step in product(range(-STEPS, STEPS + 1), repeat=2) if step != (0, 0)])
    at = np.rint(steps @ vectors).astype(np.int64) + half
    inner = np.all((at >= 3) & (at <= 2 * half - 3), axis=1)
    return steps[inner], at[inner]


def _refined(alike: FloatArray, vectors: FloatArray) -> FloatArray:
    """Vectors fitted to the maxima of the autocorrelation near their multiples."""
    half, found = len(alike) // 2, []
    steps, places = _multiples(vectors, half)
    for at in places:
        near = alike[at[0] - 2 : at[0] + 3, at[1] - 2 : at[1] + 3]
        top = at + np.array(np.unravel_index(int(near.argmax()), near.shape)) - 2
        around = alike[top[0] - 1 : top[0] + 2, top[1] - 1 : top[1] + 2]
        found.append(top - half + [_vertex(around[:, 1]), _vertex(around[1])])
    if len(steps) < FEWEST:
        return vectors
    return np.asarray(np.linalg.lstsq(steps.astype(np.float64), np.array(found), rcond=None)[0])


def _vertex(values: FloatArray) -> float:
    """Where a parabola through three values is highest, from the middle one."""
    bend = values[0] - 2 * values[1] + values[2]
    return float(np.clip((values[0] - values[2]) / (2 * bend), -0.5, 0.5)) if bend < 0 else 0.0


def unrepeated(maps: FloatArray, vectors: FloatArray) -> FloatArray:
    """Maps less their median over positions at the same place in the cell, smoothed as the probe is wide, of the shape
    of the maps; NaN where fewer than FEWEST tell what is usual."""
    rows, columns, count = maps.shape
    place = np.indices((rows, columns), dtype=np.float64)
    seen = []
    for step in product(range(-REACH, REACH + 1), repeat=2):
        if step != (0, 0):
            at = place + (np.array(step) @ vectors)[:, None, None]
            parts = [ndimage.map_coordinates(maps[:, :, k], at, order=3, cval=np.nan) for k in range(count)]
            seen.append(np.stack(parts, axis=2))
    others = np.array(seen)
    told = np.isfinite(others).all(axis=3).sum(axis=0) >= FEWEST
    usual = np.full(maps.shape, np.nan)
    usual[told] = np.nanmedian(others[:, told], axis=0)
    away = maps - usual
    weight = ndimage.gaussian_filter(told.astype(np.float64), SMOOTH)[:, :, None]
    filled = ndimage.gaussian_filter(np.where(told[:, :, None], away, 0), (SMOOTH, SMOOTH, 0))
    return np.where(told[:, :, None], filled / np.maximum(weight, 1e-12), np.nan)


def unusual(maps: FloatArray) -> FloatArray | None:
    """How odd each position is, (rows, columns): the robust Mahalanobis distance, in standard deviations, of what is
    left of maps of shape (rows, columns, k) when what repeats is taken off; None where nothing repeats, NaN where
    nothing is known."""
    from sklearn.covariance import MinCovDet

    vectors = lattice_vectors(maps)
    if vectors is None:
        return None
    left = unrepeated(maps, vectors)
    known = np.isfinite(left).all(axis=2)
    if known.sum() < 10 * (maps.shape[2] + 1):
        return None
    scaled = left[known] / np.maximum(left[known].std(axis=0), 1e-30)
    out = np.full(known.shape, np.nan)
    out[known] = np.sqrt(MinCovDet(random_state=0).fit(scaled).mahalanobis(scaled))
    return out
