"""What went wrong, in one line on standard error."""

from __future__ import annotations

import contextlib
import os
import sys

import typer

from picostem.errors import PicostemError


def say(message: str) -> None:
    """Print one line on standard error, whatever the message contains."""
    line = " ".join(message.split())
    with contextlib.suppress(OSError, ValueError):  # closed: nobody is listening
        sys.stderr.write(f"picostem: {''.join(c if c.isprintable() else '�' for c in line)}\n")
        sys.stderr.flush()


def explain(error: BaseException, subject: str = "") -> str:
    """What to tell the user about an exception; `subject` (a file's name) stands before what does not name it."""
    about = f"{subject}: " if subject else ""
    if isinstance(error, PicostemError):
        text = str(error)
        return text if subject in text else about + text
    if isinstance(error, typer.TyperException):
        path = getattr(getattr(error, "ctx", None), "command_path", "picostem")
        return f"{error.format_message().rstrip('.')} (see `{path} --help`)"
    if isinstance(error, MemoryError):
        return f"{about}not enough memory: crop the image, or use a machine with more"
    if isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename else "cannot write to standard output: "
        return f"{about}{name}{error.strerror or error}"
    return (
        f"{about}unforeseen error, please report it: {type(error).__name__}: {error} "
        "(PICOSTEM_TRACEBACK=1 shows where it came from)"
    )


def silence_stdout() -> None:
    """Send what Python still holds for standard output to nowhere, so that leaving does not fail on it again."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def wants_traceback() -> bool:
    """Whether an unforeseen error is to be shown as Python shows it, for those who mend it."""
    return bool(os.environ.get("PICOSTEM_TRACEBACK"))
