"""From an image to the table of its atoms, without a network: locate, fit, look at what is left, fit again."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from picostem.atoms.background import CLOSE, SPACING, Grid
from picostem.atoms.judge import Judgement, inflation, judge
from picostem.atoms.locate import locate, overlooked
from picostem.atoms.peaks import Peaks
from picostem.atoms.recording import Recording, is_counts, measure_recording, recording_of
from picostem.atoms.refine import Fit, refine, start_levels
from picostem.atoms.sampled import Sampled
from picostem.atoms.table import AtomTable
from picostem.errors import UsageError
from picostem.image import Image, check_image

FloatArray = NDArray[np.float64]

ROUNDS = 8  # of fits; peaks are added after all but the last two
SETTLED = 0.05  # change of the noise's logarithm that is not followed up
GRAINY = (
    1.25  # noise at the size of a peak, in units of counting's, from which its grains would be fitted as peaks' tails
)
GROWN = 2.0  # of the width that stands out best: how wide peaks become at least that are fitted to grains
RESOLVED = 2.2  # standard deviations between the halves of a dumbbell, from which they can be told from an oblong peak
CONVINCING = 8.0  # gain of the likelihood's logarithm per dumbbell: of it, 1.5 is by chance
CLOSEST = 0.8  # standard deviations of a peak: what is left so near to a peak is its misfit
FAINTEST = 0.05  # of the median peak: where a peak starts at least


def find_atoms(image: Image, proposed: FloatArray | None = None) -> AtomTable:
    """Every atom of an atomically resolved image, with its covariance.

    How wide peaks are, how noisy the image is and how many atoms there are is found in the image.

    Args:
        proposed: row and column of likely atoms, pixels, shape (n, 2), as a network gives them: the fit starts there if
            they are more than the peaks that stand out of the noise.

    Raises:
        ImageError: too small, too large, with NaN or infinite pixels, constant, or saturated.
    """
    check_image(image)
    sampled = Sampled.of(image)
    recording = measure_recording(sampled.data, sampled.sigma)
    place = locate(recording.counts(sampled.data), sampled.sigma).place
    if proposed is not None and len(proposed) > len(place):
        sampled = Sampled.of(image, proposed)
        recording = measure_recording(sampled.data, sampled.sigma)
        place = sampled.place_from_image(proposed)
    return _table(image, sampled, _fit(sampled, place, recording, search=True))


def fit_atoms(image: Image, place: FloatArray) -> AtomTable:
    """Atoms near given places, refined together; those that the image does not show are left out, none are added.

    Args:
        place: row and column, pixels, shape (n, 2).

    Raises:
        ImageError: as find_atoms does.
        UsageError: places of the wrong shape, not finite, or outside the image.
    """
    check_image(image)
    shape = np.array(image.data.shape)
    if place.ndim != 2 or place.shape[1] != 2 or not np.all((place > -0.5) & (place < shape - 0.5)):
        raise UsageError(
            f"{image.name}: expected places (row, column) inside the image, pixels, in an array of shape (n, 2), got "
            f"one of shape {place.shape}: are rows and columns swapped, or are these lengths in Å?"
        )
    sampled = Sampled.of(image, place)
    recording = measure_recording(sampled.data, sampled.sigma)
    return _table(image, sampled, _fit(sampled, sampled.place_from_image(place), recording, search=False))


@dataclass(frozen=True, eq=False)
class _Found:
    """The last fit, what was made of it, and the image of counts that it is of."""

    fit: Fit
    judgement: Judgement
    recording: Recording
    counts: FloatArray


def _fit(sampled: Sampled, place: FloatArray, recording: Recording, *, search: bool) -> _Found:
    """Fit, drop what is not there, add what was overlooked if asked, measure the noise again, until nothing changes.

    Where a support has grains, peaks fitted to them would become wide: they keep their first width, and no more are
    added. What is overlooked is noise of that size, too, but does not make the other peaks wide.
    """
    data, counted = sampled.data, is_counts(sampled.data)
    counts = recording.counts(data)
    peaks = Peaks.at(place, _start(counts, place, sampled.sigma), sampled.sigma)
    grainy = False
    for turn in range(ROUNDS):
        fit = refine(counts, peaks, fit_form=turn > 0 and not grainy, spacing=CLOSE if grainy else SPACING)
        if search and turn == 1:
            fit = _halved(counts, fit)
        judgement = judge(counts, fit)
        if turn == 1 and judgement.clutter > GRAINY and max(fit.peaks.sigma) > GROWN * max(sampled.sigma):
            grainy = True
            fit = refine(counts, peaks, fit_form=False, spacing=CLOSE)
            judgement = judge(counts, fit)
        found = _Found(fit, judgement, recording, counts)
        extra, light = np.empty((0, 2)), np.empty(0)
        if search and not grainy and 0 < turn < ROUNDS - 2:
            extra, light = _missing(counts, fit, judgement)
        grey = fit.model * recording.gain + recording.zero
        again = recording_of(grey, (data - grey) ** 2, counted=counted)
        settled = abs(np.log(again.gain / recording.gain)) < SETTLED
        if turn > 0 and judgement.kept.all() and not len(extra) and settled:
            break
        peaks = fit.peaks[judgement.kept].joined(extra, light)
        peaks = replace(peaks, intensity=peaks.intensity * recording.gain / again.gain)
        recording, counts = again, again.counts(data)
    return found


def _halved(counts: FloatArray, fit: Fit) -> Fit:
    """The fit, or one with two round peaks for each oblong one if that is far more likely: dumbbells not resolved."""
    values, vectors = np.linalg.eigh(fit.peaks.form)
    away = float(np.sqrt(values[1] - values[0])) * vectors[:, 1]  # two peaks so far from the middle have that form
    if 2 * np.sqrt(values[1] / values[0] - 1) < RESOLVED:
        return fit
    place = np.concatenate([fit.peaks.place - away, fit.peaks.place + away])
    place = np.clip(place, -0.5, np.array(counts.shape) - 0.5)
    small = float(np.sqrt(values[0]))
    two = refine(counts, Peaks.at(place, np.tile(fit.peaks.intensity / 2, 2), (small, small)))
    return two if two.likelihood - fit.likelihood > CONVINCING * len(fit.peaks) else fit


def _start(counts: FloatArray, place: FloatArray, sigma: tuple[float, float]) -> FloatArray:
    """Intensities of peaks from the image at their places, above the dark around them, shape (n,)."""
    if not len(place):
        return np.empty(0)
    grid = Grid.of((counts.shape[0], counts.shape[1]), sigma)
    above = ndimage.gaussian_filter(counts, np.asarray(sigma) / 2) - grid.render(start_levels(counts, grid, sigma))
    row, col = np.clip(np.rint(place), 0, np.array(counts.shape) - 1).astype(int).T
    intensity = above[row, col] * 2 * np.pi * sigma[0] * sigma[1] * 1.25  # the filter makes it wider by √1.25
    return np.asarray(np.maximum(intensity, max(FAINTEST * float(np.median(intensity)), 1e-6)))


def _missing(counts: FloatArray, fit: Fit, judgement: Judgement) -> tuple[FloatArray, FloatArray]:
    """Places and intensities of peaks that a fit lacks."""
    atoms = fit.model - fit.grid.render(fit.levels)
    extra = overlooked(counts, fit.model, fit.peaks.sigma, (judgement.error * atoms) ** 2, judgement.clutter)
    if not len(fit.peaks) or not len(extra.place):
        return extra.place, extra.intensity
    sigma = np.asarray(fit.peaks.sigma)
    far = cKDTree(fit.peaks.place / sigma).query(extra.place / sigma)[0] > CLOSEST
    return extra.place[far], extra.intensity[far]


def _table(image: Image, sampled: Sampled, found: _Found) -> AtomTable:
    """The peaks inside the image, in its pixels and grey levels, from top to bottom."""
    fit, judgement, gain = found.fit, found.judgement, found.recording.gain
    place = sampled.image_from_place(fit.peaks.place)
    inside = np.all((place > -0.5) & (place < np.array(image.data.shape) - 0.5), axis=1) & judgement.kept
    chosen = np.flatnonzero(inside)
    chosen = chosen[np.lexsort((place[chosen, 1], place[chosen, 0]))]
    n = len(chosen)
    covariance = fit.covariance[chosen] * inflation(found.counts, fit, judgement.chi2)
    area = sampled.factor**2
    width = np.linalg.det(fit.peaks.form) ** 0.25 * np.exp(fit.peaks.swell[chosen])
    return AtomTable(
        row=place[chosen, 0],
        col=place[chosen, 1],
        covariance=covariance[:, 1:3, 1:3] * area,
        shape=(image.data.shape[0], image.data.shape[1]),
        pixel_size=image.pixel_size,
        intensity=fit.peaks.intensity[chosen] * gain,
        intensity_sigma=np.sqrt(covariance[:, 0, 0]) * gain,
        background=(fit.background[chosen] * gain + found.recording.zero) / area,
        width=sampled.width_in_image(width),
        score=judgement.score[chosen],
        chi2=judgement.chi2[chosen],
        species=np.full(n, ""),
        p_species=np.full(n, np.nan),
        anomaly=np.full(n, np.nan),
        odd=np.full(n, ""),
        frame=np.zeros(n, dtype=np.int64),
        track=np.full(n, -1),
    )
