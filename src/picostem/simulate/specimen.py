"""Thin specimens for 4D-STEM: graphene with and without a defect, crystals along a zone axis, single layers.

Positions are in Å in the image frame: x right, y up, the origin at the image's centre, z along the beam from 0 on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from picostem.errors import UsageError
from picostem.structure import load_monolayer, rotation_matrix
from picostem.structure.crystal import read_crystal

FloatArray = NDArray[np.float64]

STRUCTURES = ("graphene", "graphene-vacancy", "graphene-Si3", "graphene-Si4", "ZnS")
"""Specimens with a name; others come from files or are built-in monolayers."""
ZNS_LATTICE, ZNS_ZONE = 5.41, (1, 1, 0)
"""Å; sphalerite. Along [110], Zn and S stand 1.35 Å apart in pairs that all point the same way."""
BOND = 1.42
"""Å, C-C in graphene."""
SI3_BOND, SI3_HEIGHT = 1.78, 0.5
"""Å: Si on a site of C is larger than C, stands out of the plane and pushes its neighbours outwards."""
ONE_COLUMN = 0.3
"""Å between atoms, seen along the beam, that are one column."""
EMPTY = 20.0
"""Å above single layers, so that a cell holds one."""
_FACE = 1e-6
"""Å, for rounding: an atom on the lower face belongs to the specimen, one on the upper face does not."""


@dataclass(frozen=True)
class Columns:
    """Atomic columns: places (x, y), Å, shape (n, 2), the sum of atomic numbers in each, what stands there ("Zn2")."""

    places: FloatArray
    charge: FloatArray
    species: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Specimen:
    """Atoms with a name, a note on where they come from, and the kind of defect at the origin, if there is one."""

    name: str
    atoms: Atoms
    source: str
    defect: str | None = None

    def columns(self) -> Columns:
        """Atoms that lie behind each other along the beam, taken together."""
        flat = self.atoms.positions[:, :2]
        first, second = cKDTree(flat).query_pairs(ONE_COLUMN, output_type="ndarray").T
        links = coo_array((np.ones(len(first)), (first, second)), shape=(len(flat), len(flat)))
        count, label = connected_components(links, directed=False)
        size = np.bincount(label, minlength=count)
        places = np.column_stack([np.bincount(label, one, count) / size for one in flat.T])
        charge = np.bincount(label, self.atoms.numbers, count).astype(np.float64)
        symbols: list[Counter[str]] = [Counter() for _ in range(count)]
        for one, symbol in zip(label, self.atoms.symbols, strict=True):
            symbols[one][symbol] += 1
        return Columns(places, charge, tuple(_formula(one) for one in symbols))


def _formula(count: Counter[str]) -> str:
    return "".join(f"{symbol}{n if n > 1 else ''}" for symbol, n in sorted(count.items()))


def make_specimen(
    structure: str,
    side: float,
    *,
    rotation: float = 0.0,
    zone: tuple[int, int, int] | None = None,
    thickness: float = 15.0,
) -> Specimen:
    """The atoms of a structure within a square around the origin.

    Args:
        structure: one of STRUCTURES, a built-in monolayer, or a structure file.
        side: of the square, Å.
        rotation: of the specimen, counter-clockwise, rad.
        zone: zone axis [uvw] along the beam, of ZnS or a file; None takes ZNS_ZONE, or the file's one layer.
        thickness: of crystals along a zone axis, Å, rounded to whole repeats of that axis.

    Raises:
        UsageError: unknown structure, no direction, or a zone axis for what has none.
        FileError, StructureError: the file cannot be used, or is no layer and has no zone axis.
    """
    if structure == "ZnS":
        cell = bulk("ZnS", "zincblende", a=ZNS_LATTICE, cubic=True)
        return _crystal("ZnS", cell, zone or ZNS_ZONE, thickness, side, rotation, f"zincblende, a = {ZNS_LATTICE} Å")
    if zone is not None:
        if not Path(structure).is_file():
            raise UsageError(f"a zone axis needs ZnS or a structure file, got {structure!r}: leave the zone axis out")
        cell = read_crystal(Path(structure))
        return _crystal(Path(structure).stem, cell, zone, thickness, side, rotation, Path(structure).name)
    if structure in STRUCTURES:
        return graphene(structure.partition("-")[2] or None, side, rotation)
    layer = load_monolayer(structure)
    box = np.zeros((3, 3))
    box[:2, :2], box[2, 2] = layer.cell, layer.thickness + EMPTY
    lifted = layer.positions - [0, 0, layer.positions[:, 2].min()]
    return Specimen(layer.name, cut(Atoms(layer.symbols, lifted, cell=box), (0, 0, 1), 1, side, rotation), layer.source)


def graphene(defect: str | None, side: float, rotation: float = 0.0) -> Specimen:
    """Graphene within a square around the origin, where an atom or a defect is.

    Args:
        defect: None; "vacancy": the atom is missing, its neighbours stay; "Si3": Si for the atom, SI3_HEIGHT above the
            plane, its neighbours SI3_BOND away and all others moved outwards like 1/distance; "Si4": Si in the middle
            of two missing neighbours, 1.88 Å from four C that stay.
        side, rotation: see `make_specimen`.

    Raises:
        UsageError: another defect.
    """
    if defect not in (None, "vacancy", "Si3", "Si4"):
        raise UsageError(f"expected graphene with the defect vacancy, Si3 or Si4, got {defect!r}")
    a, b = BOND * 3**0.5, BOND
    cell = np.array([[a, 0, 0], [-a / 2, 1.5 * b, 0], [0, 0, EMPTY]])
    first = -b / 2 if defect == "Si4" else 0.0
    atoms = cut(Atoms("C2", [(0, first, 0), (0, first + b, 0)], cell=cell), (0, 0, 1), 1, side, rotation)
    if defect is not None:
        atoms = atoms[np.linalg.norm(atoms.positions, axis=1) > b / 1.5]
    if defect == "Si3":
        outwards = (SI3_BOND**2 - SI3_HEIGHT**2) ** 0.5 - b
        r2 = np.sum(atoms.positions[:, :2] ** 2, axis=1)
        atoms.positions[:, :2] *= 1 + outwards * b / r2[:, None]
    if defect in ("Si3", "Si4"):
        atoms += Atoms("Si", [(0, 0, SI3_HEIGHT if defect == "Si3" else 0.0)])
    return Specimen("graphene" + (f"-{defect}" if defect else ""), atoms, f"C-C {BOND} Å", defect)


def _crystal(
    name: str, cell: Atoms, zone: tuple[int, int, int], thickness: float, side: float, rotation: float, source: str
) -> Specimen:
    repeat = float(np.linalg.norm(np.asarray(zone) @ cell.cell.array))
    if not repeat > 0 or not thickness > 0:
        raise UsageError(f"expected a zone axis with a direction and a thickness, got {zone} and {thickness} Å")
    repeats = max(1, round(thickness / repeat))
    note = f"{source}, along [{' '.join(map(str, zone))}], {repeats * repeat:.1f} Å thick"
    return Specimen(name, cut(cell, zone, repeats, side, rotation), note)


def cut(cell: Atoms, zone: ArrayLike, repeats: int, side: float, rotation: float = 0.0) -> Atoms:
    """A slab of a crystal with its zone axis along the beam, z from 0 on.

    Without rotation, x is a, or b if a is the zone axis, less its part along the beam. The cell's origin lies at the
    image's centre.

    Args:
        cell: one cell, with three vectors.
        zone: zone axis [uvw].
        repeats: how many times the vector uvw the slab is thick.
        side: of the square that is filled, Å.
        rotation: counter-clockwise, rad.
    """
    vectors = cell.cell.array
    along = np.asarray(zone) @ vectors
    depth = repeats * float(np.linalg.norm(along))
    z = along / np.linalg.norm(along)
    across = [one - (one @ z) * z for one in vectors[:2]]
    x = next(one for one in across if np.linalg.norm(one) > 1e-3)
    x = x / np.linalg.norm(x)
    frame = np.stack([x, np.cross(z, x), z])
    frame[:2] = rotation_matrix(rotation) @ frame[:2]
    turned = vectors @ frame.T
    inverse = np.linalg.inv(turned)
    reach = np.linalg.norm([side, side, depth]) / 2 + np.abs(turned).sum(axis=0).max()
    most = np.ceil(reach * np.linalg.norm(inverse, axis=0)).astype(int)
    steps = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in most), indexing="ij"), axis=-1).reshape(-1, 3)
    steps += np.rint((0, 0, depth / 2) @ inverse).astype(int)
    places = ((steps @ turned)[:, None] + cell.positions @ frame.T).reshape(-1, 3)
    numbers = np.tile(cell.numbers, len(steps))
    inside = np.all(np.abs(places[:, :2]) <= side / 2, axis=1)
    inside &= (places[:, 2] > -_FACE) & (places[:, 2] < depth - _FACE)
    return Atoms(numbers[inside], places[inside])
