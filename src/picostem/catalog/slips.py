"""Slips of many images, with their errors and what makes two of them the same."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from picostem.errors import DataError
from picostem.structure import SlipEquivalence

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MOST_GROUPS = 500
"""Of images, whose scatter gives the errors of statistics: a standard deviation of so many is good to 3 %."""


@dataclass(frozen=True, eq=False)
class Slips:
    """Windows that show one kind of interface.

    Attributes:
        slip: Å, lower layer's crystal frame, shape (n, 2).
        covariance: Å², shape (n, 2, 2).
        image: what image each is of: windows of one image may all tell of one event, so errors of statistics come from
            how much images differ; shape (n,).
        equivalence: which of them look the same.

    Raises:
        DataError: there are fewer than two, numbers are not finite, or a covariance is not positive.
    """

    slip: FloatArray
    covariance: FloatArray
    image: NDArray[np.generic]
    equivalence: SlipEquivalence

    def __post_init__(self) -> None:
        if len(self.slip) < 2:
            raise DataError(f"{len(self.slip)} windows have a slip, statistics need more: add results")
        if not (np.isfinite(self.slip).all() and np.isfinite(self.covariance).all()):
            raise DataError("slips and covariances must be finite: take windows whose status is ok")
        if (np.linalg.eigvalsh(self.covariance) < 0).any():
            raise DataError("a covariance has a negative eigenvalue: is it in Å², symmetric?")

    def __len__(self) -> int:
        return len(self.slip)

    @cached_property
    def group(self) -> IntArray:
        """Number of the group that each window's image is in, from 0, shape (n,).

        A group is an image, or several where there are more than MOST_GROUPS; of a single image, it is some windows.
        """
        names, index = np.unique(self.image, return_inverse=True)
        return np.asarray((index if len(names) > 1 else np.arange(len(self))) % MOST_GROUPS, dtype=np.int64)

    @property
    def groups(self) -> int:
        """How many there are."""
        return int(self.group.max()) + 1

    @property
    def correction(self) -> float:
        """n / (n - 1): from the scatter of n groups about their own mean to that about the true one."""
        return self.groups / (self.groups - 1)


def transitions(
    labels: IntArray, image: NDArray[np.generic], position: FloatArray, reach: float, count: int
) -> IntArray:
    """How often neighbouring windows of an image lie in clusters i and j.

    Args:
        labels: cluster of each window, from 0, shape (n,).
        position: in the image, Å, shape (n, 2).
        reach: largest distance of neighbours, Å.
        count: of clusters.

    Returns:
        Symmetric counts, shape (clusters, clusters); on the diagonal pairs that lie in one cluster.
    """
    found = np.zeros((count, count), dtype=np.int64)
    _, index = np.unique(image, return_inverse=True)
    for mine in np.split(np.argsort(index, kind="stable"), np.cumsum(np.bincount(index))[:-1]):
        pairs = cKDTree(position[mine]).query_pairs(reach, output_type="ndarray")
        first, second = np.sort(labels[mine][pairs], axis=1).T
        np.add.at(found, (first, second), 1)
    return found + np.triu(found, 1).T
