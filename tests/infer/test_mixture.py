from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import multivariate_normal

torch = pytest.importorskip("torch")

from picostem.infer.merge import mixture_of  # noqa: E402
from picostem.infer.mixture import (  # noqa: E402
    BROADEST,
    SHARPEST,
    START,
    Outputs,
    negative_log_likelihood,
    outputs_of,
    published_loss,
    raw_size,
)
from picostem.infer.prediction import Prediction  # noqa: E402
from picostem.infer.torus import Torus  # noqa: E402
from tests.infer.made_samples import CELL, LAYER, THREE, TWO  # noqa: E402

ANTIPARALLEL = Torus.of((LAYER, LAYER.turned()))


def outputs(torus: Torus, count: int = 5, deviation: float = 1.0, seed: int = 0) -> Outputs:
    """Random ones in double precision, with standard deviations of around so many Å."""
    generator = torch.Generator().manual_seed(seed)
    size, d = raw_size(3, torus.interfaces), 2 * torus.interfaces
    raw = torch.randn(count, size, generator=generator, dtype=torch.float64)
    own = raw[:, :-1].view(count, 3, -1)
    own[..., 1 + 2 * d :] *= 0.1
    middle, half = math.log(BROADEST * SHARPEST) / 2, math.log(BROADEST / SHARPEST) / 2
    own[..., 1 + 2 * d : 1 + 3 * d] += math.atanh((middle - math.log(deviation)) / half) - START
    return outputs_of(raw, 3, torus.interfaces)


def loss(made: Outputs, slips: np.ndarray, torus: Torus) -> np.ndarray:
    tensors = (torch.as_tensor(np.asarray(values, dtype=np.float64)) for values in (slips, torus.cell, torus.matrices))
    return negative_log_likelihood(made, *tensors).numpy()


@pytest.mark.parametrize("torus", [TWO, ANTIPARALLEL, THREE], ids=["two", "antiparallel", "three"])
def test_slow_oracle(torus: Torus) -> None:
    """Every lattice vector up to two cells away, one after the other; those left out are 3 Å away or more."""
    made = outputs(torus, deviation=0.3)
    slips = np.random.default_rng(1).random((5, torus.interfaces, 2))
    steps = list(itertools.product(itertools.product(range(-2, 3), repeat=2), repeat=torus.interfaces))
    for row in range(2):
        weights = torch.softmax(made.logits[row], 0).numpy()
        p = 0.0
        for weight, mean, factor in zip(weights, made.means[row].numpy(), made.factors[row].numpy(), strict=True):
            normal = multivariate_normal(np.zeros(len(factor)), np.linalg.inv(factor.T @ factor))
            for matrix in torus.matrices:
                p += (
                    weight
                    * normal.pdf(((matrix @ slips[row] - mean + np.array(steps)) @ CELL).reshape(len(steps), -1)).sum()
                )
        assert loss(made, slips, torus)[row] == pytest.approx(
            -math.log(p), abs=1e-6
        )  # six deviations: exp(-6²/2) is 1e-8


@pytest.mark.parametrize("torus", [TWO, THREE], ids=["two", "three"])
def test_which_equivalent_is_the_label_does_not_matter(torus: Torus) -> None:
    made = outputs(torus)
    rng = np.random.default_rng(2)
    slips = rng.random((5, torus.interfaces, 2))
    expected = loss(made, slips, torus)
    for matrix in torus.matrices:
        other = np.einsum("ij,bjx->bix", matrix, slips) + rng.integers(-2, 3, slips.shape)
        np.testing.assert_allclose(loss(made, other, torus), expected, atol=1e-10)  # rounding
    other = ANTIPARALLEL if torus is TWO else Torus(CELL, THREE.matrices[:1])
    turned = np.einsum("ij,bjx->bix", torus.matrices[-1], slips)
    assert np.abs(loss(made, turned, other) - loss(made, slips, other)).min() > 1e-3  # layers that can be told apart


def test_the_density_of_all_stackings_is_one_for_each_order() -> None:
    made = outputs(TWO, count=1, deviation=0.3)
    side = 200
    grid = np.stack(np.meshgrid(*[np.arange(side) / side] * 2), axis=-1).reshape(-1, 1, 2)
    many = Outputs(*(part.expand(len(grid), *part.shape[1:]) for part in made))
    area = abs(np.linalg.det(CELL)) / side**2
    # the sum over a lattice of a smooth periodic function; four copies leave out exp(-6²/2)
    assert np.exp(-loss(many, grid, TWO)).sum() * area == pytest.approx(2, abs=1e-4)


@pytest.mark.parametrize("torus", [TWO, THREE], ids=["two", "three"])
def test_numpy_says_the_same(torus: Torus) -> None:
    """`Prediction.log_density` of the same mixture, where one copy of the cell is enough and no modes are merged."""
    made = outputs(torus, deviation=0.02)
    logits, means, factors, _ = (part.numpy() for part in made)
    weights, modes, covariances = mixture_of(torus, logits, means, factors)
    assert (weights > 0).all()
    near = modes[:, :1] + np.random.default_rng(3).normal(0, 0.002, (5, 4, torus.interfaces, 2))
    prediction = Prediction(torus, modes, covariances, weights, np.zeros(5), np.ones(5, dtype=np.bool_))
    expected = np.stack([-loss(made, near[:, j], torus) for j in range(4)], axis=1)
    np.testing.assert_allclose(prediction.log_density(near), expected, rtol=1e-9)  # rounding


def test_single_precision_is_enough_for_the_sharpest_modes() -> None:
    made = outputs(TWO, deviation=0.003)
    slips = made.means[:, 0].numpy() + 1e-4
    exact = loss(made, slips, TWO)
    single = Outputs(*(part.float() for part in made))
    arrays = (torch.tensor(values, dtype=torch.float32) for values in (slips, CELL, TWO.matrices))
    # positions of 3 Å have errors of 3e-7 Å, a ten-thousandth of the deviations, times exponents below 10
    np.testing.assert_allclose(negative_log_likelihood(single, *arrays), exact, atol=1e-2)


def test_limits_of_the_factors() -> None:
    for value, deviation in ((-50.0, BROADEST), (50.0, SHARPEST)):
        raw = torch.zeros(1, raw_size(1, 1), dtype=torch.float64)
        raw[:, 5:7] = value
        made = outputs_of(raw, 1, 1)
        np.testing.assert_allclose(made.factors[0, 0], np.eye(2) / deviation, rtol=1e-12)  # rounding
    triangle = outputs(THREE).factors
    assert torch.equal(triangle, torch.tril(triangle))
    assert (triangle[..., 1, 0] != 0).all()


def test_gradients_are_those_of_differences() -> None:
    raw = torch.randn(3, raw_size(2, 1), dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    slips, cell, matrices = (
        torch.as_tensor(np.asarray(v, dtype=np.float64)) for v in ([[[0.3, 0.8]]] * 3, CELL, TWO.matrices)
    )
    assert torch.autograd.gradcheck(
        lambda values: negative_log_likelihood(outputs_of(values, 2, 1), slips, cell, matrices), raw.requires_grad_()
    )


def test_published_loss() -> None:
    predicted, labels = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 2.0]])
    assert float(published_loss(predicted, labels)) == 0.5 + 0.5 * 0.5
