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

from picostem.errors import DataError, UsageError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

THRESHOLD = 0.5
"""Least probability of a pixel of a blob."""
LEAST_AREA = 4
"""Pixels of the smallest blob."""
MOST = 6  # classes of a channel
PER_NUMBER = 4  # blobs for each number that describes a class, at least
STARTS = 3  # of the mixture's fit
NARROWEST = 1e-3  # variance of a class, in that of all blobs
DESCRIPTORS = ("strength", "peak", "area", "eccentricity")


@dataclass(frozen=True, eq=False)
class Blobs:
    """Blobs of heat maps, in the maps' pixels, each array of shape (n,) unless it says otherwise.

    Attributes:
        row, col: centre of mass of what is above the threshold, which all moments are of. channel: the map. strength:
            sum of its probabilities. peak: highest of them. area: pixels. eccentricity: 0 of a circle, 1 of a line.
            orientation: of the long axis, radians from columns towards rows, above -pi/2 up to pi/2. hu: the seven
            moments of Hu (IRE Trans. Inf. Theory 8 (1962) 179), which stay where a blob is moved, turned or made
            larger, shape (n, 7). border: whether it touches the image's.
    """

    row: FloatArray
    col: FloatArray
    channel: IntArray
    strength: FloatArray
    peak: FloatArray
    area: FloatArray
    eccentricity: FloatArray
    orientation: FloatArray
    hu: FloatArray
    border: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, chosen: NDArray[np.bool_]) -> Blobs:
        return Blobs(**{one.name: getattr(self, one.name)[chosen] for one in fields(self)})

    def numbers(self, names: Sequence[str] = DESCRIPTORS) -> FloatArray:
        """What describes each blob, shape (n, k); `hu` are seven, as logarithms of their size with their sign.

        Raises:
            UsageError: an unknown name.
        """
        unknown = set(names) - {*DESCRIPTORS, "orientation", "hu"}
        if unknown or not names:
            expected = ", ".join([*DESCRIPTORS, "orientation", "hu"])
            raise UsageError(f"descriptors {sorted(unknown)} are not known: expected some of {expected}")
        parts = [getattr(self, name) for name in names]
        return np.column_stack([_logarithm(part) if part.ndim == 2 else part for part in parts]).astype(np.float64)


def _logarithm(hu: FloatArray) -> FloatArray:
    return np.asarray(np.sign(hu) * np.log1p(np.abs(hu) / 1e-6))  # invariants of round blobs are below that


def find_blobs(heat: NDArray[np.floating], threshold: float = THRESHOLD, least_area: int = LEAST_AREA) -> Blobs:
    """The blobs of each channel, pixels above the threshold that touch along a side, channel by channel.

    Args:
        heat: probabilities, shape (classes, rows, columns). least_area: pixels of the smallest that counts.

    Raises:
        UsageError: heat of another number of axes, or a threshold that is no probability.
    """
    if heat.ndim != 3:
        raise UsageError(f"expected heat maps of shape (classes, rows, columns), got {heat.shape}")
    if not 0 < threshold < 1:
        raise UsageError(f"the threshold is {threshold:g}: expected a probability between 0 and 1")
    label, count = ndimage.label(heat > threshold, structure=_TOUCHING)
    channel, row, col = np.nonzero(label)
    blob = label[channel, row, col] - 1
    value = heat[channel, row, col].astype(np.float64)

    def total(values: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(blob, values, count), dtype=np.float64)

    above = value - threshold
    mass = total(above)
    middle = [total(above * x) / mass for x in (row, col)]
    away = [x - m[blob] for x, m in zip((row, col), middle, strict=True)]
    order = [(p, q) for p in range(4) for q in range(4) if 2 <= p + q <= 3]
    mu = {(p, q): total(above * away[1] ** p * away[0] ** q) for p, q in order}
    peak, last = np.zeros(count), np.array(heat.shape[1:]) - 1
    np.maximum.at(peak, blob, value)
    first = np.zeros(count, dtype=np.int64)
    first[blob] = channel
    border = total(((row == 0) | (col == 0) | (row == last[0]) | (col == last[1])).astype(np.float64)) > 0
    area = total(np.ones(len(blob)))
    long_, short, orientation = _axes(mu, mass)
    blobs = Blobs(
        middle[0], middle[1], first, total(value), peak, area,
        np.sqrt(np.clip(1 - short / np.maximum(long_, 1e-300), 0, 1)), orientation, _hu(mu, mass), border,
    )  # fmt: skip
    return blobs[area >= least_area]


_TOUCHING = ndimage.generate_binary_structure(3, 1)
_TOUCHING[[0, 2]] = False  # not from channel to channel


Moments = dict[tuple[int, int], FloatArray]


def _axes(mu: Moments, mass: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Variances along the long and the short axis, pixels², and the direction of the former."""
    xx, yy, xy = (mu[key] / mass for key in ((2, 0), (0, 2), (1, 1)))
    mean, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    return mean + half, mean - half, np.arctan2(2 * xy, xx - yy) / 2


def _hu(mu: Moments, mass: FloatArray) -> FloatArray:
    """The seven invariants, shape (n, 7)."""
    a20, a02, a11, a30, a03, a21, a12 = (
        mu[p, q] / mass ** (1 + (p + q) / 2) for p, q in ((2, 0), (0, 2), (1, 1), (3, 0), (0, 3), (2, 1), (1, 2))
    )
    u, v, s, t = a30 + a12, a21 + a03, a30 - 3 * a12, 3 * a21 - a03
    return np.column_stack([
        a20 + a02,
        (a20 - a02) ** 2 + 4 * a11**2,
        s**2 + t**2,
        u**2 + v**2,
        s * u * (u**2 - 3 * v**2) + t * v * (3 * u**2 - v**2),
        (a20 - a02) * (u**2 - v**2) + 4 * a11 * u * v,
        t * u * (u**2 - 3 * v**2) - s * v * (3 * u**2 - v**2),
    ])  # fmt: skip


@dataclass(frozen=True, eq=False)
class Inspection:
    """The blobs of an image, or of a movie's frames.

    Attributes:
        blobs: of all frames, in pixels of the image. frame: of each, shape (n,). sorted: their classes. channels: names
            of the network's.
    """

    blobs: Blobs
    frame: IntArray
    sorted: BlobClasses
    channels: tuple[str, ...]

    @classmethod
    def of(cls, frames: Sequence[Blobs], channels: tuple[str, ...]) -> Inspection | None:
        """Blobs frame by frame, sorted together; None if there are none."""
        names = [one.name for one in fields(Blobs)]
        blobs = Blobs(**{name: np.concatenate([getattr(one, name) for one in frames]) for name in names})
        frame = np.repeat(np.arange(len(frames)), [len(one) for one in frames])
        return cls(blobs, frame, sort_blobs(blobs), channels) if len(blobs) else None

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """Of a table: a row for each blob; class 1 is the strongest."""
        blobs, label = self.blobs, self.sorted.label
        return {
            "frame": self.frame,
            "row": blobs.row,
            "col": blobs.col,
            "channel": np.array(self.channels)[blobs.channel],
            **{name: getattr(blobs, name) for name in (*DESCRIPTORS, "orientation")},
            "class": label + 1,
            "p_class": self.sorted.probability[np.arange(len(label)), label],
        }


@dataclass(frozen=True)
class BlobClass:
    """A class of blobs: how many are most likely of it, their channel, and the median of each describing number."""

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


def sort_blobs(blobs: Blobs, names: Sequence[str] = DESCRIPTORS, most: int = MOST, seed: int = 0) -> BlobClasses:
    """Classes of blobs, those of each channel apart from the others.

    Args:
        names: of the numbers that tell them apart. most: classes in a channel. seed: of the starts of the fit.

    Raises:
        UsageError: an unknown name. DataError: there are no blobs.
    """
    if not len(blobs):
        raise DataError("there are no blobs to sort: lower the threshold, or train the network longer")
    numbers = blobs.numbers(names)
    parts = []
    for channel in np.unique(blobs.channel):
        mine = blobs.channel == channel
        found = _mixture(numbers[mine], blobs.border[mine], most, seed)
        parts.append(np.zeros((len(blobs), found.shape[1])))
        parts[-1][mine] = found
    probability = np.hstack(parts)
    probability = probability[:, np.unique(probability.argmax(axis=1))]
    probability /= probability.sum(axis=1, keepdims=True)
    label = probability.argmax(axis=1)
    order = np.argsort([-np.median(blobs.strength[label == k]) for k in range(probability.shape[1])], kind="stable")
    label = np.argsort(order)[label]
    return BlobClasses(tuple(_class(blobs[label == k]) for k in range(len(order))), probability[:, order], label)


def _class(blobs: Blobs) -> BlobClass:
    middle = {name: float(np.median(getattr(blobs, name))) for name in DESCRIPTORS}
    return BlobClass(len(blobs), int(blobs.channel[0]), **middle)


def _mixture(numbers: FloatArray, border: NDArray[np.bool_], most: int, seed: int) -> FloatArray:
    """Probability of each class for blobs of one channel, shape (n, k), the mixture being that of whole blobs."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    whole = numbers[~border]
    spread = whole.std(axis=0) if len(whole) else np.zeros(numbers.shape[1])
    tells = spread > 0
    largest = min(most, len(whole) // (PER_NUMBER * max(int(tells.sum()), 1)))
    if largest < 2 or not tells.any():
        return np.ones((len(numbers), 1))
    middle = whole.mean(axis=0)
    scaled = ((numbers - middle)[:, tells]) / spread[tells]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # BIC judges it as it is
        tried = [
            GaussianMixture(k, reg_covar=NARROWEST, n_init=STARTS, random_state=seed).fit(scaled[~border])
            for k in range(1, largest + 1)
        ]
    best = min(tried, key=lambda one: float(one.bic(scaled[~border])))
    return np.asarray(best.predict_proba(scaled))
