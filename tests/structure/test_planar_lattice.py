from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from picostem.structure.lattice import TIE, images, preferred, reduced, refined, shortest, shortest_length
from tests.strategies.structure import seeded, steps, vectors

FloatArray = NDArray[np.float64]


@st.composite
def cells(draw: st.DrawFn) -> FloatArray:
    """Two rows of 2 to 10 Å, from 20° to 160° apart: anything from a square to a far from reduced cell."""
    a, b = draw(st.floats(2, 10)), draw(st.floats(2, 10))
    gamma = np.radians(draw(st.floats(20, 160)))
    return np.array([[a, 0], [b * np.cos(gamma), b * np.sin(gamma)]])


def brute_force(vector: FloatArray, cell: FloatArray, reach: int = 12) -> FloatArray:
    """All equivalents of a vector, far around."""
    start = vector - np.round(vector @ np.linalg.inv(cell)) @ cell
    return start + np.array(list(itertools.product(range(-reach, reach + 1), repeat=2))) @ cell


@seeded
@given(cells())
def test_reduced_cell_spans_the_same_lattice_and_is_short(cell: FloatArray) -> None:
    basis = reduced(cell)
    change = basis @ np.linalg.inv(cell)
    # 1e-9: rounding.
    np.testing.assert_allclose(change, np.round(change), atol=1e-9)
    assert abs(round(np.linalg.det(change))) == 1
    a, b = basis
    assert a @ b <= 1e-9
    assert 2 * abs(a @ b) <= a @ a + 1e-9 and a @ a <= b @ b + 1e-9


def test_reduction_of_a_known_cell() -> None:
    # a hexagonal lattice given by a and b + 3 a
    basis = reduced(np.array([[1.0, 0.0], [2.5, np.sqrt(0.75)]]))
    assert np.linalg.norm(basis, axis=1) == pytest.approx([1, 1])
    assert basis[0] @ basis[1] == pytest.approx(-0.5)


@seeded
@given(cells(), vectors())
def test_shortest_equals_brute_force(cell: FloatArray, vector: FloatArray) -> None:
    basis = reduced(cell)
    expected = np.linalg.norm(brute_force(vector, cell), axis=1).min()
    # TIE: ties are decided within it; the length alone is exact to rounding.
    assert np.linalg.norm(shortest(vector, basis)) == pytest.approx(expected, abs=TIE)
    assert shortest_length(vector, basis) == pytest.approx(expected, abs=1e-9)


@seeded
@given(cells(), st.tuples(st.integers(0, 12), st.integers(0, 12)))
def test_images_hold_all_that_tie(cell: FloatArray, twelfths: tuple[int, int]) -> None:
    basis = reduced(cell)
    vector = np.array(twelfths) / 12 @ basis
    around = brute_force(vector, basis, reach=3)
    lengths = np.linalg.norm(around, axis=1)
    nearest = around[lengths < lengths.min() + 1e-9]
    offered = images(vector, basis)
    # 1e-9 Å: rounding. A point of the lattice itself has one nearest image only.
    assert all(np.linalg.norm(offered - point, axis=1).min() < 1e-9 for point in nearest)


@seeded
@given(cells(), vectors(), steps)
def test_shortest_does_not_depend_on_the_equivalent(cell: FloatArray, vector: FloatArray, step: FloatArray) -> None:
    basis = reduced(cell)
    # 3 TIE: vectors whose ties are decided within TIE; rounding is far smaller.
    np.testing.assert_allclose(shortest(vector + step @ cell, basis), shortest(vector, basis), atol=3 * TIE)


def test_ties_go_to_the_largest_x_then_y() -> None:
    square = np.eye(2) * 2.0
    vectors_on_edges = np.array([[1, 0], [-1, 0.5], [0, -1], [-1, -1]], dtype=float)
    expected = np.array([[1, 0], [1, 0.5], [0, 1], [1, 1]], dtype=float)
    np.testing.assert_allclose(shortest(vectors_on_edges, square), expected, atol=1e-12)


def test_rounding_does_not_decide_a_tie() -> None:
    candidates = np.array([[-1.0, 0.0], [1.0, 1e-16], [1.0 + 1e-15, -1.0e-9]])
    assert preferred(candidates) == 1
    assert preferred(candidates[::-1]) == 0  # the two at x = 1 are one; the first counts


@pytest.mark.parametrize("count", [2, 3, 6])
def test_refined_lattice_of_a_supercell(count: int) -> None:
    basis = reduced(np.array([[3.0, 0.0], [-1.2, 4.0]]))
    supercell = np.diag([count, 1]) @ basis
    translations = np.arange(count)[:, None] * basis[0]
    found = refined(supercell, translations)
    # 1e-9: rounding.
    assert abs(np.linalg.det(found)) == pytest.approx(abs(np.linalg.det(basis)), rel=1e-9)
    change = found @ np.linalg.inv(basis)
    np.testing.assert_allclose(change, np.round(change), atol=1e-9)


def test_refinement_by_no_translation_is_reduction() -> None:
    cell = np.array([[3.0, 0.0], [4.0, 5.0]])
    np.testing.assert_allclose(abs(np.linalg.det(refined(cell, np.zeros((1, 2))))), 15.0)
