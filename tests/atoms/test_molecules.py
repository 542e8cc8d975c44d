"""States of molecules: crops, network, neighbours, and the field against sums over all states."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import special

from picostem.atoms.molecules import (
    Field,
    Graph,
    beliefs,
    crops,
    learn_field,
    neighbour_graph,
    train_net,
)
from picostem.errors import DataError, UsageError


def enumerated(evidence: np.ndarray, graph: Graph, field: Field) -> np.ndarray:
    """Marginals by a sum over all states of all molecules."""
    n, states = evidence.shape
    total = np.zeros((n, states))
    for s in product(range(states), repeat=n):
        energy = sum(evidence[i, s[i]] + field.own[s[i]] for i in range(n))
        energy += sum(
            field.coupling[k, s[i], s[j]] for i, j, k in zip(graph.first, graph.second, graph.kind, strict=True)
        )
        total[np.arange(n), s] += np.exp(energy)
    return total / total.sum(axis=1, keepdims=True)


def drawn(graph: Graph, states: int, strength: float) -> tuple[np.ndarray, Field]:
    rng = np.random.default_rng(5)
    evidence = special.log_softmax(rng.standard_normal((graph.count, states)), axis=1)
    field = Field(0.3 * rng.standard_normal(states), strength * rng.standard_normal((graph.kinds, states, states)))
    return evidence, field


def test_beliefs_are_exact_on_a_tree() -> None:
    tree = Graph(6, np.array([0, 2, 1, 4, 4]), np.array([1, 1, 3, 3, 5]), np.array([0, 1, 1, 0, 1]))
    evidence, field = drawn(tree, 3, 1.5)
    assert beliefs(evidence, tree, field) == pytest.approx(enumerated(evidence, tree, field), abs=2e-4)  # of SETTLED


def test_beliefs_are_near_on_a_patch_of_a_lattice() -> None:
    place = np.array([[r * 8.66, c * 10 + 5 * r] for r in range(3) for c in range(3)])
    patch = neighbour_graph(place)
    assert len(patch.first) == 16
    evidence, field = drawn(patch, 3, 0.5)
    exact = enumerated(evidence, patch, field)
    found = beliefs(evidence, patch, field)
    assert found == pytest.approx(exact, abs=0.05)  # loops
    alone = np.exp(evidence)
    assert np.abs(found - exact).mean() < 0.2 * np.abs(alone - exact).mean()


def test_no_coupling_changes_nothing() -> None:
    graph = neighbour_graph(np.random.default_rng(1).uniform(0, 50, (30, 2)))
    evidence, _ = drawn(graph, 4, 1.0)
    assert beliefs(evidence, graph, Field.flat(4, graph.kinds)) == pytest.approx(np.exp(evidence))


@pytest.mark.parametrize(("folds", "angle"), [(6, 0.0), (6, 0.4), (4, 0.0), (4, 0.7)])
def test_neighbours_and_their_directions(folds: int, angle: float) -> None:
    second = [0.5, np.sqrt(0.75)] if folds == 6 else [0.0, 1.0]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    index = np.stack(np.mgrid[:7, :7], axis=-1).reshape(-1, 2)
    place = 12 * index @ np.array([[1.0, 0.0], second]) @ turn.T
    graph = neighbour_graph(place, folds)
    assert graph.kinds == folds // 2
    degree = np.bincount(np.concatenate([graph.first, graph.second]), minlength=49)
    inner = np.all((index > 0) & (index < 6), axis=1)
    assert np.all(degree[inner] == folds)
    step = place[graph.second] - place[graph.first]
    for kind in range(graph.kinds):
        assert np.ptp(step[graph.kind == kind], axis=0) == pytest.approx(0, abs=1e-9)


def domains(seed: int) -> tuple[Graph, np.ndarray, np.ndarray]:
    """A lattice of three states in stripes, and evidence of which about 70 % is right."""
    rng = np.random.default_rng(seed)
    index = np.stack(np.mgrid[:22, :22], axis=-1).reshape(-1, 2)
    graph = neighbour_graph(10 * index @ np.array([[1.0, 0.0], [0.5, np.sqrt(0.75)]]))
    state = index[:, 0] // 4 % 3
    seen = np.eye(3)[state] + 0.8 * rng.standard_normal((len(state), 3))
    return graph, state, special.log_softmax(seen / 0.8**2, axis=1)


def test_a_field_is_learnt_that_corrects_the_evidence() -> None:
    graph, state, evidence = domains(0)
    field, belief = learn_field(evidence, graph)
    alone, together = (np.mean(p.argmax(axis=1) == state) for p in (evidence, belief))
    assert 0.6 < alone < 0.8
    assert together > 0.9
    like = field.coupling[:, np.eye(3, dtype=bool)].mean() - field.coupling[:, ~np.eye(3, dtype=bool)].mean()
    assert like > 0.5
    assert belief.sum(axis=1) == pytest.approx(1)
    assert beliefs(evidence, graph, field) == pytest.approx(belief)


def test_independent_molecules_are_left_alone() -> None:
    graph, state, _ = domains(0)
    rng = np.random.default_rng(3)
    state = rng.permutation(state)
    evidence = special.log_softmax((np.eye(3)[state] + 0.6 * rng.standard_normal((len(state), 3))) / 0.6**2, axis=1)
    belief = learn_field(evidence, graph)[1]
    alone, together = (np.mean(p.argmax(axis=1) == state) for p in (evidence, belief))
    assert together > alone - 0.03  # what 1500 bonds without order seem to say


def test_crops() -> None:
    heights = np.arange(40.0)[:, None] + 100 * np.arange(50.0)
    part = crops(heights, np.array([[10.0, 20.0], [11.5, 20.0]]), 5).reshape(2, 5, 5)
    assert part.mean(axis=(1, 2)) == pytest.approx(0, abs=1e-12)
    assert part.std() == pytest.approx(1)
    assert part[0] == pytest.approx(part[1])  # half a pixel off, a plane is the same plane
    assert (part[0, 2, 3] - part[0, 2, 2]) / (part[0, 3, 2] - part[0, 2, 2]) == pytest.approx(100)


@pytest.mark.parametrize("states", [2, 3])
def test_a_network_learns_and_knows_how_sure_it_is(states: int) -> None:
    rng = np.random.default_rng(0)
    pattern = rng.standard_normal((states, 25))
    state = rng.integers(states, size=3000)
    part = pattern[state] + 2.5 * rng.standard_normal((3000, 25))
    net = train_net(part[:2000], state[:2000])
    p = np.exp(net.log_probabilities(part[2000:]))
    right = p.argmax(axis=1) == state[2000:]
    assert p.sum(axis=1) == pytest.approx(1)
    best = np.mean((part[2000:] @ pattern.T - (pattern**2).sum(axis=1) / 2).argmax(axis=1) == state[2000:])
    assert right.mean() > best - 0.08
    assert p.max(axis=1).mean() == pytest.approx(right.mean(), abs=0.06)  # 1000 draws: 0.016, and 300 to calibrate


def test_bad_input() -> None:
    with pytest.raises(UsageError, match="two at least"):
        train_net(np.zeros((10, 9)), np.full(10, 2))
    with pytest.raises(UsageError, match="folds"):
        neighbour_graph(np.zeros((9, 2)), 5)
    with pytest.raises(DataError, match="4 at least"):
        neighbour_graph(np.zeros((3, 2)))
