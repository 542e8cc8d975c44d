"""The page and the tables of a batch."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from pyarrow import parquet

from picostem.batch.ledger import Found, Ledger
from picostem.batch.summary import COLUMNS, duration, told, write_summary
from picostem.batch.task import answer_of
from tests.batch.made import RECIPE, document

TRILAYER = {
    **document(),
    "interfaces": [document()["interfaces"][0], {**document()["interfaces"][0], "lower": 2, "upper": 3}],
}
TWISTED = document("twist", twist_deg=4.2, twist_sigma_deg=0.012, twist_bound_deg=0.01)
UNRESOLVED = {**document("unresolved"), "reason": "No lattice.", "interfaces": [], "fit": None, "map": None}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A batch of five files, two of which are alike, one failed and one waiting."""
    text = RECIPE.canonical()
    names = ["a.tif", "b<i>.tif", "c.tif", "same.tif", "wait.tif"]
    jobs = ["1", "2", "3", "1", "4"]
    with Ledger.open(tmp_path) as ledger:
        ledger.add([Found(Path("/data") / n, (1, 1), "c", j) for n, j in zip(names, jobs, strict=True)], text)
        ledger.finish("1", answer_of(TRILAYER), 2.0)
        ledger.finish("2", answer_of(TWISTED), 1.0)
        ledger.fail("3", "damaged & <cut>", 0.5)
        write_summary(ledger, tmp_path)
    return tmp_path


def test_the_table_has_a_row_for_each_interface(out: Path) -> None:
    table = parquet.read_table(out / "summary.parquet").to_pylist()
    assert [(row["file"], row["state"], row["lower"], row["upper"]) for row in table] == [
        ("/data/a.tif", "done", 1, 2),
        ("/data/a.tif", "done", 2, 3),
        ("/data/b<i>.tif", "done", 1, 2),
        ("/data/c.tif", "failed", None, None),
        ("/data/same.tif", "done", 1, 2),
        ("/data/same.tif", "done", 2, 3),
        ("/data/wait.tif", "waiting", None, None),
    ]
    assert list(table[0]) == list(COLUMNS)
    # sqrt(9 + 16) mÅ
    assert table[0]["slip_sigma_A"] == pytest.approx(0.005, abs=1e-12)
    assert (table[2]["slip_x_A"], table[2]["twist_deg"]) == (None, 4.2)
    assert table[3]["note"] == "damaged & <cut>"
    written = list(csv.DictReader(io.StringIO((out / "summary.csv").read_text())))
    as_text = [{name: "" if value is None else str(value) for name, value in row.items()} for row in table]
    assert written == as_text


def test_the_page_escapes_and_links(out: Path) -> None:
    page = (out / "summary.html").read_text("utf-8")
    assert "b<i>" not in page
    assert "damaged &amp; &lt;cut&gt;" in page
    assert 'href="results/b%3Ci%3E.2/report.html"' in page
    assert page.index("<h2>Failed</h2>") < page.index("damaged") < page.index("<h2>Images</h2>")
    assert "--paper:" in page  # the look of the page of a result
    for tile in ("<b>5</b><span>4 different</span>", "<b>0.0050</b><span>Å, one σ, median</span>"):
        assert tile in page


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (TRILAYER, "slip (0.620, −1.250) ± 0.005 Å; (0.620, −1.250) ± 0.005 Å"),
        (TWISTED, "twist 4.200° ± 0.012°"),
        (UNRESOLVED, "unresolved No lattice."),
        (document("monolayer"), "monolayer"),
    ],
)
def test_a_result_in_a_line(made: dict[str, object], expected: str) -> None:
    assert told(answer_of(made)) == expected


@pytest.mark.parametrize(("seconds", "expected"), [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (11100, "3 h 05 min")])
def test_durations(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected
