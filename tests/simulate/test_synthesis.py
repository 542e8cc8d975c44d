"""Fourier series on pixels and Fourier coefficients of points, against naive sums."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.simulate.gridding import PointSpectrum
from picostem.simulate.synthesis import pixel_axes, synthesise


def test_pixel_axes_follow_the_image_frame() -> None:
    x, y = pixel_axes((3, 4), 0.5)
    np.testing.assert_allclose(x, [-0.75, -0.25, 0.25, 0.75])
    np.testing.assert_allclose(y, [0.5, 0, -0.5])  # row 0 is at the top


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (40, 33), (128, 257)])
def test_synthesis_is_the_naive_sum(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    g = rng.uniform(-2, 2, (30, 2))
    c = rng.normal(size=30) + 1j * rng.normal(size=30)
    x, y = pixel_axes(shape, 0.13)
    phase = g[:, 0, None, None] * x + g[:, 1, None, None] * y[:, None]
    naive = np.tensordot(c, np.exp(2j * np.pi * phase), 1).real
    image = synthesise(g, c, shape, 0.13)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, naive, atol=1e-6 * np.abs(c).sum())  # float32, as the docstring states


def test_an_empty_series_is_dark() -> None:
    assert not synthesise(np.zeros((0, 2)), np.zeros(0, complex), (3, 5), 0.1).any()


class TestPointSpectrum:
    grid = PointSpectrum((90, 120), 0.15, 2.1)
    rng = np.random.default_rng(2)
    points = rng.uniform(-0.5, 0.5, (40, 2)) * grid.extent
    weights = rng.normal(size=40)

    def test_frequencies_fill_the_half_disc(self) -> None:
        assert (self.grid.g < 2.1).all()
        assert (self.grid.gx >= 0).all()
        # Half a disc of pi 2.1² frequencies per area 18 x 13.5 Å, plus half of the column gx = 0.
        assert len(self.grid.g) == pytest.approx(np.pi * 2.1**2 / 2 * 18 * 13.5 + 2.1 * 13.5, rel=0.01)

    def test_coefficients_are_the_naive_sum(self) -> None:
        waves = np.exp(
            -2j * np.pi * (np.outer(self.grid.gx, self.points[:, 0]) + np.outer(self.grid.gy, self.points[:, 1]))
        )
        ones, weighted = self.grid.of(self.points, self.weights)
        np.testing.assert_allclose(ones, waves.sum(axis=1), atol=4e-6 * 40)  # window 1e-6 and float32, of 40 points
        np.testing.assert_allclose(weighted, waves @ self.weights, atol=4e-6 * 40)

    def test_image_of_a_spectrum_is_its_fourier_sum(self) -> None:
        rng = np.random.default_rng(3)
        spectrum = (rng.normal(size=len(self.grid.g)) + 1j * rng.normal(size=len(self.grid.g))).astype(np.complex64)
        spectrum[self.grid.gx == 0] = 0  # these pair up with their own mirror images
        for shape in ((21, 30), (20, 31)):
            x, y = pixel_axes(shape, 0.15)
            across = np.exp(2j * np.pi * np.outer(self.grid.gx, x))
            down = np.exp(2j * np.pi * np.outer(self.grid.gy, y))
            naive = 2 * (down.T @ (spectrum[:, None] * across)).real / np.prod(self.grid.extent)
            image = self.grid.image(spectrum, shape)
            np.testing.assert_allclose(image, naive, atol=1e-5 * np.abs(naive).max())  # float32 FFT

    def test_points_on_the_edge_wrap_around(self) -> None:
        edge = np.array([[self.grid.extent[0] / 2, 1.0], [-self.grid.extent[0] / 2, 1.0]])
        left, right = (self.grid.of(edge[k : k + 1], np.ones(1))[0] for k in (0, 1))
        np.testing.assert_allclose(left, right, atol=4e-6)  # as above, of one point
