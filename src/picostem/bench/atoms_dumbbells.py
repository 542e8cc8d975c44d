"""Dumbbells of Si ⟨110⟩ that change from frame to frame: how small a change is seen at 2 sigma, by dose.

Two movies for each dose, drawn by linear imaging of atoms in a probe with its tails, not by the fit's Gaussians. In
one, dumbbells are stretched and turned at random, by one to six times the noise that a still movie has;
in the other a defect moves through the field, pushes columns away, and takes atoms out of the nearest. Atoms are found
in the mean of the frames and refined in each (`picostem.atoms.follow`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from picostem.atoms.constancy import FOUND, LOCAL, SIGMAS, Changes, measure_changes
from picostem.atoms.dumbbells import QUANTITIES, Dumbbells, find_dumbbells
from picostem.atoms.follow import follow
from picostem.bench.table import Table, number, percent
from picostem.errors import DataError
from picostem.image import Image
from picostem.physics import DEGREE
from picostem.simulate import Microscope, simulate_atoms
from picostem.structure import rotation_matrix

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

DOSES = (30.0, 100.0, 300.0, 1000.0, 2000.0)  # electrons per column of atoms
CELL = 5.431  # Å, of silicon
TURN = 7 * DEGREE  # of the crystal: rows of atoms are not rows of pixels
PIXEL_SIZE, SIDE = 0.16, 192  # Å, pixels
ATOMS = 5  # in a column
MICROSCOPE = Microscope.from_lab_units(voltage_kV=200, semiangle_mrad=24, detector_mrad=(70, 200), source_fwhm_A=0.8)
DARK = 0.1  # of the mean signal: what is counted beside it
FRAMES = 8
SIZES = 1.0, 6.0  # standard errors: of changes at random
PLANTED = 0.2  # share of the dumbbells that are changed in a frame
PUSH, CORE = 0.5, 2.5  # Å: displacement at the core's rim, and its radius
LOST = 2  # atoms that columns nearest to the defect lack
NEAR = 0.2  # of 2 sigma: true changes that are as large
REST = 0.2  # standard errors: true changes below that are none
HEAD = ("movie", "electrons", "quantity", "2σ", "at 2σ", "of", "from 3.6σ", "of", "false", "of", "rms/σ")


@dataclass(frozen=True)
class Score:
    """One quantity of one movie.

    Attributes:
        smallest: change that is 2 sigma, Å, rad or 1. at_limit, found, false: shares called a change at 2 sigma of true
            changes within NEAR of 2 sigma, from 3.6 sigma on, and of those at rest; None where there are none;
            `*_of`: their numbers. rms: of measured less true change, in standard errors.
    """

    movie: str
    dose: float
    quantity: str
    smallest: float
    at_limit: float | None
    at_limit_of: int
    found: float | None
    found_of: int
    false: float | None
    false_of: int
    rms: float

    @property
    def row(self) -> tuple[str, ...]:
        """Of a table; angles in degrees."""
        scale, unit = {"length": (1.0, " Å"), "angle": (DEGREE, "°"), "asymmetry": (1.0, "")}[self.quantity]
        shares = ((self.at_limit, self.at_limit_of), (self.found, self.found_of), (self.false, self.false_of))
        cells = [cell for share, of in shares for cell in (percent(share), str(of))]
        size = f"{self.smallest / scale:.3f}{unit}"
        return (self.movie, f"{self.dose:g}", self.quantity, size, *cells, number(self.rms, 2))


@dataclass(frozen=True)
class DumbbellReport:
    """All scores."""

    scores: tuple[Score, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"sigmas": SIGMAS, "by_chance": LOCAL, "scores": [asdict(one) for one in self.scores]}

    def tables(self) -> list[Table]:
        """One line for each movie, dose and quantity."""
        title = (
            "Dumbbells of Si ⟨110⟩: changes called at 2σ (expected: half of 2σ, 95 % and more from 3.6σ, 4.6 % of none)"
        )
        return [Table(title, HEAD, tuple(one.row for one in self.scores))]


@dataclass(frozen=True, eq=False)
class Crystal:
    """Middles of dumbbells in Å, image frame, (n, 2), and for each frame the vector from lower to upper column,
    (frames, n, 2), where middles are, the same, and atoms in the lower and upper column, (frames, n, 2)."""

    apart: FloatArray
    middle: FloatArray
    atoms: NDArray[np.int64]

    @classmethod
    def perfect(cls, frames: int, side: int) -> Crystal:
        """Si ⟨110⟩ that goes on beyond a field of so many pixels a side."""
        reach = int(np.ceil((side * PIXEL_SIZE / 2 * 1.5 + 10) / CELL * np.sqrt(2)))
        i, j = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
        corner = np.column_stack([i / np.sqrt(2), j]) * CELL
        both = np.concatenate([corner, corner + np.array([1 / np.sqrt(8), 0.5]) * CELL]) @ rotation_matrix(TURN).T
        both = both[np.all(np.abs(both) < side * PIXEL_SIZE / 2 + 8, axis=1)]
        shape = (frames, len(both), 2)
        apart = np.broadcast_to(rotation_matrix(TURN) @ [0, CELL / 4], shape).copy()
        return cls(apart, np.broadcast_to(both, shape).copy(), np.full(shape, ATOMS))

    @property
    def ends(self) -> FloatArray:
        """Places of lower and upper columns, Å, shape (2, frames, n, 2)."""
        return np.stack([self.middle - self.apart / 2, self.middle + self.apart / 2])

    @property
    def value(self) -> FloatArray:
        """Length in Å, angle in rad, and ln of the atoms below over those above, shape (frames, n, 3)."""
        length, angle = np.linalg.norm(self.apart, axis=-1), np.arctan2(self.apart[..., 1], self.apart[..., 0])
        return np.stack([length, angle, np.log(self.atoms[..., 0] / self.atoms[..., 1])], axis=-1)

    def changed(self, stretch: FloatArray, turn: FloatArray) -> Crystal:
        """With dumbbells longer by so many Å and turned by so many rad, each of shape (frames, n)."""
        length, angle, _ = np.moveaxis(self.value, -1, 0)
        length, angle = length + stretch, angle + turn
        return replace(self, apart=np.stack([length * np.cos(angle), length * np.sin(angle)], axis=-1))

    def disturbed(self, path: FloatArray) -> Crystal:
        """With a defect at each frame's place, Å, shape (frames, 2).

        Columns are pushed away by PUSH within CORE and by PUSH · CORE / r beyond; the nearest dumbbell's lower column
        lacks LOST atoms.
        """
        away = self.ends - path[:, None]
        r = np.linalg.norm(away, axis=-1, keepdims=True)
        low, high = self.ends + PUSH * away / np.maximum(r, 1e-9) * np.minimum(r / CORE, CORE / np.maximum(r, 1e-9))
        atoms = self.atoms.copy()
        nearest = np.linalg.norm(self.middle - path[:, None], axis=-1).argmin(axis=1)
        atoms[np.arange(len(path)), nearest, 0] -= LOST
        return Crystal(high - low, (low + high) / 2, atoms)

    def images(self, side: int) -> FloatArray:
        """Frames without noise, a column of ATOMS atoms having the sum 1, shape (frames, side, side)."""
        shape = (side, side)
        alone = float(simulate_atoms(Atoms("Si", positions=[(0, 0, 0)]), MICROSCOPE, shape, PIXEL_SIZE).sum())
        out = np.zeros((len(self.apart), *shape))
        for frame, total in enumerate(out):
            place, atoms = self.ends[:, frame].reshape(-1, 2), self.atoms[frame].T.ravel()
            for count in np.unique(atoms):
                flat = np.pad(place[atoms == count], ((0, 0), (0, 1)))
                specimen = Atoms(f"Si{len(flat)}", positions=flat)
                total += simulate_atoms(specimen, MICROSCOPE, shape, PIXEL_SIZE) * count / ATOMS / alone
        return out


def measure(
    doses: Sequence[float] = DOSES,
    *,
    frames: int = FRAMES,
    side: int = SIDE,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> DumbbellReport:
    """Both movies at each dose.

    Args:
        doses: electrons per column of atoms. frames: of each movie, 4 or more. side: of the image, pixels.
        seed: of the changes and the electrons. progress: called with the movie, how many are done, and all.

    Raises:
        DataError: no dumbbells were found in a movie.
    """
    rng = np.random.default_rng(seed)
    perfect = Crystal.perfect(frames, side)
    passing = perfect.disturbed(defect_path(frames, side))
    clean, still = passing.images(side), np.repeat(Crystal.perfect(1, side).images(side), frames, axis=0)
    scores: list[Score] = []
    for index, dose in enumerate(doses):
        report = progress or (lambda name, done, total: None)
        report(f"changes at random, {dose:g} electrons", 2 * index, 2 * len(doses))
        noise = measure_changes(_found(recorded(still, dose, rng), dose)).smallest / SIGMAS
        planted = _planted(perfect, noise, rng)
        scores += score("random", dose, planted, recorded(planted.images(side), dose, rng))
        report(f"moving defect, {dose:g} electrons", 2 * index + 1, 2 * len(doses))
        scores += score("defect", dose, passing, recorded(clean, dose, rng))
    return DumbbellReport(tuple(scores))


def defect_path(frames: int, side: int) -> FloatArray:
    """Places of a defect that goes through the field from the left to the right, Å, shape (frames, 2)."""
    x = np.linspace(-0.45, 0.45, frames) * side * PIXEL_SIZE
    return np.column_stack([x, 0.15 * side * PIXEL_SIZE * np.sin(2 * np.pi * np.arange(frames) / frames)])


def recorded(clean: FloatArray, dose: float, rng: np.random.Generator) -> list[Image]:
    """Counted electrons, so many for each column, on a dark level."""
    mean = dose * (clean + DARK * clean.mean())
    return [
        Image(one.astype(np.float32), name=f"frame {k}").with_pixel_size(PIXEL_SIZE, "user")
        for k, one in enumerate(rng.poisson(mean))
    ]


def score(movie: str, dose: float, truth: Crystal, images: list[Image]) -> list[Score]:
    """Changes of length, angle and asymmetry that were called, beside the true ones.

    Raises:
        DataError: no dumbbells were found.
    """
    found = _found(images, dose)
    said, true = measure_changes(found), measure_changes(replace(found, value=true_values(found, truth, images[0])))
    return [_score(movie, dose, said, true.deviation, k) for k in range(len(QUANTITIES))]


def _found(images: list[Image], dose: float) -> Dumbbells:
    found = find_dumbbells(follow(images))
    if not len(found):
        raise DataError(f"found no dumbbells at {dose:g} electrons per column: give more electrons, or more frames")
    return found


def true_values(found: Dumbbells, truth: Crystal, image: Image) -> FloatArray:
    """What is true of each dumbbell found, shape (k, 3)."""
    rows, cols = image.data.shape
    xy = np.column_stack([found.col - (cols - 1) / 2, (rows - 1) / 2 - found.row]) * PIXEL_SIZE
    value = np.empty((len(found), 3))
    for frame in np.unique(found.frame):
        mine = found.frame == frame
        value[mine] = truth.value[frame, cKDTree(truth.middle[frame]).query(xy[mine])[1]]
    return value


def _planted(perfect: Crystal, sigma: FloatArray, rng: np.random.Generator) -> Crystal:
    """Some dumbbells stretched or squeezed, others turned: by SIZES standard errors."""
    shape = perfect.apart.shape[:2]
    size = rng.uniform(*SIZES, shape) * rng.choice([-1, 1], shape)
    chance = rng.random(shape)
    stretch = np.where(chance < PLANTED / 2, size * sigma[0], 0)
    return perfect.changed(stretch, np.where(chance > 1 - PLANTED / 2, size * sigma[1], 0))


def _score(movie: str, dose: float, said: Changes, true: FloatArray, k: int) -> Score:
    known = np.isfinite(said.z[:, k])
    z, sigma = said.z[known, k], said.sigma[known, k]
    size = np.abs(true[known, k]) / sigma
    called = np.abs(z) > SIGMAS

    def share(chosen: BoolArray) -> tuple[float | None, int]:
        return (float(called[chosen].mean()) if chosen.any() else None), int(chosen.sum())

    near = share(np.abs(size / SIGMAS - 1) < NEAR)
    rms = float(np.sqrt(np.mean((z - true[known, k] / sigma) ** 2)))
    smallest = float(said.smallest[k])
    return Score(movie, dose, QUANTITIES[k], smallest, *near, *share(size >= FOUND), *share(size < REST), rms)
