"""Toy patterns whose angles and strengths are planted: errors beside the Cramér-Rao bound, and invariance to turns.

One bright arc, its angle anywhere on the circle, or three, whose angles are known modulo 120°. The autoencoder is
trained on the patterns that it is asked about, without labels: that is its use. Which way its template looks is its own
choice, so one offset is taken off all angles of a seed, and told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from picostem.bench.stem4d_scores import angle_sigma, deviations, rank_correlation, rms
from picostem.bench.table import Table, number
from picostem.physics import DEGREE, FloatArray
from picostem.simulate.toy4d import Kind, Toy
from picostem.stem4d.com import centre_of_mass
from picostem.stem4d.harmonics import Harmonics, angular_harmonics
from picostem.stem4d.scan import Scan4D
from picostem.stem4d.settings import RVAESettings

if TYPE_CHECKING:
    from picostem.stem4d.model import RVAE

Progress = Callable[[str, int, int], None]

KINDS: tuple[Kind, ...] = ("asymmetric", "three-fold")
SETTINGS = RVAESettings(latent=1)
"""Of the autoencoder; the symmetry is that of the patterns."""
TURNS, STRENGTH = 64, 2.5
"""Of the patterns without noise: angles on the circle, and the strength of all."""
HEAD = (
    "patterns", "method", "rms °", "worst seed", "mean |error| °", "rms/bound", "error/σ", "|ρ| strength", "worst seed",
    "offset °", "seconds",
)  # fmt: skip
TURNED_HEAD = ("seed", "spread of z over that of the data", "angle less turn: rms °", "most °")


@dataclass(frozen=True)
class Plan:
    """What is drawn and learned: side² patterns of size² pixels."""

    kind: Kind = "asymmetric"
    side: int = 64
    size: int = 64
    electrons: float = 1e4
    settings: RVAESettings = SETTINGS

    @property
    def toy(self) -> Toy:
        """The patterns."""
        return Toy(self.kind, self.size, electrons=self.electrons)


@dataclass(frozen=True, eq=False)
class Learned:
    """A model trained on patterns, and what was planted in them; seconds: from patterns to the model."""

    model: RVAE
    scan: Scan4D
    harmonics: Harmonics
    angles: FloatArray
    strengths: FloatArray
    seconds: float


@dataclass(frozen=True)
class Score:
    """One method on the patterns of one seed.

    Attributes:
        rms_deg, mean_deg: of the error, the offset taken off; mean of its modulus. bound_deg: Cramér-Rao, rms over the
            patterns. pull: rms of the error over its stated standard error. rho: Spearman's, of the stated strength
            with the planted one, without its sign. seconds: of the training.
    """

    kind: Kind
    seed: int
    method: str
    rms_deg: float
    mean_deg: float
    offset_deg: float
    bound_deg: float
    pull: float
    rho: float
    seconds: float | None = None


@dataclass(frozen=True)
class Turned:
    """The model of a seed on patterns without noise that differ in their angle alone.

    Attributes:
        spread: of the latent, over its spread in the data. angle_rms_deg, angle_most_deg: of the stated angle less the
            turn, the offset taken off.
    """

    seed: int
    spread: float
    angle_rms_deg: float
    angle_most_deg: float


@dataclass(frozen=True)
class ToyReport:
    """All kinds, seeds and methods."""

    scores: tuple[Score, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"scores": [asdict(one) for one in self.scores]}

    def tables(self) -> list[Table]:
        """One line for each kind and method: means over seeds."""
        named: dict[tuple[str, str], list[Score]] = {}
        for one in self.scores:
            named.setdefault((one.kind, one.method), []).append(one)
        bounds = {kind: np.mean([one.bound_deg for one in self.scores if one.kind == kind]) for kind, _ in named}
        count, told = len({one.seed for one in self.scores}), ", ".join(f"{k} {v:.3f}°" for k, v in bounds.items())
        rows = tuple(_row(group) for group in named.values())
        return [Table(f"Planted angles, {count} seed{'s' * (count > 1)}; bound: {told}", HEAD, rows)]


@dataclass(frozen=True)
class TurnedReport:
    """Invariance, seed by seed."""

    scores: tuple[Turned, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"scores": [asdict(one) for one in self.scores]}

    def tables(self) -> list[Table]:
        """One line for each seed."""
        rows = tuple(
            (str(one.seed), f"{one.spread:.1e}", number(one.angle_rms_deg, 4), number(one.angle_most_deg, 4))
            for one in self.scores
        )
        return [Table(f"{TURNS} turns of a pattern without noise", TURNED_HEAD, rows)]


def measure(plan: Plan | None = None, *, seeds: Sequence[int] = (0,), progress: Progress | None = None) -> ToyReport:
    """Both kinds of patterns, every seed drawn and trained anew.

    Args:
        plan: its kind does not count. progress: called with a kind, how many trainings are done, and all.

    Raises:
        UsageError: torch is not installed.
    """
    scores: list[Score] = []
    jobs = [(kind, seed) for kind in KINDS for seed in seeds]
    for index, (kind, seed) in enumerate(jobs):
        if progress is not None:
            progress(f"{kind} patterns", index, len(jobs))
        scores += scored(replace(plan or Plan(), kind=kind), seed)
    return ToyReport(tuple(scores))


def measure_turns(
    plan: Plan | None = None, *, seeds: Sequence[int] = (0,), progress: Progress | None = None
) -> TurnedReport:
    """Models of the asymmetric patterns, each shown one pattern at many angles.

    Raises: as `measure`.
    """
    scores = []
    for index, seed in enumerate(seeds):
        if progress is not None:
            progress("invariance", index, len(seeds))
        scores.append(turned(plan or Plan(), seed))
    return TurnedReport(tuple(scores))


@cache
def learned(plan: Plan, seed: int) -> Learned:
    """Patterns of a seed, and the model trained on them."""
    from picostem import checkpoint

    checkpoint.require("torch", "safetensors")
    from picostem.stem4d.model import RVAE

    rng, toy = np.random.default_rng(seed), plan.toy
    angles, strengths = toy.draw(plan.side**2, rng)
    patterns = toy.patterns(angles, strengths, rng).astype(np.uint16)
    scan = Scan4D.of(patterns.reshape(plan.side, plan.side, plan.size, plan.size))
    began = time.perf_counter()
    harmonics = angular_harmonics(scan)
    settings = replace(plan.settings, symmetry=toy.order)
    model = RVAE.build(harmonics, settings, seed=seed, device="cpu").train(harmonics, seed=seed)
    return Learned(model, scan, harmonics, angles, strengths, time.perf_counter() - began)


def scored(plan: Plan, seed: int) -> list[Score]:
    """The methods on the patterns of a seed."""
    made, toy = learned(plan, seed), plan.toy
    pairs = zip(made.angles.tolist(), made.strengths.tolist(), strict=True)
    bound = rms(np.array([toy.bound(*one) for one in pairs])) / DEGREE
    found = made.model.encode(made.harmonics)
    harmonic = made.harmonics.order(toy.order, made.harmonics.best_weights(toy.order))
    com = centre_of_mass(made.scan)

    def score(
        method: str, angle: FloatArray, sigma: FloatArray, strength: FloatArray, seconds: float | None = None
    ) -> Score:
        error, offset = deviations(angle.ravel(), made.angles, toy.order)
        return Score(
            plan.kind,
            seed,
            method,
            rms(error) / DEGREE,
            float(np.abs(error).mean()) / DEGREE,
            offset / DEGREE,
            bound,
            rms(error / sigma.ravel()),
            abs(rank_correlation(strength, made.strengths)),
            seconds,
        )

    return [
        score("rVAE", found.angle, found.angle_sigma, found.mean[:, 0], made.seconds),
        score(f"harmonic {toy.order}", harmonic.angle, harmonic.angle_sigma, harmonic.strength),
        score("CoM", np.arctan2(com.ky, com.kx), angle_sigma(com), np.hypot(com.kx, com.ky)),
    ]


def turned(plan: Plan, seed: int) -> Turned:
    """The model of a seed on one pattern without noise, turned."""
    made = learned(plan, seed)
    turns: NDArray[np.float64] = 2 * np.pi * np.arange(TURNS) / TURNS
    clean = np.array([plan.toy.clean(angle, STRENGTH) for angle in turns])
    rings, orders = made.harmonics.values.shape[1:]
    found = made.model.encode(angular_harmonics(Scan4D.of(clean[None]), rings, orders - 1))
    error, _ = deviations(found.angle, turns, plan.toy.order)
    usual = made.model.encode(made.harmonics).mean[:, 0].std()
    spread = float(found.mean[:, 0].std() / usual)
    return Turned(seed, spread, rms(error) / DEGREE, float(np.abs(error).max()) / DEGREE)


def _row(group: Sequence[Score]) -> tuple[str, ...]:
    """Means over seeds, and the worst one."""

    def mean(name: str) -> float:
        return float(np.mean([getattr(one, name) for one in group]))

    offsets = [one.offset_deg for one in group]
    return (
        group[0].kind,
        group[0].method,
        number(mean("rms_deg"), 3),
        number(max(one.rms_deg for one in group), 3),
        number(mean("mean_deg"), 3),
        number(float(np.mean([one.rms_deg / one.bound_deg for one in group])), 2),
        number(mean("pull"), 2),
        number(mean("rho"), 3),
        number(min(one.rho for one in group), 3),
        f"{min(offsets):.2f} to {max(offsets):.2f}",
        number(mean("seconds") if group[0].seconds is not None else None, 0),
    )
