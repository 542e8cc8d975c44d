"""Bonds and rings of nets that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from picostem.atoms.bonds import LARGEST, Bonds, find_bonds
from tests.atoms.made import FloatArray

BOND = 1.42


def honeycomb(cells: int = 8) -> FloatArray:
    """Graphene, Å."""
    cell = BOND * np.array([[0, 3**0.5], [1.5, 3**0.5 / 2]])
    corners = np.stack(np.mgrid[:cells, :cells], axis=-1).reshape(-1, 1, 2) @ cell
    return (corners + np.array([[0.0, 0.0], [BOND, 0.0]])).reshape(-1, 2)


def inner(place: FloatArray, margin: float) -> np.ndarray:
    middle = (place.max(axis=0) + place.min(axis=0)) / 2
    return np.linalg.norm(place - middle, axis=1) < margin


def sizes(counts: np.ndarray) -> list[int]:
    """Of one atom."""
    return [size for size in range(LARGEST + 1) for _ in range(counts[size])]


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_honeycomb(noise: float) -> None:
    place = honeycomb() + np.random.default_rng(0).normal(0, noise, (128, 2))
    bonds = find_bonds(place)
    assert 1.2 * BOND < bonds.limit < 3**0.5 * BOND
    for atom in np.flatnonzero(inner(place, 4.0)):
        assert bonds.degree[atom] == 3
        assert sizes(bonds.rings()[atom]) == [6, 6, 6]


@pytest.mark.parametrize(("angle", "size", "degree"), [(90, 4, 4), (60, 3, 6)])
def test_lattices_of_one_atom(angle: float, size: int, degree: int) -> None:
    cell = np.array([[1.0, 0.0], [np.cos(np.radians(angle)), np.sin(np.radians(angle))]])
    place = np.stack(np.mgrid[:12, :12], axis=-1).reshape(-1, 2) @ cell * 7.0  # pixels
    place += np.random.default_rng(1).normal(0, 0.3, place.shape)
    bonds = find_bonds(place)
    atom = int(np.flatnonzero(inner(place, 8.0))[0])
    assert bonds.degree[atom] == degree
    assert sizes(bonds.rings()[atom]) == [size] * degree


def test_stone_wales_defect() -> None:
    """A bond turned by 90° makes two pentagons and two heptagons of four hexagons."""
    place = honeycomb()
    bonds = find_bonds(place)
    one, other = (int(i) for i in bonds.pairs[np.flatnonzero(inner(place[bonds.pairs].mean(axis=1), 1.5))[0]])
    ends = [[int(i) for i in bonds.pairs[(bonds.pairs == a).any(axis=1)].ravel() if i not in (one, other)]
            for a in (one, other)]  # fmt: skip
    middle = place[[one, other]].mean(axis=0)
    half = (place[other] - place[one]) @ np.array([[0, 1], [-1, 0]]) / 2
    turned = place.copy()
    turned[[one, other]] = middle - half, middle + half
    # each end keeps one neighbour of the old pair on its side, and gains one of the other's
    near = [sorted(pair, key=lambda i: float((place[i] - middle) @ half)) for pair in ends]
    kept = [tuple(p) for p in bonds.pairs if not {one, other} & set(p.tolist())]
    new = [(one, other), (one, near[0][0]), (one, near[1][0]), (other, near[0][1]), (other, near[1][1])]
    found = Bonds(turned, np.sort(np.array(kept + new), axis=1), bonds.limit).rings()
    assert sizes(found[one]) == sizes(found[other]) == [5, 7, 7]
    assert sorted(sizes(found[near[0][0]])) == [5, 6, 7]
    assert (found[:, 5].sum(), found[:, 7].sum()) == (10, 14)


def test_rings_are_the_shortest_paths_without_the_atom() -> None:
    """In a net with holes, by breadth-first searches one after the other."""
    rng = np.random.default_rng(2)
    place = honeycomb(6)[rng.random(72) > 0.15]
    bonds = find_bonds(place)
    atom, one, other = bonds._corners()
    found = bonds._sizes(atom, one, other)
    bonded = np.zeros((len(place), len(place)))
    bonded[tuple(bonds.pairs.T)] = 1
    for v in np.unique(atom):
        left = bonded.copy()
        left[v] = left[:, v] = 0
        path = sparse.csgraph.shortest_path(sparse.csr_array(left), directed=False, unweighted=True) + 2
        mine = atom == v
        size = path[one[mine], other[mine]]
        assert found[mine].tolist() == np.where(size <= LARGEST, size, 0).tolist()
    assert (found == 0).any() and (found > 6).any()


def test_limits_of_elements() -> None:
    """Si in graphene 1.9 Å from C; two C 1.9 Å apart are not bonded."""
    place = np.array([[0, 0], [1.9, 0], [10, 0], [11.9, 0], [20, 0], [22.3, 0], [30, 0], [32.3, 0], [40, 0], [41, 0]])
    elements = np.array(["C", "Si", "C", "C", "Si", "Si", "C", "Si", "", "C"])
    assert find_bonds(place, elements).pairs.tolist() == [[0, 1], [4, 5], [8, 9]]


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_atoms(n: int) -> None:
    place = np.array([[0.0, 0.0], [0.0, 5.0], [0.0, 10.0]])[:n]
    bonds = find_bonds(place)
    assert len(bonds.pairs) == max(n - 1, 0)
    assert bonds.rings().shape == (n, LARGEST + 1)
    assert not bonds.rings()[:, 1:].any()
