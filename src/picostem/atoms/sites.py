"""Sites of a scanned surface as a table: bumps on a lattice, fitted together as Gaussians of one form.

Noise of a scan is no counting: it does not depend on the height, is alike along rows, and has streaks. So the fit is of
least squares with Huber's weights (Ann. Math. Stat. 35, 73 (1964)), and its covariance is multiplied by what the
residual says: its mean square around a site, and its power P at the frequencies f of a site's derivatives G,
sum P |G|² / sum |G|², apart for height, row and column.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from picostem.atoms.find import find_atoms
from picostem.atoms.peaks import Peaks
from picostem.atoms.refine import Fit, refine
from picostem.atoms.sampled import Sampled
from picostem.atoms.scanned import bumps, deviation, flattened, site_spacing
from picostem.atoms.sublattice import Sublattices, find_sublattices
from picostem.atoms.table import AtomTable
from picostem.image import Image, check_image

FloatArray = NDArray[np.float64]

SIDES = 16  # parts of the side that a surface without a lattice is flattened over
WIDTH = 0.25  # of the spacing, standard deviation of a site
COUNTS = 1e8  # per pixel: so many have the same variance under any site
OUTLIER = 3.0  # standard deviations beyond which a pixel counts less
ROUNDS = 6  # of weights and rows' offsets
DARK = 0.1  # quantile of the image that heights are counted from, to begin with
LEAST_HEIGHT = 0.1  # of the image's standard deviation, where a site starts
HIGH = 0.3  # cycles per pixel across rows, too fast for sites
AROUND = 0.5  # of the spacing: standard deviation of the surroundings whose noise is a site's
MARGIN = 0.5  # of the spacing: nearer to the border a site is not missed
FAINT, ALONE = 2.5, 5.0  # standard errors that a site's height has at least, on the lattice and off it
HALF = 0.5  # of the usual height, from which noise that hides a site on the lattice does not make a vacancy of it


def flat_scan(image: Image) -> Image:
    """A scan of a tip as heights above the surface around each pixel; an image of electrons as it is.

    Raises:
        ImageError: a scan that is too small or large, constant, or with NaN or infinite pixels.
    """
    if not image.acquisition.tip:
        return image
    check_image(image)
    spacing = site_spacing(image.data) or min(image.data.shape) / SIDES
    note = "rows, slopes and terraces are levelled"
    return replace(image, data=flattened(image.data, spacing).astype(np.float32), notes=(*image.notes, note))


def find_sites(image: Image) -> AtomTable:
    """Every site of a surface in a scan, with its covariance; intensity is the height of a site above its surroundings.

    Args:
        image: from `flat_scan`. Without a lattice in it, peaks are found as those of atoms are, of any width.
    """
    spacing = site_spacing(image.data)
    if spacing is None:
        alone = find_atoms(replace(image, pixel_size=None, pixel_size_source=None))
        return replace(alone, pixel_size=image.pixel_size)
    place = bumps(image.data.astype(np.float64), spacing)
    sampled = Sampled.wide(image, (WIDTH * spacing, WIDTH * spacing))
    unit = deviation(sampled.data) / np.sqrt(COUNTS)
    counts, near = COUNTS + sampled.data / unit, spacing / sampled.factor
    fit, counts = _fitted(counts, _start(counts, sampled.place_from_image(place), sampled.sigma))
    vacant = _sublattices(fit, counts, near).vacancies
    if len(vacant):
        # a faint site is not overlooked where its place is known, and without it its neighbours are misplaced
        more = _start(counts, vacant, fit.peaks.sigma)
        fit, counts = _fitted(counts, fit.peaks.joined(more.place, more.intensity))
    covariance = _covariance(counts, fit, near)
    score = fit.peaks.intensity / np.sqrt(covariance[:, 0, 0])
    lattice = _sublattices(fit, counts, near).label >= 0
    usual = np.median(fit.peaks.intensity[lattice]) if lattice.any() else np.inf
    kept = np.where(lattice, (score > FAINT) | (fit.peaks.intensity > HALF * usual), score > ALONE)
    return _table(image, sampled, fit, covariance, kept, unit)


def _start(counts: FloatArray, place: FloatArray, sigma: tuple[float, float]) -> Peaks:
    """Peaks as high as the image is at their places."""
    smooth = ndimage.gaussian_filter(counts, np.asarray(sigma) / 2)
    row, col = np.clip(np.rint(place), 0, np.array(counts.shape) - 1).astype(int).T
    height = np.maximum(smooth[row, col] - np.quantile(smooth, DARK), LEAST_HEIGHT * np.sqrt(COUNTS))
    return Peaks.at(place, height * 2 * np.pi * sigma[0] * sigma[1], sigma)


def _fitted(counts: FloatArray, peaks: Peaks) -> tuple[Fit, FloatArray]:
    """The fit with Huber's weights, that of the image whose outliers are drawn towards the last fit; and the image.

    What rows are off in the middle of their residuals is theirs: without the sites it is told better than with them.
    """
    drawn = counts
    for _ in range(ROUNDS):
        fit = refine(drawn, peaks, fit_form=False)
        counts = counts - np.median(counts - fit.model, axis=1, keepdims=True)
        drawn, peaks = fit.model + _clipped(counts - fit.model), fit.peaks
    return fit, counts


def _clipped(residual: FloatArray) -> FloatArray:
    most = OUTLIER * deviation(residual)
    return np.clip(residual, -most, most)


def _sublattices(fit: Fit, counts: FloatArray, spacing: float) -> Sublattices:
    size = (float(counts.shape[0]), float(counts.shape[1]))
    return find_sublattices(fit.peaks.place, fit.peaks.intensity, size, MARGIN * spacing)


def _covariance(counts: FloatArray, fit: Fit, spacing: float) -> FloatArray:
    """Of height, row and column of each site in the noise that the image has, shape (n, 3, 3)."""
    residual = counts - fit.model
    around = ndimage.gaussian_filter(residual**2, AROUND * spacing)
    row, col = np.clip(np.rint(fit.peaks.place), 0, np.array(counts.shape) - 1).astype(int).T
    scale = around[row, col][:, None] / COUNTS * _colour(_clipped(residual / np.sqrt(around)), fit.peaks.sigma)
    return np.asarray(fit.covariance[:, :3, :3] * np.sqrt(scale[:, :, None] * scale[:, None]))


def _colour(noise: FloatArray, sigma: tuple[float, float]) -> FloatArray:
    """Variances of height, row and column in this noise over those in white noise of variance 1, shape (3,).

    At the frequencies of sites, the fit has taken part of the noise for sites. But rows are read one after the other:
    noise across them is at these frequencies what it is at those too high for sites. The larger one counts.
    """
    power = np.abs(fft.fft2(noise)) ** 2 / noise.size
    across, along = np.meshgrid(*(fft.fftfreq(n) for n in noise.shape), indexing="ij")
    rows = np.mean(power[np.abs(across[:, 0]) > HIGH], axis=0)
    site = np.exp(-((2 * np.pi) ** 2) * ((sigma[0] * across) ** 2 + (sigma[1] * along) ** 2))
    weights = [site, site * across**2, site * along**2]
    return np.array([np.sum(one * np.maximum(power, rows)) / np.sum(one) for one in weights])


def _table(
    image: Image, sampled: Sampled, fit: Fit, covariance: FloatArray, kept: NDArray[np.bool_], unit: float
) -> AtomTable:
    """The sites inside the image from top to bottom; unit: grey levels in a count."""
    place = sampled.image_from_place(fit.peaks.place)
    kept = kept & np.all((place > -0.5) & (place < np.array(image.data.shape) - 0.5), axis=1)
    chosen = np.flatnonzero(kept)[np.lexsort(place[kept].T[::-1])]
    n, covariance = len(chosen), covariance[chosen]
    size = float(np.sqrt(np.linalg.det(fit.peaks.form)))
    height = unit / sampled.factor**2 / (2 * np.pi * size)  # of a Gaussian of one count
    around = covariance[:, 0, 0] / fit.covariance[chosen, 0, 0]  # noise there
    return AtomTable(
        row=place[chosen, 0],
        col=place[chosen, 1],
        covariance=covariance[:, 1:, 1:] * sampled.factor**2,
        shape=(image.data.shape[0], image.data.shape[1]),
        pixel_size=image.pixel_size,
        intensity=fit.peaks.intensity[chosen] * height,
        intensity_sigma=np.sqrt(covariance[:, 0, 0]) * height,
        background=(fit.background[chosen] - COUNTS) * unit / sampled.factor**2,
        width=np.full(n, float(sampled.width_in_image(np.array(np.sqrt(size))))),
        score=fit.peaks.intensity[chosen] / np.sqrt(covariance[:, 0, 0]),
        chi2=around / np.median(around) if n else np.empty(0),
        species=np.full(n, ""),
        p_species=np.full(n, np.nan),
        anomaly=np.full(n, np.nan),
        odd=np.full(n, ""),
        frame=np.zeros(n, dtype=np.int64),
        track=np.full(n, -1),
    )
