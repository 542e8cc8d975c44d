"""The ledger keeps what it was told, whatever happens to the process that told it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from picostem.batch.ledger import Found, Ledger
from picostem.errors import OutputError

RECIPE = '{"settings": {}}'


def found(name: str, job: str = "1" * 64, content: str = "c") -> Found:
    return Found(Path("/data") / name, (10, 20), content, job)


def test_jobs_go_from_waiting_to_done_or_failed(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        ledger.add([found("a.tif", "a" * 64), found("b.tif", "b" * 64), found("c.tif", "a" * 64)], RECIPE)
        assert [(job.state, job.attempts) for job in ledger.jobs().values()] == [("waiting", 0)] * 2
        for job in "ab":
            ledger.begin(job * 64)
        ledger.finish("a" * 64, {"verdict": "slip"}, 1.5)
        ledger.fail("b" * 64, "no image", 0.5)
    with Ledger.open(tmp_path) as ledger:
        done, failed = ledger.jobs().values()
        assert (done.state, done.attempts, done.answer, done.error, done.seconds) == (
            "done",
            1,
            {"verdict": "slip"},
            None,
            1.5,
        )
        assert (failed.state, failed.error, failed.answer) == ("failed", "no image", None)
        assert done.started is not None
        assert done.ended is not None
        assert done.started <= done.ended
        assert done.folder == "a.aaaaaaaaaaaa"
        assert ledger.files() == [(Path(f"/data/{n}.tif"), j * 64) for n, j in (("a", "a"), ("b", "b"), ("c", "a"))]


def test_work_that_was_going_on_waits_again(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        ledger.add([found("a.tif")], RECIPE)
        ledger.begin("1" * 64)
    with Ledger.open(tmp_path) as ledger:
        (job,) = ledger.jobs().values()
        assert (job.state, job.attempts) == ("waiting", 1)


def test_what_was_told_outlives_a_killed_process(tmp_path: Path) -> None:
    program = (
        "import os, signal; from pathlib import Path; from picostem.batch.ledger import Found, Ledger\n"
        f"opened = Ledger.open(Path({str(tmp_path)!r})); ledger = opened.__enter__()\n"
        "ledger.add([Found(Path('/a.tif'), (1, 2), 'c', 'j')], 'r'); ledger.begin('j'); ledger.finish('j', {}, 1.0)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    with Ledger.open(tmp_path) as ledger:  # and its lock went with it
        assert ledger.jobs()["j"].state == "done"


def test_it_is_written_through_and_others_may_read(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        assert ledger._database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert ledger._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        ledger.add([found("a.tif")], RECIPE)
        other = sqlite3.connect(tmp_path / "ledger.sqlite")
        assert other.execute("SELECT path, state FROM jobs").fetchall() == [("/data/a.tif", "waiting")]
        other.close()


def test_known_contents_are_those_of_unchanged_files(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        ledger.add([found("a.tif"), Found(Path("/data/gone.tif"), (0, 0), None, "2", "missing")], RECIPE)
        assert ledger.contents() == {(Path("/data/a.tif"), (10, 20)): "c"}
        assert ledger.jobs()["2"].error == "missing"


def test_a_file_with_new_contents_leaves_its_old_work(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        ledger.add([found("a.tif", "1")], RECIPE)
        ledger.add([found("a.tif", "2")], RECIPE)
        assert ledger.files() == [(Path("/data/a.tif"), "2")]
        ledger.add([found("a.tif", "3")], '{"other": "settings"}')
        assert sorted(job for _, job in ledger.files()) == ["2", "3"]


def test_a_list_is_added_whole_or_not_at_all(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        with pytest.raises(OverflowError):  # of SQLite's integers
            ledger.add([found("a.tif"), Found(Path("/b.tif"), (2**70, 0), "c", "2")], RECIPE)
        assert ledger.jobs() == {}


def test_names_that_are_no_text_are_kept(tmp_path: Path) -> None:
    path = Path(os.fsdecode(b"/data/\xff.tif"))
    with Ledger.open(tmp_path) as ledger:
        ledger.add([Found(path, (1, 1), "c", "j", "no text: \udcff")], RECIPE)
        assert ledger.files() == [(path, "j")]
        assert ledger.jobs()["j"].path == path


def test_two_batches_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        Ledger.open(tmp_path),
        pytest.raises(OutputError, match="another batch works in"),
        Ledger.open(tmp_path),
    ):
        pass


def test_a_damaged_ledger_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_text("no database " * 100)
    with pytest.raises(OutputError, match=r"ledger.sqlite is damaged .*: move it away"), Ledger.open(tmp_path):
        pass


def test_a_newer_ledger_is_left_alone(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "ledger.sqlite")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(OutputError, match="of a newer picostem"), Ledger.open(tmp_path):
        pass


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write to .*file"), Ledger.open(tmp_path / "file"):
        pass
