from __future__ import annotations

import numpy as np
import pytest

from picostem.errors import UsageError
from picostem.infer.torus import Torus
from picostem.resolve.stacking import Stackings
from picostem.structure import load_monolayer
from tests.infer.made_samples import CELL, LAYER, THREE, TWO


def test_like_layers_exchange() -> None:
    assert TWO.matrices.tolist() == [[[1]], [[-1]]]
    assert THREE.matrices.shape == (6, 2, 2) and THREE.interfaces == 2
    assert Torus.of((LAYER, LAYER.turned())).matrices.tolist() == [[[1]]]


def test_distance_across_the_seam_and_through_the_exchange() -> None:
    a = np.array([[0.99, 0.02]])
    assert TWO.distance(a, np.array([[0.01, 0.02]])) == pytest.approx(0.02 * CELL[0, 0])
    assert TWO.distance(a, -a) == pytest.approx(0, abs=1e-12)  # rounding
    different = Torus.of((LAYER, LAYER.turned()))
    assert different.distance(a, -a) == pytest.approx(np.linalg.norm([[0.02, -0.04]] @ CELL))


@pytest.mark.parametrize("layers", [2, 3])
@pytest.mark.parametrize("material", ["MoS2", "ReS2", "1T'-MoTe2"])
def test_distance_is_that_of_stackings_in_angstrom(layers: int, material: str) -> None:
    stack = (load_monolayer(material),) * layers
    torus, stackings = Torus.of(stack), Stackings(stack)
    a, b = np.random.default_rng(1).uniform(-2, 2, (2, 200, layers - 1, 2))
    expected = stackings.distance(a @ stack[0].cell, b @ stack[0].cell)
    np.testing.assert_allclose(torus.distance(a, b), expected, atol=1e-10)  # rounding


def test_offsets_lead_from_the_reference_to_the_equivalents() -> None:
    rng = np.random.default_rng(2)
    slips, reference = rng.random((5, 2, 2)), rng.random((5, 2, 2))
    reached = reference[:, None] @ CELL + THREE.offsets(slips, reference)
    turns = (reached @ np.linalg.inv(CELL)) - np.einsum("oij,kjx->koix", THREE.matrices, slips)
    np.testing.assert_allclose(turns, np.rint(turns), atol=1e-12)  # rounding


@pytest.mark.parametrize(
    ("cell", "matrices", "message"),
    [
        (np.eye(3), np.ones((1, 1, 1)), "got .3, 3."),
        (np.eye(2), np.ones((1, 1, 2)), r"got \(2, 2\) and \(1, 1, 2\)"),
        (np.eye(2), np.ones((0, 1, 1)), "orders"),
        (np.array([[3.0, 0.0], [2.0, 3.0]]), np.ones((1, 1, 1)), "reduce the cell"),
    ],
)
def test_bad_input(cell: np.ndarray, matrices: np.ndarray, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Torus(cell, matrices)
