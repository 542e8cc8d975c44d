"""Atoms that were found against those that are there: matched one to one, their places and classes compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from picostem.atoms.species import Classified
from picostem.bench.atoms_case import AtomCase

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.intp]
BoolArray = NDArray[np.bool_]

INNER = 1.5
"""Å from the border that sites lie whose classes are scored."""
BINS = 10
"""Of probabilities, each with as many atoms, that are compared with how often they are right."""


@dataclass(frozen=True, eq=False)
class Detection:
    """Of the columns that an image shows: found, missed; atoms found where there are none; errors of places, found less
    true, pixels, shape (k, 2), over the bound, and over the error that is stated for them."""

    hits: int
    missed: int
    invented: int
    errors: FloatArray
    over_bound: FloatArray
    over_stated: FloatArray

    @property
    def f1(self) -> float:
        """2 hits / (2 hits + missed + invented)."""
        return 2 * self.hits / max(2 * self.hits + self.missed + self.invented, 1)

    @property
    def inside_95(self) -> float | None:
        """Share of coordinates within 1.96 of the stated standard errors; None where none are stated."""
        if not np.isfinite(self.over_stated).any():
            return None
        return float(np.mean(np.abs(self.over_stated) < 1.96))


def matched(found: FloatArray, true: FloatArray, reach: float) -> tuple[IndexArray, IndexArray]:
    """Indices of pairs no further apart than `reach`: as many as there can be, with the least sum of squares."""
    if not len(found) or not len(true):
        return np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp)
    near = cKDTree(found).sparse_distance_matrix(cKDTree(true), reach, output_type="coo_matrix")
    n = len(found)
    size = n + len(true)
    graph = sparse.coo_array((np.ones(near.nnz), (near.row, near.col + n)), shape=(size, size))
    label = csgraph.connected_components(graph, directed=False)[1]
    order = np.argsort(label[near.row], kind="stable")
    cuts = np.flatnonzero(np.diff(label[near.row][order])) + 1
    pairs = []
    for edges in np.split(order, cuts):
        rows, row = np.unique(near.row[edges], return_inverse=True)
        columns, column = np.unique(near.col[edges], return_inverse=True)
        cost = np.zeros((len(rows), len(columns)))
        cost[row, column] = (near.data[edges] / reach) ** 2 - size
        one, other = linear_sum_assignment(cost)
        kept = cost[one, other] < 0
        pairs.append(np.stack([rows[one[kept]], columns[other[kept]]], axis=1))
    both = np.concatenate(pairs).astype(np.intp) if len(near.data) else np.empty((0, 2), dtype=np.intp)
    return both[:, 0], both[:, 1]


def detection(
    found: FloatArray,
    stated: FloatArray,
    true: FloatArray,
    bound: FloatArray,
    sure: BoolArray,
    reach: float,
) -> Detection:
    """Score of places; columns that are not sure to be seen count neither when they are found nor when they are not.

    Args:
        found, true: pixels, shapes (m, 2) and (n, 2). stated, bound: variances of row and column, pixels², of these
            shapes. sure: shape (n,). reach: pixels.
    """
    i, j = matched(found, true, reach)
    hit = sure[j]
    errors = found[i[hit]] - true[j[hit]]
    return Detection(
        int(hit.sum()),
        int(sure.sum() - hit.sum()),
        len(found) - len(i),
        errors,
        errors / np.sqrt(bound[j[hit]]),
        errors / np.sqrt(stated[i[hit]]),
    )


@dataclass(frozen=True, eq=False)
class Calls:
    """Sites of known class and what was said of them: `nothing` if they were overlooked. Shapes (n,); probability NaN
    where none was given."""

    true: NDArray[np.str_]
    called: NDArray[np.str_]
    probability: FloatArray

    @classmethod
    def joined(cls, parts: Sequence[Calls]) -> Calls:
        """All of them."""
        return cls(*(np.concatenate([getattr(one, name) for one in parts]) for name in cls.__dataclass_fields__))

    def f1(self, name: str) -> float:
        """Of a class."""
        true, called = self.true == name, self.called == name
        return float(2 * np.sum(true & called) / max(np.sum(true) + np.sum(called), 1))

    @property
    def classes(self) -> list[str]:
        """That there are, the commonest first."""
        names, counts = np.unique(self.true[self.true != "nothing"], return_counts=True)
        return [str(names[k]) for k in np.argsort(-counts, kind="stable")]

    @property
    def macro_f1(self) -> float:
        """Mean of all classes' F1."""
        return float(np.mean([self.f1(name) for name in self.classes]))

    def reliability(self) -> FloatArray:
        """Of bins with as many calls each: number, mean probability, share that is right, shape (bins, 3)."""
        known = np.isfinite(self.probability)
        order = np.argsort(self.probability[known], kind="stable")
        right = (self.true == self.called)[known][order]
        parts = zip(np.array_split(self.probability[known][order], BINS), np.array_split(right, BINS), strict=True)
        return np.array([(len(p), p.mean(), r.mean()) for p, r in parts if len(p)]).reshape(-1, 3)

    @property
    def ece(self) -> float | None:
        """Expected calibration error: mean distance of probability and share over the bins, weighted by their numbers;
        None where no probability was given."""
        bins = self.reliability()
        return float(np.average(np.abs(bins[:, 1] - bins[:, 2]), weights=bins[:, 0])) if len(bins) else None


def calls(found: Classified, case: AtomCase) -> Calls:
    """What was said of a case's sites; atoms where no site is are called without being there."""
    table, gone = found.table, found.vacancies
    place = np.concatenate([np.column_stack([table.row, table.col]), np.column_stack([gone.row, gone.col])])
    said = [_called(name) for name in table.species.tolist()] + [f"no {name}" for name in gone.sublattice.tolist()]
    named = np.array(said, dtype=np.str_)
    p = np.concatenate([table.p_species, np.full(len(gone.row), np.nan)])
    i, j = matched(place, case.place, case.reach)
    inner = case.inside(INNER)
    called, probability = np.full(len(case.place), "nothing", dtype="U32"), np.full(len(case.place), np.nan)
    called[j], probability[j] = named[i], p[i]
    left = np.setdiff1d(np.arange(len(table)), i)
    far = INNER / case.pixel - 0.5
    left = left[np.all((place[left] > far) & (place[left] < np.array(table.shape) - 1 - far), axis=1)]
    return Calls(
        np.concatenate([case.truth_class[inner], np.full(len(left), "nothing")]),
        np.concatenate([called[inner], named[left]]),
        np.concatenate([probability[inner], p[left]]),
    )


def _called(species: str) -> str:
    """The class that a name of `picostem.atoms.species` means."""
    base = species.rstrip("0123456789")
    return f"{base[:-1]}, other" if base.endswith(("+", "-")) else species
