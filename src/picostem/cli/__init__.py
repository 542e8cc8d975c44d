"""The command line: thin, with all imports inside the commands, so that `picostem --help` is instant."""

from __future__ import annotations

from picostem.cli.root import app, main, run

__all__ = ["app", "main", "run"]
