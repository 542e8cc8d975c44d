"""Classes of atoms from frame to frame: how often each became which, with credible intervals, and how long they stay.

Only steps between consecutive frames count, in which the site was seen and its class was sure both times: a gap of g
frames tells of the matrix's g-th power, and is left out. If n_ij steps lead from class i to j, row i of the matrix has
the posterior Dirichlet(n_i1 + 1/2, ..., n_iC + 1/2) (Jeffreys' prior), and each element that of Beta(n_ij + 1/2,
sum of the others + (C - 1)/2). A class is left with the probability q per frame, q ~ Beta(changes + 1/2, stays + 1/2),
and stays 1/q frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from picostem.atoms.species import Classified
from picostem.atoms.track import link_places

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SURE = 0.9  # probability of a class, from which a call counts
LEVEL = 0.95  # of credible intervals
JEFFREYS = 0.5
VACANCY = "V_"  # and the name of the sublattice


@dataclass(frozen=True, eq=False)
class Sightings:
    """What was seen of sites or defects, each array of shape (n,): row and column in pixels, frame, and track.

    species: the class. p_species: its probability, 1 for a vacancy, of which none is known.
    """

    row: FloatArray
    col: FloatArray
    frame: IntArray
    track: IntArray
    species: NDArray[np.str_]
    p_species: FloatArray

    def __len__(self) -> int:
        return len(self.row)

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """The columns of a file."""
        return {
            "track": self.track,
            "frame": self.frame,
            "row": self.row,
            "col": self.col,
            "species": self.species,
            "p_species": self.p_species,
        }


def sites(found: Classified) -> Sightings:
    """Atoms and vacancies together, linked anew: a site whose atom leaves is the same site, and vacant then."""
    table, gone = found.table, found.vacancies
    vacant = np.char.add(VACANCY, gone.sublattice) if len(gone.row) else np.empty(0, dtype="U1")
    row, col = np.concatenate([table.row, gone.row]), np.concatenate([table.col, gone.col])
    frame = np.concatenate([table.frame, gone.frame])
    species = np.concatenate([table.species, vacant])
    probability = np.concatenate([table.p_species, np.ones(len(gone.row))])
    return Sightings(row, col, frame, linked(row, col, frame), species, probability)


def linked(row: FloatArray, col: FloatArray, frame: IntArray) -> IntArray:
    """Tracks of places in pixels, (n,), frames in any order and some without any place."""
    members = [np.flatnonzero(frame == number) for number in range(int(frame.max(initial=-1)) + 1)]
    track = np.full(len(row), -1, dtype=np.int64)
    if members:
        tracks = link_places([np.column_stack([row[mine], col[mine]]) for mine in members])
        track[np.concatenate(members)] = np.concatenate(tracks)
    return track


@dataclass(frozen=True, eq=False)
class Transitions:
    """Steps between classes, from one frame to the next.

    Attributes:
        names: of the C classes. counts: from (rows) and to (columns), shape (C, C). unsure: steps that were left out as
            a class was not sure. wrong: of the counted ones, how many hold a wrong call by the classes' probabilities:
            no more changes than about twice that many need an explanation.
    """

    names: tuple[str, ...]
    counts: IntArray
    unsure: int
    wrong: float

    @property
    def probability(self) -> FloatArray:
        """Posterior mean of the matrix, shape (C, C); rows of classes that no step led from are NaN."""
        posterior = self.counts + JEFFREYS
        mean = posterior / posterior.sum(axis=1, keepdims=True)
        return np.where(self.counts.sum(axis=1, keepdims=True) > 0, mean, np.nan)

    def interval(self, level: float = LEVEL) -> tuple[FloatArray, FloatArray]:
        """Bounds of equal-tailed credible intervals of the matrix's elements, two of shape (C, C); NaN as above.

        One class only stays, with certainty: the matrix is then 1 as it stands.
        """
        posterior = self.counts + JEFFREYS
        others = posterior.sum(axis=1, keepdims=True) - posterior
        seen = self.counts.sum(axis=1, keepdims=True) > 0
        if len(self.names) == 1:
            return (np.where(seen, 1.0, np.nan),) * 2
        low, high = (stats.beta.ppf(q, posterior, others) for q in ((1 - level) / 2, (1 + level) / 2))
        return np.where(seen, low, np.nan), np.where(seen, high, np.nan)

    def dwell(self, level: float = LEVEL) -> FloatArray:
        """Frames that each class stays: posterior median and bounds, shape (C, 3); NaN as above."""
        stays = np.diag(self.counts)
        total = self.counts.sum(axis=1)
        quantiles = np.array([0.5, (1 + level) / 2, (1 - level) / 2])  # of leaving: the longest stay is the last
        leave = stats.beta.ppf(quantiles, (total - stays + JEFFREYS)[:, None], (stays + JEFFREYS)[:, None])
        return np.where(total[:, None] > 0, 1 / leave, np.nan)

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """The columns of a file, one line for each pair of classes."""
        low, high = self.interval()
        source, target = (grid.ravel() for grid in np.meshgrid(self.names, self.names, indexing="ij"))
        return {
            "from": source,
            "to": target,
            "steps": self.counts.ravel(),
            "probability": self.probability.ravel(),
            "low": low.ravel(),
            "high": high.ravel(),
        }

    def as_dict(self) -> dict[str, Any]:
        """For JSON, once `picostem.resolve.serialise.plain` went over it."""
        low, high = self.interval()
        changed = int(self.counts.sum() - np.trace(self.counts))
        return {
            "classes": list(self.names),
            "steps": self.counts,
            "changes": changed,
            "steps_with_wrong_calls": self.wrong,
            "steps_left_out": self.unsure,
            "probability": self.probability,
            "low": low,
            "high": high,
            "level": LEVEL,
            "dwell_frames": self.dwell(),
        }


def transitions(seen: Sightings, names: Sequence[str] = (), sure: float = SURE) -> Transitions:
    """Steps of all tracks between consecutive frames.

    Args:
        names: classes in the order wanted; others follow in that of the alphabet. sure: probability of a class, from
            which a call counts.
    """
    rest = sorted(set(seen.species.tolist()) - set(names))
    order = [name for name in (*names, *rest) if name]
    number = {name: k for k, name in enumerate(order)}
    code = np.array([number.get(name, -1) for name in seen.species.tolist()], dtype=np.int64)
    index = np.lexsort((seen.frame, seen.track))
    a, b = index[:-1], index[1:]
    step = (seen.track[a] == seen.track[b]) & (seen.track[a] >= 0) & (seen.frame[b] == seen.frame[a] + 1)
    a, b = a[step], b[step]
    certain = (code >= 0) & (seen.p_species >= sure)
    counted = certain[a] & certain[b]
    a, b = a[counted], b[counted]
    counts = np.zeros((len(order), len(order)), dtype=np.int64)
    np.add.at(counts, (code[a], code[b]), 1)
    wrong = float(np.sum(1 - seen.p_species[a] * seen.p_species[b]))
    return Transitions(tuple(order), counts, int(np.sum(~counted)), wrong)
