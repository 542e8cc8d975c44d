"""What an atom and its surroundings look like, in numbers: patches and their components, Zernike moments, neighbours.

Zernike moments of a patch f on the unit disc (Teague, J. Opt. Soc. Am. 70 (1980) 920):

    A_nm = (n + 1)/pi sum_pixels f(rho, theta) R_nm(rho) exp(-i m theta) dA,   n - m even, 0 <= m <= n

|A_nm| does not change when the patch is turned.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from picostem.atoms.table import AtomTable
from picostem.errors import DataError, UsageError
from picostem.image import Image

FloatArray = NDArray[np.float64]

SIDE = 13
"""Pixels of a patch."""
RADIUS = 2.0
"""Standard deviations of a peak, half a patch's side: the peak with little of its neighbours."""


def patches(image: Image, table: AtomTable, radius: float = RADIUS) -> FloatArray:
    """Squares around atoms, grey levels above the background over the height of the atom's peak, shape (n, SIDE, SIDE).

    The middle pixel is at the atom, those at the border `radius` median widths of a peak away; rows go down. Patches
    that reach beyond the image are NaN.

    Args:
        table: atoms of this image.

    Raises:
        UsageError: the table is of an image of another shape.
    """
    if table.shape != image.data.shape:
        raise UsageError(f"{image.name}: its shape is {image.data.shape}, that of the atoms' image {table.shape}")
    if not len(table):
        return np.empty((0, SIDE, SIDE))
    unit = np.ones(2) if table.pixel_size is None else np.asarray(table.pixel_size)
    width = float(np.median(table.width)) * np.sqrt(unit.prod()) / unit  # pixels along rows and columns
    step = 2 * radius * width / (SIDE - 1)
    smooth = ndimage.gaussian_filter(image.data.astype(np.float64), np.sqrt(np.maximum(step**2 - 1, 0)) / 2, truncate=2)
    offset = np.arange(SIDE) - (SIDE - 1) / 2
    row = table.row[:, None] + offset * step[0]
    col = table.col[:, None] + offset * step[1]
    shape = (len(table), SIDE, SIDE)
    at = np.stack([np.broadcast_to(row[:, :, None], shape), np.broadcast_to(col[:, None, :], shape)])
    found = ndimage.map_coordinates(smooth, at, order=1, mode="nearest")
    height = np.maximum(table.intensity, 1e-300) / (2 * np.pi * table.width**2)
    found = (found - table.background[:, None, None]) / height[:, None, None]
    last = np.array(image.data.shape) - 1
    beyond = (row[:, 0] < 0) | (col[:, 0] < 0) | (row[:, -1] > last[0]) | (col[:, -1] > last[1])
    found[beyond] = np.nan
    return np.asarray(found)


@dataclass(frozen=True, eq=False)
class Components:
    """Patches as sums of a few.

    Attributes:
        weight: of each component in each patch, NaN where the patch is, shape (n, k). part: shape (k, SIDE, SIDE).
            mean: what they are added to, shape (SIDE, SIDE).
    """

    weight: FloatArray
    part: FloatArray
    mean: FloatArray


def components(patch: FloatArray, count: int, method: Literal["pca", "nmf"] = "pca") -> Components:
    """Principal components of patches, or parts none of which is negative.

    Args:
        patch: shape (n, rows, columns), NaN where there is none. count: of components.

    Raises:
        UsageError: an unknown method, or no components.
        DataError: there are fewer patches than components.
    """
    from sklearn.decomposition import NMF, PCA
    from sklearn.exceptions import ConvergenceWarning

    if method not in ("pca", "nmf"):
        raise UsageError(f"unknown method {method!r}: expected pca or nmf")
    flat = patch.reshape(len(patch), -1)
    known = np.isfinite(flat).all(axis=1)
    most = min(int(known.sum()), flat.shape[1])
    if count < 1:
        raise UsageError(f"{count} components were asked for: expected one or more")
    if count > most:
        raise DataError(f"{most} patches inside the image have no {count} components: ask for fewer")
    weight, mean = np.full((len(patch), count), np.nan), np.zeros(flat.shape[1])
    if method == "pca":
        model = PCA(count, svd_solver="covariance_eigh").fit(flat[known])
        mean, weight[known] = model.mean_, model.transform(flat[known])
    else:
        model = NMF(count, init="nndsvda", random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # it ends after 200 steps, near enough
            weight[known] = model.fit_transform(np.maximum(flat[known], 0))
    side = patch.shape[1:]
    return Components(weight, model.components_.reshape(count, *side), mean.reshape(side))


def zernike(patch: FloatArray, order: int) -> NDArray[np.complex128]:
    """Moments A_nm up to n = `order`, m >= 0, in the order of `zernike_orders`, shape (n, k); theta from row to row.

    Args:
        patch: squares whose inner circle is the unit disc, shape (n, side, side).
    """
    side = patch.shape[-1]
    y, x = np.mgrid[:side, :side] * 2 / (side - 1) - 1
    rho, theta = np.hypot(x, y), np.arctan2(y, x)
    inside = np.maximum(0, np.minimum(1, (1 - rho) * (side - 1) / 2 + 0.5))  # share of the pixel in the disc
    area = inside * np.pi / inside.sum()
    base = [
        (n + 1) / np.pi * _radial(n, m, np.minimum(rho, 1)) * np.exp(-1j * m * theta) * area
        for n, m in zernike_orders(order)
    ]
    return np.asarray(patch.reshape(len(patch), side**2) @ np.array(base).reshape(len(base), side**2).T)


def zernike_orders(order: int) -> list[tuple[int, int]]:
    """All n, m with n up to `order`, 0 <= m <= n, n - m even."""
    return [(n, m) for n in range(order + 1) for m in range(n % 2, n + 1, 2)]


def _radial(n: int, m: int, rho: FloatArray) -> FloatArray:
    """R_nm."""
    out = np.zeros_like(rho)
    for k in range((n - m) // 2 + 1):
        bottom = math.factorial(k) * math.factorial((n + m) // 2 - k) * math.factorial((n - m) // 2 - k)
        out += (-1) ** k * math.factorial(n - k) / bottom * rho ** (n - 2 * k)
    return out


def zernike_real(moments: NDArray[np.complex128], order: int) -> FloatArray:
    """Real and imaginary parts of moments side by side, those of m = 0 once, shape (n, (order + 1)(order + 2)/2)."""
    turning = np.array([m > 0 for _, m in zernike_orders(order)])
    return np.hstack([moments.real, moments.imag[:, turning]])


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest neighbours of atoms, by distance; NaN, and index -1, where there are no more atoms.

    Attributes:
        distance: in the unit of the places, shape (n, k). angle: radians from columns towards rows, shape (n, k).
        index: shape (n, k).
    """

    distance: FloatArray
    angle: FloatArray
    index: NDArray[np.int64]

    @classmethod
    def of(cls, place: FloatArray, count: int) -> Neighbours:
        """Neighbours of places, row and column in units of one length, shape (n, 2)."""
        n = len(place)
        distance = np.full((n, count), np.nan)
        angle, index = distance.copy(), np.full((n, count), -1, dtype=np.int64)
        if n > 1:
            have = min(count, n - 1)
            far, near = cKDTree(place).query(place, have + 1)
            distance[:, :have], index[:, :have] = far[:, 1:], near[:, 1:]
            away = place[near[:, 1:]] - place[:, None]
            angle[:, :have] = np.arctan2(away[..., 0], away[..., 1])
        return cls(distance, angle, index)

    def order(self, fold: int, count: int | None = None) -> FloatArray:
        """|mean of exp(i fold angle)| over the `count` nearest, bond-orientational order, shape (n,)."""
        return np.asarray(np.abs(np.exp(1j * fold * self.angle[:, :count]).mean(axis=1)))

    def gaps(self, count: int) -> FloatArray:
        """Angles between the `count` nearest in turn, radians, the smallest first, shape (n, count)."""
        angle = np.sort(self.angle[:, :count], axis=1)
        return np.sort(np.diff(angle, axis=1, append=angle[:, :1] + 2 * np.pi), axis=1)
