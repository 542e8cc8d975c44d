"""Linear scan distortion undone by the lattice that the layers are known to have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picostem.errors import ImageError
from picostem.image import Image
from picostem.pipeline import resolve
from picostem.resolve.result import ResolvedLayer, Result
from picostem.resolve.settings import Settings
from picostem.resolve.undistort import undistorted
from picostem.simulate import AcquisitionSettings, simulate_stack
from picostem.structure import Stack, image_from_crystal

from .made import KNOWN, MICROSCOPE, MOS2, RES2, SLIP, crystal_image, make_lattice

SHEAR = np.array([[1.02, 0.035], [-0.01, 0.97]])
"""Specimen to image: 3.5 % shear, scales 2 % too large and 3 % too small."""


def distorted(
    distortion: np.ndarray,
    shape: tuple[int, int] = (200, 260),
    rotation: float = 0.7,
    mirrored: bool = False,
    pixel_size: float = 0.12,
) -> Result:
    """A crystal seen through a distortion, and the result that describes it exactly."""
    lattice = make_lattice(MOS2, pixel_size, rotation, mirrored, distortion)
    data = crystal_image(MOS2, lattice, shape).astype(np.float32)
    image = Image(data, name="sheared").with_pixel_size(pixel_size, "user")
    layer = ResolvedLayer(MOS2, rotation, mirrored, lattice.rows * pixel_size, np.zeros(2), np.zeros(2))
    return Result("monolayer", None, image, Settings("MoS2"), "1", pixel_size, (layer,))


def perfect(image: Image, rotation: float, mirrored: bool) -> np.ndarray:
    assert image.pixel_size is not None
    return crystal_image(MOS2, make_lattice(MOS2, image.pixel_size[0], rotation, mirrored), image.data.shape)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rotation", [0.0, 0.7, 2.5])
def test_the_crystal_is_as_it_is(rotation: float, mirrored: bool) -> None:
    image = undistorted(distorted(SHEAR, rotation=rotation, mirrored=mirrored))
    expected = perfect(image, rotation, mirrored)
    inside = np.s_[8:-8, 8:-8]  # at the image's border the spline knows only one side
    # 1e-3 of the contrast: what a quintic spline leaves of waves up to 1.1 1/Å on pixels of 0.12 Å
    np.testing.assert_allclose(image.data[inside], expected[inside], atol=1e-3 * np.ptp(expected))


def test_what_is_known_of_the_new_image() -> None:
    result = distorted(SHEAR)
    image = undistorted(result)
    # an area of 1 in the specimen takes det(SHEAR) in the image
    assert image.pixel_size == pytest.approx((0.12 / np.sqrt(np.linalg.det(SHEAR)),) * 2)
    assert image.pixel_size_source == "lattice"
    assert image.name == "sheared undistorted"
    assert image.notes == ("resampled so that the lattice is that of MoS2",)
    assert image.data.dtype == np.float32
    assert result.image.name == "sheared"


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(-0.06, 0.06), min_size=4, max_size=4), st.floats(0, 6))
def test_the_field_lies_in_the_image_and_reaches_its_border(terms: list[float], rotation: float) -> None:
    distortion = np.eye(2) + np.reshape(terms, (2, 2))
    result = distorted(distortion, (48, 64), rotation)
    image = undistorted(result)
    assert image.pixel_size is not None
    rows, columns = image.data.shape
    corners = np.array([[x, y] for x in (-1, 1) for y in (-1, 1)]) * [(columns - 1) / 2, (rows - 1) / 2]
    seen = np.abs(corners * image.pixel_size[0] @ distortion.T / 0.12).max(axis=0) - [63 / 2, 47 / 2]
    assert seen.max() < 1e-6  # rounding
    assert seen.max() > -1.2  # less than one pixel more would fit, of at most 1.2 of the old ones


def test_nothing_to_undo() -> None:
    result = distorted(np.eye(2))
    image = undistorted(result)
    assert image.pixel_size == pytest.approx((0.12, 0.12))
    # rounding of float32 and of the spline's coefficients
    np.testing.assert_allclose(image.data, result.image.data, rtol=0, atol=1e-5 * np.ptp(result.image.data))


def test_the_pixel_size_given_does_not_matter() -> None:
    """Pixels are of 0.12 Å by the lattice, whatever the image's calibration says."""
    result = distorted(np.eye(2))
    image = undistorted(replace(result, image=result.image.with_pixel_size(0.11, "file")))
    assert image.data.shape == result.image.data.shape
    assert image.pixel_size == pytest.approx((0.12, 0.12))


def test_oblong_pixels_become_square() -> None:
    """Every second row of an image: pixels of 0.24 by 0.12 Å."""
    result = distorted(SHEAR, (400, 260))
    data = (result.image.data[0::2] + result.image.data[1::2]) / 2
    oblong = Image(data.astype(np.float32), name="oblong").with_pixel_size((0.24, 0.12), "file")
    # the fit sees square pixels of 0.24 Å
    image = undistorted(replace(result, image=oblong, pixel_size_lattice=0.24))
    assert image.pixel_size is not None
    assert image.pixel_size[0] == image.pixel_size[1] == pytest.approx(np.sqrt(0.24 * 0.12 / np.linalg.det(SHEAR)))
    expected = perfect(image, 0.7, False)
    inside = np.s_[8:-8, 8:-8]
    # the mean of two rows blurs by half a pixel of 0.12 Å: waves of 1.1 1/Å lose 1 - cos(pi 0.12 1.1) = 8 %, those
    # that carry most of the contrast, at 0.37 1/Å, 1 %
    assert np.corrcoef(image.data[inside].ravel(), expected[inside].ravel())[0, 1] > 0.999


def test_a_simulated_scan_through_the_whole_way() -> None:
    drift = ((0.98, -0.03), (0.015, 1.03))
    image, _ = simulate_stack(
        Stack.bilayer(RES2, (float(SLIP[0]), float(SLIP[1]))),
        MICROSCOPE,
        AcquisitionSettings(drift=drift),
        (288, 288),
        0.12,
        np.random.default_rng(3),
        rotation=0.7,
    )
    straight = undistorted(resolve(image, "ReS2", **KNOWN, stride_nm=4))
    result = resolve(straight, "ReS2", **KNOWN, stride_nm=4)
    layer = result.layers[0]
    measured = np.linalg.inv(RES2.cell @ image_from_crystal(layer.rotation, layer.mirrored).T) @ layer.rows
    # 5e-4: rows are measured to about 0.003 Å of 6.5 Å (windows of 20 Å shift by 0.01 Å across a field of 30 Å)
    np.testing.assert_allclose(measured, np.eye(2), atol=5e-4)
    assert straight.pixel_size is not None
    assert straight.pixel_size[0] == pytest.approx(0.12 * np.sqrt(np.linalg.det(drift)), rel=5e-4)
    equivalents = result.interfaces[0].equivalents
    # 0.03 Å: five times the error bar of 0.005 Å, as the resampled noise is no longer white
    assert np.linalg.norm(equivalents - SLIP, axis=1).min() < 0.03


def test_without_layers() -> None:
    result = replace(distorted(SHEAR), layers=(), verdict="unresolved", reason="The image shows no lattice.")
    with pytest.raises(ImageError, match=r"^sheared: no layer was found in it, .*: The image shows no lattice.$"):
        undistorted(result)
    with pytest.raises(ImageError, match=r": unresolved$"):
        undistorted(replace(result, reason=None))
