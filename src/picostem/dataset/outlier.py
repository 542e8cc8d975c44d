"""Windows that are no such stack at all: one layer, noise, another crystal, something amorphous."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from picostem.dataset.bank import Bank
from picostem.dataset.stack import amplitudes

IntArray = NDArray[np.int64]
SingleComplex = NDArray[np.complex64]


class Kind(IntEnum):
    """What a window shows."""

    STACK = 0
    ONE_LAYER = 1
    NOISE = 2
    CRYSTAL = 3
    AMORPHOUS = 4


def draw_kinds(count: int, share: float, rng: np.random.Generator) -> IntArray:
    """What windows show, shape (count,): stacks but for a share, which is of all other kinds alike."""
    others = rng.integers(1, len(Kind), size=count)
    return np.asarray(np.where(rng.random(count) < share, others, Kind.STACK), dtype=np.int64)


def substituted(right: SingleComplex, kinds: IntArray, other: Bank | None, rng: np.random.Generator) -> SingleComplex:
    """Amplitudes, (k, n), of what the kinds say; one layer's are right already, by its occupancy.

    Another crystal has the amplitudes of `other` in the order of its reflections, of the same power in all; without
    `other`, the right moduli with random phases, which other atoms in the same lattice could have.
    """
    found = right.copy()
    found[(kinds == Kind.NOISE) | (kinds == Kind.AMORPHOUS)] = 0
    for row in np.nonzero(kinds == Kind.CRYSTAL)[0]:
        if other is None:
            found[row] *= np.exp(2j * np.pi * rng.random(right.shape[1]))
        else:
            wrong = _wrong(other, right.shape[1], rng)
            found[row] = wrong * (np.linalg.norm(right[row]) / np.linalg.norm(wrong))
    return found


def _wrong(other: Bank, count: int, rng: np.random.Generator) -> SingleComplex:
    """The first amplitudes of some stack of another bank, zero where it has no more, shape (count,)."""
    slips = rng.random((1, other.layers - 1, 2))
    whole = amplitudes(other, int(rng.integers(len(other))), slips)[0, :count]
    return np.pad(whole, (0, count - len(whole)))
