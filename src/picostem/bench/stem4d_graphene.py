"""Defects in graphene by multislice: who finds them in patterns of few electrons, and who tells directions.

A defect's truth is physics, not a radius: a scan position is defective where the pattern without noise differs from
that of perfect graphene on the same lattice by a total variation distance, half the sum of |p - q| over the pixels, of
more than DEFECTIVE. Anomaly is unsupervised and the same for all features: robust Mahalanobis distance from most of
the scan. Directions of deflection are compared with psi_1 of the atoms (`picostem.simulate.truth4d`) where that is
above its median, and three-fold ones with the lattice where psi_3 is, modulo 60°, as the two atoms of the cell look
opposite ways. One offset is taken off, and told.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from picostem.bench.stem4d_scores import anomaly, deviations, rank_correlation, roc_auc
from picostem.bench.table import Table, number
from picostem.physics import DEGREE, KV, MRAD, FloatArray
from picostem.simulate.scan4d import Scan4DSettings, Simulated4D, corrected_microscope, simulate_scan4d
from picostem.simulate.specimen import BOND, Specimen, graphene
from picostem.stem4d.com import centre_of_mass
from picostem.stem4d.harmonics import angular_harmonics
from picostem.stem4d.repeat import unusual
from picostem.stem4d.scan import Detector, Scan4D
from picostem.stem4d.settings import RVAESettings
from picostem.stem4d.virtual import annular, virtual_image
from picostem.structure import rotation_matrix

Progress = Callable[[str, int, int], None]

SETTINGS = RVAESettings(latent=3)
DEFECTS = ("vacancy", "Si3", "Si4")
ELECTRONS = (1e2, 1e3, 1e4, 1e5, math.inf)
MANY = 1e9
"""Electrons of patterns without noise: what is left of theirs is nothing."""
DEFECTIVE = 0.005
"""Total variation distance. Patterns of perfect graphene differ by 0.011 from their mean, those 8 Å from a vacancy by
less than 0.001 from those without it."""
BEYOND = 0.72
"""1/Å from which on the dark field counts: 1.1 radii of the disk."""
TINY = 1e-12
"""Share of the beam that a pixel has at least: a logarithm is taken."""
ORDERS = range(1, 7)
COMPONENTS = 8
DEFLECTIONS = ("CoM", "harmonic 1")
METHODS = ("CoM", "harmonics", "PCA", "rVAE", "rVAE + evidence")
REPEAT = "unlike other cells"
KNOWN = "both patterns known"
AUC_HEAD = ("defect", "electrons", "defective", *METHODS, REPEAT, KNOWN)
ANGLE_HEAD = (
    "defect", "electrons", "deflection: CoM °", "harmonic 1 °", "offsets °", "lattice: harmonic 3 °", "rVAE °",
    "ρ |psi_1|: CoM", "harmonic 1", "ρ |psi_3|: harmonic 3", "rVAE's best z",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What is scanned and learned; lengths in Å, rotation of the lattice in rad."""

    field: float = 20.0
    step: float = 0.31
    rotation: float = 7 * DEGREE
    source_fwhm: float = 0.5
    settings: RVAESettings = SETTINGS


@dataclass(frozen=True, eq=False)
class Truth:
    """A scan without noise, and the patterns of the same positions without the defect, shape (rows, cols, k, k)."""

    scan: Simulated4D
    perfect: NDArray[np.float32]

    @cached_property
    def distance(self) -> FloatArray:
        """Total variation, shape (rows, columns)."""
        return np.asarray(np.abs(self.scan.patterns - self.perfect).sum(axis=(2, 3), dtype=np.float64) / 2)

    def likelihood_ratio(self, recorded: Scan4D, electrons: float) -> FloatArray:
        """Logarithm of the likelihood of each recorded pattern with the defect over that without, both known, (rows,
        columns): no test of one pattern tells them better (Neyman and Pearson)."""
        p, q = (np.maximum(one, TINY, dtype=np.float64) for one in (self.scan.patterns, self.perfect))
        return np.asarray((recorded.data * np.log(p / q) - electrons * (p - q)).sum(axis=(2, 3)))

    @property
    def defective(self) -> NDArray[np.bool_]:
        """Positions of the scan, shape (rows, columns)."""
        return self.distance > DEFECTIVE


@dataclass(frozen=True)
class Score:
    """One defect at one dose.

    Attributes:
        electrons: per pattern; None without noise. defective: share of the positions. auc: by method, and of the
            likelihood ratio of patterns that are both known. angle_deg: mean |error| of CoM and harmonic 1 against
            psi_1 (chance: 90), of harmonic 3 and the autoencoder modulo 60° against the lattice (chance: 15).
            offset_deg: that were taken off. rho: Spearman's, of strengths with |psi_1| and |psi_3|; of the autoencoder
            the latent with the most, without its sign. seconds: of its training.
    """

    defect: str
    electrons: float | None
    defective: float
    auc: dict[str, float]
    angle_deg: dict[str, float]
    offset_deg: dict[str, float]
    rho: dict[str, float]
    seconds: float | None = None


@dataclass(frozen=True)
class GrapheneReport:
    """All defects and doses."""

    scores: tuple[Score, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"defective_total_variation": DEFECTIVE, "scores": [asdict(one) for one in self.scores]}

    def tables(self) -> list[Table]:
        """Detection, and directions."""
        title = f"Defects of graphene (patterns that differ by {100 * DEFECTIVE:g} %): ROC-AUC of what is odd"
        found = Table(title, AUC_HEAD, tuple(_auc_row(one) for one in self.scores))
        angles = Table(
            "Directions and strengths in graphene", ANGLE_HEAD, tuple(_angle_row(one) for one in self.scores)
        )
        return [found, angles]


def measure(
    plan: Plan | None = None,
    defects: Sequence[str] = DEFECTS,
    electrons: Sequence[float] = ELECTRONS,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> GrapheneReport:
    """Every defect at every dose; an infinite one is without noise, and without the autoencoder.

    Args:
        progress: called with a defect and a dose, how many are done, and all.

    Raises:
        UsageError: abTEM or torch is not installed.
    """
    scores = []
    for first, defect in enumerate(defects):
        truth = simulate(plan or Plan(), defect)
        for second, dose in enumerate(electrons):
            if progress is not None:
                progress(
                    f"{defect}, {dose:g} electrons", first * len(electrons) + second, len(defects) * len(electrons)
                )
            rng = np.random.default_rng([seed, DEFECTS.index(defect), second])
            scores.append(score(plan or Plan(), defect, truth, dose, rng))
    return GrapheneReport(tuple(scores))


def simulate(plan: Plan, defect: str) -> Truth:
    """Patterns without noise of a defect, and of the lattice without it."""
    rng = np.random.default_rng(0)  # nothing is drawn
    microscope = corrected_microscope(60 * KV, 32 * MRAD, source_fwhm=plan.source_fwhm)
    settings = Scan4DSettings((plan.field, plan.field), plan.step, math.inf)
    side = settings.side(microscope)
    scan = simulate_scan4d(graphene(defect, side, plan.rotation), microscope, settings, rng)
    perfect = simulate_scan4d(_without(defect, side, plan.rotation), microscope, settings, rng)
    return Truth(scan, perfect.patterns)


def _without(defect: str, side: float, rotation: float) -> Specimen:
    """Perfect graphene on the lattice of a defect: Si4 stands in the middle of a bond, the others on an atom."""
    whole = graphene(None, side + 2 * BOND, rotation)
    if defect == "Si4":
        whole.atoms.positions[:, :2] += rotation_matrix(rotation) @ [0, -BOND / 2]
    return whole


def score(plan: Plan, defect: str, truth: Truth, electrons: float, rng: np.random.Generator) -> Score:
    """All methods on one recording."""
    scan = _recorded(truth.scan, electrons, rng)
    com, harmonics = centre_of_mass(scan), angular_harmonics(scan)
    orders = {m: harmonics.order(m, harmonics.best_weights(m)) for m in ORDERS}
    psi_1, psi_3 = truth.scan.maps["psi_1"], truth.scan.maps["psi_3"]
    features = {
        "CoM": com.vectors.reshape(-1, 2),
        "harmonics": np.stack([np.abs(one.value).ravel() for one in orders.values()], axis=1),
        "PCA": principal_components(scan),
    }
    angles = {"CoM": np.arctan2(com.ky, com.kx), "harmonic 1": orders[1].angle, "harmonic 3": orders[3].angle}
    rho = {
        "CoM": rank_correlation(np.hypot(com.kx, com.ky), np.abs(psi_1)),
        "harmonic 1": rank_correlation(orders[1].strength, np.abs(psi_1)),
        "harmonic 3": rank_correlation(orders[3].strength, np.abs(psi_3)),
    }
    seconds = None
    if math.isfinite(electrons):
        from picostem import checkpoint

        checkpoint.require("torch", "safetensors")
        from picostem.stem4d.model import RVAE

        began, seed = time.perf_counter(), int(rng.integers(2**31))
        model = RVAE.build(harmonics, plan.settings, seed=seed, device="cpu").train(harmonics, seed=seed)
        seconds, found = time.perf_counter() - began, model.encode(harmonics)
        features["rVAE"] = found.mean
        features["rVAE + evidence"] = np.column_stack([found.mean, found.evidence])
        angles["rVAE"] = found.angle.reshape(scan.shape)
        rho["rVAE"] = max(abs(rank_correlation(z, np.abs(psi_3))) for z in found.mean.T)
    auc = {name: roc_auc(truth.defective, anomaly(values)) for name, values in features.items()}
    dark = virtual_image(scan, annular(scan.detector, BEYOND))
    odd = unusual(np.concatenate([com.vectors, dark[..., None]], axis=-1))
    if odd is not None:
        known = np.isfinite(odd)
        auc[REPEAT] = roc_auc(truth.defective[known], odd[known])
    auc[KNOWN] = roc_auc(truth.defective, truth.likelihood_ratio(scan, min(electrons, MANY)))
    one, three = (np.abs(psi) > np.median(np.abs(psi)) for psi in (psi_1, psi_3))
    deflection = np.angle(psi_1[one])
    errors = {
        name: _error(angle[one], deflection, 1) if name in DEFLECTIONS else _error(angle[three], plan.rotation, 6)
        for name, angle in angles.items()
    }
    return Score(
        defect,
        electrons if math.isfinite(electrons) else None,
        float(truth.defective.mean()),
        auc,
        {name: error for name, (error, _) in errors.items()},
        {name: offset for name, (_, offset) in errors.items()},
        rho,
        seconds,
    )


def _recorded(scan: Simulated4D, electrons: float, rng: np.random.Generator) -> Scan4D:
    """Electrons counted, with the detector calibrated."""
    side = scan.patterns.shape[2]
    plain = Detector.plain((side, side), 60 * KV)
    detector = replace(plain, matrix=np.array([[0.0, scan.pixel], [-scan.pixel, 0.0]]), unit="1/Å")
    if math.isfinite(electrons):
        rows = [rng.poisson(electrons * row.astype(np.float64)).astype(np.uint16) for row in scan.patterns]
        return Scan4D.of(np.array(rows), step_A=(scan.step, scan.step), detector=detector)
    return Scan4D.of(np.float32(MANY) * scan.patterns, step_A=(scan.step, scan.step), detector=detector)


def principal_components(scan: Scan4D) -> FloatArray:
    """Patterns in their first principal components, shape (n, COMPONENTS)."""
    from sklearn.decomposition import PCA

    patterns = np.asarray(scan.data, np.float32).reshape(math.prod(scan.shape), -1)
    count = min(COMPONENTS, len(patterns))
    return np.asarray(PCA(count, svd_solver="randomized", random_state=0).fit_transform(patterns), np.float64)


def _error(angle: FloatArray, true: ArrayLike, order: int) -> tuple[float, float]:
    """Mean |error| and offset, degrees, of angles modulo 2 pi/order."""
    error, offset = deviations(angle, true, order)
    return float(np.abs(error).mean()) / DEGREE, offset / DEGREE


def _auc_row(one: Score) -> tuple[str, ...]:
    shown = (number(one.auc.get(name), 2) for name in (*METHODS, REPEAT, KNOWN))
    return one.defect, _electrons(one), f"{100 * one.defective:.1f} %", *shown


def _angle_row(one: Score) -> tuple[str, ...]:
    errors = [number(one.angle_deg.get(name), 1) for name in ("CoM", "harmonic 1", "harmonic 3", "rVAE")]
    offsets = ", ".join(number(one.offset_deg[name], 0) for name in DEFLECTIONS)
    rho = (number(one.rho.get(name), 3) for name in ("CoM", "harmonic 1", "harmonic 3", "rVAE"))
    return one.defect, _electrons(one), *errors[:2], offsets, *errors[2:], *rho


def _electrons(one: Score) -> str:
    return "no noise" if one.electrons is None else f"{one.electrons:g}"
