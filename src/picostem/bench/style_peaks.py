"""Atoms invented, lost or moved by a style: columns of a styled image against those of its noise-free content.

Whether a column is there is read from the brightness at its place, not from whether a maximum is found there: two
columns that the microscope does not resolve are one maximum or two as the noise will have it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from picostem.errors import DataError
from picostem.style.picture import Picture

FloatArray = NDArray[np.float64]

BRIGHT = 0.5
"""A column is a maximum above this share of the way from the dark between the atoms (5 % of the pixels are darker) to
the brightest columns (0.5 % of the pixels are brighter) of the noise-free image."""

KEPT = 0.5
"""Share of its brightness that a column must have in the other image, on the same scale, to be there too."""

SMOOTHING = 0.3
"""Å, standard deviation of the Gaussian that both images are smoothed with: less than the width of a column."""

NEAR = 0.5
"""Å, within which columns are the same: half the shortest distance at which an image resolves two of them."""


@dataclass(frozen=True)
class Matched:
    """Columns of a styled image against those of its content.

    Attributes:
        count: bright columns of the content, those near the border left out.
        invented: bright columns of the styled image where the content has less than KEPT of their brightness.
        lost: bright columns of the content where the styled image has less than KEPT of theirs.
        displacement: rms distance of matched columns, Å. mean_displacement: length of their mean shift, Å.
    """

    count: int
    invented: int
    lost: int
    displacement: float
    mean_displacement: float


def match_columns(styled: Picture, content: Picture) -> Matched:
    """Find the columns of both images, and match them.

    Args:
        styled, content: of one shape and pixel size; the greys of the first are brought to those of the second by the
            straight line that fits best.

    Raises:
        DataError: shapes or pixel sizes differ, or the content has no bright column.
    """
    if styled.data.shape != content.data.shape or styled.pixel_size != content.pixel_size:
        raise DataError(
            f"columns of {styled.name} and {content.name} cannot be matched: expected one shape and pixel size, got "
            f"{styled.data.shape} at {styled.pixel_size:g} Å and {content.data.shape} at {content.pixel_size:g} Å"
        )
    px = content.pixel_size
    clean, other = (ndimage.gaussian_filter(p.data.astype(np.float64), SMOOTHING / px) for p in (content, styled))
    gain, offset = np.polyfit(other.ravel(), clean.ravel(), 1)
    dark, bright = np.quantile(clean, (0.05, 0.995))
    if not bright > dark:
        raise DataError(f"{content.name}: no bright columns: is it an image of atoms?")
    first, second = ((one - dark) / (bright - dark) for one in (clean, gain * other + offset))
    return _matched(first, second, px)


def columns(data: FloatArray, pixel_size: float) -> FloatArray:
    """Local maxima brighter than BRIGHT, none brighter within NEAR: row and column in fractions of a pixel, (n, 2).

    Those within twice NEAR of the border are left out.
    """
    reach = max(1, round(NEAR / pixel_size))
    row, column = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    peaks = (data == ndimage.maximum_filter(data, footprint=np.hypot(row, column) <= reach)) & (data > BRIGHT)
    border = 2 * reach
    row, column = (index + border for index in np.nonzero(peaks[border:-border, border:-border]))
    down = _vertex(data[row - 1, column], data[row, column], data[row + 1, column])
    right = _vertex(data[row, column - 1], data[row, column], data[row, column + 1])
    return np.column_stack([row + down, column + right])


def _matched(clean: FloatArray, styled: FloatArray, px: float) -> Matched:
    own, other = columns(clean, px), columns(styled, px)
    if not len(own):
        raise DataError("no bright columns in the noise-free image: is it an image of atoms?")
    lost = _at(styled, own) < KEPT * _at(clean, own)
    invented = _at(clean, other) < KEPT * _at(styled, other)
    distance, index = cKDTree(other).query(own) if len(other) else (np.full(len(own), np.inf), np.zeros(len(own), int))
    same = distance * px <= NEAR
    shift = (other[index[same]] - own[same]) * px if same.any() else np.zeros((1, 2))
    rms = float(np.sqrt(np.mean(np.sum(shift**2, axis=1))))
    return Matched(len(own), int(invented.sum()), int(lost.sum()), rms, float(np.hypot(*shift.mean(axis=0))))


def _at(data: FloatArray, points: FloatArray) -> FloatArray:
    """Values at the pixels nearest to points (n, 2)."""
    row, column = np.rint(points).astype(int).T
    return np.asarray(data[row, column])


def _vertex(before: FloatArray, at: FloatArray, after: FloatArray) -> FloatArray:
    """Where the parabola through three values one pixel apart has its maximum, from the middle one."""
    bend = before - 2 * at + after
    return np.asarray(np.where(bend < 0, (before - after) / (2 * np.where(bend < 0, bend, -1)), 0.0))
