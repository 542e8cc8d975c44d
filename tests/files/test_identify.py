"""The format comes from the contents, and from the name where the contents cannot tell."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image as Picture

from picostem.errors import FileError
from picostem.files.identify import EXTENSIONS, identify
from picostem.files.rosetta import PLUGINS

Pixels = NDArray[np.uint16]


@pytest.fixture
def files(
    tmp_path: Path, pixels: Pixels, write_dm: Any, write_ser: Any, write_mrc: Any, write_signal: Any, write_nsid: Any
) -> dict[str, Path]:
    """A file of each format that can be told by its contents."""
    found = {form: tmp_path / f"a.{form}" for form in ("png", "jpg", "bmp", "tif", "npy", "npz")}
    for form in ("png", "jpg", "bmp"):
        Picture.fromarray((pixels >> 8).astype(np.uint8)).save(found[form])
    tifffile.imwrite(found["tif"], pixels)
    np.save(found["npy"], pixels)
    np.savez(found["npz"], pixels)
    found |= {"dm3": write_dm({"a": pixels}, 3), "dm4": write_dm({"a": pixels}, 4)}
    found |= {"ser": write_ser(pixels, 2e-11), "mrc": write_mrc(pixels, 0.2), "nsid": write_nsid(pixels, (0.02, 0.03))}
    return found | {form: write_signal(form, pixels) for form in ("hspy", "emd", "nxs")}


def test_own_name(files: dict[str, Path]) -> None:
    assert {form: identify(path) for form, path in files.items()} == {form: form for form in files}


@pytest.mark.parametrize("ending", ["tif", "PNG", "dm4", "emd", "unknown", ""])
def test_wrong_names_do_not_mislead(files: dict[str, Path], tmp_path: Path, ending: str) -> None:
    for form, path in files.items():
        renamed = tmp_path / f"{form}_renamed.{ending}".rstrip(".")
        shutil.copy(path, renamed)
        assert identify(renamed) == form


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_all_four_signatures_of_tif(tmp_path: Path, pixels: Pixels, byteorder: Any, bigtiff: bool) -> None:
    path = tmp_path / "a.dat"
    tifffile.imwrite(path, pixels, byteorder=byteorder, bigtiff=bigtiff)
    assert identify(path) == "tif"


@pytest.mark.parametrize(
    "ending", ["tif", "tiff", "png", "jpg", "npy", "npz", "dm3", "ser", "emd", "hspy", "prz", "h5"]
)
def test_a_name_that_promises_too_much(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"notes.{ending}"
    path.write_text("these are only words")
    with pytest.raises(FileError, match=r"not a \w+ file, though its name says so"):
        identify(path)


@pytest.mark.parametrize("ending", ["emi", "mib", "unf", "rpl", "xml", "mrc", "EMI"])
def test_formats_without_signature_go_by_name(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    path.write_bytes(b"anything")
    assert identify(path) == ending.lower()


def test_unknown_formats_are_told_what_is_known(tmp_path: Path) -> None:
    path = tmp_path / "a.docx2"
    path.write_bytes(b"anything")
    with pytest.raises(FileError, match=r"unknown format: save it as tif, or as another of .*dm4.*npy.*zspy"):
        identify(path)


def test_hdf5_of_others(tmp_path: Path, write_nsid: Callable[..., Path]) -> None:
    import h5py

    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["a/b"] = np.zeros(3)
    with pytest.raises(FileError, match="an HDF5 file, but not HyperSpy's"):
        identify(path)


def test_a_zspy_folder_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.zspy").mkdir()
    assert identify(tmp_path / "a.zspy") == "zspy"


def test_every_format_has_a_reader() -> None:
    own = {"png", "jpg", "bmp", "tif", "npy", "npz", "mrc", "sxm", "spm", "mtrx", "par", "txt"}
    assert set(EXTENSIONS.values()) - own - {"hdf5"} == set(PLUGINS)


def test_the_plugins_exist_in_rosettasciio_and_know_the_endings() -> None:
    from rsciio import IO_PLUGINS

    endings = {plugin["api"]: {one.lower() for one in plugin["file_extensions"]} for plugin in IO_PLUGINS}
    for form, plugin in PLUGINS.items():
        assert form in endings[f"rsciio.{plugin.module}"]


def test_readers_that_run_text_from_the_file_are_left_out() -> None:
    assert "eval(" in Path(importlib.import_module("rsciio.netcdf._api").__file__ or "").read_text()  # still so
    assert "nc" not in EXTENSIONS
    assert all(plugin.module != "netcdf" for plugin in PLUGINS.values())
