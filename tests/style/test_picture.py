"""Images as pictures: grey values, pixel size, and what cannot become one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from picostem.errors import ImageError, UsageError
from picostem.image import Image
from picostem.style.picture import BRIGHT, Picture, by_mean, prepare


def wave(shape: tuple[int, int], pixel_size: float, period: float, low: float = 0.0, high: float = 1.0) -> Image:
    """cos along x, phase 0 at the image's centre, from low to high; period and pixel size in Å."""
    x = (np.arange(shape[1]) - (shape[1] - 1) / 2) * pixel_size
    row = low + (high - low) * (0.5 + 0.5 * np.cos(2 * np.pi * x / period))
    return Image(np.tile(row, (shape[0], 1)).astype(np.float32)).with_pixel_size(pixel_size, "user")


def inner(data: Any, margin: int = 10) -> Any:
    """Without the pixels near the edges, where the kernel sees the mirror image."""
    return data[margin:-margin, margin:-margin]


def test_lowest_and_highest_grey_values_become_0_and_1() -> None:
    data = np.random.default_rng(0).normal(300, 20, (40, 50)).astype(np.float32)
    picture = prepare(Image(data, name="one").with_pixel_size(0.1, "file"))
    assert (picture.black, picture.white, picture.name) == (data.min(), data.max(), "one")
    assert picture.data.dtype == np.float32
    assert picture.data.min() == 0
    assert picture.data.max() == 1
    # 1e-4: float32 at 300, 3e-5, and its rounding in two steps.
    assert np.abs(picture.black + picture.data * (picture.white - picture.black) - data).max() < 1e-4


def test_kept_pixels_are_not_resampled() -> None:
    image = wave((40, 64), 0.1, 1.7)
    assert np.array_equal(prepare(image).data, prepare(image, 0.1).data)
    assert prepare(image).pixel_size == 0.1


@pytest.mark.parametrize("pixel_size", [0.03, 0.05, 0.073, 0.117])
def test_waves_keep_their_period_and_height(pixel_size: float) -> None:
    image = wave((90, 201), 0.044, 1.9)
    found = prepare(image, pixel_size)
    shape = tuple(int(n * 0.044 / pixel_size) for n in image.data.shape)
    assert found.data.shape == shape
    expected = wave(shape, pixel_size, 1.9).data
    # 0.01: the kernel's passband at 1/4 to 1/9 of the coarser Nyquist frequency, and the range of the sampled wave.
    assert np.abs(inner(found.data) - inner(expected)).max() < 0.01


def test_shrinking_filters_what_the_new_pixels_cannot_show() -> None:
    # 0.13 Å is below the two new pixels that a wave needs; unfiltered, it would show a beat of full height.
    image = wave((400, 400), 0.05, 0.13)
    assert np.ptp(inner(prepare(image, 0.117).data)) < 0.03  # of 1; the kernel's first side lobes


def test_oblong_pixels_become_square() -> None:
    image = wave((60, 120), 0.1, 1.9)
    oblong = Image(image.data).with_pixel_size((0.2, 0.1), "file")
    found = prepare(oblong)
    assert found.pixel_size == 0.1
    assert found.data.shape == (120, 120)
    assert found.extent == pytest.approx(12.0)
    assert (
        np.abs(inner(found.data) - inner(prepare(wave((120, 120), 0.1, 1.9)).data)).max() < 1e-5
    )  # alike but for rounding


def test_a_given_pixel_size_wins_over_the_files() -> None:
    image = wave((64, 64), 0.1, 1.9)
    assert prepare(image, 0.1, source_pixel_size=0.2).data.shape == (128, 128)


@pytest.mark.parametrize(
    ("image", "sizes", "kind", "said"),
    [
        (Image(wave((64, 64), 0.1, 2).data), {}, ImageError, "--pixel-size"),
        (Image(np.full((64, 64), 3, np.float32)), {"source_pixel_size": 0.1}, ImageError, "all pixels are 3"),
        (Image(np.full((64, 64), np.nan, np.float32)), {"source_pixel_size": 0.1}, ImageError, "NaN"),
        (wave((20, 64), 0.1, 2), {}, ImageError, "at least 32"),
        (wave((64, 64), 0.1, 2), {"pixel_size": 0.3}, ImageError, "21 pixels would be left"),
        (wave((64, 64), 0.1, 2), {"pixel_size": 1e-5}, ImageError, "more than 20000"),
        (wave((64, 64), 0.1, 2), {"pixel_size": 0.0}, UsageError, "positive"),
        (wave((64, 64), 0.1, 2), {"source_pixel_size": float("nan")}, UsageError, "positive"),
    ],
    ids=["no size", "constant", "NaN", "small", "shrunk", "vast", "zero", "not a number"],
)
def test_what_cannot_become_a_picture_is_said(image: Image, sizes: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        prepare(image, **sizes)


def of_greys(greys: Any, black: float, white: float) -> Picture:
    """These greys of a source as a picture whose 0 and 1 are given ones of the source."""
    return Picture(((greys - black) / (white - black)).astype(np.float32), 0.1, black, white, "greys")


def test_by_mean_puts_0_at_nothing_and_1_at_a_multiple_of_the_mean() -> None:
    greys = np.tile([1.0, 3.0], (40, 20))  # their mean is 2
    found = by_mean(prepare(Image(greys.astype(np.float32), name="two").with_pixel_size(0.1, "user")))
    assert np.unique(found.data) == pytest.approx([1 / (2 * BRIGHT), 3 / (2 * BRIGHT)], rel=1e-6)  # float32
    assert (found.black, found.white) == (0.0, pytest.approx(2 * BRIGHT, rel=1e-6))
    assert found.data.mean() == pytest.approx(1 / BRIGHT, rel=1e-6)
    assert found.data.dtype == np.float32
    assert (found.pixel_size, found.name) == (0.1, "two")


@pytest.mark.parametrize(("black", "white"), [(0.0, 1.0), (-3.0, 9.0), (2.0, 0.5)])
def test_by_mean_does_not_depend_on_what_0_and_1_were(black: float, white: float) -> None:
    greys = np.random.default_rng(0).uniform(0.2, 2.0, (40, 50))
    found, expected = by_mean(of_greys(greys, black, white)), by_mean(of_greys(greys, 0.2, 2.0))
    np.testing.assert_allclose(found.data, expected.data, atol=1e-6)  # float32 over a range of up to 12 greys
    assert found.white == pytest.approx(expected.white, rel=1e-6)


def test_by_mean_does_not_depend_on_the_unit_and_changes_nothing_twice() -> None:
    greys = np.random.default_rng(0).uniform(0.2, 2.0, (40, 50))
    once = by_mean(of_greys(greys, 0.2, 2.0))
    np.testing.assert_allclose(by_mean(of_greys(700 * greys, 140.0, 1400.0)).data, once.data, rtol=1e-5)  # float32
    np.testing.assert_allclose(by_mean(once).data, once.data, rtol=1e-6)


@pytest.mark.parametrize(("low", "high"), [(-2.0, 1.0), (-1.0, 1.0)], ids=["negative", "zero"])
def test_by_mean_refuses_greys_that_do_not_count_electrons(low: float, high: float) -> None:
    with pytest.raises(ImageError, match="count electrons"):
        by_mean(of_greys(np.tile([low, high], (40, 20)), low, high))
