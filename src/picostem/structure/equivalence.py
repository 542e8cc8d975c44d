"""Which stackings look the same: the one owner of that question.

A stack of two layers is P1 at (1, 0) and P2 at (R, D): R the twist, D the slip. An isometry (W, t) that lays a
projected layer on itself, or one layer on the other, changes the description and not the image:

    layer 1 seen through (W1, t1), layer 2 through (W2, t2):     R' = W1ᵀ R W2,  D' = W1ᵀ (D + R t2 - t1)
    the layers exchanged, P2 = (m, s) P1 and P1 = (n, u) P2:     R' = mᵀ Rᵀ n,   D' = -mᵀ Rᵀ (D + R s - u)

Equivalent slips are those with R' = R. All are meant modulo the lattice. Slips are Cartesian Å in the lower layer's
crystal frame, twists rad, counter-clockwise.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from picostem.errors import UsageError
from picostem.structure.lattice import TIE, images, preferred, shortest, shortest_length
from picostem.structure.monolayer import Monolayer
from picostem.structure.stack import rotation_matrix
from picostem.structure.symmetry import Operation, Projection, isometries, layer_operations, projection, symmetry

FloatArray = NDArray[np.float64]

MISMATCH = 0.05
"""Strain (and rad of twist) up to which two lattices are taken as one, so that a slip is a local registry: MoS2 on WSe2
differ by 4 %; beyond that, the registry changes within a few cells."""

SAME_MATRIX = 0.05
"""Largest difference of the elements of equal operations: those of two different ones differ by 0.26 (30°) and more."""

ROWS = 2048
"""Slips treated at once: 12 operations and 4 copies of each still fit into the processor's cache."""


class SlipEquivalence:
    """The slips that give the same projected bilayer, a finite group of maps D -> Q D + t modulo the lattice.

    Args:
        lower, upper: the layers; one material if `upper` is left out.
        twist: of the upper layer, rad; taken to the nearest angle at which the lattices coincide.
        frame_fixed: whether the frame is that of the image, so that only lattice and exchange of layers remain, instead
            of the crystal frame of layer 1, which is only defined up to that layer's symmetry.

    Attributes:
        cell: rows of the lattice modulo which slips are meant, reduced, Å, shape (2, 2).
        operations: the maps, the identity first.

    Raises:
        UsageError: the layers' lattices differ by more than MISMATCH, so that there is no common slip.
    """

    def __init__(
        self, lower: Monolayer, upper: Monolayer | None = None, twist: float = 0.0, *, frame_fixed: bool = False
    ) -> None:
        bilayer = _Bilayer.of(lower, lower if upper is None else upper, float(twist))
        maps = _fixed_frame_maps(bilayer) if frame_fixed else [*_own_maps(bilayer), *_exchange_maps(bilayer)]
        self.cell: FloatArray = bilayer.cell
        self.operations: tuple[Operation, ...] = _distinct(maps, bilayer.cell)

    @property
    def count(self) -> int:
        """How many slips are equivalent in general; special positions have fewer that differ."""
        return len(self.operations)

    def equivalents(self, slip: ArrayLike) -> FloatArray:
        """All equivalents of one slip that differ modulo the lattice, each as short as can be, shape (n, 2), Å."""
        vectors = shortest(self._orbit(_vectors(slip).reshape(1, 2))[0], self.cell)
        found: list[FloatArray] = []
        for vector in vectors:
            if all(shortest_length(vector - other, self.cell) > TIE for other in found):
                found.append(vector)
        return np.array(found)

    def canonical(self, slip: ArrayLike) -> FloatArray:
        """The one that stands for all equivalents of each slip: the shortest, of those with the largest x, then y."""
        return self.canonical_with_matrix(slip)[0]

    def canonical_with_matrix(self, slip: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """`canonical`, and the orthogonal Q of the map that leads there.

        Args:
            slip: shape (..., 2), Å.

        Returns:
            The representatives, shape (..., 2), and Q, shape (..., 2, 2): a covariance C becomes Q C Qᵀ.
        """
        slips = _vectors(slip)
        matrices = np.array([operation.matrix for operation in self.operations])
        parts = [self._representatives(rows) for rows in _chunks(slips.reshape(-1, 2))]
        chosen = np.concatenate([part[0] for part in parts]).reshape(slips.shape)
        index = np.concatenate([part[1] for part in parts]).reshape(slips.shape[:-1])
        return chosen, matrices[index]

    def distance(self, a: ArrayLike, b: ArrayLike) -> FloatArray:
        """Shortest distance between any equivalents of two slips, Å; shapes (..., 2), broadcast against each other."""
        first, second = np.broadcast_arrays(_vectors(a), _vectors(b))
        pairs = np.concatenate([first, second], axis=-1).reshape(-1, 4)
        lengths = [self._lengths(rows[:, :2], rows[:, 2:]) for rows in _chunks(pairs)]
        return np.asarray(np.concatenate(lengths).reshape(first.shape[:-1]))

    def _orbit(self, slips: FloatArray) -> FloatArray:
        return np.stack([operation(slips) for operation in self.operations], axis=-2)

    def _representatives(self, slips: FloatArray) -> tuple[FloatArray, NDArray[np.intp]]:
        copies = images(self._orbit(slips), self.cell)
        candidates = copies.reshape(len(slips), copies.shape[1] * copies.shape[2], 2)
        index = preferred(candidates)
        return candidates[np.arange(len(slips)), index], index // copies.shape[-2]

    def _lengths(self, a: FloatArray, b: FloatArray) -> FloatArray:
        return np.asarray(shortest_length(a[:, None] - self._orbit(b), self.cell).min(axis=-1))


class SetDistance(NamedTuple):
    """How far two sets of layer positions are apart, Å: root mean square, and the largest of one layer."""

    rms: float
    max: float


def trilayer_distance(a: ArrayLike, b: ArrayLike, layers: Monolayer | Sequence[Monolayer]) -> SetDistance:
    """Distance of two sets of positions of layers that share a lattice, modulo all that projection cannot show.

    That is the lattice, a common translation, the order of the layers and the symmetry of the layers. The common
    translation is the one that makes the root mean square smallest, and so are the order and the operation.

    Args:
        a, b: position of each layer, shape (layers, 2) with two to four layers, Å.
        layers: what they are, one for all, or one each in the order of both sets: a layer and `turned()`, its
            antiparallel one, or different materials. The first one's lattice counts.

    Raises:
        UsageError: the sets do not have the same size, or not two to four layers, or not one position for each layer.
    """
    first, second = _vectors(a), _vectors(b)
    kinds = (layers,) * len(first) if isinstance(layers, Monolayer) else tuple(layers)
    # 4: the number of orders and of lattice choices grows as n! 4^(n - 1).
    if first.shape != second.shape or first.ndim != 2 or not 2 <= len(first) <= 4 or len(kinds) != len(first):
        raise UsageError(
            f"expected two sets of 2 to 4 positions (layers, 2), got {first.shape} and {second.shape} for "
            f"{len(kinds)} layers"
        )
    difference = first - np.array(list(_alike(second, kinds)))
    relative = images(difference[:, 1:] - difference[:, :1], symmetry(projection(kinds[0])).cell)
    choices = np.array(list(itertools.product(range(relative.shape[2]), repeat=len(first) - 1)))
    others = relative[:, np.arange(len(first) - 1), choices]
    residual = np.concatenate([np.zeros_like(others[..., :1, :]), others], axis=-2).reshape(-1, len(first), 2)
    squares = ((residual - residual.mean(axis=1, keepdims=True)) ** 2).sum(axis=-1)
    best = squares[squares.mean(axis=-1).argmin()]
    return SetDistance(float(np.sqrt(best.mean())), float(np.sqrt(best.max())))


def _alike(positions: FloatArray, layers: tuple[Monolayer, ...]) -> Iterator[FloatArray]:
    """Positions of the same layers that look the same: each operation, with each order that it allows.

    An isometry (W, t) that lays layer k on layer l takes k from x to W x - t, where it is l.
    """
    maps = {pair: _isometries(*pair) for pair in itertools.product(set(layers), repeat=2)}
    matrices = [operation.matrix for upper in dict.fromkeys(layers) for operation in maps[layers[0], upper]]
    orders = list(itertools.permutations(range(len(layers))))
    for matrix, order in itertools.product(matrices, orders):
        steps = [
            next((one for one in maps[layers[k], layers[slot]] if _same(one.matrix, matrix)), None)
            for slot, k in enumerate(order)
        ]
        moved = [step.matrix @ positions[k] - step.shift for step, k in zip(steps, order, strict=True) if step]
        if len(moved) == len(order):
            yield np.array(moved)


def _isometries(lower: Monolayer, upper: Monolayer) -> tuple[Operation, ...]:
    """All isometries that lay one layer on the other, none if they are different; one per matrix."""
    own = layer_operations(lower)
    link = Operation(np.eye(2), np.zeros(2)) if lower == upper else _link(projection(lower), projection(upper))
    return () if link is None else tuple(_product(link, operation) for operation in own)


def twist_distance(a: ArrayLike, b: ArrayLike, lower: Monolayer, upper: Monolayer | None = None) -> FloatArray:
    """Smallest difference of any equivalents of two twists, rad, broadcast; one material if `upper` is left out."""
    signs, offsets = _twist_maps(lower, upper or lower)
    equivalents = np.asarray(b, dtype=np.float64)[..., None] * signs + offsets
    difference = np.asarray(a, dtype=np.float64)[..., None] - equivalents
    return np.asarray(np.abs(np.remainder(difference + np.pi, 2 * np.pi) - np.pi).min(axis=-1))


def canonical_twist(twist: ArrayLike, lower: Monolayer, upper: Monolayer | None = None) -> FloatArray:
    """The smallest non-negative of all equivalent twists, rad: within [0, 60°] for 2H layers, [0, 90°] for ReS2."""
    signs, offsets = _twist_maps(lower, upper or lower)
    angles = np.remainder(np.asarray(twist, dtype=np.float64)[..., None] * signs + offsets, 2 * np.pi)
    # 1e-9 rad: rounding puts 0 a little below a full turn.
    return np.asarray(np.where(angles > 2 * np.pi - 1e-9, 0.0, angles).min(axis=-1))


@dataclass(frozen=True)
class _Bilayer:
    """Lower layer, upper layer strained onto its lattice, their operations, and one isometry of lower to upper.

    `rotation` is R, shape (2, 2), `cell` the common lattice.
    """

    cell: FloatArray
    rotation: FloatArray
    lower: tuple[Operation, ...]
    upper: tuple[Operation, ...]
    upper_from_lower: Operation | None

    @classmethod
    def of(cls, lower: Monolayer, upper: Monolayer, twist: float) -> _Bilayer:
        bottom, top = symmetry(projection(lower)), projection(upper)
        rotation, cell = _registry(bottom.cell, symmetry(top).cell, twist, f"{lower.name} and {upper.name}")
        strained = Projection(cell, top.points @ np.linalg.inv(top.cell) @ cell, top.species)
        # TIE: rounding of the cell, when the twist is a symmetry of the lattice.
        if lower == upper and np.abs(cell - bottom.cell).max() < TIE:
            link: Operation | None = Operation(np.eye(2), np.zeros(2))
        else:
            link = _link(projection(lower), strained)
        if link is None:
            own = symmetry(strained).operations
        else:
            own = tuple(_product(_product(link, operation), _inverse(link)) for operation in bottom.operations)
        return cls(bottom.cell, rotation, bottom.operations, own, link)


def _registry(lower: FloatArray, upper: FloatArray, twist: float, names: str) -> tuple[FloatArray, FloatArray]:
    """Rotation at which the lattices coincide best, and the upper cell strained so that they coincide exactly."""
    turned = upper @ rotation_matrix(twist).T
    steps = np.round(turned @ np.linalg.inv(lower))
    unimodular = abs(round(np.linalg.det(steps))) == 1
    mismatch = np.linalg.norm(np.linalg.inv(steps @ lower) @ turned - np.eye(2), 2) if unimodular else np.inf
    if mismatch > MISMATCH:
        raise UsageError(
            f"{names} at a twist of {np.degrees(twist):.2f}° have no common lattice (mismatch {mismatch:.3f}, at most "
            f"{MISMATCH}), so that no slip is defined: compare twists instead"
        )
    left, _, right = np.linalg.svd((np.linalg.inv(upper) @ steps @ lower).T)
    rotation = np.asarray(left @ right)
    return rotation, np.asarray(steps @ lower @ rotation)


def _link(lower: Projection, upper: Projection) -> Operation | None:
    """The isometry nearest to a translation that lays the lower layer on the upper one, if there is any."""
    found = isometries(lower, upper)
    return min(found, key=lambda link: float(np.abs(link.matrix - np.eye(2)).max()), default=None)


def _own_maps(bilayer: _Bilayer) -> Iterator[Operation]:
    rotation = bilayer.rotation
    for below, above in itertools.product(bilayer.lower, bilayer.upper):
        if _same(below.matrix.T @ rotation @ above.matrix, rotation):
            yield Operation(below.matrix.T, below.matrix.T @ (rotation @ above.shift - below.shift))


def _exchange_maps(bilayer: _Bilayer) -> Iterator[Operation]:
    if bilayer.upper_from_lower is None:
        return
    rotation = bilayer.rotation
    ups = [_product(bilayer.upper_from_lower, operation) for operation in bilayer.lower]
    for up, down in itertools.product(ups, map(_inverse, ups)):
        if _same(up.matrix.T @ rotation.T @ down.matrix, rotation):
            matrix = -up.matrix.T @ rotation.T
            yield Operation(matrix, matrix @ (rotation @ up.shift - down.shift))


def _fixed_frame_maps(bilayer: _Bilayer) -> Iterator[Operation]:
    """The identity, and D' = -D - R s - s for layers with P2 = P1 + s that can be exchanged without being turned."""
    yield Operation(np.eye(2), np.zeros(2))
    link = bilayer.upper_from_lower
    if link is not None and _same(link.matrix, np.eye(2)) and any(True for _ in _exchange_maps(bilayer)):
        yield Operation(-np.eye(2), -bilayer.rotation @ link.shift - link.shift)


@lru_cache(maxsize=64)
def _twist_maps(lower: Monolayer, upper: Monolayer) -> tuple[FloatArray, FloatArray]:
    """Signs and offsets of all maps twist -> sign · twist + offset that leave the image as it is."""
    below, above = layer_operations(lower), layer_operations(upper)
    up = below if lower == upper else isometries(projection(lower), projection(upper))
    pairs = [(1.0, one.matrix, other.matrix) for one, other in itertools.product(below, above)]
    pairs += [(-1.0, one.matrix, other.matrix.T) for one, other in itertools.product(up, up)]
    maps: dict[tuple[float, float], float] = {}
    for sign, first, second in pairs:
        # A reflection on one side only would show the upper layer mirrored, which a twist cannot express.
        if np.linalg.det(first) * np.linalg.det(second) > 0:
            turn = first.T @ second
            offset = float(np.arctan2(turn[1, 0], turn[0, 0]))
            maps.setdefault((sign * round(np.linalg.det(first)), round(offset, 6) % round(2 * np.pi, 6)), offset)
    return np.array([sign for sign, _ in maps]), np.array(list(maps.values()))


def _product(second: Operation, first: Operation) -> Operation:
    """The operation that does `first`, then `second`."""
    return Operation(second.matrix @ first.matrix, second.matrix @ first.shift + second.shift)


def _inverse(operation: Operation) -> Operation:
    return Operation(operation.matrix.T, -operation.matrix.T @ operation.shift)


def _same(matrix: FloatArray, other: FloatArray) -> bool:
    return bool(np.abs(matrix - other).max() < SAME_MATRIX)


def _distinct(maps: Iterable[Operation], cell: FloatArray) -> tuple[Operation, ...]:
    """The maps that differ modulo the lattice, the identity first."""
    kept: list[Operation] = []
    for operation in maps:
        # 1e-3 Å: two routes to one map differ by the errors of the coordinates.
        if not any(
            _same(operation.matrix, other.matrix) and shortest_length(operation.shift - other.shift, cell) < 1e-3
            for other in kept
        ):
            kept.append(Operation(operation.matrix, shortest(operation.shift, cell)))
    return tuple(kept)


def _vectors(values: ArrayLike) -> FloatArray:
    vectors = np.asarray(values, dtype=np.float64)
    if vectors.ndim == 0 or vectors.shape[-1] != 2:
        raise UsageError(f"expected vectors (x, y) of shape (..., 2) in Å, got shape {vectors.shape}")
    return vectors


def _chunks(rows: FloatArray) -> list[FloatArray]:
    return [rows[start : start + ROWS] for start in range(0, max(len(rows), 1), ROWS)]
