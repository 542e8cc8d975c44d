"""What `picostem atoms` leaves behind: the table as files, the numbers as JSON, and the figure.

Schema `picostem.atoms/1`. Places are in pixels of the image, and in Å in the image frame where it is calibrated.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from picostem.atoms.table import SCHEMA
from picostem.report.place import staged
from picostem.resolve.serialise import plain
from picostem.version import VERSION

if TYPE_CHECKING:
    from picostem.atoms.survey import Survey

FILES = (
    "atoms.parquet",
    "atoms.csv",
    "atoms.xyz",
    "atoms.hspy",
    "defects.parquet",
    "defects.csv",
    "dumbbells.parquet",
    "dumbbells.csv",
    "transitions.csv",
    "defect_tracks.csv",
    "defect_windows.tif",
    "blobs.csv",
    "figure.png",
    "result.json",
)
"""The last one last: where it is, all are. Of dumbbells there are files where there are any, of tracks for movies, of
blobs with a network."""


def save_atoms(survey: Survey, folder: Path) -> list[str]:
    """Write all files into a folder, which is made if there is none; those of an earlier run are replaced.

    Returns:
        names of the files.

    Raises:
        OutputError: the folder is a file, cannot be written to, or the disk is full.
    """
    import tifffile

    from picostem.report import atoms_export as export
    from picostem.report.atoms_figure import png

    with staged(folder, FILES) as part:
        (part / "atoms.parquet").write_bytes(survey.table.as_parquet())
        (part / "atoms.csv").write_bytes(survey.table.as_csv())
        (part / "atoms.xyz").write_bytes(xyz(survey))
        export.write_markers(survey, part / "atoms.hspy")
        defects = export.defect_columns(survey)
        (part / "defects.parquet").write_bytes(export.as_parquet(defects))
        (part / "defects.csv").write_bytes(export.as_csv(defects))
        pairs, movie = survey.dumbbells, survey.movie
        if len(pairs):
            columns = pairs.columns() | (movie.changes.columns() if movie else {})
            (part / "dumbbells.parquet").write_bytes(export.as_parquet(columns))
            (part / "dumbbells.csv").write_bytes(export.as_csv(columns))
        if movie:
            (part / "transitions.csv").write_bytes(export.as_csv(movie.transitions.columns()))
            (part / "defect_tracks.csv").write_bytes(export.as_csv(movie.defects.columns()))
            if len(movie.windows):
                tifffile.imwrite(part / "defect_windows.tif", movie.windows, photometric="minisblack")
        if survey.inspection:
            (part / "blobs.csv").write_bytes(export.as_csv(survey.inspection.columns()))
        (part / "figure.png").write_bytes(png(survey))
        text = json.dumps(atoms_dict(survey), indent=2, ensure_ascii=False, allow_nan=False)
        (part / "result.json").write_bytes((text + "\n").encode("utf-8", "backslashreplace"))
        return [name for name in FILES if (part / name).exists()]


def xyz(survey: Survey) -> bytes:
    """Extended XYZ, one block for each frame; what is no known element is X."""
    table = survey.table
    elements = {one.name: one.element or "" for one in survey.found.classes}
    symbols = np.array([elements[name] for name in table.species.tolist()], dtype=np.str_)
    named = replace(table, species=symbols)
    return b"".join(named[table.frame == frame].as_xyz() for frame in range(survey.frames))


def atoms_dict(survey: Survey) -> dict[str, Any]:
    """The result for JSON; what is not known is None."""
    image, table, found, recording = survey.image, survey.table, survey.found, survey.recording
    size = image.pixel_size
    tracks = np.unique(table.track[table.track >= 0])
    tree = {
        "schema": SCHEMA,
        "version": VERSION,
        "image": {
            "path": str(image.path) if image.path else None,
            "name": image.name,
            "shape": list(image.data.shape),
            "pixel_size_A": size,
            "pixel_size_source": image.pixel_size_source,
        },
        "frames": survey.frames,
        "atoms": len(table),
        "tracks": len(tracks) if survey.frames > 1 else None,
        "crystal": found.crystal,
        "lattice": None if found.basis is None else _lattice(found.basis, size),
        "classes": [
            {
                "name": one.name,
                "sublattice": one.sublattice,
                "element": one.element,
                "atoms": one.atoms,
                "intensity": one.intensity,
                "relative_spread": one.spread,
            }
            for one in found.classes
        ],
        "vacancies": _vacancies(survey),
        "dumbbells": _dumbbells(survey),
        "network": _network(survey),
        "transitions": survey.movie and survey.movie.transitions.as_dict(),
        "width_px": _spread(table.width),
        "noise": None if recording is None else {"grey_per_electron": recording.gain, "zero_grey": recording.zero},
        "quality": {
            "sigma_px": _spread(np.sqrt(np.einsum("nkk->n", table.covariance) / 2)),
            "score": _spread(table.score),
            "chi2": _spread(table.chi2),
            "p_species": _spread(table.p_species),
        },
        "notes": list(image.notes),
        "seconds": survey.seconds,
    }
    document: dict[str, Any] = plain(tree)
    return document


def _lattice(basis: NDArray[np.float64], size: tuple[float, float] | None) -> dict[str, Any]:
    """Lattice vectors as rows: (row, column) in pixels, and (x, y) in Å."""
    xy = None if size is None else np.column_stack([basis[:, 1] * size[1], -basis[:, 0] * size[0]])
    return {"rows_px": basis, "rows_A": xy}


def _vacancies(survey: Survey) -> list[dict[str, Any]]:
    gone = survey.found.vacancies
    columns = zip(gone.frame, gone.row, gone.col, gone.sublattice, strict=True)
    return [{"frame": f, "row": r, "col": c, "sublattice": name} for f, r, c, name in columns]


def _dumbbells(survey: Survey) -> dict[str, Any] | None:
    """Their number, below which distance two atoms are one, and in movies how they change; None of none."""
    pairs, movie = survey.dumbbells, survey.movie
    if not len(pairs):
        return None
    changes = None if movie is None else movie.changes.as_dict()
    return {"count": len(np.unique(pairs.number)), "limit": pairs.limit, "unit": pairs.unit, "changes": changes}


def _network(survey: Survey) -> list[dict[str, Any]] | None:
    """Classes of blobs in the network's output, as the column `class` of their table counts them."""
    found = survey.inspection
    if found is None:
        return None
    return [{**asdict(one), "channel": found.channels[one.channel]} for one in found.sorted.classes]


def _spread(values: NDArray[np.float64]) -> dict[str, float] | None:
    """Median and the middle nine tenths of values that are known."""
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    low, middle, high = np.quantile(known, (0.05, 0.5, 0.95))
    return {"q05": low, "median": middle, "q95": high}
