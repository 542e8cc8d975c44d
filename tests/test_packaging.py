"""What the package needs is declared, and nothing else is."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import picostem

SOURCE = Path(picostem.__file__).parent
PROJECT = Path(__file__).parents[1] / "pyproject.toml"
INDIRECT = {"imagecodecs"}  # tifffile uses it for LZW


@pytest.fixture(scope="module")
def project() -> dict[str, object]:
    if not PROJECT.is_file():
        pytest.skip("not run from the repository")
    return dict(tomllib.loads(PROJECT.read_text("utf-8"))["project"])


def names(requirements: object) -> set[str]:
    assert isinstance(requirements, list)
    return {re.split(r"[\[<>=!~ ]", line)[0].lower() for line in requirements}


def distributions_imported() -> set[str]:
    modules = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module.split(".")[0])
    outside = modules - set(sys.stdlib_module_names) - {"picostem", "__future__"}
    homes = metadata.packages_distributions()
    return {homes[module][0].lower() if module in homes else module for module in outside}


def test_every_import_is_declared_and_every_dependency_imported(project: dict[str, object]) -> None:
    core = names(project["dependencies"])
    extras = project["optional-dependencies"]
    assert isinstance(extras, dict)
    parts = ("sim", "train", "hyperspy", "batch", "catalog")
    optional = set().union(*(names(extras[one]) for one in parts))
    imported = distributions_imported()
    assert imported <= core | optional
    assert core - INDIRECT <= imported


def test_licence_and_entry_point(project: dict[str, object]) -> None:
    assert project["license"] == "GPL-3.0-or-later"
    assert project["scripts"] == {"picostem": "picostem.cli:main"}
    licence = (PROJECT.parent / "LICENSE").read_text("utf-8")
    assert "GNU GENERAL PUBLIC LICENSE" in licence
    assert "Version 3, 29 June 2007" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
