"""The microscope of a result, from the parameters that a fit gives it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from picostem.physics import SIGMA_PER_FWHM
from picostem.resolve.model import Optics
from picostem.resolve.result import FittedMicroscope

FloatArray = NDArray[np.float64]


def fitted_microscope(
    names: tuple[str, ...], values: FloatArray, covariance: FloatArray, optics: Optics
) -> FittedMicroscope:
    """The microscope in the terms of a result.

    Args:
        names: of the parameters, as in `Prior`. values: shape (p,). covariance: shape (p, p).
        optics: what was known of it.
    """
    value = dict(zip(names, values, strict=True))
    sigma = dict(zip(names, np.sqrt(np.diag(covariance)), strict=True))
    c12, c21 = complex(value["C12a"], value["C12b"]), complex(value["C21a"], value["C21b"])
    width = np.sqrt(max(value["variance"], 1e-4))
    return FittedMicroscope(
        voltage_eV=optics.voltage_eV,
        semiangle=float(value.get("semiangle", optics.semiangle)),
        semiangle_sigma=float(sigma.get("semiangle", 0.0)),
        source=optics.source,
        defocus=-float(value["C10"]),
        defocus_sigma=float(sigma["C10"]),
        C12=abs(c12),
        C12_sigma=float(np.hypot(sigma["C12a"], sigma["C12b"]) / np.sqrt(2)),
        phi12=float(np.angle(c12) / 2),
        C21=abs(c21),
        C21_sigma=float(np.hypot(sigma["C21a"], sigma["C21b"]) / np.sqrt(2)),
        phi21=float(np.angle(c21)),
        source_fwhm=float(width / SIGMA_PER_FWHM),
        source_fwhm_sigma=float(sigma["variance"] / (2 * width) / SIGMA_PER_FWHM),
    )
