"""zspy folders. RosettaSciIO cannot write them beside zarr 3, so they are written here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.errors import FileError
from picostem.files import read_image

zarr = pytest.importorskip("zarr")
Pixels = NDArray[np.uint16]


@pytest.fixture
def folder(tmp_path: Path, pixels: Pixels) -> Path:
    """A zspy folder with one image, as HyperSpy lays it out (zarr 2)."""
    path = tmp_path / "a.zspy"
    root = zarr.open_group(path, mode="w", zarr_format=2)
    root.attrs.update(file_format="ZSpy", file_format_version="3.3")
    image = root.create_group("Experiments").create_group("HAADF")
    image.create_array("data", shape=pixels.shape, dtype=pixels.dtype, chunks=(40, 48))[:] = pixels
    for i, (name, scale) in enumerate((("y", 0.02), ("x", 0.03))):
        axis = {"name": name, "scale": scale, "units": "nm", "size": pixels.shape[i], "offset": 0.0, "navigate": False}
        image.create_group(f"axis-{i}").attrs.update(_type="UniformDataAxis", **axis)
    image.create_group("metadata").create_group("General").attrs["title"] = "HAADF"
    for name in ("original_metadata", "learning_results", "attributes"):
        image.create_group(name)
    return path


def _describe(folder: Path, **changes: Any) -> None:
    file = folder / "Experiments/HAADF/data/.zarray"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_image(folder: Path, pixels: Pixels) -> None:
    image = read_image(folder)
    assert np.array_equal(image.data, pixels)
    assert image.pixel_size == pytest.approx((0.2, 0.3))


@pytest.mark.parametrize("part", ["filters", "compressor"])
def test_pickles_are_refused(folder: Path, part: str) -> None:
    codec = {"id": "pickle", "protocol": 5}
    _describe(folder, dtype="|O", **{part: [codec] if part == "filters" else codec})
    with pytest.raises(FileError, match="holds pickled values, which are never loaded"):
        read_image(folder)


def test_too_many_pieces(folder: Path) -> None:
    _describe(folder, shape=[300_000, 300_000], chunks=[10, 10])
    with pytest.raises(FileError, match="in 900000000 pieces"):
        read_image(folder)


def test_zipped(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.zspy", "w") as archive:
        archive.writestr(".zgroup", "{}")
    with pytest.raises(FileError, match="unpack it, and name the folder"):
        read_image(tmp_path / "a.zspy")


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "a.zspy").mkdir()
    with pytest.raises(FileError, match="cannot be read as zspy"):
        read_image(tmp_path / "a.zspy")
