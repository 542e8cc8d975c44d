"""Tasks on the workers of a Dask cluster, of this machine or of many that share a file system."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from picostem.batch.task import Outcome, Outcomes, Task, Work
from picostem.errors import UsageError
from picostem.version import VERSION

LOCAL = "local"
WAIT = 60.0
"""Seconds until a scheduler has to have answered, and to have a worker."""

_ALONE = threading.Lock()


def on_cluster(work: Work, tasks: Sequence[Task], address: str, count: int, begun: Callable[[Task], None]) -> Outcomes:
    """The outcomes of tasks as they come; closing the iterator takes back what no worker has begun.

    Args:
        address: "local" for `count` processes of this machine, or where a scheduler listens: tcp://host:port.
        begun: called when a task is handed to the scheduler, which holds two for each thread of its workers.

    Raises:
        UsageError: Dask is not installed, no scheduler or worker answers, or one has another version of picostem.
    """
    with contextlib.ExitStack() as stack:
        dask = _dask()
        client = _connect(dask, address, count, stack)
        waiting, under_way = deque(tasks), dict[str, Task]()
        completed = dask.as_completed()

        def submit() -> None:
            task = waiting.popleft()
            begun(task)
            future = client.submit(_alone, work, task, key=task.job, pure=False)
            under_way[future.key] = task
            completed.add(future)

        stack.callback(lambda: client.cancel(list(completed.futures)))
        for _ in range(min(len(waiting), 2 * sum(client.nthreads().values()))):
            submit()
        for future in completed:
            yield under_way.pop(future.key), _outcome(future)
            if waiting:
                submit()


def _dask() -> Any:
    try:
        return import_module("distributed")
    except ImportError as error:
        raise UsageError("--cluster needs Dask: pip install 'picostem[batch]', or leave it out") from error


def _connect(dask: Any, address: str, count: int, stack: contextlib.ExitStack) -> Any:
    try:
        where = address
        if address == LOCAL:
            where = stack.enter_context(
                dask.LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=None)
            )
        client = stack.enter_context(dask.Client(where, timeout=WAIT))
        client.wait_for_workers(1, timeout=WAIT)
        versions = set(client.run(_version).values())
    except (OSError, TimeoutError, ValueError, ImportError) as error:
        raise UsageError(
            f"--cluster {address}: {error}; expected local, or a scheduler such as tcp://host:8786 with workers that "
            "have picostem installed"
        ) from error
    if versions != {VERSION}:
        raise UsageError(
            f"--cluster {address}: its workers have picostem {', '.join(sorted(versions))}, this is {VERSION}: "
            "install the same everywhere"
        )
    return client


def _version() -> str:
    return VERSION


def _alone(work: Work, task: Task) -> Outcome:
    """Work on one image at a time in a process, whatever its number of threads: figures are drawn by one only."""
    with _ALONE:
        return work(task)


def _outcome(future: Any) -> Outcome:
    try:
        outcome: Outcome = future.result()
    except Exception as error:  # of the cluster: the work's own errors are outcomes
        return Outcome(error=" ".join(f"the cluster could not do it: {type(error).__name__}: {error}".split()))
    return outcome
