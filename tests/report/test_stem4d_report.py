"""The files that a scan's analysis leaves: every map in each of them, with its calibration."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from picostem.report.stem4d import FILES, analysis_dict, save_analysis, table_columns
from picostem.report.stem4d_figure import draw
from picostem.simulate.toy4d import Toy
from picostem.stem4d.analysis import Analysis, ExploreSettings
from picostem.stem4d.explore import analyse
from picostem.stem4d.scan import Scan4D


def scan(rows: int = 6, columns: int = 8) -> Scan4D:
    toy, rng = Toy(size=24, electrons=2e4), np.random.default_rng(5)
    data = toy.patterns(*toy.draw(rows * columns, rng), rng).reshape(rows, columns, 24, 24)
    return Scan4D.of(data, name="toy", step_A=(0.5, 0.25))


@pytest.fixture(scope="module")
def linear() -> Analysis:
    return analyse(scan(), ExploreSettings(network=False, symmetry=5))


def test_table_has_a_row_for_each_position(linear: Analysis, tmp_path: Path) -> None:
    assert save_analysis(linear, tmp_path / "out") == [name for name in FILES if name != "model.safetensors"]
    table = parquet.read_table(tmp_path / "out" / "maps.parquet")
    columns = table.to_pydict()
    assert table.num_rows == 48
    assert (columns["row"][9], columns["col"][9]) == (1, 1)
    assert (columns["x_A"][9], columns["y_A"][9]) == ((1 - 3.5) * 0.25, (2.5 - 1) * 0.5)  # y up
    np.testing.assert_allclose(np.reshape(columns["dark"], (6, 8)), linear.dark)
    assert {"orientation_5_deg", "strength_5", "breaking_5", "com_x_sigma", "counts"} <= set(columns)
    assert json.loads(table.schema.metadata[b"picostem.settings"])["symmetry"] == 5
    unplaced = table_columns(replace(linear, scan=replace(linear.scan, step_A=None)))
    assert np.isnan(unplaced["x_A"]).all()


def test_stack_for_hyperspy_is_calibrated(linear: Analysis, tmp_path: Path) -> None:
    save_analysis(linear, tmp_path)
    with h5py.File(tmp_path / "maps.hspy") as file:
        signal = file["Experiments/toy"]
        data = signal["data"][()]
        axes = [dict(signal[f"axis-{k}"].attrs) for k in range(3)]
    maps = linear.maps()
    assert data.shape == (len(maps), 6, 8)
    for index, one in enumerate(maps.values()):
        np.testing.assert_allclose(data[index], one, rtol=1e-5)
    assert [one["scale"] for one in axes] == [1, 0.5, 0.25]
    assert [one["units"] for one in axes] == ["", "Å", "Å"]
    assert [bool(one["navigate"]) for one in axes] == [True, False, False]


def test_hyperspy_reads_it(linear: Analysis, tmp_path: Path) -> None:
    hyperspy = pytest.importorskip("hyperspy.api")
    save_analysis(linear, tmp_path)
    signal = hyperspy.load(tmp_path / "maps.hspy")
    assert list(signal.metadata.General.maps) == list(linear.maps())
    dark = signal.inav[list(linear.maps()).index("dark")]
    np.testing.assert_allclose(dark.data, linear.dark, rtol=1e-6)


def test_result_is_plain_json_and_says_what_is_unknown(linear: Analysis) -> None:
    document = json.loads(json.dumps(analysis_dict(linear), allow_nan=False))
    assert document["schema"] == "picostem.4d/1"
    assert document["scan"]["shape"] == [6, 8, 24, 24] and document["scan"]["counts"]
    assert document["autoencoder"] is None and document["detector"]["voltage_kV"] is None
    assert document["maps"]["counts"]["median"] == pytest.approx(2e4, rel=0.02)
    assert document["units"]["com"] == "px"


def test_page_stands_alone_and_escapes(linear: Analysis, tmp_path: Path) -> None:
    save_analysis(replace(linear, scan=replace(linear.scan, name="<b>&evil")), tmp_path)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "<b>&evil" not in page and "&lt;b&gt;&amp;evil" in page
    assert (
        "data:image/webp;base64," in page and "<script" not in page and "http://" not in page and "https://" not in page
    )
    assert "symmetry=5" in page  # the call that made it


def test_everything_with_the_autoencoder(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from picostem.stem4d.model import RVAE

    found = analyse(scan(), ExploreSettings(steps=12, latent=3, classes=2))
    assert found.learned is not None
    assert save_analysis(found, tmp_path) == list(FILES)
    columns = parquet.read_table(tmp_path / "maps.parquet").to_pydict()
    assert {"z0", "z2_sigma", "angle_deg", "angle_sigma_deg", "class", "p_class", "cluster"} <= set(columns)
    assert set(columns["class"]) <= {0, 1}
    model = RVAE.load(tmp_path / "model.safetensors")
    np.testing.assert_allclose(model.encode(found.harmonics).mean, found.learned.found.mean, atol=1e-5)
    with Image.open(tmp_path / "figure.png") as figure:
        assert min(figure.size) > 1500 and np.asarray(figure.convert("L")).std() > 20  # not blank
    assert "p_class" in (tmp_path / "report.html").read_text("utf-8")


def test_figure_of_a_line_without_counts() -> None:
    """What many panels show is not there: a scan of one row, values below zero."""
    data = scan(2, 24).data.reshape(1, 48, 24, 24).astype(np.float64)
    line = analyse(Scan4D.of(data - data.mean()), ExploreSettings(network=False))
    assert line.com is None
    titles = [text.get_text() for text in draw(line).texts]
    assert not any("centre of mass" in one for one in titles) and any("bright field" in one for one in titles)
