"""JSON to a file or to standard output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

STDOUT = "-"


def write_document(document: Any, target: str) -> None:
    """Write a document of plain values, the file completely or not at all; `-` is standard output.

    Raises:
        OutputError: the file cannot be written.
    """
    from json import dumps

    from picostem.report.place import write_file

    text = dumps(document, indent=2, allow_nan=False)  # plain ASCII, because a terminal or pipe may have any encoding
    if target == STDOUT:
        typer.echo(text)
    else:
        write_file(Path(target).expanduser(), (text + "\n").encode())
