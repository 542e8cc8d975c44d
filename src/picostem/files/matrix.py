"""Scienta Omicron Matrix files (NAME--1_1.Z_mtrx) through access2theMatrix.

What they mean stands in NAME_0001.mtrx beside them, which must be there.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
from access2thematrix import MtrxData

from picostem.errors import FileError
from picostem.files.dataset import Dataset
from picostem.files.spm import scan

UNITS = {"Meter": "m", "Ampere": "A", "Volt": "V", "Hertz": "Hz"}


def read_matrix(path: Path, form: str, stack: ExitStack) -> list[Dataset]:
    """The one to four images of a channel: forward and backward, scanned up and down."""
    if "--" not in path.name:
        raise FileError(f"{path}: says how a scan was recorded, but has no image: name a file that ends in .Z_mtrx")
    matrix = MtrxData()
    traces, message = matrix.open(str(path))
    if not traces or matrix.object_type != "image":
        raise FileError(
            f"{path}: no image can be read ({message}): the files of the same name that end in _0001.mtrx and so on "
            "must lie beside it; spectra are no images"
        )
    datasets = []
    for trace in traces.values():
        image, _ = matrix.select_image(trace)
        name, unit = image.channel_name_and_unit
        values = np.asarray(image.data)[::-1]  # the lowest line comes first
        size = (float(image.height), float(image.width))
        datasets.append(scan(f"{name} {trace}", values, size, UNITS.get(unit, unit)))
    return datasets
