"""Find the crystal lattice of a layer in an image: orientation, handedness and, if need be, the pixel size.

The power spectrum's peaks are indexed: every pair of strong peaks is tried as every pair of low-index reflections of
the material, which gives a linear map from the crystal to the image. Maps outside the allowed distortion or pixel
size are dropped, the others scored by the likelihood of the power at all reflections they predict, and the best are
refined to a small fraction of a resolution element. What the power spectrum cannot tell (which of several pseudo-
symmetric settings) is left to the fit, so a list of candidates is returned.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, special

from picostem.structure.lattice import reflections
from picostem.structure.monolayer import Monolayer
from picostem.structure.symmetry import layer_operations

FloatArray = NDArray[np.float64]

PIXEL_SIZE_RANGE = (0.02, 0.30)  # Å; what atomic-resolution images have
PIXEL_SIZE_TOLERANCE = 0.12  # a stated pixel size may be wrong by this share
MAX_DISTORTION = 1.2  # ratio of principal stretches: a distortion of 10 % one way and the strain of the material's cell
SPECTRUM_SIZE = 1024  # the spectrum is taken over at most this many pixels a side
PEAK_THRESHOLD = 14.0  # power over local noise; a false peak every e^14 = 10^6 pixels of noise
PEAKS = 14
PRESENT = 1.5  # ln of the power ratio from which a reflection counts as present
OFF_LATTICE = 2.5  # resolution elements of the spectrum from which a peak does not belong to the lattice
RESOLUTION = 1.0  # 1/Å; reflections beyond it are too weak to find a lattice with


@dataclass(frozen=True)
class Lattice:
    """A layer's lattice in the image.

    Attributes:
        rows: lattice vectors a, b as rows, image frame (x right, y up), in pixels, shape (2, 2).
        cell: the crystal's lattice vectors as rows, Å, shape (2, 2).
    """

    rows: FloatArray
    cell: FloatArray

    @cached_property
    def reciprocal(self) -> FloatArray:
        """Rows a*, b* in cycles per pixel, image frame."""
        return np.asarray(np.linalg.inv(self.rows).T, dtype=np.float64)

    @property
    def crystal_reciprocal(self) -> FloatArray:
        """Rows a*, b* in 1/Å, crystal frame."""
        return np.asarray(np.linalg.inv(self.cell).T, dtype=np.float64)

    @cached_property
    def image_from_crystal(self) -> FloatArray:
        """The linear map T with r_image = T r_crystal, pixels per Å, shape (2, 2)."""
        return (np.linalg.inv(self.cell) @ self.rows).T

    @property
    def pixel_size(self) -> float:
        """Å per pixel that keeps the cell's area."""
        return float(1 / np.sqrt(abs(np.linalg.det(self.image_from_crystal))))

    @property
    def mirrored(self) -> bool:
        """Whether the crystal is seen mirrored (M = diag(1, -1) before the rotation)."""
        return bool(np.linalg.det(self.image_from_crystal) < 0)

    @property
    def orthogonal(self) -> FloatArray:
        """The orthogonal part R(rotation) M of the map from crystal to image (polar decomposition)."""
        u, _, vt = np.linalg.svd(self.image_from_crystal)
        return np.asarray(u @ vt)

    @property
    def rotation(self) -> float:
        """Rotation of the crystal's x axis in the image, counter-clockwise, rad."""
        q = self.orthogonal
        return float(np.arctan2(q[1, 0], q[0, 0]))

    @property
    def distortion(self) -> float:
        """Ratio of the principal stretches of the map, at least 1."""
        s = np.linalg.svd(self.image_from_crystal, compute_uv=False)
        return float(s[0] / s[1])


@dataclass(frozen=True)
class Spectrum:
    """Power spectrum of an image and its noise.

    Attributes:
        ratio: power divided by the noise expected at that radius, zero frequency at the centre, shape (n, n).
        radii: frequencies, cycles per pixel, at which the noise is tabulated, shape (m,).
        noise: variance per pixel of white noise that would have the power found there, shape (m,).
    """

    ratio: FloatArray
    radii: FloatArray
    noise: FloatArray

    @cached_property
    def maxima(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows and columns of the local maxima of the half plane that stand out of the noise, the strongest first."""
        half = self.ratio[: len(self.ratio) // 2 + 1]
        rows, cols = np.nonzero((half > PEAK_THRESHOLD) & (half == ndimage.maximum_filter(self.ratio, 7)[: len(half)]))
        y, x = rows - len(self.ratio) // 2, cols - len(self.ratio) // 2
        chosen = ((y < 0) | (x > 0)) & (np.hypot(x, y) > 6)
        rows, cols = rows[chosen], cols[chosen]
        order = np.argsort(self.ratio[rows, cols])[::-1]
        return rows[order], cols[order]

    def index(self, g: FloatArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """(row, column) of the frequencies g = (..., 2), x right and y up, clipped to the spectrum."""
        n = len(self.ratio)
        col = np.clip(np.rint(g[..., 0] * n).astype(int) + n // 2, 0, n - 1)
        row = np.clip(np.rint(-g[..., 1] * n).astype(int) + n // 2, 0, n - 1)
        return row, col

    def noise_at(self, g: FloatArray) -> FloatArray:
        """White-equivalent noise variance per pixel at frequencies g = (..., 2)."""
        return np.asarray(np.exp(np.interp(np.linalg.norm(g, axis=-1), self.radii, np.log(self.noise))))


def power_spectrum(data: NDArray[np.float32]) -> Spectrum:
    """Mean Hann-windowed power over equal tiles of the image (at most 3 x 3), and the noise between its peaks.

    Tiles are as large as the image allows up to SPECTRUM_SIZE, and padded to a square of at least half that.
    """
    count = min(3, -(-min(data.shape) // SPECTRUM_SIZE))
    side = min(SPECTRUM_SIZE, min(data.shape) // count)
    size = max(SPECTRUM_SIZE // 2, side)
    size += size % 2
    starts = [np.linspace(0, n - side, count).astype(int) for n in data.shape]
    window = np.outer(np.hanning(side), np.hanning(side)).astype(np.float32)
    power = np.zeros((size, size // 2 + 1))
    for r in starts[0]:
        for c in starts[1]:
            tile = data[r : r + side, c : c + side]
            tile = (tile - np.sum(tile * window) / window.sum()) * window
            power += np.abs(fft.rfft2(tile, (size, size))) ** 2
    power /= count**2 * np.sum(window.astype(float) ** 2)
    full = np.concatenate([power, _mirror(power)], axis=1)
    full = np.fft.fftshift(full)
    radii, noise = _radial_noise(full, count**2)
    y, x = np.indices(full.shape) - size // 2
    level = np.exp(np.interp(np.hypot(x, y) / size, radii, np.log(noise)))
    return Spectrum(full / level, radii, noise)


def _mirror(power: FloatArray) -> FloatArray:
    """The columns of negative frequency of a real image's power, from those of positive frequency."""
    flipped = np.roll(power[::-1], 1, axis=0)
    return flipped[:, -2:0:-1]


def _radial_noise(power: FloatArray, tiles: int) -> tuple[FloatArray, FloatArray]:
    """Noise power by radius, smooth, from the lower quartile in rings: a few peaks in a ring do not raise it.

    The mean power of `tiles` tiles of noise is gamma distributed, with that shape.
    """
    n = len(power)
    y, x = np.indices(power.shape) - n // 2
    rings = 64
    ring = np.minimum((np.hypot(x, y) * (2 * rings / n)).astype(np.int32), rings - 1)
    order = np.argsort(ring, axis=None, kind="stable")
    values = power.ravel()[order]
    edges = np.searchsorted(ring.ravel()[order], np.arange(rings + 1))
    parts = [values[a:b][:: max(1, (b - a) // 4000)] for a, b in zip(edges[:-1], edges[1:], strict=True)]
    quartiles = np.array([np.quantile(part, 0.25) for part in parts]) / (special.gammaincinv(tiles, 0.25) / tiles)
    floor = max(float(quartiles.max()) * 1e-12, np.finfo(float).tiny)
    level = ndimage.median_filter(np.log(np.maximum(quartiles, floor)), 5, mode="nearest")
    level = ndimage.gaussian_filter1d(level, 1.0, mode="nearest")
    return (np.arange(rings) + 0.5) / (2 * rings), np.exp(level)


def spectrum_peaks(spectrum: Spectrum, count: int) -> tuple[FloatArray, FloatArray]:
    """The strongest local maxima of the half plane: frequencies (n, 2), cycles per pixel, and power ratios (n,)."""
    ratio = spectrum.ratio
    n = len(ratio)
    rows, cols = (index[:count] for index in spectrum.maxima)
    offset = np.array([_parabola(ratio, int(r), int(c)) for r, c in zip(rows, cols, strict=True)]).reshape(-1, 2)
    g = np.stack([cols - n // 2 + offset[:, 1], -(rows - n // 2 + offset[:, 0])], axis=1) / n
    return g, ratio[rows, cols]


def _parabola(ratio: FloatArray, row: int, col: int) -> tuple[float, float]:
    """Sub-bin offset of a maximum from parabolas through the logarithm of its neighbours."""
    patch = np.log(ratio[max(row - 1, 0) : row + 2, max(col - 1, 0) : col + 2] + 1e-12)
    if patch.shape != (3, 3):
        return 0.0, 0.0
    offsets = []
    for line in (patch[:, 1], patch[1]):
        curvature = line[0] - 2 * line[1] + line[2]
        offsets.append(0.0 if curvature >= 0 else float(np.clip((line[0] - line[2]) / (2 * curvature), -0.5, 0.5)))
    return offsets[0], offsets[1]


def find_lattices(
    spectrum: Spectrum, monolayer: Monolayer, pixel_size: float | None, count: int = 24
) -> list[tuple[Lattice, float]]:
    """Lattices of the material that explain the spectrum's peaks, each with its score, the best first.

    Args:
        spectrum: power over noise of the image.
        monolayer: the material.
        pixel_size: Å per pixel if known; the search then stays within PIXEL_SIZE_TOLERANCE of it.
        count: how many candidates to return at most.

    Returns:
        distinct lattices with their score; empty if there are no peaks.
    """
    peaks, _ = spectrum_peaks(spectrum, PEAKS)
    if len(peaks) < 2:
        return []
    hk = reflections(monolayer.reciprocal, RESOLUTION)
    expected = expected_power(monolayer, hk)
    strong = hk[expected > 0.003 * expected.max()]
    maps = _candidate_maps(peaks, strong, monolayer, pixel_size)
    scores = np.concatenate(
        [_scores(spectrum, part, hk, expected) for part in np.array_split(maps, len(maps) // 4096 + 1)]
    )
    found: list[tuple[Lattice, float]] = []
    for i in np.argsort(scores)[::-1]:
        if len(found) == count:
            break
        lattice = Lattice(rows=np.linalg.inv(maps[i]).T, cell=monolayer.cell)
        if not any(same_setting(lattice, other, monolayer) for other, _ in found):
            found.append((lattice, float(scores[i])))
    return found


def expected_power(monolayer: Monolayer, hk: NDArray[np.int64]) -> FloatArray:
    """|F|^2 of the layer with weights Z^1.7, damped as by a probe of 1 Å, in arbitrary units, shape (n,)."""
    from ase.data import atomic_numbers

    weights = np.array([atomic_numbers[s] for s in monolayer.symbols], dtype=float) ** 1.7
    factor = np.exp(-2j * np.pi * hk @ monolayer.scaled.T) @ weights
    g2 = np.sum((hk @ monolayer.reciprocal) ** 2, axis=1)
    return np.asarray(np.abs(factor) ** 2 * np.exp(-g2 / 0.25))


def _candidate_maps(
    peaks: FloatArray, hk: NDArray[np.int64], monolayer: Monolayer, pixel_size: float | None
) -> FloatArray:
    """Reciprocal lattices B (rows a*, b*, cycles per pixel) that put two reflections on two peaks, shape (n, 2, 2)."""
    signed = np.concatenate([hk, -hk])
    i, j = np.nonzero(signed[:, None, 0] * signed[None, :, 1] - signed[:, None, 1] * signed[None, :, 0])
    pairs = np.stack([signed[i], signed[j]], axis=1).astype(float)
    inverse = np.linalg.inv(pairs)
    low, high = PIXEL_SIZE_RANGE
    if pixel_size is not None:
        low, high = pixel_size / (1 + PIXEL_SIZE_TOLERANCE), pixel_size * (1 + PIXEL_SIZE_TOLERANCE)
    maps = []
    for p in range(len(peaks)):
        for q in range(p):
            basis = inverse @ np.stack([peaks[p], peaks[q]])
            keep = _allowed(basis, monolayer, low, high)
            maps.append(basis[keep])
    return np.concatenate(maps) if maps else np.empty((0, 2, 2))


def _allowed(basis: FloatArray, monolayer: Monolayer, low: float, high: float) -> NDArray[np.bool_]:
    """Whether each reciprocal basis is the crystal's up to rotation, mirror, allowed scale and distortion."""
    transform = np.linalg.inv(monolayer.reciprocal) @ basis
    det = np.abs(transform[..., 0, 0] * transform[..., 1, 1] - transform[..., 0, 1] * transform[..., 1, 0])
    frobenius = np.sum(transform**2, axis=(-2, -1))
    scale = np.sqrt(det)
    ratio = MAX_DISTORTION
    return np.asarray((scale > low) & (scale < high) & (frobenius <= det * (ratio + 1 / ratio)))


def _scores(spectrum: Spectrum, maps: FloatArray, hk: NDArray[np.int64], expected: FloatArray) -> FloatArray:
    """Sum over the predicted reflections of w (ln power - PRESENT), w = sqrt(expected power), shape (n,).

    Present reflections count by the logarithm of their power, so that no lone peak (mains hum) decides; absent ones,
    which a lattice too fine predicts, count against.
    """
    g = np.einsum("hi,nij->nhj", hk.astype(float), maps)
    row, col = spectrum.index(g)
    power = np.where(np.all(np.abs(g) < 0.5, axis=-1), spectrum.ratio[row, col], 1.0)
    weight = np.sqrt(expected / expected.max())
    return np.asarray((np.log(np.maximum(power, 1.0)) - PRESENT) @ weight)


def same_setting(one: Lattice, other: Lattice, monolayer: Monolayer) -> bool:
    """Whether two lattices show the projected layer alike, to 3 % of a lattice vector and up to its symmetry."""
    size = np.linalg.norm(one.rows)
    turned = [other.cell @ (other.image_from_crystal @ op.matrix).T for op in layer_operations(monolayer)]
    return bool(min(np.linalg.norm(one.rows - rows) for rows in turned) < 0.03 * size)


def refine_lattice(spectrum: Spectrum, lattice: Lattice) -> Lattice:
    """Least-squares lattice through the measured positions of its own spectrum peaks, weighted by their power."""
    reciprocal = lattice.reciprocal
    hk = reflections(lattice.crystal_reciprocal, RESOLUTION)
    n = len(spectrum.ratio)
    for reach in (3, 2, 2):
        rows, cols = spectrum.index(hk @ reciprocal)
        near = np.max(np.abs(hk @ reciprocal), axis=1) * n < n / 2 - reach - 2
        index, measured, weights = [], [], []
        for i in np.nonzero(near)[0]:
            r0, c0 = rows[i] - reach, cols[i] - reach
            patch = spectrum.ratio[r0 : r0 + 2 * reach + 1, c0 : c0 + 2 * reach + 1]
            r, c = np.unravel_index(int(np.argmax(patch)), patch.shape)
            inner = 0 < r < 2 * reach and 0 < c < 2 * reach
            if inner and patch[r, c] > PEAK_THRESHOLD:
                dr, dc = _parabola(spectrum.ratio, r0 + int(r), c0 + int(c))
                index.append(hk[i])
                measured.append(((c0 + c + dc - n // 2) / n, -(r0 + r + dr - n // 2) / n))
                weights.append(np.sqrt(patch[r, c]))
        if len(index) < 3:
            return lattice
        w = np.array(weights)[:, None]
        reciprocal = np.linalg.lstsq(np.array(index) * w, np.array(measured) * w, rcond=None)[0]
    return Lattice(rows=np.asarray(np.linalg.inv(reciprocal).T, dtype=np.float64), cell=lattice.cell)


def unindexed_share(spectrum: Spectrum, lattice: Lattice, limit: float = 0.7) -> float:
    """Share of the spectrum's peak power, up to `limit` in 1/Å, that lies off the lattice's reciprocal points.

    A second lattice (a twisted layer, another material) shows here, mains hum and noise beyond the limit do not.
    """
    peaks, power = spectrum_peaks(spectrum, 60)
    near = np.linalg.norm(peaks, axis=1) < limit * lattice.pixel_size
    if not near.any():
        return 0.0
    hk = peaks[near] @ lattice.rows.T
    off = np.linalg.norm((hk - np.rint(hk)) @ lattice.reciprocal, axis=1) * len(spectrum.ratio)
    return float(power[near][off > OFF_LATTICE].sum() / power[near].sum())
