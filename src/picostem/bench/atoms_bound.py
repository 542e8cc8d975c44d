"""The Cramér-Rao bound of all places in an image, jointly with the columns' strengths and the background.

The image is a level b plus s_k P_k(r - r_k) of each column k. Counting m electrons in a pixel, the information on
parameters p and q is the sum over pixels of ∂m/∂p ∂m/∂q / m; its inverse is the bound of their covariance.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy import sparse
from scipy.interpolate import RectBivariateSpline

from picostem.bench.atoms_case import AtomCase
from picostem.simulate import simulate_atoms

FloatArray = NDArray[np.float64]

HALF = 2.5  # Å from its column that a profile reaches
STEP = 0.05  # Å between its samples
APART = 5.0  # Å between atoms of a column, so that they scatter each on its own


@dataclass(frozen=True, eq=False)
class Profile:
    """The image of one column of strength 1, by the distance in rows and columns, pixels; none beyond `half` pixels."""

    spline: RectBivariateSpline
    half: float

    @classmethod
    def sampled(cls, values: FloatArray, step: float) -> Profile:
        """From samples `step` pixels apart, the column in the middle, shape (2 k + 1, 2 k + 1)."""
        axis = (np.arange(len(values)) - len(values) // 2) * step
        return cls(RectBivariateSpline(axis, axis, values), float(axis[-1]))

    def on(self, place: FloatArray, shape: tuple[int, int]) -> tuple[NDArray[np.intp], FloatArray]:
        """Pixels around a place, numbered by rows, shape (k,), with the value and its derivatives by the place's row
        and column there, shape (k, 3)."""
        axes = [
            np.arange(max(0, np.ceil(p - self.half)), min(n - 1, np.floor(p + self.half)) + 1)
            for p, n in zip(place, shape, strict=True)
        ]
        away = [axis - p for axis, p in zip(axes, place, strict=True)]
        parts = [self.spline(*away), -self.spline(*away, dx=1), -self.spline(*away, dy=1)]
        number = axes[0][:, None].astype(np.intp) * shape[1] + axes[1].astype(np.intp)
        return number.ravel(), np.stack([part.ravel() for part in parts], axis=1)


@dataclass(frozen=True, eq=False)
class Bound:
    """Of an image of columns, at one electron per unit of `expected`: more electrons divide variances by their number.

    Attributes:
        counts: of each column, shape (n,). significance: of its strength, in standard deviations, shape (n,).
        covariance: of row and column, pixels², shape (n, 2, 2).
    """

    counts: FloatArray
    significance: FloatArray
    covariance: FloatArray


def joint_bound(
    expected: FloatArray, place: FloatArray, strength: FloatArray, profiles: Sequence[Profile], kind: NDArray[np.intp]
) -> Bound:
    """The bound of columns.

    Args:
        expected: mean counts, shape (rows, columns). place: pixels, shape (n, 2). strength: shape (n,). kind: profile
            of each column, shape (n,).
    """
    shape, n = (expected.shape[0], expected.shape[1]), len(place)
    design, counts = _design(shape, place, profiles, kind)
    scale = np.ones(3 * n + 1)
    scale[1 : 3 * n : 3] = scale[2 : 3 * n : 3] = np.maximum(strength, 1e-12)  # derivatives are of strength 1
    design = design @ sparse.diags_array(scale)
    weight = 1 / np.maximum(expected.ravel(), 1e-9 * expected.mean())
    information = (design.T @ (sparse.diags_array(weight) @ design)).toarray()
    size = np.sqrt(np.maximum(np.diag(information), 1e-300))
    information = information / size[:, None] / size + 1e-12 * np.eye(len(size))
    inverse = np.linalg.inv(information) / size[:, None] / size
    blocks = inverse[: 3 * n, : 3 * n].reshape(n, 3, n, 3)[np.arange(n), :, np.arange(n)]
    return Bound(counts * strength, strength / np.sqrt(blocks[:, 0, 0]), blocks[:, 1:, 1:])


def case_bound(case: AtomCase) -> tuple[Bound, float]:
    """The bound of a case's columns at a dose of 1 e/Å², those without atoms having none; and the rms residual of the
    model, as a share of the image's standard deviation.

    Profiles are those of columns in linear imaging by the microscope of the truth, their strength one for each species,
    by least squares to the image.
    """
    expected = case.clean.data.astype(np.float64) * case.pixel**2
    shape = (expected.shape[0], expected.shape[1])
    there = np.flatnonzero(case.species != "")
    names, kind = np.unique(case.species[there], return_inverse=True)
    side = 2 * round(HALF / STEP) + 1
    profiles = [
        Profile.sampled(
            simulate_atoms(_column(name), case.microscope, (side, side), STEP).astype(np.float64) * case.pixel**2,
            STEP / case.pixel,
        )
        for name in names.tolist()
    ]
    design = _design(shape, case.place[there], profiles, kind)[0]
    basis = np.column_stack(
        [np.asarray(design[:, 3 * np.flatnonzero(kind == k)].sum(axis=1)).ravel() for k in range(len(names))]
        + [np.ones(expected.size)]
    )
    found = np.linalg.lstsq(basis, expected.ravel(), rcond=None)[0]
    residual = expected.ravel() - basis @ found
    bound = joint_bound(expected, case.place[there], np.maximum(found[:-1], 0)[kind], profiles, kind)
    n = len(case.place)
    whole = Bound(np.zeros(n), np.zeros(n), np.full((n, 2, 2), np.nan))
    whole.counts[there], whole.significance[there] = bound.counts, bound.significance
    whole.covariance[there] = bound.covariance
    return whole, float(residual.std() / expected.std())


def _design(
    shape: tuple[int, int], place: FloatArray, profiles: Sequence[Profile], kind: NDArray[np.intp]
) -> tuple[sparse.csc_array, FloatArray]:
    """Derivatives of all pixels by strength, row and column of each column (strength 1) and by the level, sparse, shape
    (pixels, 3 n + 1); and the sum of each column, shape (n,)."""
    rows, columns, values = [], [], []
    counts = np.zeros(len(place))
    for number, (one, which) in enumerate(zip(place, kind.tolist(), strict=True)):
        pixels, parts = profiles[which].on(one, shape)
        rows.append(np.repeat(pixels, 3))
        columns.append(np.tile(3 * number + np.arange(3), len(pixels)))
        values.append(parts.ravel())
        counts[number] = parts[:, 0].sum()
    total = shape[0] * shape[1]
    rows.append(np.arange(total))
    columns.append(np.full(total, 3 * len(place)))
    values.append(np.ones(total))
    index = (np.concatenate(rows), np.concatenate(columns))
    whole = sparse.csc_array((np.concatenate(values), index), shape=(total, 3 * len(place) + 1))
    return whole, counts


def _column(species: str) -> Atoms:
    """One atom of each element of a column, too far apart in height to scatter in phase."""
    symbols = re.findall("[A-Z][a-z]?", species)
    return Atoms(symbols, positions=[(0, 0, APART * k) for k in range(len(symbols))])
