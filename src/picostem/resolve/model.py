"""What the harmonics of a stack should be: structure factors, probe, and where the layers are.

    m(h) = s * sum over layers l of exp(-2 pi i h . t_l) Q_l(h)
    Q_l(h) = beta_l exp(-2 pi^2 sigma^2 g^2) * sum over species e of w_e exp(-2 pi^2 u_e^2 g^2)
             * sum over atoms j of e of O(g; C10 + z_l + z_j) exp(-2 pi i h . r_j)

with O the probe's transfer, expanded to first order in the atom's height z_j above its layer's mid-plane.
Q depends on the microscope alone, which all windows of an image share; t_l and s are each window's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from picostem.simulate.transfer import ABERRATIONS, Aberrations, probe_transfer_with_derivatives
from picostem.structure.monolayer import Monolayer

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Prior:
    """Gaussian prior of the microscope's parameters: means and standard deviations, each shape (p,)."""

    names: tuple[str, ...]
    mean: FloatArray
    sigma: FloatArray


@dataclass(frozen=True)
class StackModel:
    """Harmonics of aligned layers with one lattice.

    Attributes:
        hk: reflections, shape (n, 2).
        g: their frequencies in the undistorted image frame, 1/Å, shape (n, 2).
        layers: the layers from the beam's entrance on.
        heights: mid-plane of each layer, Å along the beam, the first 0.
        species: symbols whose weights are told apart, the heaviest scatterer first.
        weights: scattering power of each species relative to the first.
        widths: rms width of each species' object (thermal motion and scattering), Å.
        wavelength: Å. semiangle: rad; where it is unknown, `semiangle_sigma` > 0 frees it.
    """

    hk: IntArray
    g: FloatArray
    layers: tuple[Monolayer, ...]
    heights: tuple[float, ...]
    species: tuple[str, ...]
    weights: tuple[float, ...]
    widths: tuple[float, ...]
    wavelength: float
    semiangle: float
    semiangle_sigma: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "_factors", self._structure_factors())

    def _structure_factors(self) -> ComplexArray:
        """F and its first moment in z per layer and species, shape (2, layers, species, n)."""
        g2 = np.sum(self.g**2, axis=1)
        factors = np.zeros((2, len(self.layers), len(self.species), len(self.hk)), dtype=complex)
        for layer, monolayer in enumerate(self.layers):
            waves = np.exp(-2j * np.pi * monolayer.scaled @ self.hk.T)
            for e, symbol in enumerate(self.species):
                chosen = np.array([s == symbol for s in monolayer.symbols])
                damping = np.exp(-2 * np.pi**2 * self.widths[e] ** 2 * g2)
                factors[0, layer, e] = damping * waves[chosen].sum(axis=0)
                factors[1, layer, e] = damping * (monolayer.positions[chosen, 2] @ waves[chosen])
        return factors

    @property
    def prior(self) -> Prior:
        """Names, means and standard deviations of the microscope's parameters."""
        ratios = [f"log weight {s}" for s in self.species[1:]]
        layers = [f"log brightness {i + 1}" for i in range(1, len(self.layers))]
        names = [*ABERRATIONS, "variance", *ratios, *layers]
        middle = -sum(self.heights) / len(self.heights)
        mean = [middle, 0.0, 0.0, 0.0, 0.0, 0.08, *np.log(self.weights[1:]), *[0.0] * len(layers)]
        sigma = [40.0, 25.0, 25.0, 250.0, 250.0, 0.06, *[0.3] * len(ratios), *[0.15] * len(layers)]
        if self.semiangle_sigma > 0:
            names, mean, sigma = [*names, "semiangle"], [*mean, self.semiangle], [*sigma, self.semiangle_sigma]
        return Prior(tuple(names), np.array(mean), np.array(sigma))

    def layer_factors(self, microscope: FloatArray) -> tuple[ComplexArray, ComplexArray]:
        """Q_l(h), shape (layers, n), and dQ_l/d(microscope), shape (p, layers, n)."""
        count, n = len(self.layers), len(self.hk)
        species = len(self.species)
        aberrations = microscope[:5]
        weights = np.exp(np.concatenate([[0.0], microscope[6 : 5 + species]]))
        brightness = np.exp(np.concatenate([[0.0], microscope[5 + species : 4 + species + count]]))
        semiangle = microscope[-1] if self.semiangle_sigma > 0 else self.semiangle
        blur = np.exp(-2 * np.pi**2 * microscope[5] * np.sum(self.g**2, axis=1))
        value = np.zeros((count, n), dtype=complex)
        slope = np.zeros((len(microscope), count, n), dtype=complex)
        for layer, height in enumerate(self.heights):
            f0, f1 = self._factors[:, layer]  # type: ignore[attr-defined]
            scale = brightness[layer] * blur
            transfer, gradient, curvature = self._transfer(aberrations, height, semiangle)
            flat, tilted = weights @ f0, weights @ f1
            value[layer] = scale * (transfer * flat + gradient[0] * tilted)
            slope[:5, layer] = scale * (gradient * flat + curvature * tilted)
            slope[5, layer] = -2 * np.pi**2 * np.sum(self.g**2, axis=1) * value[layer]
            for e in range(1, species):
                slope[5 + e, layer] = scale * weights[e] * (transfer * f0[e] + gradient[0] * f1[e])
            if layer:
                slope[4 + species + layer, layer] = value[layer]
            if self.semiangle_sigma > 0:
                step = 1e-3 * semiangle
                up, down = (self._transfer(aberrations, height, semiangle + d)[0] for d in (step, -step))
                slope[-1, layer] = scale * flat * (up - down) / (2 * step)
        return value, slope

    def _transfer(
        self, aberrations: FloatArray, height: float, semiangle: float
    ) -> tuple[ComplexArray, ComplexArray, ComplexArray]:
        """O, dO/dC and d²O/dC10 dC at a height; the last by a difference of 0.5 Å in C10."""
        at = [Aberrations(aberrations[0] + height + d, *aberrations[1:]) for d in (0.0, 0.5, -0.5)]
        o, up, down = (
            probe_transfer_with_derivatives(self.g[:, 0], self.g[:, 1], self.wavelength, semiangle, a) for a in at
        )
        return o[0], o[1], (up[1] - down[1])
