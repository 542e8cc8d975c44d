"""States of molecules on a lattice: a small network on a crop of each, then a Markov random field over neighbours.

The network gives p(s | x_i) of molecule i from its own crop x_i alone, trained with all S states equally frequent. The
field joins these,

    p(s | x) ∝ prod_i p(s_i | x_i) exp(h(s_i))  prod_(i,j) exp(W_k(s_i, s_j)),  k the kind of the bond from i to j,

marginals by loopy belief propagation (Pearl 1988; Murphy, Weiss and Jordan, UAI 1999). h and W are learnt from the
image itself, by expectation maximisation: beliefs, then the h and W that make each molecule's belief likeliest among
those of its neighbours (pseudo-likelihood: Besag 1975, with a mean field: Celeux, Forbes and Peyrard, Pattern Recognit.
36, 131 (2003)). Nobody sets a coupling.

After Ziatdinov, Maksov and Kalinin, npj Comput. Mater. 3, 31 (2017).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize, special
from scipy.spatial import Delaunay

from picostem.errors import DataError, UsageError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SIZE = 21  # pixels a side of a crop
HIDDEN = 64
HELD_OUT = 0.15  # of the crops: to learn how sure the network may be
LONGEST = (
    1.45  # of the median bond: longer ones join no neighbours; the diagonal of a square is 1.41, of a rhombus 1.73
)
ITERATIONS, DAMPING, SETTLED = 200, 0.3, 1e-4  # of belief propagation; change of a message
ROUNDS = 12  # of expectation and maximisation
STILL = 2e-3  # mean change of a probability that ends them
SHRINK, TIE = 5.0, 20.0  # prior: so many times the squares of couplings, and of what sets them apart between kinds of
# bonds, are taken off the log likelihood


def crops(heights: NDArray[np.floating], place: FloatArray, size: int = SIZE) -> FloatArray:
    """Squares around molecules, each of mean 0, all together of variance 1, shape (n, size²).

    Args:
        heights: levelled, shape (rows, columns). place: row and column, pixels, shape (n, 2). size: odd, pixels a side.
    """
    half = np.arange(size) - (size - 1) / 2
    at = [place[:, :1, None] + half[:, None], place[:, 1:, None] + half]
    part = ndimage.map_coordinates(heights, np.broadcast_arrays(*at), order=1, mode="reflect").reshape(len(place), -1)
    part = part - part.mean(axis=1, keepdims=True)
    return np.asarray(part / max(float(part.std()), 1e-12))


@dataclass(frozen=True, eq=False)
class SiteNet:
    """A network of one hidden layer.

    Attributes:
        weights: of both layers, shapes (pixels, hidden) and (hidden, states). offsets: shapes (hidden,) and (states,).
        sharpness: of its probabilities, 1 as they were trained.
    """

    weights: tuple[FloatArray, FloatArray]
    offsets: tuple[FloatArray, FloatArray]
    sharpness: float

    def log_probabilities(self, part: FloatArray) -> FloatArray:
        """ln p(s | crop), shape (n, states); part: from `crops`."""
        hidden = np.maximum(part @ self.weights[0] + self.offsets[0], 0)
        return np.asarray(special.log_softmax(self.sharpness * (hidden @ self.weights[1] + self.offsets[1]), axis=1))


def train_net(part: FloatArray, state: IntArray, seed: int = 0) -> SiteNet:
    """Learn states from crops; some of these are kept to learn how sure it may be (temperature scaling).

    Args:
        part: from `crops`, shape (n, pixels). state: 0, 1, ..., each as frequent as the others, shape (n,).

    Raises:
        UsageError: states that are not 0 to S - 1, two at least.
    """
    from sklearn.neural_network import MLPClassifier

    if len(np.unique(state)) != state.max(initial=0) + 1 or state.min(initial=0) < 0 or state.max(initial=0) < 1:
        raise UsageError(f"expected crops of states 0, 1, ..., two at least, got {np.unique(state).tolist()}")
    order = np.random.default_rng(seed).permutation(len(part))
    kept, used = np.split(order, [int(HELD_OUT * len(part))])
    model = MLPClassifier(
        (HIDDEN,), alpha=1e-2, early_stopping=True, max_iter=60, n_iter_no_change=5, random_state=seed
    )
    model.fit(part[used].astype(np.float32), state[used])
    first, second = (np.asarray(one, dtype=np.float64) for one in model.coefs_)
    below, above = (np.asarray(one, dtype=np.float64) for one in model.intercepts_)
    if second.shape[1] == 1:  # of two states, sklearn has the second one's only
        second, above = np.hstack([0 * second, second]), np.array([0.0, above[0]])

    def surprise(sharpness: float) -> float:
        net = SiteNet((first, second), (below, above), sharpness)
        return -float(np.mean(net.log_probabilities(part[kept])[np.arange(len(kept)), state[kept]]))

    sharpness = optimize.minimize_scalar(surprise, bounds=(0.1, 3.0), method="bounded").x
    return SiteNet((first, second), (below, above), float(sharpness))


@dataclass(frozen=True, eq=False)
class Graph:
    """Bonds between neighbours: molecules first and second that each joins, and its kind, all of shape (bonds,)."""

    count: int
    first: IntArray
    second: IntArray
    kind: IntArray

    @property
    def kinds(self) -> int:
        """How many kinds of bonds there are."""
        return int(self.kind.max(initial=0)) + 1


def neighbour_graph(place: FloatArray, folds: int = 6) -> Graph:
    """Neighbours of molecules on a lattice; bonds of one direction are one kind, all pointing the same way.

    Args:
        place: row and column, pixels, shape (n, 2). folds: neighbours of each, 4 or 6.

    Raises:
        DataError: fewer than four molecules. UsageError: other folds.
    """
    if folds not in (4, 6):
        raise UsageError(f"folds is {folds}; expected 4 or 6")
    if len(place) < 4:
        raise DataError(f"{len(place)} molecules have no neighbours: expected 4 at least")
    corners = Delaunay(place).simplices
    pairs = np.unique(np.sort(corners[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0)
    step = place[pairs[:, 1]] - place[pairs[:, 0]]
    length = np.hypot(*step.T)
    near = length < (1.2 if folds == 4 else LONGEST) * np.median(length)
    pairs, step = pairs[near], step[near]
    angle = np.arctan2(-step[:, 0], step[:, 1])
    start = np.angle(np.mean(np.exp(1j * folds * angle))) / folds
    sector = np.rint((angle - start) / (2 * np.pi / folds)).astype(np.int64) % folds
    back = sector >= folds // 2
    pairs[back] = pairs[back, ::-1]
    return Graph(len(place), pairs[:, 0], pairs[:, 1], sector % (folds // 2))


@dataclass(frozen=True, eq=False)
class Field:
    """h, shape (states,), and W, shape (kinds, states, states), rows the state of a bond's first molecule."""

    own: FloatArray
    coupling: FloatArray

    @classmethod
    def flat(cls, states: int, kinds: int) -> Field:
        """One that prefers nothing."""
        return cls(np.zeros(states), np.zeros((kinds, states, states)))


def beliefs(evidence: FloatArray, graph: Graph, field: Field) -> FloatArray:
    """Probability of each state of each molecule, shape (n, states), by loopy belief propagation.

    Args:
        evidence: ln p(s | x_i), shape (n, states).
    """
    bonds, states = len(graph.first), evidence.shape[1]
    source, target = np.concatenate([graph.first, graph.second]), np.concatenate([graph.second, graph.first])
    other = np.concatenate([np.arange(bonds) + bonds, np.arange(bonds)])
    coupling = np.exp(np.concatenate([field.coupling[graph.kind], field.coupling[graph.kind].transpose(0, 2, 1)]))
    local, message = evidence + field.own, np.zeros((2 * bonds, states))
    for _ in range(ITERATIONS):
        belief = _gathered(local, message, target)
        sent = belief[source] - message[other]
        sent = np.exp(sent - sent.max(axis=1, keepdims=True))
        fresh = np.log(np.einsum("es,est->et", sent, coupling))
        fresh -= special.logsumexp(fresh, axis=1, keepdims=True)
        change = float(np.abs(np.exp(fresh) - np.exp(message)).max(initial=0))
        message = DAMPING * message + (1 - DAMPING) * fresh
        if change < SETTLED:
            break
    return np.asarray(special.softmax(_gathered(local, message, target), axis=1))


def _gathered(local: FloatArray, message: FloatArray, target: IntArray) -> FloatArray:
    belief = local.copy()
    np.add.at(belief, target, message)
    return belief


def learn_field(evidence: FloatArray, graph: Graph) -> tuple[Field, FloatArray]:
    """The field under which an image's molecules are, learnt from that image, and its beliefs, shape (n, states).

    Args:
        evidence: ln p(s | x_i), shape (n, states).
    """
    field, belief = Field.flat(evidence.shape[1], graph.kinds), np.exp(evidence)
    for _ in range(ROUNDS):
        field = _likeliest(belief, graph, field)
        fresh = beliefs(evidence, graph, field)
        change = float(np.abs(fresh - belief).mean())
        belief = fresh
        if change < STILL:
            break
    return field, belief


def _likeliest(belief: FloatArray, graph: Graph, start: Field) -> Field:
    """h and W of the largest pseudo-likelihood, neighbours being as they are believed to be."""
    kinds, states = graph.kinds, belief.shape[1]
    ahead, behind = np.zeros((kinds, graph.count, states)), np.zeros((kinds, graph.count, states))
    np.add.at(ahead, (graph.kind, graph.first), belief[graph.second])
    np.add.at(behind, (graph.kind, graph.second), belief[graph.first])

    def loss(flat: FloatArray) -> tuple[float, FloatArray]:
        own, coupling = flat[:states], flat[states:].reshape(kinds, states, states)
        logit = own + np.einsum("kit,kst->is", ahead, coupling) + np.einsum("kis,kst->it", behind, coupling)
        log = special.log_softmax(logit, axis=1)
        off = np.exp(log) - belief
        slope = np.einsum("is,kit->kst", off, ahead) + np.einsum("kis,it->kst", behind, off)
        apart = coupling - coupling.mean(axis=0)
        gradient = np.concatenate([off.sum(axis=0), (slope + 2 * SHRINK * coupling + 2 * TIE * apart).ravel()])
        prior = SHRINK * np.sum(coupling**2) + TIE * np.sum(apart**2)
        return float(prior - np.sum(belief * log)), gradient

    flat = np.concatenate([start.own, start.coupling.ravel()])
    found = optimize.minimize(loss, flat, jac=True, method="L-BFGS-B", options={"maxiter": 200}).x
    return Field(found[:states], found[states:].reshape(kinds, states, states))
