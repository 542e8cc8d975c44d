"""Rotation, flip, derivatives and integration of fields that are gradients of known potentials."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from picostem.errors import DataError, UsageError
from picostem.physics import FloatArray, interaction_parameter
from picostem.stem4d.com import CentreOfMass, descan_plane
from picostem.stem4d.dpc import derivatives, integrate, phase, projected_potential, scan_rotation
from picostem.stem4d.scan import UNCALIBRATED, Detector

STEP = (0.25, 0.2)  # Å, rows and columns
PIXEL = 0.02  # 1/Å


def atoms(shape: tuple[int, int], seed: int = 0) -> tuple[FloatArray, FloatArray]:
    """Phase in rad of Gaussian atoms, and (kx, ky) = its gradient / 2 pi in 1/Å; y is up."""
    i, j = np.indices(shape, float)
    x, y = j * STEP[1], -i * STEP[0]
    map_, field = np.zeros(shape), np.zeros((*shape, 2))
    spots = np.random.default_rng(seed).uniform((0.1, 0.1), (0.9, 0.9), (12, 2)) * (x.max(), y.min())
    for a, b in spots:
        spot = 0.2 * np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * 0.7**2))
        map_ += spot
        field -= np.stack([x - a, y - b], axis=-1) * spot[..., None] / 0.7**2 / (2 * math.pi)
    return map_, field


def measured(field: FloatArray, error: float = 0.0, matrix: FloatArray | None = None) -> CentreOfMass:
    """What a detector whose matrix is true would see of a field, with drawn noise of `error` 1/Å per axis."""
    matrix = PIXEL * UNCALIBRATED if matrix is None else matrix
    shape = field.shape[:2]
    detector = Detector((9, 9), (4.0, 4.0), matrix, "1/Å", np.ones((9, 9), bool), 80e3)
    noise = np.random.default_rng(int(1e6 * error)).normal(size=field.shape) * error
    inverse = np.linalg.inv(matrix)
    covariance = np.broadcast_to(inverse @ inverse.T * error**2, (*shape, 2, 2))
    pixels = (field + noise) @ inverse.T + 4
    return CentreOfMass(
        pixels, covariance, np.ones(shape), np.ones((9, 9)), np.ones((0, *shape)), detector, STEP, np.zeros((2, 3))
    )


def turned(angle: float, flip: bool) -> FloatArray:
    """A true matrix: turned by the angle and maybe flipped against PIXEL * UNCALIBRATED."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]]) @ np.diag([1, -1 if flip else 1]) @ (PIXEL * UNCALIBRATED)


def test_derivatives_are_laplacian_and_nothing() -> None:
    map_, field = atoms((60, 80))
    divergence, curl = derivatives(measured(field))
    laplacian = np.gradient(np.gradient(map_, STEP[0], axis=0), STEP[0], axis=0)
    laplacian += np.gradient(np.gradient(map_, STEP[1], axis=1), STEP[1], axis=1)
    inner = (slice(2, -2), slice(2, -2))
    # Central differences over 0.25 Å in Gaussians of 0.7 Å: (0.25/0.7)²/2 = 6 % of the largest value.
    scale = np.abs(laplacian).max() / (2 * math.pi)
    np.testing.assert_allclose(divergence[inner], laplacian[inner] / (2 * math.pi), atol=0.07 * scale)
    assert np.abs(curl[inner]).max() < 0.02 * scale
    assert divergence[np.unravel_index(map_.argmax(), map_.shape)] < 0


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("angle", [-2.9, -1.2, 0.0, 0.4, 1.5, 3.0])
def test_rotation_and_flip_are_found(angle: float, flip: bool) -> None:
    map_, field = atoms((60, 80))
    com = measured(field, 1e-3, turned(angle, flip))
    taken_for = replace(com, detector=replace(com.detector, matrix=PIXEL * UNCALIBRATED))
    for bright in (None, map_):
        found = scan_rotation(taken_for, bright)
        assert found.flip is flip
        # Central differences that are not as long along rows as along columns cost 0.01 rad.
        assert abs(math.remainder(found.angle - angle, 2 * math.pi)) < 0.01 + 3 * found.error
        assert found.curl_share < 0.1 < found.other_share and found.sign > 5
        np.testing.assert_allclose(found.applied(taken_for.detector).matrix, com.detector.matrix, atol=0.02 * PIXEL)
    assert abs(math.remainder(scan_rotation(taken_for, -map_).angle - angle, 2 * math.pi)) > 3


def test_a_plane_of_descan_does_not_turn_the_scan() -> None:
    _, field = atoms((60, 80))
    com = measured(field)
    i, j = np.indices((60, 80))
    tilted = replace(com, pixels=com.pixels + np.stack([0.2 * i - 0.1 * j, 0.3 * i], axis=-1))
    assert scan_rotation(tilted).angle == pytest.approx(scan_rotation(com).angle, abs=1e-9)
    flat = replace(tilted, descan=descan_plane(tilted))
    np.testing.assert_allclose(flat.vectors, replace(com, descan=descan_plane(com)).vectors, atol=1e-9)


def test_the_error_of_the_angle_holds() -> None:
    _, field = atoms((40, 50))
    found = [scan_rotation(measured(field, 4e-3 + i * 1e-6)) for i in range(60)]
    z = np.array([(f.angle - scan_rotation(measured(field)).angle) / f.error for f in found])
    assert found[0].error < 0.1
    assert z.std() == pytest.approx(1, abs=0.3)  # 1/sqrt(120) is its error; edges and noise times noise are approximate
    assert abs(z.mean()) < 0.4  # ± 0.13


def test_positions_without_counts_are_passed_over() -> None:
    _, field = atoms((60, 80))
    com = measured(field, 1e-3, turned(0.4, True))
    com.pixels[20:24, 30:35] = np.nan
    found = scan_rotation(replace(com, detector=replace(com.detector, matrix=PIXEL * UNCALIBRATED)))
    assert found.flip and found.angle == pytest.approx(0.4, abs=0.03) and np.isfinite(found.error)
    assert np.isfinite(integrate(com)).all()


def test_phase_and_potential_of_a_known_field() -> None:
    map_, field = atoms((60, 80))
    com = measured(field)
    np.testing.assert_allclose(phase(com), map_ - map_.mean(), atol=0.01 * np.ptp(map_))
    np.testing.assert_allclose(projected_potential(com) * interaction_parameter(80e3), phase(com), rtol=1e-12)


def test_edges_need_not_fit() -> None:
    i, j = np.indices((30, 40), float)
    x, y = j * STEP[1], -i * STEP[0]
    map_ = 0.3 * x + 0.02 * y**2
    found = integrate(measured(np.stack([np.full_like(x, 0.3), 0.04 * y], axis=-1)))
    # The mirrored field jumps at the edge, which rings within a few positions of it.
    inner = (slice(5, -5), slice(5, -5))
    error = (found - map_)[inner]
    assert np.ptp(error) < 0.02 * np.ptp(map_)


def test_long_periods_are_damped() -> None:
    j = np.indices((8, 400))[1]
    x = (j + 0.5) * STEP[1]  # periods of 80 and 1 Å that fit the mirror
    field = np.zeros((8, 400, 2))
    field[..., 0] = -np.sin(2 * np.pi * x / 80) - np.sin(2 * np.pi * x)
    spectrum = np.abs(np.fft.rfft(integrate(measured(field), 20.0)[4]))
    plain = np.abs(np.fft.rfft(integrate(measured(field))[4]))
    assert spectrum[1] / plain[1] == pytest.approx(1 / (1 + 16), rel=1e-6)  # q² / (q² + 1/20²) at 1/80 1/Å
    assert spectrum[80] / plain[80] == pytest.approx(1 / (1 + 1 / 400), rel=1e-6)


def test_refused() -> None:
    _, field = atoms((6, 7))
    com = measured(field)
    with pytest.raises(UsageError, match="a phase needs the detector in 1/Å"):
        phase(replace(com, step_A=None))
    with pytest.raises(UsageError, match="needs the voltage"):
        projected_potential(replace(com, detector=replace(com.detector, voltage_eV=None)))
    with pytest.raises(UsageError, match="longest period"):
        integrate(com, 0)
    with pytest.raises(UsageError, match="the bright image has shape"):
        scan_rotation(com, np.ones((3, 3)))
    with pytest.raises(DataError, match="two scan positions"):
        derivatives(measured(field[:1]))
    with pytest.raises(DataError, match="do not change"):
        scan_rotation(measured(np.zeros((5, 5, 2))))
