from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from picostem.bench.catalog_known import drawn, known_energy, measured
from picostem.catalog import Catalog
from picostem.catalog.series import grid_points
from picostem.structure import load_monolayer
from tests.catalog.made import write_drawn, write_folder
from tests.cli.conftest import Run

pytest.importorskip("duckdb")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A catalog of 40 images with a slip each, from a known landscape."""
    rng = np.random.default_rng(6)
    slips = measured(np.repeat(drawn(40, rng), 4, axis=0), np.repeat(np.arange(40), 4), rng)
    return write_drawn(tmp_path / "drawn", slips)


def test_add_list_query_export(picostem: Run, tmp_path: Path) -> None:
    results = [write_folder(tmp_path / f"r{i}", f"flake{i}.dm4", chi2=1.0 + i) for i in range(2)]
    assert picostem("catalog", "add", "group", *results).out == "group: 2 added, 0 there already\n"
    assert picostem("catalog", "add", "group", results[0]).out == "group: 0 added, 1 there already\n"
    listed = picostem("catalog", "list", "group").out.splitlines()
    assert listed[1].split()[:3] == ["ReS2", "resolve", "2"]
    assert listed[-1] == "tables: windows, images, defects"
    told = picostem("catalog", "query", "group", "SELECT file, chi2 FROM images ORDER BY file", "--rows", "1").out
    assert told.splitlines()[1].split() == ["flake0.dm4", "1"]
    assert "1 more rows" in told
    assert picostem("catalog", "export", "group", "w.csv", "--query", "SELECT file FROM images").code == 0
    assert len(Path("w.csv").read_text().splitlines()) == 3
    assert picostem("catalog", "pack", "group").out == "group: 2 results packed\n"


def test_attach_and_correlate(picostem: Run, tmp_path: Path) -> None:
    picostem("catalog", "add", "group", *(write_folder(tmp_path / f"r{i}", f"{i}.dm4", chi2=1.0 + i) for i in range(5)))
    Path("device.csv").write_text("file,mobility\n" + "".join(f"{i}.dm4,{i * i}\n" for i in range(5)))
    assert picostem("catalog", "attach", "group", "device.csv", "--on", "file").code == 0
    # All five images hold the same windows, so that nothing differs from image to image.
    assert "nothing to compare" in picostem("catalog", "correlate", "group", "device").out


def test_what_is_no_result_is_said_and_the_others_added(picostem: Run, tmp_path: Path) -> None:
    ended = picostem("catalog", "add", "group", write_folder(tmp_path / "good"), tmp_path / "nothing")
    assert (ended.code, ended.out) == (1, "group: 1 added, 0 there already\n")
    assert "holds no result.json" in ended.complaint


@pytest.mark.parametrize("name", ["figure.svg", "figure.pdf"])
def test_plot_on_a_landscape(picostem: Run, folder: Path, name: str) -> None:
    cell = load_monolayer("ReS2").cell
    np.savez("energy.npz", energy=known_energy(grid_points(cell, (32, 28))).reshape(32, 28))
    ended = picostem("catalog", "plot", folder, "--landscape", "energy.npz", "--out", name, "--json", "told.json")
    assert ended.code == 0, ended.err
    told = json.loads(Path("told.json").read_text())
    assert (told["windows"], told["images"], told["landscape"]["unit"]) == (160, 40, "eV per cell")
    # 40 slips tell a temperature to 12 %; three standard errors.
    assert abs(told["beta"] - 60) < 3 * told["beta_sigma"] < 40
    content = Path(name).read_bytes()
    assert b"160 windows of 40 images" in content if name.endswith("svg") else content.startswith(b"%PDF")


def test_plot_without_a_landscape_says_that_it_is_approximated(picostem: Run, folder: Path) -> None:
    ended = picostem("catalog", "plot", folder, "--out", "figure.png")
    assert "approximation: Lennard-Jones" in ended.out
    assert Path("figure.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--out", "figure.doc"), "expected a name that ends in"),
        (("--out", "f.pdf", "--material", "WSe2"), "the catalog has windows of ReS2"),
        (("--out", "f.pdf", "--where", "chi2 < 0"), "no window of ReS2 has a slip"),
        (("--out", "f.pdf", "--where", "nothing"), "the query cannot be answered"),
    ],
)
def test_plots_that_cannot_be_made(picostem: Run, folder: Path, options: tuple[str, ...], complaint: str) -> None:
    ended = picostem("catalog", "plot", folder, *options)
    assert ended.code in (1, 2)
    assert complaint in ended.err
    assert Catalog(folder).keys()
