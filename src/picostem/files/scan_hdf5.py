"""4D-STEM data in HDF5 and zarr: HyperSpy's layout, Berkeley EMD (with py4DSTEM's), Nion Swift's, or any array.

The arrays are handed on as they are, without dask, which takes a hundred times longer over small pieces.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from picostem.files.metadata import acquisition_from
from picostem.files.scan_data import ScanAxis, ScanData

_PLAIN_NAMES = ("data", "datacube")
"""Names of arrays that say nothing: their group's name is taken."""


def read_hdf5(path: Path) -> list[ScanData]:
    """All arrays of an HDF5 file. It is open for as long as one of them is in use."""
    import h5py

    found: list[Any] = []
    file = h5py.File(path, "r")
    file.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) and item.ndim > 1 else None)
    return [_data(item, item.parent, file) for item in found]


def read_hspy_folder(path: Path) -> list[ScanData]:
    """All signals of a zspy folder, which is HyperSpy's layout in zarr."""
    import zarr

    root: Any = zarr.open_group(path, mode="r")
    return [_data(group["data"], group, root) for _, group in root["Experiments"].groups()]


def nion_axes(properties: Mapping[str, Any]) -> tuple[ScanAxis, ...]:
    """Axes from the JSON that Nion Swift keeps with an array; of its own files or of exported ones."""
    calibrations = properties.get("dimensional_calibrations") or properties.get("spatial_calibrations") or []
    scanned = int(properties.get("collection_dimension_count") or 0)
    scanned += bool(properties.get("is_sequence"))
    return tuple(
        ScanAxis(one.get("scale"), one.get("units"), one.get("offset"), i < scanned)
        for i, one in enumerate(calibrations)
    )


def nion_voltage(properties: Mapping[str, Any]) -> float | None:
    """eV, from the two places where versions of Nion Swift have kept the voltage."""
    metadata = properties.get("metadata") or {}
    instrument = metadata.get("instrument") or {}
    autostem = (metadata.get("hardware_source") or {}).get("autostem") or {}
    return volts(instrument.get("high_tension", autostem.get("high_tension_v")))


def volts(value: Any) -> float | None:
    """A voltage in V as eV, or None where it is no number or not plausible."""
    return acquisition_from({}, {"Optics": {"AccelerationVoltage": value}}).voltage_eV


def _data(item: Any, group: Any, root: Any) -> ScanData:
    last = item.name.rsplit("/", 1)[-1]
    name = group.name.rsplit("/", 1)[-1] if last in _PLAIN_NAMES else last
    axes, voltage = _calibration(item, group, root)
    if len(axes) != item.ndim:
        axes = ()
    return ScanData(name or last, tuple(item.shape), item.dtype, lambda: item, axes, voltage)


def _calibration(item: Any, group: Any, root: Any) -> tuple[tuple[ScanAxis, ...], float | None]:
    """Axes and voltage in whichever layout the group of an array has."""
    if "axis-0" in group:  # HyperSpy
        axes = [dict(group[f"axis-{i}"].attrs) for i in range(item.ndim) if f"axis-{i}" in group]
        place = "metadata/Acquisition_instrument/TEM"
        metadata = {"Acquisition_instrument": {"TEM": dict(group[place].attrs) if place in group else {}}}
        return (
            tuple(ScanAxis(one.get("scale"), one.get("units"), one.get("offset"), _flag(one)) for one in axes),
            acquisition_from(metadata, {}).voltage_eV,
        )
    if "emd_group_type" in group.attrs:  # dimensions are counted from 0 since version 1
        first = 0 if "dim0" in group else 1
        dims = [group.get(f"dim{i + first}") for i in range(item.ndim)]
        microscope = dict(root["microscope"].attrs) if "microscope" in root else {}
        return tuple(map(_emd_axis, dims)), acquisition_from({}, {"microscope": microscope}).voltage_eV
    if "properties" in item.attrs:  # Nion Swift
        properties = json.loads(item.attrs["properties"])
        return nion_axes(properties), nion_voltage(properties)
    return (), None


def _flag(axis: Mapping[str, Any]) -> bool | None:
    return bool(axis["navigate"]) if "navigate" in axis else None


def _emd_axis(dim: Any) -> ScanAxis:
    """From the values along an axis, of which the first two tell; names instead of numbers calibrate nothing."""
    if dim is None or dim.shape is None or dim.size < 2 or dim.dtype.kind not in "iuf":
        return ScanAxis()
    first, second = (float(value) for value in dim[:2])
    units = dim.attrs.get("units", "")
    return ScanAxis(second - first, units.decode() if isinstance(units, bytes) else units, first)
