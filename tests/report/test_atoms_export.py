"""Atoms as HyperSpy reads them, and tables of defects of lattices with known ones."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from picostem.atoms.dumbbells import find_dumbbells
from picostem.atoms.species import classify
from picostem.atoms.survey import Survey
from picostem.atoms.table import AtomTable
from picostem.image import Image
from picostem.report.atoms_export import as_csv, as_parquet, defect_columns, write_markers

SHAPE = (236, 283)
PIXEL = (0.2, 0.15)
"""Å along rows and columns."""

PITCH = 15.0
"""Pixels between atoms, along rows and columns: 3 Å and 2.25 Å."""

NOISE = 0.05
"""Pixels, standard deviation of each place."""


def _survey(stretched: float = 0.0, pixel_size: tuple[float, float] | None = PIXEL, frames: int = 1) -> Survey:
    """A lattice without the site (7, 5), half as bright at (3, 12), its places times 1 + stretched along x."""
    rng = np.random.default_rng(3)
    number = np.stack(np.mgrid[:15, :18], axis=-1).reshape(-1, 2)
    place = 10.0 + PITCH * number + rng.normal(0, NOISE, number.shape)
    place[:, 1] *= 1 + stretched
    intensity = np.where((number == (3, 12)).all(axis=1), 50.0, 100.0) * rng.normal(1, 0.02, len(number))
    there = ~(number == (7, 5)).all(axis=1)
    n = int(there.sum()) * frames
    nothing = np.full(n, np.nan)
    table = AtomTable(
        row=np.tile(place[there, 0], frames), col=np.tile(place[there, 1], frames),
        covariance=np.tile(np.diag([0.04, 0.01]), (n, 1, 1)), shape=SHAPE, pixel_size=pixel_size,
        intensity=np.tile(intensity[there], frames), intensity_sigma=np.full(n, 2.0), background=np.ones(n),
        width=np.full(n, 2.0), score=np.full(n, 20.0), chi2=np.ones(n), species=np.full(n, ""), p_species=nothing,
        anomaly=nothing, odd=np.full(n, ""), frame=np.repeat(np.arange(frames), n // frames), track=np.full(n, -1),
    )  # fmt: skip
    source = None if pixel_size is None else "user"
    image = Image(rng.random(SHAPE, np.float32), pixel_size, source, name="scan, 1")
    return Survey(image, frames, classify(table), None, find_dumbbells(table), None, None, 0.0)


def test_defects_of_a_lattice() -> None:
    columns = defect_columns(_survey())
    assert columns["kind"].tolist() == ["vacancy", "substitution"]
    row, col = np.array([10 + PITCH * 7, 10 + PITCH * 3]), np.array([10 + PITCH * 5, 10 + PITCH * 12])
    assert columns["row"] == pytest.approx(row, abs=5 * NOISE)
    assert columns["col"] == pytest.approx(col, abs=5 * NOISE)
    assert columns["x_A"] == pytest.approx((col - 141) * 0.15, abs=5 * NOISE * 0.15)
    assert columns["y_A"] == pytest.approx((117.5 - row) * 0.2, abs=5 * NOISE * 0.2)
    assert columns["sigma_x_A"][1] == pytest.approx(0.1 * 0.15)  # square roots of the covariance given
    assert columns["sigma_y_A"][1] == pytest.approx(0.2 * 0.2)
    assert np.isnan(columns["sigma_x_A"][0])
    assert columns["intensity_ratio"][1] == pytest.approx(0.5, abs=0.05)  # 2 % noise in both, three times
    apart = np.hypot(PITCH * 4 * 0.2, PITCH * 7 * 0.15)
    assert columns["nearest_defect_A"] == pytest.approx([apart, apart], abs=5 * NOISE * 0.2)


def test_a_lattice_alike_everywhere_is_not_strained() -> None:
    """Some 20 atoms, 2 cells across: errors of a strain of about 0.05 / (15 √20) = 0.0007, against a mean as good."""
    columns = defect_columns(_survey(stretched=0.04))
    for name in ("strain_xx", "strain_yy", "strain_xy"):
        assert columns[name] == pytest.approx([0, 0], abs=0.006)


def test_local_strain_is_that_of_the_surroundings() -> None:
    """A known tensor: around the vacancy x grows by 2 % and shears by 1 % of y; far off, the lattice is as it was."""
    survey = _survey()
    table = survey.table
    x, y = table.col - 85.0, -(table.row - 115.0)
    near = np.hypot(x, y) < 4 * PITCH
    table.col[near] += 0.02 * x[near] + 0.01 * y[near] * PIXEL[0] / PIXEL[1]  # y in pixels along x
    columns = defect_columns(survey)
    vacancy = columns["kind"] == "vacancy"
    assert columns["strain_xx"][vacancy] == pytest.approx(0.02, abs=0.003)  # four times the error above
    assert columns["strain_xy"][vacancy] == pytest.approx(0.005, abs=0.003)
    assert columns["strain_yy"][vacancy] == pytest.approx(0.0, abs=0.003)
    assert columns["strain_xx"][~vacancy] == pytest.approx(0.0, abs=0.003)


def test_anomalies_are_defects_of_their_own() -> None:
    survey = _survey()
    survey.table.anomaly[:] = 0.1
    survey.table.anomaly[40] = 5.0
    columns = defect_columns(survey)
    assert sorted(columns["kind"].tolist()) == ["anomaly", "substitution", "vacancy"]
    assert columns["row"][columns["kind"] == "anomaly"] == survey.table.row[40]


def test_frames_have_defects_of_their_own() -> None:
    columns = defect_columns(_survey(frames=2))
    assert sorted(zip(columns["frame"].tolist(), columns["kind"].tolist(), strict=True)) == [
        (0, "substitution"), (0, "vacancy"), (1, "substitution"), (1, "vacancy"),
    ]  # fmt: skip
    assert columns["nearest_defect_A"].min() > 10  # not its own image in the other frame


def test_without_calibration_there_are_no_lengths() -> None:
    columns = defect_columns(_survey(pixel_size=None))
    assert len(columns["row"]) == 2
    assert np.isnan(columns["x_A"]).all() and np.isnan(columns["nearest_defect_A"]).all()
    assert np.isfinite(columns["strain_xx"]).all()


def test_files_say_the_same() -> None:
    columns = defect_columns(_survey())
    table = pq.read_table(io.BytesIO(as_parquet(columns)))
    rows = list(csv.DictReader(io.StringIO(as_csv(columns).decode())))
    assert table.column_names == list(columns) == list(rows[0])
    assert table.schema.metadata[b"picostem.schema"] == b"picostem.defects/1"
    assert table["species"].to_pylist()[0] is None and rows[0]["species"] == ""
    assert table["sigma_x_A"].to_pylist()[0] is None and rows[0]["sigma_x_A"] == ""
    assert [row["image"] for row in rows] == ["scan, 1", "scan, 1"]
    assert float(rows[1]["intensity"]) == pytest.approx(table["intensity"].to_pylist()[1], rel=1e-6)  # digits written


def test_no_defects_make_an_empty_table() -> None:
    survey = _survey()
    gone = survey.found.vacancies
    none = replace(gone, **{name: getattr(gone, name)[:0] for name in ("row", "col", "sublattice", "frame")})
    survey.table.species[:] = "A1"
    columns = defect_columns(replace(survey, found=replace(survey.found, vacancies=none)))
    assert as_csv(columns).decode().count("\n") == 1
    assert pq.read_table(io.BytesIO(as_parquet(columns))).num_rows == 0


@pytest.mark.parametrize("pixel_size", [PIXEL, None])
def test_hyperspy_shows_the_markers_where_the_atoms_are(tmp_path: Path, pixel_size: tuple[float, float] | None) -> None:
    hs = pytest.importorskip("hyperspy.api")
    survey = _survey(pixel_size=pixel_size)
    write_markers(survey, tmp_path / "atoms.hspy")
    signal = hs.load(tmp_path / "atoms.hspy")
    assert np.array_equal(signal.data, survey.image.data)
    assert [axis.units for axis in signal.axes_manager.signal_axes] == (["Å", "Å"] if pixel_size else ["px", "px"])
    marker = signal.metadata.Markers["A1"]
    mine = survey.table.species == "A1"
    x, y = (axis.value2index(value) for axis, value in zip(
        signal.axes_manager.signal_axes, marker.kwargs["offsets"].T, strict=True
    ))  # fmt: skip
    assert x == pytest.approx(survey.table.col[mine], abs=0.51)  # the next pixel
    assert y == pytest.approx(survey.table.row[mine], abs=0.51)
    assert set(signal.metadata.Markers.keys()) == {"A1", "A2", "vacancies"}
