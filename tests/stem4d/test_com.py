"""Centres of mass: against sums written out in double precision, signs by known shifts, errors by drawing again."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from picostem.errors import DataError, UsageError
from picostem.physics import FloatArray
from picostem.stem4d.com import CentreOfMass, centre_of_mass, descan_plane
from picostem.stem4d.scan import Detector, Scan4D

ROUNDING = 1e-6  # pixels; rows of counts that reach 2^16 are summed in single precision


def rng() -> np.random.Generator:
    return np.random.default_rng(4)


def naive(scan: Scan4D) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Counts, (row, column), spread and mean pattern as their definitions say, in double precision."""
    data = np.where(scan.detector.mask, np.asarray(scan.data), 0).astype(np.float64)
    place = np.moveaxis(np.indices(scan.detector.shape, float), 0, -1)
    counts = data.sum((-2, -1))
    mean = np.einsum("ijrc,rcd->ijd", data, place) / counts[..., None]
    second = np.einsum("ijrc,rcd,rce->ijde", data, place, place, optimize=True) / counts[..., None, None]
    return counts, mean, second - mean[..., :, None] * mean[..., None, :], data.mean((0, 1))


def disc(shape: tuple[int, int], centre: tuple[float, float], radius: float) -> FloatArray:
    """A disc with a smooth edge, height 1."""
    row, col = np.indices(shape)
    return np.asarray(1 / (1 + np.exp((np.hypot(row - centre[0], col - centre[1]) - radius) / 0.5)))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("dtype", "top"), [("u1", 255), ("u2", 65535), ("i2", 3000), ("u4", 2**31), ("f4", 1.0), ("f8", 1.0)]
)
def test_equals_sums_in_double_precision(dtype: str, top: float, masked: bool) -> None:
    data = (rng().random((5, 7, 48, 96)) * top).astype(dtype)
    mask = np.ones((48, 96), bool)
    if masked:
        mask[3:9, 70:] = mask[20, 5] = False
        if data.dtype.kind == "f":
            data[..., ~mask] = np.nan
    scan = Scan4D.of(data)
    scan = replace(scan, detector=replace(scan.detector, mask=mask))
    com = centre_of_mass(scan)
    counts, mean, spread, pattern = naive(scan)
    np.testing.assert_allclose(com.counts, counts, rtol=ROUNDING)
    np.testing.assert_allclose(com.pixels, mean, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(
        com.pixel_covariance, spread / counts[..., None, None], rtol=ROUNDING, atol=1e-6 / counts.min()
    )
    np.testing.assert_allclose(com.pattern, pattern, rtol=ROUNDING)
    np.testing.assert_allclose(com.ky, (48 - 1) / 2 - mean[..., 0], atol=ROUNDING)


@pytest.mark.parametrize(
    ("shape", "detector"), [((3, 300), (64, 64)), ((2, 2), (700, 1600)), ((40, 30), (1, 5)), ((1, 1), (2, 2))]
)
def test_every_shape_of_scan_and_detector(shape: tuple[int, int], detector: tuple[int, int]) -> None:
    data = rng().integers(0, 9, (*shape, *detector), np.uint8)
    data[:, :, 0, 0] = 1  # none is empty
    scan = Scan4D.of(data)
    counts, mean, *_ = naive(scan)
    com = centre_of_mass(scan)
    np.testing.assert_array_equal(com.counts, counts)
    np.testing.assert_allclose(com.pixels, mean, rtol=0, atol=ROUNDING)


def test_right_is_kx_and_up_is_ky() -> None:
    data = np.zeros((1, 3, 33, 41))
    for j, (up, right) in enumerate([(0, 0), (0, 3), (2, 0)]):
        data[0, j] = disc((33, 41), (16 - up, 20 + right), 5)
    com = centre_of_mass(Scan4D.of(data))
    # The disc's tails are cut where they are below exp(-16).
    np.testing.assert_allclose(com.kx[0], [0, 3, 0], atol=1e-5)
    np.testing.assert_allclose(com.ky[0], [0, 0, 2], atol=1e-5)
    assert com.mrad is None


def test_units_of_an_elliptical_turned_detector_and_its_covariance() -> None:
    matrix = np.array([[0.003, 0.02], [-0.017, 0.004]])
    detector = Detector((20, 30), (8.0, 17.0), matrix, "1/Å", np.ones((20, 30), bool), 60e3)
    scan = Scan4D.of(rng().poisson(disc((20, 30), (9, 15), 4) * 8, (2, 3, 20, 30)).astype(np.uint16), detector=detector)
    com = centre_of_mass(scan)
    offset = com.pixels - (8, 17)
    np.testing.assert_allclose(com.kx, 0.003 * offset[..., 0] + 0.02 * offset[..., 1], rtol=1e-12)
    np.testing.assert_allclose(com.ky, -0.017 * offset[..., 0] + 0.004 * offset[..., 1], rtol=1e-12)
    assert com.mrad is not None
    np.testing.assert_allclose(com.mrad[..., 0], com.kx * 48.66, rtol=1e-3)  # 60 kV: 0.04866 Å
    np.testing.assert_allclose(com.covariance[1, 2], matrix @ com.pixel_covariance[1, 2] @ matrix.T, rtol=1e-12)
    np.testing.assert_allclose(com.error[..., 1] ** 2, com.covariance[..., 1, 1], rtol=1e-12)


@pytest.mark.parametrize("gain", [1, 7])
def test_errors_are_those_of_drawn_electrons(gain: int) -> None:
    mean = disc((24, 24), (10.2, 12.9), 5) * np.linspace(0.1, 1, 24)  # the two axes are correlated and differ
    mean = 10 * mean + np.roll(np.eye(24), 2, axis=1)  # 515 electrons
    true = (np.indices((24, 24)) * mean).sum((1, 2)) / mean.sum()
    data = (gain * rng().poisson(mean, (50, 80, 24, 24))).astype(np.uint16)
    com = centre_of_mass(Scan4D.of(data), electrons_per_count=1 / gain)
    off = com.pixels - true
    chi2 = np.einsum("...i,...ij,...j", off, np.linalg.inv(com.pixel_covariance), off)
    # chi² of two degrees of freedom over 4000 draws: 2 ± 0.032; the estimated spread's own error adds a few 1/515.
    assert chi2.mean() == pytest.approx(2, abs=0.1)
    z = off / np.sqrt(np.diagonal(com.pixel_covariance, axis1=-2, axis2=-1))
    np.testing.assert_allclose(z.std((0, 1)), 1, atol=0.04)  # ± 0.011
    np.testing.assert_allclose(z.mean((0, 1)), 0, atol=0.05)  # ± 0.016


def test_descan_is_taken_off_and_found() -> None:
    plane = np.array([[1.0, 0.05, -0.02], [-2.0, 0.03, 0.04]])
    i, j = np.indices((12, 9))
    rows, cols = (15 + plane @ np.stack([np.ones(108), i.ravel(), j.ravel()])[:, :]).reshape(2, 12, 9)
    data = np.array([[disc((31, 31), (rows[a, b], cols[a, b]), 4) for b in range(9)] for a in range(12)])
    data[3, 4] = 0
    scan = Scan4D.of(data)
    com = centre_of_mass(scan)
    assert np.isnan(com.kx[3, 4]) and np.isnan(com.error[3, 4]).all() and com.counts[3, 4] == 0
    np.testing.assert_allclose(descan_plane(com), plane, atol=5e-4)  # a sampled disc's centre is off by as much
    for flat in (replace(com, descan=descan_plane(com)), centre_of_mass(replace(scan, descan=plane))):
        assert np.nanmax(np.abs(flat.vectors)) < 1e-3
        np.testing.assert_allclose(descan_plane(flat), plane, atol=5e-4)


def test_refused() -> None:
    scan = Scan4D.of(np.ones((1, 5, 4, 4)))
    with pytest.raises(UsageError, match="electrons_per_count is positive"):
        centre_of_mass(scan, electrons_per_count=0)
    with pytest.raises(UsageError, match=r"a mask has shape \(4, 3\)"):
        centre_of_mass(scan, [np.ones((4, 3))])
    with pytest.raises(DataError, match="not in one line"):
        descan_plane(centre_of_mass(scan))


def test_memory_is_that_of_a_block(tmp_path: Path) -> None:
    path = tmp_path / "scan.npy"
    data = np.lib.format.open_memmap(path, "w+", np.uint16, (20, 40, 256, 256))  # 105 MB, on disk only where written
    data[5, 6, 100, 50] = 3
    del data
    scan = Scan4D.of(np.load(path, mmap_mode="r"))
    tracemalloc.start()
    com: CentreOfMass = centre_of_mass(scan)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(com.pixels[5, 6], (100, 50))
    assert com.counts.sum() == 3
    assert peak < 60e6  # 4 MB and the mean pattern for at most 8 threads; nothing else grows with the scan but maps
