"""Oblong pixels made square and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from picostem.image import Image
from picostem.resolve.result import Result, SlipMap
from picostem.resolve.settings import Settings
from picostem.resolve.square import squared, unsquared

from .made import plane_waves


def wave(shape: tuple[int, int], rows: float, cols: float) -> np.ndarray:
    """cos 2 pi (x + y/2)/10 Å on pixels of these sizes."""
    g = np.array([[0.1 * cols, 0.05 * rows]])
    return plane_waves(shape, g, np.array([0.5 + 0j]), 3.0).astype(np.float32)


def test_square_images_are_left_alone() -> None:
    image = Image(wave((40, 50), 0.3, 0.3))
    assert squared(image) is image
    for size in (0.3, (0.3, 0.3003)):
        known = image.with_pixel_size(size, "file")
        assert squared(known) is known


@pytest.mark.parametrize("size", [(0.45, 0.3), (0.3, 0.4)])
def test_resampled_image_shows_the_same(size: tuple[float, float]) -> None:
    image = Image(wave((60, 80), *size)).with_pixel_size(size, "file")
    square = squared(image)
    side = min(size)
    assert square.pixel_size == (side, side)
    assert square.pixel_size_source == "file"
    assert square.data.shape == (round(60 * size[0] / side), round(80 * size[1] / side))
    # pixels keep their places: the field's edges, not its pixels' centres, are the same
    expected = wave(square.data.shape, side, side)
    inside = np.s_[6:-6, 6:-6]
    np.testing.assert_allclose(
        square.data[inside], expected[inside], atol=0.04
    )  # a cubic spline; shapes rounded by 1/3 pixel: 0.1 Å at 6 % a pixel


def slip_map(rows: int, cols: int) -> SlipMap:
    one = np.zeros(2)
    row, col = np.array([-0.5, rows - 0.5]), np.array([-0.5, cols - 0.5])
    status, fine = np.array(["ok", "ok"]), np.zeros(2, bool)
    plane = np.zeros((2, 2))
    return SlipMap(row, col, plane, plane, np.zeros((2, 2, 2)), one, status, fine, 20.0, 10.0, (1, 2))


def test_result_goes_back_to_the_images_pixels() -> None:
    image = Image(wave((60, 80), 0.45, 0.3)).with_pixel_size((0.45, 0.3), "file")
    square = squared(image)
    assert square.data.shape == (90, 80)
    result = Result("slip", None, square, Settings("ReS2"), "1", maps=(slip_map(90, 80),), simulated=square.data)
    back = unsquared(replace(result, image=replace(square, notes=("What was found.",))), image)
    assert back.image.data is image.data
    assert (back.image.pixel_size, back.image.notes) == (image.pixel_size, ("What was found.",))
    assert back.map is not None
    np.testing.assert_allclose(back.map.row, [-0.5, 59.5])  # the field's edges
    np.testing.assert_allclose(back.map.col, [-0.5, 79.5])
    assert back.simulated is not None
    assert back.simulated.shape == (60, 80)
    np.testing.assert_allclose(back.simulated[6:-6, 6:-6], image.data[6:-6, 6:-6], atol=0.03)  # there and back
    bare = replace(result, maps=(), simulated=None)
    assert unsquared(bare, image).map is None


def test_result_of_a_square_image_is_its_own() -> None:
    image = Image(wave((60, 80), 0.3, 0.3)).with_pixel_size(0.3, "file")
    result = Result("unresolved", "why", image, Settings("ReS2"), "1")
    assert unsquared(result, image) is result
