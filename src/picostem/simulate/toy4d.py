"""Toy diffraction patterns of known angle and strength: a bright disc with arcs in it, and what of them can be known.

The expected counts of a pixel at radius r and azimuth p, in units of the disc's radius, are

    N u / sum u,   u = D(r) [1 + s W(r) exp{[cos m(p - a) - 1]/(m w)²}] + b,

| symbol | meaning |
|---|---|
| N, s, a | electrons per pattern, strength, angle (rad, counter-clockwise from x right to y up) |
| D(r) | the disc: 1/(1 + exp((r - 1)/edge)) |
| W(r) | Gaussian of width 0.35 around 0.75: the arcs lie near the rim |
| m, w | 1 (one arc) or 3 (three, 120° apart); their angular width, 0.18 rad |
| b | 1e-4, so that no pixel is without electrons |

One narrow arc holds several times more about its angle in its flanks than in the centre of mass. Three arcs have no
first harmonic: their centre of mass is that of the noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from picostem.errors import UsageError

FloatArray = NDArray[np.float64]
Kind = Literal["asymmetric", "three-fold"]

RADIUS = 0.36
"""Of the disc, as a share of the pattern's side."""
EDGE = 0.043
"""Softness of its rim, as a share of its radius."""
RING, RING_WIDTH = 0.75, 0.35
ARC_WIDTH = 0.18
BACKGROUND = 1e-4


@dataclass(frozen=True)
class Toy:
    """Patterns of one kind.

    Attributes:
        kind: one arc, of any angle on the full circle, or three, of angles modulo 120°.
        size: pixels along a side; the disc's centre is that of the pattern.
        strengths: least and largest brightness of the arcs over the disc's.
        electrons: expected in a pattern.

    Raises:
        UsageError: for an unknown kind, less than 8 pixels, strengths below -1, or no electrons.
    """

    kind: Kind = "asymmetric"
    size: int = 64
    strengths: tuple[float, float] = (1.0, 4.0)
    electrons: float = 1e4

    def __post_init__(self) -> None:
        if self.kind not in ("asymmetric", "three-fold"):
            raise UsageError(f"expected the kind asymmetric or three-fold, got {self.kind!r}")
        if self.size < 8 or not -1 < self.strengths[0] <= self.strengths[1] or not self.electrons > 0:
            raise UsageError(f"expected at least 8 pixels, -1 < least <= largest strength and electrons, got {self}")

    @property
    def order(self) -> int:
        """Order of the rotational symmetry: angles are known modulo 2 pi/order."""
        return 1 if self.kind == "asymmetric" else 3

    def draw(self, count: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Angles over the whole circle and strengths over their range, evenly spread at random, each of shape (n,)."""
        return rng.uniform(-np.pi, np.pi, count), rng.uniform(*self.strengths, count)

    def clean(self, angle: float, strength: float) -> FloatArray:
        """Expected counts, shape (size, size)."""
        disc, ring, azimuth = self._geometry()
        shape = disc * (1 + strength * ring * self._arcs(azimuth, angle)) + BACKGROUND
        return np.asarray(self.electrons * shape / shape.sum())

    def patterns(self, angles: ArrayLike, strengths: ArrayLike, rng: np.random.Generator) -> NDArray[np.uint32]:
        """Counted electrons, shape (n, size, size), of n angles and strengths."""
        both = zip(np.asarray(angles).tolist(), np.asarray(strengths).tolist(), strict=True)
        counted = [rng.poisson(self.clean(*one)).astype(np.uint32) for one in both]
        return np.array(counted, dtype=np.uint32).reshape(-1, self.size, self.size)

    def bound(self, angle: float, strength: float) -> float:
        """Least standard error, rad, of an unbiased estimate of the angle where the strength is unknown, too.

        The Cramér-Rao bound, [F^-1]_aa^(1/2), F_ij = sum over pixels of (d_i c)(d_j c)/c, c the expected counts.
        """
        disc, ring, azimuth = self._geometry()
        width, phase = self.order * ARC_WIDTH, self.order * (azimuth - angle)
        arcs = self._arcs(azimuth, angle)
        shape = disc * (1 + strength * ring * arcs) + BACKGROUND
        slopes = np.stack([strength * disc * ring * arcs * self.order * np.sin(phase) / width**2, disc * ring * arcs])
        total = shape.sum()
        slopes = (slopes - shape * slopes.sum(axis=(1, 2))[:, None, None] / total) * self.electrons / total
        information = np.einsum("ipq,jpq,pq->ij", slopes, slopes, total / (self.electrons * shape))
        return float(np.sqrt(np.linalg.inv(information)[0, 0]))

    def _geometry(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """The disc, the ring of the arcs and the azimuth, each of shape (size, size)."""
        x = (np.arange(self.size) - (self.size - 1) / 2) / (RADIUS * self.size)
        radius, azimuth = np.hypot(x, x[:, None]), np.arctan2(-x[:, None], x)
        return 1 / (1 + np.exp((radius - 1) / EDGE)), np.exp(-(((radius - RING) / RING_WIDTH) ** 2) / 2), azimuth

    def _arcs(self, azimuth: FloatArray, angle: float) -> FloatArray:
        return np.asarray(np.exp((np.cos(self.order * (azimuth - angle)) - 1) / (self.order * ARC_WIDTH) ** 2))
