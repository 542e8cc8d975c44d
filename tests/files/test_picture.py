"""png, jpg and bmp."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Picture

from picostem.files import read_image, read_images
from picostem.files.grey import COLOUR_NOTE

Pixels = NDArray[np.uint16]


@pytest.fixture
def grey(pixels: Pixels) -> NDArray[np.uint8]:
    return (pixels >> 8).astype(np.uint8)


@pytest.mark.parametrize("form", ["png", "bmp"])
def test_eight_bits(tmp_path: Path, grey: NDArray[np.uint8], form: str) -> None:
    path = tmp_path / f"a.{form}"
    Picture.fromarray(grey).save(path)
    image = read_image(path)
    assert np.array_equal(image.data, grey)
    assert (image.pixel_size, image.name, image.path, image.notes) == (None, "a", path, ())


def test_sixteen_bits(tmp_path: Path, pixels: Pixels) -> None:
    Picture.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png").data, pixels)


def test_one_bit(tmp_path: Path, grey: NDArray[np.uint8]) -> None:
    Picture.fromarray(grey > 128).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png").data, grey > 128)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_grey_in_colours(tmp_path: Path, grey: NDArray[np.uint8], mode: str) -> None:
    """P: a table of greys, whose indices need not be the greys."""
    Picture.fromarray(grey).convert(mode).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert np.array_equal(image.data, grey)
    assert image.notes == ()


def test_true_colours_become_luminance_with_a_note(tmp_path: Path, grey: NDArray[np.uint8]) -> None:
    colours = np.stack([grey, grey[::-1], grey[:, ::-1]], axis=-1)
    Picture.fromarray(colours).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    expected = 0.2126 * colours[..., 0] + 0.7152 * colours[..., 1] + 0.0722 * colours[..., 2]
    np.testing.assert_allclose(image.data, expected, rtol=1e-6)  # float32
    assert image.notes == (COLOUR_NOTE,)


def test_channels_that_differ_by_rounding_are_grey(tmp_path: Path, grey: NDArray[np.uint8]) -> None:
    grey = np.minimum(grey, 254)
    Picture.fromarray(np.stack([grey, grey, grey + 1], axis=-1).astype(np.uint8)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").notes == ()


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpg(tmp_path: Path, mode: str) -> None:
    y, x = np.mgrid[:64, :80]
    smooth = (2 * y + x).astype(np.uint8)
    Picture.fromarray(smooth).convert(mode).save(tmp_path / "a.jpg", quality=95)
    image = read_image(tmp_path / "a.jpg")
    assert image.data.shape == (64, 80)
    assert np.abs(image.data - smooth).max() <= 6  # grey levels; jpg at 95 % rounds a smooth ramp by that much at most


def test_resolutions_are_for_printers(tmp_path: Path, grey: NDArray[np.uint8]) -> None:
    Picture.fromarray(grey).save(tmp_path / "a.png", dpi=(300, 300))
    assert read_image(tmp_path / "a.png").pixel_size is None


def test_more_pixels_than_pillow_allows(tmp_path: Path) -> None:
    """20 000 x 9 500 pixels: Image.open refuses more than 179 million."""
    large = np.zeros((9500, 20_000), bool)
    large[7, 19_999] = True
    Picture.fromarray(large).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.data.shape == (9500, 20_000)
    assert image.data[7, 19_999] == 1
    assert image.data.sum() == 1


def test_read_images_gives_the_single_image(tmp_path: Path, grey: NDArray[Any]) -> None:
    Picture.fromarray(grey).save(tmp_path / "a.png")
    (image,) = read_images(tmp_path / "a.png")
    assert np.array_equal(image.data, grey)
