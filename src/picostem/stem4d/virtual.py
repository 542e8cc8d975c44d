"""Virtual detectors: images from the part of every pattern that a mask lets through."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from picostem.errors import UsageError
from picostem.physics import FloatArray
from picostem.stem4d.moments import accumulate
from picostem.stem4d.scan import Detector, Scan4D


def virtual_image(scan: Scan4D, mask: ArrayLike) -> FloatArray:
    """Sum of every pattern's counts under a mask, shape (rows, columns) of the scan.

    Several masks at once, with or without the centre of mass: `centre_of_mass(scan, masks).images`.

    Args:
        scan: the patterns.
        mask: of the detector's shape: weights, or True where a pixel counts.

    Raises:
        UsageError: a mask of another shape.
    """
    return np.asarray(accumulate(scan, [mask]).images[0])


def annular(detector: Detector, inner: float, outer: float = math.inf) -> NDArray[np.bool_]:
    """Pixels with inner <= |k| < outer that count, in the detector's unit, shape of the detector.

    An inner radius of 0 makes a bright-field detector, no outer one everything beyond: high-angle annular dark field.

    Raises:
        UsageError: radii that are no ring; no pixel in it.
    """
    if not 0 <= inner < outer:
        raise UsageError(f"a ring needs 0 <= inner < outer, got {inner:g} and {outer:g} {detector.unit}")
    radius = np.linalg.norm(detector.vectors(), axis=-1)
    mask = (inner <= radius) & (radius < outer) & detector.mask
    if not mask.any():
        raise UsageError(
            f"no pixel that counts lies at {inner:g} to {outer:g} {detector.unit}; "
            f"those of the detector lie at {radius[detector.mask].min():.3g} to {radius[detector.mask].max():.3g}"
        )
    return np.asarray(mask)


def annular_mrad(detector: Detector, inner_mrad: float, outer_mrad: float = math.inf) -> NDArray[np.bool_]:
    """Pixels with inner <= scattering angle < outer that count, as `annular`.

    Raises:
        UsageError: a detector without calibration or voltage; radii that are no ring; no pixel in it.
    """
    if detector.mrad is None:
        raise UsageError("angles need a detector calibrated in 1/Å and the voltage: give both, or radii in pixels")
    return annular(detector, inner_mrad / detector.mrad, outer_mrad / detector.mrad)
