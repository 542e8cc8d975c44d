"""What a network for twists reads: peaks where the layers are turned to, whatever else changes."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.dataset.patch_render import rendered, turned
from picostem.errors import DataError
from picostem.infer.patch_polar import SCALES, Polar
from picostem.simulate.synthesis import pixel_axes
from picostem.structure.stack import rotation_matrix
from tests.dataset.made import bank_of

SIDE, PIXEL = 110, 0.36
ANGLES = 240
BANK = bank_of("MoS2", 2, False)
PERIOD = 2 * np.pi / 3
STRENGTH = np.abs(BANK.sites.sum(axis=2)).mean(axis=(0, 1), dtype=np.float64)
POLAR = Polar.strongest(SIDE, PIXEL, BANK.cell, PERIOD, ANGLES, BANK.hk, STRENGTH)
STEP_DEG = 120 / ANGLES
MIDDLE = SCALES.index(0.0)


def patches(twist_deg: float, angle_deg: float, origin: float = 0.0, scale: float = 1.0) -> np.ndarray:
    positions = np.full((1, 2, 2), origin)
    one = np.zeros(1, dtype=np.int64)
    angles = np.deg2rad([[twist_deg], [angle_deg]])
    return rendered(BANK, turned(angles[0], one, angles[1], np.array([scale]), positions), SIDE, PIXEL)


def test_it_is_the_transform_of_the_patch() -> None:
    """Beside the plain sum over pixels; 1e-3 of the largest: what the kernel of 4 steps leaves of aliases."""
    patch = patches(12, 5)
    found = POLAR._transformed(patch)[0]
    x, y = pixel_axes((SIDE, SIDE), PIXEL)
    window = np.clip(1 - (np.hypot(x, y[:, None]) / (SIDE * PIXEL / 2)) ** 2, 0, None)
    weighted = (patch[0] - patch.mean(dtype=np.float64)) * window
    for h, scale, angle in ((0, 0, 0), (4, 1, 77), (len(found) - 1, 2, 201)):
        turn = rotation_matrix(angle * PERIOD / ANGLES) * (1 + SCALES[scale])
        gx, gy = turn @ (POLAR._half[h] @ POLAR.reciprocal)
        expected = (weighted * np.exp(-2j * np.pi * (gx * x + gy * y[:, None]))).sum()
        assert abs(found[h, scale, angle] - expected) < 1e-3 * np.abs(found).max()


def test_peaks_are_where_the_layers_are_turned_to() -> None:
    read = POLAR(patches(20, 7))[0]
    assert read.shape == (POLAR.channels, ANGLES)
    for orbit in range(3):
        ring = read[orbit * len(SCALES) + MIDDLE]
        peaks = np.flatnonzero((ring > np.roll(ring, 1)) & (ring > np.roll(ring, -1)) & (ring > 0.5 * ring.max()))
        # layers at 7° and 27°, and the same 60° on; the ends of one layer's rings shift the other's by a step
        assert np.abs(peaks * STEP_DEG - [7, 27, 67, 87]).max() <= STEP_DEG


def test_a_turn_shifts_it_and_a_translation_changes_nothing() -> None:
    read = POLAR(patches(20, 7))[0]
    other = POLAR(patches(20, 7 + 15 * STEP_DEG))[0]
    # pixels and the window's staircase are not quite alike in all directions
    np.testing.assert_allclose(other, np.roll(read, 15, axis=1), atol=0.03 * read.max())
    alone = patches(0, 7)  # two layers far from each other in angle interfere little, one on the other not at all
    moved = patches(0, 7, origin=0.31)
    np.testing.assert_allclose(POLAR(moved), POLAR(alone), atol=0.03 * read.max())


def test_a_layer_is_told_from_one_turned_by_half() -> None:
    """The a are the same, and what says which is which changes its sign."""
    one, half = POLAR(patches(0, 10))[0], POLAR(patches(0, 190))[0]
    count = len(POLAR.orbits) * len(SCALES)
    np.testing.assert_allclose(half[:count], one[:count], atol=0.01 * one.max())
    imaginary = slice(count + len(POLAR.triples), None)
    assert np.abs(one[imaginary]).max() > 0.5 * one.max()
    np.testing.assert_allclose(half[imaginary], -one[imaginary], atol=0.03 * one.max())


def test_scales_see_crystals_of_other_sizes() -> None:
    outer = (len(POLAR.orbits) - 1) * len(SCALES)
    rings = POLAR(patches(0, 0, scale=1 / 1.02))[0, outer : outer + len(SCALES)]
    assert rings.max(axis=1).argmax() == SCALES.index(0.02)


def test_orbits_and_triples() -> None:
    assert POLAR.orbits.shape == (6, 3, 2)  # MoS2 up to 1.1 per Å: 10, 11, 20, 21, 12 and 30
    length = np.linalg.norm(POLAR.orbits @ POLAR.reciprocal, axis=2)
    np.testing.assert_allclose(length, length[:, :1].repeat(3, axis=1))
    assert not POLAR.triples.sum(axis=2).any()
    again = Polar.strongest(SIDE, PIXEL, BANK.cell, PERIOD, ANGLES, BANK.hk[::-1], STRENGTH[::-1])
    np.testing.assert_array_equal(again.orbits, POLAR.orbits)
    np.testing.assert_array_equal(again.triples, POLAR.triples)


def test_flat_patches_and_bad_input() -> None:
    assert np.isfinite(POLAR(np.ones((2, SIDE, SIDE)))).all()
    assert POLAR(np.empty((0, SIDE, SIDE))).shape == (0, POLAR.channels, ANGLES)
    with pytest.raises(DataError, match="NaN or infinite"):
        POLAR(np.full((1, SIDE, SIDE), np.nan))
    with pytest.raises(ValueError, match="sum to zero"):
        Polar(SIDE, PIXEL, PERIOD, ANGLES, POLAR.reciprocal, POLAR.orbits, POLAR.triples + 1)
