from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from picostem.image import Image
from picostem.style.picture import prepare
from picostem.style.regrid import covering, regridded
from picostem.style.tiles import MULTIPLE, run_in_tiles, spans

FloatImage = NDArray[np.float32]


class TestSpans:
    @given(st.integers(1, 700), st.integers(1, 60), st.integers(0, 30))
    def test_weights_add_up_to_one_and_vanish_near_inner_borders(self, quarter: int, tile: int, reach: int) -> None:
        length = quarter * MULTIPLE
        total = np.zeros(length)
        for span in spans(length, tile * MULTIPLE, reach, fade=16):
            assert span.start % MULTIPLE == span.stop % MULTIPLE == 0
            total[span.pixels] += span.weight
            used = np.flatnonzero(span.weight) + span.start
            assert span.start == 0 or used[0] - span.start >= reach
            assert span.stop == length or span.stop - 1 - used[-1] >= reach
        np.testing.assert_allclose(total, 1, atol=1e-6)  # single precision

    def test_one_tile_where_one_suffices(self) -> None:
        (span,) = spans(96, 96, 20)
        assert (span.start, span.stop) == (0, 96)
        assert (span.weight == 1).all()

    def test_no_more_and_no_larger_tiles_than_needed(self) -> None:
        overlap = 2 * 56 + 32
        assert [span.stop - span.start for span in spans(4096, 1024, 54)] == [936] * 5  # (4096 + 4 overlap) / 5
        assert [span.stop - span.start for span in spans(1500, 1024, 54)] == [(1500 + overlap) // 2 + 2] * 2


def blur(image: FloatImage, noise: FloatImage) -> FloatImage:
    """A mean over 9 × 9 pixels with zeros beyond the border, and some noise: it reaches 4 pixels far."""
    return np.asarray(ndimage.uniform_filter(image, 9, mode="constant") + 0.1 * noise, np.float32)


class TestRunInTiles:
    def test_tiles_agree_with_the_whole(self) -> None:
        images = np.random.default_rng(1).random((2, 300, 404), dtype=np.float32)
        calls: list[tuple[int, ...]] = []

        def watched(*parts: FloatImage) -> FloatImage:
            calls.append(parts[0].shape)
            return blur(*parts)

        tiled = run_in_tiles(watched, list(images), 96, 4)
        assert len(calls) > 20
        np.testing.assert_allclose(tiled, blur(*images), atol=1e-6)  # single precision

    def test_too_small_a_reach_shows(self) -> None:
        """The seams are what the reach is there for."""
        images = np.ones((2, 300, 404), dtype=np.float32)

        def bordered(image: FloatImage, noise: FloatImage) -> FloatImage:
            return np.asarray(ndimage.uniform_filter(image, 41, mode="constant"), np.float32)

        off = np.abs(run_in_tiles(bordered, list(images), 96, 4) - bordered(*images)).max()
        assert off > 0.02
        np.testing.assert_allclose(
            run_in_tiles(bordered, list(images), 96, 20), bordered(*images), atol=1e-6
        )  # rounding

    def test_a_small_image_is_run_at_once(self) -> None:
        calls: list[tuple[int, ...]] = []

        def watched(image: FloatImage) -> FloatImage:
            calls.append(image.shape)
            return image

        run_in_tiles(watched, [np.zeros((64, 128), np.float32)], 64, 4)
        assert calls == [(64, 128)]


def wave(shape: tuple[int, int], pixel_size: float, period: float) -> FloatImage:
    """A wave along both axes of the image frame, its phase fixed at the centre."""
    rows, columns = ((np.arange(n) - (n - 1) / 2) * pixel_size for n in shape)
    phase = 2 * np.pi * (columns[None, :] + 0.5 * rows[:, None]) / period + 0.4
    return np.cos(phase).astype(np.float32)


class TestRegridded:
    @pytest.mark.parametrize("new", [0.07, 0.11, 0.2])
    def test_a_wave_stays_where_it_is(self, new: float) -> None:
        """The kernel passes up to half of the coarser grid's Nyquist frequency to 1 %, with a little for positions."""
        old = wave((120, 90), 0.12, 1.6)
        shape = covering(old.shape, 0.12 / new)
        moved = regridded(old, 0.12 / new, shape)
        inner = (slice(10, -10), slice(10, -10))
        np.testing.assert_allclose(moved[inner], wave(shape, new, 1.6)[inner], atol=0.012)

    def test_there_and_back(self) -> None:
        old = wave((101, 64), 0.12, 1.6)
        fine = regridded(old, 0.12 / 0.08, covering(old.shape, 0.12 / 0.08))
        assert fine.shape == (152, 96)
        back = regridded(fine, 0.08 / 0.12, (101, 64))
        inner = (slice(6, -6), slice(6, -6))
        np.testing.assert_allclose(back[inner], old[inner], atol=0.01)  # twice the kernel's error

    def test_shrinking_filters_what_the_new_grid_cannot_hold(self) -> None:
        noise = np.random.default_rng(2).standard_normal((400, 400)).astype(np.float32)
        small = regridded(noise, 0.25, (100, 100))
        # A perfect filter leaves a sixteenth of the power; the kernel's edge is not sharp, and cuts some more.
        assert small.std() == pytest.approx(0.25, rel=0.15)

    def test_a_constant_stays_constant_to_the_border(self) -> None:
        for enlarge in (0.3, 1.0, 2.7):
            grid = regridded(np.full((40, 50), 3.5, np.float32), enlarge, (40, 50))
            np.testing.assert_allclose(grid, 3.5, rtol=1e-5)  # single precision

    def test_against_the_resampling_of_pictures(self) -> None:
        """`prepare` has the same kernel in double precision, on a grid inside the old one."""
        data = np.random.default_rng(3).random((90, 90)).astype(np.float32)
        data[0, :2] = (0, 1)
        expected = prepare(Image(data).with_pixel_size(0.12, "user"), 0.09).data
        # Single precision; `prepare` also cuts off what overshoots.
        np.testing.assert_allclose(np.clip(regridded(data, 0.12 / 0.09, expected.shape), 0, 1), expected, atol=1e-5)
