"""Differential phase contrast: from centres of mass to divergence, curl, the scan's rotation and the potential."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from picostem.errors import DataError, UsageError
from picostem.physics import FloatArray, interaction_parameter
from picostem.stem4d.com import CentreOfMass
from picostem.stem4d.scan import Detector


@dataclass(frozen=True, eq=False)
class ScanRotation:
    """How the detector lies to the scan: (kx, ky) in the frame of the scan is `matrix` @ (kx, ky) as measured.

    Attributes:
        angle: counter-clockwise, after the flip, in (-pi, pi] radians.
        error: its standard error from shot noise, radians; about a tenth too small.
        flip: whether ky changes its sign first.
        curl_share: power of the curl over that of curl and divergence; 0 without noise, 1/2 where nothing was found.
        other_share: the same for the other flip at its best angle; as small as `curl_share` where the flip cannot be
            told, as in stripes.
        sign: how many standard errors of independent positions decide between `angle` and `angle` + pi.
    """

    angle: float
    error: float
    flip: bool
    curl_share: float
    other_share: float
    sign: float

    @property
    def matrix(self) -> FloatArray:
        """Rotation times flip, shape (2, 2)."""
        return _turn(self.angle, self.flip)

    def applied(self, detector: Detector) -> Detector:
        """The detector whose matrix leads into the frame of the scan."""
        return replace(detector, matrix=self.matrix @ detector.matrix)


def derivatives(com: CentreOfMass) -> tuple[FloatArray, FloatArray]:
    """Divergence d kx/dx + d ky/dy and curl d ky/dx - d kx/dy, both of shape (rows, columns).

    In the detector's unit per Å, or per scan position where the step is unknown. Central differences; NaN beside
    positions without counts. Atoms attract electrons: the divergence is negative at them. There is no curl in a
    specimen's field; what there is comes from noise, drift or a wrong rotation.

    Raises:
        DataError: fewer than two positions along a side.
    """
    return _div_curl(com.vectors, com.step_A or (1.0, 1.0))


def scan_rotation(com: CentreOfMass, bright: ArrayLike | None = None) -> ScanRotation:
    """Rotation and flip of the detector against the scan that make the curl of the centres of mass smallest.

    Turned by a, the curl is C cos a + D sin a, with C and D curl and divergence as measured, their means taken off (a
    plane of descan makes them). Its power is least at

        a = atan2(-2 sum C D, sum D² - sum C²) / 2

    which leaves a + pi open: there the field changes its sign. Atoms attract electrons, so that the divergence must be
    negative where an image with bright atoms is bright; without such an image the divergence's distribution must be
    skewed to the negative side, as atoms are small and what is between them is wide. Both flips are tried.

    Args:
        com: centres of mass; rotation and flip are relative to the matrix of its detector.
        bright: an image of the scan with bright atoms (high-angle annular dark field), shape (rows, columns).

    Raises:
        DataError: fewer than two positions along a side; centres of mass that nowhere change.
        UsageError: an image of another shape.
    """
    step = com.step_A or (1.0, 1.0)
    found = [(*_least_curl(_div_curl(com.vectors * (1, sign), step)), sign < 0) for sign in (1, -1)]
    (share, angle, flip), (other, *_) = sorted(found)
    if not math.isfinite(share):
        raise DataError("the centres of mass do not change over the scan: no rotation can be found")
    matrix = _turn(angle, flip)
    divergence = _div_curl(com.vectors @ matrix.T, step)[0]
    sign = _sign(divergence, bright)
    if sign < 0:
        angle += math.pi if angle <= 0 else -math.pi
    return ScanRotation(angle, _angle_error(com, matrix, step), flip, share, other, abs(sign))


def integrate(com: CentreOfMass, longest: float | None = None) -> FloatArray:
    """The map whose gradient is (kx, ky), its mean 0, shape (rows, columns).

    In the detector's unit times Å, or times scan positions where the step is unknown. From the Fourier transform K of
    the field, mirrored at the edges so that these need not fit each other:

        map(q) = -i q·K(q) / (2 pi (q² + 1/longest²))

    Positions without counts are taken for undeflected.

    Args:
        com: centres of mass in the frame of the scan, best with a plane of descan taken off.
        longest: periods longer than this are damped, in Å or scan positions; None damps nothing.

    Raises:
        UsageError: a period that is not positive.
    """
    if longest is not None and not longest > 0:
        raise UsageError(f"the longest period to keep is positive, got {longest}")
    rows, columns = com.counts.shape
    field = np.nan_to_num(com.vectors)
    kx = np.concatenate([field[..., 0], -field[:, ::-1, 0]], axis=1)
    ky = np.concatenate([field[..., 1], -field[::-1, :, 1]], axis=0)
    fx, fy = (
        np.fft.rfft2(np.concatenate([kx, kx[::-1]], axis=0)),
        np.fft.rfft2(np.concatenate([ky, ky[:, ::-1]], axis=1)),
    )
    step = com.step_A or (1.0, 1.0)
    qy, qx = -np.fft.fftfreq(2 * rows, step[0])[:, None], np.fft.rfftfreq(2 * columns, step[1])
    power = qx**2 + qy**2 + (0.0 if longest is None else longest**-2)
    power[0, 0] = 1.0
    return np.asarray(
        np.fft.irfft2(-1j * (qx * fx + qy * fy) / (2 * np.pi * power), (2 * rows, 2 * columns))[:rows, :columns]
    )


def phase(com: CentreOfMass, longest: float | None = None) -> FloatArray:
    """Phase that a thin specimen gives to the wave, seen through the probe, in rad; its mean is 0 (integrated DPC).

    k = grad phase / (2 pi), averaged over the probe's intensity. Arguments as `integrate`.

    Source: Lazić, Bosch and Lazar, Ultramicroscopy 160 (2016) 265.

    Raises:
        UsageError: a detector or scan without calibration.
    """
    if com.detector.unit == "px" or com.step_A is None:
        raise UsageError("a phase needs the detector in 1/Å and the step of the scan in Å: give both, or use integrate")
    return 2 * np.pi * integrate(com, longest)


def projected_potential(com: CentreOfMass, longest: float | None = None) -> FloatArray:
    """Projected electrostatic potential of a thin specimen, seen through the probe, in V Å; its mean is 0.

    phase / sigma, sigma the interaction parameter of the voltage. Arguments as `integrate`.

    Raises:
        UsageError: a detector or scan without calibration, an unknown voltage.
    """
    if com.detector.voltage_eV is None:
        raise UsageError("a potential needs the voltage: give the detector its voltage_eV, or use phase")
    return phase(com, longest) / interaction_parameter(com.detector.voltage_eV)


def _turn(angle: float, flip: bool) -> FloatArray:
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]]) @ np.diag([1.0, -1.0 if flip else 1.0])


def _gradient(values: FloatArray, step: tuple[float, float]) -> tuple[FloatArray, FloatArray]:
    """d/dx and d/dy of a map, y up."""
    if min(values.shape) < 2:
        raise DataError(f"derivatives need two scan positions along each side, got {values.shape}")
    down, right = np.gradient(values, *step)
    return np.asarray(right), np.asarray(-down)


def _div_curl(vectors: FloatArray, step: tuple[float, float]) -> tuple[FloatArray, FloatArray]:
    (xx, xy), (yx, yy) = _gradient(vectors[..., 0], step), _gradient(vectors[..., 1], step)
    return np.asarray(xx + yy), np.asarray(yx - xy)


def _least_curl(maps: tuple[FloatArray, FloatArray]) -> tuple[float, float]:
    """Share of the curl at the angle where it is least, and that angle, from divergence and curl."""
    known = np.isfinite(maps[0]) & np.isfinite(maps[1])
    if not known.any():
        return math.nan, 0.0
    divergence, curl = (values[known] - values[known].mean() for values in maps)
    dd, cc, cd = divergence @ divergence, curl @ curl, curl @ divergence
    if dd + cc <= 0:
        return math.nan, 0.0
    return float(0.5 - math.hypot(dd - cc, 2 * cd) / (2 * (dd + cc))), 0.5 * math.atan2(-2 * cd, dd - cc)


def _sign(divergence: FloatArray, bright: ArrayLike | None) -> float:
    """Standard errors by which the divergence is negative at atoms, for independent positions."""
    if bright is not None and np.shape(bright) != divergence.shape:
        raise UsageError(f"the bright image has shape {np.shape(bright)}, the scan {divergence.shape}")
    known = np.isfinite(divergence)
    values = divergence[known] - divergence[known].mean()
    values /= math.sqrt(np.mean(values**2))
    if bright is None:
        return float(-np.mean(values**3) * math.sqrt(len(values) / 6))
    image = np.asarray(bright, float)[known]
    return float(-np.mean(values * (image - image.mean())) / max(image.std(), 1e-300) * math.sqrt(len(values)))


def _angle_error(com: CentreOfMass, matrix: FloatArray, step: tuple[float, float]) -> float:
    """Standard error of the angle: noise n of the field moves it by -sum D curl(n) / (sum D² - sum C²).

    sum D curl(n) = sum w·n with w = (dD/dy, -dD/dx), summed by parts; the noise within D adds its own part. In the
    denominator its powers in D and C cancel.
    """
    divergence, curl = _div_curl(com.vectors @ matrix.T, step)
    divergence, curl = divergence - np.nanmean(divergence), curl - np.nanmean(curl)
    along_x, along_y = _gradient(divergence, step)
    weights = np.stack([along_y, -along_x], axis=-1)
    covariance = matrix @ com.covariance @ matrix.T
    variance = np.nansum(np.einsum("...i,...ij,...j", weights, covariance, weights))
    signal = np.nansum(divergence**2) - np.nansum(curl**2)
    return float(math.sqrt(variance) / signal) if signal > 0 else math.inf
