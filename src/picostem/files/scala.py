"""Omicron SCALA: text about a scan (.par), and beside it a file of 2-byte numbers for each channel (.tf0, .tb0).

Layout: the comments of the par files themselves. The first line is the lowest one; big-endian numbers.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from picostem.errors import FileError
from picostem.files.dataset import Dataset
from picostem.files.spm import check_grid, cut_off, scan

_CHANNEL = "Topographic Channel"
_LINES = 9
"""That follow it: direction, lowest and highest raw value, the same in physical units, resolution, unit, file, name."""


@dataclass(frozen=True)
class _Channel:
    name: str
    file: str
    unit: str
    raw: tuple[float, float]
    physical: tuple[float, float]

    @classmethod
    def of(cls, kind: str, lines: list[str]) -> _Channel:
        way, raw_low, raw_high, low, high, _, unit, file, *_ = lines
        name = f"{kind} {way.lower()}"
        return cls(name, file, unit, (float(raw_low), float(raw_high)), (float(low), float(high)))


def read_scala(path: Path, form: str, stack: ExitStack) -> list[Dataset]:
    """Every image of a scan; spectra are left out."""
    said, channels = _header(path.read_text("latin-1"))
    try:
        columns, rows = int(said["Image Size in X"]), int(said["Image Size in Y"])
        size = (1e-9 * float(said["Field Y Size in nm"]), 1e-9 * float(said["Field X Size in nm"]))
    except KeyError as error:
        raise FileError(f"{path}: not a parameter file of SCALA, it has no {error}: name another file") from error
    check_grid(path, rows, columns, size)
    return [scan(one.name, _values(path, one, rows, columns), size, one.unit) for one in channels]


def _header(text: str) -> tuple[dict[str, str], list[_Channel]]:
    """What the lines "name : value ;comment" say, and the channels."""
    lines = [line.partition(";")[0].strip() for line in text.splitlines()]
    said, channels = {}, []
    for number, line in enumerate(lines):
        name, colon, value = (part.strip() for part in line.partition(":"))
        if name == _CHANNEL:
            channels.append(_Channel.of(value, lines[number + 1 : number + 1 + _LINES]))
        elif colon:
            said[name] = value
    return said, channels


def _values(path: Path, channel: _Channel, rows: int, columns: int) -> NDArray[np.float64]:
    """Physical values, the top line first; the name's letters may be large or small."""
    wanted = Path(channel.file).name.lower()
    file = next((one for one in path.parent.iterdir() if one.name.lower() == wanted), None)
    if file is None:
        raise FileError(
            f"{path}: its file {channel.file} of the channel {channel.name!r} is not beside it: copy it, too"
        )
    if file.stat().st_size < 2 * rows * columns:
        raise cut_off(file, f"{rows} × {columns} values of 2 bytes", f"{file.stat().st_size} bytes")
    raw = np.fromfile(file, ">i2", rows * columns).reshape(rows, columns)[::-1]
    (raw_low, raw_high), (low, high) = channel.raw, channel.physical
    return np.asarray(low + (raw - raw_low) * (high - low) / (raw_high - raw_low))
