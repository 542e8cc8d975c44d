"""Nanonis sxm files: a header of :TAGS: in text, two bytes, then 4-byte numbers, channel after channel.

Layout: Nanonis file format, as published by its users (https://sourceforge.net/p/gxsm/plugin-requests/3/). A scan is
stored as it was recorded: the first line first, the way back mirrored. Here the top line is first and x to the right.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from picostem.errors import FileError
from picostem.files.dataset import Dataset
from picostem.files.spm import check_grid, cut_off, scan

MOST_HEADER_BYTES = 4 << 20
_END = re.compile(rb":SCANIT_END:\s*\x1a\x04")
_ORDER = {"MSBFIRST": ">", "LSBFIRST": "<"}


def read_sxm(path: Path, form: str, stack: ExitStack) -> list[Dataset]:
    """Every channel of a scan, forward and backward, mapped, not read."""
    with path.open("rb") as file:
        head = file.read(MOST_HEADER_BYTES)
    end = _END.search(head)
    if end is None:
        raise FileError(f"{path}: the header of this sxm file has no end: it is cut off, copy it again")
    tags = _tags(path, head[: end.start()].decode("utf-8", "replace"))
    columns, rows = (int(number) for number in tags["SCAN_PIXELS"].split())
    width, height = (float(number) for number in tags["SCAN_RANGE"].split())
    check_grid(path, rows, columns, (height, width))
    kind, order = tags["SCANIT_TYPE"].split()
    if kind != "FLOAT" or order not in _ORDER or tags["SCAN_DIR"] not in ("up", "down"):
        said = f"values {kind} {order}, scan direction {tags['SCAN_DIR']}"
        raise FileError(f"{path}: {said}: known are FLOAT, MSBFIRST or LSBFIRST, up and down; export it as text")
    channels = _channels(path, tags["DATA_INFO"])
    available = (path.stat().st_size - end.end()) // (4 * rows * columns)
    if available < len(channels):
        raise cut_off(path, f"{len(channels)} images of {rows} × {columns} values", f"{available} whole ones")
    values = np.memmap(path, _ORDER[order] + "f4", "r", end.end(), (len(channels), rows, columns))
    up = slice(None, None, -1 if tags["SCAN_DIR"] == "up" else 1)
    ways = {"forward": slice(None), "backward": slice(None, None, -1)}
    return [
        scan(f"{name} {way}", values[i, up, ways[way]], (height, width), unit)
        for i, (name, unit, way) in enumerate(channels)
    ]


def _tags(path: Path, text: str) -> dict[str, str]:
    """The text after each tag."""
    parts = re.split(r"^:([^\n]+):\s*$", text, flags=re.MULTILINE)
    tags = {name.strip(): value.strip() for name, value in zip(parts[1::2], parts[2::2], strict=True)}
    missing = {"SCAN_PIXELS", "SCAN_RANGE", "SCANIT_TYPE", "SCAN_DIR", "DATA_INFO"} - set(tags)
    if missing or tags.get("NANONIS_VERSION") != "2":
        said = f"misses {', '.join(sorted(missing))}" if missing else f"is of version {tags.get('NANONIS_VERSION')}"
        raise FileError(f"{path}: its header {said}, known is version 2: export it as text from Nanonis")
    return tags


def _channels(path: Path, table: str) -> list[tuple[str, str, str]]:
    """Name, unit and direction of the images in their order, from a table with a line of titles."""
    titles, *lines = (line.split() for line in table.splitlines() if line.strip())
    found = []
    for line in lines:
        row = dict(zip(titles, line, strict=True))
        ways = {"both": ("forward", "backward"), "fwd": ("forward",), "bwd": ("backward",)}.get(row["Direction"])
        if ways is None:
            raise FileError(f"{path}: a channel recorded in direction {row['Direction']!r}: expected both, fwd or bwd")
        found += [(row["Name"].replace("_", " "), row["Unit"], way) for way in ways]
    return found
