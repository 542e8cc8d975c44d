"""The public names are listed once, can be imported in any order, and say what they are for."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import picostem

NAMES = [name for name in picostem.__all__ if name != "__version__"]


def test_the_list_is_sorted_and_complete() -> None:
    assert picostem.__all__ == sorted(picostem.__all__)
    assert set(NAMES) == set(picostem._HOMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_is_there_documented_and_annotated(name: str) -> None:
    value = getattr(picostem, name)
    assert not inspect.ismodule(value)
    assert value.__doc__
    assert len(value.__doc__) > 20
    if inspect.isfunction(value):
        signature = inspect.signature(value)
        assert signature.return_annotation is not inspect.Signature.empty
        assert all(p.annotation is not inspect.Parameter.empty for p in signature.parameters.values())


def test_unknown_names_raise() -> None:
    with pytest.raises(AttributeError, match="'nothing'"):
        picostem.nothing  # noqa: B018


@pytest.mark.parametrize(
    "program",
    [
        "from picostem import resolve; assert callable(resolve)",
        "from picostem import Settings, resolve; assert callable(resolve)",
        "import picostem.resolve.settings; import picostem; assert callable(picostem.resolve)",
        "from picostem.resolve import model; from picostem import resolve; assert callable(resolve)",
        "import picostem, sys; assert 'numpy' not in sys.modules",
    ],
)
def test_resolve_is_the_function_whatever_was_imported_before(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_star_import_brings_all() -> None:
    program = "from picostem import *; print(*sorted(set(globals()) & set(__import__('picostem').__all__)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == sorted(picostem.__all__)


def test_version_is_written_in_one_place() -> None:
    from picostem.version import VERSION

    assert picostem.__version__ == VERSION
    assert [int(part) >= 0 for part in VERSION.split(".")[:2]] == [True, True]
