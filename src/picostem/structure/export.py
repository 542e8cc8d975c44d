"""Writing atoms: CIF, extended xyz and POSCAR, each complete or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
from ase import Atoms

from picostem.errors import OutputError, UsageError

FORMATS = {".cif": "cif", ".xyz": "extxyz", ".extxyz": "extxyz", ".vasp": "vasp", ".poscar": "vasp"}


def write_structure(atoms: Atoms, path: str | Path) -> None:
    """Write atoms in the format that the name's ending says; a file named POSCAR or CONTCAR is one.

    Coordinates are counted from the corner of the cell. Only (ext)xyz keeps the arrays `layer` and `site`. The file
    appears under its name when it is complete, and replaces an older one.

    Raises:
        UsageError: unknown ending.
        OutputError: there is nothing to write, or the folder is missing or not writable.
    """
    path = Path(path)
    kind = _format(path)
    if not len(atoms):
        raise OutputError(f"cannot write {path}: there are no atoms")
    corner: Callable[[], Any] = atoms.get_celldisp
    placed = Atoms(atoms.numbers, positions=atoms.positions - corner().reshape(3), cell=atoms.cell, pbc=atoms.pbc)
    placed.arrays.update({name: atoms.arrays[name] for name in ("layer", "site") if name in atoms.arrays})
    options = {"direct": True, "sort": True} if kind == "vasp" else {}
    try:
        # In the same folder, because a file can only be moved in one step within a file system.
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            part = Path(folder) / "part"
            ase.io.write(part, placed, format=kind, **options)
            os.replace(part, path)
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror}. Is {path.parent} a folder you may write to?"
        ) from error


def _format(path: Path) -> str:
    if path.name.casefold().startswith(("poscar", "contcar")):
        return "vasp"
    if path.suffix.casefold() not in FORMATS:
        raise UsageError(f"{path}: expected a name ending in {', '.join(FORMATS)}, or POSCAR")
    return FORMATS[path.suffix.casefold()]
