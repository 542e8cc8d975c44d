"""map.parquet: the columns that the schema lays down, their values, and what else the file says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from picostem.physics import DEGREE
from picostem.report.table import map_columns, write_map
from picostem.resolve.result import Result
from picostem.structure import load_monolayer

# fmt: off
COLUMNS = [
    "row", "col", "x_A", "y_A", "interface", "slip_x_A", "slip_y_A", "slip_a", "slip_b",
    "cov_xx_A2", "cov_xy_A2", "cov_yy_A2", "twist_deg", "twist_sigma_deg",
    "strain_xx", "strain_yy", "strain_xy", "chi2", "status", "engine",
]
# fmt: on


@pytest.fixture
def table(slip_result: Result, tmp_path: Path) -> pa.Table:
    write_map(slip_result, tmp_path / "map.parquet")
    return parquet.read_table(tmp_path / "map.parquet")


def test_columns_and_their_types(table: pa.Table) -> None:
    assert table.column_names == COLUMNS
    assert len(table) == 64
    assert table.schema.field("interface").type == pa.int32()
    assert table.schema.field("status").type == pa.string()
    others = [table.schema.field(name).type for name in COLUMNS if name not in ("interface", "status", "engine")]
    assert set(others) == {pa.float64()}


def test_values_are_the_maps(table: pa.Table, slip_result: Result) -> None:
    slip_map = slip_result.map
    assert slip_map is not None
    np.testing.assert_array_equal(table["row"], slip_map.row)
    np.testing.assert_array_equal(table["x_A"], slip_map.position[:, 0])
    np.testing.assert_array_equal(table["y_A"], slip_map.position[:, 1])
    np.testing.assert_array_equal(table["cov_xy_A2"], slip_map.covariance[:, 0, 1])
    np.testing.assert_array_equal(table["status"].to_pylist(), slip_map.status)
    assert set(table["interface"].to_pylist()) == {1}


def test_whose_slip_a_window_has(slip_result: Result, tmp_path: Path) -> None:
    (one,) = slip_result.maps
    for engine in (None, np.where(np.arange(len(one)) % 2, "net", "fit")):
        write_map(replace(slip_result, maps=(replace(one, engine=engine),)), tmp_path / "map.parquet")
        found = parquet.read_table(tmp_path / "map.parquet")["engine"].to_pylist()
        assert found == (["fit"] * len(one) if engine is None else engine.tolist())


def test_fractions_make_up_the_slip(table: pa.Table) -> None:
    a, b = load_monolayer("ReS2").cell
    rows = [row for row in table.to_pylist() if row["status"] == "ok"]
    for row in rows:
        # 1e-12 Å: rounding.
        np.testing.assert_allclose(
            row["slip_a"] * a + row["slip_b"] * b, (row["slip_x_A"], row["slip_y_A"]), atol=1e-12
        )


def test_windows_without_slip_have_nulls(table: pa.Table, slip_result: Result) -> None:
    assert slip_result.map is not None
    missing = np.isnan(slip_result.map.slip[:, 0]).sum()
    assert missing > 0
    for name in ("slip_x_A", "slip_y_A", "slip_a", "slip_b"):
        assert table[name].null_count == missing
    assert table["chi2"].null_count == 0


def test_metadata_name_schema_version_and_settings(table: pa.Table) -> None:
    metadata = table.schema.metadata
    assert metadata[b"picostem.schema"] == b"picostem.result/1"
    assert metadata[b"picostem.version"] == b"1.2.3"
    settings = json.loads(metadata[b"picostem.settings"])
    assert settings["material"] == "ReS2"
    assert settings["window_nm"] == 2.0


def test_the_twist_is_the_interfaces(slip_result: Result) -> None:
    assert slip_result.map is not None
    interface = replace(slip_result.interfaces[0], twist=60 * DEGREE, twist_sigma=0.1 * DEGREE)
    columns = map_columns(slip_result.map, interface, slip_result.layers[0].monolayer)
    # 1e-12°: rounding of pi.
    np.testing.assert_allclose(columns["twist_deg"], 60, atol=1e-12)
    np.testing.assert_allclose(columns["twist_sigma_deg"], 0.1, atol=1e-12)


def test_a_twist_map_has_its_own_twists_and_strains(twist_domain_result: Result, tmp_path: Path) -> None:
    (one,) = twist_domain_result.maps
    assert one.twist is not None
    write_map(twist_domain_result, tmp_path / "map.parquet")
    read = parquet.read_table(tmp_path / "map.parquet")
    assert read.column_names == COLUMNS
    np.testing.assert_allclose(read["twist_deg"], one.twist / DEGREE)
    # Of the fake windows.
    np.testing.assert_allclose(read["twist_sigma_deg"], 0.05)
    np.testing.assert_array_equal(read["strain_xx"], 0.001)
    np.testing.assert_array_equal(read["strain_yy"], -0.001)
    np.testing.assert_array_equal(read["strain_xy"], 0.0)


def test_each_interface_has_its_rows(twisted_trilayer_result: Result, tmp_path: Path) -> None:
    write_map(twisted_trilayer_result, tmp_path / "map.parquet")
    read = parquet.read_table(tmp_path / "map.parquet")
    lower, upper = twisted_trilayer_result.maps
    assert len(read) == len(lower) + len(upper)
    number = np.array(read["interface"])
    np.testing.assert_array_equal(np.unique(number), [1, 2])
    np.testing.assert_array_equal(np.array(read["slip_x_A"])[number == 2], upper.slip[:, 0])
    # Layers 1 and 2 share a lattice: no twist, and no strain to be known.
    assert set(np.array(read["twist_deg"])[number == 1]) == {0.0}
    strains = np.array(read["strain_xy"].to_pylist(), dtype=np.float64)
    assert np.isnan(strains[number == 1]).all()
    assert np.isfinite(strains[number == 2]).all()
