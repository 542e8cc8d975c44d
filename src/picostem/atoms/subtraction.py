"""The host lattice subtracted from an image, and what stands out of the rest: defects found without finding atoms.

The spots of the power spectrum that stand out of their ring, with the origin, are the lattice H. Pixels are weighted,
so that neither the border nor a defect pulls it down: with a Gaussian k around each pixel and weights w, 0 beyond the
border and at defects,

    H_n+1 = H_n + F^-1[M F[w (I - H_n)]] / (k * w),   M(g) = exp(-2 pi² s² |g - g'|²)

| symbol | meaning |
|---|---|
| I | the image |
| g' | the spot nearest to g |
| s | standard deviation of k: PLANES times the distance of the strongest spot's planes |

The first round is normalised convolution (Knutsson and Westin, CVPR 1993, 515) of each reflection; the others take off
what reflections leak into one another at borders. Defects are where a peak more, or less, would explain I - H better
by many standard deviations of what is so nearly everywhere. From masks made like that networks have learned: Ziatdinov
et al., arXiv 1801.05133; Maksov et al., npj Comput. Mater. 5, 12 (2019).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage
from scipy.spatial import cKDTree

from picostem.atoms.locate import score_test
from picostem.atoms.recording import measure_recording
from picostem.atoms.scale import LEAST_PLANES, peak_width
from picostem.errors import ImageError, UsageError
from picostem.image import Image, check_image

FloatArray = NDArray[np.float64]

THRESHOLD = 4.5
"""Standard deviations of the difference from which a part of it is a defect."""
NARROW = 1 / 6  # of the distance of planes that an image resolves, in an atom's standard deviation at most
PLANES = 3.0  # distances of planes in the standard deviation of what counts as the lattice around a pixel
ROUNDS = 6  # of the lattice
CUT = 4.0  # standard deviations of k beyond the border
OUTSTANDING = 30.0  # times the median of its ring: noise alone reaches 18 in a million pixels
SPOT = 2  # pixels of the spectrum around a spot, in which it is the highest
APART = 2.0  # standard deviations of a peak between two defects of one sign
LEAST_LEVEL = 0.05  # of the mean, whose noise the darkest pixels have at least
LIGHTEST = 1e-3  # of a weight: where all around is left out, nothing is known of the lattice


@dataclass(frozen=True, eq=False)
class Defects:
    """Parts of an image that differ from its lattice, each array of shape (n,).

    Attributes:
        row, col: pixels, where the difference is largest. sign: 1 brighter, as dopants and adatoms are, -1 darker, as
            vacancies are. area: pixels. score: the largest difference, in its standard deviations.
    """

    row: FloatArray
    col: FloatArray
    sign: NDArray[np.int64]
    area: NDArray[np.int64]
    score: FloatArray

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True, eq=False)
class Subtraction:
    """An image without its lattice.

    Attributes:
        difference: image less lattice, grey levels, shape (rows, columns). score: z of a peak more (less: negative) at
            each pixel, in standard deviations, of that shape. defects: from the oddest down.
    """

    difference: FloatArray
    score: FloatArray
    defects: Defects


def subtract_lattice(image: Image, threshold: float = THRESHOLD) -> Subtraction:
    """The defects of an image of one lattice, which may be bent a little.

    Args:
        threshold: standard deviations from which a part is a defect. They are those of the middle half of all pixels,
            so that defects do not count.

    Raises:
        ImageError: as check_image does, or there is no lattice. UsageError: the threshold is not positive.
    """
    check_image(image)
    if not threshold > 0:
        raise UsageError(f"the threshold is {threshold}; expected a number of standard deviations above 0")
    spots = _spots(image.data.astype(np.float64))
    if not len(spots):
        raise ImageError(f"{image.name}: its spectrum has no spots, so that there is no lattice to take off")
    rows, columns = peak_width(image.data, image.pixel_size)
    most = NARROW / float(np.linalg.norm(spots[0]))
    sigma = min(rows, most), min(columns, most)
    recording = measure_recording(image.data, sigma)
    data = recording.counts(image.data)
    lattice = _Lattice.of(data.shape, spots)
    host, weight = np.zeros_like(data), np.ones_like(data)
    for _ in range(ROUNDS):
        host += lattice.share_of(data - host, weight)
        score = _score(data, host, sigma)
        weight = (np.abs(score) < threshold).astype(np.float64)
    return Subtraction(recording.gain * (data - host), score, _defects(score, threshold, sigma))


def _spots(data: FloatArray) -> FloatArray:
    """Spatial frequencies of reflections, cycles per pixel, the strongest first, shape (n, 2)."""
    taper = np.outer(*(np.hanning(n + 2)[1:-1] for n in data.shape))
    power = np.abs(fft.fft2((data - data.mean()) * taper)) ** 2
    frequency = np.stack(np.meshgrid(*(fft.fftfreq(n) for n in data.shape), indexing="ij"), axis=-1)
    size = np.linalg.norm(frequency, axis=-1)
    ring = np.rint(size * min(data.shape)).astype(int)
    usual = np.asarray(ndimage.median(power, ring, np.arange(ring.max() + 1)))[ring]
    top = power == ndimage.maximum_filter(power, size=2 * SPOT + 1, mode="wrap")
    able = top & (size > LEAST_PLANES / min(data.shape)) & (power > OUTSTANDING * usual)
    level = np.log(np.maximum(power, 1e-300))
    for axis, count in enumerate(data.shape):  # the vertex of a parabola through three pixels
        before, after = np.roll(level, 1, axis), np.roll(level, -1, axis)
        bend = np.minimum(before + after - 2 * level, -1e-9)
        frequency[..., axis] += np.clip((before - after) / (2 * bend), -0.5, 0.5) / count
    return np.asarray(frequency[able][np.argsort(-power[able], kind="stable")])


@dataclass(frozen=True, eq=False)
class _Lattice:
    """What of an image is its lattice: M on the spectrum of the image with a margin of zeros, and k's s, pixels."""

    mask: FloatArray
    around: float

    @classmethod
    def of(cls, shape: tuple[int, ...], spots: FloatArray) -> _Lattice:
        around = PLANES / float(np.linalg.norm(spots[0]))
        padded = [fft.next_fast_len(n + int(CUT * around)) for n in shape]
        frequency = np.stack(np.meshgrid(*(fft.fftfreq(n) % 1 for n in padded), indexing="ij"), axis=-1)
        away = cKDTree(np.concatenate([np.zeros((1, 2)), spots]) % 1, boxsize=1).query(frequency)[0]
        return cls(np.exp(-2 * (np.pi * around * away) ** 2), around)

    def share_of(self, data: FloatArray, weight: FloatArray) -> FloatArray:
        """What of data has the lattice's frequencies, shape (rows, columns)."""
        rows, columns = data.shape
        passed = fft.ifft2(self.mask * fft.fft2(weight * data, self.mask.shape)).real[:rows, :columns]
        near = ndimage.gaussian_filter(weight, self.around, mode="constant", truncate=CUT)
        return np.asarray(np.where(near > LIGHTEST, passed / np.maximum(near, LIGHTEST), 0.0))


def _score(data: FloatArray, host: FloatArray, sigma: tuple[float, float]) -> FloatArray:
    """z of a peak more or less than the lattice at each pixel, in standard deviations of its middle half."""
    level = np.maximum(host, LEAST_LEVEL * max(float(host.mean()), 1e-12))
    z = score_test(data, host, level, sigma).z
    z -= np.median(z)
    return np.asarray(z / max(1.4826 * float(np.median(np.abs(z))), 1e-300))


def _defects(score: FloatArray, threshold: float, sigma: tuple[float, float]) -> Defects:
    """Extrema beyond the threshold, with the pixels beyond it that are nearest to each."""
    reach = [2 * max(1, round(APART * one)) + 1 for one in sigma]
    parts = []
    for sign in (1, -1):
        level = sign * score
        beyond = np.argwhere(level > threshold)
        top = np.argwhere((level > threshold) & (level == ndimage.maximum_filter(level, reach)))
        owner = cKDTree(top).query(beyond)[1] if len(top) else np.empty(0, dtype=np.intp)
        area = np.bincount(owner, minlength=len(top))
        parts.append(np.column_stack([top, np.full(len(top), sign), area, level[tuple(top.T)]]))
    rows = np.concatenate(parts)
    row, col, sign_of, area, height = rows[np.argsort(-rows[:, 4], kind="stable")].T
    return Defects(row, col, sign_of.astype(np.int64), area.astype(np.int64), height)
