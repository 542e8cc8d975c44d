"""A batch from its files to its summary; what was done before, however it ended, is not done again."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from picostem.batch.cluster import on_cluster
from picostem.batch.ledger import Found, Job, Ledger
from picostem.batch.pool import on_processes
from picostem.batch.summary import write_summary
from picostem.batch.task import Outcome, Task, Work, is_complete, resolve_task
from picostem.batch.work import RESULTS, Recipe, Stamp, content_of, folder_name, identity, stamp_of
from picostem.errors import OutputError

COMMIT_S = 1.0
"""Seconds of reading files that a power cut may cost."""

_LEFT_OVER = re.compile(r"\..*\.[0-9a-f]{12}\.[0-9a-f]{8}")
"""Names of folders that results are written in before they are put in place."""


@dataclass(frozen=True)
class Plan:
    """How a batch is run.

    Attributes:
        workers: processes on this machine.
        cluster: None, or the Dask cluster to use instead, as `picostem.batch.cluster.on_cluster` takes it.
        retry_failed: whether what failed before is tried again.
    """

    workers: int = 1
    cluster: str | None = None
    retry_failed: bool = False


@dataclass(frozen=True)
class Tally:
    """What the images on a work list came to, those that were done before included.

    Attributes:
        before: how many of `done` and `failed` were so before.
        same: files whose work another file's is, because their contents are equal.
    """

    done: int
    failed: int
    before: int
    same: int


class Listener(Protocol):
    """Who is told how a batch goes."""

    def stage(self, name: str, done: int, total: int) -> None:
        """A stage, and how far it is."""

    def ended(self, task: Task, outcome: Outcome, done: int, total: int) -> None:
        """An image has been worked on, the `done`-th of `total` of this run."""


def run_batch(
    files: Sequence[Path],
    recipe: Recipe,
    out: Path,
    plan: Plan,
    listener: Listener,
    work: Work = resolve_task,
) -> Tally:
    """Do to every file what the recipe says; results, ledger and summary are in the folder `out`.

    Args:
        files: absolute paths, as `find_files` returns them.
        work: what is done with an image.

    Raises:
        OutputError: nothing can be written, or another batch works there.
        UsageError, DataError: the recipe names what does not exist, the cluster does not answer, workers cannot start.
    """
    canonical = recipe.canonical()
    out = Path(os.path.abspath(out))
    results = out / RESULTS
    with Ledger.open(out) as ledger:
        _sweep(results)
        listed = _list_files(files, canonical, ledger, plan.workers, listener)
        due = _queue(listed, ledger, results, plan.retry_failed)
        before = _states(ledger, listed)
        tasks = [Task(one.job, one.path, one.stamp, recipe, results / folder_name(one.path, one.job)) for one in due]
        try:
            _work_off(tasks, ledger, plan, listener, work)
        finally:
            ledger.release()
            _sweep(results)
            write_summary(ledger, out)
        now = _states(ledger, listed)
        same = len(listed) - now.total()
        return Tally(now["done"], now["failed"], before["done"] + before["failed"], same)


def _list_files(files: Sequence[Path], recipe: str, ledger: Ledger, threads: int, listener: Listener) -> list[Found]:
    """The files with their identities, in the ledger; those that have not changed since the last run are not read."""
    known, found = ledger.contents(), list[Found]()
    written, last = 0, time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        for one in pool.map(lambda path: _look_at(path, known, recipe), files):
            found.append(one)
            listener.stage("reading files", len(found), len(files))
            if time.monotonic() - last > COMMIT_S or len(found) == len(files):
                ledger.add(found[written:], recipe)
                written, last = len(found), time.monotonic()
    return found


def _look_at(path: Path, known: Mapping[tuple[Path, Stamp], str], recipe: str) -> Found:
    try:
        stamp = stamp_of(path)
        content = known.get((path, stamp)) or content_of(path)
    except OSError as error:
        said = f"{path}: {error.strerror or error}: check the path, the permissions and the disk"
        return Found(path, (0, 0), None, identity(f"unreadable {path}", recipe), said)
    return Found(path, stamp, content, identity(content, recipe))


def _queue(listed: Sequence[Found], ledger: Ledger, results: Path, retry_failed: bool) -> list[Found]:
    """What is to be worked on now: of files with equal work the first one."""
    jobs, due = ledger.jobs(), dict[str, Found]()
    for one in listed:
        if one.error is None and one.job not in due and _is_due(jobs[one.job], results, retry_failed):
            due[one.job] = one
    ledger.queue((one.job, one.path) for one in due.values())
    return list(due.values())


def _is_due(job: Job, results: Path, retry_failed: bool) -> bool:
    if job.state == "done":
        return not is_complete(results / job.folder)
    return job.state != "failed" or retry_failed


def _states(ledger: Ledger, listed: Sequence[Found]) -> Counter[str]:
    """How many jobs of the work list are in each state."""
    jobs = ledger.jobs()
    return Counter(jobs[job].state for job in {one.job for one in listed})


def _work_off(tasks: Sequence[Task], ledger: Ledger, plan: Plan, listener: Listener, work: Work) -> None:
    def begun(task: Task) -> None:
        ledger.begin(task.job)

    if not tasks:
        return
    listener.stage("images", 0, len(tasks))
    if plan.cluster is None:
        outcomes = on_processes(work, tasks, plan.workers, begun)
    else:
        outcomes = on_cluster(work, tasks, plan.cluster, plan.workers, begun)
    with contextlib.closing(outcomes):
        for number, (task, outcome) in enumerate(outcomes, 1):
            if outcome.fatal:
                raise OutputError(outcome.error)
            if outcome.answer is None:
                ledger.fail(task.job, outcome.error or "", outcome.seconds)
            else:
                ledger.finish(task.job, outcome.answer, outcome.seconds)
            listener.ended(task, outcome, number, len(tasks))


def _sweep(results: Path) -> None:
    """Remove what processes that were killed had begun to write."""
    if results.is_dir():
        for path in results.iterdir():
            if _LEFT_OVER.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)
