"""Windows: what is rendered is what is extracted, as `resolve` extracts it, and noise is what its factor says."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.dataset.window import Window, turned_windows
from picostem.errors import UsageError
from picostem.resolve.window import extract_harmonics

from .made import MOS2, bank_of

HK = bank_of("ReS2").hk
WINDOW = Window.build(HK, bank_of("ReS2").reciprocal, 20.0, 0.4)
RNG = np.random.default_rng(0)
C = (RNG.normal(size=(5, len(HK))) + 1j * RNG.normal(size=(5, len(HK)))).astype(np.complex64)
MEAN = np.linspace(20, 30, 5, dtype=np.float32)
ZERO = (np.array([0]), np.array([0]))
SINGLE = 1e-4  # single precision of pixels up to 50 and of 3000 of them summed


def test_rendered_harmonics_come_back() -> None:
    np.testing.assert_allclose(WINDOW.extract(WINDOW.render(C, MEAN)), C, atol=SINGLE)


def test_rendering_is_the_sum_of_waves() -> None:
    side = WINDOW.side
    x, y = np.meshgrid(np.arange(side) - (side - 1) / 2, (side - 1) / 2 - np.arange(side))
    phase = WINDOW.g[:, 0, None, None] * x + WINDOW.g[:, 1, None, None] * y
    naive = MEAN[2] + 2 * np.einsum("n,nyx->yx", C[2], np.exp(2j * np.pi * phase)).real
    np.testing.assert_allclose(WINDOW.render(C, MEAN)[2], naive, atol=SINGLE)


def test_the_lattice_lies_as_in_an_image() -> None:
    """Turned counter-clockwise, x right and y up; frequencies in cycles per pixel."""
    a = np.array([np.cos(0.4), np.sin(0.4)]) * bank_of("ReS2").cell[0, 0] / WINDOW.sampling
    np.testing.assert_allclose(WINDOW.g @ a, HK[:, 0], atol=1e-9)  # rounding


def test_extraction_is_that_of_resolve() -> None:
    """Of any pixels, not only of what harmonics make."""
    patches = RNG.normal(size=(3, WINDOW.side, WINDOW.side)).astype(np.float32) + 7
    reciprocal = np.linalg.lstsq(HK.astype(float), WINDOW.g, rcond=None)[0]
    for patch, found in zip(patches, WINDOW.extract(patches), strict=True):
        expected = extract_harmonics(patch, reciprocal, HK, WINDOW.side, ZERO).amplitudes[0]
        np.testing.assert_allclose(found, expected, atol=1e-5)  # single precision of pixels of 1 to 10


def test_noise_is_that_of_white_pixels() -> None:
    count = 4000
    pixels = np.random.default_rng(1).standard_normal((count, WINDOW.side, WINDOW.side), dtype=np.float32)
    drawn = WINDOW.noise(np.ones(count, np.float32), np.random.default_rng(2))
    found = WINDOW.extract(pixels)
    level = np.abs(WINDOW.noise_factor @ WINDOW.noise_factor.T).max()
    # each element scatters by less than 2 level / sqrt(count); five times that, and both are estimates
    tolerance = 15 * level / np.sqrt(count)
    np.testing.assert_allclose(found.T @ found.conj() / count, drawn.T @ drawn.conj() / count, atol=tolerance)
    np.testing.assert_allclose(found.T @ found / count, drawn.T @ drawn / count, atol=tolerance)
    scaled = WINDOW.noise(np.full(count, 3, np.float32), np.random.default_rng(2))
    np.testing.assert_allclose(scaled, 3 * drawn, rtol=1e-4, atol=1e-7)  # single precision


def test_noise_of_large_windows_is_that_of_a_pixel_over_the_side() -> None:
    large = Window.build(bank_of().hk, MOS2.reciprocal, 30.0)
    variance = np.diag(large.noise_factor @ large.noise_factor.T).reshape(-1, 2).sum(axis=1)
    np.testing.assert_allclose(variance, 1 / large.side**2, rtol=0.05)  # waves overlap little: 1/(30 Å) of 1/(2.7 Å)


def test_where_the_beam_lands_is_what_is_seen() -> None:
    """All rows displaced alike show the crystal displaced: c exp(2 pi i g . d)."""
    d = np.array([0.7, -1.3], np.float32)
    landing = np.broadcast_to(d, (5, WINDOW.side, 2))
    found = WINDOW.extract(WINDOW.render(C, MEAN, landing))
    np.testing.assert_allclose(found, C * np.exp(2j * np.pi * WINDOW.g @ d), atol=SINGLE)


def test_one_row_displaced_changes_that_row_alone() -> None:
    landing = np.zeros((5, WINDOW.side, 2), np.float32)
    landing[:, 4] = 0.5
    change = np.abs(WINDOW.render(C, MEAN, landing) - WINDOW.render(C, MEAN)).max(axis=(0, 2))
    assert change[4] > 1
    assert np.delete(change, 4).max() < SINGLE


def test_turned_windows_are_kept() -> None:
    one = turned_windows(HK, bank_of("ReS2").reciprocal, 20.0, 3)
    assert one is turned_windows(HK, bank_of("ReS2").reciprocal, 20.0, 3)
    assert not np.allclose(one[0].g, one[1].g)
    np.testing.assert_allclose(*(np.linalg.norm(w.g, axis=1) for w in one[:2]))


def test_windows_that_hold_no_harmonics() -> None:
    with pytest.raises(UsageError, match="make them smaller"):
        Window.build(HK, bank_of("ReS2").reciprocal, 20.0, 0.0, 0.6)
    with pytest.raises(UsageError, match="too small"):
        Window.build(HK, bank_of("ReS2").reciprocal, 9.0)
