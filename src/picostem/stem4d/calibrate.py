"""Where the bright disk lies: its centre, radius and ellipse by its edge, and how it moves over the scan (descan).

The edge is found along rays from the centre. Along each, with the level I_in just inside and I_out just outside,

    r_edge = r_0 + ∫ (I(r) - I_out) / (I_in - I_out) dr,   r_0 to r_0 + 2h across the edge,

so that what the disk shows, interference, shadows or a strong field, does not pull it as it pulls the centre of mass.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import least_squares

from picostem.errors import DataError, UsageError
from picostem.physics import FloatArray
from picostem.stem4d.scan import Scan4D

RAYS = 120
STEP = 0.25
"""Pixels between samples along a ray."""
HALF_WIDTH, LEAST_HALF_WIDTH = 0.15, 2.5
"""h as a share of the radius, and in pixels: an edge blurred by its own pixels is whole within it."""
ROUNDS = 4
"""Of finding the edge near the last fit; the first is a threshold's, a pixel or so wrong."""
LEAST_RADIUS = 4.0
"""Pixels. In a smaller disk no ray has an inside."""
SEEN = 0.6
"""Share of the rays that must show an edge; less leaves one side open, and the radius free."""
SHARP = 0.7
"""Share of the drop from the middle of the disk to its surroundings that lies across the edge. Of a Gaussian, which has
no edge and no radius, it is 0.6."""
SCATTER = 0.06
"""Standard deviation of the edge over the radius (beyond a pixel): more is no ellipse."""
TILES = 8


@dataclass(frozen=True, eq=False)
class Disk:
    """The bright disk of a pattern.

    Attributes:
        centre: (row, column), pixels.
        error: standard deviation of the centre from the scatter of the edge, pixels.
        radius: pixels; of an ellipse the geometric mean of its semi-axes.
        shape: symmetric, shape (2, 2): |shape @ (row - centre_row, col - centre_col)| = 1 on the edge, in 1/pixels.
    """

    centre: tuple[float, float]
    error: tuple[float, float]
    radius: float
    shape: FloatArray


@dataclass(frozen=True, eq=False)
class Descan:
    """The plane through the centres of the disk.

    Attributes:
        matrix: shape (2, 3), pixels: the disk's centre at scan position (i, j) is matrix @ (1, i, j).
        error: standard deviations of the matrix from the scatter about the plane; infinite without any to spare.
        tiles: number of places on the scan where the disk was found.
    """

    matrix: FloatArray
    error: FloatArray
    tiles: int


def find_disk(pattern: FloatArray, mask: NDArray[np.bool_] | None = None, *, ellipse: bool = False) -> Disk:
    """The bright disk of a pattern, best the mean of a scan (`accumulate(scan).pattern`).

    Args:
        pattern: shape (rows, columns).
        mask: of the same shape, True where pixels count (a beam stop, dead pixels).
        ellipse: fit an ellipse and not a circle.

    Raises:
        DataError: no disk with an edge that can be followed round it: a spot without a flat top, overlapping disks,
            cut off by the border or the mask, too small, or too few counts.
    """
    image = np.asarray(pattern, float)
    valid = np.isfinite(image) & (True if mask is None else mask)
    centre, shape = _start(image, valid)
    image = np.where(valid, image, 0.0)
    for _ in range(ROUNDS):
        points = _edge(image, valid, centre, shape)
        centre, shape, covariance, scatter = _fit(points, centre, shape, ellipse)
        radius = float(np.linalg.det(shape) ** -0.5)
        if not _on(image.shape, centre) or not LEAST_RADIUS <= radius <= max(image.shape):
            raise _no_disk(f"the fit left the detector, or its radius became {radius:.3g} pixels")
    if scatter > max(1.0, SCATTER * radius):
        raise _no_disk(f"its edge scatters by {scatter:.2g} pixels about the {'ellipse' if ellipse else 'circle'}")
    error = np.sqrt(np.diagonal(covariance)[:2])
    return Disk((float(centre[0]), float(centre[1])), (float(error[0]), float(error[1])), radius, shape)


def with_centre(scan: Scan4D, centre: tuple[float, float]) -> Scan4D:
    """The scan with the optic axis at (row, column), pixels, and no descan."""
    return replace(scan, detector=replace(scan.detector, centre=centre), descan=np.zeros((2, 3)))


def with_round_disk(scan: Scan4D, disk: Disk) -> Scan4D:
    """The scan with its centre on the disk, and its pixels stretched so that the disk, found as an ellipse, is round.

    matrix_new = S matrix with S symmetric and det S = 1, so that neither the scale nor the rotation changes:
    S² is proportional to (shape matrix⁻¹)^T (shape matrix⁻¹). It is right if the aperture is round.
    """
    matrix = np.asarray(scan.detector.matrix, float)
    ratio = disk.shape @ np.linalg.inv(matrix)
    values, vectors = np.linalg.eigh(ratio.T @ ratio)
    stretch = (vectors * np.sqrt(values / np.sqrt(np.prod(values)))) @ vectors.T
    return replace(
        with_centre(scan, disk.centre), detector=replace(scan.detector, centre=disk.centre, matrix=stretch @ matrix)
    )


def find_descan(scan: Scan4D, tiles: int = TILES) -> Descan:
    """How the bright disk moves over the scan: a plane through its centres in the mean patterns of tiles × tiles parts.

    Means of parts have the counts that single patterns lack, and fields of the specimen average out in them; the fit
    is robust against parts where they do not. A scan of one row (or column) says nothing of the other direction, along
    which the plane is then level.

    Raises:
        DataError: the disk is found in too few parts to lay a plane through.
        UsageError: fewer than two tiles.
    """
    if tiles < 2:
        raise UsageError(f"a plane needs 2 tiles on a side or more, got {tiles}")
    means, places = _tile_means(scan, tiles)
    found, at, reason = [], [], ""
    for pattern, place in zip(means, places, strict=True):
        try:
            found.append(find_disk(pattern, scan.detector.mask).centre)
        except DataError as failure:
            reason = str(failure)
        else:
            at.append(place)
    used = [True, scan.shape[0] > 1, scan.shape[1] > 1]
    design = np.column_stack([np.ones(len(at)), np.reshape(at, (-1, 2))])[:, used]
    if len(at) < sum(used) or np.linalg.matrix_rank(design) < sum(used):
        raise DataError(
            f"{scan.name}: the bright disk is found in {len(at)} of {len(places)} parts of the scan, too few for a "
            f"plane ({reason}): give the descan, or leave it out"
        )
    matrix, error = np.zeros((2, 3)), np.zeros((2, 3))
    for axis, values in enumerate(np.array(found).T):
        matrix[axis, used], error[axis, used] = _plane(design, values)
    return Descan(matrix, error, len(at))


def with_descan(scan: Scan4D, descan: Descan) -> Scan4D:
    """The scan with the detector's centre where the disk is amid the scan, and the plane from there."""
    middle = np.array([1.0, (scan.shape[0] - 1) / 2, (scan.shape[1] - 1) / 2])
    row, column = descan.matrix @ middle
    plane = descan.matrix - np.outer([row, column], [1.0, 0.0, 0.0])
    return replace(with_centre(scan, (float(row), float(column))), descan=plane)


def _start(image: FloatArray, valid: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """Centre and shape of a circle of the size of the brightest connected part."""
    from skimage.filters import threshold_otsu

    values = image[valid]
    if values.size < 2 or values.min() == values.max():
        raise _no_disk("all pixels are alike")
    smooth = ndimage.gaussian_filter(np.where(valid, image, np.median(values)), 1.0)
    bright = (smooth > threshold_otsu(smooth[valid])) & valid
    labels, count = ndimage.label(bright)
    if count == 0:
        raise _no_disk("nothing is brighter than the rest")
    sums = ndimage.sum_labels(image, labels, range(1, count + 1))
    part = ndimage.binary_fill_holes(labels == 1 + int(np.argmax(sums)))
    radius = np.sqrt(part.sum() / np.pi)
    if radius < LEAST_RADIUS:
        raise _no_disk(f"the brightest part has a radius of {radius:.2g} pixels")
    return np.array(ndimage.center_of_mass(part)), np.eye(2) / radius


def _edge(image: FloatArray, valid: NDArray[np.bool_], centre: FloatArray, shape: FloatArray) -> FloatArray:
    """(row, column) of the edge along the rays on which it is seen, shape (n, 2)."""
    angle = np.arange(RAYS) * 2 * np.pi / RAYS
    rays = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    radius = 1 / np.linalg.norm(rays @ shape.T, axis=1)
    h = max(LEAST_HALF_WIDTH, HALF_WIDTH * float(radius.mean()))
    offset = np.arange(-3 * h, 3 * h + STEP / 2, STEP)
    distance = radius[:, None] + offset
    places = centre[:, None, None] + rays.T[:, :, None] * distance
    profile = ndimage.map_coordinates(image, places, order=1, mode="constant")
    usable = ndimage.map_coordinates(valid.astype(float), places, order=1, mode="constant") > 1 - 1e-9
    usable &= distance >= 0
    across = np.abs(offset) <= h
    inside, outside = offset < -h, offset > h
    profile[~usable] = np.nan
    seen = usable[:, across].all(axis=1) & (usable[:, inside].mean(1) > 0.3) & (usable[:, outside].mean(1) > 0.3)
    if seen.mean() < SEEN:
        raise _no_disk(f"its edge lies on pixels that count along {seen.mean():.0%} of the directions from its centre")
    profile, rays, radius = profile[seen], rays[seen], radius[seen]
    high, low = np.nanmean(profile[:, inside], axis=1), np.nanmean(profile[:, outside], axis=1)
    _check_sharp(image, valid, centre, shape, float(np.median(high)), float(np.median(low)))
    clear = high - low > 0.25 * np.median(high - low)
    if clear.mean() * seen.mean() < SEEN or np.median(high - low) <= 0:
        raise _no_disk("it is not brighter inside than outside in all directions")
    share = (profile[:, across] - low[:, None])[clear] / (high - low)[clear, None]
    edge = radius[clear] + offset[across][0] - STEP / 2 + STEP * share.sum(axis=1)
    return np.asarray(centre + rays[clear] * edge[:, None])


def _check_sharp(
    image: FloatArray, valid: NDArray[np.bool_], centre: FloatArray, shape: FloatArray, high: float, low: float
) -> None:
    """Refuse a spot that falls off from its middle on."""
    offset = np.moveaxis(np.indices(image.shape, float), 0, -1) - centre
    within = (np.linalg.norm(offset @ shape.T, axis=-1) < 0.5) & valid
    if within.any() and high - low < SHARP * (float(image[within].mean()) - low):
        raise _no_disk("it is a spot that falls off from its middle, without an edge")


def _fit(
    points: FloatArray, centre: FloatArray, shape: FloatArray, ellipse: bool
) -> tuple[FloatArray, FloatArray, FloatArray, float]:
    """Circle or ellipse through points, robust: centre, shape, covariance of the parameters, scatter in pixels."""
    radius = float(np.linalg.det(shape) ** -0.5)

    def shape_of(parameters: FloatArray) -> FloatArray:
        a, b, c = parameters[2:] if ellipse else (parameters[2], parameters[2], 0.0)
        return np.array([[a, c], [c, b]])

    def residuals(parameters: FloatArray) -> FloatArray:
        return np.asarray(radius * (np.linalg.norm((points - parameters[:2]) @ shape_of(parameters), axis=1) - 1))

    start = np.array([*centre, shape[0, 0], *((shape[1, 1], shape[0, 1]) if ellipse else ())])
    scale = np.where(np.arange(len(start)) < 2, 1.0, 1 / radius)
    solution = least_squares(residuals, start, loss="soft_l1", f_scale=0.3, x_scale=scale)
    scatter = _scatter(residuals(solution.x))
    jacobian = solution.jac  # weighted, as the loss is
    covariance = scatter**2 * np.linalg.pinv(jacobian.T @ jacobian)
    return solution.x[:2], shape_of(solution.x), covariance, scatter


def _plane(design: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Robust linear fit: coefficients and their standard deviations."""
    start = np.linalg.lstsq(design, values, rcond=None)[0]
    unit = max(_scatter(values - design @ start), 1e-6)
    solution = least_squares(lambda x: (design @ x - values) / unit, start, loss="cauchy")
    spare = len(values) - design.shape[1]
    if spare == 0:
        return solution.x, np.full(len(start), np.inf)
    scatter = _scatter(values - design @ solution.x) * np.sqrt(len(values) / spare)
    return solution.x, scatter * np.sqrt(np.diagonal(np.linalg.inv(design.T @ design)))


def _scatter(residuals: FloatArray) -> float:
    """Standard deviation from the median of the absolute values, which outliers do not move."""
    return 1.4826 * float(np.median(np.abs(residuals)))


def _tile_means(scan: Scan4D, tiles: int) -> tuple[FloatArray, FloatArray]:
    """Mean patterns of rectangular parts of the scan, and the (row, column) of their middles."""
    counts = [min(tiles, n) for n in scan.shape]
    part = [np.arange(n) * count // n for n, count in zip(scan.shape, counts, strict=True)]
    label = (part[0][:, None] * counts[1] + part[1]).ravel()
    sums = np.zeros((counts[0] * counts[1], *scan.detector.shape))
    for where, patterns in scan.blocks():
        here = label[where]
        starts = np.flatnonzero(np.diff(here, prepend=-1))
        np.add.at(sums, here[starts], np.add.reduceat(patterns, starts, axis=0, dtype=np.float64))
    middles = [np.bincount(p, np.arange(len(p))) / np.bincount(p) for p in part]
    places = np.stack(np.meshgrid(*middles, indexing="ij"), axis=-1).reshape(-1, 2)
    return sums / np.bincount(label)[:, None, None], places


def _on(shape: tuple[int, ...], centre: FloatArray) -> bool:
    return all(-0.5 <= c <= n - 0.5 for c, n in zip(centre, shape, strict=True))


def _no_disk(reason: str) -> DataError:
    return DataError(
        f"no bright disk whose edge can be measured ({reason}): give the centre, or use the centre of mass"
    )
