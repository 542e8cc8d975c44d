"""From the Cramér-Rao bound to an error bar: what the model itself gets wrong, measured against multislice truth.

The Fisher information of the fit, with every nuisance free (microscope, position, scale), is the bound that a result
reports. Its inverse, times the reduced chi² where that exceeds 1, is the covariance of an estimate whose model is true.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

MODEL_ERROR = 0.2
"""Standard deviation of the slip per axis that multiple scattering leaves, over the electron wavelength: 0.004 Å at
300 kV, 0.010 Å at 60 kV. Set so that 95 % regions hold 95 % of the slips in benchmarks/multislice_set.py."""


def calibrated(covariance: FloatArray, wavelength: float) -> FloatArray:
    """Covariances of slips with the model's own error added, Å², shape (..., 2, 2); wavelength in Å."""
    return np.asarray(covariance + np.eye(2) * (MODEL_ERROR * wavelength) ** 2)
