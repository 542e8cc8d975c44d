"""tif: calibrations of every program, pages, colours, odd encodings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from picostem.errors import FileError, ImageError
from picostem.files import list_datasets, read_image, read_images
from picostem.files.grey import COLOUR_NOTE
from picostem.files.tif import INVERTED_NOTE, PALETTE_NOTE

Pixels = NDArray[np.uint16]

TITAN_XML = """<?xml version="1.0"?>
<Metadata xmlns:nil="http://schemas.fei.com/Metadata/v1/2013/07">
  <Optics><AccelerationVoltage>60000</AccelerationVoltage><BeamConvergence>0.0315</BeamConvergence></Optics>
  <BinaryResult><PixelSize>
    <X unit="{unit}" unitPrefixPower="1">3e-11</X><Y unit="{unit}" unitPrefixPower="1">2e-11</Y>
  </PixelSize></BinaryResult>
</Metadata>"""

DM_TAGS = [
    (65003, "s", 0, "nm", True),
    (65004, "s", 0, "nm", True),
    (65009, "d", 1, 0.03, True),
    (65010, "d", 1, 0.02, True),
]

CALIBRATIONS: dict[str, dict[str, Any]] = {
    "ImageJ": {"imagej": True, "resolution": (1 / 0.03, 1 / 0.02), "metadata": {"unit": "nm"}},
    "ImageJ, escaped": {"imagej": True, "resolution": (1 / 3e-5, 1 / 2e-5), "metadata": {"unit": "\\u00B5m"}},
    "ImageJ, micron": {"imagej": True, "resolution": (1 / 3e-5, 1 / 2e-5), "metadata": {"unit": "micron"}},
    "OME, nm": {
        "ome": True,
        "metadata": {
            "axes": "YX",
            "PhysicalSizeX": 0.03,
            "PhysicalSizeXUnit": "nm",
            "PhysicalSizeY": 0.02,
            "PhysicalSizeYUnit": "nm",
        },
    },
    "OME, no unit is µm": {"ome": True, "metadata": {"axes": "YX", "PhysicalSizeX": 3e-5, "PhysicalSizeY": 2e-5}},
    "pixels per cm": {"resolution": (1e7 / 0.03, 1e7 / 0.02), "resolutionunit": "CENTIMETER"},
    "pixels per inch": {"resolution": (2.54e7 / 0.03, 2.54e7 / 0.02), "resolutionunit": "INCH"},
    "DigitalMicrograph": {"extratags": DM_TAGS},
    "DigitalMicrograph before dpi": {"extratags": DM_TAGS, "resolution": (72, 72), "resolutionunit": "INCH"},
    "Titan": {"extratags": [(34683, "s", 0, TITAN_XML.format(unit="m"), True)]},
    "FEI": {"extratags": [(34682, "s", 0, "[Scan]\r\nPixelWidth=3e-11\r\nPixelHeight=2e-11\r\n", True)]},
}

UNCALIBRATED: dict[str, dict[str, Any]] = {
    "nothing": {},
    "72 dpi": {"resolution": (72, 72), "resolutionunit": "INCH"},
    "2400 dpi": {"resolution": (2400, 2400), "resolutionunit": "INCH"},
    "no resolution unit": {"resolution": (50, 50), "resolutionunit": "NONE"},
    "zero": {"resolution": ((0, 1), (0, 1)), "resolutionunit": "INCH"},
    "ImageJ in pixels": {"imagej": True, "resolution": (1, 1), "metadata": {"unit": "pixel"}},
    "ImageJ, 1 nm": {"imagej": True, "resolution": (1, 1), "metadata": {"unit": "nm"}},
    "ImageJ in inches, as if for print": {"imagej": True, "resolution": (300, 300), "metadata": {"unit": "inch"}},
    "DigitalMicrograph without unit": {"extratags": [(65009, "d", 1, 0.5, True), (65010, "d", 1, 0.5, True)]},
    "Titan, broken": {"extratags": [(34683, "s", 0, "<Metadata><BinaryResult>", True)]},
    "Titan, no pixel size": {"extratags": [(34683, "s", 0, "<Metadata><Optics/></Metadata>", True)]},
    "OME, half": {"ome": True, "metadata": {"axes": "YX", "PhysicalSizeX": 3e-5}},
}


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_calibrations(tmp_path: Path, pixels: Pixels, name: str) -> None:
    """Rows are 0.2 Å, columns 0.3 Å. Tags keep resolutions as fractions of 32-bit integers: seven digits."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, **CALIBRATIONS[name])
    image = read_image(path)
    assert image.pixel_size == pytest.approx((0.2, 0.3), rel=1e-6)
    assert image.pixel_size_source == "file"
    assert np.array_equal(image.data, pixels)


@pytest.mark.parametrize("name", UNCALIBRATED)
def test_uncalibrated(tmp_path: Path, pixels: Pixels, name: str) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, **UNCALIBRATED[name])
    image = read_image(path)
    assert (image.pixel_size, image.pixel_size_source) == (None, None)
    assert np.array_equal(image.data, pixels)


def test_microscope_of_a_titan_image(tmp_path: Path, pixels: Pixels) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, **CALIBRATIONS["Titan"])
    acquisition = read_image(path).acquisition
    assert (acquisition.voltage_eV, acquisition.semiangle) == (6e4, 0.0315)


def test_diffraction_pattern_of_a_titan(tmp_path: Path, pixels: Pixels) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, extratags=[(34683, "s", 0, TITAN_XML.format(unit="1/m"), True)])
    with pytest.raises(ImageError, match="diffraction pattern"):
        read_image(path)


@pytest.mark.parametrize(
    "options",
    [
        {"imagej": True},
        {"ome": True, "metadata": {"axes": "TYX"}},
        {"metadata": {"axes": "TYX"}},
        {"metadata": None},
        {"compression": "zlib"},
        {"compression": "lzw", "predictor": True},
        {"tile": (16, 16), "compression": "zlib"},
        {"byteorder": ">"},
        {"byteorder": ">", "compression": "zlib"},
        {"bigtiff": True},
    ],
)
def test_movies(tmp_path: Path, pixels: Pixels, options: dict[str, Any]) -> None:
    movie = np.stack([pixels, pixels[::-1], pixels[:, ::-1], pixels[::-1, ::-1]])
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, movie, photometric="minisblack", **options)
    (info,) = list_datasets(path)
    assert (info.kind, info.frames, info.shape) == ("image series", 4, movie.shape)
    assert np.array_equal(read_image(path, frame=2).data, movie[2])
    assert np.array_equal([frame.data for frame in read_images(path)], movie)
    with pytest.raises(FileError, match=r"a series of 4 images .*--frame\), 0 to 3"):
        read_image(path)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.int16, np.uint32, np.float16, np.float32, np.float64])
def test_types_of_values(tmp_path: Path, pixels: Pixels, dtype: Any) -> None:
    values = (pixels % 100).astype(dtype)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values)
    image = read_image(path)
    assert image.data.dtype == np.float32
    assert np.array_equal(image.data, values.astype(np.float32))


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_colours(tmp_path: Path, pixels: Pixels, planar: Any, compression: str | None) -> None:
    grey = (pixels >> 8).astype(np.uint8)
    equal, red = np.stack([grey] * 3, axis=-1), np.stack([grey, 0 * grey, 0 * grey], axis=-1)
    for colours, factor, notes in ((equal, 1.0, ()), (red, 0.2126, (COLOUR_NOTE,))):
        path = tmp_path / "a.tif"
        stored = colours if planar == "contig" else np.moveaxis(colours, -1, 0)
        tifffile.imwrite(path, stored, photometric="rgb", planarconfig=planar, compression=compression)
        image = read_image(path)
        np.testing.assert_allclose(image.data, factor * grey, rtol=1e-6)  # float32
        assert image.notes == notes


def test_white_is_zero(tmp_path: Path, pixels: Pixels) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric="miniswhite")
    image = read_image(path)
    assert np.array_equal(image.data, 65_535 - pixels.astype(np.float32))
    assert image.notes == (INVERTED_NOTE,)


def test_colour_table(tmp_path: Path, pixels: Pixels) -> None:
    indices = (pixels >> 8).astype(np.uint8)
    path = tmp_path / "a.tif"
    table = np.random.default_rng(0).integers(0, 65_535, (3, 256)).astype(np.uint16)
    tifffile.imwrite(path, indices, photometric="palette", colormap=table)
    image = read_image(path)
    assert np.array_equal(image.data, indices)
    assert image.notes == (PALETTE_NOTE,)


def test_thumbnails_are_skipped_and_pages_of_other_sizes_are_data_sets(tmp_path: Path, pixels: Pixels) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(pixels, metadata=None)
        writer.write(pixels[:10, :10], subfiletype=1, metadata=None)
    assert len(list_datasets(path)) == 1
    assert read_image(path).data.shape == pixels.shape
    with tifffile.TiffWriter(path) as writer:
        writer.write(pixels, metadata=None)
        writer.write(pixels[:10, :10], metadata=None)
    with pytest.raises(FileError, match=r"2 data sets could be meant.*dataset=0 .*dataset=1"):
        read_image(path)
    assert read_image(path, dataset=1).data.shape == (10, 10)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_complex_values(tmp_path: Path, pixels: Pixels, dtype: Any) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels.astype(dtype))
    with pytest.raises(ImageError, match="complex"):
        read_image(path)


def test_series_of_an_odd_order(tmp_path: Path, pixels: Pixels) -> None:
    """Frames in the last place, compressed: neither mapped nor read by the page."""
    path = tmp_path / "a.tif"
    movie = np.stack([pixels, pixels[::-1], pixels[:, ::-1]], axis=-1)
    tifffile.imwrite(path, movie, metadata={"axes": "YXT"}, photometric="minisblack", compression="zlib")
    assert list_datasets(path)[0].frames == 3
    assert np.array_equal(read_image(path, frame=1).data, pixels[::-1])


def test_movie_of_several_channels(tmp_path: Path, pixels: Pixels) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.stack([np.stack([pixels] * 2)] * 3), imagej=True, metadata={"axes": "TCYX"})
    with pytest.raises(ImageError, match=r"4D data.*save one image of it"):
        read_image(path)
