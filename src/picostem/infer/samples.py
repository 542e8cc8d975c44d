"""What a network for stackings learns from: windows given by their lattice harmonics, with the slips that made them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

CONDITIONS = ("voltage_kV / 300", "semiangle_mrad / 25", "inner / semiangle")
"""What is known of the microscope, in the order in which the conditions of a sample state it."""


class Samples(Protocol):
    """Windows of stacks of s + 1 layers on one lattice."""

    @property
    def amplitudes(self) -> NDArray[np.complex64]:
        """Complex amplitudes of the lattice's harmonics, shape (k, n); unit and origin do not matter."""

    @property
    def noise(self) -> NDArray[np.floating]:
        """Root mean square of the noise of one amplitude, in the amplitudes' unit, shape (k,)."""

    @property
    def slips(self) -> NDArray[np.floating]:
        """Of each layer relative to the one below it, fractions of the cell, shape (k, s, 2)."""

    @property
    def factors(self) -> NDArray[np.complex64]:
        """Of each layer alone, at the origin, as a fit has them, in any unit, shape (k, s + 1, n)."""

    @property
    def conditions(self) -> NDArray[np.floating]:
        """Of the microscope, as `CONDITIONS` says, shape (k, 3)."""

    @property
    def outlier(self) -> NDArray[np.bool_]:
        """Windows that are not of such a stack; their slips mean nothing; shape (k,)."""


Draw = Callable[[np.random.Generator, int], Samples]
"""Draws as many samples as asked."""
