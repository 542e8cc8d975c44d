"""NSID files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.errors import ImageError
from picostem.files import list_datasets, read_image
from picostem.image import Acquisition

Pixels = NDArray[np.uint16]
Writer = Callable[..., Path]


@pytest.mark.parametrize("names", [("x", "y"), ("y", "x")])
def test_image_in_either_order(write_nsid: Writer, pixels: Pixels, names: tuple[str, str]) -> None:
    path = write_nsid(pixels, (0.02, 0.03), names)
    image = read_image(path)
    assert np.array_equal(image.data, pixels)
    assert image.data.flags.c_contiguous
    assert image.pixel_size == pytest.approx((0.2, 0.3))
    assert image.acquisition == Acquisition(6e4, 0.0315)
    assert [(info.name, info.shape, info.kind) for info in list_datasets(path)] == [("HAADF", (40, 48), "image")]


def test_without_dimensions(write_nsid: Writer, pixels: Pixels) -> None:
    path = write_nsid(pixels, (0.02, 0.03), ("y", "x"))
    with h5py.File(path, "a") as file:
        group = file["Measurement_000/Channel_000/HAADF"]
        for i, name in enumerate("yx"):
            group["HAADF"].dims[i].detach_scale(group[name])
    image = read_image(path)
    assert np.array_equal(image.data, pixels)
    assert image.pixel_size is None


def test_spectra(write_nsid: Writer) -> None:
    path = write_nsid(np.zeros((40, 48)), (0.02, 0.03), ("y", "x"))
    with h5py.File(path, "a") as file:
        group = file["Measurement_000/Channel_000/HAADF"]
        group["x"].attrs.update(name="energy_loss", units="eV")
        group["HAADF"].attrs["data_type"] = "SPECTRAL_IMAGE"
    with pytest.raises(ImageError, match="spectrum image"):
        read_image(path)
