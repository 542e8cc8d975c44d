"""Links between the atoms of a movie's frames: how many join two atoms, and how many are not made.

Atoms on a square lattice vibrate about their sites or walk, and some are missed in each frame. The links are those of
`picostem.atoms.track`, beside the plainest ones: each atom with the nearest of the frame before, if each is the
other's nearest and within half the spacing. In one case places are not drawn but found in images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from picostem.atoms.find import find_atoms
from picostem.atoms.track import link_places
from picostem.bench.table import Table
from picostem.image import Image
from picostem.simulate import Microscope, simulate_atoms

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SPACING = 14.0  # pixels
RMS = (1.0, 2.0, 3.2)  # pixels, in the plane: of places about the sites, or of steps
MISSED = 0.05
FRAMES, ATOMS_ACROSS = 40, 12
IMAGES = 10  # frames that atoms are found in
PIXEL_SIZE = 0.2  # Å
DOSE = 1000.0  # electrons per atom
NEAR = 3.0  # pixels: a place found so near to an atom is that atom's
MICROSCOPE = Microscope.from_lab_units(voltage_kV=80, semiangle_mrad=30, detector_mrad=(60, 200), source_fwhm_A=0.8)
HEAD = ("motion", "rms, px", "missed", "links", "wrong", "not made", "nearest: wrong", "not made")


@dataclass(frozen=True)
class Score:
    """Of one movie: links that are there to be made, shares of those made that are wrong and of those not made, by
    `picostem.atoms.track` and by nearest neighbours; rms: of the motion, pixels; missed: share of atoms not seen."""

    motion: str
    rms: float
    missed: float
    links: int
    wrong: float
    lost: float
    nearest_wrong: float
    nearest_lost: float

    @property
    def row(self) -> tuple[str, ...]:
        """Of a table."""
        shares = (self.wrong, self.lost, self.nearest_wrong, self.nearest_lost)
        missed = f"{100 * self.missed:.1f} %"
        return (self.motion, f"{self.rms:g}", missed, str(self.links), *(f"{100 * one:.2f} %" for one in shares))


@dataclass(frozen=True)
class TrackingReport:
    """All movies."""

    scores: tuple[Score, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"spacing_px": SPACING, "scores": [asdict(one) for one in self.scores]}

    def tables(self) -> list[Table]:
        """One line for each movie."""
        return [Table(f"Links of atoms {SPACING:g} pixels apart", HEAD, tuple(one.row for one in self.scores))]


def measure(
    rms: Sequence[float] = RMS,
    *,
    frames: int = FRAMES,
    across: int = ATOMS_ACROSS,
    images: int = IMAGES,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> TrackingReport:
    """Movies of atoms that vibrate and that walk, at each rms, and one found in images at the largest.

    Args:
        rms: of places or steps in the plane, pixels. frames: of each movie. across: atoms on a side of the lattice.
        images: frames of the movie in images, 0 for none. seed: of everything drawn.
        progress: called with the movie, how many are done, and all.
    """
    rng = np.random.default_rng(seed)
    report = progress or (lambda name, done, total: None)
    kinds = [(name, make, one) for name, make in (("vibrating", vibrating), ("walking", walking)) for one in rms]
    scores: list[Score] = []
    for name, make, one in kinds:
        report(f"{name}, {one:g} pixels", len(scores), len(kinds) + 1)
        scores.append(_score(name, one, *seen(make(rng, frames, across, one), rng)))
    if images:
        report("found in images", len(kinds), len(kinds) + 1)
        movie = vibrating(rng, images, across, max(rms))
        scores.append(_score("vibrating, found in images", max(rms), *found_in_images(movie, rng)))
    return TrackingReport(tuple(scores))


def lattice(across: int) -> FloatArray:
    """Sites, pixels, shape (across², 2)."""
    return np.asarray(np.mgrid[:across, :across].reshape(2, -1).T * SPACING + SPACING, dtype=np.float64)


def vibrating(rng: np.random.Generator, frames: int, across: int, rms: float) -> FloatArray:
    """Places about sites, shape (frames, atoms, 2)."""
    return lattice(across) + rng.normal(0, rms / np.sqrt(2), (frames, across**2, 2))


def walking(rng: np.random.Generator, frames: int, across: int, rms: float) -> FloatArray:
    """A random walk; steps that lead nearer than half the spacing to another atom are drawn again, as atoms repel."""
    places = [lattice(across)]
    while len(places) < frames:
        now = places[-1].copy()
        for atom in rng.permutation(len(now)):
            for _ in range(50):
                there = now[atom] + rng.normal(0, rms / np.sqrt(2), 2)
                if np.sort(np.sum((now - there) ** 2, axis=1))[1] > (SPACING / 2) ** 2:
                    now[atom] = there
                    break
        places.append(now)
    return np.array(places)


def seen(
    movie: FloatArray, rng: np.random.Generator, missed: float = MISSED
) -> tuple[list[FloatArray], list[IntArray]]:
    """Places in each frame, in any order, some missed, and their true numbers."""
    frames, truth = [], []
    for places in movie:
        kept = rng.permutation(np.flatnonzero(rng.random(len(places)) >= missed))
        frames.append(places[kept])
        truth.append(kept)
    return frames, truth


def found_in_images(movie: FloatArray, rng: np.random.Generator) -> tuple[list[FloatArray], list[IntArray]]:
    """Places of atoms found in images of Se atoms, some removed again, and their true numbers, -1 for what is none."""
    side = int(movie.max() + SPACING)
    clean = [_image(places, side) for places in movie]
    frames, truth = [], []
    for places, mean in zip(movie, clean, strict=True):
        table = find_atoms(Image(rng.poisson(DOSE * (mean + mean.mean() / 2)).astype(np.float32)))
        kept = rng.random(len(table)) >= MISSED
        found = np.column_stack([table.row, table.col])[kept]
        distance, atom = cKDTree(places).query(found)
        frames.append(found)
        truth.append(np.where(distance < NEAR, atom, -1))
    return frames, truth


def _image(places: FloatArray, side: int) -> FloatArray:
    """Atoms without noise, each with the sum 1."""
    middle = (side - 1) / 2
    xy = np.column_stack([places[:, 1] - middle, middle - places[:, 0]]) * PIXEL_SIZE
    atoms = Atoms(f"Se{len(xy)}", positions=np.pad(xy, ((0, 0), (0, 1))))
    image = simulate_atoms(atoms, MICROSCOPE, (side, side), PIXEL_SIZE).astype(np.float64)
    return np.asarray(image * len(places) / image.sum())


def wrong(tracks: Sequence[IntArray], truth: Sequence[IntArray]) -> tuple[float, float, int]:
    """Share of the links made that join two atoms, of the true ones that were not made, and how many are true."""
    made, true = _links(tracks), _links(truth)
    return 1 - len(made & true) / max(len(made), 1), 1 - len(made & true) / max(len(true), 1), len(true)


def nearest(frames: Sequence[FloatArray]) -> list[IntArray]:
    """Tracks that join each place with the nearest of the frame before, if each is the other's and within reach."""
    tracks, count = [np.arange(len(frames[0]))], len(frames[0])
    for before, now in zip(frames, frames[1:], strict=False):
        distance, to = cKDTree(before).query(now)
        _, back = cKDTree(now).query(before)
        same = (back[to] == np.arange(len(now))) & (distance < SPACING / 2)
        track = np.where(same, tracks[-1][to], -1)
        track[~same] = count + np.arange(int(np.sum(~same)))
        count += int(np.sum(~same))
        tracks.append(track)
    return tracks


def _links(tracks: Sequence[IntArray]) -> set[tuple[int, int, int, int]]:
    """Consecutive sightings of each track: frame and number there, frame and number of the next one."""
    frame = np.repeat(np.arange(len(tracks)), [len(one) for one in tracks])
    index = np.concatenate([np.arange(len(one)) for one in tracks])
    track = np.concatenate(tracks)
    order = np.lexsort((frame, track))
    order = order[track[order] >= 0]
    a, b = order[:-1], order[1:]
    same = track[a] == track[b]
    columns = frame[a[same]], index[a[same]], frame[b[same]], index[b[same]]
    return set(zip(*(one.tolist() for one in columns), strict=True))


def _score(motion: str, rms: float, frames: list[FloatArray], truth: list[IntArray]) -> Score:
    false, lost, links = wrong(link_places(frames), truth)
    missed = 1 - sum(int(np.sum(one >= 0)) for one in truth) / (len(truth) * len(np.unique(np.concatenate(truth))))
    plain = wrong(nearest(frames), truth)
    return Score(motion, rms, missed, links, false, lost, plain[0], plain[1])
