"""Which simulations resemble the experiment: features, an embedding in a plane, clusters, the nearest (Trident I)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from picostem.errors import UsageError
from picostem.style.features import LEAST_EXTENT, Extractor, lattice_features
from picostem.style.picture import Picture

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

LEAST_PICTURES = 7
"""With six neighbours, two effective ones (perplexity 2) are the least that t-SNE can weigh."""
CORNER = 0.65
"""Side of a corner over that of the picture: two of them share a fifth of their pixels, near their edges."""
# t-SNE wants three times as many neighbours as its perplexity (van der Maaten, J. Mach. Learn. Res. 15, 3221 (2014)).
_NEIGHBOURS = 3
# Pictures up to which the gradient of t-SNE is summed exactly: as fast as Barnes-Hut there.
_EXACT = 600


@dataclass(frozen=True)
class SelectSettings:
    """How to select; published values.

    Attributes:
        keep: how many simulations at most, the nearest; None for all in the experiment's clusters.
        perplexity: of t-SNE.
        clusters: K of K-means.
        seed: of t-SNE and K-means.
        weigh: whether features count by how much they differ between pictures, compared to within them; see `select`.

    Raises:
        UsageError: for numbers that are not positive.
    """

    keep: int | None = None
    perplexity: float = 12.0
    clusters: int = 2
    seed: int = 0
    weigh: bool = False

    def __post_init__(self) -> None:
        if self.keep is not None and self.keep < 1:
            raise UsageError(f"at least one simulation is to be kept, got {self.keep}")
        if not (math.isfinite(self.perplexity) and self.perplexity > 0) or self.clusters < 1:
            raise UsageError(f"perplexity and clusters must be positive, got {self.perplexity} and {self.clusters}")


@dataclass(frozen=True, eq=False)
class Selection:
    """What was selected, and from where.

    Attributes:
        experiment, simulated: places in the embedding, shapes (experimental pictures, 2) and (simulations, 2).
        experiment_labels, simulated_labels: cluster of each.
        distances: of each simulation from the nearest experimental picture in the embedding, shape (simulations,).
        kept: indices of the simulations that are kept, the nearest first.
        perplexity: that was used.
        notes: what did not go as asked, a sentence each.
    """

    experiment: FloatArray
    simulated: FloatArray
    experiment_labels: IntArray
    simulated_labels: IntArray
    distances: FloatArray
    kept: IntArray
    perplexity: float
    notes: tuple[str, ...]


def select(
    experiment: Sequence[Picture],
    simulated: Sequence[Picture],
    settings: SelectSettings = SelectSettings(),
    extractor: Extractor = lattice_features,
) -> Selection:
    """Select the simulations in the clusters of the experimental pictures and nearest to them.

    Features of both sets are standardised together, brought to a plane by t-SNE, and divided by K-means there. TED-Gen,
    Methods, Data selection. Compared are the squares around the centres that all pictures have, so that all show as
    much; their pixel sizes should be the same. Equal arguments give equal selections.

    Standardised alone, a feature that is nothing but noise counts as much as one that tells stackings apart. If they
    are to be weighed, each is multiplied by (1 - w/v)², w its variance between two corners of one picture, v that among
    all corners. Where few features tell (the twist of hexagonal layers) this decides; for slips, it changes little.

    Raises:
        UsageError: no experimental picture, or too few pictures.
    """
    if not len(experiment) or len(experiment) + len(simulated) < LEAST_PICTURES:
        raise UsageError(
            f"got {len(experiment)} experimental and {len(simulated)} simulated pictures; expected at least 1, and "
            f"{LEAST_PICTURES} together: take more simulations"
        )
    pictures = _alike([*experiment, *simulated])
    features = _standardised(extractor(pictures))
    perplexity, notes = _perplexity(len(features), settings.perplexity)
    if settings.weigh and pictures[0].extent * CORNER >= LEAST_EXTENT:
        features = features * _reliability(pictures, extractor)
    elif settings.weigh:
        notes += (f"features are not weighed: that takes pictures of {LEAST_EXTENT / CORNER:.3g} Å on a side",)
    points = _embedded(features, perplexity, settings.seed)
    labels = _clusters(points, min(settings.clusters, len(points)), settings.seed)
    count = len(experiment)
    gaps = np.linalg.norm(points[count:, None] - points[None, :count], axis=-1)
    distances = gaps.min(axis=1)
    inside = np.isin(labels[count:], labels[:count])
    if not inside.any():
        notes += ("no simulation is in a cluster of an experimental picture; the nearest of all are kept instead",)
        inside[:] = True
    order = np.argsort(distances, kind="stable")
    kept = order[inside[order]][: settings.keep]
    parts = (points[:count], points[count:], labels[:count], labels[count:])
    return Selection(*parts, distances, kept, perplexity, notes)


def nearest(
    experiment: Sequence[Picture],
    simulated: Sequence[Picture],
    count: int,
    extractor: Extractor = lattice_features,
) -> tuple[tuple[int, ...], ...]:
    """Of each experimental picture, the `count` simulations whose features are nearest to those of any part of it.

    Distances are taken between standardised features themselves: an embedding in a plane keeps clusters, not
    neighbours.

    Raises:
        UsageError: no picture of one kind, or a count that is not positive.
    """
    if not len(experiment) or not len(simulated) or count < 1:
        raise UsageError(
            f"expected pictures of both kinds and a positive count; got {len(experiment)} experimental and "
            f"{len(simulated)} simulated pictures, and {count}"
        )
    extent = min(picture.extent for picture in (*experiment, *simulated))
    parts = [(index, part) for index, picture in enumerate(experiment) for part in cut(picture, extent)]
    features = _standardised(extractor(_alike([*(part for _, part in parts), *simulated])))
    owners, own, others = np.array([index for index, _ in parts]), features[: len(parts)], features[len(parts) :]
    gaps = np.linalg.norm(others[:, None] - own[None], axis=-1)
    ranked = (np.argsort(gaps[:, owners == index].min(axis=1), kind="stable") for index in range(len(experiment)))
    return tuple(tuple(order[:count].tolist()) for order in ranked)


def cut(picture: Picture, extent: float) -> tuple[Picture, ...]:
    """Squares of a side, evenly spread over the picture, neighbours overlapping by half or more.

    Args:
        extent: side, Å.

    Raises:
        UsageError: the picture is smaller than that.
    """
    side = round(extent / picture.pixel_size)
    if not 1 <= side <= min(picture.data.shape):
        raise UsageError(f"{picture.name}: {picture.extent:.3g} Å on a side, too small for patches of {extent:g} Å")
    rows, columns = (_starts(n, side) for n in picture.data.shape)
    return tuple(
        replace(picture, data=picture.data[row : row + side, column : column + side])
        for row in rows
        for column in columns
    )


def _alike(pictures: Sequence[Picture]) -> list[Picture]:
    """The centre squares of the pictures, as large (Å) as that of the smallest."""
    extent = min(picture.extent for picture in pictures)
    squares = []
    for picture in pictures:
        side = min(round(extent / picture.pixel_size), *picture.data.shape)
        row, column = ((n - side) // 2 for n in picture.data.shape)
        squares.append(replace(picture, data=picture.data[row : row + side, column : column + side]))
    return squares


def _starts(length: int, side: int) -> list[int]:
    count = 1 + math.ceil(2 * (length - side) / side)
    return [round(start) for start in np.linspace((length - side) / 2 if count == 1 else 0, length - side, count)]


def _standardised(features: FloatArray) -> FloatArray:
    """Each column less its mean, over its standard deviation; constant ones become 0."""
    spread = features.std(axis=0)
    varies = spread > 1e-9 * np.abs(features).max(axis=0)  # rounding of equal numbers stays far below
    return np.asarray(np.where(varies, features - features.mean(axis=0), 0) / np.where(varies, spread, 1))


def _reliability(pictures: Sequence[Picture], extractor: Extractor) -> FloatArray:
    """(1 - w/v)² of each feature, 0 where w exceeds v, from two opposite corners of each picture; shape (features,)."""
    sides = [round(min(one.data.shape) * CORNER) for one in pictures]
    first = [replace(one, data=one.data[:n, :n]) for one, n in zip(pictures, sides, strict=True)]
    second = [replace(one, data=one.data[-n:, -n:]) for one, n in zip(pictures, sides, strict=True)]
    corners = np.stack([extractor(first), extractor(second)])
    within = np.square(corners[0] - corners[1]).mean(axis=0) / 2
    among = corners.var(axis=(0, 1))
    return np.asarray(np.clip(1 - within / np.where(among > 0, among, np.inf), 0, 1) ** 2)


def _perplexity(count: int, asked: float) -> tuple[float, tuple[str, ...]]:
    most = (count - 1) / _NEIGHBOURS
    if asked <= most:
        return asked, ()
    return most, (f"perplexity {most:.3g} instead of {asked:g}: there are only {count} pictures",)


def _embedded(features: FloatArray, perplexity: float, seed: int) -> FloatArray:
    from sklearn.manifold import TSNE

    if not features.any():
        raise UsageError("all pictures have equal features: there is nothing to select by")
    method = "exact" if len(features) <= _EXACT else "barnes_hut"
    init = "pca" if min(features.shape) >= 2 else "random"
    tsne = TSNE(n_components=2, perplexity=perplexity, init=init, method=method, random_state=seed, n_jobs=1)
    return np.asarray(tsne.fit_transform(features), dtype=np.float64)


def _clusters(points: FloatArray, count: int, seed: int) -> IntArray:
    from sklearn.cluster import KMeans

    return np.asarray(KMeans(n_clusters=count, n_init=10, random_state=seed).fit_predict(points), dtype=np.intp)
