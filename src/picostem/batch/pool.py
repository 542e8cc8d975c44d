"""Processes that share tasks, each replaced when it dies: only the image it had suffers."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait

from picostem.batch.task import Outcome, Outcomes, Task, Work
from picostem.errors import DataError

MOST_DEATHS = 2
"""How many processes may die over an image: the first one may have been killed because another had taken the memory."""

_CONTEXT = multiprocessing.get_context("spawn")


def on_processes(work: Work, tasks: Sequence[Task], count: int, begun: Callable[[Task], None]) -> Outcomes:
    """The outcomes of tasks as they come; closing the iterator ends the processes at once.

    Args:
        work: a function of a module, run in `count` processes.
        begun: called when a process is given a task.

    Raises:
        DataError: processes die before they are given anything.
    """
    waiting, deaths = deque(tasks), Counter[str]()
    crew = [_Worker(work) for _ in range(min(count, len(tasks)))]
    try:
        left = len(tasks)
        while left:
            for pipe in wait([worker.pipe for worker in crew if worker.task or waiting]):
                worker = next(one for one in crew if one.pipe is pipe)
                task, outcome = worker.task, worker.receive()
                if task is not None and outcome is None:
                    deaths[task.job] += 1
                    if deaths[task.job] < MOST_DEATHS:
                        waiting.append(task)
                    else:
                        outcome = Outcome(error=f"the process that worked on it {worker.epitaph()}")
                    worker.replace()
                elif task is None and not worker.ready:
                    raise DataError(f"a process that was to work {worker.epitaph()}")
                if task is not None and outcome is not None:
                    left -= 1
                    yield task, outcome
                if worker.ready and waiting:
                    worker.give(waiting.popleft(), begun)
    finally:
        for worker in crew:
            worker.end()


class _Worker:
    """A process that is started, fed and buried; `task` is what it works on, `ready` whether it has come up."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._start()

    def _start(self) -> None:
        self.task: Task | None = None
        self.ready = False
        self.pipe, other = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_serve, args=(other, self._work), daemon=True)
        with _interrupts_ignored():
            self._process.start()
        other.close()

    def give(self, task: Task, begun: Callable[[Task], None]) -> None:
        """Let it work on a task."""
        begun(task)
        self.task = task
        with contextlib.suppress(OSError):  # it died while it waited: its end of the pipe tells
            self.pipe.send(task)

    def receive(self) -> Outcome | None:
        """What it sent: an outcome, or nothing when it is ready for its first task or has died."""
        try:
            outcome: Outcome | None = self.pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            return None
        self.task, self.ready = None, True
        return outcome

    def epitaph(self) -> str:
        """Why it died, as far as that can be told."""
        code = self._process.exitcode or 0
        if code >= 0:
            return f"ended with code {code}: report it, with the image if you can"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        why = "perhaps for want of memory: use fewer workers" if -code == 9 else "report it, with the image if you can"
        return f"was ended by {name}: {why}"

    def replace(self) -> None:
        """Put another process in its place."""
        self.pipe.close()
        self._start()

    def end(self) -> None:
        """End the process, whatever it does: what it has not put in place was never there."""
        self._process.kill()
        self._process.join()
        self.pipe.close()


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ctrl-C reaches all processes of a terminal; those started in this block are ended by the first one only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(pipe: Connection, work: Work) -> None:
    """A worker's life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    gc.set_threshold(50_000)  # nearly all that is alive belongs to modules, and is no garbage
    with contextlib.suppress(EOFError, OSError):
        pipe.send(None)
        while True:
            pipe.send(work(pipe.recv()))


def _die_with_parent() -> None:
    """End this process when the first one has died, so that nobody works on what is taken up again."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
