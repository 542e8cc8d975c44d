"""Layers of a van der Waals crystal: bonded components that are periodic in exactly two directions.

The bonds are a graph whose edges carry the cell translation that they cross. The translations found around its cycles
are those that map a component onto itself; their rank is its dimension (as in P. M. Larsen et al., Phys. Rev. Materials
3, 034003 (2019), https://doi.org/10.1103/PhysRevMaterials.3.034003).
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray

from picostem.errors import StructureError
from picostem.structure.crystal import find_neighbours, read_crystal
from picostem.structure.lattice import reduced, refined
from picostem.structure.monolayer import Monolayer
from picostem.structure.symmetry import TOLERANCE, Projection, folded, matching_shifts

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

BOND_SCALES = (1.2, 1.15, 1.1, 1.25)
"""A bond is shorter than this times the sum of the covalent radii (B. Cordero et al., Dalton Trans. 2832 (2008)).
Within layers bonds reach 1.14 (Bi2Te3), across the gap they begin at 1.21 (PdTe2). The first that gives only layers
counts."""

EMPTY = 5.5
"""Å between the nuclei of two layers above which they are no neighbours: van der Waals gaps are 2.5 to 3.7 Å."""

TYPICAL_GAP = 3.0
"""Å between the nuclei of neighbouring layers, where the file has no neighbour: the mean of the built-in materials."""

LENGTH_TIE = 1e-3
"""Relative difference up to which two lattice vectors are equally long, so that the file's choice of axes decides."""

DIMENSIONS = ("molecules or single atoms", "chains", "layers", "a three-dimensional network")


def layers_of_file(path: Path) -> tuple[Monolayer, ...]:
    """The layers of the crystal in a structure file, in the order of its atoms.

    Raises:
        FileError, StructureError: the file cannot be used, or the crystal does not consist of layers.
    """
    atoms = read_crystal(path)
    try:
        return exfoliate(atoms, path.name)
    except StructureError as error:
        raise StructureError(f"{path}: {error}") from error


def exfoliate(atoms: Atoms, origin: str) -> tuple[Monolayer, ...]:
    """The layers of a crystal, in the order of its atoms.

    a is the shortest and b the next lattice vector with a · b <= 0. Where that leaves a choice, the side that is up in
    the file and its axes decide; otherwise a layer may be turned upside down. The in-plane origin is the file's.

    Args:
        origin: what the crystal comes from, for `source` and `note`.

    Raises:
        StructureError: the crystal does not consist of layers.
    """
    sheets = [_sheet(atoms, component) for component in _layered_components(atoms)]
    names = [_formula(sheet.atoms) for sheet in sheets]
    kinds = f" ({', '.join(names)})" if len(set(names)) > 1 else ""
    monolayers = []
    for index, sheet in enumerate(sheets):
        spacing, remark = _spacing(sheets, index)
        note = f"layer {index + 1} of {len(sheets)}{kinds} in the cell of {origin}; {remark}"
        monolayers.append(_monolayer(sheet, names[index], spacing, f"file {origin}", note))
    return tuple(monolayers)


@dataclass(frozen=True, eq=False)
class _Component:
    """Bonded atoms, put together across cell boundaries: `offsets` (n, 3), self-translations `basis` (rank, 3)."""

    indices: IntArray
    offsets: IntArray
    basis: IntArray


@dataclass(frozen=True, eq=False)
class _Sheet:
    """One layer with its smallest cell (2, 2), x along the file's first axis, z along the normal and not yet centred.

    The crystal repeats after the height `period`, which is infinite if it does not repeat.
    """

    atoms: Atoms
    cell: FloatArray
    period: float

    @property
    def middle(self) -> float:
        z = self.atoms.positions[:, 2]
        return float(z.min() + z.max()) / 2

    @property
    def thickness(self) -> float:
        return float(np.ptp(self.atoms.positions[:, 2]))


def _layered_components(atoms: Atoms) -> list[_Component]:
    found = {}
    for scale in BOND_SCALES:
        components = _components(atoms, scale)
        if all(len(component.basis) == 2 for component in components):
            return components
        found[scale] = components
    counts = Counter(len(component.basis) for component in found[BOND_SCALES[0]])
    contents = " and ".join(f"{DIMENSIONS[rank]} ({count})" for rank, count in sorted(counts.items()))
    raise StructureError(
        f"expected a crystal of layers, but its bonds form {contents}: give a van der Waals crystal without solvent or "
        f"intercalated atoms, or a single layer with empty space above it"
    )


def _components(atoms: Atoms, scale: float) -> list[_Component]:
    first, second, steps = find_neighbours("ijS", atoms, scale * covalent_radii[atoms.numbers])
    bonds: list[list[tuple[int, IntArray]]] = [[] for _ in range(len(atoms))]
    for i, j, step in zip(first.tolist(), second.tolist(), steps.astype(np.int64), strict=True):
        bonds[i].append((j, step))
    offsets: dict[int, IntArray] = {}
    return [_grown(start, bonds, offsets) for start in range(len(atoms)) if start not in offsets]


def _grown(start: int, bonds: list[list[tuple[int, IntArray]]], offsets: dict[int, IntArray]) -> _Component:
    """The component of one atom, breadth first; `offsets` is filled with the cell in which each atom is met."""
    offsets[start] = np.zeros(3, dtype=np.int64)
    members, queue, cycles = [start], deque([start]), set()
    while queue:
        i = queue.popleft()
        for j, step in bonds[i]:
            reached = offsets[i] + step
            if j not in offsets:
                offsets[j] = reached
                members.append(j)
                queue.append(j)
            elif (cycle := tuple((reached - offsets[j]).tolist())) != (0, 0, 0):
                cycles.add(cycle)
    members.sort()
    return _Component(np.array(members), np.array([offsets[k] for k in members]), _integer_basis(sorted(cycles)))


def _integer_basis(vectors: list[tuple[int, ...]]) -> IntArray:
    """A basis of the lattice that integer vectors generate (Hermite's elimination), shape (rank, 3)."""
    rows = [np.array(vector, dtype=np.int64) for vector in vectors]
    basis: list[IntArray] = []
    for column in range(3):
        while len(active := [row for row in rows if row[column]]) > 1:
            pivot = min(active, key=lambda row: abs(row[column]))
            rows = [row if row is pivot else row - row[column] // pivot[column] * pivot for row in rows]
            rows = [row for row in rows if row.any()]
        basis += active
        rows = [row for row in rows if not row[column]]
    return np.array(basis, dtype=np.int64).reshape(-1, 3)


def _sheet(crystal: Atoms, component: _Component) -> _Sheet:
    minors = np.cross(*component.basis)
    if np.gcd.reduce(minors) != 1:
        raise StructureError("the layers are interwoven nets, which cannot be taken apart")
    edges = component.basis @ crystal.cell.array
    normal = _up(crystal, np.cross(*edges))
    area = float(np.linalg.norm(np.cross(*edges)))
    # x is along the file's first axis that does not stand up (60° from the normal and more), if there is one.
    flat = [vector for vector in crystal.cell.array if abs(vector @ normal) < 0.5 * np.linalg.norm(vector)]
    axis = flat[0] if flat else edges[0]
    along = axis - (axis @ normal) * normal
    along /= np.linalg.norm(along)
    frame = np.array([along, np.cross(normal, along), normal])
    positions = (crystal.positions[component.indices] + component.offsets @ crystal.cell.array) @ frame.T
    layer = Atoms(crystal.numbers[component.indices], positions=positions)
    smallest, kept = _primitive(layer, (edges @ frame.T)[:, :2])
    return _Sheet(layer[kept], smallest, crystal.cell.volume / area if crystal.pbc.all() else np.inf)


def _up(crystal: Atoms, normal: FloatArray) -> FloatArray:
    """The unit normal on the side to which the cell vector points that is the most normal to the layer."""
    unit = normal / np.linalg.norm(normal)
    cosines = crystal.cell.array @ unit / crystal.cell.lengths()
    # Six digits: directions that differ by rounding only are equal, and the first counts.
    return np.asarray(unit * np.sign(cosines[np.abs(cosines).round(6).argmax()]))


def _primitive(layer: Atoms, cell: FloatArray) -> tuple[FloatArray, NDArray[np.intp]]:
    """The smallest cell of a layer, and which atoms to keep: one of each set of translated copies."""
    whole = Projection(reduced(cell), layer.positions, np.array(layer.symbols, dtype=np.str_))
    shifts = np.array([shift for _, shift in matching_shifts(np.eye(3), whole, whole, TOLERANCE)])
    in_plane = shifts[np.abs(shifts[:, 2]) <= TOLERANCE, :2]
    smallest = refined(cell, in_plane)
    copies = round(abs(float(np.linalg.det(cell) / np.linalg.det(smallest))))
    return smallest, folded(whole.points, whole.species, smallest, copies)


def _spacing(sheets: list[_Sheet], index: int) -> tuple[float, str]:
    """Distance to the next layer above, or else below, and a remark that says where the figure comes from."""
    sheet = sheets[index]
    others = [other for k, other in enumerate(sheets) if k != index]
    # A layer's own copy is one period away; others may stand anywhere, and are looked for on both sides.
    steps = [(sheet.period, sheet.thickness)]
    for other in others:
        rise = other.middle - sheet.middle
        above = rise % sheet.period if np.isfinite(sheet.period) else abs(rise)
        steps += [(step, other.thickness) for step in (above, sheet.period - above)]
    near = [step for step, thickness in steps if step - (thickness + sheet.thickness) / 2 < EMPTY]
    if near:
        return min(near), f"spacing {min(near):.3f} Å to the nearest layer"
    return sheet.thickness + TYPICAL_GAP, f"no layer next to it, so that a gap of {TYPICAL_GAP} Å is assumed"


def _monolayer(sheet: _Sheet, name: str, spacing: float, source: str, note: str) -> Monolayer:
    a, b, upside_down = _axes(sheet)
    points = sheet.atoms.positions - (0.0, 0.0, sheet.middle)
    along = a / np.linalg.norm(a)
    across = np.array([-along[1], along[0]]) * (-1.0 if upside_down else 1.0)
    frame = np.array([along, across])
    cell = np.array([a, b]) @ frame.T
    # Rounding, about 1e-16, so that a lies on the axis.
    cell[0, 1] = 0.0
    scaled = points[:, :2] @ frame.T @ np.linalg.inv(cell)
    # 1e-9: a coordinate of 1/2 becomes -1/2, whatever its rounding.
    scaled -= np.floor(scaled + 0.5 + 1e-9)
    heights = points[:, 2] * (-1.0 if upside_down else 1.0)
    return Monolayer(
        name=name,
        cell=cell,
        symbols=tuple(sheet.atoms.symbols),
        positions=np.column_stack([scaled @ cell, heights]),
        layer_spacing=spacing,
        source=source,
        note=f"{note}; turned upside down" if upside_down else note,
    )


def _axes(sheet: _Sheet) -> tuple[FloatArray, FloatArray, bool]:
    """a and b in the sheet's frame, and whether they are right-handed only when seen from below."""
    first, second = reduced(sheet.cell)
    short = [sign * vector for vector in (first, second, first + second) for sign in (1.0, -1.0)]
    longest_a, longest_b = np.linalg.norm([first, second], axis=1) * (1 + LENGTH_TIE)
    pairs = [
        (a, b)
        for a, b in itertools.permutations(short, 2)
        if np.linalg.norm(a) <= longest_a
        and np.linalg.norm(b) <= longest_b
        and a @ b <= LENGTH_TIE * longest_a * longest_b
        and abs(_cross(a, b)) > 0.1 * longest_a * longest_b
    ]

    def preference(pair: tuple[FloatArray, FloatArray]) -> tuple[bool, float, float]:
        a, b = pair
        # Six digits: rounding must not decide.
        return _cross(a, b) < 0, -round(float(a[0]), 6), -round(float(b[0]), 6)

    a, b = min(pairs, key=preference)
    return a, b, bool(_cross(a, b) < 0)


def _cross(a: FloatArray, b: FloatArray) -> float:
    return float(a[0] * b[1] - a[1] * b[0])


def _formula(atoms: Atoms) -> str:
    formula, _ = atoms.symbols.formula.reduce()
    return str(formula.format("metal"))
