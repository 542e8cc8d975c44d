"""What a network says of windows, as the stages that ask it see it; who answers is not their business."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from picostem.resolve.evidence import Evidence

FloatArray = NDArray[np.float64]


class Source(IntEnum):
    """Where the slip of a window comes from."""

    FIT = 0
    NET = 1
    DOUBTED = 2
    """A network that does not believe its own answer."""


@dataclass(frozen=True)
class Proposal:
    """Stackings of w windows of s interfaces.

    Attributes:
        slips: the likeliest first, fractions of a and b, of any order of like layers, shape (w, k, s, 2).
        weights: their probabilities, shape (w, k).
        covariance: of the likeliest, calibrated, Å², shape (w, 2s, 2s).
        trusted: whether a window is one that the network knows, shape (w,).
    """

    slips: FloatArray
    weights: FloatArray
    covariance: FloatArray
    trusted: NDArray[np.bool_]


class Proposer(Protocol):
    """A network that is asked for the stackings of windows."""

    @property
    def alone(self) -> bool:
        """Whether its word is all that counts; else it proposes what is fitted."""

    def __call__(self, evidence: Evidence) -> Proposal:
        """The stackings of all windows of some evidence."""
