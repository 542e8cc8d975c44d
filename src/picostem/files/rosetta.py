"""Vendor files through RosettaSciIO, loaded lazily where they can be large or compressed."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from picostem.files.arrays import check_unpacked
from picostem.files.dataset import Axis, Dataset, Key, Values
from picostem.files.guard import quiet
from picostem.files.metadata import acquisition_from


@dataclass(frozen=True)
class Plugin:
    """A reader of RosettaSciIO.

    `lazy`: nothing is read before a part is asked for. The others load the whole file; except prz, which is checked,
    and bcf they are not compressed, so that a small file cannot claim much memory.
    `eager_too`: where it cannot be lazy, load.
    """

    module: str
    lazy: bool = True
    eager_too: bool = False
    options: Mapping[str, object] = field(default_factory=dict)


PLUGINS: dict[str, Plugin] = {
    "dm3": Plugin("digitalmicrograph", eager_too=True),
    "dm4": Plugin("digitalmicrograph", eager_too=True),
    "emd": Plugin("emd", options={"select_type": "images", "stack_group": False}),
    "ser": Plugin("tia", lazy=False),
    "emi": Plugin("tia", lazy=False),
    "hspy": Plugin("hspy"),
    "zspy": Plugin("zspy", options={"mode": "r"}),
    "nxs": Plugin("nexus", options={"skip_array_metadata": True}),
    "mrcz": Plugin("mrcz"),
    "blo": Plugin("blockfile"),
    "mib": Plugin("quantumdetector"),
    "prz": Plugin("pantarhei", lazy=False),
    "tvips": Plugin("tvips"),
    "unf": Plugin("semper", lazy=False),
    "rpl": Plugin("ripple"),
    "bcf": Plugin("bruker", lazy=False, options={"select_type": "image"}),
    "asw": Plugin("jeol", lazy=False),
    "app5": Plugin("topspin"),
    "xml": Plugin("empad"),
}
"""Formats of electron microscopes. Left out are those of other instruments, and netCDF (`.nc`), whose reader evaluates
text from the file as Python. Velox: without the spectrum stream. Berkeley EMD: RosettaSciIO would stack groups whose
names begin alike. DigitalMicrograph: colours cannot be lazy. PantaRhei: a compressed file read lazily gives wrong
numbers (RosettaSciIO 0.15)."""

_X_FIRST = {"emd"}
"""Formats whose axes may come in the order x, y; their names tell."""


def read_rosetta(path: Path, form: str, stack: ExitStack) -> list[Dataset]:
    """The data sets of a vendor file; `form` is a key of PLUGINS. `stack` closes the file."""
    importlib.import_module("rsciio")  # sets up its logger, so before it is made quiet
    plugin = PLUGINS[form]
    reader = importlib.import_module(f"rsciio.{plugin.module}")
    if form == "prz":
        check_unpacked(path)
    with quiet("rsciio"):
        try:
            found = reader.file_reader(str(path), lazy=plugin.lazy, **plugin.options)
        except ValueError:
            if not plugin.eager_too:
                raise
            found = reader.file_reader(str(path), lazy=False, **plugin.options)
    for entry in found:
        stack.callback(_close, entry["data"])
    return [dataset_of(entry, form in _X_FIRST) for entry in found]


def dataset_of(entry: Mapping[str, Any], x_may_be_first: bool = False) -> Dataset:
    """A data set from RosettaSciIO's (or HyperSpy's) dictionary of data, axes and metadata."""
    array = entry["data"]
    axes = tuple(_axis(axis) for axis in entry["axes"])
    if x_may_be_first and [axis.name.lower() for axis in axes[-2:]] == ["x", "y"]:
        array, axes = array.swapaxes(-1, -2), (*axes[:-2], axes[-1], axes[-2])
    metadata = entry.get("metadata") or {}
    signal = metadata.get("Signal", {})
    title = metadata.get("General", {}).get("title", "")
    values = _values(array.dtype)
    return Dataset(
        name=str(title) or "untitled",
        axes=axes,
        load=lambda key: _load(array, key, values),
        values=values,
        spectral=str(signal.get("signal_type", "")).startswith(("EELS", "EDS")),
        acquisition=acquisition_from(metadata, entry.get("original_metadata") or {}),
    )


def _axis(axis: Mapping[str, Any]) -> Axis:
    """Non-uniform axes have no scale, and so are not calibrated."""
    size = axis["size"] if "size" in axis else len(cast(Sequence[float], axis["axis"]))
    navigate = axis.get("navigate")
    return Axis(
        size=int(size),
        scale=axis.get("scale"),
        units=axis.get("units"),
        name=str(axis.get("name") or ""),
        navigate=None if navigate is None else bool(navigate),
    )


def _values(dtype: np.dtype[Any]) -> Values:
    if dtype.names is not None:
        return "colour" if set("RGB") <= set(dtype.names) else "table"
    if dtype.kind == "c":
        return "complex"
    return "grey" if dtype.kind in "biuf" else "table"


def _load(array: Any, key: Key, values: Values) -> NDArray[Any]:
    """A part of a NumPy or dask array in memory; colours as a last axis."""
    with quiet("rsciio"):
        part = array[key]
        if hasattr(part, "compute"):
            part = part.compute(scheduler="synchronous")
    part = np.asarray(part)
    return np.stack([part[channel] for channel in "RGB"], axis=-1) if values == "colour" else part


def _close(array: Any) -> None:
    """Close the HDF5 file behind a lazy array: RosettaSciIO keeps it open for as long as Python runs."""
    from rsciio.utils.file import get_file_handle

    with contextlib.suppress(Exception):
        handle = get_file_handle(array, warn=False)
        if handle is not None:
            handle.close()
