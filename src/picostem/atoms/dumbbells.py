"""Dumbbells: pairs of atoms nearer to each other than to others. Their lengths, angles and asymmetries, with errors.

Of a pair with places p1, p2, their covariances C1, C2 and the covariance X between them,

    length = |d|, d = p2 - p1,   var(length) = u·Cu,   var(angle) = n·Cn / length²,   C = C1 + C2 - X - Xᵀ,

u along d and n across; asymmetry = ln(I1 / I2). X matters where peaks overlap: the table has C1 and C2 of the joint
fit, and the correlation between the two is that of the Fisher information of a pair of such peaks on their background.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from picostem.atoms.background import Grid
from picostem.atoms.fisher import information, regular
from picostem.atoms.peaks import Peaks, render
from picostem.atoms.table import AtomTable
from picostem.physics import DEGREE

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

QUANTITIES = ("length", "angle", "asymmetry")
RATIO = 1.2  # of the next distance to that within a pair, at least
VALLEY = 0.08  # share of distances in the middle third between the two, at most: 0.17 where there is but one kind
PAIRED = 0.2  # share of the atoms that are in pairs, at least
LEAST_ATOMS = 12
SAMPLED = 2.0  # pixels, standard deviation of a peak that the information is computed with
FAINTEST = 1e-3  # of the brightest pixel: what the model has at least


@dataclass(frozen=True, eq=False)
class Dumbbells:
    """Dumbbells of all frames, each array of shape (k,) unless it says otherwise.

    Attributes:
        atoms: rows of the table, shape (k, 2); the second one lies from the first towards the common direction.
        frame: and number: of the dumbbell, the same in all frames that show the same two tracks.
        row, col: of the middle, pixels.
        value, sigma: length (Å or pixels), angle (rad, from x to y, which points up) and asymmetry ln(I1 / I2), and
            their standard errors, shape (k, 3).
        unit: of lengths. limit: distance below which two atoms are a pair, or None where there are no dumbbells.
    """

    atoms: IntArray
    frame: IntArray
    number: IntArray
    row: FloatArray
    col: FloatArray
    value: FloatArray
    sigma: FloatArray
    unit: str
    limit: float | None

    def __len__(self) -> int:
        return len(self.frame)

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """The columns of a file; angles are in degrees."""
        length = f"length_{self.unit}"
        out: dict[str, NDArray[np.generic]] = {
            "dumbbell": self.number,
            "frame": self.frame,
            "row": self.row,
            "col": self.col,
        }
        for k, (name, scale) in enumerate(((length, 1.0), ("angle_deg", DEGREE), ("asymmetry", 1.0))):
            out |= {name: self.value[:, k] / scale, f"{name}_sigma": self.sigma[:, k] / scale}
        return out


def find_dumbbells(table: AtomTable, zero: float = 0.0) -> Dumbbells:
    """The dumbbells of an image or a movie; none where distances between neighbours are all of one kind.

    Two atoms are a pair if each is the other's nearest and no third one is as near; how near that is, is where the
    distances to the nearest and the second nearest atom leave a gap. In a movie, two tracks that are a pair mostly are
    one in every frame that shows both. Pairs that the fit could not tell apart are left out.

    Args:
        zero: grey level of no electrons, as `picostem.atoms.recording` measures it.
    """
    unit = np.ones(2) if table.pixel_size is None else np.asarray(table.pixel_size)
    place = np.column_stack([table.row, table.col])
    frames = [np.flatnonzero(table.frame == frame) for frame in np.unique(table.frame)]
    near = [_nearest(place[mine] * unit) for mine in frames]
    limit = _limit(np.concatenate([np.empty((0, 2)), *(distance for distance, _ in near)]))
    none = np.empty((0, 2), dtype=np.int64)
    paired = [none] * len(frames)
    if limit is not None:
        paired = [mine[_pairs(*one, limit)] for mine, one in zip(frames, near, strict=True)]
        if 2 * sum(map(len, paired)) < PAIRED * len(table):
            limit, paired = None, [none] * len(frames)
        elif len(frames) > 1 and table.track.min() >= 0:
            paired = _followed(table, np.concatenate(paired), frames)
        known = np.isfinite(table.covariance).all(axis=(1, 2)) & np.isfinite(table.intensity_sigma)
        paired = [some[known[some].all(axis=1)] for some in paired]
    shared = [_shared(table, pairs, zero) for pairs in paired]
    places = np.concatenate([np.empty((0, 2, 2)), *(one for one, _ in shared)])
    bright = np.concatenate([np.empty(0), *(one for _, one in shared)])
    return _measured(table, np.concatenate([none, *paired]), unit, places, bright, limit)


def _nearest(place: FloatArray) -> tuple[FloatArray, IntArray]:
    """Distances of the two nearest atoms, (n, 2), and the nearest one's number, (n,)."""
    if len(place) < 3:
        return np.full((len(place), 2), np.inf), np.zeros(len(place), dtype=np.int64)
    distance, index = cKDTree(place).query(place, 3)
    return distance[:, 1:], index[:, 1]


def _limit(near: FloatArray) -> float | None:
    """Distance in the gap between pairs and others; None without one.

    Otsu's threshold of the logarithms of the distances to the two nearest atoms; a gap is nearly empty.
    """
    values = np.sort(np.log(near[np.isfinite(near) & (near > 0)]))
    if len(values) < 2 * LEAST_ATOMS:
        return None
    below = np.arange(1, len(values))
    mean = np.cumsum(values)[:-1] / below
    rest = (values.sum() - np.cumsum(values)[:-1]) / (len(values) - below)
    cut = int(np.argmax(below * (len(values) - below) * (mean - rest) ** 2)) + 1
    low, high = float(np.median(values[:cut])), float(np.median(values[cut:]))
    third = (high - low) / 3
    between = float(np.mean((values > low + third) & (values < high - third)))
    return float(np.exp((low + high) / 2)) if third > np.log(RATIO) / 3 and between < VALLEY else None


def _pairs(distance: FloatArray, nearest: IntArray, limit: float) -> IntArray:
    """Pairs of a frame's atoms, (k, 2)."""
    own = np.arange(len(nearest))
    alone = (distance[:, 0] < limit) & (distance[:, 1] > limit)
    chosen = alone & (nearest[nearest] == own) & alone[nearest] & (own < nearest)
    return np.column_stack([own[chosen], nearest[chosen]])


def _followed(table: AtomTable, pairs: IntArray, frames: list[IntArray]) -> list[IntArray]:
    """Pairs of the same two tracks in all frames: each track with the one it is paired with most often."""
    keys, count = np.unique(np.sort(table.track[pairs], axis=1), axis=0, return_counts=True)
    partner: dict[int, int] = {}
    for a, b in keys[np.argsort(-count, kind="stable")].tolist():
        if a not in partner and b not in partner:
            partner |= {a: b, b: a}
    out = []
    for mine in frames:
        at = dict(zip(table.track[mine].tolist(), mine.tolist(), strict=True))
        some = [(row, at[partner[track]]) for track, row in at.items() if track < partner.get(track, -1) in at]
        out.append(np.array(some, dtype=np.int64).reshape(-1, 2))
    return out


def _shared(table: AtomTable, pairs: IntArray, zero: float) -> tuple[FloatArray, FloatArray]:
    """Covariance of the first with the second atom's place, pixels², (k, 2, 2), and of their intensities, (k,)."""
    if not len(pairs):
        return np.empty((0, 2, 2)), np.empty(0)
    first, second = pairs.T
    one, other, both = _information(table, pairs, zero)
    joint = np.linalg.inv(regular(np.block([[one, both], [both.transpose(0, 2, 1), other]])))
    own, its = np.linalg.cholesky(joint[:, 1:3, 1:3]), np.linalg.cholesky(joint[:, 4:6, 4:6])
    correlation = np.linalg.inv(own) @ joint[:, 1:3, 4:6] @ np.linalg.inv(its).transpose(0, 2, 1)
    roots = np.linalg.cholesky(table.covariance[first]), np.linalg.cholesky(table.covariance[second])
    places = roots[0] @ correlation @ roots[1].transpose(0, 2, 1)
    alike = joint[:, 0, 3] / np.sqrt(joint[:, 0, 0] * joint[:, 3, 3])
    return places, alike * table.intensity_sigma[first] * table.intensity_sigma[second]


def _information(table: AtomTable, pairs: IntArray, zero: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Fisher information on intensity, row and column of the first atom, of the second, and of both, (k, 3, 3) each.

    It is computed on pixels of a size that the peaks are well sampled with, all atoms of the frame being there.
    """
    mine = np.flatnonzero(table.frame == table.frame[pairs[0, 0]])
    width = float(np.median(table.width[mine]))
    scale = SAMPLED / width
    peaks = Peaks.at(np.column_stack([table.row, table.col])[mine] * scale, table.intensity[mine], (SAMPLED, SAMPLED))
    rows, cols = (int(np.ceil(n * scale)) + 1 for n in table.shape)
    model = render(peaks, (rows, cols)) + (float(np.median(table.background[mine])) - zero) / scale**2
    model = np.maximum(model, FAINTEST * float(model.max()))
    fisher = information(peaks, 1 / model, Grid.of((rows, cols), peaks.sigma), 3)
    a, b = np.searchsorted(mine, pairs).T
    keys, key = fisher.pairs[:, 0] * len(mine) + fisher.pairs[:, 1], a * len(mine) + b
    at = np.minimum(np.searchsorted(keys, key), max(len(keys) - 1, 0))
    known = keys[at] == key if len(keys) else np.zeros(len(key), dtype=bool)
    both = np.zeros((len(pairs), 3, 3))
    both[known] = fisher.blocks[at[known]]
    size = np.array([1.0, scale, scale])  # places in pixels of the image again
    unit = size[:, None] * size
    return fisher.diagonal[a] * unit, fisher.diagonal[b] * unit, both * unit


def _measured(
    table: AtomTable, pairs: IntArray, unit: FloatArray, shared: FloatArray, bright: FloatArray, limit: float | None
) -> Dumbbells:
    """All that is measured of pairs, each turned towards the common direction."""
    place = np.column_stack([table.row, table.col])
    number = _numbers(table.track[pairs])
    swapped = table.track[pairs[:, 0]] > table.track[pairs[:, 1]]
    pairs = np.where(swapped[:, None], pairs[:, ::-1], pairs)
    shared = np.where(swapped[:, None, None], shared.transpose(0, 2, 1), shared)
    flip = np.array([[0.0, 1.0], [-1.0, 0.0]]) * unit  # (row, column) to (x, y)
    apart = (place[pairs[:, 1]] - place[pairs[:, 0]]) @ flip.T
    main = _direction(apart)
    total = np.zeros((int(number.max(initial=-1)) + 1, 2))
    np.add.at(total, number, apart)
    back = np.sum(total * [np.cos(main), np.sin(main)], axis=1)[number] < 0
    pairs = np.where(back[:, None], pairs[:, ::-1], pairs)
    apart = np.where(back[:, None], -apart, apart)
    first, second = pairs.T
    length = np.linalg.norm(apart, axis=1)
    covariance = table.covariance[first] + table.covariance[second] - shared - shared.transpose(0, 2, 1)
    covariance = flip @ covariance @ flip.T
    along = apart / length[:, None]
    across = along[:, ::-1] * [-1.0, 1.0]
    turn = np.angle(np.exp(1j * (np.arctan2(apart[:, 1], apart[:, 0]) - main)))
    intensity = np.maximum(table.intensity[pairs], 1e-300)
    relative = (table.intensity_sigma[pairs] / intensity) ** 2
    variance = relative.sum(axis=1) - 2 * bright / intensity.prod(axis=1)
    spread = [np.einsum("ka,kab,kb->k", v, covariance, v) for v in (along, across)]
    value = np.column_stack([length, main + turn, np.log(intensity[:, 0] / intensity[:, 1])])
    sigma = np.sqrt(np.maximum(np.column_stack([spread[0], spread[1] / length**2, variance]), 0))
    middle = place[pairs].mean(axis=1)
    name = "px" if table.pixel_size is None else "A"
    return Dumbbells(pairs, table.frame[first], number, middle[:, 0], middle[:, 1], value, sigma, name, limit)


def _numbers(tracks: IntArray) -> IntArray:
    """Numbers of dumbbells by their two tracks, (k,); one each where there are no tracks."""
    own = -1 - np.arange(len(tracks))[:, None]
    keys = np.where(tracks.min(axis=1, keepdims=True) < 0, own, np.sort(tracks, axis=1))
    return np.asarray(np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1), dtype=np.int64)


def _direction(apart: FloatArray) -> float:
    """Common direction of dumbbells, whose ends are alike: rad, from -45° to 135°."""
    angle = np.angle(np.sum((apart[:, 0] + 1j * apart[:, 1]) ** 2)) / 2 if len(apart) else 0.0
    return float(angle + np.pi if angle < -np.pi / 4 else angle)
