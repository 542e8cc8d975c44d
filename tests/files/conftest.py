"""Writers of tiny files for the readers' tests, among them of formats that no library writes."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

SHARED = Path(__file__).parents[2].parent / "shared"


@pytest.fixture
def shared() -> Path:
    """The folder with real images beside the repository, where there is one."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"no real images in {SHARED}")
    return SHARED


@pytest.fixture
def pixels() -> NDArray[np.uint16]:
    """40 rows, 48 columns, all different under any flip or transposition."""
    return np.random.default_rng(5).integers(1, 60_000, (40, 48)).astype(np.uint16)


# DigitalMicrograph: a tree of tags, little-endian values in big-endian headers.
_DM_TYPES = {
    "int16": (2, 1),
    "uint16": (4, 10),
    "float32": (6, 2),
    "uint8": (10, 6),
    "uint32": (5, 11),
    "int32": (3, 7),
}
"""NumPy type to the code of the element and the code of the image."""


def _dm_tag(version: int, name: str, value: object) -> bytes:
    word = ">Q" if version == 4 else ">I"
    head = struct.pack(">H", len(name)) + name.encode()
    if isinstance(value, dict | list):
        body = _dm_group(version, value)
        return b"\x14" + head + (struct.pack(">Q", len(body)) if version == 4 else b"") + body
    info: tuple[int, ...]
    if isinstance(value, str):
        info, data = (20, 4, len(value)), value.encode("utf-16-le")
    elif isinstance(value, np.ndarray) and value.dtype.kind == "V":
        info, data = (20, 5, value.size), value.tobytes()
    elif isinstance(value, np.ndarray):
        info, data = (20, _DM_TYPES[value.dtype.name][0], value.size), value.tobytes()
    elif isinstance(value, float):
        info, data = (7,), struct.pack("<d", value)
    else:
        info, data = (3,), struct.pack("<i", value)
    body = b"%%%%" + b"".join(struct.pack(word, number) for number in (len(info), *info)) + data
    return b"\x15" + head + (struct.pack(">Q", len(body)) if version == 4 else b"") + body


def _dm_group(version: int, value: dict[str, Any] | list[Any]) -> bytes:
    """A list becomes a group of tags without names."""
    items = list(value.items()) if isinstance(value, dict) else [("", item) for item in value]
    count = struct.pack(">Q" if version == 4 else ">I", len(items))
    return b"\x00\x00" + count + b"".join(_dm_tag(version, name, item) for name, item in items)


@pytest.fixture
def write_dm(tmp_path: Path) -> Callable[..., Path]:
    """Write a dm3 or dm4 file with images of one calibration."""

    def write(
        images: dict[str, NDArray[Any]],
        version: int = 3,
        scales: tuple[float, ...] = (0.02, 0.03),
        units: tuple[str, ...] = ("nm", "nm"),
        tags: dict[str, Any] | None = None,
    ) -> Path:
        """scales and units in the order of the array's axes."""
        calibrations = [
            {"Origin": 0.0, "Scale": scale, "Units": unit} for scale, unit in zip(scales, units, strict=True)
        ]
        entries = [
            {
                "ImageData": {
                    "Calibrations": {
                        "Brightness": {"Origin": 0.0, "Scale": 1.0, "Units": ""},
                        "Dimension": calibrations[::-1],
                    },
                    "Data": image,
                    "DataType": 23 if image.dtype.kind == "V" else _DM_TYPES[image.dtype.name][1],
                    "Dimensions": [int(n) for n in image.shape[::-1]],
                },
                "ImageTags": tags or {},
                "Name": name,
            }
            for name, image in images.items()
        ]
        root = _dm_group(version, {"ImageList": entries})
        size = struct.pack(">Q" if version == 4 else ">I", len(root))
        path = tmp_path / f"image.dm{version}"
        path.write_bytes(struct.pack(">I", version) + size + struct.pack(">I", 1) + root + bytes(8))
        return path

    return write


@pytest.fixture
def write_ser(tmp_path: Path) -> Callable[..., Path]:
    """Write a TIA series file (version 0x0220) of one uint16 image; scale in m."""

    def write(image: NDArray[np.uint16], scale_m: float) -> Path:
        rows, columns = image.shape
        head = struct.pack("<HHHIHxxIIQI", 0x4949, 0x197, 0x220, 0x4122, 0x4152, 1, 1, 0, 1)
        dimension = struct.pack("<IddIIBI", 1, 0.0, 1.0, 0, 1, ord("N"), 0)
        offsets_at = len(head) + len(dimension)
        head = struct.pack("<HHHIHxxIIQI", 0x4949, 0x197, 0x220, 0x4122, 0x4152, 1, 1, offsets_at, 1)
        data_at = offsets_at + 16
        block = struct.pack("<ddIddIHII", 0.0, scale_m, 0, 0.0, scale_m, 0, 2, columns, rows)
        data = block + image[::-1].astype("<u2").tobytes()
        path = tmp_path / "image_1.ser"
        path.write_bytes(head + dimension + struct.pack("<QQ", data_at, data_at + len(data)) + data + bytes(8))
        return path

    return write


@pytest.fixture
def write_mrc(tmp_path: Path) -> Callable[..., Path]:
    """Write an mrc file: header of 1024 bytes, then int16, uint16 or float32 values."""

    def write(image: NDArray[Any], pixel_size: float) -> Path:
        sections, rows, columns = (1, 1, 1, *image.shape)[-3:]
        mode = {"int16": 1, "float32": 2, "uint16": 6}[image.dtype.name]
        cell = (columns * pixel_size, rows * pixel_size, sections * pixel_size)
        header = struct.pack(
            "<10I6f3I", columns, rows, sections, mode, 0, 0, 0, columns, rows, sections, *cell, 90, 90, 90, 1, 2, 3
        )
        path = tmp_path / "image.mrc"
        path.write_bytes((header.ljust(208, b"\0") + b"MAP \x44\x44\0\0").ljust(1024, b"\0") + image.tobytes())
        return path

    return write


@pytest.fixture
def write_velox(tmp_path: Path) -> Callable[..., Path]:
    """Write a Velox emd file. Images by detector's name; complex ones are stored as Velox stores Fourier transforms."""

    def write(images: dict[str, NDArray[Any]], pixel_size_m: float = 2e-11, unit: str = "m") -> Path:
        path = tmp_path / "velox.emd"
        with h5py.File(path, "w") as file:
            version = json.dumps({"format": "Velox", "version": "11"}).encode()
            file.create_dataset("Version", data=np.array([version], dtype=h5py.string_dtype()))
            for i, (name, image) in enumerate(images.items()):
                group = file.create_group(f"Data/Image/{i:032x}")
                metadata = _velox_metadata(name, pixel_size_m, "1/m" if image.dtype.kind == "c" else unit)
                text = np.frombuffer(json.dumps(metadata).encode().ljust(8000, b"\0"), np.uint8)
                stack = image.reshape(-1, *image.shape[-2:])
                group.create_dataset("Metadata", data=np.repeat(text[:, None], len(stack), axis=1))
                group.create_dataset(
                    "Data", data=_velox_values(np.moveaxis(stack, 0, -1)), chunks=(*image.shape[-2:], 1)
                )
        return path

    return write


def _velox_values(stack: NDArray[Any]) -> NDArray[Any]:
    if stack.dtype.kind != "c":
        return stack
    pairs = np.zeros(stack.shape, np.dtype([("realFloatHalfEven", "<f4"), ("imagFloatHalfEven", "<f4")]))
    pairs["realFloatHalfEven"], pairs["imagFloatHalfEven"] = stack.real, stack.imag
    return pairs


def _velox_metadata(detector: str, pixel_size_m: float, unit: str) -> dict[str, Any]:
    size = {"width": str(pixel_size_m), "height": str(pixel_size_m)}
    angles = {"begin": "0.065", "end": "0.2"}
    return {
        "Acquisition": {"AcquisitionStartDatetime": {"DateTime": "1574301656"}},
        "Optics": {"AccelerationVoltage": "300000", "BeamConvergence": "0.0179"},
        "Scan": {"FrameTime": "1.5"},
        "CustomProperties": {},
        "BinaryResult": {"DetectorIndex": "0", "PixelSize": size, "PixelUnitX": unit, "Offset": {"x": "0", "y": "0"}},
        "Detectors": {"Detector-0": {"DetectorName": detector, "CollectionAngleRange": angles}},
    }


@pytest.fixture
def write_nsid(tmp_path: Path) -> Callable[..., Path]:
    """Write an NSID file as pyNSID 0.0.7 does: x first, dimensions as HDF5 scales. Takes the image as (row, column)."""

    def write(image: NDArray[Any], scales: tuple[float, float], names: tuple[str, str] = ("x", "y")) -> Path:
        path = tmp_path / "image.hf5"
        with h5py.File(path, "w") as file:
            group = file.create_group("Measurement_000/Channel_000/HAADF")
            stored = image.T if names == ("x", "y") else image
            steps = scales[::-1] if names == ("x", "y") else scales
            main = group.create_dataset("HAADF", data=stored)
            main.attrs.update(quantity="intensity", units="counts", main_data_name="HAADF", data_type="IMAGE")
            for i, (name, step) in enumerate(zip(names, steps, strict=True)):
                scale = group.create_dataset(name, data=np.arange(stored.shape[i]) * step)
                scale.attrs.update(name=name, units="nm", quantity="Length", dimension_type="SPATIAL")
                scale.make_scale(name)
                main.dims[i].attach_scale(scale)
            group.create_group("metadata/experiment").attrs.update(acceleration_voltage=6e4, convergence_angle=31.5)
        return path

    return write


@pytest.fixture
def write_signal(tmp_path: Path) -> Callable[..., Path]:
    """Write a signal through RosettaSciIO, in any format that it writes."""

    def write(
        form: str,
        array: NDArray[Any],
        scales: tuple[float, ...] = (0.02, 0.03),
        units: tuple[str, ...] = ("nm", "nm"),
        title: str = "HAADF",
        signal_dimension: int = 2,
        signal_type: str = "",
    ) -> Path:
        import importlib

        names = ("t", "y", "x") if array.ndim == 3 else ("y", "x") if array.ndim == 2 else ("y", "x", "ky", "kx")
        axes = [
            {
                "name": names[i],
                "scale": scales[i],
                "units": units[i],
                "offset": 0.0,
                "size": array.shape[i],
                "navigate": i < array.ndim - signal_dimension,
                "index_in_array": i,
                "_type": "UniformDataAxis",
                "is_binned": False,
            }
            for i in range(array.ndim)
        ]
        signal = {
            "data": array,
            "axes": axes,
            "metadata": {
                "General": {"title": title},
                "Signal": {"signal_type": signal_type},
                "Acquisition_instrument": {"TEM": {"beam_energy": 60.0, "convergence_angle": 31.5}},
            },
            "original_metadata": {},
            "attributes": {"_lazy": False},
            "package_info": {"package": "none", "package_version": "0"},
            "learning_results": {},
            "models": {},
            "tmp_parameters": {},
        }
        plugin = {"emd": "emd", "hspy": "hspy", "nxs": "nexus", "blo": "blockfile", "rpl": "ripple", "unf": "semper"}[
            form
        ]
        path = tmp_path / f"signal.{form}"
        importlib.import_module(f"rsciio.{plugin}").file_writer(str(path), signal)
        return path

    return write
