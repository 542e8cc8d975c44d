"""Batches that are interrupted, repeated and changed, on work that takes no time."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from picostem.batch.ledger import Ledger
from picostem.errors import OutputError
from tests.batch.made import RECIPE, batch, contents, files_of, sick

ROOT = Path(__file__).parents[2]


def states(out: Path) -> dict[str, tuple[str, int]]:
    with Ledger.open(out) as ledger:
        return {job.path.stem: (job.state, job.attempts) for job in ledger.jobs().values()}


def test_each_content_is_worked_on_once(tmp_path: Path) -> None:
    data, out = files_of(tmp_path / "data", "a", "b"), tmp_path / "out"
    (data / "c.npy").write_text("a")
    tally, worked = batch(data, out)
    assert (tally.done, tally.failed, tally.before, tally.same) == (2, 0, 0, 1)
    assert sorted(name for name, _ in worked) == ["a.npy", "b.npy"]
    assert [name.split(".")[0] for name in contents(out)] == ["a", "a", "b", "b"]
    # Nothing is left to do, wherever the files are now, and only what is new is done.
    data = data.rename(tmp_path / "moved")
    files_of(data, "d")
    tally, worked = batch(data, out)
    assert [name for name, _ in worked] == ["d.npy"]
    assert (tally.done, tally.before, tally.same) == (3, 2, 1)


def test_changed_settings_and_contents_are_new_work_and_lost_results_are_made_again(tmp_path: Path) -> None:
    data, out = files_of(tmp_path / "data", "a"), tmp_path / "out"
    batch(data, out)
    other = replace(RECIPE, settings=replace(RECIPE.settings, stride_nm=0.5))
    assert len(batch(data, out, recipe=other)[1]) == 1
    assert len(contents(out)) == 4
    (data / "a.npy").write_text("new")
    assert len(batch(data, out)[1]) == 1
    for path in (out / "results").glob("a.*/result.json"):
        path.unlink()
    assert len(batch(data, out)[1]) == 1
    # The table tells the settings apart, and the old contents are no longer told of.
    rows = (out / "summary.csv").read_text().splitlines()
    assert len(rows) == 3


def test_a_lost_ledger_costs_nothing(tmp_path: Path) -> None:
    data, out = files_of(tmp_path / "data", "a", "b"), tmp_path / "out"
    batch(data, out)
    before = {path: path.stat().st_mtime_ns for path in (out / "results").rglob("*")}
    for path in out.glob("ledger*"):
        path.unlink()
    assert batch(data, out)[0].done == 2
    assert {path: path.stat().st_mtime_ns for path in (out / "results").rglob("*")} == before


def test_bad_files_and_dying_processes_concern_only_their_images(tmp_path: Path) -> None:
    data, out = files_of(tmp_path / "data", "a", "bad", "killed", "killed_once", "z"), tmp_path / "out"
    (data / "gone.npy").symlink_to(tmp_path / "nowhere")
    tally, worked = batch(data, out, sick, workers=2)
    assert (tally.done, tally.failed) == (3, 3)
    errors = {name: outcome.error for name, outcome in worked if outcome.error}
    assert errors["bad.npy"] == "bad: no image"
    assert "ended by SIGKILL" in str(errors["killed.npy"])
    assert states(out) == {
        "a": ("done", 1),
        "bad": ("failed", 1),
        "gone": ("failed", 0),
        "killed": ("failed", 2),
        "killed_once": ("done", 2),
        "z": ("done", 1),
    }
    page = (out / "summary.html").read_text()
    assert "No such file" in page
    # What failed is left alone, until it is asked for; then `bad` succeeds, and `killed` fails again.
    assert batch(data, out, sick)[1] == []
    tally, worked = batch(data, out, sick, retry_failed=True)
    assert sorted(name for name, _ in worked) == ["bad.npy", "killed.npy"]
    assert (tally.done, tally.failed) == (4, 2)


def test_a_full_disk_ends_the_batch_and_blames_no_image(tmp_path: Path) -> None:
    data, out = files_of(tmp_path / "data", "full"), tmp_path / "out"
    with pytest.raises(OutputError, match="the disk is full"):
        batch(data, out, sick)
    assert states(out) == {"full": ("waiting", 1)}
    assert ",waiting," in (out / "summary.csv").read_text()


def start(data: Path, out: Path) -> subprocess.Popen[str]:
    """A batch of its own that needs some 0.3 s for each image, with two workers."""
    command = [sys.executable, "-m", "tests.batch.made", str(data), str(out)]
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.PIPE, text=True)


def wait_for_begin(out: Path) -> None:
    """Until an image is half-written."""
    for _ in range(3000):
        if list(out.glob("results/.*")):
            return
        time.sleep(0.02)
    pytest.fail("the batch did not begin within 60 s")


@pytest.mark.parametrize(("kills", "count"), [(3, 6), pytest.param(20, 100, marks=pytest.mark.slow)])
def test_the_results_are_the_same_however_often_it_is_killed(tmp_path: Path, kills: int, count: int) -> None:
    data = files_of(tmp_path / "data", *(f"f{i}" for i in range(count)))
    batch(data, tmp_path / "whole")
    out, rng = tmp_path / "killed", random.Random(5)
    kept: dict[Path, int] = {}
    for _ in range(kills):
        process = start(data, out)
        wait_for_begin(out)
        time.sleep(rng.uniform(0, 0.5))
        process.kill()
        process.communicate()
        time.sleep(0.1)  # its workers notice
        done = {path: path.stat().st_mtime_ns for path in out.glob("results/f*/result.json")}
        # Nobody goes on working for the dead: an image takes 0.3 s.
        time.sleep(0.4)
        assert {path: path.stat().st_mtime_ns for path in out.glob("results/f*/result.json")} == done
        # Nothing that was done is done again.
        assert kept.items() <= done.items()
        kept = done
    process = start(data, out)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 0, said
    assert 0 < len(kept) < count
    assert contents(out) == contents(tmp_path / "whole")
    assert all(path.stat().st_mtime_ns == time_ns for path, time_ns in kept.items())
    assert {state for state, _ in states(out).values()} == {"done"}


def test_an_interrupt_leaves_nothing_half_written(tmp_path: Path) -> None:
    data, out = files_of(tmp_path / "data", *"abcdef"), tmp_path / "out"
    process = start(data, out)
    wait_for_begin(out)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes
    _, said = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT  # of Python; the command line makes it 130
    assert said.count("Traceback") == 1  # the first process's own: the workers say nothing
    assert list(out.glob("results/.*")) == []
    assert "waiting" in {state for state, _ in states(out).values()}
    assert (out / "summary.html").exists()
