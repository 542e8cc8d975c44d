"""Files of atom tables, read again."""

from __future__ import annotations

import io

import numpy as np
import pytest
from pyarrow import parquet

from picostem.atoms.table import AtomTable

PLACES = ["row", "col", "x_A", "y_A", "cov_xx_A2", "cov_xy_A2", "cov_yy_A2"]
NAMES = [*PLACES, "intensity", "species", "p_species", "score", "anomaly", "frame", "track"]


def _table(pixel_size: tuple[float, float] | None) -> AtomTable:
    nothing = np.full(2, np.nan)
    return AtomTable(
        row=np.array([0.0, 3.0]), col=np.array([1.0, 4.5]), covariance=np.tile([[0.04, 0.01], [0.01, 0.09]], (2, 1, 1)),
        shape=(7, 9), pixel_size=pixel_size, intensity=np.array([100.0, 50.0]), intensity_sigma=np.array([10.0, 7.0]),
        background=np.ones(2), width=np.full(2, 2.0), score=np.array([9.0, 6.0]), chi2=np.ones(2),
        species=np.array(["W", ""]), p_species=np.array([0.9, np.nan]), anomaly=nothing, odd=np.full(2, ""),
        frame=np.zeros(2, dtype=np.int64), track=np.full(2, -1),
    )  # fmt: skip


def test_parquet_has_the_columns_and_nulls_for_what_is_unknown() -> None:
    table = parquet.read_table(io.BytesIO(_table((0.1, 0.2)).as_parquet()))
    assert table.column_names[: len(NAMES)] == NAMES
    assert table["species"].to_pylist() == ["W", None]
    assert table["anomaly"].null_count == 2
    assert table["x_A"].to_pylist() == pytest.approx([-0.6, 0.1])
    assert table["y_A"].to_pylist() == pytest.approx([0.3, 0.0])
    assert table["cov_xy_A2"].to_pylist() == pytest.approx([-0.0002] * 2)
    assert table.schema.metadata[b"picostem.schema"] == b"picostem.atoms/1"
    assert table.schema.metadata[b"picostem.pixel_size_A"] == b"0.1 0.2"


def test_without_a_calibration_lengths_are_null() -> None:
    table = parquet.read_table(io.BytesIO(_table(None).as_parquet()))
    assert table["x_A"].null_count == table["cov_xx_A2"].null_count == 2
    assert table["sigma_row"].to_pylist() == pytest.approx([0.2, 0.2])


def test_csv() -> None:
    lines = _table((0.1, 0.2)).as_csv().decode().splitlines()
    assert lines[0].split(",")[: len(NAMES)] == NAMES
    assert len(lines) == 3
    assert lines[2].split(",")[:4] == ["3", "4.5", "0.1", "0"]
    assert lines[2].split(",")[8:10] == ["", ""]


@pytest.mark.parametrize(("size", "unit", "second"), [((0.1, 0.2), "angstrom", 0.1), (None, "pixel", 0.5)])
def test_xyz_is_read_by_ase(size: tuple[float, float] | None, unit: str, second: float) -> None:
    from ase import Atoms
    from ase.io import read

    text = _table(size).as_xyz().decode()
    atoms = read(io.StringIO(text), format="extxyz")
    assert isinstance(atoms, Atoms)
    assert atoms.get_chemical_symbols() == ["W", "X"]
    assert atoms.info["unit"] == unit
    assert atoms.positions[1] == pytest.approx([second, 0, 0])
