"""Bowl-shaped molecules on a metal, up or down and turned four ways: their states, by a network alone and with a field.

Eight states: two polar, times the four turns by 30° that a threefold bowl (sumanene) can be told apart in. The
molecules are drawn shapes, not calculated densities: one that opens up is a rim with three lobes, one that opens down a
cap with three. Their states are sampled at a temperature from a field whose couplings depend on the bond's direction
and that the estimator does not know: equal turns attract, so that domains of some hundred form (20 to 30
in the publication), and neighbours seldom both open down.

The network learns from scans of independent, equally frequent states; what is scored differs from these in its tip,
and in molecules that are neither equal nor quite at their places, which no network has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picostem.atoms.molecules import Field, Graph, SiteNet, beliefs, crops, learn_field, neighbour_graph, train_net
from picostem.atoms.scanned import fit_lattice, levelled, locate_sites, match
from picostem.bench.table import Table, number, percent
from picostem.physics import DEGREE
from picostem.simulate.stm import Sites, StmScan, StmSettings, Tip, lattice_places, scan_surface, with_noise

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

STATES, TURNS = 8, 4
SPACING, PIXEL_SIZE, SIDE = 11.0, 0.8, 512  # Å, Å, pixels
CELL = SPACING * np.array([[1.0, 0.0], [0.5, np.sqrt(0.75)]])
HEIGHT, WIDTH, RIM, LOBE = (0.9, 1.0), (1.8, 1.6), (0.6, 0.0), (0.25, 0.25)
TIP = Tip(width=1.0, elongation=1.4, direction=1.0, further=((1.6, -0.8, 0.15),))
UNEQUAL = 0.05, 4 * DEGREE, 0.25  # rms: of heights and widths, rad of turns, Å of places
ATTRACTION, DIRECTIONS = 1.0, (1.15, 1.0, 0.85)  # of equal turns; factors of the three directions of bonds
REPULSION, DOWN = 3.0, 2.5  # of neighbours that both open down; preference for down
SWEEPS = 30
ASKED = 2  # scans that are scored at each noise
SCANS, TRAINED = 6, (0.7, 1.4)  # scans that a network learns from; their noise over that of the scan it is asked about
NOISES = (0.4, 0.7, 0.8, 0.9, 1.2)
SHARES = 0.8, 0.5, 0.33  # of white noise, 1/f noise and rows' offsets in these: their squares make one
STREAKS = 0.05  # per row
NEAR = 0.35  # of the spacing: where a molecule found is a true one
BINS = 10
HEAD = ("noise/surface", "molecules", "found", "network", "with field", "true field", "ECE: network", "with field")


@dataclass(frozen=True)
class Score:
    """Some scans of like noise.

    Attributes:
        noise: rms over that of the surface. molecules: that were compared. found: share of those in the images.
        alone, field, known: shares of right states by the network, with the field learnt from the image, and with the
            one that the states were sampled from. alone_ece, field_ece: expected calibration errors.
    """

    noise: float
    molecules: int
    found: float
    alone: float
    field: float
    known: float
    alone_ece: float
    field_ece: float

    @property
    def row(self) -> tuple[str, ...]:
        """Of a table."""
        shares = [f"{100 * one:.1f} %" for one in (self.alone, self.field, self.known)]
        return (
            f"{self.noise:g}", str(self.molecules), percent(self.found), *shares,
            number(self.alone_ece, 3), number(self.field_ece, 3),
        )  # fmt: skip


@dataclass(frozen=True)
class BuckybowlReport:
    """All noises."""

    scores: tuple[Score, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"scores": [asdict(one) for one in self.scores]}

    def tables(self) -> list[Table]:
        """One line for each noise."""
        return [Table("States of bowls, eight of them: right", HEAD, tuple(one.row for one in self.scores))]


def measure(
    noises: Sequence[float] = NOISES,
    *,
    side: int = SIDE,
    scans: int = SCANS,
    asked: int = ASKED,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> BuckybowlReport:
    """Train a network for each noise, and ask it about some scans.

    Args:
        noises: rms over that of the surface. side: of images, pixels. scans: to learn from. asked: scans to be read.
        seed: of everything drawn. progress: called with the noise, how many are done, and all.
    """
    report = progress or (lambda name, done, total: None)
    scores = []
    for index, (noise, rng) in enumerate(zip(noises, np.random.default_rng(seed).spawn(len(noises)), strict=True)):
        report(f"noise {noise:g}", index, len(noises))
        learning, drawing = rng.spawn(2)
        net = trained(noise, scans, side, learning)
        drawn = [ordered_scan(noise, side, one) for one in drawing.spawn(asked)]
        scores.append(score(noise, drawn, [read(scan, net) for scan in drawn]))
    return BuckybowlReport(tuple(scores))


@dataclass(frozen=True, eq=False)
class Reading:
    """Molecules found in a scan: place, row and column, (n, 2); ln p of the network alone and p with the field,
    (n, states); their neighbours."""

    place: FloatArray
    evidence: FloatArray
    belief: FloatArray
    graph: Graph


def read(scan: StmScan, net: SiteNet) -> Reading:
    """Find the molecules' lattice, look at each, then at all together; nothing of the truth is used but the spacing."""
    spacing = SPACING / PIXEL_SIZE
    lattice = fit_lattice(locate_sites(scan.heights, spacing), scan.heights.shape, spacing)
    place = lattice.places()
    evidence = net.log_probabilities(crops(levelled(scan.heights, spacing), place))
    graph = neighbour_graph(place)
    return Reading(place, evidence, learn_field(evidence, graph)[1], graph)


def score(noise: float, scans: Sequence[StmScan], readings: Sequence[Reading]) -> Score:
    """What was read of the molecules beside what they are; those at the border, cut off, are not counted."""
    parts, there = [], 0
    for scan, reading in zip(scans, readings, strict=True):
        mine, true = match(reading.place, scan.place, NEAR * SPACING / PIXEL_SIZE)
        margin = SPACING / PIXEL_SIZE
        whole = np.all((scan.place > margin) & (scan.place < np.array(scan.heights.shape) - 1 - margin), axis=1)
        there += int(whole.sum())
        mine, true = mine[whole[true]], true[whole[true]]
        known = beliefs(reading.evidence, reading.graph, true_field(reading.graph, reading.place))
        every = (np.exp(reading.evidence), reading.belief, known)
        parts.append((scan.sites.state[true], *(p[mine] for p in every)))
    state, alone, field, known = (np.concatenate(column) for column in zip(*parts, strict=True))
    right = [float(np.mean(p.argmax(axis=1) == state)) for p in (alone, field, known)]
    errors = [calibration_error(p, state) for p in (alone, field)]
    return Score(noise, len(state), len(state) / there, right[0], right[1], right[2], errors[0], errors[1])


def trained(noise: float, scans: int, side: int, rng: np.random.Generator) -> SiteNet:
    """A network that has learnt from so many scans of independent states, of about this noise, all tips unlike."""
    part, state = [], []
    for factor in rng.uniform(*TRAINED, scans):
        place = _places(side)
        states = rng.integers(STATES, size=len(place))
        tip = Tip(
            width=rng.uniform(0.6, 1.6),
            elongation=rng.uniform(1, 1.5),
            direction=rng.uniform(0, np.pi),
            further=((*rng.normal(0, 1.2, 2), rng.uniform(0, 0.3)),),
        )
        scan = _scanned(bowls(place, states, (0.0, 0.0, 0.0), rng), tip, factor * noise, side, rng)
        inside = np.all((scan.place > 0) & (scan.place < side - 1), axis=1)
        seen = scan.place[inside] + rng.normal(0, 0.5, (int(inside.sum()), 2))  # pixels: places are found, not known
        part.append(crops(levelled(scan.heights, SPACING / PIXEL_SIZE), seen))
        state.append(states[inside])
    return train_net(np.concatenate(part), np.concatenate(state))


def ordered_scan(noise: float, side: int, rng: np.random.Generator) -> StmScan:
    """A scan of molecules in domains; `noise` over the surface, both rms."""
    place = _places(side)
    graph = neighbour_graph(np.column_stack([-place[:, 1], place[:, 0]]))
    states = sample(graph, true_field(graph, np.column_stack([-place[:, 1], place[:, 0]])), SWEEPS, rng)
    return _scanned(bowls(place, states, UNEQUAL, rng), TIP, noise, side, rng)


def bowls(place: FloatArray, state: IntArray, unequal: tuple[float, float, float], rng: np.random.Generator) -> Sites:
    """Molecules of states polar * TURNS + turn, polar 1 opening down.

    Args:
        place: x and y, Å, shape (n, 2). unequal: rms of heights and widths (a share), turns (rad), places (Å).
    """
    n, (polar, turn) = len(state), np.divmod(state, TURNS)
    angle = turn * np.pi / (3 * TURNS) * 2 + unequal[1] * rng.standard_normal(n)
    lobes = np.zeros((n, 3), dtype=np.complex128)
    lobes[:, 2] = np.take(LOBE, polar) * np.exp(3j * angle)
    scale = 1 + unequal[0] * rng.standard_normal((2, n))
    return Sites(
        place + unequal[2] * rng.standard_normal((n, 2)),
        np.take(HEIGHT, polar) * scale[0],
        np.take(WIDTH, polar) * scale[1],
        np.take(RIM, polar),
        lobes,
        state,
    )


def true_field(graph: Graph, place: FloatArray) -> Field:
    """The field that states are sampled from; its three directions are told by the bonds' angles to the rows.

    Args:
        place: row and column, shape (n, 2).
    """
    step = place[graph.second] - place[graph.first]
    polar, turn = np.divmod(np.arange(STATES), TURNS)
    same, both = turn[:, None] == turn, (polar[:, None] == 1) & (polar == 1)
    coupling = []
    for kind in range(graph.kinds):
        double = np.angle(np.mean(np.exp(2j * np.arctan2(-step[:, 0], step[:, 1])[graph.kind == kind])))
        factor = DIRECTIONS[int(np.rint(double / (2 * np.pi / 3))) % 3]
        coupling.append(factor * ATTRACTION * same - REPULSION * both)
    return Field(np.where(polar == 1, DOWN, 0.0), np.array(coupling))


def sample(graph: Graph, field: Field, sweeps: int, rng: np.random.Generator) -> IntArray:
    """States after so many sweeps of Gibbs sampling from random ones, shape (n,)."""
    both = field.coupling[graph.kind]
    around: list[list[tuple[int, FloatArray]]] = [[] for _ in range(graph.count)]
    for first, second, coupling in zip(graph.first, graph.second, both, strict=True):
        around[first].append((second, coupling))
        around[second].append((first, coupling.T))
    states = rng.integers(len(field.own), size=graph.count)
    for _ in range(sweeps):
        for i in rng.permutation(graph.count):
            logit = field.own + sum(coupling[:, states[j]] for j, coupling in around[i])
            cumulated = np.cumsum(np.exp(logit - logit.max()))
            states[i] = np.searchsorted(cumulated, rng.random() * cumulated[-1])
    return np.asarray(states)


def calibration_error(p: FloatArray, state: IntArray) -> float:
    """Expected calibration error of the most probable states: mean of |share right - p| over bins of p.

    Args:
        p: shape (n, states). state: true ones, shape (n,).
    """
    sure, right = p.max(axis=1), p.argmax(axis=1) == state
    bin_ = np.minimum((sure * BINS).astype(int), BINS - 1)
    gap = np.bincount(bin_, right - sure, BINS)
    return float(np.abs(gap).sum() / len(p))


def _places(side: int) -> FloatArray:
    """A lattice that goes on a little beyond the image, Å, shape (n, 2)."""
    field = side * PIXEL_SIZE + 3 * SPACING
    return lattice_places(CELL, (field, field))


def _scanned(sites: Sites, tip: Tip, noise: float, side: int, rng: np.random.Generator) -> StmScan:
    still = scan_surface(sites, tip, StmSettings(), (side, side), PIXEL_SIZE, rng)
    surface = float(still.heights.std())
    settings = StmSettings(
        noise=SHARES[0] * noise * surface,
        pink=SHARES[1] * noise * surface,
        line_offset=SHARES[2] * noise * surface,
        streaks=STREAKS,
        streak_height=2 * surface,
    )
    return with_noise(still, settings, rng)
