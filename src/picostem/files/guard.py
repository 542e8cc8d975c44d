"""Third-party readers fail and warn in their own words; here these become a FileError of one line, or silence."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from picostem.errors import FileError, PicostemError

_LONGEST_REASON = 160
"""Characters: with path and advice the message still fits on two lines of a terminal."""


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a reader raises into a FileError about `path`, chained; `what` names the format.

    Warnings of the readers are about their own future or about metadata we check ourselves: they are not shown.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except PicostemError:
        raise
    except MemoryError as error:
        raise FileError(f"{path}: does not fit into memory: crop it, or use a machine with more") from error
    except ModuleNotFoundError as error:
        raise FileError(f"{path}: {what} files need the Python package {error.name!r}: pip install it") from error
    except PermissionError as error:
        raise FileError(f"{path}: no permission to read it: change the file's permissions") from error
    except Exception as error:
        raise FileError(
            f"{path}: cannot be read as {what} ({_reason(error)}): it is damaged, cut off or of a kind not known yet; "
            "copy it again, or save it as tif from the program that wrote it"
        ) from error


@contextmanager
def quiet(logger: str) -> Iterator[None]:
    """Keep a library's logger from printing (RosettaSciIO logs to standard output, where results go)."""
    log = logging.getLogger(logger)
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(level)


def _reason(error: Exception) -> str:
    """What a reader said, on one line."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= _LONGEST_REASON else text[: _LONGEST_REASON - 1] + "…"
