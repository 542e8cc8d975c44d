"""Several files, one after the other: a bad one does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import typer

from picostem.cli.failure import explain, say, wants_traceback
from picostem.errors import DataError

Report = Callable[[str, int, int], None]


class Job(Protocol):
    """What is to be done with a file."""

    @property
    def file(self) -> Path:
        """Its name."""


Asked = TypeVar("Asked", bound=Job)
Document = TypeVar("Document", dict[str, Any], dict[str, Any] | None)


def each(
    jobs: Sequence[Asked], one: Callable[[Asked, Report], tuple[Document, str]], *, to_stderr: bool
) -> tuple[list[Document], int]:
    """Documents of all files that could be used, and the exit code.

    Args:
        one: does one job, tells of its progress, and returns its document and what to say of it.
        to_stderr: whether that is said on standard error, because the documents go to standard output.

    Raises:
        Exception: what went wrong with a file that is the only one.
    """
    from picostem.cli.watch import watch

    documents, code = [], 0
    with watch() as progress:
        for index, job in enumerate(jobs):
            progress.begin(job.file.name, index, len(jobs))
            try:
                document, words = one(job, progress.report)
            except Exception as error:
                if len(jobs) == 1 or wants_traceback():
                    raise
                progress.pause()
                say(explain(error, str(job.file)))
                code = DataError.exit_code
                continue
            progress.pause()
            typer.echo(words, err=to_stderr)
            documents.append(document)
    return documents, code
