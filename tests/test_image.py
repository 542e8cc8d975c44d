"""Images, their calibration, and what makes one unusable."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from picostem.errors import ImageError
from picostem.image import (
    MAX_SIDE,
    MIN_SIDE,
    SATURATED_SHARE,
    Acquisition,
    Image,
    check_image,
    check_size,
    saturated_share,
)


def _noise(rows: int = 64, columns: int = 64) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(100, 10, (rows, columns)).astype(np.float32)


def _lattice(rows: int = 128, columns: int = 128) -> NDArray[np.float32]:
    """A smooth, noise-free lattice between 0 and 1: the flattest peaks an image can have."""
    y, x = np.mgrid[:rows, :columns]
    return np.asarray((2 + np.cos(2 * np.pi * x / 25.3) + np.cos(2 * np.pi * y / 21.7)) / 4, np.float32)


class TestImage:
    def test_repr_is_one_short_line_without_pixels(self) -> None:
        image = Image(_noise(512, 384), (0.12, 0.125), "file", "ReS2", acquisition=Acquisition(voltage_eV=6e4))
        assert repr(image) == "<Image 'ReS2': 512 × 384 px, 0.12 × 0.125 Å/px (file), 60 kV>"

    def test_repr_says_what_is_unknown(self) -> None:
        assert repr(Image(_noise(40, 48))) == "<Image 'array': 40 × 48 px, pixel size unknown, voltage unknown>"

    def test_is_frozen_and_hashable(self) -> None:
        image = Image(_noise())
        with pytest.raises(dataclasses.FrozenInstanceError):
            image.name = "other"  # type: ignore[misc]
        assert len({image, image, Image(image.data)}) == 2

    @pytest.mark.parametrize("shape", [(), (64,), (3, 64, 64)])
    def test_needs_two_dimensions(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ImageError, match="two dimensions"):
            Image(np.zeros(shape, np.float32))

    def test_pixel_size_and_source_go_together(self) -> None:
        with pytest.raises(ImageError, match="go together"):
            Image(_noise(), pixel_size=(0.1, 0.1))
        with pytest.raises(ImageError, match="go together"):
            Image(_noise(), pixel_size_source="user")

    @given(size=st.floats(1e-3, 1e3), other=st.floats(1e-3, 1e3))
    def test_with_pixel_size(self, size: float, other: float) -> None:
        image = Image(_noise(), name="a", notes=("noted",))
        assert image.with_pixel_size(size, "user").pixel_size == (size, size)
        changed = image.with_pixel_size((size, other), "lattice")
        assert (changed.pixel_size, changed.pixel_size_source) == ((size, other), "lattice")
        assert changed.data is image.data
        assert (changed.name, changed.notes, image.pixel_size) == ("a", ("noted",), None)

    @pytest.mark.parametrize("size", [0, -0.1, float("nan"), float("inf"), (0.1, 0.0), (0.1, 0.1, 0.1)])
    def test_impossible_pixel_sizes(self, size: float | tuple[float, float]) -> None:
        with pytest.raises(ImageError, match="positive"):
            Image(_noise()).with_pixel_size(size, "user")


class TestCheckImage:
    def test_accepts_noise_and_lattices(self) -> None:
        check_image(Image(_noise()))
        check_image(Image(_lattice()))
        check_image(Image(_noise(MIN_SIDE, 2 * MIN_SIDE)))

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_counts_pixels_that_are_no_number(self, value: float) -> None:
        data = _noise()
        data[3, 4:7] = value
        with pytest.raises(ImageError, match=r"3 of 4096 pixels are NaN or infinite: crop"):
            check_image(Image(data))

    @pytest.mark.parametrize("value", [0.0, -7.5, 1e30])
    def test_constant(self, value: float) -> None:
        with pytest.raises(ImageError, match="all pixels are"):
            check_image(Image(np.full((64, 64), value, np.float32)))

    @pytest.mark.parametrize("shape", [(MIN_SIDE - 1, 64), (64, MIN_SIDE - 1), (1, 1)])
    def test_too_small(self, shape: tuple[int, int]) -> None:
        with pytest.raises(ImageError, match=f"at least {MIN_SIDE}"):
            check_image(Image(_noise(*shape)))

    def test_too_large(self) -> None:
        strip = np.broadcast_to(np.float32(0), (MIN_SIDE, MAX_SIDE + 1))  # takes no memory
        with pytest.raises(ImageError, match=str(MAX_SIDE)):
            check_image(Image(strip))

    @pytest.mark.parametrize("shape", [(0, 64), (64, 0)])
    def test_empty(self, shape: tuple[int, int]) -> None:
        with pytest.raises(ImageError, match="empty"):
            check_image(Image(np.zeros(shape, np.float32)))

    def test_size_limit_is_inclusive(self) -> None:
        check_size((MAX_SIDE, MAX_SIDE), "largest")
        with pytest.raises(ImageError, match="crop or bin"):
            check_size((MAX_SIDE + 1, 1), "larger")

    def test_messages_name_the_image_on_one_line(self) -> None:
        with pytest.raises(ImageError) as caught:
            check_image(Image(np.zeros((64, 64), np.float32), name="ReS2 HAADF"))
        assert str(caught.value).startswith("ReS2 HAADF: ")
        assert "\n" not in str(caught.value)


class TestSaturation:
    """Clipped images are refused; images whose histogram just ends are not."""

    @given(share=st.floats(0.02, 0.3), seed=st.integers(0, 2**32 - 1))
    def test_measures_the_clipped_share(self, share: float, seed: int) -> None:
        data = np.random.default_rng(seed).normal(0, 1, (64, 64)).astype(np.float32)
        clipped = np.minimum(data, np.sort(data.ravel())[-round(share * data.size)])
        assert saturated_share(clipped) == pytest.approx(share, abs=1 / data.size)  # a whole number of pixels
        with pytest.raises(ImageError, match=r"clipped at .*: use the original data or lower"):
            check_image(Image(clipped))

    @pytest.mark.parametrize("gain", [1.0, 0.0237, 311.0])
    @pytest.mark.parametrize("offset", [0.0, -12_589.0, 1e6])
    def test_calibration_and_conversion_do_not_hide_it(self, gain: float, offset: float) -> None:
        raw = np.minimum(np.random.default_rng(2).normal(200, 30, (64, 64)), 255).astype(np.uint8)
        truth = saturated_share(raw.astype(np.float32))
        assert truth > SATURATED_SHARE
        assert saturated_share((offset + gain * raw).astype(np.float32)) == truth

    def test_a_few_clipped_pixels_are_accepted(self) -> None:
        data = _noise()
        data.ravel()[np.argsort(data.ravel())[-20:]] = data.max()  # 0.5 %
        check_image(Image(data))

    @pytest.mark.parametrize("mean", [0.01, 0.05, 0.3, 1.0, 3.0, 10.0])
    def test_low_counts_are_not_saturated(self, mean: float) -> None:
        """At 0.05 electrons per pixel 5 % of the pixels hold the highest count, because there are only two counts."""
        for seed in range(5):
            counts = np.random.default_rng(seed).poisson(mean, (128, 128)).astype(np.float32)
            assert saturated_share(counts) <= SATURATED_SHARE

    @pytest.mark.parametrize("levels", [8, 64, 256])
    def test_flat_peaks_in_few_grey_levels_are_not_saturated(self, levels: int) -> None:
        data = np.round(_lattice(512, 512) * (levels - 1)).astype(np.float32)
        assert saturated_share(data) <= SATURATED_SHARE

    def test_labels_of_two_values_are_not_saturated(self) -> None:
        data = np.ones((64, 64), np.float32)
        data[:, 40:] = 2
        assert saturated_share(data) == 0
