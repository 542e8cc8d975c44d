"""What is odd about each atom, and how odd: against the other atoms of its sublattice, with the noise that they have.

Each aspect of an atom is a vector x. The middle m and covariance C of a perfect atom's are those of the three quarters
of its sublattice that are nearest to each other (concentration steps of the minimum covariance determinant, Rousseeuw
and Van Driessen, Technometrics 41 (1999) 212), and

    d² = (x - m)' C^-1 (x - m),   oddness = -log10 P(D² > d²)

where (D²/s)^c has the gamma distribution of power k/2, that of k Gaussians if c = 1 and s = 2; s and c <= 1 are such
that two high quantiles are those of atoms that are not odd. Of rings, which are counted and not measured, P is the
share of atoms with rings as rare.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.spatial import cKDTree

from picostem.atoms.bonds import LARGEST, Bonds, find_bonds
from picostem.atoms.descriptors import Neighbours, patches, zernike, zernike_real
from picostem.atoms.species import OFF_LATTICE, AtomClass
from picostem.atoms.table import AtomTable
from picostem.image import Image

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ASPECTS = ("brightness", "width", "shape", "place", "surroundings", "rings")
NAMED = 3.0
"""An anomaly from which it has a name: one in a thousand of a perfect crystal's atoms has it."""

FOLLOWING = [1, 2]  # aspects that change with brightness, and with what is near
ORDER = 4  # of the Zernike moments that are an atom's shape
LEAST, PER_NUMBER = 16, 4  # atoms that others are odd against, and as many more for each number of the aspect
COMMON = 0.1  # share of a sublattice's atoms, from which a class is not odd for its brightness
AROUND = 24  # atoms of a class whose median is what is usual where they are: slow changes are not odd
MARGIN = 8.0  # widths from the border, nearer to which atoms beyond it mislead the fit of their neighbours, and theirs
NEAR = 0.3  # of the distance between neighbours: how far an atom of a lattice may be from where it is expected
SHELL = 1.2  # of the usual distance to the first neighbour not bonded: how far an image must show the surroundings
RING = 2.0  # longest bonds across a ring
COORDINATION = 8  # neighbours, at most
KEPT, STEPS = 0.75, 10  # share of atoms whose covariance counts, and concentration steps
BULK, TAIL = (0.5, 0.8), (0.7, 0.95)  # quantiles of d² that its distribution goes through, first and in the end
ROUNDS = 6  # in which odd atoms are left out of it
NOISE = 1e-9  # relative: what is more alike is no measurement
TINY = 1e-300


@dataclass(frozen=True, eq=False)
class Anomalies:
    """Of each atom of a table.

    Attributes:
        score: -log10 of the probability that an atom of a perfect crystal is as odd in any of the aspects that could be
            asked; NaN where none could; shape (n,). Beyond log10(n) it is extrapolated. what: the oddest aspect where
            the score is NAMED or more, else empty; shape and width only where no other is odd; shape (n,). oddness: the
            score of each of ASPECTS alone, NaN where it could not be asked, shape (n, 6).
    """

    score: FloatArray
    what: NDArray[np.str_]
    oddness: FloatArray


def shapes(image: Image, table: AtomTable) -> FloatArray:
    """Zernike moments of the patches around an image's atoms, NaN at its border, shape (n, 15).

    Raises:
        UsageError: the table is of an image of another shape.
    """
    return zernike_real(zernike(patches(image, table), ORDER), ORDER)


def anomalies(table: AtomTable, classes: Sequence[AtomClass], basis: FloatArray | None, shape: FloatArray) -> Anomalies:
    """How odd the atoms of an image are, or those of all frames of a movie together.

    Args:
        table, classes, basis: as `picostem.atoms.species.classify` gives them. shape: of each atom, from `shapes` of
            its frame, shape (n, 15).
    """
    oddness = np.full((len(table), len(ASPECTS)), np.nan)
    usual, sublattice = _references(table, classes)
    frames = _frames(table, classes)
    for column, values in enumerate([*_levels(table, classes, frames, usual), _inner(frames, shape)]):
        for mine in _groups(usual):
            oddness[mine, column] = _Perfect.of(values[mine]).oddness(values[mine])
    if basis is not None:
        oddness[:, 3] = _misplaced(table, frames, sublattice, basis)
    oddness[:, 4] = _surroundings(frames, sublattice)
    oddness[:, 5] = _rings(frames, sublattice)
    score = _together(oddness)
    return Anomalies(score, np.where(score >= NAMED, _named(oddness), ""), oddness)


def _named(oddness: FloatArray) -> NDArray[np.str_]:
    """The oddest aspect, shape (n,); width and shape only where no other is odd."""
    known = np.nan_to_num(oddness, nan=-1.0)
    others = np.delete(np.arange(len(ASPECTS)), FOLLOWING)
    explained = known[:, others].max(axis=1) >= NAMED
    known[np.ix_(explained, FOLLOWING)] = -1
    return np.asarray(np.array(ASPECTS)[known.argmax(axis=1)])


def _together(oddness: FloatArray) -> FloatArray:
    """Of the oddest of several aspects, as if they were independent, shape (n,): 1 - (1 - p)^m of the least p of m."""
    asked = np.isfinite(oddness).sum(axis=1)
    least = 10 ** -np.nan_to_num(oddness, nan=0.0).max(axis=1, initial=0)
    chance = -np.expm1(asked * np.log1p(-np.minimum(least, 1 - 1e-12)))
    return np.where(asked > 0, np.maximum(-np.log10(np.maximum(chance, TINY)), 0), np.nan)


def _references(table: AtomTable, classes: Sequence[AtomClass]) -> tuple[IntArray, IntArray]:
    """Of each atom the class that it should be of, and its sublattice, both -1 off the lattice, shape (n,).

    That is its own, or the most like it in brightness of the sublattice's common classes, where its own is rare.
    """
    usual, sublattice = np.full(len(table), -1), np.full(len(table), -1)
    for number, name in enumerate(sorted({one.sublattice for one in classes} - {OFF_LATTICE})):
        own = [k for k, one in enumerate(classes) if one.sublattice == name]
        common = [k for k in own if classes[k].atoms >= COMMON * sum(classes[k].atoms for k in own)]
        for k in own:
            mine = table.species == classes[k].name
            unlike = [abs(np.log(classes[other].intensity / classes[k].intensity)) for other in common]
            usual[mine], sublattice[mine] = common[int(np.argmin(unlike))], number
    return usual, sublattice


def _groups(label: IntArray) -> Iterator[IntArray]:
    """Indices of the atoms of each label that is not negative."""
    for one in np.unique(label[label >= 0]):
        yield np.flatnonzero(label == one)


@dataclass(frozen=True, eq=False)
class _Frame:
    """Atoms of one frame, lengths in Å or else pixels.

    Attributes:
        atoms: their numbers in the table, shape (m,). place: row and column, shape (m, 2). edge: distance from the
            image's border, shape (m,). margin: that from which all of a peak is seen. spacing: of nearest neighbours.
    """

    atoms: IntArray
    place: FloatArray
    edge: FloatArray
    margin: float
    spacing: float
    bonds: Bonds
    neighbours: Neighbours

    @classmethod
    def of(cls, table: AtomTable, atoms: IntArray, elements: NDArray[np.str_] | None) -> _Frame:
        unit = _unit(table)
        place, size = np.column_stack([table.row, table.col])[atoms] * unit, np.array(table.shape) * unit
        edge = np.minimum(place + unit / 2, size - unit / 2 - place).min(axis=1)
        margin = MARGIN * float(np.median(table.width[atoms])) * float(np.sqrt(unit.prod()))
        bonds = find_bonds(place, None if elements is None else elements[atoms])
        neighbours = Neighbours.of(place, COORDINATION + 1)
        spacing = float(np.median(neighbours.distance[:, 0])) if len(atoms) > 1 else 0.0
        return cls(atoms, place, edge, margin, spacing, bonds, neighbours)


def _unit(table: AtomTable) -> FloatArray:
    return np.ones(2) if table.pixel_size is None else np.asarray(table.pixel_size)


def _frames(table: AtomTable, classes: Sequence[AtomClass]) -> list[_Frame]:
    symbols = {one.name: one.element or "" for one in classes}
    known = table.pixel_size is not None and any(symbols.values())
    elements = np.array([symbols[name] for name in table.species.tolist()], dtype=np.str_) if known else None
    return [_Frame.of(table, np.flatnonzero(table.frame == k), elements) for k in np.unique(table.frame)]


def _inner(frames: list[_Frame], values: FloatArray) -> FloatArray:
    """Values of atoms, NaN where not all of the peak is seen, shape (n, k)."""
    out = np.full_like(values, np.nan)
    for frame in frames:
        inner = frame.atoms[frame.edge > frame.margin]
        out[inner] = values[inner]
    return out


def _levels(
    table: AtomTable, classes: Sequence[AtomClass], frames: list[_Frame], usual: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Logarithms of brightness and of width over those of the usual class's atoms nearby, shape (n, 1) each."""
    level = _inner(frames, np.log(np.maximum(np.column_stack([table.intensity, table.width]), TINY)))
    out = np.full_like(level, np.nan)
    for frame in frames:
        species, seen = table.species[frame.atoms], np.isfinite(level[frame.atoms, 0])
        for mine in _groups(usual[frame.atoms]):
            like = np.flatnonzero(seen & (species == classes[usual[frame.atoms[mine[0]]]].name))
            if len(like):
                near = cKDTree(frame.place[like]).query(frame.place[mine], np.arange(min(AROUND, len(like))) + 1)[1]
                middle = np.median(level[frame.atoms[like[near]]], axis=1)
                out[frame.atoms[mine]] = level[frame.atoms[mine]] - middle
    return out[:, :1], out[:, 1:]


def _misplaced(table: AtomTable, frames: list[_Frame], sublattice: IntArray, basis: FloatArray) -> FloatArray:
    """Oddness of places, shape (n,): against the middles of opposite neighbours on the same sublattice.

    Atoms off the lattice are as far from a site of it as they are at least.
    """
    short = basis * _unit(table)
    steps = np.vstack([short, short[0] - np.sign(short[0] @ short[1] or 1.0) * short[1]])
    away, off, farthest = np.full((len(table), 2), np.nan), np.zeros(len(table), dtype=bool), np.inf
    for frame in frames:
        far = NEAR * frame.spacing
        farthest = min(far, farthest)
        inner, label = frame.edge > frame.margin, sublattice[frame.atoms]
        off[frame.atoms[inner & (label < 0)]] = True
        for mine in _groups(np.where(inner, label, -1)):
            away[frame.atoms[mine]] = _away(frame.place[mine], steps, far)
    oddness, least = np.full(len(table), np.nan), [np.nan]
    for mine in _groups(sublattice):
        perfect = _Perfect.of(away[mine])
        oddness[mine] = perfect.oddness(away[mine])
        least.append(perfect.at_distance(farthest))
    oddness[off] = np.fmin.reduce(least)
    return oddness


def _away(place: FloatArray, steps: FloatArray, far: float) -> FloatArray:
    """From the mean middle of opposite neighbours, scaled as if all were there; NaN without any; shape (m, 2).

    place: of one sublattice's atoms, shape (m, 2). steps: to half of the neighbours, shape (3, 2). far: from where a
    neighbour is expected.
    """
    tree = cKDTree(place)
    total, pairs = np.zeros_like(place), np.zeros(len(place))
    for step in steps:
        (after, one), (before, other) = (tree.query(place + s * step, distance_upper_bound=far) for s in (1, -1))
        both = np.isfinite(after) & np.isfinite(before)
        total[both] += (place[one[both]] + place[other[both]]) / 2
        pairs += both
    away = np.full_like(place, np.nan)
    some = pairs > 0
    less = np.sqrt((1 + 0.5 / len(steps)) / (1 + 0.5 / pairs[some]))  # places of atoms have independent errors
    away[some] = (place[some] - total[some] / pairs[some, None]) * less[:, None]
    return away


def _surroundings(frames: list[_Frame], sublattice: IntArray) -> FloatArray:
    """Oddness of the distances to as many neighbours as are bonded, usually, and to the next; and of their angles."""
    oddness = np.full(len(sublattice), np.nan)
    for mine in _groups(sublattice):
        parts = [(frame, np.flatnonzero(np.isin(frame.atoms, mine))) for frame in frames]
        degree = np.concatenate([frame.bonds.degree[own] for frame, own in parts])
        usual = int(np.clip(np.bincount(degree).argmax(), 1, COORDINATION))
        distance = np.concatenate([frame.neighbours.distance[own] for frame, own in parts])[:, : usual + 1]
        edge = np.concatenate([np.where(frame.edge > frame.margin, frame.edge, 0)[own] for frame, own in parts])
        gaps = np.concatenate([frame.neighbours.gaps(usual)[own] for frame, own in parts])[
            :, :-1
        ]  # the last is the rest
        known = np.isfinite(distance).all(axis=1)
        if not known.any():
            continue
        values = np.hstack([np.log(np.maximum(distance, TINY)), gaps])
        values[edge < SHELL * np.median(distance[known, -1])] = np.nan
        oddness[np.concatenate([frame.atoms[own] for frame, own in parts])] = _Perfect.of(values).oddness(values)
    return oddness


def _rings(frames: list[_Frame], sublattice: IntArray) -> FloatArray:
    """-log10 of the share of the sublattice's atoms whose rings are as rare, shape (n,)."""
    counts = np.zeros((len(sublattice), LARGEST + 1), dtype=np.int64)
    seen = np.zeros(len(sublattice), dtype=bool)
    for frame in frames:
        counts[frame.atoms] = frame.bonds.rings()
        seen[frame.atoms] = frame.edge > max(frame.margin, RING * frame.bonds.longest)
    oddness = np.full(len(sublattice), np.nan)
    for mine in _groups(np.where(seen, sublattice, -1)):
        if len(mine) >= LEAST:
            _, which, atoms = np.unique(counts[mine], axis=0, return_inverse=True, return_counts=True)
            as_rare = np.array([atoms[atoms <= n].sum() for n in atoms])
            oddness[mine] = -np.log10(as_rare[which] / len(mine))
    return oddness


@dataclass(frozen=True, eq=False)
class _Perfect:
    """How vectors x of atoms that are not odd are distributed: d² = |whitening (x - middle)|², c and s.

    Not known (NaN) where there are too few, or a number is always the same.
    """

    middle: FloatArray
    whitening: FloatArray
    tail: float
    scale: float

    @classmethod
    def of(cls, values: FloatArray) -> _Perfect:
        """Of vectors, shape (n, k), some of them odd; those with NaN do not count."""
        x = values[np.isfinite(values).all(axis=1)]
        k = values.shape[1]
        middle = np.median(x, axis=0) if len(x) else np.zeros(k)
        spread = 1.4826 * np.median(np.abs(x - middle), axis=0) if len(x) else np.zeros(k)
        if len(x) < LEAST + PER_NUMBER * k or not np.all(spread > NOISE * np.maximum(np.abs(middle), 1)):
            return cls(np.full(k, np.nan), np.eye(k), np.nan, np.nan)
        z = (x - middle) / spread
        squared = (z**2).sum(axis=1)
        for _ in range(STEPS):
            near = z[squared <= np.quantile(squared, KEPT)]
            covariance = np.cov(near.T).reshape(k, k) + 1e-9 * np.eye(k)
            whitening = np.linalg.inv(np.linalg.cholesky(covariance))
            squared = (((z - near.mean(axis=0)) @ whitening.T) ** 2).sum(axis=1)
        return cls(middle + spread * near.mean(axis=0), whitening / spread, *_tail(squared, k))

    def oddness(self, values: FloatArray) -> FloatArray:
        """-log10 of the chance to be as far from the middle, shape (n,)."""
        return self._of_squared((((values - self.middle) @ self.whitening.T) ** 2).sum(axis=1))

    def at_distance(self, length: float) -> float:
        """The least oddness of a vector so long from the middle."""
        strongest = np.linalg.svd(self.whitening, compute_uv=False)
        return float(self._of_squared(np.array([(length * strongest.min()) ** 2]))[0])

    def _of_squared(self, squared: FloatArray) -> FloatArray:
        return _rare((squared / self.scale) ** self.tail, len(self.middle))


def _rare(squared: FloatArray, k: int) -> FloatArray:
    """-log10 of the chance that the squares of k standard normal numbers, halved, add up to so much."""
    return np.asarray(-np.log10(np.maximum(special.gammaincc(k / 2, squared), TINY)))


def _tail(squared: FloatArray, k: int) -> tuple[float, float]:
    """c and s of perfect atoms' d², c no more than the 1 of Gaussians.

    Odd atoms, fewer of which are to be expected than one, are left out, until they are always the same.
    """
    inside = np.ones(len(squared), dtype=bool)
    for turn in range(ROUNDS):
        part = TAIL if turn else BULK
        low, high = np.quantile(squared[inside], part)
        wanted = special.gammaincinv(k / 2, part)
        tail = min(float(np.log(wanted[1] / wanted[0]) / np.log(high / low)), 1.0)
        scale = float(high / wanted[1] ** (1 / tail))
        now = _rare((squared / scale) ** tail, k) < np.log10(len(squared))
        if turn and np.array_equal(now, inside):
            break
        inside = now
    return tail, scale
