"""Angular harmonics: orientations of drawn patterns, their errors, masks, and a beam that wanders."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.errors import UsageError
from picostem.simulate.toy4d import Toy
from picostem.stem4d.harmonics import angular_harmonics
from picostem.stem4d.scan import Detector, Scan4D

FloatArray = NDArray[np.float64]


def pattern(angle: float, fold: int = 3, depth: float = 0.2, centre: tuple[float, float] = (0.0, 0.0)) -> FloatArray:
    """A soft disk with `fold` bright sides, 1e4 counts in all; the first looks along `angle`."""
    vectors = Detector.plain((64, 64)).vectors() - (centre[1], -centre[0])
    r, phi = np.hypot(vectors[..., 0], vectors[..., 1]), np.arctan2(vectors[..., 1], vectors[..., 0])
    disk = 1 / (1 + np.exp((r - 20) / 0.7)) * (1 + depth * np.minimum(r / 20, 1) ** fold * np.cos(fold * (phi - angle)))
    return np.asarray(1e4 * disk / disk.sum())


def turned(angles: FloatArray, fold: int) -> FloatArray:
    """Angles modulo 2 pi / fold, around 0."""
    turn = 2 * np.pi / fold
    return np.asarray(angles - turn * np.rint(angles / turn))


ANGLES = np.linspace(-1, 1, 36).reshape(6, 6)


@pytest.mark.parametrize("fold", [1, 2, 3])
def test_orientation_is_that_of_the_pattern(fold: int) -> None:
    found = angular_harmonics(Scan4D.of(np.array([[pattern(a, fold) for a in row] for row in ANGLES])))
    for weights in (None, found.best_weights(fold)):
        error = turned(found.order(fold, weights).angle - ANGLES, fold)
        assert np.abs(error).max() < 1e-4
    strength = np.abs(found.order(fold).value)
    assert strength == pytest.approx(np.full((6, 6), strength[0, 0]), rel=1e-4)


def test_breaking_is_what_is_not_of_the_symmetry() -> None:
    patterns = np.array([[pattern(0.3, 3), pattern(0.9, 3), pattern(0.3, 2)]])
    noisy = np.random.default_rng(0).poisson(np.repeat(patterns, 40, axis=0))
    found = angular_harmonics(Scan4D.of(noisy))
    broken = np.mean(found.breaking(3) ** 2, axis=0) ** 0.5
    assert broken[2] > 5 * broken[:2].max()
    with pytest.raises(UsageError, match="2 or more"):
        found.breaking(1)


def test_errors_are_those_of_shot_noise() -> None:
    rng = np.random.default_rng(1)
    angles = rng.uniform(-1, 1, (24, 24))
    noisy = rng.poisson(np.array([[pattern(a) for a in row] for row in angles])).astype(np.uint16)
    found = angular_harmonics(Scan4D.of(noisy))
    even, best = (found.order(3, weights) for weights in (None, found.best_weights(3)))
    for one in (even, best):
        score = turned(one.angle - angles, 3) / one.angle_sigma
        assert np.sqrt(np.mean(score**2)) == pytest.approx(1, abs=0.1)  # of 576: 0.03
    assert np.median(best.angle_sigma) < 0.9 * np.median(even.angle_sigma)


def test_three_arcs_are_read_where_the_centre_of_mass_is_blind() -> None:
    rng = np.random.default_rng(2)
    toy = Toy("three-fold")
    angles, strengths = toy.draw(256, rng)
    found = angular_harmonics(Scan4D.of(toy.patterns(angles, strengths, rng).reshape(16, 16, 64, 64)))
    error = turned(found.order(3, found.best_weights(3)).angle.ravel() - angles, 3)
    error -= np.median(error)
    assert np.rad2deg(np.mean(np.abs(error))) < 0.6


def test_strength_of_noise_is_nothing() -> None:
    noise = np.random.default_rng(3).poisson(pattern(0.0, 3, 0.0), (20, 20, 64, 64))
    one = angular_harmonics(Scan4D.of(noise)).order(5)
    assert np.mean(np.abs(one.value) ** 2) == pytest.approx(np.mean(2 * one.sigma**2), rel=0.15)
    assert np.median(one.strength) < np.median(np.abs(one.value))


def test_masked_pixels_are_completed() -> None:
    clean = np.array([[pattern(a) for a in row] for row in ANGLES])
    mask = np.ones((64, 64), dtype=bool)
    mask[30:34, 40:50] = False
    mask[:, 20] = False
    broken = clean.copy()
    broken[..., ~mask] = np.nan
    found = angular_harmonics(Scan4D.of(broken, detector=replace(Detector.plain((64, 64)), mask=mask)))
    assert np.rad2deg(np.abs(turned(found.order(3).angle - ANGLES, 3)).max()) < 1
    plain = angular_harmonics(Scan4D.of(np.where(mask, clean, 0)))
    assert np.rad2deg(np.abs(turned(plain.order(3).angle - ANGLES, 3)).max()) > 2  # what it would be without


def test_a_wandering_beam_is_followed() -> None:
    descan = np.array([[0.0, 0.7, 0.0], [0.5, 0.0, -0.4]])
    scan = Scan4D.of(np.zeros((6, 6, 64, 64)))
    away = replace(scan, descan=descan).centres().reshape(6, 6, 2) - (31.5, 31.5)
    data = np.array(
        [[pattern(a, centre=tuple(c)) for a, c in zip(*row, strict=True)] for row in zip(ANGLES, away, strict=True)]
    )
    followed = angular_harmonics(replace(Scan4D.of(data), descan=descan)).order(1)
    fixed = angular_harmonics(Scan4D.of(data)).order(1)
    assert np.abs(followed.value).max() < 0.25 * np.abs(fixed.value).max()  # centres are known to a quarter of a pixel


@pytest.mark.parametrize("centre", [(20.0, 20.0), (19.5, 19.5), (19.8, 20.3)])
def test_pixels_give_round_patterns_no_orientation(centre: tuple[float, float]) -> None:
    """A disk with an edge of half a pixel: what its pixels add is below the noise of 1e5 electrons."""
    rows, columns = np.indices((40, 40))
    disk = 1 / (1 + np.exp((np.hypot(rows - centre[0], columns - centre[1]) - 12) / 0.3))
    detector = replace(Detector.plain((40, 40)), centre=centre)
    found = angular_harmonics(Scan4D.of(np.tile(1e5 * disk / disk.sum(), (2, 2, 1, 1)), detector=detector))
    noise = np.sqrt(found.noise[0, 0] / 2 + 1)
    assert (np.abs(found.values[0, :, 1:]) / noise[:, None]).max() < 2


def test_harmonics_that_all_patterns_share_stay() -> None:
    found = angular_harmonics(Scan4D.of(np.tile(pattern(0.4), (2, 2, 1, 1))))
    other = angular_harmonics(Scan4D.of(np.array([[pattern(a) for a in row] for row in ANGLES])))
    assert np.abs(found.order(3).value[0, 0]) == pytest.approx(np.abs(other.order(3).value[0, 0]), rel=0.1)


def test_large_detectors_are_binned() -> None:
    large = np.kron(np.array([[pattern(a) for a in row] for row in ANGLES]), np.ones((4, 4)))
    found = angular_harmonics(Scan4D.of(large.astype(np.float32)))
    assert np.abs(turned(found.order(3).angle - ANGLES, 3)).max() < 1e-3


def test_bad_requests() -> None:
    scan = Scan4D.of(np.ones((4, 4, 16, 16)))
    with pytest.raises(UsageError, match="on the detector"):
        angular_harmonics(scan, radius=40.0)
    with pytest.raises(UsageError, match="rings"):
        angular_harmonics(scan, rings=1)
    with pytest.raises(UsageError, match="take more orders"):
        angular_harmonics(scan, orders=4).order(5)
