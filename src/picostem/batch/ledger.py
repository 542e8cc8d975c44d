"""The ledger of a batch: what is to be done, what is done, and what came of it, in SQLite."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from picostem.batch.work import LEDGER, Stamp, folder_name
from picostem.errors import OutputError

State = Literal["waiting", "running", "done", "failed"]

SCHEMA = 1
_TABLES = """
CREATE TABLE jobs (
    id TEXT PRIMARY KEY, path TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'waiting', attempts INTEGER NOT NULL DEFAULT 0,
    started TEXT, ended TEXT, error TEXT, seconds REAL, folder TEXT NOT NULL, recipe TEXT NOT NULL, answer TEXT
);
CREATE TABLE files (
    path TEXT NOT NULL, recipe TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, content TEXT,
    job TEXT NOT NULL REFERENCES jobs (id), PRIMARY KEY (path, recipe)
);
CREATE INDEX files_job ON files (job);
"""


@dataclass(frozen=True)
class Found:
    """A file on the work list.

    Attributes:
        content: SHA-256 of what is in it; None if it cannot be read, and then `error` says why.
        job: identity of the work on it.
    """

    path: Path
    stamp: Stamp
    content: str | None
    job: str
    error: str | None = None


@dataclass(frozen=True)
class Job:
    """A row of the ledger; `answer` is what the summary tells of a result that is there."""

    id: str
    path: Path
    state: State
    attempts: int
    started: str | None
    ended: str | None
    error: str | None
    seconds: float | None
    folder: str
    recipe: str
    answer: dict[str, Any] | None


class Ledger:
    """The ledger in a batch's folder. One process at a time has it open; others may read the file meanwhile.

    Every change is on the disk when its method returns (write-ahead log, synchronous FULL).
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    @classmethod
    @contextlib.contextmanager
    def open(cls, folder: Path) -> Iterator[Ledger]:
        """The ledger for the duration of a block; work that was going on when the last one ended waits again.

        Raises:
            OutputError: another batch works there, or the ledger is damaged, newer, or cannot be written.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(_as_output_error(folder))
            _make(folder)
            stack.enter_context(_alone(folder))
            database = sqlite3.connect(folder / LEDGER, isolation_level=None)
            stack.callback(database.close)
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            ledger = cls(database)
            ledger._prepare(folder)
            ledger.release()
            yield ledger

    def _prepare(self, folder: Path) -> None:
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA:
            raise OutputError(f"{folder / LEDGER} is of a newer picostem: use that, or another --out")
        if version == 0:
            self._database.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {SCHEMA}; COMMIT;")

    def release(self) -> None:
        """Let all work that is going on wait again."""
        self._database.execute("UPDATE jobs SET state = 'waiting' WHERE state = 'running'")

    def contents(self) -> dict[tuple[Path, Stamp], str]:
        """SHA-256 of all files that were on a work list before, by their paths and stamps."""
        query = "SELECT path, size, mtime_ns, content FROM files WHERE content IS NOT NULL"
        rows = self._database.execute(query).fetchall()
        return {(Path(os.fsdecode(path)), (size, time)): content for path, size, time, content in rows}

    def add(self, found: Iterable[Found], recipe: str) -> None:
        """Put files on the work list, all of them or none, with what is to be done with them in canonical form."""
        recipe_id = hashlib.sha256(recipe.encode()).hexdigest()
        with self._transaction():
            for one in found:
                row = (one.job, _text(one.path), folder_name(one.path, one.job), recipe)
                self._database.execute("INSERT OR IGNORE INTO jobs (id, path, folder, recipe) VALUES (?, ?, ?, ?)", row)
                if one.error is not None:
                    self._end(one.job, "failed", one.error, None, None)
                self._database.execute(
                    "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)",
                    (_text(one.path), recipe_id, *one.stamp, one.content, one.job),
                )

    def queue(self, places: Iterable[tuple[str, Path]]) -> None:
        """Let jobs, by their identities, wait to be done, each with the file to read."""
        with self._transaction():
            self._database.executemany(
                "UPDATE jobs SET path = ?, folder = ?, state = 'waiting' WHERE id = ?",
                [(_text(path), folder_name(path, job), job) for job, path in places],
            )

    def begin(self, job: str) -> None:
        """Work on a job begins."""
        self._database.execute(
            "UPDATE jobs SET state = 'running', attempts = attempts + 1, started = ?, ended = NULL, error = NULL "
            "WHERE id = ?",
            (_now(), job),
        )

    def finish(self, job: str, answer: dict[str, Any], seconds: float) -> None:
        """A job's result is in its folder."""
        self._end(job, "done", None, seconds, json.dumps(answer, sort_keys=True))

    def fail(self, job: str, error: str, seconds: float | None) -> None:
        """A job cannot be done."""
        self._end(job, "failed", error, seconds, None)

    def _end(self, job: str, state: State, error: str | None, seconds: float | None, answer: str | None) -> None:
        said = None if error is None else error.encode("utf-8", "replace").decode()
        self._database.execute(
            "UPDATE jobs SET state = ?, ended = ?, error = ?, seconds = ?, answer = ? WHERE id = ?",
            (state, _now(), said, seconds, answer, job),
        )

    def jobs(self) -> dict[str, Job]:
        """All jobs by their identities."""
        return {row[0]: _job(row) for row in self._database.execute("SELECT * FROM jobs")}

    def files(self) -> list[tuple[Path, str]]:
        """All files of all work lists with the identities of their jobs, in the order of their names."""
        rows = self._database.execute("SELECT path, job FROM files ORDER BY path, recipe").fetchall()
        return [(Path(os.fsdecode(path)), job) for path, job in rows]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")


def _job(row: Sequence[Any]) -> Job:
    job, path, *between, answer = row
    values = (job, Path(os.fsdecode(path)), *between, None if answer is None else json.loads(answer))
    return Job(*values)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a lock that the system takes back when this process ends, however it does."""
    lock = sqlite3.connect(folder / f"{LEDGER}.lock", isolation_level=None, timeout=0)
    with contextlib.closing(lock):
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            raise OutputError(f"another batch works in {folder}: wait for its end, or give another --out") from error
        yield


@contextlib.contextmanager
def _as_output_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:  # full, locked, no permission
        raise OutputError(f"cannot write to {folder / LEDGER}: {error}; make room, or give another --out") from error
    except sqlite3.DatabaseError as error:
        raise OutputError(
            f"{folder / LEDGER} is damaged ({error}): move it away and run again; results that are there are taken over"
        ) from error


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}; give another --out") from error


def _text(path: Path) -> str | bytes:
    """A path as SQLite keeps it: bytes where it is no text."""
    try:
        path.as_posix().encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return str(path)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
