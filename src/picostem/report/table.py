"""The map as a table: one row per window, in the columns that `picostem.result/1` lays down."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from picostem.physics import DEGREE
from picostem.resolve.result import SCHEMA
from picostem.resolve.serialise import plain

if TYPE_CHECKING:
    from pathlib import Path

    from picostem.resolve.result import Interface, Result, SlipMap
    from picostem.structure.monolayer import Monolayer


def map_columns(slip_map: SlipMap, interface: Interface, lower: Monolayer) -> dict[str, Any]:
    """Columns of map.parquet, each of shape (windows,).

    Slips are in the lower layer's crystal frame, in Å and in units of its cell vectors. The twist is the interface's:
    within a window it is held fixed.
    """
    count = len(slip_map)
    fractions = slip_map.slip @ np.linalg.inv(lower.cell)
    covariance = slip_map.covariance
    return {
        "row": slip_map.row,
        "col": slip_map.col,
        "x_A": slip_map.position[:, 0],
        "y_A": slip_map.position[:, 1],
        "interface": np.full(count, interface.lower, dtype=np.int32),
        "slip_x_A": slip_map.slip[:, 0],
        "slip_y_A": slip_map.slip[:, 1],
        "slip_a": fractions[:, 0],
        "slip_b": fractions[:, 1],
        "cov_xx_A2": covariance[:, 0, 0],
        "cov_xy_A2": covariance[:, 0, 1],
        "cov_yy_A2": covariance[:, 1, 1],
        "twist_deg": np.full(count, interface.twist / DEGREE),
        "twist_sigma_deg": np.full(count, interface.twist_sigma / DEGREE),
        "chi2": slip_map.chi2,
        "status": slip_map.status,
    }


def write_map(result: Result, path: Path) -> None:
    """Write map.parquet of a result that has a map; numbers that are not finite become nulls.

    The file's metadata hold the schema, the version and the settings (JSON) under `picostem.schema`,
    `picostem.version` and `picostem.settings`.
    """
    import pyarrow as pa
    from pyarrow import parquet

    assert result.map is not None
    interface = result.interfaces[0]
    columns = map_columns(result.map, interface, result.layers[interface.lower - 1].monolayer)
    arrays = {name: pa.array(values, mask=_missing(values)) for name, values in columns.items()}
    metadata = {
        "picostem.schema": SCHEMA,
        "picostem.version": result.version,
        "picostem.settings": json.dumps(plain(result.settings.as_dict())),
    }
    parquet.write_table(pa.table(arrays).replace_schema_metadata(metadata), path)


def _missing(values: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.bool_]] | None:
    return ~np.isfinite(values) if values.dtype.kind == "f" else None
