"""Real files of many programs, where they lie beside the repository."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from picostem.errors import ImageError
from picostem.files import list_datasets, read_image
from picostem.image import check_image

KNOWN = {
    "formats/CdTe_twin.dm3": ((512, 512), 0.20217, 200),
    "formats/layered_oxide_survey.dm3": ((512, 512), None, 200),
    "formats/PTO_SRO.hspy": ((224, 1312), 0.14997, 300),
    "formats/SrTiO3.ser": ((1024, 1024), 0.10013, None),
    "formats/berkeley.emd": ((1024, 1024), 0.12247, 200),
    "monolayers/WSe2_Ti/1028_ADF1_11.dm4": ((512, 512), 0.39879, 80),
    "monolayers/WSe2_Ti/1028_ADF1_2.dm4": ((512, 512), 0.39879, 80),
    "monolayers/WSe2_Ti/1028_ADF2_11.dm4": ((512, 512), 0.39879, 80),
    "monolayers/WSe2_Ti/1028_ADF2_2.dm4": ((512, 512), 0.39879, 80),
    "monolayers/Ti3C2_MXene_HAADF.tif": ((982, 817), None, None),
    "monolayers/MoS2_stem_Exp-000-2.npy": ((512, 512), None, None),
    "monolayers/MoS2_stem_Exp-001-5.npy": ((512, 512), None, None),
    "bilayers/MoS2_twisted.png": ((1024, 1024), None, None),
    "bilayers/ReS2_bilayer_A.png": ((776, 776), None, None),
    "bilayers/ReS2_bilayer_B.png": ((656, 656), None, None),
    "bilayers/ReS2_bilayer_large_field.png": ((1470, 1470), None, None),
    "bilayers/ReS2_bilayer_style.png": ((1063, 1063), None, None),
    "bilayers/ReS2_trilayer.png": ((734, 734), None, None),
    "stm/TaSe2_CDW_40nm.npy": ((512, 512), None, None),
}
"""Shape, pixel size in Å, voltage in kV."""


@pytest.mark.parametrize("name", KNOWN)
def test_known_files(shared: Path, name: str) -> None:
    shape, pixel_size, kilovolts = KNOWN[name]
    image = read_image(shared / "data" / name)
    assert image.data.shape == shape
    expected = None if pixel_size is None else pytest.approx((pixel_size, pixel_size), rel=5e-5)  # digits above
    assert image.pixel_size == expected
    assert image.acquisition.voltage_eV == (None if kilovolts is None else 1e3 * kilovolts)
    assert image.notes == ()
    check_image(image)


def test_angles_of_a_velox_image_saved_by_hyperspy(shared: Path) -> None:
    acquisition = read_image(shared / "data/formats/PTO_SRO.hspy").acquisition
    assert acquisition.semiangle == pytest.approx(0.0179, abs=5e-5)  # digits given
    assert acquisition.detector_inner == pytest.approx(0.065, abs=5e-4)
    assert acquisition.detector_outer == pytest.approx(0.379, abs=5e-4)


def test_berkeley_rows_stay_rows(shared: Path) -> None:
    """The file names its first axis Y: it must come out as it lies there, not mirrored."""
    import h5py

    path = shared / "data/formats/berkeley.emd"
    with h5py.File(path) as file:
        assert file["data/single/dim1"].attrs["name"] == b"Y"
        stored = file["data/single/data"][:]
    assert np.array_equal(read_image(path).data, stored)


def test_platinum_atoms(shared: Path) -> None:
    """512 pixels of a field of 15 nm."""
    files = sorted((shared / "data/single_atoms").glob("*.tif"))
    assert len(files) == 6
    for file in files:
        assert read_image(file).pixel_size == pytest.approx((150 / 512, 150 / 512), rel=1e-6)  # as written


def test_benchmark(shared: Path) -> None:
    """The pixel size stands in the tags, to seven digits, and in the truth."""
    files = sorted((shared / "bench").glob("dev_*[0-9].tif"))
    assert files
    for file in files:
        truth = json.loads(file.with_suffix(".json").read_text())["image"]
        image = read_image(file)
        assert image.data.shape == tuple(truth["shape_rows_cols"])
        assert image.pixel_size == pytest.approx((truth["pixel_size_A"],) * 2, rel=1e-6)
        check_image(image)


def test_data_that_are_no_image(shared: Path) -> None:
    with pytest.raises(ImageError, match="spectrum or profile"):
        read_image(shared / "data/monolayers/WSe2_Ti/1028_Ti11_lbs_new.npy")
    kinds = {info.name: info.kind for info in list_datasets(shared / "data/stem4d/graphene_recovered_rank13.npz")}
    assert kinds["haadf_64x64_u8"] == "image"
