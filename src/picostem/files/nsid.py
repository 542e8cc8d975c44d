"""NSID files (pyNSID, SciFiReaders): HDF5 data sets whose dimensions carry quantity, unit and values.

RosettaSciIO does not read them. Layout: https://pycroscopy.github.io/pyNSID/nsid.html
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from picostem.files.dataset import Axis, Dataset
from picostem.files.metadata import acquisition_from

_MAIN_ATTRIBUTES = {"quantity", "units", "main_data_name", "data_type"}
"""What marks a main data set, as in pyNSID's check_if_main."""
_SPATIAL = "SPATIAL"


def main_datasets(file: Any) -> list[Any]:
    """The h5py data sets of a file that NSID calls main."""
    found: list[Any] = []
    file.visititems(lambda _, item: found.append(item) if set(item.attrs) >= _MAIN_ATTRIBUTES else None)
    return [item for item in found if hasattr(item, "dims")]


def read_nsid(path: Path, form: str, stack: ExitStack) -> list[Dataset]:
    """The main data sets of an NSID file. `stack` closes it."""
    import h5py

    file = stack.enter_context(h5py.File(path, "r"))
    return [_dataset(item) for item in main_datasets(file)]


def _dataset(item: Any) -> Dataset:
    """NSID (sidpy) writes images with x first: where the names say so, rows and columns are exchanged."""
    axes = tuple(_axis(item, i) for i in range(item.ndim))
    x_first = [axis.name.lower() for axis in axes[-2:]] == ["x", "y"]
    metadata = item.parent.get("metadata", {})
    return Dataset(
        name=_text(item.attrs["main_data_name"]),
        axes=(*axes[:-2], axes[-1], axes[-2]) if x_first else axes,
        load=lambda key: np.asarray(item[(*key[:-2], key[-1], key[-2])]).T if x_first else np.asarray(item[key]),
        values="complex" if item.dtype.kind == "c" else "grey" if item.dtype.kind in "biuf" else "table",
        spectral="SPECTRUM" in _text(item.attrs["data_type"]).upper() or "SPECTRAL" in _text(item.attrs["data_type"]),
        acquisition=acquisition_from({}, {name: dict(group.attrs) for name, group in metadata.items()}),
    )


def _axis(item: Any, index: int) -> Axis:
    """The axis from its dimension scale; without one it is not calibrated."""
    scales = item.dims[index]
    size = item.shape[index]
    if not len(scales):
        return Axis(size)
    values = scales[0]
    step = float(values[1] - values[0]) if size > 1 else 1.0
    return Axis(size, step, _text(values.attrs.get("units", "")), _text(values.attrs.get("name", "")))


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
