"""Vendor files through RosettaSciIO."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.errors import FileError, ImageError
from picostem.files import list_datasets, read_image, read_images
from picostem.image import Acquisition

Pixels = NDArray[np.uint16]
Writer = Callable[..., Path]


@pytest.mark.parametrize("version", [3, 4])
class TestDigitalMicrograph:
    def test_image(self, write_dm: Writer, pixels: Pixels, version: int) -> None:
        path = write_dm({"HAADF": pixels}, version, tags={"Microscope Info": {"Voltage": 6e4}})
        image = read_image(path)
        assert np.array_equal(image.data, pixels)
        assert image.pixel_size == pytest.approx((0.2, 0.3))
        assert image.acquisition == Acquisition(voltage_eV=6e4)
        assert [info.name for info in list_datasets(path)] == ["HAADF"]

    @pytest.mark.parametrize("dtype", ["int16", "uint8", "int32", "uint32", "float32"])
    def test_types(self, write_dm: Writer, pixels: Pixels, version: int, dtype: str) -> None:
        values = (pixels % 128).astype(dtype)
        assert np.array_equal(read_image(write_dm({"a": values}, version)).data, values)

    def test_uncalibrated(self, write_dm: Writer, pixels: Pixels, version: int) -> None:
        assert read_image(write_dm({"a": pixels}, version, scales=(1.0, 1.0), units=("", ""))).pixel_size is None

    def test_diffraction_pattern(self, write_dm: Writer, pixels: Pixels, version: int) -> None:
        with pytest.raises(ImageError, match=r"not a real-space image \('CBED', diffraction pattern, 40 × 48\)"):
            read_image(write_dm({"CBED": pixels}, version, units=("1/nm", "1/nm")))

    def test_movie(self, write_dm: Writer, pixels: Pixels, version: int) -> None:
        movie = np.stack([pixels, pixels[::-1], pixels[:, ::-1]])
        path = write_dm({"a": movie}, version, scales=(1.0, 0.02, 0.03), units=("s", "nm", "nm"))
        assert np.array_equal([frame.data for frame in read_images(path)], movie)
        assert read_image(path, frame=2).pixel_size == pytest.approx((0.2, 0.3))

    def test_several_images(self, write_dm: Writer, pixels: Pixels, version: int) -> None:
        path = write_dm({"HAADF": pixels, "ABF": pixels[::-1]}, version)
        with pytest.raises(FileError, match=r"dataset=0 \(--dataset 0\): 'HAADF'.*dataset=1 .*'ABF'"):
            read_image(path)
        assert np.array_equal(read_image(path, dataset="abf").data, pixels[::-1])

    def test_colours(self, write_dm: Writer, pixels: Pixels, version: int) -> None:
        """Colours cannot be read lazily."""
        colours = np.zeros(pixels.shape, np.dtype([("B", "u1"), ("G", "u1"), ("R", "u1"), ("A", "u1")]))
        for channel in "RGB":
            colours[channel] = pixels >> 8
        assert np.array_equal(read_image(write_dm({"a": colours}, version)).data, pixels >> 8)

    def test_spectrum_image(self, write_dm: Writer, pixels: Pixels, version: int) -> None:
        cube = np.stack([pixels] * 3)
        path = write_dm({"a": cube}, version, scales=(0.5, 0.02, 0.03), units=("eV", "nm", "nm"))
        with pytest.raises(ImageError, match=r"spectrum image.*ADF image that was recorded along with it"):
            read_image(path)


class TestVelox:
    def test_image_with_its_fourier_transform(self, write_velox: Writer, pixels: Pixels) -> None:
        path = write_velox({"HAADF": pixels, "FFT": pixels.astype(np.complex64)})
        assert [(info.name, info.kind) for info in list_datasets(path)] == [("HAADF", "image"), ("FFT", "complex")]
        image = read_image(path)
        assert np.array_equal(image.data, pixels)
        assert image.pixel_size == pytest.approx((0.2, 0.2))
        assert image.acquisition == Acquisition(3e5, 0.0179, 0.065, 0.2)
        with pytest.raises(ImageError, match="complex"):
            read_image(path, dataset="FFT")

    def test_several_detectors(self, write_velox: Writer, pixels: Pixels) -> None:
        path = write_velox({"HAADF": pixels, "DF4": pixels[::-1], "BF": pixels[:, ::-1]})
        with pytest.raises(FileError, match=r"3 data sets could be meant.*'HAADF'.*'DF4'.*'BF'"):
            read_image(path)
        image = read_image(path, dataset="DF4")
        assert np.array_equal(image.data, pixels[::-1])
        assert image.name == "velox DF4"

    def test_movie(self, write_velox: Writer, pixels: Pixels) -> None:
        movie = np.stack([pixels, pixels[::-1], pixels[:, ::-1]])
        path = write_velox({"HAADF": movie})
        assert np.array_equal([frame.data for frame in read_images(path)], movie)

    def test_diffraction_pattern(self, write_velox: Writer, pixels: Pixels) -> None:
        with pytest.raises(ImageError, match="diffraction pattern"):
            read_image(write_velox({"Ceta": pixels}, 2e7, unit="1/m"))


class TestBerkeley:
    def test_x_first(self, write_signal: Writer, pixels: Pixels) -> None:
        """RosettaSciIO transposes when it writes and when it reads."""
        image = read_image(write_signal("emd", pixels))
        assert np.array_equal(image.data, pixels)
        assert image.pixel_size == pytest.approx((0.2, 0.3))

    @pytest.mark.parametrize(("names", "transposed"), [(("Y", "X"), False), (("y", "x"), False), (("x", "y"), True)])
    def test_the_names_tell_the_order(
        self, tmp_path: Path, pixels: Pixels, names: tuple[str, str], transposed: bool
    ) -> None:
        """A file with rows first, as ncempy writes it, must not come out mirrored."""
        path = tmp_path / "a.emd"
        with h5py.File(path, "w") as file:
            file.attrs.update(version_major=0, version_minor=2)
            group = file.create_group("data/scan")
            group.attrs["emd_group_type"] = 1
            group["data"] = pixels
            for i, (name, step) in enumerate(zip(names, (0.02, 0.03), strict=True)):
                group[f"dim{i + 1}"] = np.arange(pixels.shape[i]) * step
                group[f"dim{i + 1}"].attrs.update(name=name, units="[n_m]")
            file.create_group("microscope").attrs["high tension"] = 2e5
        image = read_image(path)
        assert np.array_equal(image.data, pixels.T if transposed else pixels)
        assert image.pixel_size == pytest.approx((0.3, 0.2) if transposed else (0.2, 0.3))
        assert image.acquisition.voltage_eV == 2e5

    def test_groups_with_like_names_are_not_stacked(self, tmp_path: Path, pixels: Pixels) -> None:
        path = tmp_path / "a.emd"
        with h5py.File(path, "w") as file:
            file.attrs.update(version_major=0, version_minor=2)
            for name in ("scan", "scan2"):
                group = file.create_group(f"data/{name}")
                group.attrs["emd_group_type"] = 1
                group["data"] = pixels
                for i in range(2):
                    group[f"dim{i + 1}"] = np.arange(pixels.shape[i]) * 0.02
                    group[f"dim{i + 1}"].attrs.update(name="yx"[i], units="nm")
        assert [info.kind for info in list_datasets(path)] == ["image", "image"]


@pytest.mark.parametrize("form", ["hspy", "nxs", "rpl", "unf"])
def test_formats_that_rosettasciio_writes(write_signal: Writer, pixels: Pixels, form: str) -> None:
    image = read_image(write_signal(form, pixels.astype(np.float32)))
    assert np.array_equal(image.data, pixels)
    assert image.pixel_size == pytest.approx((0.2, 0.3), rel=1e-7)  # Semper keeps float32
    if form in ("hspy", "nxs"):
        assert image.acquisition == Acquisition(6e4, 0.0315)


def test_four_dimensions(write_signal: Writer) -> None:
    scan = np.zeros((4, 5, 16, 16), np.uint8)
    for form, unit in (("hspy", "mrad"), ("blo", "cm")):
        path = write_signal(form, scan, (0.1, 0.1, 1.0, 1.0), ("nm", "nm", unit, unit))
        with pytest.raises(ImageError, match=r"4D data, 4 × 5 × 16 × 16\): integrate 4D-STEM over an annular detector"):
            read_image(path)
        with pytest.raises(ImageError, match="4D data"):
            next(read_images(path))


def test_spectra(write_signal: Writer) -> None:
    cube = np.zeros((4, 5, 60), np.float32)
    path = write_signal("hspy", cube, (0.1, 0.1, 0.5), ("nm", "nm", "eV"), signal_dimension=1, signal_type="EELS")
    with pytest.raises(ImageError, match="spectrum image"):
        read_image(path)


class TestSer:
    def test_image(self, write_ser: Writer, pixels: Pixels) -> None:
        """TIA stores the lowest row first."""
        image = read_image(write_ser(pixels, 2e-11))
        assert np.array_equal(image.data, pixels)
        assert image.pixel_size == pytest.approx((0.2, 0.2))

    def test_diffraction_scale_without_its_unit(self, write_ser: Writer, pixels: Pixels) -> None:
        """A ser file alone has no units: a step of 2e7 is not metres."""
        assert read_image(write_ser(pixels, 2e7)).pixel_size is None


class TestEmi:
    """TIA's emi file describes the ser files beside it."""

    DESCRIPTION = (
        b"\x4a\x4b\x00<ObjectInfo><ExperimentalDescription><Root>"
        b"<Data><Label>High tension</Label><Value>200</Value><Unit>kV</Unit></Data>"
        b"<Data><Label>Mode</Label><Value>STEM nP SA Zoom</Value><Unit></Unit></Data>"
        b"</Root></ExperimentalDescription><AcquireInfo><DwellTimePath>1</DwellTimePath></AcquireInfo></ObjectInfo>"
    )

    def test_image(self, write_ser: Writer, pixels: Pixels) -> None:
        path = write_ser(pixels, 2e-11).with_name("image.emi")
        path.write_bytes(self.DESCRIPTION)
        image = read_image(path)
        assert np.array_equal(image.data, pixels)
        assert image.pixel_size == pytest.approx((0.2, 0.2))
        assert image.acquisition == Acquisition(voltage_eV=2e5)

    def test_without_its_ser_files(self, tmp_path: Path) -> None:
        (tmp_path / "image.emi").write_bytes(self.DESCRIPTION)
        with pytest.raises(FileError, match="no images in this emi file: its ser files belong into the same folder"):
            read_image(tmp_path / "image.emi")


def test_compressed_prz(tmp_path: Path, pixels: Pixels) -> None:
    """RosettaSciIO 0.15 maps the compressed bytes when it is asked to be lazy."""
    path = tmp_path / "a.prz"
    columns, rows = ({"unit": "nm", "value": step, "offset": 0} for step in (0.03, 0.02))
    metadata = json.dumps([{"type": "2D", "device.calib": [columns, rows]}])
    with path.open("wb") as file:
        np.savez_compressed(file, data=pixels, meta_data_json=np.array(metadata))
    image = read_image(path)
    assert np.array_equal(image.data, pixels)
    assert image.pixel_size == pytest.approx((0.2, 0.3))


@pytest.mark.parametrize("form", ["hspy", "emd", "nxs"])
def test_files_are_closed(write_signal: Writer, pixels: Pixels, form: str) -> None:
    """RosettaSciIO keeps lazily read HDF5 files open, and so runs out of handles in a long batch."""
    path = write_signal(form, pixels)
    read_image(path)
    list(read_images(path))
    list_datasets(path)
    assert h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE) == 0


def test_nothing_is_printed(tmp_path: Path, pixels: Pixels, capfd: pytest.CaptureFixture[str]) -> None:
    """RosettaSciIO logs to standard output, where results go: this prz file would make it do so."""
    with (tmp_path / "a.prz").open("wb") as file:
        np.savez(file, data=pixels)
    try:
        read_image(tmp_path / "a.prz")
    finally:
        assert capfd.readouterr() == ("", "")


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    def no_mrcz(name: str, *arguments: Any) -> Any:
        if name == "rsciio.mrcz":
            raise ModuleNotFoundError("No module named 'mrcz'", name="mrcz")
        return imported(name, *arguments)

    imported = importlib.import_module
    (tmp_path / "a.mrcz").write_bytes(bytes(2000))
    monkeypatch.setattr(importlib, "import_module", no_mrcz)
    with pytest.raises(FileError, match="mrcz files need the Python package 'mrcz': pip install it"):
        read_image(tmp_path / "a.mrcz")
