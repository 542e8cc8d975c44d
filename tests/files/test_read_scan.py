"""4D-STEM files written here and read back: the numbers, their type, the calibration; and what is refused."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.errors import DataError, FileError, UsageError
from picostem.files.scan4d import read_scan
from picostem.physics import electron_wavelength
from picostem.stem4d.scan import Scan4D

SHAPE = (3, 4, 8, 8)
Counts = NDArray[np.uint16]


@pytest.fixture
def counts() -> Counts:
    return np.random.default_rng(8).integers(0, 60_000, SHAPE).astype(np.uint16)


def values(scan: Scan4D) -> NDArray[Any]:
    return np.concatenate([patterns for _, patterns in scan.blocks()]).reshape(*scan.shape, *scan.detector.shape)


def same(scan: Scan4D, counts: NDArray[Any]) -> bool:
    """The same numbers of the same size, whatever the order of their bytes."""
    return np.dtype(scan.data.dtype).itemsize == counts.itemsize and np.array_equal(values(scan), counts)


def write_zip(path: Path, counts: Counts, compression: int, metadata: dict[str, Any] | None = None) -> Path:
    np.save(path.with_suffix(".npy"), counts)
    with zipfile.ZipFile(path, "w", compression) as archive:
        if metadata is not None:
            archive.writestr("metadata.json", json.dumps(metadata))
        archive.write(path.with_suffix(".npy"), "data.npy")
    return path


@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_is_mapped(order: Any, tmp_path: Path, counts: Counts) -> None:
    np.save(tmp_path / "a.npy", np.asarray(counts, order=order))
    scan = read_scan(tmp_path / "a.npy")
    assert isinstance(scan.data, np.memmap)
    assert same(scan, counts)
    assert scan.name == "a" and scan.step_A is None and scan.detector.unit == "px"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(save: Callable[..., None], tmp_path: Path, counts: Counts) -> None:
    save(tmp_path / "a.npz", haadf=counts.sum((2, 3)), patterns=counts)
    scan = read_scan(tmp_path / "a.npz")
    assert same(scan, counts)
    assert isinstance(scan.data, np.memmap) == (save is np.savez)


def test_several_scans_are_chosen_from(tmp_path: Path, counts: Counts) -> None:
    np.savez(tmp_path / "a.npz", one=counts, two=counts[::-1])
    with pytest.raises(FileError, match=r"choose one with dataset=: 0: 'one', 3 × 4 × 8 × 8 uint16; 1: 'two'"):
        read_scan(tmp_path / "a.npz")
    assert same(read_scan(tmp_path / "a.npz", "Two"), counts[::-1])
    assert same(read_scan(tmp_path / "a.npz", 0), counts)
    for wrong in (2, -1, "three"):
        with pytest.raises(UsageError, match="no data set"):
            read_scan(tmp_path / "a.npz", wrong)


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_raw(dtype: str, tmp_path: Path, counts: Counts) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(counts.astype(dtype).tobytes())
    scan = read_scan(path, shape=SHAPE, dtype=dtype)
    assert isinstance(scan.data, np.memmap)
    assert same(scan, counts)


def test_raw_needs_shape_and_type(tmp_path: Path, counts: Counts) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(counts.tobytes())
    with pytest.raises(UsageError, match=r"pass shape=.* and dtype="):
        read_scan(path, shape=SHAPE)
    with pytest.raises(UsageError, match="such as 'uint16'"):
        read_scan(path, shape=SHAPE, dtype="counts")
    with pytest.raises(FileError, match="3 × 4 × 8 × 9 values of uint16 take 1728 bytes, the file has 1536"):
        read_scan(path, shape=(3, 4, 8, 9), dtype="uint16")
    for shape in ((3, 4, 64), (3, 4, 8, -8), (3.0, 4, 8, 8)):
        with pytest.raises(UsageError, match="integers above 0"):
            read_scan(path, shape=shape, dtype="uint16")


@pytest.mark.parametrize("layout", ["properties", "spatial"])
def test_nion(layout: str, tmp_path: Path, counts: Counts) -> None:
    """nm and rad, as Nion Swift writes them; the centre is where the angles are zero."""
    steps = [{"offset": 0.0, "scale": 0.02, "units": "nm"}] * 2
    angles = [{"offset": -0.014, "scale": 0.004, "units": "rad"}, {"offset": -0.02, "scale": 0.005, "units": "rad"}]
    properties = {
        "collection_dimension_count": 2,
        "datum_dimension_count": 2,
        "metadata": {"instrument": {"high_tension": 60000}},
    }
    if layout == "properties":
        path = tmp_path / "a.h5"
        with h5py.File(path, "w") as file:
            text = json.dumps(properties | {"dimensional_calibrations": steps + angles})
            file.create_dataset("data", data=counts).attrs["properties"] = text
    else:
        metadata = properties | {"spatial_calibrations": steps + angles}
        path = write_zip(tmp_path / "a.ndata1", counts, zipfile.ZIP_STORED, metadata)
    scan = read_scan(path)
    assert same(scan, counts)
    assert scan.step_A == pytest.approx((0.2, 0.2))
    assert scan.detector.voltage_eV == 60e3
    assert scan.detector.centre == pytest.approx((3.5, 4.0))
    wavelength = electron_wavelength(60e3)
    assert scan.detector.matrix == pytest.approx(np.array([[0, 0.005], [-0.004, 0]]) / wavelength)
    assert scan.detector.mrad is not None
    assert scan.detector.matrix[0, 1] * scan.detector.mrad == pytest.approx(5.0)


def test_angles_without_a_voltage_calibrate_nothing(tmp_path: Path, counts: Counts) -> None:
    metadata = {"spatial_calibrations": [{"offset": -0.014, "scale": 0.004, "units": "rad"}] * 4}
    scan = read_scan(write_zip(tmp_path / "a.ndata1", counts, zipfile.ZIP_STORED, metadata))
    assert scan.detector.unit == "px"
    assert scan.detector.centre == (3.5, 3.5)


@pytest.mark.parametrize(
    ("form", "unit", "factor"),
    [
        ("hspy", "1/nm", 0.1),
        ("hspy", "1/Å", 1.0),
        ("hspy", "nm^-1", 0.1),
        ("hspy", "", None),
        ("nxs", "1/nm", 0.1),
        ("nxs", "", None),
        ("emd", "1/nm", 0.1),
        ("emd", "1/Å", 1.0),
    ],
)
def test_hyperspy(
    form: str, unit: str, factor: float | None, write_signal: Callable[..., Path], counts: Counts
) -> None:
    """Berkeley EMD is written with its axes the other way round by HyperSpy."""
    scan = read_scan(write_signal(form, counts, (0.02, 0.03, 0.4, 0.5), ("nm", "nm", unit, unit)))
    assert same(scan, counts)
    assert scan.step_A == pytest.approx((0.2, 0.3))
    assert scan.detector.unit == ("px" if factor is None else "1/Å")
    if factor is not None:
        assert scan.detector.matrix == pytest.approx(np.array([[0, 0.5], [-0.4, 0]]) * factor)
    if form == "hspy":
        assert scan.detector.voltage_eV == pytest.approx(60e3)


def test_berkeley_and_py4dstem(tmp_path: Path, counts: Counts) -> None:
    """Axes in the order of the array; dimensions counted from 0 as in version 1; the microscope's voltage in V."""
    with h5py.File(tmp_path / "a.emd", "w") as file:
        group = file.create_group("root/cube")
        group.attrs["emd_group_type"] = "array"
        group.create_dataset("data", data=counts, chunks=(1, 1, 8, 8), compression="gzip")
        file.create_group("microscope").attrs["high tension"] = 80000.0
        for i, (unit, step) in enumerate((("A", 0.5), ("A", 0.6), ("A^-1", 0.02), ("A^-1", 0.03))):
            dim = group.create_dataset(f"dim{i}", data=np.arange(SHAPE[i]) * step)
            dim.attrs.update(name="RRQQ"[i], units=unit)
    scan = read_scan(tmp_path / "a.emd")
    assert isinstance(scan.data, h5py.Dataset)
    assert same(scan, counts)
    assert scan.step_A == pytest.approx((0.5, 0.6))
    assert scan.detector.matrix == pytest.approx(np.array([[0, 0.03], [-0.02, 0]]))
    assert scan.detector.voltage_eV == 80e3


def test_any_hdf5_array(tmp_path: Path, counts: Counts) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/frames"] = counts
        file["entry/image"] = counts[0, 0]
    assert same(read_scan(tmp_path / "a.h5"), counts)
    with pytest.raises(FileError, match="no data set with four axes"):
        read_scan(tmp_path / "a.h5", "image")


def test_blockfile(write_signal: Callable[..., Path], counts: Counts) -> None:
    """8 bits, steps in nm; centimetres on the detector say nothing without a camera length."""
    small = (counts >> 8).astype(np.uint8)
    path = write_signal("blo", small, (0.2, 0.3, 0.01, 0.01), ("nm", "nm", "cm", "cm"))
    scan = read_scan(path)
    assert same(scan, small)
    assert scan.step_A == pytest.approx((2.0, 3.0))
    assert scan.detector.unit == "px"
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) - 30])
    with pytest.raises(FileError, match="cannot be read as blo"):
        read_scan(path)


def write_mib(path: Path, frames: Counts, line: int) -> Path:
    """Merlin frames: 384 bytes of text, then big-endian counts; the clock pauses at the end of a scan line."""
    rows, columns = frames.shape[-2:]
    with path.open("wb") as file:
        for i, frame in enumerate(frames):
            time = f"2024-01-01T00:00:{i // line:02d}.{i % line:03d}000000Z"
            size = [f"{columns:04d}", f"{rows:04d}"]
            head = ["MQ1", f"{i + 1:06d}", "00384", "01", *size, "U16", "   1x1", "01", time, "1000000ns", "12", ""]
            file.write(",".join(head).ljust(384).encode())
            file.write(frame.astype(">u2").tobytes())
    return path


def test_merlin(tmp_path: Path, counts: Counts) -> None:
    """RosettaSciIO turns Merlin's frames upside down, as they are shown."""
    path = write_mib(tmp_path / "a.mib", counts.reshape(-1, 8, 8), 4)
    assert same(read_scan(path), counts[:, :, ::-1])
    other = read_scan(path, shape=(4, 3, 8, 8))
    assert same(other, counts.reshape(4, 3, 8, 8)[:, :, ::-1])


def test_mrc_needs_the_shape_of_the_scan(write_mrc: Callable[..., Path], counts: Counts) -> None:
    path = write_mrc(counts.reshape(-1, 8, 8), 1.0)
    with pytest.raises(FileError, match=r"12 × 8 × 8 uint16\): .* pass shape="):
        read_scan(path)
    scan = read_scan(path, shape=SHAPE)
    assert isinstance(scan.data, np.memmap)
    assert same(scan, counts)
    with pytest.raises(FileError, match="correct the shape"):
        read_scan(path, shape=(3, 5, 8, 8))


def test_zspy(tmp_path: Path, counts: Counts) -> None:
    zarr = pytest.importorskip("zarr")
    root = zarr.open_group(tmp_path / "a.zspy", mode="w", zarr_format=2)
    root.attrs.update(file_format="ZSpy", file_format_version="3.3")
    signal = root.create_group("Experiments").create_group("scan")
    signal.create_array("data", shape=SHAPE, dtype="u2", chunks=(1, 2, 8, 8))[:] = counts
    for i, (unit, step) in enumerate((("nm", 0.02), ("nm", 0.03), ("1/nm", 0.4), ("1/nm", 0.4))):
        axis = {"scale": step, "units": unit, "size": SHAPE[i], "offset": 0.0, "navigate": i < 2, "name": ""}
        signal.create_group(f"axis-{i}").attrs.update(_type="UniformDataAxis", **axis)
    signal.create_group("metadata").create_group("General").attrs["title"] = "scan"
    for name in ("original_metadata", "learning_results", "attributes"):
        signal.create_group(name)
    scan = read_scan(tmp_path / "a.zspy")
    assert same(scan, counts)
    assert scan.step_A == pytest.approx((0.2, 0.3))
    assert scan.detector.matrix[0, 1] == pytest.approx(0.04)


def test_digital_micrograph(write_dm: Callable[..., Path], counts: Counts) -> None:
    scan = read_scan(write_dm({"a": counts}, 4, (2.0, 3.0, 0.4, 0.5), ("nm", "nm", "1/nm", "1/nm")))
    assert same(scan, counts)
    assert scan.step_A == pytest.approx((20.0, 30.0))
    assert scan.detector.matrix == pytest.approx(np.array([[0, 0.05], [-0.04, 0]]))


@pytest.mark.parametrize("form", ["npy", "npz", "h5", "hspy", "dm4"])
def test_truncated_files(
    form: str, tmp_path: Path, counts: Counts, write_signal: Callable[..., Path], write_dm: Callable[..., Path]
) -> None:
    path = tmp_path / f"a.{form}"
    if form == "npy":
        np.save(path, counts)
    elif form == "npz":
        np.savez(path, counts)
    elif form == "h5":
        with h5py.File(path, "w") as file:
            file["a"] = counts
    elif form == "hspy":
        path = write_signal("hspy", counts, (1,) * 4, ("",) * 4)
    else:
        path = write_dm({"a": counts}, 4, (1.0,) * 4, ("",) * 4)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FileError, match=f"cannot be read as {'hdf5' if form in ('h5', 'hspy') else form}"):
        read_scan(path)


@pytest.mark.parametrize("array", [np.zeros((8, 9)), np.zeros((5, 8, 9)), np.zeros((2, 2, 2, 2), complex)])
def test_what_is_no_scan(array: NDArray[Any], tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match="no data set with four axes"):
        read_scan(tmp_path / "a.npy")


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((2, 2, 2, 2), None), allow_pickle=True)
    np.savez(tmp_path / "a.npz", np.full((2, 2, 2, 2), None))
    for path in (tmp_path / "a.npy", tmp_path / "a.npz"):
        with pytest.raises(FileError):
            read_scan(path)


def test_missing_files_images_and_types_that_do_not_belong(tmp_path: Path, counts: Counts) -> None:
    with pytest.raises(FileError, match="no such file"):
        read_scan(tmp_path / "a.raw", shape=SHAPE, dtype="u2")
    np.save(tmp_path / "a.npy", counts)
    with pytest.raises(UsageError, match="leave dtype out"):
        read_scan(tmp_path / "a.npy", dtype="u2")
    from PIL import Image as Picture

    Picture.fromarray(counts[0, 0]).save(tmp_path / "a.png")
    with pytest.raises(FileError, match="png files hold images"):
        read_scan(tmp_path / "a.png")
