"""The centre of mass of every diffraction pattern, with its shot noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from picostem.errors import DataError, UsageError
from picostem.physics import FloatArray
from picostem.stem4d.moments import accumulate
from picostem.stem4d.scan import Detector, Scan4D


@dataclass(frozen=True, eq=False)
class CentreOfMass:
    """Centres of mass over a scan: pixels as measured, and momenta as the detector is calibrated.

    A better calibration needs no second look at the patterns: `dataclasses.replace(com, detector=..., descan=...)`.

    Attributes:
        pixels: (row, column) of the centre of mass on the detector, shape (rows, columns, 2); NaN where no counts are.
        pixel_covariance: its variance from shot noise in pixels², shape (rows, columns, 2, 2).
        counts: sum of every pattern, shape (rows, columns).
        pattern: mean pattern, shape of the detector; 0 outside its mask.
        images: one virtual image per mask that was asked for, shape (masks, rows, columns).
        detector: which (kx, ky) a pixel stands for.
        step_A: (row, column) distance of scan positions, or None.
        descan: where the axis lies at position (i, j): detector.centre + descan @ (1, i, j), shape (2, 3), pixels.
    """

    pixels: FloatArray
    pixel_covariance: FloatArray
    counts: FloatArray
    pattern: FloatArray
    images: FloatArray
    detector: Detector
    step_A: tuple[float, float] | None
    descan: FloatArray

    @cached_property
    def vectors(self) -> FloatArray:
        """(kx, ky) in the detector's unit, x right and y up, shape (rows, columns, 2)."""
        axis = self.detector.centre + _planes(self.counts.shape) @ np.asarray(self.descan).T
        return np.asarray((self.pixels - axis) @ np.asarray(self.detector.matrix).T)

    @property
    def kx(self) -> FloatArray:
        """To the right, in the detector's unit, shape (rows, columns)."""
        return np.asarray(self.vectors[..., 0])

    @property
    def ky(self) -> FloatArray:
        """Upwards, in the detector's unit, shape (rows, columns)."""
        return np.asarray(self.vectors[..., 1])

    @property
    def mrad(self) -> FloatArray | None:
        """(kx, ky) as angles in mrad, shape (rows, columns, 2); None where the calibration or voltage is unknown."""
        return None if self.detector.mrad is None else self.vectors * self.detector.mrad

    @cached_property
    def covariance(self) -> FloatArray:
        """Variance of (kx, ky) from shot noise, in the detector's unit squared, shape (rows, columns, 2, 2)."""
        matrix = np.asarray(self.detector.matrix)
        return np.asarray(matrix @ self.pixel_covariance @ matrix.T)

    @property
    def error(self) -> FloatArray:
        """Standard error of kx and of ky from shot noise, in the detector's unit, shape (rows, columns, 2)."""
        return np.asarray(np.sqrt(np.diagonal(self.covariance, axis1=-2, axis2=-1)))


def centre_of_mass(scan: Scan4D, masks: Sequence[ArrayLike] = (), *, electrons_per_count: float = 1.0) -> CentreOfMass:
    """The centre of mass of every pattern, with virtual images if masks are given, reading the scan once.

        r = sum I p / N,   cov(r) = sum I (p - r)(p - r)^T / (N² e),   N = sum I

    with p the (row, column) of a pixel, I its counts, and e electrons_per_count. The covariance holds for electrons
    that are detected independently, each with the same number of counts close together; from fewer than 100 electrons
    a pattern's own spread is uncertain, and errors of single patterns with it (4 % too small on average from 50).
    Counts are taken as they are: a detector's offset must be subtracted beforehand. Pixels that do not count are left
    out of all sums, which draws r away from them.

    Args:
        scan: the patterns with their calibration.
        masks: as `accumulate` takes them.
        electrons_per_count: 1 for counting detectors; 1 / gain for those that integrate.

    Raises:
        UsageError: electrons_per_count is not positive; a mask of another shape.
    """
    if not 0 < electrons_per_count < np.inf:
        raise UsageError(
            f"electrons_per_count is positive, got {electrons_per_count}: 1 for counting detectors, 1 / gain for others"
        )
    moments = accumulate(scan, masks)
    electrons = electrons_per_count * moments.counts[..., None, None]
    with np.errstate(divide="ignore", invalid="ignore"):  # NaN where no counts are
        covariance = moments.spread / electrons
    return CentreOfMass(
        moments.mean,
        covariance,
        moments.counts,
        moments.pattern,
        moments.images,
        scan.detector,
        scan.step_A,
        np.asarray(scan.descan, float),
    )


def descan_plane(com: CentreOfMass) -> FloatArray:
    """The descan that takes a plane out of the centres of mass, shape (2, 3), pixels, as `Scan4D.descan` has it.

    Least squares over all positions with counts; it replaces the descan that `com` has. A uniform field in the specimen
    looks the same and goes with it.

    Raises:
        DataError: too few positions with counts, or all in one line.
    """
    known = np.isfinite(com.pixels).all(axis=-1)
    terms = _planes(com.counts.shape)[known]
    if np.linalg.matrix_rank(terms) < 3:
        raise DataError("a plane of descan needs patterns with counts at three positions that are not in one line")
    plane, *_ = np.linalg.lstsq(terms, com.pixels[known] - com.detector.centre, rcond=None)
    return np.asarray(plane.T)


def _planes(shape: tuple[int, ...]) -> FloatArray:
    """(1, i, j) of every scan position, shape (rows, columns, 3)."""
    i, j = np.indices(shape, float)
    return np.stack([np.ones_like(i), i, j], axis=-1)
