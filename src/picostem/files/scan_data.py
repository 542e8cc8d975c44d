"""A data set that may be a scan of diffraction patterns, before it is read, and the Scan4D that it becomes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np

from picostem.errors import UsageError
from picostem.files.units import angstroms, dimension, pixel_size
from picostem.physics import MRAD, electron_wavelength
from picostem.stem4d.scan import Detector, Scan4D

Shape = tuple[int, int, int, int]
"""Scan rows, scan columns, detector rows, detector columns."""

_PER_PIXEL = (1e-6, 1.0)
"""1/Å. 20 000 pixels of the first would span 0.02 1/Å, a few pixels of the second reach beyond any detector:
numbers outside were written in another unit than they say."""
_ANGLES_rad = {"rad": 1.0, "mrad": MRAD, "µrad": 1e-6, "μrad": 1e-6}
_RECIPROCAL = re.compile(r"^1 ?/ ?|(\^|\*\*)?-1$")


@dataclass(frozen=True)
class ScanAxis:
    """One axis: value = offset + scale × index in `units`; `navigate` as in files.dataset.Axis."""

    scale: object = 1.0
    units: object = None
    offset: object = 0.0
    navigate: bool | None = None


@dataclass(frozen=True)
class ScanData:
    """An array of a file. `load` gives something that Scan4D takes; `axes` is empty where the file says nothing."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    load: Callable[[], Any]
    axes: tuple[ScanAxis, ...] = ()
    voltage_eV: float | None = None

    def is_scan(self, shape: Shape | None) -> bool:
        """Whether it has the axes of a scan of patterns, or with a `shape` as many values as that."""
        if self.dtype.kind not in "biuf" or min(self.shape, default=0) < 1:
            return False
        return math.prod(self.shape) == math.prod(shape) if shape else len(_trimmed(self.shape)) == 4


def scan_of(found: ScanData, name: str, shape: Shape | None) -> Scan4D:
    """The scan in a data set for which `is_scan(shape)` holds. A `shape` that is not the file's drops its axes.

    Detector pixels are calibrated where the file says both scales in a reciprocal length, or as angles with a voltage;
    the centre is where both axes are zero, if that lies on the detector and not at its corner, else the middle.
    """
    data, axes = found.load(), found.axes
    wanted = shape or _trimmed(found.shape)
    if found.shape != wanted:
        data, axes = _reshaped(data, wanted), axes[-4:] if _trimmed(found.shape) == wanted else ()
    order = _scan_first(axes)
    if order != (0, 1, 2, 3):
        data, axes = _lazy(data).transpose(order), tuple(axes[i] for i in order)
    rows, columns = (int(n) for n in data.shape[2:])
    detector = Detector.plain((rows, columns), found.voltage_eV)
    if not axes:
        return Scan4D.of(data, name=name, detector=detector)
    y, x = (_per_pixel(axis, found.voltage_eV) for axis in axes[2:])
    if x is not None and y is not None:
        matrix = np.array([[0.0, x], [-y, 0.0]])
        centre = _centre(axes[2:], (rows, columns)) or detector.centre
        detector = replace(detector, matrix=matrix, unit="1/Å", centre=centre)
    steps = [pixel_size(axis.scale, axis.units) for axis in axes[:2]]
    step = None if steps[0] is None or steps[1] is None else (steps[0], steps[1])
    return Scan4D.of(data, name=name, step_A=step, detector=detector)


def check_shape(shape: Shape | None) -> None:
    """Raise UsageError for anything but four positive integers (or None)."""
    if shape is not None and not (len(shape) == 4 and all(isinstance(n, int) and n > 0 for n in shape)):
        raise UsageError(
            f"shape is {shape}; expected (scan rows, scan columns, detector rows, detector columns), integers above 0"
        )


def _trimmed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Without leading axes of size 1 that are more than four."""
    while len(shape) > 4 and shape[0] == 1:
        shape = shape[1:]
    return shape


def _lazy(data: Any) -> Any:
    """A dask array, which can be turned without being read."""
    import dask.array as da

    if isinstance(data, da.Array):
        return data
    return da.from_array(data, chunks=getattr(data, "chunks", None) or "auto")  # type: ignore[no-untyped-call]


def _reshaped(data: Any, shape: tuple[int, ...]) -> Any:
    if isinstance(data, np.ndarray) and data.flags.c_contiguous:
        return data.reshape(shape)
    return _lazy(data).reshape(shape)


def _scan_first(axes: tuple[ScanAxis, ...]) -> tuple[int, ...]:
    """The order that brings the scan before the pattern.

    Where the file says which axes are scanned, it is kept otherwise. Where units alone say that the pattern comes
    first, the file counts all axes from the fastest (x before y, as HyperSpy writes Berkeley EMD).
    """
    scanned = tuple(i for i, axis in enumerate(axes) if axis.navigate)
    if len(scanned) == 2:
        return (*scanned, *(i for i in range(4) if i not in scanned))
    dimensions = [dimension(axis.units) for axis in axes]
    if dimensions[2:] == ["length"] * 2 and all(one in ("reciprocal", "angle") for one in dimensions[:2]):
        return (3, 2, 1, 0)
    return (0, 1, 2, 3)


def _per_pixel(axis: ScanAxis, voltage_eV: float | None) -> float | None:
    """1/Å per pixel, or None where the axis is not calibrated (a scale of exactly 1 is a default, see pixel_size)."""
    if not isinstance(axis.units, str) or not isinstance(axis.scale, Real) or axis.scale == 1:
        return None
    size: float | None = None
    plain = axis.units.replace("\u207b\u00b9", "-1").replace("\u2212", "-").strip(" []").replace("_", "")
    if dimension(axis.units) == "reciprocal":
        length = angstroms(_RECIPROCAL.sub("", plain))
        size = float(axis.scale) / length if length else None
    elif voltage_eV is not None and plain in _ANGLES_rad:
        size = float(axis.scale) * _ANGLES_rad[plain] / electron_wavelength(voltage_eV)
    return size if size is not None and _PER_PIXEL[0] <= size <= _PER_PIXEL[1] else None


def _centre(axes: tuple[ScanAxis, ...], shape: tuple[int, int]) -> tuple[float, float] | None:
    """(row, column) where both axes are zero, if that is on the detector; an offset of 0 is a default."""
    offsets = [axis.offset for axis in axes]
    scales = [axis.scale for axis in axes]
    if not all(isinstance(one, Real) and math.isfinite(one) and one != 0 for one in (*offsets, *scales)):
        return None
    row, column = (-float(o) / float(s) for o, s in zip(offsets, scales, strict=True))  # type: ignore[arg-type]
    return (row, column) if 0 <= row <= shape[0] - 1 and 0 <= column <= shape[1] - 1 else None
