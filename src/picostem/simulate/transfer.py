"""Optical transfer of an aberrated STEM probe, with its derivatives, by quadrature over the aperture overlap.

The image of a thin object under incoherent imaging is the object correlated with the probe intensity, so that the
image's Fourier coefficient at g is the object's times

    O(g) = 1/(pi k_max^2) * integral over L(g) of exp(i [chi(q + g/2) - chi(q - g/2)]) d^2q,

where L(g) is the overlap (lens) of two apertures of radius k_max = semiangle/wavelength, g apart, and

    chi(k) = 2 pi/lambda [ a^2/2 (C10 + C12 cos 2(phi - phi12)) + a^3/3 C21 cos(phi - phi21) + a^4/4 C30 ]

with a = lambda |k|. The convention is that of Krivanek with the signs of abTEM: the wave is exp(-i chi), defocus is
-C10, angles run counter-clockwise in the image frame (x right, y up). A layer at depth z below the entrance plane sees
C10 + z.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

ABERRATIONS = ("C10", "C12a", "C12b", "C21a", "C21b")
# 14 x 14 Gauss nodes integrate phases of up to 6 rad across the aperture to 1e-6 (tested against 64 x 64).
NODES = 14


@dataclass(frozen=True)
class Aberrations:
    """Aberration coefficients in Å; the a and b parts are the cosine and sine components.

    C12a = C12 cos(2 phi12), C12b = C12 sin(2 phi12), C21a = C21 cos(phi21), C21b = C21 sin(phi21).
    """

    C10: float = 0.0
    C12a: float = 0.0
    C12b: float = 0.0
    C21a: float = 0.0
    C21b: float = 0.0
    C30: float = 0.0


@lru_cache(maxsize=4)
def _nodes(count: int) -> tuple[FloatArray, FloatArray]:
    x, w = np.polynomial.legendre.leggauss(count)
    return x, w


def _lens(g: FloatArray, k_max: float, nodes: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Nodes (u along g, v across) and weights on the overlap of two discs of radius k_max, shape (n, nodes²)."""
    x, w = _nodes(nodes)
    half = np.sqrt(np.clip(k_max**2 - g**2 / 4, 0, None))[:, None]
    angle = x * np.pi / 2
    v = half * np.sin(angle)
    chord = np.clip(np.sqrt(np.clip(k_max**2 - v**2, 0, None)) - g[:, None] / 2, 0, None)
    across = w * np.pi / 2 * np.cos(angle) * half * chord
    u = chord[:, :, None] * x
    weight = across[:, :, None] * w
    n = len(g)
    return u.reshape(n, -1), np.repeat(v, nodes, axis=1), weight.reshape(n, -1)


def _phase_terms(
    qx: FloatArray, qy: FloatArray, gx: FloatArray | float, gy: FloatArray | float, wavelength: float
) -> FloatArray:
    """chi(q + g/2) - chi(q - g/2) per unit of C10, C12a, C12b, C21a, C21b, C30; shape (..., 6)."""
    px, py, mx, my = qx + gx / 2, qy + gy / 2, qx - gx / 2, qy - gy / 2
    p2, m2 = px**2 + py**2, mx**2 + my**2
    second, third, fourth = np.pi * wavelength, 2 * np.pi / 3 * wavelength**2, np.pi / 2 * wavelength**3
    return np.stack(
        [
            second * (p2 - m2),
            second * 2 * (qx * gx - qy * gy),
            second * 2 * (qx * gy + qy * gx),
            third * (p2 * px - m2 * mx),
            third * (p2 * py - m2 * my),
            fourth * (p2**2 - m2**2),
        ],
        axis=-1,
    )


class ApertureOverlap:
    """The quadrature of O(g) at given frequencies, so that many aberrations can be tried quickly.

    Args:
        gx, gy: spatial frequencies in the image frame, 1/Å, shape (n,).
        wavelength: Å.
        semiangle: convergence semiangle, rad.
    """

    def __init__(self, gx: FloatArray, gy: FloatArray, wavelength: float, semiangle: float, nodes: int = NODES) -> None:
        k_max = semiangle / wavelength
        g = np.hypot(gx, gy)
        u, v, weight = _lens(g, k_max, nodes)
        safe = np.where(g > 0, g, 1.0)
        ex, ey = np.where(g > 0, gx / safe, 1.0)[:, None], (gy / safe)[:, None]
        self._weight = weight / (np.pi * k_max**2)
        self._terms = _phase_terms(u * ex - v * ey, u * ey + v * ex, gx[:, None], gy[:, None], wavelength)
        one = np.ones((*weight.shape, 1))
        self._moments = np.concatenate([one, self._terms[..., :5], self._terms[..., :1] * self._terms[..., :5]], axis=2)

    def expansion(self, aberrations: Aberrations) -> tuple[ComplexArray, ComplexArray, ComplexArray]:
        """O, shape (n,), dO/dC for C in ABERRATIONS, shape (5, n), and d²O/(dC10 dC), shape (5, n)."""
        phase = self._terms @ _vector(aberrations)
        parts = np.stack([self._weight * np.cos(phase), self._weight * np.sin(phase)], axis=1) @ self._moments
        sums = (parts[:, 0] + 1j * parts[:, 1]).T
        return sums[0], 1j * sums[1:6], -sums[6:]


def aperture_overlap_nodes(
    g: FloatArray, wavelength: float, semiangle: float, aberrations: Aberrations, nodes: int = NODES
) -> tuple[FloatArray, FloatArray, ComplexArray]:
    """Quadrature of integrals over k in the overlap of the apertures at k and k + g, with the aberrations' phase.

    Args:
        g: one spatial frequency, image frame, 1/Å, shape (2,).
        wavelength: Å. semiangle: rad. aberrations: Å.

    Returns:
        kx, ky, 1/Å, and weights that hold exp(i [chi(k + g) - chi(k)]) / (pi k_max²), each shape (nodes²,).
    """
    k_max = semiangle / wavelength
    length = float(np.hypot(*g))
    u, v, weight = (part[0] for part in _lens(np.array([length]), k_max, nodes))
    ex, ey = g / length if length > 0 else np.array([1.0, 0.0])
    qx, qy = u * ex - v * ey, u * ey + v * ex
    phase = _phase_terms(qx, qy, g[0], g[1], wavelength) @ _vector(aberrations)
    return qx - g[0] / 2, qy - g[1] / 2, weight / (np.pi * k_max**2) * np.exp(1j * phase)


def _vector(a: Aberrations) -> FloatArray:
    return np.array([a.C10, a.C12a, a.C12b, a.C21a, a.C21b, a.C30])


def probe_transfer(
    gx: FloatArray, gy: FloatArray, wavelength: float, semiangle: float, aberrations: Aberrations
) -> ComplexArray:
    """Transfer O(g) of the probe.

    Args:
        gx, gy: spatial frequencies in the image frame, 1/Å, shape (n,).
        wavelength: Å.
        semiangle: convergence semiangle, rad.
        aberrations: coefficients, Å.

    Returns:
        complex factors of the image's Fourier coefficients, shape (n,); O(0) = 1, O = 0 beyond 2 semiangle/wavelength.
    """
    return probe_transfer_with_derivatives(gx, gy, wavelength, semiangle, aberrations)[0]


def probe_transfer_with_derivatives(
    gx: FloatArray, gy: FloatArray, wavelength: float, semiangle: float, aberrations: Aberrations
) -> tuple[ComplexArray, ComplexArray]:
    """Transfer O(g), shape (n,), and dO/dC for C in ABERRATIONS, shape (5, n) in 1/Å; see `probe_transfer`."""
    value, gradient, _ = ApertureOverlap(gx, gy, wavelength, semiangle).expansion(aberrations)
    return value, gradient
