"""Sites of surfaces in drawn scans, found as `picostem atoms` finds them: how many, where, and with which errors.

Surfaces of a square and of a hexagonal lattice, turned at random, some of whose sites are missing and some lower, are
scanned by a blunt, oblong tip, with drift, tilt, white noise, 1/f noise, offsets of rows, and streaks; one with the
edges of two terraces. Nothing is told but the pixel size. The surfaces are drawn, not calculated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picostem.atoms.survey import survey
from picostem.atoms.table import AtomTable
from picostem.bench.atoms_score import matched
from picostem.bench.table import Table, number, percent
from picostem.image import Acquisition, Image
from picostem.simulate.stm import Sites, Step, StmScan, StmSettings, Tip, lattice_places, scan_surface, with_noise

FloatArray = NDArray[np.float64]

HEXAGONAL = np.array([[1.0, 0.0], [0.5, np.sqrt(3) / 2]])


@dataclass(frozen=True, eq=False)
class Surface:
    """A kind of scan: cell in Å, pixel size in Å, width of sites in Å, height of its steps in Å, pixels a side."""

    cell: FloatArray
    pixel_size: float
    width: float
    side: int
    steps: tuple[float, ...] = ()

    @property
    def spacing(self) -> float:
        """Between neighbours, pixels."""
        return float(np.linalg.norm(self.cell[0])) / self.pixel_size


SURFACES = {
    "square": Surface(3.9 * np.eye(2), 0.35, 0.95, 192),
    "hexagonal": Surface(6.0 * HEXAGONAL, 0.29, 1.4, 320),
    "few pixels": Surface(3.44 * HEXAGONAL, 0.6, 0.85, 128),
    "two steps": Surface(6.0 * HEXAGONAL, 0.29, 1.4, 320, (2.1, 2.1)),
}
HEIGHT = 0.3  # Å, of a site
MISSING, LOWER, LOW, UNEVEN = 0.03, 0.1, 0.6, 0.05  # shares of sites; height of lower ones, and spread, of the others'
BLUNT, OBLONG = 0.5, 1.3  # Å, standard deviation of the tip, and the ratio of its axes
DRIFT, TILT, STREAKS = 0.03, 0.01, 0.1  # at most: elements of the drift matrix, slope; streaks per row
OFFSETS = 0.5  # rms of rows' over that of the surface
NOISES = (0.2, 0.5, 1.0)  # rms of white and 1/f noise over that of the surface
SHARES = 0.55, 0.83  # of white and 1/f noise in these: their squares make one
SEEDS = 3  # scans of each kind
NEAR = 0.35  # of the spacing: where a site found is a true one
BORDER = 0.5  # of the spacing: sites nearer to it count neither found nor missed
HEAD = (
    "surface",
    "noise/surface",
    "sites",
    "recall",
    "precision",
    "F1",
    "rms px",
    "rms Å",
    "row in 95 %",
    "col in 95 %",
)


@dataclass(frozen=True)
class Score:
    """Of the scans of a surface at a noise over the surface's, both rms.

    Attributes:
        sites: that there are. recall, precision, f1: of these and of those found. rms_px, rms_A: of one coordinate.
            row_inside, col_inside: shares of rows and columns in the intervals that hold 95 %.
    """

    surface: str
    noise: float
    sites: int
    recall: float
    precision: float
    f1: float
    rms_px: float
    rms_A: float
    row_inside: float
    col_inside: float

    @property
    def row(self) -> tuple[str, ...]:
        """Of a table."""
        shares = (number(one, 3) for one in (self.recall, self.precision, self.f1))
        places = number(self.rms_px, 2), number(self.rms_A, 3), percent(self.row_inside), percent(self.col_inside)
        return (self.surface, f"{self.noise:g}", str(self.sites), *shares, *places)


@dataclass(frozen=True)
class StmReport:
    """All surfaces."""

    scores: tuple[Score, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"scores": [asdict(one) for one in self.scores]}

    def tables(self) -> list[Table]:
        """One line for each surface and noise."""
        return [Table("Sites of surfaces in scans", HEAD, tuple(one.row for one in self.scores))]


def measure(
    surfaces: Sequence[str] = tuple(SURFACES),
    noises: Sequence[float] = NOISES,
    *,
    seeds: int = SEEDS,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> StmReport:
    """Some scans of each surface at each noise.

    Args:
        surfaces: names in SURFACES. noises: rms over that of the surface. seeds: scans of each.
    """
    jobs = [(name, noise) for name in surfaces for noise in noises]
    scores = []
    for index, ((name, noise), rng) in enumerate(zip(jobs, np.random.default_rng(seed).spawn(len(jobs)), strict=True)):
        if progress is not None:
            progress(f"{name}, noise {noise:g}", index, len(jobs))
        scans = [scanned_surface(SURFACES[name], noise, rng) for _ in range(seeds)]
        scores.append(score(name, noise, scans, [found(scan) for scan in scans]))
    return StmReport(tuple(scores))


def found(scan: StmScan) -> AtomTable:
    """What the command finds in a scan whose file says that it is one."""
    image = Image(scan.heights, acquisition=Acquisition(tip=True)).with_pixel_size(scan.pixel_size, "file")
    return survey([image]).table


def scanned_surface(surface: Surface, noise: float, rng: np.random.Generator) -> StmScan:
    """A scan; noise: rms over that of the surface without its steps."""
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    extent = surface.side * surface.pixel_size
    place = lattice_places(surface.cell @ turn, (1.1 * extent + 20, 1.1 * extent + 20)) + rng.uniform(-1, 1, 2)
    place = place[rng.random(len(place)) > MISSING]
    n = len(place)
    height = HEIGHT * np.where(rng.random(n) < LOWER, LOW, 1.0) * (1 + UNEVEN * rng.standard_normal(n))
    nothing = np.zeros(n)
    sites = Sites(place, height, np.full(n, surface.width), nothing, np.zeros((n, 1), complex), nothing.astype(int))
    (a, b), (c, d) = np.eye(2) + DRIFT * rng.uniform(-1, 1, (2, 2))
    still = StmSettings(drift=((a, b), (c, d)))
    tip, shape = Tip(width=BLUNT, elongation=OBLONG, direction=rng.uniform(0, np.pi)), (surface.side, surface.side)
    scan = scan_surface(sites, tip, still, shape, surface.pixel_size, rng)
    rms = float(scan.heights.std())
    if surface.steps:
        ways = rng.uniform(0, 2 * np.pi, len(surface.steps))
        steps = tuple(Step(up, way, 0.2 * extent) for up, way in zip(surface.steps, ways, strict=True))
        scan = scan_surface(sites, tip, StmSettings(drift=still.drift, steps=steps), shape, surface.pixel_size, rng)
    settings = StmSettings(
        noise=SHARES[0] * noise * rms,
        pink=SHARES[1] * noise * rms,
        line_offset=OFFSETS * rms,
        streaks=STREAKS,
        streak_height=2 * rms,
        tilt=(float(rng.uniform(-TILT, TILT)), float(rng.uniform(-TILT, TILT))),
    )
    return with_noise(scan, settings, rng)


def score(name: str, noise: float, scans: Sequence[StmScan], tables: Sequence[AtomTable]) -> Score:
    """What was found beside what was drawn."""
    spacing, pixel = SURFACES[name].spacing, scans[0].pixel_size
    true = seen = right = told = 0
    errors, stated = [], []
    for scan, table in zip(scans, tables, strict=True):
        place = np.column_stack([table.row, table.col])
        mine, theirs = matched(place, scan.place, NEAR * spacing)
        there, here = _inside(scan.place, table.shape, BORDER * spacing), _inside(place, table.shape, BORDER * spacing)
        true, told = true + int(there.sum()), told + int(here.sum())
        seen, right = seen + int(there[theirs].sum()), right + int(here[mine].sum())
        count = there[theirs]
        errors.append((place[mine] - scan.place[theirs])[count])
        stated.append(np.sqrt(np.diagonal(table.covariance, axis1=1, axis2=2))[mine][count])
    error, recall, precision = np.concatenate(errors), seen / max(true, 1), right / max(told, 1)
    inside = np.mean(np.abs(error) < 1.96 * np.concatenate(stated), axis=0)
    rms = float(np.sqrt(np.mean(error**2)))
    f1 = 2 * recall * precision / max(recall + precision, 1e-12)
    return Score(name, noise, true, recall, precision, f1, rms, rms * pixel, float(inside[0]), float(inside[1]))


def _inside(place: FloatArray, shape: tuple[int, int], margin: float) -> NDArray[np.bool_]:
    return np.asarray(np.all((place > margin) & (place < np.array(shape) - 1 - margin), axis=1))
