"""How densely slips lie on the unit cell, with the windows' errors taken out.

Every window i measures a slip D_i with a known normal error of covariance C_i, so that on average

    <exp(-2 pi i k · D_i)> = f_k phi_ik,        phi_ik = exp(-2 pi² k · C_i k)

with the Fourier coefficients f_k of the true density. On a torus k is a lattice, and the estimator of least variance
for windows of different errors is (Delaigle and Meister, Bernoulli 14, 562 (2008), eq. 2.4)

    f_k = K(k) sum_i phi_ik exp(-2 pi i k · D_i) / sum_i phi_ik²,        K(k) = exp(-2 pi² h² k²)

Division by phi² would blow noise up at high k; the kernel K of bandwidth h keeps that in check. h is what makes the
squared error of the gradient, integrated over the cell, least, because peaks and clusters are read off the gradient;
cross-validation between images estimates it, |f_k|² from products of different images only. Equivalent slips enter
alike, as images under all operations.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from picostem.catalog.series import ROWS, Series, damping, half_of_waves, oscillations, waves
from picostem.catalog.slips import Slips

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

FINEST = 0.1
"""Å, the smallest bandwidth: below, no landscape has detail."""

REACH = 0.48 / FINEST
"""1/Å, where the kernel of the smallest bandwidth has fallen to 1 %."""

BANDWIDTHS = np.geomspace(FINEST, 2.0, 40)
"""Å, those that cross-validation chooses from."""


@dataclass(frozen=True, eq=False)
class Density:
    """Probability of slips per Å².

    Attributes:
        slips: what it is of.
        hk: indices of the waves, shape (m, 2).
        sums: sum of phi_ik exp(-2 pi i k · D_i) over the windows of each group of images, shape (groups, m).
        weights: sum of phi_ik² of the same, shape (groups, m).
        bandwidth: h, Å.
        deconvolved: whether the windows' errors are taken out; else each window is a normal distribution as wide as its
            error and the bandwidth.
    """

    slips: Slips
    hk: NDArray[np.int64]
    sums: ComplexArray
    weights: FloatArray
    bandwidth: float
    deconvolved: bool

    @classmethod
    def of(cls, slips: Slips, *, bandwidth: float | None = None, deconvolve: bool = True) -> Density:
        """The density of slips.

        Args:
            bandwidth: h, Å; None chooses it by cross-validation between images.
            deconvolve: take the windows' errors out; else they widen it.
        """
        hk = half_of_waves(slips.equivalence.cell, REACH)
        sums, weights = _sums(slips, hk, deconvolve)
        h = _bandwidth(sums, weights, waves(slips.equivalence.cell, hk)) if bandwidth is None else bandwidth
        return cls(slips, hk, sums, weights, h, deconvolve)

    @cached_property
    def series(self) -> Series:
        """The density as a function, 1/Å²; negative where noise exceeds what is there."""
        cell = self.slips.equivalence.cell
        area = abs(float(np.linalg.det(cell)))
        mean = self.sums.sum(axis=0) / self.weights.sum(axis=0)
        return Series(cell, self.hk, _kernel(waves(cell, self.hk), self.bandwidth) * mean / area, 1 / area)

    @cached_property
    def influence(self) -> ComplexArray:
        """How much each group changes the coefficients of `series`, shape (groups, m); their sum is 0."""
        total = self.weights.sum(axis=0)
        off = (self.sums - self.weights * (self.sums.sum(axis=0) / total)) / total
        area = abs(float(np.linalg.det(self.series.cell)))
        return np.asarray(off * _kernel(self.series.waves, self.bandwidth) / area)

    def sigma(self, points: FloatArray) -> FloatArray:
        """Standard error of the density at points (n, 2), from how much images differ, shape (n,)."""
        changes = 2 * (oscillations(self.series.cell, self.hk, points) @ self.influence.T).real
        return np.asarray(np.sqrt(self.slips.correction * (changes**2).sum(axis=1)))

    def gradient_covariance(self, point: FloatArray) -> FloatArray:
        """Of the gradient's error at a point, shape (2, 2)."""
        k = 2 * np.pi * self.series.waves
        changes = 2 * ((1j * self.influence * np.exp(1j * k @ point)) @ k).real
        return np.asarray(self.slips.correction * changes.T @ changes)


def _sums(slips: Slips, hk: NDArray[np.int64], deconvolve: bool) -> tuple[ComplexArray, FloatArray]:
    """Numerators and denominators of the coefficients, group by group."""
    k = waves(slips.equivalence.cell, hk)
    sums = np.zeros((slips.groups, len(k)), dtype=np.complex128)
    weights = np.zeros((slips.groups, len(k)))
    order = np.argsort(slips.group, kind="stable")
    for operation in slips.equivalence.operations:
        moved = operation(slips.slip)
        turned = operation.matrix @ slips.covariance @ operation.matrix.T
        for start in range(0, len(order), ROWS):
            rows = order[start : start + ROWS]
            images, first = np.unique(slips.group[rows], return_index=True)
            left = damping(k, turned[rows])
            seen = left * oscillations(slips.equivalence.cell, hk, moved[rows]).conj()
            sums[images] += np.add.reduceat(seen, first, axis=0)
            weights[images] += np.add.reduceat(left**2 if deconvolve else np.ones_like(left), first, axis=0)
    return sums, weights


def _kernel(k: FloatArray, bandwidth: float) -> FloatArray:
    return np.asarray(np.exp(-2 * np.pi**2 * bandwidth**2 * (k**2).sum(axis=1)))


def _bandwidth(sums: ComplexArray, weights: FloatArray, k: FloatArray) -> float:
    """The widest bandwidth at which sum_k k² (K² |f_k|² - 2 K |f_k|²_between images) has a minimum.

    Chance makes further minima at narrow ones (Hall and Marron, J. R. Stat. Soc. B 53, 245 (1991)).
    """
    total = weights.sum(axis=0)
    whole, own = np.abs(sums.sum(axis=0) / total) ** 2, (np.abs(sums) ** 2).sum(axis=0)
    between = (whole * total**2 - own) / np.maximum(total**2 - (weights**2).sum(axis=0), np.finfo(float).tiny)
    kernels, squares = np.array([_kernel(k, h) for h in BANDWIDTHS]), (k**2).sum(axis=1)
    losses = (kernels**2 * whole - 2 * kernels * between) @ squares
    falls = np.append(True, losses[:-1] > losses[1:])
    return float(BANDWIDTHS[np.flatnonzero(falls & (np.append(losses[1:], 0.0) >= losses))[-1]])
