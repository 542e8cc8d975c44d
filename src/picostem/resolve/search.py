"""Coarse search for where the layers are: every slip on a grid over the cell, every origin by a Fourier transform.

For a template m(h; D) the origin t enters as exp(-2 pi i h . t), so that the correlation with the measured harmonics
over all origins is one inverse Fourier transform. Its best value over the template's norm is the drop in weighted
misfit that this slip brings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from picostem.resolve.estimate import State
from picostem.resolve.model import StackModel

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.int64]

SLIP_STEP = 0.28  # Å; half the distance over which the fit's basin of attraction reaches
MODEL_ERROR = 0.05  # share of each harmonic's power that a default microscope may get wrong


@dataclass(frozen=True)
class Coarse:
    """Result of the coarse search.

    Attributes:
        slips: the grid, fractions of a and b, shape (m, 2).
        explained: share of its weighted power that each slip explains in each window, shape (windows, m).
        origins: best origin of each window at each slip, shape (windows, m, 2).
        scales: the scale that goes with it, shape (windows, m).
    """

    slips: FloatArray
    explained: FloatArray
    origins: FloatArray
    scales: FloatArray

    def best_common(self, count: int, apart: float = 0.08) -> list[int]:
        """The slips that explain most of all windows together and lie at least `apart` (of a cell) from each other."""
        chosen: list[int] = []
        total = self.explained.sum(axis=0)
        for i in np.argsort(total)[::-1]:
            distance = [np.abs((self.slips[i] - self.slips[j] + 0.5) % 1 - 0.5).max() for j in chosen]
            if min(distance, default=1.0) > apart:
                chosen.append(int(i))
            if len(chosen) == count:
                break
        return chosen

    def state(self, microscope: FloatArray, choice: IntArray, interfaces: int) -> State:
        """The parameters of all windows when window w has the slip `choice[w]` at each interface."""
        w = np.arange(len(choice))
        slips = np.repeat(self.slips[choice][:, None], interfaces, axis=1)
        return State(microscope, self.scales[w, choice], self.origins[w, choice], slips)


def slip_grid(cell: FloatArray) -> FloatArray:
    """Slips in fractions of a and b that cover the cell in steps of about SLIP_STEP, shape (m, 2)."""
    counts = np.ceil(np.linalg.norm(cell, axis=1) / SLIP_STEP).astype(int)
    a, b = np.meshgrid(*(np.arange(n) / n for n in counts), indexing="ij")
    return np.stack([a.ravel(), b.ravel()], axis=1)


def coarse_search(
    model: StackModel,
    microscope: FloatArray,
    amplitudes: ComplexArray,
    noise: FloatArray,
    slips: FloatArray | None = None,
    zoom: int = 1,
) -> Coarse:
    """Try every slip with the microscope given.

    Args:
        model: of one layer (the slips are then ignored) or two.
        microscope: parameters in the order of the model's prior.
        amplitudes: measured harmonics, shape (windows, n).
        noise: their noise power, shape (n,).
        slips: fractions of a and b, shape (m, 2); a grid over the cell if left out.
        zoom: how many times finer than need be the origins are sampled.
    """
    if slips is None:
        slips = slip_grid(model.cell)
    factors = model.layer_factors(microscope)[0]
    hk = model.hk
    if model.layer_count == 1:
        slips = np.zeros((1, 2))
        template = factors[:1]
    else:
        template = factors[0] + factors[1] * np.exp(-2j * np.pi * slips @ hk.T)
    weight = 1 / (noise + MODEL_ERROR * np.abs(amplitudes) ** 2)
    norm = weight @ (np.abs(template) ** 2).T
    power = np.sum(weight * np.abs(amplitudes) ** 2, axis=1)
    size = zoom << int(2 * np.abs(hk).max()).bit_length()
    origins, scales = np.empty((*norm.shape, 2)), np.empty(norm.shape)
    gain = np.empty(norm.shape)
    for w in range(len(amplitudes)):
        grid = np.zeros((len(template), size, size), dtype=np.complex64)
        grid[:, hk[:, 0] % size, hk[:, 1] % size] = np.conj(template) * (amplitudes[w] * weight[w])
        correlation = np.fft.ifft2(grid).real.reshape(len(template), -1) * size**2
        best = correlation.argmax(axis=1)
        value = np.maximum(correlation[np.arange(len(template)), best], 0)
        origins[w] = np.stack([best // size, best % size], axis=1) / size
        scales[w] = value / norm[w]
        gain[w] = value**2 / norm[w]
    return Coarse(slips, gain / power[:, None], origins, scales)
