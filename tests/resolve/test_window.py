"""Harmonics of windows: images of known plane waves give their amplitudes, whatever the window and its place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picostem.resolve.evidence import harmonics_of
from picostem.resolve.window import Harmonics, extract_harmonics, gram_matrix, window_starts

from .made import MOS2, RES2, make_lattice, plane_waves

WINDOW = 120
LATTICE = make_lattice(RES2)
HK = harmonics_of(LATTICE)
G = HK @ LATTICE.reciprocal


def amplitudes(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=len(HK)) + 1j * rng.normal(size=len(HK))


def naive_starts(shape: tuple[int, int], stride: int) -> tuple[np.ndarray, np.ndarray]:
    return window_starts(shape[0], WINDOW, stride), window_starts(shape[1], WINDOW, stride)


class TestAmplitudes:
    shape = (231, 318)
    # float32 pixels and waves: 6e-8 of values up to 50, less by the averaging over 14 400 pixels, more by the sum's
    precision = 5e-5

    def harmonics(self, mean: float = 7.0) -> Harmonics:
        image = plane_waves(self.shape, G, amplitudes(), mean).astype(np.float32)
        return extract_harmonics(image, LATTICE.reciprocal, HK, WINDOW, naive_starts(self.shape, 50))

    def test_are_those_of_the_waves_in_every_window(self) -> None:
        found = self.harmonics().amplitudes
        assert found.shape == (3 * 5, len(HK))
        np.testing.assert_allclose(found, np.tile(amplitudes(), (15, 1)), atol=self.precision)

    def test_mean_is_free_of_the_waves(self) -> None:
        np.testing.assert_allclose(self.harmonics().mean, 7.0, atol=self.precision)

    def test_background_across_the_window_leaves_them_alone(self) -> None:
        """A wave of twice the window's width lies in the slow background that is fitted beside them."""
        cols = self.shape[1]
        x = np.arange(cols) - (cols - 1) / 2
        slow = 0.5 * np.sin(np.pi * (x - x[:WINDOW].mean()) / WINDOW)
        image = (plane_waves(self.shape, G, amplitudes(), 7.0) + slow).astype(np.float32)
        starts = (np.array([0, 40]), np.array([0]))
        found = extract_harmonics(image, LATTICE.reciprocal, HK, WINDOW, starts)
        np.testing.assert_allclose(found.amplitudes, np.tile(amplitudes(), (2, 1)), atol=self.precision)

    def test_a_moved_crystal_turns_the_phases(self) -> None:
        """I(r - s) has c exp(-2 pi i g.s); 3 columns to the right and 2 rows up."""
        image = plane_waves((300, 300), G, amplitudes(), 7.0).astype(np.float32)
        starts = (np.array([60]), np.array([60]))
        moved = np.roll(image, (-2, 3), axis=(0, 1))
        there = extract_harmonics(moved, LATTICE.reciprocal, HK, WINDOW, starts).amplitudes[0]
        np.testing.assert_allclose(there, amplitudes() * np.exp(-2j * np.pi * G @ (3, 2)), atol=self.precision)

    def test_centres_are_in_the_image_frame(self) -> None:
        image = np.zeros(self.shape, np.float32)
        image[10 + 59 : 10 + 61, 30 + 59 : 30 + 61] = 1  # around the window's centre, pixel (69.5, 89.5)
        found = extract_harmonics(image, LATTICE.reciprocal, HK, WINDOW, (np.array([10]), np.array([30])))
        np.testing.assert_allclose(found.centres, [[89.5 - 158.5, 115 - 69.5]])
        # a spot at r has the phases exp(-2 pi i g.r): all waves peak there
        peak = np.abs(np.sum(found.amplitudes * np.exp(2j * np.pi * found.centres @ G.T)))
        assert peak == pytest.approx(np.abs(found.amplitudes).sum(), rel=1e-3)  # float32 rounding of 1e-4 amplitudes

    def test_take(self) -> None:
        all_of_them = self.harmonics()
        some = all_of_them.take(np.array([4, 1]))
        np.testing.assert_array_equal(some.amplitudes, all_of_them.amplitudes[[4, 1]])
        np.testing.assert_array_equal(some.centres, all_of_them.centres[[4, 1]])
        np.testing.assert_array_equal(some.mean, all_of_them.mean[[4, 1]])


@settings(derandomize=True, deadline=None, max_examples=10)
@given(
    rotation=st.floats(-3.2, 3.2),
    mirrored=st.booleans(),
    pixel_size=st.floats(0.08, 0.28),
    window=st.integers(90, 140),
)
def test_any_lattice_and_window_give_exact_amplitudes(
    rotation: float, mirrored: bool, pixel_size: float, window: int
) -> None:
    lattice = make_lattice(MOS2, pixel_size, rotation, mirrored)
    hk = harmonics_of(lattice)
    rng = np.random.default_rng(1)
    c = rng.normal(size=len(hk)) + 1j * rng.normal(size=len(hk))
    image = plane_waves((150, 150), hk @ lattice.reciprocal, c, 3.0).astype(np.float32)
    found = extract_harmonics(image, lattice.reciprocal, hk, window, (np.array([3]), np.array([8])))
    np.testing.assert_allclose(found.amplitudes[0], c, atol=1e-4)  # float32, as above, in fewer pixels


def test_gram_matrix_is_the_naive_sum() -> None:
    rng = np.random.default_rng(2)
    g = rng.uniform(-0.4, 0.4, (9, 2))
    offset = np.arange(13) - 6
    x, y = np.meshgrid(offset, offset)
    waves = np.exp(2j * np.pi * (g[:, :1] * x.ravel() + g[:, 1:] * y.ravel()))
    np.testing.assert_allclose(gram_matrix(g, 13), np.conj(waves) @ waves.T, atol=1e-10)  # rounding of 169 terms


def test_gram_root_is_that_of_the_waves_without_their_background() -> None:
    """K of the waves less what the constant and the slow waves take of them, by explicit projection."""
    image = np.zeros((WINDOW, WINDOW), np.float32)
    root = extract_harmonics(image, LATTICE.reciprocal, HK, WINDOW, (np.array([0]), np.array([0]))).gram_root
    slow = np.array([[0, 0], [0.5, 0], [0, 0.5], [-0.5, 0], [0, -0.5]]) / WINDOW
    signed = np.concatenate([G, -G])
    kernel = gram_matrix(np.concatenate([slow, signed]), WINDOW)
    inside, mixed, outside = kernel[5:, 5:], kernel[5:, :5], kernel[:5, :5]
    expected = inside - mixed @ np.linalg.solve(outside, mixed.T)
    np.testing.assert_allclose(root @ root, expected, atol=1e-6 * WINDOW**2)  # double precision, K conditioned to 1e6
    np.testing.assert_allclose(root, root.T, atol=1e-10)  # rounding


@pytest.mark.parametrize(("length", "stride", "count"), [(120, 10, 1), (100, 10, 1), (121, 10, 1), (320, 100, 3)])
def test_window_starts_by_hand(length: int, stride: int, count: int) -> None:
    assert len(window_starts(length, WINDOW, stride)) == count


@given(st.integers(60, 3000), st.integers(40, 400), st.integers(1, 300))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_windows_touch_both_borders_about_a_stride_apart(length: int, window: int, stride: int) -> None:
    starts = window_starts(length, window, stride)
    if len(starts) == 1:
        assert length < window + 0.5 * stride + 1
        assert starts[0] == max(0, length - window) // 2
        return
    assert (starts[0], starts[-1]) == (0, length - window)
    # the number of windows is rounded: with two of them, the stride is 1/2 to 3/2 of what was asked for
    assert np.diff(starts).max() <= 1.5 * stride + 1
    assert np.diff(starts).min() >= 0.5 * stride - 1
