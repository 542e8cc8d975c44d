"""The order in which the parts of the package may import each other, and that no modules import each other in a circle.

All imports count: those inside functions and those for type checking only, too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import picostem

ROOT = Path(picostem.__file__).parent
RANKS = (
    {"errors", "version", "physics", "image", "checkpoint", "training", "onnx_file", "net_folder"},
    {"stem4d"},
    {"files", "structure"},
    {"simulate"},
    {"style", "atoms"},
    {"resolve"},
    {"dataset"},
    {"infer"},
    {"report"},
    {"catalog"},
    {"pipeline"},
    {"batch"},
    {"bench"},
    {"cli"},
    {"__init__", "__main__"},
)
"""A part may import parts of lower ranks and itself; those of the lowest rank may import each other."""
MODULES = sorted(ROOT.rglob("*.py"))


def name_of(path: Path) -> str:
    """Dotted name inside the package; a package's own file has the package's name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


NAMES = {name_of(path) for path in MODULES}


def imported(path: Path) -> Iterator[str]:
    """Names inside the package of all modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (
                alias.name.removeprefix("picostem.") for alias in node.names if alias.name.startswith("picostem.")
            )
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            module = node.module or ""
            if module.split(".")[0] == "picostem":
                for alias in node.names:
                    whole = f"{module}.{alias.name}".removeprefix("picostem.")
                    yield whole if whole in NAMES else module.removeprefix("picostem").removeprefix(".") or "__init__"


def rank(module: str) -> int:
    part = module.split(".")[0]
    return next(i for i, parts in enumerate(RANKS) if part in parts)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down(path: Path) -> None:
    own = name_of(path)
    for other in imported(path):
        same = own.split(".")[0] == other.split(".")[0] or rank(own) == rank(other) == 0
        assert same or rank(other) < rank(own), f"{own} imports {other}"


def test_no_circles() -> None:
    graph = {name_of(path): set(imported(path)) for path in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_imports_for_type_checking_and_in_functions_count(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from picostem.image import Image\n"
        "class A:\n    def f(self):\n        import picostem.pipeline\n"
    )
    assert set(imported(path)) == {"image", "pipeline"}


def test_every_part_has_a_rank() -> None:
    assert {name.split(".")[0] for name in NAMES} == set().union(*RANKS)
