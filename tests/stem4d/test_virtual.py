"""Virtual detectors: rings by their radii, images against sums written out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from picostem.errors import UsageError
from picostem.physics import electron_wavelength
from picostem.stem4d.com import centre_of_mass
from picostem.stem4d.scan import Detector, Scan4D
from picostem.stem4d.virtual import annular, annular_mrad, virtual_image


@pytest.fixture
def detector() -> Detector:
    return Detector((40, 60), (19.0, 31.0), np.array([[0, 0.05], [-0.1, 0]]), "1/Å", np.ones((40, 60), bool), 80e3)


def test_a_ring_holds_the_pixels_at_its_radii(detector: Detector) -> None:
    ring = annular(detector, 0.5, 1.0)
    assert ring[19, 41] and not ring[19, 40] and ring[19, 50] and not ring[19, 51]  # 0.05 1/Å along a row
    assert ring[24, 31] and not ring[23, 31] and ring[28, 31] and not ring[29, 31]  # 0.1 1/Å along a column
    # Of the ellipse's 10 × 20 and 5 × 10 pixels; as many pixels lie on its edge as make 5 %.
    assert ring.sum() == pytest.approx(np.pi * (10 * 20 - 5 * 10), rel=0.05)
    assert (annular(detector, 0, 0.5) | ring | annular(detector, 1.0)).all()


def test_angles_are_wavelength_times_k(detector: Detector) -> None:
    angle = 1e3 * electron_wavelength(80e3)
    np.testing.assert_array_equal(annular_mrad(detector, 0.5 * angle, 1.02 * angle), annular(detector, 0.5, 1.02))
    np.testing.assert_array_equal(annular_mrad(detector, 20.01), annular(detector, 20.01 / angle))


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "f4"])
def test_images_are_sums_under_masks(dtype: str, detector: Detector) -> None:
    rng = np.random.default_rng(5)
    bad = rng.random((40, 60)) < 0.05
    scan = Scan4D.of(rng.integers(0, 250, (4, 6, 40, 60)).astype(dtype), detector=replace(detector, mask=~bad))
    masks = [annular(scan.detector, 0, 0.7), rng.normal(size=(40, 60)), np.ones((40, 60))]
    com = centre_of_mass(scan, masks)
    good = np.where(bad, 0, scan.data).astype(float)
    # Single precision: 2400 counts up to 250 make 3e5 ± 0.02.
    np.testing.assert_allclose(com.images, np.einsum("ijrc,mrc->mij", good, np.array(masks)), rtol=0, atol=0.05)
    np.testing.assert_allclose(com.images[2], com.counts, rtol=1e-6)
    np.testing.assert_array_equal(virtual_image(scan, masks[0]), com.images[0])


def test_refused(detector: Detector) -> None:
    with pytest.raises(UsageError, match="0 <= inner < outer"):
        annular(detector, 2, 1)
    with pytest.raises(UsageError, match="no pixel that counts lies at 90"):
        annular(detector, 90)
    with pytest.raises(UsageError, match="angles need a detector calibrated"):
        annular_mrad(replace(detector, unit="px"), 3)
    with pytest.raises(UsageError, match="angles need a detector calibrated"):
        annular_mrad(replace(detector, voltage_eV=None), 3)
