"""The exception tree: as drawn, with exit codes."""

from __future__ import annotations

import pytest

import picostem.errors
from picostem.errors import DataError, FileError, ImageError, PicostemError, UnknownMaterialError, UsageError


def _subclasses(kind: type[PicostemError]) -> list[type[PicostemError]]:
    return [kind, *(deeper for direct in kind.__subclasses__() for deeper in _subclasses(direct))]


def _own() -> list[type[PicostemError]]:
    return [kind for kind in _subclasses(PicostemError) if kind.__module__ == "picostem.errors"]


def test_all_of_them_are_drawn_in_the_module() -> None:
    drawing = picostem.errors.__doc__ or ""
    for kind in _own():
        assert kind.__name__ in drawing


@pytest.mark.parametrize("kind", _own())
def test_exit_code_tells_a_wrong_request_from_wrong_data(kind: type[PicostemError]) -> None:
    assert kind.exit_code == (2 if issubclass(kind, UsageError) else 1)


def test_one_except_catches_bad_files_and_bad_images() -> None:
    assert issubclass(FileError, DataError)
    assert issubclass(ImageError, DataError)
    assert not issubclass(UnknownMaterialError, DataError)
    assert not issubclass(PicostemError, ValueError | OSError)
