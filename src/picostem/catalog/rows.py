"""The folder of one result as rows of the catalog's tables."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from picostem.errors import DataError, FileError
from picostem.structure.lattice import preferred
from picostem.version import VERSION

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA = "picostem.catalog/1"
RESULT, ATOMS = "picostem.result/1", "picostem.atoms/1"
"""Schemas of the results that a catalog takes."""


def _kinds(**names: str) -> dict[str, str]:
    """Columns by their names, from names by their kind."""
    return {name: kind for kind, text in names.items() for name in text.split()}


WINDOWS = _kinds(
    string="image file session status engine",
    int32="interface",
    float="voltage_kV row col x_A y_A slip_x_A slip_y_A slip_a slip_b cov_xx_A2 cov_xy_A2 cov_yy_A2 twist_deg "
    "twist_sigma_deg strain_xx strain_yy strain_xy chi2",
)
"""Columns of a window; numbers are 32 bit, 1e-7 of their value. The material is the name of the partition."""

IMAGES = _kinds(
    string="image kind material file path session version verdict reason engine settings",
    double="rows cols pixel_size_A voltage_kV semiangle_mrad slip_x_A slip_y_A slip_sigma_A slip_spread_A twist_deg "
    "twist_sigma_deg chi2 explained windows window_A stride_A domains boundaries atoms defects",
)
"""Columns of an image. Slip and twist are those of the first interface, the slip the one that stands for all
equivalents. atoms, defects: of a result of `picostem atoms`."""

DEFECTS = _kinds(
    string="image file session kind site species odd",
    double="frame p_species row col x_A y_A sigma_x_A sigma_y_A intensity intensity_ratio anomaly nearest_defect_A "
    "strain_xx strain_yy strain_xy",
)
"""Columns of a defect: those of defects.parquet, with the image."""

TABLES = {"windows": WINDOWS, "images": IMAGES, "defects": DEFECTS}


def empty(table: str) -> pa.Table:
    """A table of the catalog without rows, the material among its columns."""
    return arrow_schema(table, partition=True).empty_table()


def arrow_schema(table: str, *, partition: bool = False) -> pa.Schema:
    """Names and types of a table's columns, as its files have them, or with the partition's."""
    import pyarrow as pa

    fields = [(name, pa.type_for_alias(kind)) for name, kind in TABLES[table].items()]
    fields += [("material", pa.string())] if partition and table != "images" else []
    return pa.schema(fields, {"picostem.schema": SCHEMA, "picostem.version": VERSION})


@dataclass(frozen=True)
class Entry:
    """One result: the key of its image, its material, and its rows by the name of the table."""

    key: str
    material: str
    tables: dict[str, pa.Table]


def read_entry(folder: Path, session: str | None = None) -> Entry:
    """Rows of a folder that `picostem resolve` or `picostem atoms` left.

    Args:
        session: at the microscope; None takes the name of the folder that the image lay in.

    Raises:
        FileError: the folder has no result, or its files are damaged.
        DataError: it is of another schema.
    """
    document = _document(folder)
    kind = document["schema"]
    try:
        path = Path(document["image"]["path"] or "")
        known = path.parent.name if session is None else session
        common = {"image": identity(document), "file": path.name or document["image"]["name"], "session": known}
        if kind == RESULT:
            return _resolved(document, folder, common)
        return _atoms(document, folder, common)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise FileError(f"{folder}: result.json is damaged ({error!r}): make the result again") from error


def identity(document: dict[str, Any]) -> str:
    """SHA-256 of what a result says and of the settings that made it, as 64 hexadecimal digits.

    Left out is what differs between equal results: times, and where the image lay.
    """
    told = {key: value for key, value in document.items() if key != "seconds"}
    told["image"] = {key: value for key, value in document["image"].items() if key != "path"}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _document(folder: Path) -> dict[str, Any]:
    path = folder / "result.json"
    try:
        document = json.loads(path.read_text("utf-8"))
        schema = document["schema"]
    except FileNotFoundError:
        raise FileError(f"{folder} holds no result.json: give folders of `picostem resolve` or `atoms`") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileError(f"{path} is no result of picostem ({error}): make it again") from error
    if schema not in (RESULT, ATOMS):
        raise DataError(f"{path} has the schema {schema!r}; expected {RESULT} or {ATOMS}")
    return dict(document)


def _resolved(document: dict[str, Any], folder: Path, common: dict[str, Any]) -> Entry:
    material = _material(document)
    microscope, fit, chart = (document[key] or {} for key in ("microscope", "fit", "map"))
    common["voltage_kV"] = microscope.get("voltage_kV")
    shown = chart.get("interfaces", [{}])[0]
    image = {
        **common,
        **_size(document),
        **_first_interface(document["interfaces"]),
        "kind": "resolve",
        "material": material,
        "verdict": document["verdict"],
        "reason": document["reason"],
        "settings": json.dumps(document["settings"], sort_keys=True),
        "semiangle_mrad": microscope.get("semiangle_mrad"),
        "engine": fit.get("engine"),
        "chi2": fit.get("chi2_reduced"),
        "explained": fit.get("explained"),
        "windows": chart.get("windows", 0),
        "window_A": chart.get("window_A"),
        "stride_A": chart.get("stride_A"),
        "domains": len(shown.get("domains", ())),
        "boundaries": len(shown.get("boundaries", ())),
    }
    tables = {"images": _one_row(image)}
    if chart:
        tables["windows"] = _table("windows", folder / chart["file"], common)
    return Entry(common["image"], material, tables)


def _atoms(document: dict[str, Any], folder: Path, common: dict[str, Any]) -> Entry:
    material = document["crystal"] or "unknown"
    defects = _table("defects", folder / "defects.parquet", common)
    image = {
        **common,
        **_size(document),
        "kind": "atoms",
        "material": material,
        "atoms": document["atoms"],
        "defects": len(defects),
    }
    return Entry(common["image"], material, {"images": _one_row(image), "defects": defects})


def _material(document: dict[str, Any]) -> str:
    """Names of the layers' different structures from below, or what was asked for where no layer was found."""
    names = dict.fromkeys(layer["structure"] for layer in document["layers"])
    return "/".join(names) or str(document["settings"]["material"])


def _size(document: dict[str, Any]) -> dict[str, Any]:
    image = document["image"]
    size = image["pixel_size_A"]
    rows, cols = image["shape"]
    return {
        "path": image["path"],
        "version": document["version"],
        "rows": rows,
        "cols": cols,
        "pixel_size_A": float(np.mean(size)) if size else None,
    }


def _first_interface(interfaces: list[dict[str, Any]]) -> dict[str, Any]:
    if not interfaces:
        return {}
    first = interfaces[0]
    equivalents = np.array(first["equivalents"], dtype=np.float64).reshape(-1, 2)
    x, y = equivalents[preferred(equivalents)] if len(equivalents) else first["slip_cart_A"]
    return {
        "slip_x_A": x,
        "slip_y_A": y,
        "slip_sigma_A": float(np.sqrt(np.trace(np.array(first["slip_cov_A2"], dtype=np.float64)))),
        "slip_spread_A": first["slip_spread_A"],
        "twist_deg": first["twist_deg"],
        "twist_sigma_deg": first["twist_sigma_deg"],
    }


def _one_row(row: dict[str, Any]) -> pa.Table:
    import pyarrow as pa

    names = arrow_schema("images")
    return pa.Table.from_pylist([{name: row.get(name) for name in names.names}], names)


def _table(name: str, path: Path, common: dict[str, Any]) -> pa.Table:
    """The columns of a result's table that the catalog keeps, with those that all its rows have in common."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        found = parquet.ParquetFile(path).read()
    except (OSError, pa.ArrowException) as error:
        raise FileError(f"{path} is missing or damaged ({error}): make the result again") from error
    schema = arrow_schema(name)
    columns = []
    for field in schema:
        if field.name in common:
            columns.append(pa.repeat(pa.scalar(common[field.name], field.type), len(found)))
        elif field.name in found.column_names:
            columns.append(found[field.name].cast(field.type))
        else:
            raise FileError(f"{path} has no column {field.name!r}: make the result again with this version")
    return pa.table(columns, schema=schema)
