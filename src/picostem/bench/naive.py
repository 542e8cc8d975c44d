"""The same answers by the plainest code, to compare speed with: window by window, pixel by pixel, wave by wave."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from picostem.resolve.orient import Setting
from picostem.simulate.column import scatterers
from picostem.simulate.microscope import Microscope
from picostem.simulate.scattering import thermal_transfer
from picostem.simulate.transfer import probe_transfer
from picostem.structure import Stack

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]


def fit_window(data: NDArray[np.float32], setting: Setting, start: tuple[int, int], slip: FloatArray) -> FloatArray:
    """Slip in one window (fractions of a and b) by least squares with numerical derivatives.

    Args:
        data: image with its mean subtracted.
        setting: lattice and microscope; the model is that of `picostem.resolve.model`.
        start: first row and column of the window.
        slip: where to begin, fractions of a and b.
    """
    measured = _amplitudes(data, setting, start)
    hk, factors = setting.model.hk, setting.model.layer_factors(setting.fit.state.microscope)[0]

    def predicted(p: FloatArray) -> ComplexArray:
        waves = np.exp(-2j * np.pi * hk @ np.array([p[1:3], p[1:3] + p[3:5]]).T)
        return np.asarray(p[0] * (waves.T * factors).sum(axis=0))

    def residual(p: FloatArray) -> FloatArray:
        off = measured - predicted(p)
        return np.concatenate([off.real, off.imag])

    state = setting.fit.state
    begin = np.array([state.scale[0], *state.origin[0], *slip])
    return np.asarray(least_squares(residual, begin, x_scale=[abs(begin[0]), 0.1, 0.1, 0.1, 0.1]).x[3:])


def _amplitudes(data: NDArray[np.float32], setting: Setting, start: tuple[int, int]) -> ComplexArray:
    """Harmonics of one window by least squares against all waves, shape (n,)."""
    rows, columns = data.shape
    row, column = (np.arange(first, first + setting.window) for first in start)
    x, y = np.meshgrid(column - (columns - 1) / 2, (rows - 1) / 2 - row)
    g = setting.model.hk @ setting.lattice.reciprocal
    waves = np.exp(2j * np.pi * (g[:, :1] * x.ravel() + g[:, 1:] * y.ravel()))
    basis = np.concatenate([np.ones((1, x.size)), waves, waves.conj()])
    window = data[row[0] : row[-1] + 1, column[0] : column[-1] + 1].ravel()
    return np.asarray(np.linalg.solve(basis.conj() @ basis.T, basis.conj() @ window)[1 : 1 + len(g)])


def direct_sum(stack: Stack, microscope: Microscope, x: FloatArray, y: FloatArray) -> FloatArray:
    """Noise-free image at the points of a grid: every atom's every wave added up, shape (len(y), len(x)).

    The crystal lies along the image's axes (no rotation), with its origin at the centre.
    """
    image = np.zeros((len(y), len(x)))
    for layer in stack.layers:
        g = _waves_of(layer.cell, microscope.cutoff)
        height = layer.z
        for scatterer, where in scatterers(layer.monolayer.symbols, layer.positions, layer.cell):
            signal = scatterer.transfer(np.hypot(*g.T), microscope, {})
            signal = signal * thermal_transfer(np.hypot(*g.T), microscope.source_sigma) / layer.monolayer.area
            for position in where:
                at = microscope.aberrations_at(position[2] if position[2] else height)
                transfer = probe_transfer(g[:, 0], g[:, 1], microscope.wavelength, microscope.semiangle, at)
                weights = signal * transfer * np.exp(-2j * np.pi * g @ position[:2])
                for wave, weight in zip(g, weights, strict=True):
                    image += (weight * np.exp(2j * np.pi * (wave[0] * x + wave[1] * y[:, None]))).real
    return image


def _waves_of(cell: FloatArray, cutoff: float) -> FloatArray:
    """All reciprocal vectors of a cell within the cutoff, 1/Å, shape (n, 2)."""
    limits = [int(cutoff * np.linalg.norm(row)) + 1 for row in cell]
    indices = list(itertools.product(*(range(-n, n + 1) for n in limits)))
    g = np.array(indices) @ np.linalg.inv(cell).T
    return np.asarray(g[np.hypot(*g.T) < cutoff])
