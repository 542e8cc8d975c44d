"""Output-layer inspection: the blobs in a network's heat maps, described and sorted into classes without labels.

What a network gives an atom, how strong a blob, how large, of what shape and in which channel, differs between atoms
that it was never taught to tell apart (Ziatdinov et al., arXiv 1801.05133). Blobs are sorted by a mixture of Gaussians
with the number of classes that has the least BIC.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from picostem.atoms.card import AtomCard
from picostem.errors import DataError, UsageError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

THRESHOLD = 0.5
"""Least probability of a pixel of a blob."""
MOST = 8  # classes
FEWEST = 4  # blobs of a class, on average over classes
LEAST = 1e-4  # probability whose odds are still told from smaller ones
STARTS = 3  # of the mixture's fit
NARROWEST = 1e-3  # variance of a class, in that of all blobs
DESCRIPTORS = ("strength", "peak", "area", "eccentricity")
"""Of the blobs of a network with one channel; of those of several, `profile` tells most."""


@dataclass(frozen=True, eq=False)
class Blobs:
    """Blobs of heat maps, in the maps' pixels, each array of shape (n,) unless it says otherwise.

    Attributes:
        row, col: centre of mass of what is above the threshold, which all moments are of. profile: mean of each channel
            over the blob, weighted by its probabilities, shape (n, channels).
            strength: sum of its probabilities. peak: highest of them. area: pixels. eccentricity: 0 of a circle, 1 of a
            line.
            orientation: of the long axis, radians from columns towards rows, above -pi/2 up to pi/2. border: whether it
            touches the image's.
    """

    row: FloatArray
    col: FloatArray
    profile: FloatArray
    strength: FloatArray
    peak: FloatArray
    area: FloatArray
    eccentricity: FloatArray
    orientation: FloatArray
    border: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.row)

    @property
    def channel(self) -> IntArray:
        """The one that is highest in each blob, shape (n,)."""
        return self.profile.argmax(axis=1) if len(self) else np.zeros(0, dtype=np.int64)

    def __getitem__(self, chosen: NDArray[np.bool_]) -> Blobs:
        return Blobs(**{one.name: getattr(self, one.name)[chosen] for one in fields(self)})

    def numbers(self) -> FloatArray:
        """What describes each blob, shape (n, k): log odds of all channels, or of a single one the DESCRIPTORS."""
        if self.profile.shape[1] > 1:
            chance = np.clip(self.profile, LEAST, 1 - LEAST)
            return np.log(chance / (1 - chance))
        return np.column_stack([getattr(self, name) for name in DESCRIPTORS]).astype(np.float64)


def find_blobs(heat: NDArray[np.floating], threshold: float = THRESHOLD) -> Blobs:
    """The blobs of the highest channel, pixels above the threshold that touch along a side.

    Args:
        heat: probabilities, shape (classes, rows, columns).

    Raises:
        UsageError: heat of another number of axes, or a threshold that is no probability.
    """
    if heat.ndim != 3:
        raise UsageError(f"expected heat maps of shape (classes, rows, columns), got {heat.shape}")
    if not 0 < threshold < 1:
        raise UsageError(f"the threshold is {threshold:g}: expected a probability between 0 and 1")
    best = heat.max(axis=0)
    label, count = ndimage.label(best > threshold)
    row, col = np.nonzero(label)
    blob = label[row, col] - 1
    value = best[row, col].astype(np.float64)

    def total(values: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(blob, values, count), dtype=np.float64)

    above = value - threshold
    mass = total(above)
    middle = [total(above * x) / mass for x in (row, col)]
    away = [x - m[blob] for x, m in zip((row, col), middle, strict=True)]
    order = [(2, 0), (0, 2), (1, 1)]
    mu = {(p, q): total(above * away[1] ** p * away[0] ** q) for p, q in order}
    peak, last = np.zeros(count), np.array(best.shape) - 1
    np.maximum.at(peak, blob, value)
    border = total(((row == 0) | (col == 0) | (row == last[0]) | (col == last[1])).astype(np.float64)) > 0
    area = total(np.ones(len(blob)))
    long_, short, orientation = _axes(mu, mass)
    strength = total(value)
    profile = np.stack([total(value * channel[row, col]) for channel in heat.astype(np.float64)], axis=1)
    return Blobs(
        middle[0], middle[1], profile / strength[:, None], strength, peak, area,
        np.sqrt(np.clip(1 - short / np.maximum(long_, 1e-300), 0, 1)), orientation, border,
    )  # fmt: skip


Moments = dict[tuple[int, int], FloatArray]


def _axes(mu: Moments, mass: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Variances along the long and the short axis, pixels², and the direction of the former."""
    xx, yy, xy = (mu[key] / mass for key in ((2, 0), (0, 2), (1, 1)))
    mean, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    return mean + half, mean - half, np.arctan2(2 * xy, xx - yy) / 2


@dataclass(frozen=True, eq=False)
class Inspection:
    """The blobs of an image, or of a movie's frames.

    Attributes:
        blobs: of all frames, in pixels of the image. frame: of each, shape (n,). sorted: their classes. card: the
            network's.
    """

    blobs: Blobs
    frame: IntArray
    sorted: BlobClasses
    card: AtomCard

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the network's."""
        return self.card.classes

    @classmethod
    def of(cls, frames: Sequence[Blobs], card: AtomCard) -> Inspection | None:
        """Blobs frame by frame, sorted together; None if there are none."""
        names = [one.name for one in fields(Blobs)]
        blobs = Blobs(**{name: np.concatenate([getattr(one, name) for one in frames]) for name in names})
        frame = np.repeat(np.arange(len(frames)), [len(one) for one in frames])
        return cls(blobs, frame, sort_blobs(blobs), card) if len(blobs) else None

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """Of a table: a row for each blob; class 1 is the strongest, `p` the probability that what the channel says is
        there."""
        blobs, label = self.blobs, self.sorted.label
        return {
            "frame": self.frame,
            "row": blobs.row,
            "col": blobs.col,
            "channel": np.array(self.channels)[blobs.channel],
            **{f"in {name}": blobs.profile[:, k] for k, name in enumerate(self.channels) if len(self.channels) > 1},
            **{name: getattr(blobs, name) for name in (*DESCRIPTORS, "orientation")},
            "p": self.card.probability(blobs.peak),
            "class": label + 1,
            "p_class": self.sorted.probability[np.arange(len(label)), label],
        }


@dataclass(frozen=True)
class BlobClass:
    """A class of blobs: how many are most likely of it, their commonest channel, and medians of what describes them."""

    blobs: int
    channel: int
    strength: float
    peak: float
    area: float
    eccentricity: float


@dataclass(frozen=True, eq=False)
class BlobClasses:
    """Blobs sorted into classes, the strongest class first.

    Attributes:
        classes: without those that no blob is of. probability: of each class for each blob, shape (n, k). label: the
            likeliest class, shape (n,).
    """

    classes: tuple[BlobClass, ...]
    probability: FloatArray
    label: IntArray


def sort_blobs(blobs: Blobs, most: int = MOST, seed: int = 0) -> BlobClasses:
    """Classes of blobs.

    Args:
        most: classes. seed: of the starts of the fit.

    Raises:
        DataError: there are no blobs.
    """
    if not len(blobs):
        raise DataError("there are no blobs to sort: lower the threshold, or train the network longer")
    probability = _mixture(blobs.numbers(), blobs.border, most, seed)
    probability = probability[:, np.unique(probability.argmax(axis=1))]
    probability /= probability.sum(axis=1, keepdims=True)
    label = probability.argmax(axis=1)
    order = np.argsort([-np.median(blobs.strength[label == k]) for k in range(probability.shape[1])], kind="stable")
    label = np.argsort(order)[label]
    return BlobClasses(tuple(_class(blobs[label == k]) for k in range(len(order))), probability[:, order], label)


def _class(blobs: Blobs) -> BlobClass:
    middle = {name: float(np.median(getattr(blobs, name))) for name in DESCRIPTORS}
    return BlobClass(len(blobs), int(np.bincount(blobs.channel).argmax()), **middle)


def _mixture(numbers: FloatArray, border: NDArray[np.bool_], most: int, seed: int) -> FloatArray:
    """Probability of each class for blobs, shape (n, k), the mixture being that of whole blobs.

    Covariances are diagonal: of a full one, a few blobs would not tell all numbers.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    whole = numbers[~border]
    spread = whole.std(axis=0) if len(whole) else np.zeros(numbers.shape[1])
    tells = spread > 0
    largest = min(most, len(whole) // FEWEST)
    if largest < 2 or not tells.any():
        return np.ones((len(numbers), 1))
    middle = whole.mean(axis=0)
    scaled = ((numbers - middle)[:, tells]) / spread[tells]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # BIC judges it as it is
        tried = [
            GaussianMixture(k, covariance_type="diag", reg_covar=NARROWEST, n_init=STARTS, random_state=seed).fit(
                scaled[~border]
            )
            for k in range(1, largest + 1)
        ]
    best = min(tried, key=lambda one: float(one.bic(scaled[~border])))
    return np.asarray(best.predict_proba(scaled))
