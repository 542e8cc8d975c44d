"""Random specimens for scenes: crystals of any kind seen along an axis, with the defects that real ones have.

Coordinates are Å in the image frame, x right and y up, origin at the image's centre.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from picostem.structure import Monolayer, hole, load_monolayer, material_names, rotation_matrix
from picostem.structure.crystal import read_crystal

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

KINDS = ("single", "stack", "depleted", "vacancy", "dopant", "adatom")
"""A column of one atom of the cell; of several; of several that lacks some; a site without any atom; a column with an
atom of another element; one with an atom added. In a 2H dichalcogenide: metal, two chalcogens, one chalcogen, ..."""
SINGLE, STACK, DEPLETED, VACANCY, DOPANT, ADATOM = range(len(KINDS))

ZONES = ((0, 0, 1), (1, 0, 0), (0, 1, 0), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1))
LIGHTEST = 5
"""Atomic number; hydrogen to beryllium are not seen."""
SHORTEST_BOND = 1.1
"""Å between an atom and one that is added to it, or that the other grain brings."""
ALIKE = 0.15
"""Difference of the logarithms of two atomic numbers, below which nobody tells the atoms apart."""
HEAVY = (13, 14, 22, 25, 26, 29, 34, 42, 46, 52, 57, 73, 74, 78, 79, 83)
"""Atomic numbers that random lattices, dopants and adatoms are drawn from."""


@dataclass(frozen=True, eq=False)
class Plane:
    """A crystal in projection: rows of the cell, (2, 2), and sites, (k, 2), Å, atomic numbers, (k,)."""

    cell: FloatArray
    sites: FloatArray
    numbers: IntArray

    @property
    def bond(self) -> float:
        """Å from a site to the nearest that is not straight above it, the median over sites."""
        shifts = np.array(list(product(range(-2, 3), repeat=2))) @ self.cell
        distance = np.linalg.norm(self.sites[:, None, None] - self.sites[:, None] - shifts, axis=-1)
        distance[distance < 0.3] = np.inf
        return float(np.median(distance.min(axis=(1, 2))))


@dataclass(frozen=True, eq=False)
class Specimen:
    """Atoms of a field.

    Attributes:
        place: Å, shape (n, 2). numbers: atomic ones, shape (n,). kind: index into KINDS, shape (n,). gone: sites whose
            atom is missing, shape (n,).
    """

    place: FloatArray
    numbers: IntArray
    kind: IntArray
    gone: BoolArray

    @classmethod
    def perfect(cls, place: FloatArray, numbers: IntArray) -> Specimen:
        """Without defects."""
        return cls(place, numbers, np.full(len(place), SINGLE), np.zeros(len(place), dtype=bool))

    def __getitem__(self, chosen: BoolArray) -> Specimen:
        return Specimen(self.place[chosen], self.numbers[chosen], self.kind[chosen], self.gone[chosen])

    def __add__(self, other: Specimen) -> Specimen:
        parts = ((getattr(self, name), getattr(other, name)) for name in ("place", "numbers", "kind", "gone"))
        return Specimen(*(np.concatenate(pair) for pair in parts))


def projected(atoms: Atoms, zone: tuple[int, int, int]) -> Plane:
    """A crystal along a zone axis [uvw], whose indices have no common divisor.

    Two lattice vectors that span the lattice together with the axis, the shortest in projection, are the cell.
    """
    cell, axis = atoms.cell.array, np.asarray(zone)
    along = axis @ cell
    along /= np.linalg.norm(along)
    x = np.cross(along, (0.0, 0.0, 1.0) if abs(along[2]) < 0.9 else (0.0, 1.0, 0.0))
    x /= np.linalg.norm(x)
    frame = np.stack([x, np.cross(along, x)])
    steps = np.array(list(product(range(-2, 3), repeat=3)))
    volume = np.einsum("ijk,k->ij", np.cross(steps[:, None], steps[None]), axis)
    flat = steps @ cell @ frame.T
    length = np.sum(flat**2, axis=1)
    cost = np.where(volume == 1, length[:, None] + length[None], np.inf)
    first, second = np.unravel_index(int(cost.argmin()), cost.shape)
    seen = atoms.numbers >= LIGHTEST
    return Plane(flat[[first, second]], atoms.positions[seen] @ frame.T, atoms.numbers[seen].astype(np.int64))


@cache
def built_in_planes() -> tuple[Plane, ...]:
    """Every built-in monolayer, and common crystals along their zone axes."""
    flat = [_seen_from_above(load_monolayer(name)) for name in material_names()]
    graphene = Plane(2.46 * np.array([[1, 0], [-0.5, 0.75**0.5]]), np.array([[0, 0], [0, 1.42]]), np.array([6, 6]))
    perovskite = Atoms("SrTiO3", scaled_positions=[(0, 0, 0), *_FACES], cell=[3.905] * 3, pbc=True)
    crystals = [
        bulk("Si", "diamond", a=5.431, cubic=True),
        bulk("GaAs", "zincblende", a=5.653, cubic=True),
        bulk("MgO", "rocksalt", a=4.212, cubic=True),
        bulk("Au", "fcc", a=4.078, cubic=True),
        bulk("W", "bcc", a=3.165, cubic=True),
        bulk("Ti", "hcp", a=2.951, c=4.684),
        perovskite,
    ]
    return (*flat, graphene, *(projected(one, zone) for one in crystals for zone in ZONES))


_FACES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5))
"""Ti and three O of a perovskite."""


@cache
def chosen_planes(crystals: tuple[str, ...]) -> tuple[Plane, ...]:
    """Built-in monolayers by name, and crystals of structure files along their zone axes.

    Raises:
        FileError, StructureError: as `read_crystal`.
    """
    built_in = {name.casefold() for name in material_names()}
    planes: list[Plane] = []
    for one in crystals:
        if one.casefold() in built_in:
            planes.append(_seen_from_above(load_monolayer(one)))
        else:
            planes += [projected(read_crystal(Path(one)), zone) for zone in ZONES]
    return tuple(planes)


def _seen_from_above(layer: Monolayer) -> Plane:
    return Plane(layer.cell, layer.positions[:, :2], np.asarray(Atoms(list(layer.symbols)).numbers, dtype=np.int64))


def random_plane(rng: np.random.Generator) -> Plane:
    """A lattice that no crystal needs to have: up to four atoms, none nearer than a bond, in a cell of any shape."""
    while True:
        a, b, angle = rng.uniform(2.2, 7.0), rng.uniform(2.2, 7.0), rng.uniform(1.0, 2.15)
        cell = np.array([[a, 0.0], [b * np.cos(angle), b * np.sin(angle)]])
        count = int(rng.integers(1, 5))
        plane = Plane(cell, rng.random((count, 2)) @ cell, rng.choice(HEAVY, count).astype(np.int64))
        if plane.bond > SHORTEST_BOND:
            return plane


def tiled(plane: Plane, turn: float, shift: FloatArray, half: FloatArray) -> Specimen:
    """A crystal turned (rad) and shifted (Å), over a field that reaches `half` (x, y) Å from the centre."""
    rotation = rotation_matrix(turn)
    cell, sites = plane.cell @ rotation.T, plane.sites @ rotation.T + shift
    reach = np.abs(np.linalg.inv(cell).T) @ (half + np.abs(sites).max(axis=0))
    a, b = (np.arange(-int(n) - 1, int(n) + 2) for n in reach)
    corners = np.stack(np.meshgrid(a, b, indexing="ij"), axis=-1).reshape(-1, 2) @ cell
    place = (corners[:, None] + sites).reshape(-1, 2)
    inside = np.all(np.abs(place) < half, axis=1)
    return Specimen.perfect(place[inside], np.tile(plane.numbers, len(corners))[inside])


def scattered(rng: np.random.Generator, half: FloatArray) -> Specimen:
    """Single atoms without any order, sparse to dense, none nearer to another than a bond."""
    density = np.exp(rng.uniform(np.log(0.004), np.log(0.08)))
    place = rng.uniform(-half, half, (rng.poisson(density * 4 * half.prod()) + 1, 2))
    apart = np.ones(len(place), dtype=bool)
    pairs = cKDTree(place).query_pairs(rng.uniform(SHORTEST_BOND, 3.0), output_type="ndarray")
    apart[pairs[:, 1]] = False
    numbers = rng.choice(rng.choice(HEAVY, 2), len(place))
    return Specimen.perfect(place, numbers)[apart]


def damaged(
    specimen: Specimen,
    half: FloatArray,
    rng: np.random.Generator,
    *,
    most: float = 0.06,
    twin: Callable[[], Specimen] | None = None,
) -> Specimen:
    """A specimen with some of: a second grain (from `twin`), a hole, an edge, vacancies, dopants, adatoms, disorder.

    Args:
        most: largest share of atoms that are missing, and of atoms that are of another element.
    """
    if twin is not None and rng.random() < 0.2:
        specimen = joined(specimen, twin(), half, rng)
    if rng.random() < 0.15:
        specimen = _without_hole(specimen, rng.uniform(-half, half), rng.uniform(3, 15), rng)
    if rng.random() < 0.15:
        normal, far = _direction(rng), 200.0
        inside = -rng.uniform(0, 0.7) * half.min()
        specimen = _without_hole(specimen, normal * (far - inside), far, rng, roughness=0.01)
    if rng.random() < 0.6:
        specimen = with_vacancies(specimen, rng.uniform(0, most), rng)
    if rng.random() < 0.4:
        specimen = with_dopants(specimen, rng.uniform(0, most), rng)
    if rng.random() < 0.3:
        specimen = with_adatoms(specimen, half, rng)
    moved = specimen.place + rng.uniform(0, 0.1) * rng.standard_normal(specimen.place.shape)
    return replace(specimen, place=moved)


def joined(one: Specimen, other: Specimen, half: FloatArray, rng: np.random.Generator) -> Specimen:
    """Two grains on both sides of a line; of atoms nearer than a bond across it, the other grain's goes."""
    normal, middle = _direction(rng), rng.uniform(-0.4, 0.4) * half.min()
    one, other = one[one.place @ normal < middle], other[other.place @ normal >= middle]
    if len(one.place) and len(other.place):
        other = other[cKDTree(one.place).query(other.place)[0] > SHORTEST_BOND]
    return one + other


def with_vacancies(specimen: Specimen, share: float, rng: np.random.Generator) -> Specimen:
    """A share of the atoms is missing, and of a third of these the neighbour too."""
    gone = rng.random(len(specimen.place)) < share
    first = np.flatnonzero(gone & (rng.random(len(gone)) < 1 / 3))
    if len(first) and len(gone) > 1:
        gone[cKDTree(specimen.place).query(specimen.place[first], k=2)[1][:, 1]] = True
    return replace(specimen, gone=specimen.gone | gone)


def with_dopants(specimen: Specimen, share: float, rng: np.random.Generator) -> Specimen:
    """A share of the atoms is of one other element, unless that looks the same."""
    other = int(rng.choice(HEAVY))
    unlike = np.abs(np.log(specimen.numbers / other)) > ALIKE
    hit = (rng.random(len(specimen.place)) < share) & unlike
    numbers, kind = np.where(hit, other, specimen.numbers), np.where(hit, DOPANT, specimen.kind)
    return replace(specimen, numbers=numbers, kind=kind)


def with_adatoms(specimen: Specimen, half: FloatArray, rng: np.random.Generator) -> Specimen:
    """Some atoms more, anywhere, on top of others too."""
    place = rng.uniform(-half, half, (rng.poisson(rng.uniform(0, 0.004) * 4 * half.prod()), 2))
    added = Specimen.perfect(place, rng.choice(HEAVY, len(place)).astype(np.int64))
    return specimen + replace(added, kind=np.full(len(place), ADATOM))


def _without_hole(
    specimen: Specimen, centre: FloatArray, radius: float, rng: np.random.Generator, roughness: float = 0.15
) -> Specimen:
    """Nothing is left within a rough outline."""
    flat = np.column_stack([specimen.place, np.zeros(len(specimen.place))])
    atoms = Atoms(numbers=specimen.numbers, positions=flat)
    atoms.set_array("index", np.arange(len(atoms)))
    kept = np.zeros(len(atoms), dtype=bool)
    kept[hole(atoms, centre, radius, rng, roughness=roughness).arrays["index"]] = True
    return specimen[kept]


def _direction(rng: np.random.Generator) -> FloatArray:
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)])
