"""Atoms for other programs: an image with markers for HyperSpy, and a table of defects for a catalogue of them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from picostem.atoms.anomaly import NAMED
from picostem.atoms.species import OFF_LATTICE
from picostem.version import VERSION

if TYPE_CHECKING:
    from pathlib import Path

    from picostem.atoms.survey import Survey
    from picostem.atoms.table import AtomTable

FloatArray = NDArray[np.float64]
Columns = dict[str, NDArray[Any]]

SCHEMA = "picostem.defects/1"
AROUND = 2.3
"""Lengths of the longer lattice vector, within which atoms of the same sublattice say how the lattice is strained."""

FEWEST = 6
"""Of these atoms: a lattice and its origin in the plane are six numbers."""


def write_markers(survey: Survey, path: Path) -> None:
    """The first frame as a HyperSpy signal (.hspy) with a set of markers for each class, and one for vacancies.

    HyperSpy's coordinates: x right, y down, from the middle of the first pixel; Å, or pixels without a calibration.
    """
    from rsciio.hspy import file_writer

    from picostem.report.atoms_figure import COLOURS, MOST

    image, table, gone = survey.image, survey.table, survey.found.vacancies
    dy, dx = image.pixel_size or (1.0, 1.0)
    units = "px" if image.pixel_size is None else "Å"
    first = table.frame == 0
    markers = {}
    for k, one in enumerate(survey.found.classes):
        mine = first & (table.species == one.name)
        if mine.any():
            markers[one.name] = _points(table.col[mine] * dx, table.row[mine] * dy, one.name, COLOURS[min(k, MOST - 1)])
    here = gone.frame == 0
    if here.any():
        markers["vacancies"] = _points(gone.col[here] * dx, gone.row[here] * dy, "vacancies", "white")
    axes = [
        {
            "_type": "UniformDataAxis", "name": name, "units": units, "scale": scale, "offset": 0.0, "size": size,
            "navigate": False, "is_binned": False, "index_in_array": index,
        }
        for index, (name, scale, size) in enumerate(zip(("y", "x"), (dy, dx), image.data.shape, strict=True))
    ]  # fmt: skip
    signal = {
        "data": image.data,
        "axes": axes,
        "metadata": {"General": {"title": image.name}, "Signal": {"signal_type": ""}, "Markers": markers},
        "original_metadata": {},
        "attributes": {"_lazy": False},
        "package_info": {"package": "picostem", "package_version": VERSION},
        "learning_results": {},
        "models": {},
        "tmp_parameters": {},
    }
    file_writer(str(path), signal)


def _points(x: FloatArray, y: FloatArray, name: str, colour: str) -> dict[str, Any]:
    """As HyperSpy 2 keeps a set of points in a signal's metadata."""
    return {
        "class": "Points",
        "name": name,
        "plot_on_signal": True,
        "offset_transform": "data",
        "transform": "display",
        "kwargs": {
            "offsets": np.column_stack([x, y]),
            "sizes": (8,),
            "units": "points",
            "facecolors": "none",
            "edgecolors": colour,
        },
        "ScalarMappable_array": None,
    }


def defect_columns(survey: Survey) -> Columns:
    """A row for each defect: the columns of defects.parquet and defects.csv, each of shape (n,).

    kind: "vacancy"; "substitution", an atom of a sublattice that is not of its most frequent class; "off lattice"; or
    "anomaly", an atom for which only its anomaly speaks. What is not known is NaN or empty.
    """
    image, table, gone = survey.image, survey.table, survey.found.vacancies
    lattice = {one.name: one.sublattice for one in survey.found.classes}
    site = np.array([lattice.get(name, "") for name in table.species.tolist()], dtype=np.str_)
    usual = {}
    for one in sorted(survey.found.classes, key=lambda one: one.atoms):
        usual[one.sublattice] = one  # the most frequent comes last
    common = np.array([usual[name].name if name else "" for name in site.tolist()], dtype=np.str_)
    kind = np.where(table.anomaly >= NAMED, "anomaly", "").astype("<U16")
    if survey.found.basis is not None:
        kind[(site != OFF_LATTICE) & (table.species != common)] = "substitution"
        kind[site == OFF_LATTICE] = "off lattice"
    odd = np.flatnonzero(kind != "")
    reference = np.array([usual[name].intensity if name and name != OFF_LATTICE else np.nan for name in site[odd]])
    none = np.full(len(gone.row), np.nan)
    dy, dx = image.pixel_size or (np.nan, np.nan)
    row, col = np.append(gone.row, table.row[odd]), np.append(gone.col, table.col[odd])
    frame, sites = np.append(gone.frame, table.frame[odd]), np.append(gone.sublattice, site[odd])
    strain = _strain(survey, site, np.column_stack([row, col]), frame, sites)
    return {
        "image": np.full(len(row), image.name),
        "frame": frame,
        "kind": np.append(np.full(len(gone.row), "vacancy"), kind[odd]),
        "site": sites,
        "species": np.append(np.full(len(gone.row), ""), table.species[odd]),
        "p_species": np.append(none, table.p_species[odd]),
        "row": row,
        "col": col,
        "x_A": (col - (table.shape[1] - 1) / 2) * dx,
        "y_A": ((table.shape[0] - 1) / 2 - row) * dy,
        "sigma_x_A": np.append(none, np.sqrt(table.covariance[odd, 1, 1]) * dx),
        "sigma_y_A": np.append(none, np.sqrt(table.covariance[odd, 0, 0]) * dy),
        "intensity": np.append(none, table.intensity[odd]),
        "intensity_ratio": np.append(none, table.intensity[odd] / reference),
        "anomaly": np.append(none, table.anomaly[odd]),
        "odd": np.append(np.full(len(gone.row), ""), table.odd[odd]),
        "nearest_defect_A": _nearest(np.column_stack([row * dy, col * dx]), frame),
        "strain_xx": strain[:, 0],
        "strain_yy": strain[:, 1],
        "strain_xy": strain[:, 2],
    }


def _nearest(place: FloatArray, frame: NDArray[np.int64]) -> FloatArray:
    """Distance of each defect to the next one of its frame, NaN where it is alone, shape (n,)."""
    out = np.full(len(place), np.nan)
    for one in np.unique(frame):
        mine = np.flatnonzero(frame == one)
        if len(mine) > 1 and np.isfinite(place[mine]).all():
            out[mine] = cKDTree(place[mine]).query(place[mine], 2)[0][:, 1]
    return out


def _strain(
    survey: Survey, site: NDArray[np.str_], place: FloatArray, frame: NDArray[np.int64], sites: NDArray[np.str_]
) -> FloatArray:
    """Strain xx, yy, xy of the lattice around each place against the image's mean lattice, shape (n, 3).

    Atoms of the same sublattice around it are numbered by their cells n; r = r0 + n B is fitted to them, and the strain
    is the symmetric part of B0^-1 B - 1, B0 the mean lattice: x right, y up. NaN off the lattice or with too few atoms.
    """
    out = np.full((len(place), 3), np.nan)
    basis, table = survey.found.basis, survey.table
    if basis is None or not len(place):
        return out
    dy, dx = survey.image.pixel_size or (1.0, 1.0)
    xy = np.array([[0.0, -dy], [dx, 0.0]])  # (row, column) in pixels to (x, y)
    mean = basis @ xy
    reach = AROUND * float(np.linalg.norm(mean, axis=1).max())
    for which in {(int(f), str(name)) for f, name in zip(frame, sites, strict=True) if name != OFF_LATTICE}:
        mine = _positions(table, (table.frame == which[0]) & (site == which[1])) @ xy
        asked = np.flatnonzero((frame == which[0]) & (sites == which[1]))
        if len(mine):
            for k, near in zip(asked, cKDTree(mine).query_ball_point(place[asked] @ xy, reach), strict=True):
                out[k] = _local(mine[near] - place[k] @ xy, mean)
    return out


def _positions(table: AtomTable, chosen: NDArray[np.bool_]) -> FloatArray:
    return np.column_stack([table.row[chosen], table.col[chosen]])


def _local(away: FloatArray, mean: FloatArray) -> FloatArray:
    """Strain of a lattice in a few of its points, relative to their middle one, against a mean lattice."""
    cells = np.rint(away @ np.linalg.inv(mean))
    design = np.column_stack([np.ones(len(cells)), cells])
    if len(away) < FEWEST or np.linalg.matrix_rank(design) < 3:
        return np.full(3, np.nan)
    local = np.linalg.lstsq(design, away, rcond=None)[0][1:]
    change = np.linalg.solve(mean, local) - np.eye(2)
    return np.array([change[0, 0], change[1, 1], (change[0, 1] + change[1, 0]) / 2])


def as_parquet(columns: Columns) -> bytes:
    """defects.parquet; what is not known is null."""
    import pyarrow as pa
    from pyarrow import parquet

    arrays = {}
    for name, values in columns.items():
        missing = (
            ~np.isfinite(values) if values.dtype.kind == "f" else values == "" if values.dtype.kind == "U" else None
        )
        arrays[name] = pa.array(values, mask=missing)
    stream = io.BytesIO()
    parquet.write_table(
        pa.table(arrays).replace_schema_metadata({"picostem.schema": SCHEMA, "picostem.version": VERSION}), stream
    )
    return stream.getvalue()


def as_csv(columns: Columns) -> bytes:
    """defects.csv: a line of names, then one for each defect; what is not known is empty."""
    import csv

    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*([_text(one) for one in values.tolist()] for values in columns.values()), strict=True))
    return stream.getvalue().encode("utf-8", "backslashreplace")


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.7g}" if np.isfinite(value) else ""
    return str(value)
