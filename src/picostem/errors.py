"""The exceptions that picostem raises on purpose; each message says what to do.

PicostemError
├── UsageError            the request is wrong (exit code 2)
│   └── UnknownMaterialError
└── DataError             the request is fine, the data are not (exit code 1)
    ├── FileError         missing, unreadable, truncated, of an unknown format
    ├── ImageError        not an image that can be worked on (NaN, constant, saturated, too small)
    ├── StructureError    a crystal structure that cannot be used
    └── OutputError       the result cannot be written
"""

from __future__ import annotations


class PicostemError(Exception):
    """Base of all errors that a user can mend."""

    exit_code = 1


class UsageError(PicostemError):
    """The request itself is wrong: an unknown name, contradictory options."""

    exit_code = 2


class UnknownMaterialError(UsageError):
    """No built-in material, and no structure file, has this name."""


class DataError(PicostemError):
    """The request is fine, but the data cannot answer it."""


class FileError(DataError):
    """A file is missing, unreadable, truncated or of an unknown format."""


class ImageError(DataError):
    """The array is not an image that can be worked on."""


class StructureError(DataError):
    """A crystal structure cannot be used as layers of a stack."""


class OutputError(DataError):
    """The result cannot be written."""
