"""Scanning tunnelling images drawn from sites with shapes, with the exact truth about them.

The surface is a sum of sites on terraces t,

    h(r) = t(r) + sum_j H_j exp(-|u|² / 2) (1 + s_j |u|² + Re sum_m conj(c_jm) (u_x + i u_y)^m),  u = (r - r_j) / w_j

and a tip of apexes a, each as blunt as g and with a current that falls by exp(-2 kappa) per Å, sees it at constant
current as

    z(r) = ln(sum_a p_a exp(2 kappa (h * g)(r - d_a))) / (2 kappa)

| symbol | meaning |
|---|---|
| H_j, w_j | height and width (standard deviation) of site j, Å |
| s_j | rim: above 1/2, the site is a bowl that is lowest in its middle |
| c_jm | lobe of order m: 1 a dipole, 2 a quadrupole, 3 a trefoil; it points to arg(c_jm) / m |
| d_a, p_a | where apex a shows the surface, Å, and its share of the current |

The scan reads z at q = T p (p in the image frame, T the drift matrix), so that r_j appears at T^-1 r_j. Noise is added
in the order in which the pixels are read. Heights are in Å; nothing here is an electronic-structure calculation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, special

from picostem.errors import UsageError
from picostem.simulate.synthesis import pixel_axes

FloatArray = NDArray[np.float64]
FloatImage = NDArray[np.float32]
ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.int64]

_REACH = 6.0  # widths of a site, beyond which it is nothing: exp(-18) 6^6 is 1e-3 of the largest lobe of order 6
_SPLINE = 4  # pixels that the spline needs around the outermost sample


@dataclass(frozen=True, eq=False)
class Sites:
    """Sites of a surface; x right, y up, Å, origin at the image's centre. Arrays of shape (n,) unless they say so.

    Attributes:
        place: x and y, Å, shape (n, 2). height, width: Å. rim: s_j. lobes: c_j1, c_j2, ..., shape (n, orders).
        state: what the site is, a number that means what the one who drew it says.
    """

    place: FloatArray
    height: FloatArray
    width: FloatArray
    rim: FloatArray
    lobes: ComplexArray
    state: IntArray

    def __post_init__(self) -> None:
        n = len(self.place)
        alike = all(len(one) == n for one in (self.height, self.width, self.rim, self.lobes, self.state))
        if self.place.shape != (n, 2) or self.lobes.ndim != 2 or not alike:
            raise UsageError(f"expected {n} sites in arrays of equal length, place (n, 2) and lobes (n, orders)")
        if not np.all(self.width > 0):
            raise UsageError(f"widths of sites must be positive, Å, got {self.width.min()}")

    def __len__(self) -> int:
        return len(self.place)


@dataclass(frozen=True)
class Tip:
    """A tip of one or more apexes.

    Attributes:
        width: how blunt an apex is, standard deviation across its long axis, Å. elongation: of the long axis over it.
        direction: of the long axis from x, rad. further: apexes beside the first, each (x, y, current over the first's)
            of its displacement in Å. decay: kappa, 1/Å; 1 is a work function of 4 eV.

    Raises:
        UsageError: a negative width or current, an elongation below 1, or a decay that is not positive.
    """

    width: float = 0.8
    elongation: float = 1.0
    direction: float = 0.0
    further: tuple[tuple[float, float, float], ...] = ()
    decay: float = 1.0

    def __post_init__(self) -> None:
        if not (self.width >= 0 and self.elongation >= 1 and self.decay > 0 and all(a[2] >= 0 for a in self.further)):
            raise UsageError(f"width and currents may not be negative, elongation not below 1, decay positive: {self}")


@dataclass(frozen=True)
class Step:
    """An edge where the surface rises by height, Å, towards direction (rad from x), distance Å from the centre."""

    height: float
    direction: float = 0.0
    distance: float = 0.0


@dataclass(frozen=True)
class StmSettings:
    """How a surface is scanned: rows one after the other, each from left to right and back; the way back is not kept.

    Attributes:
        noise: rms of white noise, Å. pink: rms of 1/f^exponent noise in reading order, Å. exponent: of its power.
        line_offset: rms height of whole rows, Å. streaks: mean number per row of stretches at another height.
        streak_height: their rms height, Å. streak_length: their mean length, pixels; 1 for spikes.
        tilt: slope along x and y, Å per Å. steps: edges of terraces. drift: matrix T, surface from scan.

    Raises:
        UsageError: negative or non-finite noise, a streak shorter than a pixel, or a singular drift matrix.
    """

    noise: float = 0.0
    pink: float = 0.0
    exponent: float = 1.0
    line_offset: float = 0.0
    streaks: float = 0.0
    streak_height: float = 0.0
    streak_length: float = 8.0
    tilt: tuple[float, float] = (0.0, 0.0)
    steps: tuple[Step, ...] = ()
    drift: tuple[tuple[float, float], tuple[float, float]] = ((1.0, 0.0), (0.0, 1.0))

    def __post_init__(self) -> None:
        noise = (self.noise, self.pink, self.exponent, self.line_offset, self.streaks, self.streak_height)
        if not all(math.isfinite(value) and value >= 0 for value in noise) or not self.streak_length >= 1:
            raise UsageError(f"noise must be finite and not negative, and streaks at least a pixel long, got {self}")
        if np.shape(self.drift) != (2, 2) or not abs(np.linalg.det(self.drift)) > 1e-3:
            raise UsageError(f"the drift matrix must be 2 x 2 and invertible, got {self.drift}")


@dataclass(frozen=True, eq=False)
class StmScan:
    """A scan and the truth about it.

    Attributes:
        heights: Å, shape (rows, columns). sites: as they are on the surface. place: row and column at which each
            appears, pixels, shape (n, 2), some outside the image. pixel_size: Å.
    """

    heights: FloatImage
    sites: Sites
    place: FloatArray
    pixel_size: float


def lattice_places(cell: FloatArray, size: tuple[float, float]) -> FloatArray:
    """Places r = n_1 a_1 + n_2 a_2 within a field of width and height size around the origin, Å, shape (n, 2).

    Args:
        cell: vectors as rows, x right, y up, Å, shape (2, 2).
    """
    half = np.asarray(size) / 2
    most = int(np.ceil(np.abs(np.linalg.inv(cell)).T @ half).max()) + 1
    numbers = np.arange(-most, most + 1)
    place = np.stack(np.meshgrid(numbers, numbers, indexing="ij"), axis=-1).reshape(-1, 2) @ cell
    return np.asarray(place[np.all(np.abs(place) <= half, axis=1)])


def scan_surface(
    sites: Sites, tip: Tip, settings: StmSettings, shape: tuple[int, int], pixel_size: float, rng: np.random.Generator
) -> StmScan:
    """Draw the image of a surface; the same generator draws the same image.

    Args:
        shape: rows and columns. pixel_size: Å; at most about 0.7 of the narrowest width of a site.
        rng: draws white noise, 1/f noise, offsets of rows and streaks, each from a stream of its own.

    Raises:
        UsageError: no pixels, or a pixel size that is not positive.
    """
    if min(shape) < 2 or not pixel_size > 0:
        raise UsageError(f"expected at least 2 x 2 pixels of positive size, got {shape} of {pixel_size} Å")
    drift = np.asarray(settings.drift)
    x, y = pixel_axes(shape, pixel_size)
    far = np.abs(drift) @ [x[-1], y[0]] / pixel_size + _SPLINE + _tip_reach(tip) / pixel_size
    columns, rows = (2 * np.ceil(far).astype(int) + 1).tolist()
    seen = _through(_surface(sites, settings.steps, (rows, columns), pixel_size), tip, pixel_size)
    at = np.einsum("ij,jrc->irc", drift, np.stack(np.broadcast_arrays(x, y[:, None])))
    where = [(rows - 1) / 2 - at[1] / pixel_size, (columns - 1) / 2 + at[0] / pixel_size]
    clean = ndimage.map_coordinates(seen, where, order=5, mode="nearest")
    appears = sites.place @ np.linalg.inv(drift).T / pixel_size
    place = np.column_stack([(shape[0] - 1) / 2 - appears[:, 1], (shape[1] - 1) / 2 + appears[:, 0]])
    return with_noise(StmScan(clean.astype(np.float32), sites, place, pixel_size), settings, rng)


def with_noise(scan: StmScan, settings: StmSettings, rng: np.random.Generator) -> StmScan:
    """A scan with the tilt and the noise of these settings added; their steps and drift are not looked at."""
    x, y = pixel_axes((scan.heights.shape[0], scan.heights.shape[1]), scan.pixel_size)
    plane = settings.tilt[0] * x + settings.tilt[1] * y[:, None]
    heights = scan.heights + plane + _noise(settings, (len(y), len(x)), rng)
    return replace(scan, heights=heights.astype(np.float32))


def site_shape(u: FloatArray, rim: float, lobes: ComplexArray) -> FloatArray:
    """exp(-|u|²/2) (1 + s |u|² + Re sum_m conj(c_m) (u_x + i u_y)^m) at points u, shape (2, ...)."""
    squared = u[0] ** 2 + u[1] ** 2
    factor = 1 + rim * squared
    power = np.ones_like(u[0], dtype=np.complex128)
    for lobe in lobes:
        power = power * (u[0] + 1j * u[1])
        if lobe:
            factor += np.real(np.conj(lobe) * power)
    return np.asarray(np.exp(-squared / 2) * factor)


def _surface(sites: Sites, steps: tuple[Step, ...], shape: tuple[int, int], pixel_size: float) -> FloatArray:
    """Terraces and sites on the pixels, Å."""
    x, y = pixel_axes(shape, pixel_size)
    surface = np.zeros(shape)
    for step in steps:
        along = x * np.cos(step.direction) + y[:, None] * np.sin(step.direction) - step.distance
        surface += step.height * np.clip(along / pixel_size + 0.5, 0, 1)
    for j in range(len(sites)):
        across, up = sites.place[j]
        reach = _REACH * sites.width[j]
        col = slice(*np.searchsorted(x, (across - reach, across + reach)))
        row = slice(*np.searchsorted(-y, (-up - reach, -up + reach)))
        u = np.stack(np.broadcast_arrays((x[col] - across), (y[row, None] - up))) / sites.width[j]
        surface[row, col] += sites.height[j] * site_shape(u, float(sites.rim[j]), sites.lobes[j])
    return surface


def _tip_reach(tip: Tip) -> float:
    """How far from a point the tip still sees, Å."""
    return 5 * tip.width * tip.elongation + max((math.hypot(x, y) for x, y, _ in tip.further), default=0.0)


def _through(surface: FloatArray, tip: Tip, pixel_size: float) -> FloatArray:
    """What the tip sees; the border within its reach is wrong, as the surface is periodic there."""
    rows, columns = surface.shape
    kx, ky = 2 * np.pi * fft.rfftfreq(columns, pixel_size), -2 * np.pi * fft.fftfreq(rows, pixel_size)[:, None]
    along = kx * np.cos(tip.direction) + ky * np.sin(tip.direction)
    across = ky * np.cos(tip.direction) - kx * np.sin(tip.direction)
    blunt = np.exp(-(tip.width**2) * ((tip.elongation * along) ** 2 + across**2) / 2)
    wave = fft.rfft2(surface) * blunt
    apexes = ((0.0, 0.0, 1.0), *tip.further)
    views = [fft.irfft2(wave * np.exp(-1j * (kx * x + ky * y)), surface.shape) for x, y, _ in apexes]
    current = np.array([share for _, _, share in apexes])
    logarithm = special.logsumexp(2 * tip.decay * np.array(views), axis=0, b=(current / current.sum())[:, None, None])
    return np.asarray(logarithm / (2 * tip.decay))


def _noise(settings: StmSettings, shape: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    """All that is not the surface, Å."""
    white, pink, lines, streaks = rng.spawn(4)
    noise = settings.noise * white.standard_normal(shape)
    if settings.pink:
        noise += settings.pink * _coloured(shape, settings.exponent, pink)
    noise += settings.line_offset * lines.standard_normal((shape[0], 1))
    count = streaks.poisson(settings.streaks * shape[0])
    row, first = streaks.integers(shape[0], size=count), streaks.integers(shape[1], size=count)
    length = streaks.geometric(1 / settings.streak_length, count)
    for i, height in enumerate(settings.streak_height * streaks.standard_normal(count)):
        noise[row[i], first[i] : first[i] + length[i]] += height
    return np.asarray(noise)


def _coloured(shape: tuple[int, int], exponent: float, rng: np.random.Generator) -> FloatArray:
    """Noise of power 1/f^exponent in reading order, the way back of each row left out, of unit rms."""
    count = 2 * shape[0] * shape[1]
    wave = fft.rfft(rng.standard_normal(count))
    wave[0] = 0
    wave[1:] *= np.arange(1, len(wave)) ** (-exponent / 2)
    noise = fft.irfft(wave, count).reshape(shape[0], 2 * shape[1])[:, : shape[1]]
    return np.asarray(noise / noise.std())
