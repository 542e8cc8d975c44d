"""Windows of an image as patches: where they lie, how they are turned, and what becomes of pixel sizes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from picostem.dataset.patch_windows import Windows, beside_change
from picostem.errors import ImageError, UsageError
from picostem.image import Image
from picostem.simulate.synthesis import pixel_axes
from picostem.structure.stack import image_from_crystal, rotation_matrix

G = np.array([[0.25, 0.05], [-0.1, 0.3]])  # 1/Å, crystal frame: 4 and 3 Å
PHASE = np.array([0.2, 0.7])


def waves(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A crystal, at places of its own frame."""
    return np.asarray(sum(np.cos(2 * np.pi * (g[0] * x + g[1] * y + p)) for g, p in zip(G, PHASE, strict=True)))


def image_of(rotation: float, mirrored: bool, pixel: float) -> Image:
    shape = (round(72 / pixel), round(93.6 / pixel))
    x, y = (axis.ravel() for axis in np.broadcast_arrays(*_grid(shape, pixel)))
    crystal = np.stack([x, y]).T @ image_from_crystal(rotation, mirrored)  # the inverse of an orthogonal matrix
    return Image(waves(*crystal.T).reshape(shape).astype(np.float32), (pixel, pixel), "user", "made")


def _grid(shape: tuple[int, int], pixel: float) -> tuple[np.ndarray, np.ndarray]:
    x, y = pixel_axes(shape, pixel)
    return x[None], y[:, None]


@pytest.mark.parametrize("pixel", [0.1, 0.18, 0.2, 0.36, 0.5])
@pytest.mark.parametrize(("rotation", "mirrored"), [(0.0, False), (0.7, False), (-2.0, True)])
def test_patches_show_the_crystal_as_the_network_knows_it(pixel: float, rotation: float, mirrored: bool) -> None:
    """Whatever its turn, hand and pixel size in the image. Splines err by 1 % of each wave, the filter by 2."""
    orientation = 0.3
    windows = Windows.of(image_of(rotation, mirrored, pixel), 32, 0.36, orientation, rotation, mirrored)
    centres = np.array([[0.0, 0.0], [5.0, -3.0], [-7.0, 2.0]])
    found = windows.taken(centres)
    x, y = _grid((32, 32), 0.36)
    for patch, centre in zip(found, centres, strict=True):
        shift = image_from_crystal(rotation, mirrored).T @ centre
        places = np.stack(np.broadcast_arrays(x, y), axis=-1) @ rotation_matrix(orientation) + shift
        np.testing.assert_allclose(patch, waves(places[..., 0], places[..., 1]), atol=0.07)


def test_what_small_patches_cannot_show_is_filtered_away() -> None:
    noise = np.random.default_rng(0).standard_normal((300, 300)).astype(np.float32)
    image = Image(noise, (0.09, 0.09), "user", "noise")
    patches = Windows.of(image, 32, 0.36, 0.0, 0.0, False).taken(np.zeros((1, 2)))
    # sixteen pixels go into one: a quarter of the noise is left, less what goes in the filter's slope
    assert 0.2 < patches.std() < 0.26


@pytest.mark.parametrize("stride", [2.0, 5.0])
@pytest.mark.parametrize("rotation", [0.0, 0.5])
def test_grids_hold_whole_patches(stride: float, rotation: float) -> None:
    windows = Windows.of(image_of(0.0, False, 0.36), 32, 0.36, 0.0, rotation, False)
    grid = windows.grid(stride)
    assert grid.mean(axis=(0, 1)) == pytest.approx(0, abs=1e-9)
    assert np.diff(grid[..., 0], axis=1) == pytest.approx(stride) and np.diff(grid[..., 1], axis=0) == pytest.approx(
        -stride
    )
    half = 16 * 0.36 * (abs(np.cos(rotation)) + abs(np.sin(rotation)))
    room = np.array([260, 200]) * 0.36 / 2 - half - np.abs(grid).max(axis=(0, 1))
    assert (room > -1e-9).all() and (room < stride / 2 + 1e-9).all()


def test_beside_a_change() -> None:
    x, y = np.meshgrid(np.arange(4) * 10.0, -np.arange(2) * 10.0)
    coarse = np.stack([x, y], axis=-1)
    changes = np.zeros((2, 4), dtype=bool)
    changes[0, 1] = True
    fine = np.array([[10.0, 0.0], [20.0, -10.0], [20.1, 0.0], [0.0, 10.0], [-1.0, 0.0]])
    assert beside_change(changes, coarse, fine, 10.0).tolist() == [True, True, False, True, False]
    assert not beside_change(~changes & False, coarse, fine, 10.0).any()


def test_bad_input() -> None:
    good = image_of(0.0, False, 0.36)

    def windows(image: Image, side: int = 32) -> Any:
        return Windows.of(image, side, 0.36, 0.0, 0.4, False)

    with pytest.raises(ImageError, match="pixel size is not known"):
        windows(Image(good.data))
    with pytest.raises(ImageError, match="make them square first"):
        windows(replace(good, pixel_size=(0.36, 0.4)))
    holed = good.data.copy()
    holed[3, 3] = np.nan
    with pytest.raises(ImageError, match="NaN or infinite"):
        windows(replace(good, data=holed))
    with pytest.raises(ImageError, match=r"94 × 72 Å hold no turned patch of 72 Å"):
        windows(good, 200)
    for stride in (0.0, -1.0, float("nan")):
        with pytest.raises(UsageError, match="expected more than 0"):
            windows(good).grid(stride)
    with pytest.raises(UsageError, match="take a larger stride"):
        windows(good).grid(0.001)
