"""Files put in place completely or not at all: written beside their place, then moved there in one step."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from picostem.errors import OutputError


@contextlib.contextmanager
def staged(folder: Path, owned: Sequence[str]) -> Iterator[Path]:
    """A folder to write files into, which are moved to `folder` when the block ends without an exception.

    Of the files named in `owned`, those that were not written are removed from `folder`; all others there are left
    alone. While files are exchanged the last one named in `owned` is missing, so that where it is, all of them belong
    together. Whatever exception ends the block or the exchange, `folder` is left or put back as it was.

    Raises:
        OutputError: `folder` is a file or cannot be written to, a folder is in a file's place, or the disk is full.
    """
    with _as_output_error(folder):
        _refuse_obstacles(folder, owned)
        created = _create(folder.parent)
        # In the folder where there is one: it can be a file system of its own, or its parent closed to writing.
        part = (folder if folder.is_dir() else folder.parent) / f".{folder.name}.{secrets.token_hex(4)}"
        try:
            # Not by tempfile, whose folders nobody else may read: this one becomes the user's.
            part.mkdir()
            yield part
            _publish(part, folder, owned)
            created = []
        finally:
            shutil.rmtree(part, ignore_errors=True)
            for parent in created:
                with contextlib.suppress(OSError):
                    parent.rmdir()


def _refuse_obstacles(folder: Path, owned: Sequence[str]) -> None:
    for path in (folder, *folder.parents):
        if path.exists() and not path.is_dir():
            raise OutputError(f"cannot write to {str(folder)!r}: {str(path)!r} is a file; give the name of a folder")
    for name in owned:
        if (folder / name).is_dir():
            raise OutputError(f"cannot write to {str(folder)!r}: it has a folder {name!r} where a file is to be")


def _create(folder: Path) -> list[Path]:
    """Make a folder with its parents; returns the new ones, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _publish(part: Path, folder: Path, owned: Sequence[str]) -> None:
    if not folder.exists():
        os.rename(part, folder)
        return
    old = part / "old"
    old.mkdir()
    written = [name for name in owned if (part / name).exists()]
    try:
        for name in reversed(owned):
            if os.path.lexists(folder / name):
                os.replace(folder / name, old / name)
        for name in written:
            os.replace(part / name, folder / name)
    except BaseException:
        for name in owned:
            if os.path.lexists(old / name):
                os.replace(old / name, folder / name)
            elif name in written and not (part / name).exists():
                (folder / name).unlink()
        raise


def write_file(path: Path, content: bytes) -> None:
    """Write a file, or replace it; a device or pipe is written to as it is.

    Raises:
        OutputError: it is a folder, cannot be written, or the disk is full.
    """
    with _as_output_error(path):
        if path.is_dir():
            raise OutputError(f"cannot write {str(path)!r}: it is a folder; give the name of a file")
        # A link stays a link, to the new file.
        path = Path(os.path.realpath(path))
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        part = path.with_name(f".{secrets.token_hex(8)}")
        try:
            part.write_bytes(content)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def _as_output_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error) or type(error).__name__
        message = f"cannot write to {str(path)!r}: {why}; choose another place or make room there"
        raise OutputError(" ".join(message.split())) from error
