"""Atoms of a movie's frames linked into tracks: one assignment per frame, each track predicting where it goes on.

A track is a level that wanders, seen with a scatter: level(t + 1) = level(t) + walk, place = level + shake, both
Gaussian, with variances per axis that the tracks' own displacements d tell: <d²> = walk + 2 shake, and of consecutive
ones <d d'> = -shake. An atom that vibrates about its site is then expected at the mean of where it was, one that walks
where it was last; what all atoms do together is drift, and taken off first.

A link is worth the logarithm of how much likelier it is than its track unseen and the atom new; the links of a frame
are those that are worth most together. A track that is not seen waits, its prediction growing wider, for some frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from scipy.spatial import cKDTree

from picostem.atoms.table import AtomTable

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MISSED = 0.05  # share of atoms that a frame lacks
BORN = 0.01  # share of atoms that are new in a frame
GAP = 5  # frames that a track may be unseen
START = 0.2  # of the spacing: standard deviation per axis of displacements that the first pass expects
STIFFEST = 0.005  # of the spacing: the same at least, or equal frames would allow no motion at all
PASSES = 3  # over all frames, each with the variances that the last one found
PRIOR = 10  # displacements of a track that count as much as what all tracks do
COMMON = 10  # links that a drift is the median of


def link(tables: Sequence[AtomTable]) -> AtomTable:
    """The atoms of all frames in one table, with `frame` and `track` set; tracks are numbered as they begin.

    Args:
        tables: one for each frame, in order; frames may be empty.

    Raises:
        UsageError: there are no frames, or they differ in shape or pixel size.
    """
    joined = AtomTable.joined(tables)
    return replace(joined, track=np.concatenate(link_places([np.column_stack([one.row, one.col]) for one in tables])))


def link_places(frames: Sequence[FloatArray]) -> list[IntArray]:
    """Number of the track of each place, (n,) for each frame.

    Args:
        frames: places in each frame, row and column, pixels, shape (n, 2).
    """
    every = np.concatenate(frames)
    if not len(every):
        return [np.empty(0, dtype=np.int64) for _ in frames]
    scene = _Scene.of(frames, every)
    motion = Motion(scene.spacing**2 * START**2 / 2, scene.spacing**2 * START**2 / 4)
    for _ in range(PASSES):
        tracks, motion = _follow(frames, scene, motion)
    return tracks


@dataclass(frozen=True)
class Motion:
    """Variances per axis, pixels²: of the walk from a frame to the next, and of the shake about the level."""

    walk: float
    shake: float


@dataclass(frozen=True)
class _Scene:
    """Distance between neighbours, pixels, and new atoms in a frame per pixel."""

    spacing: float
    births: float

    @classmethod
    def of(cls, frames: Sequence[FloatArray], every: FloatArray) -> _Scene:
        area = float(np.prod(np.maximum(np.ptp(every, axis=0), 1)))
        near = [cKDTree(places).query(places, 2)[0][:, 1] for places in frames if len(places) > 1]
        spacing = float(np.median(np.concatenate(near))) if near else float(np.sqrt(area))
        return cls(max(spacing, 1e-6), BORN * len(every) / len(frames) / area)


class _Tracks:
    """The tracks that may still go on, each column of shape (n,) or (n, 2)."""

    def __init__(self) -> None:
        self.number = np.empty(0, dtype=np.int64)
        self.level, self.spread = np.empty((0, 2)), np.empty(0)  # and its variance per axis
        self.place, self.step = np.empty((0, 2)), np.empty((0, 2))  # the last ones; NaN where not seen in that frame
        self.unseen = np.empty(0, dtype=np.int64)  # frames since
        self.moments = np.empty((0, 4))  # sum and number of d², sum and number of d d'

    def keep(self, kept: NDArray[np.bool_]) -> None:
        for name, values in vars(self).items():
            setattr(self, name, values[kept])

    def begin(self, number: IntArray, places: FloatArray, shake: float) -> None:
        n, nothing = len(number), np.full((len(number), 2), np.nan)
        begun = {"number": number, "level": places, "spread": np.full(n, shake), "place": places, "step": nothing}
        begun |= {"unseen": np.zeros(n, dtype=np.int64), "moments": np.zeros((n, 4))}
        for name, values in begun.items():
            setattr(self, name, np.concatenate([getattr(self, name), values]))

    def motion(self, common: Motion, least: float) -> tuple[FloatArray, FloatArray]:
        """Walk and shake of each track: its own as far as known, else that of all."""
        square = (PRIOR * (common.walk + 2 * common.shake) + self.moments[:, 0]) / (PRIOR + self.moments[:, 1])
        turn = (-PRIOR * common.shake + self.moments[:, 2]) / (PRIOR + self.moments[:, 3])
        return _walk_and_shake(square, turn, least)

    def go_on(self, who: IntArray, places: FloatArray, gain: FloatArray) -> None:
        """The tracks `who` are seen at places, the others are not; gain: of the level, (n,)."""
        step = np.full_like(self.step, np.nan)
        step[who] = places - self.place[who]
        turn = np.sum(step * self.step, axis=1)
        for column, values in ((0, np.sum(step**2, axis=1)), (2, turn)):
            known = np.isfinite(values)
            self.moments[known, column] += values[known] / 2  # two axes
            self.moments[known, column + 1] += 1
        self.level[who] += gain[who, None] * (places - self.level[who])
        self.spread[who] *= 1 - gain[who]
        self.place = np.full_like(self.place, np.nan)
        self.place[who] = places
        self.step = step
        self.unseen += 1
        self.unseen[who] = 0


def _follow(frames: Sequence[FloatArray], scene: _Scene, motion: Motion) -> tuple[list[IntArray], Motion]:
    """Tracks of all frames under a motion that is common to begin with, and the motion that they show."""
    alive, out, sums = _Tracks(), [], np.zeros(4)
    count, drift, least = 0, np.zeros(2), (STIFFEST * scene.spacing) ** 2
    for places in frames:
        walk, shake = alive.motion(motion, least)
        alive.spread = alive.spread + walk
        variance = alive.spread + shake
        links, drift = _best(alive.level, variance, places, scene, drift)
        alive.level, alive.place = alive.level + drift, alive.place + drift
        before = alive.moments.sum(axis=0)
        alive.go_on(links[:, 0], places[links[:, 1]], alive.spread / variance)
        sums += alive.moments.sum(axis=0) - before
        tracks = np.full(len(places), -1, dtype=np.int64)
        tracks[links[:, 1]] = alive.number[links[:, 0]]
        new = np.flatnonzero(tracks < 0)
        tracks[new] = count + np.arange(len(new))
        count += len(new)
        alive.keep(alive.unseen <= GAP)
        alive.begin(tracks[new], places[new], motion.shake)
        out.append(tracks)
    if not sums[1]:
        return out, motion
    turn = sums[2] / sums[3] if sums[3] else 0.0
    found = _walk_and_shake(np.array([sums[0] / sums[1]]), np.array([turn]), least)
    return out, Motion(float(found[0][0]), float(found[1][0]))


def _walk_and_shake(square: FloatArray, turn: FloatArray, least: float) -> tuple[FloatArray, FloatArray]:
    """Variances from <d²> and <d d'>; together at least `least`."""
    square = np.maximum(square, least)
    shake = np.clip(-turn, 0, square / 2)
    return square - 2 * shake, shake


def _best(
    level: FloatArray, variance: FloatArray, places: FloatArray, scene: _Scene, last: FloatArray
) -> tuple[IntArray, FloatArray]:
    """Links (track, place) of a frame, shape (k, 2), and the drift: the better one of none and the last to begin with.

    The drift is the median of what links show that may be as far as those of the first pass; of few links it is 0.
    """
    loose = variance + (START * scene.spacing) ** 2
    best, worth, drift = np.empty((0, 2), dtype=np.int64), -1.0, np.zeros(2)
    for start in (np.zeros(2), last) if last.any() else (np.zeros(2),):
        links, _ = _assign(level + start, loose, places, scene.births)
        many = len(links) >= COMMON
        found = np.median(places[links[:, 1]] - level[links[:, 0]], axis=0) if many else np.zeros(2)
        links, value = _assign(level + found, variance, places, scene.births)
        if value > worth:
            best, worth, drift = links, value, found
    return best, drift


def _assign(level: FloatArray, variance: FloatArray, places: FloatArray, births: float) -> tuple[IntArray, float]:
    """The links that are worth most together, (k, 2), and what they are worth.

    A full matching of tracks and atoms to each other, to being unseen, and to being new, in which only links within
    reach are stored: where track i and atom j may be linked, "new j" may be matched with "unseen i", too.
    """
    most = np.log((1 - MISSED) / MISSED) - np.log(2 * np.pi * variance * births)
    reach = np.sqrt(2 * variance * np.maximum(most, 0))
    n, m = len(level), len(places)
    if not n or not m:
        return np.empty((0, 2), dtype=np.int64), 0.0
    near = cKDTree(places).query_ball_point(level, reach)
    i = np.repeat(np.arange(n), [len(some) for some in near])
    j = np.array([k for some in near for k in some], dtype=np.int64)
    worth = most[i] - np.sum((level[i] - places[j]) ** 2, axis=1) / (2 * variance[i])
    i, j, worth = i[worth > 0], j[worth > 0], worth[worth > 0]
    if not len(worth):
        return np.empty((0, 2), dtype=np.int64), 0.0
    zero = worth.max() + 1  # stored elements must not be 0
    alone = np.full(n + m + len(i), zero)
    rows = np.concatenate([i, np.arange(n), n + np.arange(m), n + j])
    columns = np.concatenate([j, m + np.arange(n), np.arange(m), m + i])
    cost = sparse.csr_array((np.concatenate([zero - worth, alone]), (rows, columns)), shape=(n + m, n + m))
    row, column = min_weight_full_bipartite_matching(cost)
    linked = (row < n) & (column < m)
    links = np.column_stack([row[linked], column[linked]]).astype(np.int64)
    return links, float(linked.sum() * zero - cost[links[:, 0], links[:, 1]].sum())
