"""Writing a simulated image and its truth, each completely or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import tifffile

from picostem.errors import OutputError
from picostem.image import Image
from picostem.physics import NM


def write_simulation(folder: Path, name: str, image: Image, truth: Mapping[str, Any]) -> tuple[Path, Path]:
    """Write NAME.tif (float32, calibrated in nm as ImageJ does) and NAME.json, each completely or not at all.

    Returns:
        the two paths.

    Raises:
        OutputError: if a file cannot be written, or the image has no pixel size.
    """
    if image.pixel_size is None:
        raise OutputError(f"image {image.name!r} has no pixel size: call with_pixel_size before writing it")
    per_nm = (NM / image.pixel_size[1], NM / image.pixel_size[0])
    document = json.dumps({**truth, "image": {**truth["image"], "file": f"{name}.tif"}}, indent=1)

    def write_tif(path: Path) -> None:
        tifffile.imwrite(path, image.data, imagej=True, resolution=per_nm, metadata={"unit": "nm", "axes": "YX"})

    tif, text = folder / f"{name}.tif", folder / f"{name}.json"
    write_whole(tif, write_tif)
    write_whole(text, lambda path: path.write_text(document + "\n", "utf-8"))
    return tif, text


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside the path, then move: a reader never sees half a file.

    Raises:
        OutputError: if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.stem}", suffix=path.suffix, delete=False) as handle:
            beside = Path(handle.name)
        try:
            write(beside)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
