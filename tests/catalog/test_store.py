from __future__ import annotations

import json
import threading
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pytest
from pyarrow import parquet

from picostem.catalog import Catalog
from picostem.catalog.correlate import correlate
from picostem.catalog.rows import DEFECTS, read_entry
from picostem.errors import DataError, FileError, UsageError
from tests.catalog.made import document, write_folder

pytest.importorskip("duckdb")


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """Three images of two sessions."""
    made = Catalog(tmp_path / "catalog")
    for i, session in enumerate(("may", "may", "june")):
        made.add([write_folder(tmp_path / f"r{i}", f"flake{i}.dm4", session, 1.0 + i)])
    return made


def test_windows_are_those_of_the_results(catalog: Catalog) -> None:
    _, result = document()
    rows = catalog.query("SELECT * FROM windows WHERE file = 'flake1.dm4' ORDER BY row, col").to_pydict()
    assert len(rows["row"]) == len(result.maps[0])
    assert set(rows["material"]) == {"ReS2"}
    assert set(rows["session"]) == {"may"}
    assert set(rows["voltage_kV"]) == {300.0}
    ok = catalog.query("SELECT count(*) AS n FROM windows WHERE status = 'ok'")["n"][0].as_py()
    assert ok == 3 * (result.maps[0].status == "ok").sum()


def test_images_hold_the_slip_that_stands_for_all(catalog: Catalog) -> None:
    from picostem.structure import SlipEquivalence, load_monolayer

    _, result = document()
    expected = SlipEquivalence(load_monolayer("ReS2")).canonical(result.interfaces[0].slip)
    row = catalog.query("SELECT * FROM images ORDER BY file").to_pylist()[0]
    assert (row["slip_x_A"], row["slip_y_A"]) == pytest.approx(tuple(expected))
    assert (row["file"], row["session"], row["kind"], row["chi2"]) == ("flake0.dm4", "may", "resolve", 1.0)


def test_adding_twice_changes_no_file(catalog: Catalog, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in catalog.folder.rglob("*.parquet")}
    added = catalog.add([tmp_path / "r0", tmp_path / "r1"])
    assert (added.new, added.known) == (0, 2)
    assert {path: path.stat().st_mtime_ns for path in catalog.folder.rglob("*.parquet")} == before


def test_times_and_places_make_no_other_result(tmp_path: Path) -> None:
    first, second = write_folder(tmp_path / "a"), write_folder(tmp_path / "b", session="elsewhere")
    tree = json.loads((second / "result.json").read_text())
    tree["seconds"] = {"total": 99.0}
    (second / "result.json").write_text(json.dumps(tree))
    assert read_entry(first).key == read_entry(second).key
    tree["settings"]["window_nm"] = 3.0
    (second / "result.json").write_text(json.dumps(tree))
    assert read_entry(first).key != read_entry(second).key


def test_many_may_add_the_same_at_once(tmp_path: Path) -> None:
    folders = [write_folder(tmp_path / f"r{i}", chi2=1.0 + i) for i in range(8)]
    catalog = Catalog(tmp_path / "catalog")
    threads = [threading.Thread(target=catalog.add, args=(folders,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert catalog.query("SELECT count(*) AS n FROM images")["n"][0].as_py() == 8
    assert catalog.query("SELECT count(DISTINCT image) AS n FROM windows")["n"][0].as_py() == 8


def test_what_was_interrupted_before_the_image_does_not_count(catalog: Catalog) -> None:
    next((catalog.folder / "images").glob("*.parquet")).unlink()
    assert catalog.query("SELECT count(DISTINCT image) AS n FROM windows")["n"][0].as_py() == 2


def test_packing_changes_no_answer(catalog: Catalog, tmp_path: Path) -> None:
    ask = "SELECT * FROM windows ORDER BY ALL"
    before, single = catalog.query(ask), next((catalog.folder / "windows").rglob("*.parquet"))
    content, images = single.read_bytes(), list((catalog.folder / "images").glob("*.parquet"))
    assert catalog.pack() == 3
    assert catalog.query(ask).equals(before)
    assert len(list((catalog.folder / "windows").rglob("*.parquet"))) == 1
    assert catalog.add([tmp_path / "r0"]).known == 1
    # An interrupt after the packed file was written, or a run that adds meanwhile, leaves single files beside it.
    single.write_bytes(content)
    assert len(images) == 3
    (catalog.folder / "images" / single.name).write_bytes(next((catalog.folder / "images").glob("*")).read_bytes())
    assert catalog.query(ask).equals(before)
    assert catalog.add([write_folder(tmp_path / "r9", chi2=9.0)]).new == 1
    assert catalog.pack() == 0
    assert not single.exists()
    assert catalog.query("SELECT count(*) AS n FROM images")["n"][0].as_py() == 4


def test_materials_of_two_layers_are_one_partition(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "r")
    tree = json.loads((folder / "result.json").read_text())
    tree["layers"][1]["structure"] = "ReSe2"
    (folder / "result.json").write_text(json.dumps(tree))
    catalog = Catalog(tmp_path / "catalog")
    catalog.add([folder])
    assert catalog.query("SELECT DISTINCT material FROM windows").to_pydict() == {"material": ["ReS2/ReSe2"]}
    assert unquote(next((catalog.folder / "windows").iterdir()).name) == "material=ReS2/ReSe2"


def test_defects_come_from_results_of_atoms(tmp_path: Path) -> None:
    folder = tmp_path / "flake.atoms"
    folder.mkdir()
    columns = {name: ["vacancy" if name == "kind" else "x"] * 2 if kind == "string" else [1.5, 2.5]
               for name, kind in DEFECTS.items() if name not in ("file", "session")}  # fmt: skip
    parquet.write_table(pa.table(columns), folder / "defects.parquet")
    image = {"path": "data/may/flake.dm4", "name": "flake.dm4", "shape": [100, 100], "pixel_size_A": [0.1, 0.1]}
    tree = {"schema": "picostem.atoms/1", "version": "1", "image": image, "crystal": "MoS2", "atoms": 50}
    (folder / "result.json").write_text(json.dumps(tree))
    catalog = Catalog(tmp_path / "catalog")
    assert catalog.add([folder]).new == 1
    assert (
        catalog.query("SELECT material, kind, file FROM defects").to_pylist()
        == [{"material": "MoS2", "kind": "vacancy", "file": "flake.dm4"}] * 2
    )
    assert catalog.query("SELECT atoms, defects FROM images").to_pylist() == [{"atoms": 50.0, "defects": 2.0}]
    assert catalog.query("SELECT count(*) AS n FROM windows")["n"][0].as_py() == 0


def test_folders_that_are_no_results_do_not_stop_the_others(tmp_path: Path) -> None:
    good, bad, other = write_folder(tmp_path / "good"), tmp_path / "bad", tmp_path / "other"
    other.mkdir()
    (other / "result.json").write_text('{"schema": "picostem.stem4d/1"}')
    damaged = write_folder(tmp_path / "damaged", chi2=3.0)
    (damaged / "map.parquet").write_bytes(b"PAR1")
    added = Catalog(tmp_path / "catalog").add([bad, other, damaged, good])
    assert added.new == 1
    assert [type(error) for error in added.refused.values()] == [FileError, DataError, FileError]


def test_an_attached_table_joins_and_correlates(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "catalog")
    catalog.add([write_folder(tmp_path / f"r{i}", f"flake{i}.dm4", chi2=1.0 + i) for i in range(6)])
    for i, path in enumerate(sorted((catalog.folder / "images").glob("*.parquet"))):
        table = parquet.ParquetFile(path).read()
        spread = pa.array([float(table["file"][0].as_py()[5])])
        parquet.write_table(
            table.set_column(table.schema.get_field_index("slip_spread_A"), "slip_spread_A", spread), path
        )
        assert i < 6
    rows = "\n".join(f"flake{i}.dm4,{100 - i**3},{i % 2}" for i in range(6))
    (tmp_path / "mobility.csv").write_text(f"file,mobility,batch\n{rows}\n")
    assert catalog.attach(tmp_path / "mobility.csv", ["file"]) == "mobility"
    joined = catalog.query("SELECT mobility FROM mobility JOIN images USING (file) ORDER BY mobility")
    assert joined["mobility"].to_pylist() == [-25, 36, 73, 92, 99, 100]
    first = correlate(catalog, "mobility")[0]
    assert (first.column, first.quantity, first.n) == ("mobility", "slip_spread_A", 6)
    assert first.rho == pytest.approx(-1)


@pytest.mark.parametrize(("name", "on"), [("windows", "file"), ("a b", "file"), ("ok", "mobility"), ("ok", "nothing")])
def test_tables_that_cannot_be_attached(catalog: Catalog, tmp_path: Path, name: str, on: str) -> None:
    (tmp_path / "t.csv").write_text("file,mobility\nflake.dm4,1\n")
    with pytest.raises(UsageError):
        catalog.attach(tmp_path / "t.csv", [on], name)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT nothing FROM windows",
        "not sql",
        "SELECT * FROM read_csv('/etc/hostname')",
        "COPY windows TO '/tmp/x.csv'",
    ],
)
def test_wrong_queries_say_so_and_reach_nothing_else(catalog: Catalog, sql: str) -> None:
    with pytest.raises(UsageError):
        catalog.query(sql)


def test_export_writes_what_a_query_says(catalog: Catalog, tmp_path: Path) -> None:
    catalog.export(tmp_path / "out.csv", "SELECT file, chi2 FROM images ORDER BY file")
    assert (tmp_path / "out.csv").read_text().splitlines() == [
        '"file","chi2"', '"flake0.dm4",1', '"flake1.dm4",2', '"flake2.dm4",3'
    ]  # fmt: skip


def test_a_catalog_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "catalog.json").write_text('{"schema": "picostem.catalog/9"}')
    with pytest.raises(DataError, match="picostem.catalog/9"):
        Catalog(tmp_path)


def test_no_catalog_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no catalog"):
        Catalog(tmp_path / "nothing").query("SELECT 1")
