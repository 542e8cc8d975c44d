"""The map as a table: one row per window and interface, in the columns that `picostem.result/1` lays down."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from picostem.physics import DEGREE
from picostem.resolve.result import SCHEMA
from picostem.resolve.serialise import plain

if TYPE_CHECKING:
    from pathlib import Path

    from picostem.resolve.result import Interface, Result, SlipMap
    from picostem.structure.monolayer import Monolayer

FloatArray = NDArray[np.float64]


def map_columns(slip_map: SlipMap, interface: Interface, lower: Monolayer) -> dict[str, Any]:
    """Columns of map.parquet for one interface, each of shape (windows,).

    Slips are in the lower layer's crystal frame, in Å and in units of its cell vectors; so are strains. Where the
    layers share a lattice the twist is the interface's, and exact.
    """
    count = len(slip_map)
    fractions = slip_map.slip @ np.linalg.inv(lower.cell)
    covariance = slip_map.covariance
    strain = np.full((count, 2, 2), np.nan) if slip_map.strain is None else slip_map.strain
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
        "twist_deg": _degrees(slip_map.twist, interface.twist, count),
        "twist_sigma_deg": _degrees(slip_map.twist_sigma, interface.twist_sigma, count),
        "strain_xx": strain[:, 0, 0],
        "strain_yy": strain[:, 1, 1],
        "strain_xy": strain[:, 0, 1],
        "chi2": slip_map.chi2,
        "status": slip_map.status,
        "engine": np.full(count, "fit") if slip_map.engine is None else slip_map.engine,
    }


def _degrees(windows: FloatArray | None, interface: float, count: int) -> FloatArray:
    return (np.full(count, interface) if windows is None else windows) / DEGREE


def write_map(result: Result, path: Path) -> None:
    """Write map.parquet of a result that has a map, interface after interface; what is not finite becomes null.

    The file's metadata hold the schema, the version and the settings (JSON) under `picostem.schema`,
    `picostem.version` and `picostem.settings`.
    """
    import pyarrow as pa
    from pyarrow import parquet

    tables = [
        map_columns(one, interface, result.layers[interface.lower - 1].monolayer)
        for one, interface in zip(result.maps, result.interfaces, strict=True)
    ]
    columns = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    arrays = {name: pa.array(values, mask=_missing(values)) for name, values in columns.items()}
    metadata = {
        "picostem.schema": SCHEMA,
        "picostem.version": result.version,
        "picostem.settings": json.dumps(plain(result.settings.as_dict())),
    }
    parquet.write_table(pa.table(arrays).replace_schema_metadata(metadata), path)


def _missing(values: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.bool_]] | None:
    return ~np.isfinite(values) if values.dtype.kind == "f" else None
