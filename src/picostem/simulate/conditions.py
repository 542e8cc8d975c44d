"""The truth about microscope and recording, as plain JSON values with units in the names."""

from __future__ import annotations

from typing import Any

import numpy as np

from picostem.image import Image
from picostem.physics import DEGREE, KV, MRAD
from picostem.simulate.acquisition import AcquisitionSettings
from picostem.simulate.microscope import Microscope


def microscope_truth(m: Microscope) -> dict[str, Any]:
    """A microscope as plain values in the units of its panel."""
    return {
        "kV": m.voltage_eV / KV,
        "semiangle_mrad": m.semiangle / MRAD,
        "detector_mrad": [m.detector_inner / MRAD, m.detector_outer / MRAD],
        "defocus_A": m.defocus,
        "aberrations": {
            "C10_A": -m.defocus,
            "C12_A": m.C12,
            "phi12_deg_image": m.phi12 / DEGREE,
            "C21_A": m.C21,
            "phi21_deg_image": m.phi21 / DEGREE,
            "C30_A": m.C30,
            "convention": "abTEM polar; defocus = -C10, referred to the mid-plane of layer 1; angles ccw, image frame",
        },
        "source_fwhm_A": m.source_fwhm,
    }


def acquisition_truth(settings: AcquisitionSettings, image: Image) -> dict[str, Any]:
    """How an image was recorded, as plain values, None for counts that an infinite dose has not.

    The image needs a pixel size.
    """
    drift = np.asarray(settings.drift)
    assert image.pixel_size is not None
    electrons = settings.dose * image.pixel_size[0] * image.pixel_size[1]
    counts = (image.data.mean(dtype=np.float64) - settings.offset) / settings.gain
    counted: dict[str, Any] = {
        "dose_e_per_A2": settings.dose,
        "electrons_per_pixel": electrons,
        "mean_detected_counts_per_pixel": float(counts),
        "noise": "Poisson counts + Gaussian read noise; image = gain*(counts+read*N(0,1))+offset",
    }
    if settings.is_noise_free:
        counted = dict.fromkeys(counted) | {"noise": "none; image = gain*detected fraction of the beam+offset"}
    return {
        **counted,
        "gain": settings.gain,
        "offset": settings.offset,
        "read_noise_counts": settings.read_noise,
        "drift_matrix_specimen_from_scan": drift.tolist(),
        "drift_matrix_apparent_from_ideal": np.linalg.inv(drift).tolist(),
        "drift_note": "scan point p (x right,y up, A) samples specimen point T p; a vector v appears as T^-1 v",
        "fast_axis_jitter_rms_px": settings.jitter,
        "line_offset_rms_px": settings.line_offset,
        "slow_axis_line_jitter_rms_px": settings.line_jitter,
        "background_peak_over_mean_signal": settings.contamination,
    }
