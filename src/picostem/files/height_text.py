"""Tables of numbers as text: a line of the image in each, the top one first, as Gwyddion exports them.

Its lines of comment, "# Channel: Z", "# Width: 15 nm", "# Height: 15 nm" and "# Value units: m", are understood. Values
that are lengths or currents are of a tip; a table without a unit can be of any microscope.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np

from picostem.errors import FileError
from picostem.files.dataset import Dataset
from picostem.files.spm import CURRENTS, check_grid, scan
from picostem.files.units import angstroms


def read_height_text(path: Path, form: str, stack: ExitStack) -> list[Dataset]:
    """The one image of a text file; without those comments it is not calibrated."""
    said: dict[str, str] = {}
    with path.open("rb") as file:
        for line in file:
            if not line.startswith(b"#"):
                break
            name, _, value = _decoded(line)[1:].partition(":")
            said[name.strip().lower()] = value.strip()
    try:
        values = np.loadtxt(path, encoding="latin-1", ndmin=2)
    except ValueError as error:
        raise FileError(
            f"{path}: not a table of numbers ({' '.join(str(error).split())}): expected a line of the image in each "
            "line, with decimal points, as Gwyddion's export as text writes them"
        ) from error
    unit = said.get("value units", "")
    tip = unit in CURRENTS or angstroms(unit) is not None
    size = (_metres(said.get("height", "")), _metres(said.get("width", "")))
    if None in size or not values.size:
        return [scan(path.stem, values, None, unit, tip=tip)]
    both = (size[0] or 0.0, size[1] or 0.0)
    check_grid(path, values.shape[0], values.shape[1], both)
    return [scan(said.get("channel") or path.stem, values, both, unit, tip=tip)]


def _decoded(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:  # older programs on Windows
        return line.decode("latin-1")


def _metres(text: str) -> float | None:
    """A length such as "15 nm"; None if it is none."""
    number, _, unit = text.partition(" ")
    factor = angstroms(unit)
    try:
        return float(number) * factor * 1e-10 if factor else None
    except ValueError:
        return None
