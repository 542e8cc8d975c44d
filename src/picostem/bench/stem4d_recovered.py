"""A scan of graphene recovered from published figures: what maps of its patterns have in common with its HAADF.

The file holds scores (maps) and components (patterns) of the mean-subtracted patterns of Oxley et al., npj Comput.
Mater. 7, 65 (2021), read off their figures, of which RANK are more than noise; and the HAADF recorded with them. The
patterns are no counts: the first moment stands for the centre of mass, which needs counts, and the autoencoder takes
Gaussian noise. The truth is not known: the HAADF is an independent signal of the same atoms.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picostem.bench.stem4d_graphene import principal_components
from picostem.bench.stem4d_scores import anomaly, rank_correlation, roc_auc
from picostem.bench.table import Table, number
from picostem.errors import FileError
from picostem.physics import FloatArray
from picostem.stem4d.calibrate import find_disk, with_centre
from picostem.stem4d.compare import agreements
from picostem.stem4d.harmonics import angular_harmonics
from picostem.stem4d.scan import Scan4D
from picostem.stem4d.settings import RVAESettings

Progress = Callable[[str, int, int], None]

RANK = 13
ARRAYS = ("scores", "components", "haadf_64x64_u8")
SETTINGS = RVAESettings(latent=3, likelihood="gaussian")
ORDERS = (1, 2, 3, 6)
BLOCK = 8
"""Positions on the side of the squares that are predicted from all others."""
NEIGHBOURS = 15
HEAD = (
    "what", "numbers", "|ρ|, best one", "nats, best one", "ρ, all, predicted", "ROC-AUC, atoms", "ROC-AUC, defects",
)  # fmt: skip


@dataclass(frozen=True)
class Score:
    """Numbers about each position against the HAADF.

    Attributes:
        count: of numbers. rho, information: of the one that has most in common with it: Spearman's rank correlation
            without its sign, mutual information in nats. predicted: rank correlation of the HAADF with what the
            NEIGHBOURS nearest positions outside of the same square say it is. atoms: ROC-AUC of that prediction for the
            brightest quarter. defects: ROC-AUC of what is odd, for defects that the HAADF shows; None without any.
    """

    method: str
    count: int
    rho: float
    information: float
    predicted: float
    atoms: float
    defects: float | None


@dataclass(frozen=True)
class RecoveredReport:
    """All methods; defects: that the HAADF shows when its lattice is taken off, `largest` the oddest peak in standard
    deviations. seconds: of the training."""

    scores: tuple[Score, ...]
    defects: int
    largest: float
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def tables(self) -> list[Table]:
        """One line for each method."""
        shown = f"{self.defects or 'no'} defect{'s' * (self.defects != 1)} in the HAADF, largest {self.largest:.1f} σ"
        rows = tuple(
            (
                one.method, str(one.count), number(one.rho, 3), number(one.information, 3), number(one.predicted, 3),
                number(one.atoms, 3), number(one.defects, 3),
            )
            for one in self.scores
        )  # fmt: skip
        return [Table(f"Recovered from published figures; {shown}", HEAD, rows)]


def measure(
    path: Path, settings: RVAESettings = SETTINGS, *, seed: int = 0, progress: Progress | None = None
) -> RecoveredReport:
    """All methods on the scan of a file.

    Raises:
        FileError: it cannot be read, or is no such file. UsageError: torch is not installed. ImageError: its HAADF
            shows no lattice.
    """
    from picostem import checkpoint

    checkpoint.require("torch", "safetensors")
    from picostem.stem4d.model import RVAE

    if progress is not None:
        progress(path.name, 0, 1)
    patterns, haadf = read(path)
    scan = centred(patterns)
    harmonics = angular_harmonics(scan)
    began = time.perf_counter()
    model = RVAE.build(harmonics, settings, seed=seed, device="cpu").train(harmonics, seed=seed)
    seconds, found = time.perf_counter() - began, model.encode(harmonics)
    strengths = [np.abs(harmonics.values[:, :, m] @ harmonics.best_weights(m)) for m in ORDERS]
    components = principal_components(scan)
    features = {
        "first moment": first_moment(scan),
        "harmonics": np.stack(strengths, axis=1).astype(np.float64),
        "PCA": components,
        "PCA, as many as rVAE": components[:, : settings.latent],
        "rVAE": found.mean,
        "rVAE + angle": np.column_stack([found.mean, np.cos(found.angle), np.sin(found.angle)]),
    }
    odd, largest = defects_of(haadf)
    rng = np.random.default_rng(seed)
    scores = tuple(score(name, one, haadf, odd, rng) for name, one in features.items())
    return RecoveredReport(scores, _groups(odd), largest, seconds)


def read(path: Path) -> tuple[NDArray[np.float32], FloatArray]:
    """Patterns less their mean, shape (rows, columns, k, k), and the HAADF, shape (rows, columns).

    Raises: `FileError`.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in ARRAYS if name not in file]
            if missing:
                raise FileError(f"{path} holds no {missing[0]}: it is no scan recovered as scores and components")
            scores, components, haadf = (file[name] for name in ARRAYS)
    except (OSError, ValueError) as error:
        raise FileError(f"cannot read {path}: {error}") from error
    return np.einsum("kij,krc->ijrc", scores[:RANK], components[:RANK]), haadf.astype(np.float64)


def centred(patterns: NDArray[np.float32]) -> Scan4D:
    """The scan, its optic axis in the middle of the disk in which patterns differ from their mean."""
    scan = Scan4D.of(patterns, name="recovered from published figures")
    return with_centre(scan, find_disk(np.sqrt(np.mean(patterns.astype(np.float64) ** 2, axis=(0, 1)))).centre)


def first_moment(scan: Scan4D) -> FloatArray:
    """Sum of what a pattern has more than the mean times its place, x and y, shape (n, 2)."""
    moments = [np.tensordot(one, scan.detector.vectors(), 2) for _, one in scan.blocks()]
    return np.concatenate(moments).astype(np.float64)


def defects_of(haadf: FloatArray) -> tuple[NDArray[np.bool_], float]:
    """Positions where a peak more or less than the lattice is beyond THRESHOLD, shape (rows, columns), and the largest
    of all, in standard deviations."""
    from picostem.atoms.subtraction import THRESHOLD, subtract_lattice
    from picostem.image import Image

    score = subtract_lattice(Image(haadf.astype(np.float32), name="HAADF")).score
    return np.abs(score) > THRESHOLD, float(np.abs(score).max())


def score(
    method: str, features: FloatArray, haadf: FloatArray, odd: NDArray[np.bool_], rng: np.random.Generator
) -> Score:
    """Numbers about each position, shape (n, count), against the HAADF."""
    each: Mapping[str, FloatArray] = {str(k): one for k, one in enumerate(features.T)}
    common = agreements(each, {"HAADF": haadf}, rng)
    told = predicted(features, haadf)
    return Score(
        method,
        features.shape[1],
        max(abs(one.rho) for one in common),
        max(one.information for one in common),
        rank_correlation(told, haadf),
        roc_auc(haadf > np.quantile(haadf, 0.75), told),
        roc_auc(odd, anomaly(features)) if odd.any() else None,
    )


def predicted(features: FloatArray, haadf: FloatArray) -> FloatArray:
    """The HAADF of each position as the most similar positions outside of its square have it, of its shape."""
    from sklearn.neighbors import KNeighborsRegressor

    scaled = features / np.maximum(features.std(axis=0), 1e-300)
    row, column = np.indices(haadf.shape) // BLOCK
    square = (row * (column.max() + 1) + column).ravel()
    truth, out = haadf.ravel(), np.zeros(haadf.size)
    for one in np.unique(square):
        here = square == one
        out[here] = KNeighborsRegressor(NEIGHBOURS).fit(scaled[~here], truth[~here]).predict(scaled[here])
    return out.reshape(haadf.shape)


def _groups(odd: NDArray[np.bool_]) -> int:
    from scipy.ndimage import label

    return int(label(odd)[1])
