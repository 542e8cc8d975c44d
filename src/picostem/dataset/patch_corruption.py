"""What patches suffer in real space beyond `corruption`: parts cut out, blur, and mirrors, which move the label.

Patches have shape (k, side, side), float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from picostem.dataset.bank import Bank
from picostem.structure.stack import rotation_matrix

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Single = NDArray[np.float32]

NARROWEST = 0.5
"""Least side of a mask over that of a square of its area; the other one is as much longer."""

WHOLE = 0.02
"""How far elements of a matrix in cell vectors may be from whole numbers, as in `orientation`."""

MIRRORS = (np.eye(2), np.diag([-1.0, 1.0]), np.diag([1.0, -1.0]), -np.eye(2))
"""None; left and right exchanged; top and bottom; both, which is half a turn."""


def mask(patches: Single, share: FloatArray, rng: np.random.Generator) -> Single:
    """Patches with a rectangle of zeros that takes a share of the area, shape (k,), anywhere inside."""
    found, side = patches.copy(), patches.shape[1]
    for row in np.flatnonzero(share > 0):
        narrow = np.exp(rng.uniform(np.log(NARROWEST), -np.log(NARROWEST)))
        sides = side * np.sqrt(share[row]) * np.array([narrow, 1 / narrow])
        height, width = np.clip(np.rint(sides), 1, side).astype(int)
        top, left = rng.integers(side - height + 1), rng.integers(side - width + 1)
        found[row, top : top + height, left : left + width] = 0
    return found


def blurred(patches: Single, sigma: FloatArray) -> Single:
    """Patches blurred by Gaussians of standard deviations sigma, pixels, shape (k,), mirrored at their borders."""
    found = patches.copy()
    for row in np.flatnonzero(sigma > 0):
        found[row] = ndimage.gaussian_filter(patches[row], sigma[row], mode="reflect")
    return found


def flipped(patches: Single, which: IntArray) -> Single:
    """Patches mirrored as `MIRRORS` says, by index, shape (k,)."""
    found = patches.copy()
    found[which == 1] = patches[which == 1, :, ::-1]
    found[which == 2] = patches[which == 2, ::-1]
    found[which == 3] = patches[which == 3, ::-1, ::-1]
    return found


@dataclass(frozen=True, eq=False)
class Mirrors:
    """Which mirrors of a patch show a stack of the same kind in the same orientation, and what it is then.

    For F of `MIRRORS` and layer 1 at the angle φ, that are those for which R(-φ) F R(φ) lays every layer on itself; a
    small turn is then the opposite one. See `orientation` for D' = M D - (t_upper - t_lower).

    Attributes:
        which: indices of the mirrors, shape (f,).
        turns: M of each, in cell vectors, shape (f, 2, 2). shifts: t_upper - t_lower, shape (f, layers - 1, 2).
    """

    which: IntArray
    turns: FloatArray
    shifts: FloatArray

    @classmethod
    def of(cls, bank: Bank, orientation: float) -> Mirrors:
        """Those of a bank's layers on one lattice; orientation: of layer 1, rad."""
        found = []
        turn = rotation_matrix(orientation)
        for index, mirror in enumerate(MIRRORS):
            exact = np.linalg.inv(bank.cell.T) @ turn.T @ mirror @ turn @ bank.cell.T
            near = np.abs(bank.orientations.turns - exact).max(axis=(1, 2))
            if near.min() < WHOLE:
                place = int(near.argmin())
                found.append((index, bank.orientations.turns[place], np.diff(bank.orientations.shifts[place], axis=0)))
        which, turns, shifts = (np.array(part) for part in zip(*found, strict=True))
        return cls(which.astype(np.int64), turns.astype(np.float64), shifts)

    @classmethod
    def of_twists(cls) -> Mirrors:
        """Of layers at a twist, whose orientation in the patch is not what is asked: all of them."""
        return cls(np.arange(len(MIRRORS)), np.array(MIRRORS), np.zeros((len(MIRRORS), 0, 2)))

    def draw(self, patches: Single, labels: FloatArray, rng: np.random.Generator) -> tuple[Single, FloatArray]:
        """Patches mirrored at random, and their labels: slips, (k, s, 2), or twists in rad, (k,).

        A mirror turns a twist into the opposite one, half a turn leaves it.
        """
        chosen = rng.integers(len(self.which), size=len(patches))
        return flipped(patches, self.which[chosen]), self.labels(labels, chosen)

    def labels(self, labels: FloatArray, chosen: IntArray) -> FloatArray:
        """What becomes of labels by the mirrors `which[chosen]`."""
        if labels.ndim == 1:
            return np.asarray(labels * np.sign(np.linalg.det(self.turns[chosen])))
        return np.asarray((np.einsum("kij,ksj->ksi", self.turns[chosen], labels) - self.shifts[chosen]) % 1.0)
