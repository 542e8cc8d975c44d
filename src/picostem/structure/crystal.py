"""Crystal structures from files (CIF, POSCAR, xyz through ASE), checked before anything is computed with them.

A file may be broken or hostile: its size, the counts that it declares and its cell are bounded before they are used.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io.cif import parse_cif
from ase.io.extxyz import read_extxyz
from ase.io.vasp import read_vasp
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

from picostem.errors import FileError, StructureError

MAX_BYTES = 5_000_000
"""Structure files are some kB; a CIF that embeds its diffraction data has a few MB."""

MAX_ATOMS = 500
"""Atoms in the cell: bulk van der Waals crystals have up to a few hundred."""

MAX_OPERATIONS = 192
"""Symmetry operations: the largest space groups (Fm-3m and its like) have 192."""

SAME_SITE = 0.1
"""Å. Nearer atoms of one species are one site, doubled by a rounded coordinate on a symmetry element."""

OVERLAP = 0.5
"""Å. Nearer atoms are an error: the shortest bond, H-H, has 0.74 Å."""

find_neighbours: Callable[..., Any] = neighbor_list
"""ASE's search, which carries no types."""

BOX_LIMITS = (0.5, 1000.0)
"""Å. Height and length of cell vectors: shorter ones are not a crystal, longer ones not its cell."""


def read_crystal(path: Path) -> Atoms:
    """The one crystal in a file, with a three-dimensional cell.

    A third cell vector of zero length (a layer that repeats in two directions only) is replaced by the normal, with
    20 Å of empty space, and is not periodic.

    Raises:
        FileError: unreadable, or of an unknown format.
        StructureError: too large, malformed, without a cell, disordered, or with overlapping atoms.
    """
    read = _reader(path)
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise StructureError(f"{path} is larger than {MAX_BYTES / 1e6:g} MB, which no structure file should be")
    text = data.decode("latin1")
    if not text.strip():
        raise StructureError(f"{path} is empty")
    try:
        # The readers warn of harmless things, such as a crystal system given twice; what matters is checked below.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Of a row that it leaves out, though, the CIF reader also only warns.
            warnings.filterwarnings("error", message="Wrong number")
            atoms = read(text)
        return _checked(atoms)
    except StructureError as error:
        raise StructureError(f"{path}: {error}") from error
    # A malformed file can make a reader raise anything.
    except Exception as error:
        raise StructureError(f"{path} is malformed: {type(error).__name__}: {error}") from error


def _reader(path: Path) -> Callable[[str], Atoms]:
    name = path.name.casefold()
    if name.endswith(".cif"):
        return _read_cif
    if name.endswith((".xyz", ".extxyz")):
        return _read_xyz
    if name.endswith((".vasp", ".poscar")) or name.startswith(("poscar", "contcar")):
        return _read_poscar
    raise FileError(f"{path}: expected a name ending in .cif, .xyz, .extxyz or .vasp, or beginning with POSCAR")


def _read_cif(text: str) -> Atoms:
    labels = {"_atom_site_label", "_atom_site_type_symbol"}
    blocks = [block for block in parse_cif(io.StringIO(text)) if labels & set(block)]
    if len(blocks) != 1:
        raise StructureError(f"expected one structure, got {len(blocks)} data blocks with atoms: keep the one you want")
    block = blocks[0]
    symbols, operations = block.get_symbols(), _listed(block, "_space_group_symop_operation_xyz")
    operations = operations or _listed(block, "_symmetry_equiv_pos_as_xyz")
    _check_count(len(symbols))
    if len(operations) > MAX_OPERATIONS:
        raise StructureError(f"{len(operations)} symmetry operations, no space group has more than {MAX_OPERATIONS}")
    partial = [value for value in _listed(block, "_atom_site_occupancy") if _is_partial(value)]
    groups = [group for group in _listed(block, "_atom_site_disorder_group") if str(group) not in (".", "?", "0")]
    if partial or groups:
        what = f"occupancies of {partial[0]}" if partial else "disorder groups"
        raise StructureError(f"the structure is disordered ({what}): give an ordered model")
    if not all(float(value) > 0 for value in block.get_cellpar() or []):
        raise StructureError(f"cell lengths and angles must be positive, got {block.get_cellpar()}")
    atoms: Atoms = block.get_atoms(fractional_occupancies=False)
    _check_sites(block.get_unsymmetrized_structure(), atoms)
    return atoms


def _check_sites(listed: Atoms, atoms: Atoms) -> None:
    """Every site of the file must be there: of two elements on one site, the reader keeps the first."""
    if atoms.cell.rank < 3:
        return
    apart = (listed.positions[:, None] - atoms.positions) @ np.linalg.inv(atoms.cell.array)
    distance = np.linalg.norm((apart - np.round(apart)) @ atoms.cell.array, axis=-1)
    for symbol, row in zip(listed.symbols, distance, strict=True):
        found = atoms.symbols[int(row.argmin())]
        if found != symbol:
            raise StructureError(f"the structure is disordered ({found} and {symbol} share a site)")


def _listed(block: Any, tag: str) -> list[Any]:
    value = block.get(tag, [])
    return list(value) if isinstance(value, list) else [value]


def _is_partial(value: object) -> bool:
    # 0.99: refined occupancies of full sites scatter by that much.
    return isinstance(value, int | float) and value < 0.99


def _read_poscar(text: str) -> Atoms:
    lines = text.splitlines()
    # The counts stand in line 6 or 7; they are bounded before a reader makes room for them.
    counts = next((line for line in lines[5:7] if line.split() and line.split()[0].isdigit()), None)
    if counts is None:
        raise StructureError("expected the numbers of atoms in line 6 or 7 of a POSCAR")
    total = sum(int(word) for word in counts.split() if word.isdigit())
    _check_count(total)
    if total > len(lines):
        raise StructureError(f"declares {total} atoms but has {len(lines)} lines: it seems cut off")
    atoms: Atoms = read_vasp(io.StringIO(text))
    return atoms


def _read_xyz(text: str) -> Atoms:
    first = text.split(maxsplit=1)[0]
    if not first.isdigit():
        raise StructureError(f"expected the number of atoms in the first line of an xyz file, got {first[:40]!r}")
    _check_count(int(first[:20]))
    frames: list[Atoms] = list(read_extxyz(io.StringIO(text), index=slice(0, 2)))
    if len(frames) != 1:
        raise StructureError("holds more than one structure: keep the one you want")
    return frames[0]


def _check_count(count: int) -> None:
    if not 0 < count <= MAX_ATOMS:
        raise StructureError(f"expected between 1 and {MAX_ATOMS} atoms in the cell, got {count}")


def _checked(atoms: Atoms) -> Atoms:
    """Bare atoms with a sane cell; doubled sites are merged."""
    _check_count(len(atoms))
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        raise StructureError("positions and cell must be finite numbers")
    if (atoms.numbers == 0).any():
        raise StructureError("contains atoms of an unknown element")
    atoms = _with_full_cell(atoms)
    lengths = atoms.cell.lengths()
    areas = np.linalg.norm(np.cross(atoms.cell.array[[1, 2, 0]], atoms.cell.array[[2, 0, 1]]), axis=1)
    # 1e-9 Å²: so that parallel vectors, which span no area, have no height instead of a division by zero.
    heights = atoms.cell.volume / np.maximum(areas, 1e-9)
    if not (heights.min() > BOX_LIMITS[0] and lengths.max() < BOX_LIMITS[1]):
        raise StructureError(
            f"cell vectors must be {BOX_LIMITS[0]} to {BOX_LIMITS[1]:g} Å long and not almost parallel, got lengths "
            f"{np.round(lengths, 2).tolist()} and heights {np.round(heights, 2).tolist()} Å"
        )
    atoms = _merged(atoms)
    distances: NDArray[np.float64] = find_neighbours("d", atoms, OVERLAP)
    if len(distances):
        raise StructureError(f"two atoms are only {distances.min():.2f} Å apart: is it disordered, or a unit wrong?")
    return atoms


def _with_full_cell(atoms: Atoms) -> Atoms:
    cell, periodic, empty = atoms.cell.array.copy(), atoms.pbc.copy(), atoms.cell.lengths() == 0
    if atoms.cell.rank == 3:
        # A file that says nothing of periodicity is a crystal.
        periodic = periodic if periodic.any() else np.ones(3, dtype=bool)
    elif atoms.cell.rank == 2 and empty.any():
        normal = np.cross(*cell[~empty])
        normal /= np.linalg.norm(normal)
        cell[empty] = normal * (np.ptp(atoms.positions @ normal) + 20.0)
        periodic = ~empty
    else:
        raise StructureError('has no cell: an xyz file needs Lattice="ax ay az bx by bz cx cy cz" in its second line')
    return Atoms(atoms.numbers, positions=atoms.positions, cell=cell, pbc=periodic)


def _merged(atoms: Atoms) -> Atoms:
    first, second = find_neighbours("ij", atoms, SAME_SITE)
    doubled = (first < second) & (atoms.numbers[first] == atoms.numbers[second])
    kept = np.ones(len(atoms), dtype=bool)
    kept[second[doubled]] = False
    merged: Atoms = atoms[kept]
    return merged
