"""Sublattices: which atoms a crystal's translations carry into each other, and where one is missing.

A translation of the lattice carries nearly every atom onto an atom of like brightness. The two shortest ones make
chains of neighbours; atoms joined by them are one sublattice, however the image is bent between them. A site whose
neighbours are there, but no atom, is a vacancy.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.csgraph import breadth_first_order, connected_components
from scipy.spatial import cKDTree

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

NEIGHBOURS = 60  # of an atom that translations are looked for among: cells of up to a dozen columns
SAMPLE = 2000  # atoms that they are looked for at
LEAST_ATOMS = 12
NEAR = 0.3  # of the distance between neighbours: how far an atom may be from where it is expected
BINS = 10  # per distance between neighbours, of the map of differences
REGULAR, ALMOST = 0.5, 0.85  # share of atoms that a translation carries onto atoms: at least, and of the best one's
ALIKE = 1.5  # differences of brightness along a translation over those along the BEST share of them, which are noise
BEST = 0.2
MOST = 20  # sublattices
LEAST_SHARE = 0.05  # of the largest sublattice's atoms, that one has at least
SURE = 0.6  # share of the sites around a vacancy that have atoms
ROUNDS = 2  # a vacancy beside one that was found is one, too
AROUND = np.array([step for step in product((-1, 0, 1), repeat=2) if step != (0, 0)])


@dataclass(frozen=True, eq=False)
class Sublattices:
    """Of the atoms of one image; lengths as the places were given.

    Attributes:
        basis: the two shortest translations, rows, shape (2, 2), or None where there is no lattice. label: of each
            atom's sublattice, the brightest one 0, -1 off the lattice, shape (n,). cell: numbers of each atom's cell,
            shape (n, 2). vacancies: places, shape (k, 2). vacancy_label: their sublattices, shape (k,).
    """

    basis: FloatArray | None
    label: IntArray
    cell: IntArray
    vacancies: FloatArray
    vacancy_label: IntArray

    def origin(self, place: FloatArray, label: int) -> FloatArray:
        """Where cell (0, 0) of a sublattice has its atom, shape (2,)."""
        mine = self.label == label
        return np.asarray((place[mine] - self.cell[mine] @ self.basis).mean(axis=0))


def find_sublattices(place: FloatArray, intensity: FloatArray, size: tuple[float, float], margin: float) -> Sublattices:
    """Sublattices of atoms; all are one without a basis if they have no translations.

    Args:
        place: row and column in units of one length, shape (n, 2). intensity: shape (n,). size: of the image in these
            units. margin: from the border, within which an atom may be overlooked.
    """
    n = len(place)
    none = np.zeros(n, dtype=np.int64), np.zeros((n, 2), dtype=np.int64), np.empty((0, 2)), np.empty(0, dtype=np.int64)
    if n < LEAST_ATOMS:
        return Sublattices(None, *none)
    tree = cKDTree(place)
    spacing = float(np.median(tree.query(place, 2)[0][:, 1]))
    basis = _basis(place, intensity, tree, spacing, np.asarray(size))
    if basis is None:
        return Sublattices(None, *none)
    label, cell = _sublattices(place, tree, basis, NEAR * spacing)
    if label.max(initial=-1) < 0:
        return Sublattices(None, *none)
    order = np.argsort([-np.median(intensity[label == one]) for one in range(label.max() + 1)], kind="stable")
    rank = np.append(np.argsort(order), -1)  # label -1 stays
    label = rank[label]
    vacancies = [_vacancies(place, label == one, cell, basis, np.asarray(size), margin) for one in range(len(order))]
    vacant = np.repeat(np.arange(len(order)), [len(some) for some in vacancies])
    sites = np.concatenate(vacancies)
    empty = tree.query(sites)[0] > NEAR * spacing if len(sites) else np.empty(0, dtype=bool)
    return Sublattices(basis, label, cell, sites[empty], vacant[empty])


def _basis(
    place: FloatArray, intensity: FloatArray, tree: cKDTree, spacing: float, size: FloatArray
) -> FloatArray | None:
    """The two shortest translations, or None."""
    some = np.arange(0, len(place), -(-len(place) // SAMPLE))
    found = [_carried(step, place, intensity, tree, some, NEAR * spacing, size) for step in _steps(place, tree, some)]
    shares = np.array([one[1] for one in found])
    if not len(found) or shares.max() < REGULAR:
        return None
    good = [one for one in found if one[1] >= max(REGULAR, ALMOST * shares.max())]
    alike = ALIKE * float(np.quantile([one[2] for one in good], BEST))
    steps = sorted((one[0] for one in good if one[2] <= alike), key=np.linalg.norm)
    for second in steps[1:]:
        first = steps[0]
        if abs(np.linalg.det([first, second])) > 0.1 * np.linalg.norm(first) * np.linalg.norm(second):
            return np.array([first, second])
    return None


def _steps(place: FloatArray, tree: cKDTree, some: IntArray) -> FloatArray:
    """Frequent differences between neighbours, one of each and its opposite, shape (k, 2)."""
    distance, near = tree.query(place[some], min(NEIGHBOURS + 1, len(place)))
    unit = float(np.median(distance[:, 1])) / BINS
    difference = (place[near[:, 1:]] - place[some][:, None]).reshape(-1, 2)
    reach = int(np.ceil(np.median(distance[:, -1]) / unit)) + 1
    bins = np.rint(difference / unit).astype(int)
    bins = bins[np.all(np.abs(bins) <= reach, axis=1)] + reach
    side = 2 * reach + 1
    counts = np.bincount(bins[:, 0] * side + bins[:, 1], minlength=side**2).reshape(side, side).astype(np.float64)
    smooth = ndimage.gaussian_filter(counts, 1.0)
    # a quarter of the atoms, spread over a disc of some bins
    top = (smooth == ndimage.maximum_filter(smooth, 5)) & (smooth > 0.25 * len(some) / (16 * np.pi))
    row, col = (index - reach for index in np.nonzero(top))
    half = (row > 0) | ((row == 0) & (col > 0))
    return np.asarray(np.column_stack([row[half], col[half]]) * unit)


def _carried(
    step: FloatArray,
    place: FloatArray,
    intensity: FloatArray,
    tree: cKDTree,
    some: IntArray,
    near: float,
    size: FloatArray,
) -> tuple[FloatArray, float, float]:
    """A translation made exact, the share of atoms it carries onto others, and how unlike in brightness these are."""
    hit = np.empty(0, dtype=bool)
    for _ in range(2):
        inside = np.all((place[some] + step > near) & (place[some] + step < size - near), axis=1)
        distance, other = tree.query(place[some[inside]] + step)
        hit = distance < near
        if not hit.any():
            return step, 0.0, np.inf
        step = np.median(place[other[hit]] - place[some[inside][hit]], axis=0)
    unlike = float(np.median(np.abs(intensity[other[hit]] - intensity[some[inside][hit]])))
    return step, float(hit.mean()), unlike


def _sublattices(place: FloatArray, tree: cKDTree, basis: FloatArray, near: float) -> tuple[IntArray, IntArray]:
    """Label and cell of each atom: chains of neighbours, chains that lie on the sites of a longer one being part of it.

    The cells of a chain are counted from its first atom, and those of a chain that joins another from that one's.
    """
    n = len(place)
    steps = np.array([(1, 0), (0, 1), (1, -1) if basis[0] @ basis[1] > 0 else (1, 1)])
    pairs = []
    for step in steps:
        distance, other = tree.query(place + step @ basis, distance_upper_bound=near)
        one = np.flatnonzero(np.isfinite(distance))
        pairs.append(np.column_stack([one, other[one]]))
    edges = np.concatenate(pairs)
    graph = sparse.csr_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(n, n))
    chain = connected_components(graph, directed=False)[1]
    cell = _cells(place, graph, chain, basis)
    label = np.full(n, -1, dtype=np.int64)
    sizes = np.bincount(chain)
    count = 0
    for number in np.argsort(-sizes, kind="stable"):
        mine = np.flatnonzero(chain == number)
        if sizes[number] < max(3, LEAST_SHARE * sizes.max()) or count == MOST:
            break
        joined, offset = _joined(place, mine, _Known.of(place, label), label, cell, basis, near)
        if joined < 0:
            joined, count = count, count + 1
        cell[mine] += offset
        label[mine] = joined
    known = _Known.of(place, label)
    for atom in np.flatnonzero(label < 0):
        label[atom], offset = _joined(place, np.array([atom]), known, label, cell, basis, near)
        cell[atom] += offset
    return label, cell


def _cells(place: FloatArray, graph: sparse.csr_array, chain: IntArray, basis: FloatArray) -> IntArray:
    """Numbers of cells, (n, 2), counted along each chain from its first atom."""
    cell = np.zeros((len(place), 2), dtype=np.int64)
    inverse = np.linalg.inv(basis)
    first = np.unique(chain, return_index=True)[1]
    for start in first[np.bincount(chain) > 1]:
        order, before = breadth_first_order(graph, start, directed=False)
        steps = np.rint((place[order[1:]] - place[before[order[1:]]]) @ inverse).astype(np.int64)
        for atom, step in zip(order[1:], steps, strict=True):
            cell[atom] = cell[before[atom]] + step
    return cell


class _Known(NamedTuple):
    """Atoms that are on a sublattice, and a tree of them."""

    atoms: IntArray
    tree: cKDTree

    @classmethod
    def of(cls, place: FloatArray, label: IntArray) -> _Known:
        atoms = np.flatnonzero(label >= 0)
        return cls(atoms, cKDTree(place[atoms]))


def _joined(
    place: FloatArray,
    mine: IntArray,
    known: _Known,
    label: IntArray,
    cell: IntArray,
    basis: FloatArray,
    near: float,
) -> tuple[int, IntArray]:
    """Label of the sublattice on whose sites a chain's atoms lie, or -1, and what their cells' numbers change by."""
    nothing = np.zeros(2, dtype=np.int64)
    if not len(known.atoms):
        return -1, nothing
    atom = mine[np.argmin(known.tree.query(place[mine])[0])]  # the nearest to them: bending adds up with the distance
    around = known.atoms[np.reshape(known.tree.query(place[atom], min(16, len(known.atoms)))[1], -1)]
    away = (place[atom] - place[around]) @ np.linalg.inv(basis)
    miss = np.linalg.norm((away - np.rint(away)) @ basis, axis=1)
    for one in np.unique(label[around]):
        same = label[around] == one
        if np.median(miss[same]) < near:
            nearest = int(np.flatnonzero(same)[0])
            number = cell[around[nearest]] + np.rint(away[nearest]).astype(np.int64)
            taken = np.any(np.all(cell[label == one] == number, axis=1))
            return (-1, nothing) if taken else (int(one), number - cell[atom])
    return -1, nothing


def _vacancies(
    place: FloatArray, mine: NDArray[np.bool_], cell: IntArray, basis: FloatArray, size: FloatArray, margin: float
) -> FloatArray:
    """Sites of a sublattice without an atom among sites with atoms, shape (k, 2)."""
    index = cell[mine] - cell[mine].min(axis=0) + 2
    shape = index.max(axis=0) + 3
    site, full = np.zeros((*shape, 2)), np.zeros(shape, dtype=bool)
    site[index[:, 0], index[:, 1]] = place[mine]
    full[index[:, 0], index[:, 1]] = True
    real = full.copy()
    for _ in range(ROUNDS):
        weight = np.zeros(shape)
        total = np.zeros_like(site)
        for step in AROUND:
            there = np.roll(full, -step, axis=(0, 1))
            weight += there
            total += there[..., None] * (np.roll(site, -step, axis=(0, 1)) - step @ basis)
        guess = total / np.maximum(weight, 1)[..., None]
        beside = guess[..., None, :] + AROUND @ basis
        visible = np.all((beside > margin) & (beside < size - margin), axis=-1).sum(axis=-1)
        inside = np.all((guess > margin) & (guess < size - margin), axis=-1)
        empty = ~full & inside & (weight >= 3) & (weight >= SURE * visible)
        full |= empty
        site[empty] = guess[empty]
    return np.asarray(site[full & ~real])
