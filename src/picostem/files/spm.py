"""Scans of probe microscopes as data sets: heights in Å, currents in pA, the top line first.

The grey levels of these images are measured quantities; their unit stands in the notes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picostem.errors import FileError
from picostem.files.dataset import Axis, Dataset, Key
from picostem.files.units import angstroms
from picostem.image import Acquisition

CURRENTS = {"A": 1e12, "mA": 1e9, "µA": 1e6, "uA": 1e6, "nA": 1e3, "pA": 1.0, "fA": 1e-3}
"""pA in a unit of current."""


def scan(
    name: str,
    values: NDArray[Any],
    size: tuple[float, float] | None,
    unit: str,
    notes: tuple[str, ...] = (),
    tip: bool = True,
) -> Dataset:
    """One channel of a scan, in one direction of the tip, as a data set.

    Lines at either end that were never recorded (NaN, where a scan was stopped) are left out.

    Args:
        values: shape (rows, columns), the top line first, x to the right.
        size: (height, width) of all lines together, m, each pixel's own width included; None if unknown.
        unit: of the values. Heights become Å above the median, currents pA; others stay as they are.
        tip: it is known to be of a tip.
    """
    rows, columns = values.shape
    y, x = (None, None) if size is None else (size[0] / rows, size[1] / columns)
    if values.dtype.kind == "f":
        done = np.flatnonzero(np.isfinite(values).all(axis=1))
        if len(done) and done[-1] + 1 - done[0] < rows:
            values = values[done[0] : done[-1] + 1]
            notes = (*notes, f"the scan was stopped: only {len(values)} of its {rows} lines were recorded")
    plain = unit.strip().replace("\u03bc", "µ")  # Greek letter to micro sign
    height = None if plain in CURRENTS else angstroms(plain)
    factor = height or CURRENTS.get(plain, 1.0)
    zero = float(np.nanmedian(values)) if height else 0.0
    meaning = "heights in Å above their median" if height else f"in {'pA' if plain in CURRENTS else plain or 'no unit'}"

    def load(key: Key) -> NDArray[Any]:
        return np.asarray((values[key].astype(np.float64) - zero) * factor)

    axes = (Axis(len(values), y, "m", "y", False), Axis(columns, x, "m", "x", False))
    return Dataset(name, axes, load, acquisition=Acquisition(tip=tip), notes=(f"grey levels are {meaning}", *notes))


def check_grid(path: Path, rows: int, columns: int, size: tuple[float, float]) -> None:
    """Refuse what a header cannot mean. Raises FileError."""
    if min(rows, columns) < 1 or not all(0 < extent < 1 for extent in size):
        raise FileError(
            f"{path}: its header says {rows} lines of {columns} points on {size[0]:g} × {size[1]:g} m: "
            "it is damaged, copy it again"
        )


def cut_off(path: Path, promised: str, found: str) -> FileError:
    """The error for a file with less in it than its header says."""
    return FileError(f"{path}: its header promises {promised}, but there are {found}: it is cut off, copy it again")
