"""From detected fractions to a recorded image: scan distortion, contamination, counting and electronics.

Pixel (row, column) of the recorded image belongs to the scan point p (x right, y up, Å, origin at the image centre).
The beam hits the specimen at

    q = T p + (jitter + line offset, line jitter) * pixel size,

T the drift matrix, so that a lattice vector v of the specimen appears as T⁻¹ v.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from picostem.errors import UsageError
from picostem.simulate.synthesis import pixel_axes

FloatArray = NDArray[np.float64]
FloatImage = NDArray[np.float32]

_SPLINE_ORDER = 5
# Pixels that the spline needs around the outermost sample, and standard deviations of scan noise that may not leave.
_SPLINE_REACH, _EXTREME = 4, 6.0


@dataclass(frozen=True)
class AcquisitionSettings:
    """How an image is recorded; lengths of scan noise are in pixels, as it comes from the scan electronics.

    Attributes:
        dose: electrons per Å²; infinite for an image without noise, gain * detected fraction of the beam + offset.
        read_noise: standard deviation of the detector's noise, in counts (detected electrons).
        gain, offset: image = gain * counts + offset.
        jitter: rms displacement along the fast axis, pixels; each pixel remembers `jitter_memory` of the one before.
        jitter_memory: coefficient of the autoregressive process, 0 (white) to below 1.
        line_offset: rms displacement of whole lines along the fast axis, pixels.
        line_jitter: rms displacement of whole lines along the slow axis, pixels.
        drift: matrix T, specimen from scan.
        contamination: peak of a smooth background over the mean signal.
        contamination_length: Å over which that background varies.

    Raises:
        UsageError: for negative or non-finite numbers, counts of read noise beside an infinite dose, or a singular
            drift matrix.
    """

    dose: float = 2.6e4
    read_noise: float = 0.0
    gain: float = 1.0
    offset: float = 0.0
    jitter: float = 0.0
    jitter_memory: float = 0.9
    line_offset: float = 0.0
    line_jitter: float = 0.0
    drift: tuple[tuple[float, float], tuple[float, float]] = ((1.0, 0.0), (0.0, 1.0))
    contamination: float = 0.0
    contamination_length: float = 15.0

    def __post_init__(self) -> None:
        widths = (self.read_noise, self.jitter, self.line_offset, self.line_jitter, self.contamination)
        if not all(math.isfinite(value) and value >= 0 for value in widths):
            raise UsageError(f"noise and contamination must be finite and not negative, got {self}")
        if not (self.dose > 0 and self.contamination_length > 0):
            raise UsageError(f"dose and contamination_length must be positive, got {self}")
        if self.is_noise_free and self.read_noise:
            raise UsageError("read noise is in counts, and an infinite dose has none: give a dose, or no read noise")
        if not (math.isfinite(self.gain) and self.gain != 0 and math.isfinite(self.offset)):
            raise UsageError(f"gain and offset must be finite and gain not zero, got {self}")
        if not 0 <= self.jitter_memory < 1:
            raise UsageError(f"jitter_memory must be at least 0 and below 1, got {self.jitter_memory}")
        if np.shape(self.drift) != (2, 2) or not abs(np.linalg.det(self.drift)) > 1e-3:
            raise UsageError(f"the drift matrix must be 2 x 2 and invertible, got {self.drift}")

    @property
    def is_noise_free(self) -> bool:
        """Whether the image is the detected fraction itself: an infinite dose, nothing counted."""
        return math.isinf(self.dose)

    @property
    def is_distorted(self) -> bool:
        """Whether the beam lands anywhere but on the pixels."""
        return bool(self.jitter or self.line_offset or self.line_jitter or not np.array_equal(self.drift, np.eye(2)))


def clean_shape(shape: tuple[int, int], settings: AcquisitionSettings, oversampling: int = 1) -> tuple[int, int]:
    """Shape of the noise-free image that `acquire` needs: larger than shape where the beam lands outside the field.

    Pixels of the noise-free image are 1/oversampling as large as those of the recorded one; the centre is the same.
    """
    if not settings.is_distorted:
        return shape
    half = (np.array([shape[1], shape[0]]) - 1) / 2
    reach = np.abs(np.asarray(settings.drift)) @ half
    noise = _EXTREME * np.array([math.hypot(settings.jitter, settings.line_offset), settings.line_jitter])
    width, height = 2 * np.ceil((reach + noise) * oversampling + _SPLINE_REACH).astype(int) + 1
    return int(height), int(width)


def acquire(
    fractions: FloatImage,
    shape: tuple[int, int],
    pixel_size: float,
    settings: AcquisitionSettings,
    rng: np.random.Generator,
    oversampling: int = 1,
) -> FloatImage:
    """Record an image.

    A scan that is distorted samples the noise-free image with a quintic spline. Its error is below 0.2 % of the image's
    contrast where the noise-free pixels are at most 0.6 of the Nyquist distance.

    Args:
        fractions: noise-free image, detected fraction of the beam; at least `clean_shape` large, same centre.
        shape: (rows, columns) of the recorded image.
        pixel_size: of the recorded image, Å.
        settings: how it is recorded.
        rng: draws scan noise, background and counts, each from a stream of its own.
        oversampling: pixels of the recorded image over pixels of the noise-free one.

    Returns:
        image in detector units, shape (rows, columns), float32.

    Raises:
        UsageError: if fractions is too small for the distortion.
    """
    scan_rng, background_rng, counting_rng = rng.spawn(3)
    seen = _scan(fractions, shape, settings, scan_rng, oversampling)
    if settings.contamination:
        field = smooth_field(shape, settings.contamination_length / pixel_size, background_rng)
        seen = seen + settings.contamination * seen.mean() * field
    if settings.is_noise_free:
        return np.asarray(settings.gain * seen + settings.offset, dtype=np.float32)
    electrons = settings.dose * pixel_size**2
    counts = counting_rng.poisson(np.clip(seen, 0, None).astype(np.float64) * electrons)
    noise = settings.read_noise * counting_rng.standard_normal(shape)
    return np.asarray(settings.gain * (counts + noise) + settings.offset, dtype=np.float32)


def smooth_field(shape: tuple[int, int], length: float, rng: np.random.Generator) -> FloatArray:
    """Random field that varies over about length pixels, scaled to lie between 0 and 1; shape (rows, columns)."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape), length, mode="wrap")
    low, high = field.min(), field.max()
    return np.asarray((field - low) / max(high - low, np.finfo(np.float64).tiny))


def _scan(
    fractions: FloatImage, shape: tuple[int, int], settings: AcquisitionSettings, rng: np.random.Generator, refine: int
) -> FloatImage:
    """Noise-free image where the beam lands, shape (rows, columns)."""
    rows, columns = fractions.shape
    need = clean_shape(shape, settings, refine) if settings.is_distorted else tuple((n - 1) * refine + 1 for n in shape)
    if rows < need[0] or columns < need[1]:
        raise UsageError(
            f"this scan needs a noise-free image of {need} pixels at least (clean_shape), got {(rows, columns)}"
        )
    x, y = landing_points(shape, settings, rng)
    row, column = (rows - 1) / 2 - y * refine, (columns - 1) / 2 + x * refine
    if not settings.is_distorted and row[0, 0].is_integer() and column[0, 0].is_integer():
        return np.asarray(fractions[row.astype(int), column.astype(int)])
    return np.asarray(ndimage.map_coordinates(fractions, [row, column], order=_SPLINE_ORDER, mode="nearest"))


def landing_points(
    shape: tuple[int, int], settings: AcquisitionSettings, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Where the beam hits the specimen, x and y in pixels from the image centre, each of shape (rows, columns)."""
    jitter_rng, offset_rng, line_rng = rng.spawn(3)
    px, py = np.meshgrid(*pixel_axes(shape, 1.0))
    (xx, xy), (yx, yy) = settings.drift
    x = xx * px + xy * py + _remembering_noise(shape, settings.jitter, settings.jitter_memory, jitter_rng)
    x += settings.line_offset * offset_rng.standard_normal((shape[0], 1))
    y = yx * px + yy * py + settings.line_jitter * line_rng.standard_normal((shape[0], 1))
    return x, y


def _remembering_noise(shape: tuple[int, int], rms: float, memory: float, rng: np.random.Generator) -> FloatArray:
    """First-order autoregressive noise along the scan, x_n = memory x_(n-1) + rms sqrt(1 - memory²) N(0, 1)."""
    draws = rms * math.sqrt(1 - memory**2) * rng.standard_normal(shape[0] * shape[1])
    # The first value starts from the stationary distribution.
    draws[0] /= math.sqrt(1 - memory**2)
    return np.asarray(signal.lfilter([1.0], [1.0, -memory], draws)).reshape(shape)
