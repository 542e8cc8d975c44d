"""ISO 28600 files of probe microscopes (.spm): 128 lines of header, a line for each point, "end of experiment".

Line numbers below are those of the standard, ISO 28600:2011, clause 5, counted from 1. Of several channels, a line has
one value each, separated by commas.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np

from picostem.errors import FileError
from picostem.files.dataset import Dataset
from picostem.files.spm import check_grid, cut_off, scan
from picostem.files.units import angstroms

HEADER = 128
_LAST = "end of experiment"
MOST_CHANNELS = 8


def read_iso28600(path: Path, form: str, stack: ExitStack) -> list[Dataset]:
    """Every channel of a map on a regular grid."""
    lines = path.read_text("utf-8", "replace").splitlines()
    if len(lines) < HEADER or lines[HEADER - 1].strip() != "end of header":
        raise FileError(f"{path}: no 'end of header' in line {HEADER}: it is damaged or cut off, copy it again")
    head = ["", *(line.strip() for line in lines[:HEADER])]
    mode, fast, right, down = head[8], head[20], head[21].lower(), head[23].lower()
    ways = {"left to right": 1, "right to left": -1, "top to bottom": 1, "bottom to top": -1}
    if (mode, head[17], fast) not in (("MAP_SC", "REGULAR MAPPING", "X"), ("MAP_MC", "REGULAR MAPPING", "X")):
        said = f"{mode}, {head[17]}, fast axis {fast}"
        raise FileError(f"{path}: {said}: known are MAP_SC and MAP_MC with REGULAR MAPPING and fast axis X")
    if right not in ways or down not in ways:
        raise FileError(f"{path}: scanned {right!r} and {down!r}: expected such as 'left to right' and 'top to bottom'")
    columns, rows = int(head[24]), int(head[25])
    width, height = (float(head[28 + i]) * (angstroms(head[26 + i]) or 0) * 1e-10 for i in range(2))
    check_grid(path, rows, columns, (height, width))
    names = _channels(path, head) if mode == "MAP_MC" else [(head[69], head[70])]
    body = lines[HEADER : HEADER + rows * columns]
    if len(lines) <= HEADER + len(body) or lines[HEADER + len(body)].strip() != _LAST:
        raise cut_off(path, f"{rows} × {columns} points and then {_LAST!r}", f"{len(lines) - HEADER} lines")
    values = np.loadtxt(body, delimiter=",", ndmin=2).reshape(rows, columns, len(names))
    values = values[:: ways[down], :: ways[right]]
    return [scan(name, values[..., i], (height, width), unit) for i, (name, unit) in enumerate(names)]


def _channels(path: Path, head: list[str]) -> list[tuple[str, str]]:
    count = int(head[94])
    if not 1 <= count <= MOST_CHANNELS:
        raise FileError(f"{path}: its header promises {count} channels, expected 1 to {MOST_CHANNELS}: it is damaged")
    return [(head[95 + 3 * i], head[96 + 3 * i]) for i in range(count)]
