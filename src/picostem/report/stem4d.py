"""What `picostem 4d` leaves behind: maps as a table and for HyperSpy, the numbers as JSON, the model, figure and page.

Schema `picostem.4d/1`. x is to the right and y up in the frame of the scan, angles counter-clockwise from x.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from picostem.physics import DEGREE
from picostem.report.place import staged
from picostem.resolve.serialise import plain
from picostem.stem4d.analysis import SCHEMA
from picostem.version import VERSION

if TYPE_CHECKING:
    from picostem.stem4d.analysis import Analysis, Learned

FILES = {
    "maps.parquet": "all maps, a row for each scan position, for pandas, polars, DuckDB",
    "maps.hspy": "all maps as a stack with calibrated axes, for HyperSpy",
    "model.safetensors": "the trained autoencoder, for picostem.stem4d.model.RVAE.load",
    "figure.png": "the figure above",
    "report.html": "this page",
    "result.json": f"the result in numbers, schema {SCHEMA}",
}
"""What a run may write, the last one last; of the model only where one was trained."""
TRAINING = "training"
"""Folder within, of the training: checkpoint and losses."""


def save_analysis(analysis: Analysis, folder: Path) -> list[str]:
    """Write all files into a folder, which is made if there is none; those of an earlier run are replaced.

    Returns:
        names of the files.

    Raises:
        OutputError: the folder is a file, cannot be written to, or the disk is full.
    """
    from picostem.report.figure import png_bytes, webp_bytes
    from picostem.report.stem4d_figure import draw_picture
    from picostem.report.stem4d_page import render_page

    with staged(folder, tuple(FILES)) as part:
        write_table(analysis, part / "maps.parquet")
        write_stack(analysis, part / "maps.hspy")
        if analysis.learned is not None:
            analysis.learned.model.save(part / "model.safetensors")
        picture = draw_picture(analysis)
        (part / "figure.png").write_bytes(png_bytes(picture))
        files = {name: words for name, words in FILES.items() if analysis.learned or name != "model.safetensors"}
        (part / "report.html").write_text(render_page(analysis, webp_bytes(picture), files), "utf-8", "replace")
        text = json.dumps(analysis_dict(analysis), indent=2, ensure_ascii=False, allow_nan=False)
        (part / "result.json").write_bytes((text + "\n").encode("utf-8", "backslashreplace"))
        return [name for name in FILES if (part / name).exists()]


def table_columns(analysis: Analysis) -> dict[str, NDArray[Any]]:
    """The columns of maps.parquet, each of shape (rows × columns,); places in Å are NaN without a step."""
    rows, columns = analysis.scan.shape
    row, col = np.indices((rows, columns)).reshape(2, -1)
    dy, dx = analysis.scan.step_A or (np.nan, np.nan)
    place = {"row": row, "col": col, "x_A": (col - (columns - 1) / 2) * dx, "y_A": ((rows - 1) / 2 - row) * dy}
    return place | {name: values.ravel() for name, values in analysis.maps().items()}


def write_table(analysis: Analysis, path: Path) -> None:
    """Write maps.parquet; what is not known is null. Its metadata hold schema, version and settings."""
    import pyarrow as pa
    from pyarrow import parquet

    arrays = {
        name: pa.array(values, mask=~np.isfinite(values) if values.dtype.kind == "f" else None)
        for name, values in table_columns(analysis).items()
    }
    metadata = {
        "picostem.schema": SCHEMA,
        "picostem.version": VERSION,
        "picostem.settings": json.dumps(plain(asdict(analysis.settings))),
        "picostem.units": json.dumps(units(analysis)),
    }
    parquet.write_table(pa.table(arrays).replace_schema_metadata(metadata), path)


def units(analysis: Analysis) -> dict[str, str]:
    """Units of maps that are not told by their name."""
    step = "Å" if analysis.scan.step_A else "position"
    per_step = f"{analysis.scan.detector.unit} per {step}"
    told = {"com": analysis.momentum_unit, "divergence": per_step, "curl": per_step}
    return told if analysis.field is None else told | {"phase": analysis.field.phase_unit}


def write_stack(analysis: Analysis, path: Path) -> None:
    """Write all maps as one HyperSpy signal: an image at each index; the list of names is in its metadata.

    HyperSpy's coordinates: x right, y down, from the first position; Å, or positions without a step.
    """
    from rsciio.hspy import file_writer

    maps = analysis.maps()
    dy, dx = analysis.scan.step_A or (1.0, 1.0)
    unit = "Å" if analysis.scan.step_A else "positions"
    shape = (len(maps), *analysis.scan.shape)
    told = zip(("map", "y", "x"), ("", unit, unit), (1.0, dy, dx), shape, strict=True)
    axes = [
        {
            "_type": "UniformDataAxis", "name": name, "units": units, "scale": scale, "offset": 0.0, "size": size,
            "navigate": index == 0, "is_binned": False, "index_in_array": index,
        }
        for index, (name, units, scale, size) in enumerate(told)
    ]  # fmt: skip
    general = {"title": analysis.scan.name, "maps": list(maps), "units": units(analysis)}
    signal = {
        "data": np.stack([np.asarray(one, np.float32) for one in maps.values()]),
        "axes": axes,
        "metadata": {"General": general, "Signal": {"signal_type": ""}},
        "original_metadata": {},
        "attributes": {"_lazy": False},
        "package_info": {"package": "picostem", "package_version": VERSION},
        "learning_results": {},
        "models": {},
        "tmp_parameters": {},
    }
    file_writer(str(path), signal)


def analysis_dict(analysis: Analysis) -> dict[str, Any]:
    """The result for JSON; what is not known is None."""
    scan, detector, disk = analysis.scan, analysis.scan.detector, analysis.disk
    tree = {
        "schema": SCHEMA,
        "version": VERSION,
        "scan": {
            "name": scan.name,
            "shape": list(scan.data.shape),
            "dtype": str(scan.data.dtype),
            "step_A": scan.step_A,
            "counts": analysis.counted,
        },
        "detector": {
            "centre": detector.centre,
            "matrix": detector.matrix,
            "unit": detector.unit,
            "voltage_kV": detector.voltage_eV and detector.voltage_eV / 1e3,
            "descan": scan.descan,
            "disk": disk and {"centre": disk.centre, "sigma": disk.error, "radius": disk.radius},
            "dark_field_from": analysis.inner,
            "outermost_ring": analysis.harmonics.radii[-1],
        },
        "scan_rotation": _rotation(analysis),
        "units": units(analysis),
        "maps": {name: _spread(values) for name, values in analysis.maps().items() if values.dtype.kind == "f"},
        "autoencoder": analysis.learned and _learned(analysis, analysis.learned),
        "agreement": [asdict(one) for one in analysis.agreements],
        "settings": asdict(analysis.settings),
        "notes": analysis.notes,
        "seconds": analysis.seconds,
    }
    document: dict[str, Any] = plain(tree)
    return document


def _rotation(analysis: Analysis) -> dict[str, Any] | None:
    found = analysis.rotation
    if found is None:
        return None
    return {"angle_deg": found.angle / DEGREE, "sigma_deg": found.error / DEGREE, "flip": found.flip}


def _learned(analysis: Analysis, learned: Learned) -> dict[str, Any]:
    alarms = learned.alarms
    numbers = {"clusters": learned.clusters, "classes": learned.found.classes.argmax(axis=1)}
    return {
        "settings": learned.model.settings.as_dict(),
        "evidence_per_count": float(np.mean(learned.found.evidence)),
        "latents_nats": alarms.latents,
        "latents_active": alarms.active,
        "angle_nats": alarms.angle,
        "warnings": alarms.warnings,
    } | {name: np.bincount(values) for name, values in numbers.items()}


def _spread(values: NDArray[Any]) -> dict[str, float] | None:
    """Median and the middle nine tenths of values that are known."""
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    low, middle, high = np.quantile(known, (0.05, 0.5, 0.95))
    return {"q05": low, "median": middle, "q95": high}
