"""Result folders as `picostem resolve` leaves them, and catalogs of given slips."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from picostem.catalog import Catalog
from picostem.catalog.rows import Entry, arrow_schema
from picostem.catalog.slips import Slips
from picostem.report.table import write_map
from tests.report.made import make_result


@cache
def document() -> tuple[dict[str, Any], Any]:
    result = make_result()
    return result.as_dict(), result


def write_folder(folder: Path, name: str = "flake.dm4", session: str = "may", chi2: float = 1.14) -> Path:
    """A folder as `picostem resolve` leaves it, its pictures aside; results of other chi2 are other results."""
    tree, result = document()
    folder.mkdir(parents=True)
    tree = json.loads(json.dumps(tree))
    tree["image"] |= {"path": f"data/{session}/{name}", "name": name}
    tree["fit"]["chi2_reduced"] = chi2
    (folder / "result.json").write_text(json.dumps(tree))
    write_map(result, folder / "map.parquet")
    return folder


def write_drawn(folder: Path, slips: Slips) -> Path:
    """A catalog of windows with given slips, one image for each name."""
    catalog, names = Catalog(folder), slips.image.astype(str)
    for name in np.unique(names):
        mine = names == name
        count = int(mine.sum())
        fixed = {"image": f"{int(name):064x}", "file": f"{name}.dm4", "status": "ok", "interface": 1, "chi2": 1.0}
        fixed |= {"twist_deg": 0.0, "twist_sigma_deg": 0.0}
        given = {
            "x_A": 10.0 * np.arange(count),
            "y_A": np.zeros(count),
            "slip_x_A": slips.slip[mine, 0],
            "slip_y_A": slips.slip[mine, 1],
            "cov_xx_A2": slips.covariance[mine, 0, 0],
            "cov_xy_A2": slips.covariance[mine, 0, 1],
            "cov_yy_A2": slips.covariance[mine, 1, 1],
        }
        rows = [fixed | {key: float(values[i]) for key, values in given.items()} for i in range(count)]
        image = fixed | {"kind": "resolve", "material": "ReS2", "settings": '{"material": "ReS2"}', "stride_A": 10.0}
        tables = {"windows": _table("windows", rows), "images": _table("images", [image])}
        catalog.write(Entry(str(fixed["image"]), "ReS2", tables))
    return folder


def _table(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    schema = arrow_schema(name)
    return pa.Table.from_pylist([{key: row.get(key) for key in schema.names} for row in rows], schema)
