"""What the harmonics of a stack should be: structure factors, probe, and where the layers are.

    m(h) = s * sum over layers l of exp(-2 pi i h . t_l) Q_l(h)
    Q_l(h) = beta_l exp(-2 pi^2 g.V g) * sum over species e of w_e S_e(g)
             * sum over atoms j of e of O(g; C10 + z_l + z_j) exp(-2 pi i h . r_j)

| symbol | meaning |
|---|---|
| s, t_l | scale, position of layer l (fractions): each window's own |
| beta_l, w_e | brightness of a layer, weight of a species, both about 1 |
| V | blur by source size and vibration, [[v + v_a, v_b], [v_b, v - v_a]], Å² |
| S_e(g) | object transfer: cross-section onto the detector, its angular range, thermal motion |
| O(g; C10) | transfer of the probe, expanded to first order in the height z_j of an atom in its layer |

Q depends on the microscope alone, which all windows of an image share. What pairs of layers do together (channelling,
interference) comes on top, see `CrossTerm`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from picostem.physics import electron_wavelength
from picostem.resolve.stacking import Stackings
from picostem.simulate.channelling import channelling
from picostem.simulate.column import Scatterer, scatterers
from picostem.simulate.interference import interference
from picostem.simulate.microscope import Microscope
from picostem.simulate.transfer import ABERRATIONS, Aberrations, ApertureOverlap
from picostem.structure.monolayer import Monolayer

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.int64]
OpticsSource = Literal["file", "user", "fitted"]

BLUR = ("variance", "variance a", "variance b")
# standard deviations of the log weight of a species, whose brightness depends on the detector's angles
WEIGHT_KNOWN, WEIGHT_UNKNOWN = 0.15, 0.3
SEMIANGLES = (5e-3, 0.1)  # rad; where a free semiangle may go


@dataclass(frozen=True)
class Prior:
    """Gaussian prior of the microscope's parameters: means and standard deviations, each shape (p,)."""

    names: tuple[str, ...]
    mean: FloatArray
    sigma: FloatArray


@dataclass(frozen=True)
class CrossTerm:
    """What a pair of layers adds to the sum of both: interference and channelling.

    It adds s exp(-2 pi i h . t_lower) * sum over q of kernel(h, q) exp(-2 pi i q . (t_upper - t_lower)).

    Attributes:
        lower, upper: indices of the layers, lower < upper.
        q: lattice vectors, shape (m, 2). kernel: shape (n, m).
    """

    lower: int
    upper: int
    q: IntArray
    kernel: ComplexArray


@dataclass(frozen=True)
class Optics:
    """What is known of the microscope; a semiangle with a sigma is free within it.

    Attributes:
        voltage_eV: accelerating voltage.
        semiangle, semiangle_sigma: convergence semiangle and its standard deviation (0: known), rad.
        inner, outer: detector half angles, rad.
        source: where the voltage and the semiangle came from.
        detector_known: whether the detector angles are more than a guess.
        together: whether layers scatter together; False for images that a linear model made.
    """

    voltage_eV: float
    semiangle: float
    semiangle_sigma: float
    inner: float
    outer: float
    source: OpticsSource
    detector_known: bool = True
    together: bool = True


@dataclass(frozen=True)
class StackModel:
    """Harmonics of aligned layers with one lattice.

    Attributes:
        hk: reflections, shape (n, 2).
        g: their frequencies in the undistorted image frame, 1/Å, shape (n, 2).
        heights: mid-plane of each layer, Å along the beam, the first 0.
        cell: the lattice's rows in the crystal frame, Å.
        species: symbols, the strongest scatterer first.
        factors: structure factors of each layer's species, and their first moments in z, object transfer and thermal
            motion included, relative to the strongest species' weight, shape (2, layers, species, n).
        wavelength: Å.
        optics: the microscope.
        layers: their structures. orthogonal: R(rotation) M of the crystal in the image. unit: Å², of all weights.
        cross_terms: what the layers do together at the microscope it was computed for; see `with_cross_terms`.
    """

    hk: IntArray
    g: FloatArray
    heights: tuple[float, ...]
    cell: FloatArray
    species: tuple[str, ...]
    factors: ComplexArray
    wavelength: float
    optics: Optics
    layers: tuple[Monolayer, ...]
    orthogonal: FloatArray
    unit: float
    cross_terms: tuple[CrossTerm, ...] = ()

    @property
    def layer_count(self) -> int:
        """How many layers the stack has."""
        return len(self.heights)

    @classmethod
    def build(cls, layers: tuple[Monolayer, ...], hk: IntArray, orthogonal: FloatArray, optics: Optics) -> StackModel:
        """The model of layers that share the first one's lattice.

        Args:
            layers: from the beam's entrance on, each a layer spacing behind the one before.
            hk: reflections, shape (n, 2).
            orthogonal: R(rotation) M of the crystal in the image, shape (2, 2).
            optics: the microscope.
        """
        g = hk @ layers[0].reciprocal @ orthogonal.T
        heights = np.cumsum([0.0, *(layer.layer_spacing for layer in layers[:-1])])
        length = np.linalg.norm(g, axis=1)
        symbols = {symbol for layer in layers for symbol in layer.symbols}
        brightest = {symbol: float(_object(Scatterer((symbol,)), length, optics).max()) for symbol in symbols}
        species = tuple(sorted(symbols, key=lambda symbol: -brightest[symbol]))
        strongest = brightest[species[0]]
        factors = np.zeros((2, len(layers), len(species), len(hk)), dtype=complex)
        for i, layer in enumerate(layers):
            for scatterer, positions in scatterers(layer.symbols, layer.positions, layer.cell):
                waves = np.exp(-2j * np.pi * positions[:, :2] @ np.linalg.inv(layer.cell) @ hk.T)
                strength = _object(scatterer, length, optics) / strongest
                e = species.index(scatterer.symbols[0])
                factors[0, i, e] += strength * waves.sum(axis=0)
                factors[1, i, e] += strength * (positions[:, 2] @ waves)
        return cls(
            hk=hk,
            g=g,
            heights=tuple(float(z) for z in heights),
            cell=layers[0].cell,
            species=species,
            factors=factors,
            wavelength=electron_wavelength(optics.voltage_eV),
            optics=optics,
            layers=layers,
            orthogonal=orthogonal,
            unit=strongest,
        )

    @property
    def stackings(self) -> Stackings:
        """Which stackings of the layers are alike."""
        return Stackings(self.layers)

    def to_angstrom(self, covariance: FloatArray) -> FloatArray:
        """Covariances of slips in units of a and b as Å², shape (..., 2s, 2s)."""
        cells = np.kron(np.eye(covariance.shape[-1] // 2), self.cell)
        return np.asarray(cells.T @ covariance @ cells)

    def reordered(self, order: tuple[int, ...]) -> StackModel:
        """The model of the layers in another order along the beam: itself if alike, otherwise without cross-terms."""
        layers = tuple(self.layers[k] for k in order)
        if all(one is other for one, other in zip(layers, self.layers, strict=True)):
            return self
        return StackModel.build(layers, self.hk, self.orthogonal, self.optics)

    def with_cross_terms(self, microscope: FloatArray) -> StackModel:
        """The model with what pairs of layers do together, if they do, frozen at these microscope parameters."""
        if not self.optics.together:
            return self
        pairs = [(lower, upper) for upper in range(1, self.layer_count) for lower in range(upper)]
        return replace(self, cross_terms=tuple(self._cross_term(microscope, *pair) for pair in pairs))

    def _cross_term(self, microscope: FloatArray, lower: int, upper: int) -> CrossTerm:
        parts, optics = self._split(microscope), self.optics
        reciprocal = self.layers[0].reciprocal @ self.orthogonal.T
        at = Aberrations(*microscope[: len(ABERRATIONS)])
        depths = (self.heights[lower], self.heights[upper])
        beam = (optics.voltage_eV, parts.semiangle)
        q, together = interference(
            (self.layers[lower], self.layers[upper]),
            depths,
            reciprocal,
            self.hk,
            *beam,
            (optics.inner, optics.outer),
            at,
        )
        kernel = together * np.sqrt(parts.brightness[lower] * parts.brightness[upper]) / self.unit
        first, second = (replace(at, C10=at.C10 + z) for z in depths)
        near, passed = channelling(self.layers[lower], reciprocal, self.hk, depths[1] - depths[0], *beam, first)
        strength = parts.brightness[upper] * self._object_at(upper, near, parts.weights)
        undisturbed = self._overlap(parts.semiangle).expansion(second)[0]
        position = {tuple(vector): i for i, vector in enumerate(q.tolist())}
        change = passed * strength
        places = np.array([position[tuple(vector)] for vector in near.tolist()])
        kernel[:, places] += change
        own = np.array([position[tuple(vector)] for vector in self.hk.tolist()])
        itself = parts.brightness[upper] * self._object_at(upper, self.hk, parts.weights) * undisturbed
        kernel[np.arange(len(own)), own] -= itself
        return CrossTerm(lower, upper, q, kernel * parts.damping[:, None])

    def _object_at(self, index: int, hk: IntArray, weights: FloatArray) -> ComplexArray:
        """Object function of a layer, flat, at any reflections, in units of the model, shape (m,)."""
        layer = self.layers[index]
        g = np.linalg.norm(hk @ layer.reciprocal, axis=1)
        total = np.zeros(len(hk), dtype=complex)
        for scatterer, positions in scatterers(layer.symbols, layer.positions, layer.cell):
            weight = weights[self.species.index(scatterer.symbols[0])]
            waves = np.exp(-2j * np.pi * positions[:, :2] @ np.linalg.inv(layer.cell) @ hk.T)
            total += weight / self.unit * _object(scatterer, g, self.optics) * waves.sum(axis=0)
        return total

    @property
    def prior(self) -> Prior:
        """Names, means and standard deviations of the microscope's parameters."""
        ratios = [f"log weight {s}" for s in self.species[1:]]
        layers = [f"log brightness {i + 1}" for i in range(1, self.layer_count)]
        names = [*ABERRATIONS, *BLUR, *ratios, *layers]
        middle = -sum(self.heights) / len(self.heights)
        mean = [middle, 0.0, 0.0, 0.0, 0.0, 0.07, 0.0, 0.0, *[0.0] * (len(ratios) + len(layers))]
        sigma = [
            40.0,
            25.0,
            25.0,
            250.0,
            250.0,
            0.06,
            0.01,
            0.01,
            *[WEIGHT_KNOWN if self.optics.detector_known else WEIGHT_UNKNOWN] * len(ratios),
            *[0.15] * len(layers),
        ]
        if self.optics.semiangle_sigma > 0:
            names, mean = [*names, "semiangle"], [*mean, self.optics.semiangle]
            sigma = [*sigma, self.optics.semiangle_sigma]
        return Prior(tuple(names), np.array(mean), np.array(sigma))

    def layer_factors(self, microscope: FloatArray) -> tuple[ComplexArray, ComplexArray]:
        """Q_l(h), shape (layers, n), and dQ_l/d(microscope), shape (p, layers, n)."""
        parts = self._split(microscope)
        aberrations, first_weight, first_layer = parts.starts
        value = np.zeros((self.layer_count, len(self.hk)), dtype=complex)
        slope = np.zeros((len(microscope), self.layer_count, len(self.hk)), dtype=complex)
        overlap = self._overlap(parts.semiangle)
        free_semiangle = self.optics.semiangle_sigma > 0
        step = 1e-3 * parts.semiangle
        wider, narrower = (self._overlap(parts.semiangle + d) if free_semiangle else overlap for d in (step, -step))
        weights = parts.weights
        for layer, height in enumerate(self.heights):
            f0, f1 = self.factors[:, layer]
            scale = parts.brightness[layer] * parts.damping
            at = Aberrations(microscope[0] + height, *microscope[1:aberrations])
            transfer, gradient, curvature = overlap.expansion(at)
            flat, tilted = weights @ f0, weights @ f1
            value[layer] = scale * (transfer * flat + gradient[0] * tilted)
            slope[:aberrations, layer] = scale * (gradient * flat + curvature * tilted)
            slope[aberrations:first_weight, layer] = parts.exponents * value[layer]
            shares = scale * weights[1:, None] * (transfer * f0[1:] + gradient[0] * f1[1:])
            slope[first_weight:first_layer, layer] = shares
            if layer:
                slope[first_layer + layer - 1, layer] = value[layer]
            if free_semiangle:
                more, less = wider.expansion(at), narrower.expansion(at)
                change = (more[0] - less[0]) * flat + (more[1][0] - less[1][0]) * tilted
                slope[-1, layer] = scale * change / (2 * step)
        return value, slope

    def _split(self, microscope: FloatArray) -> _Parts:
        first_weight = len(ABERRATIONS) + len(BLUR)
        first_layer = first_weight + len(self.species) - 1
        gx, gy = self.g.T
        exponents = -2 * np.pi**2 * np.stack([gx**2 + gy**2, gx**2 - gy**2, 2 * gx * gy])
        free = self.optics.semiangle_sigma > 0
        return _Parts(
            starts=(len(ABERRATIONS), first_weight, first_layer),
            weights=np.exp(np.concatenate([[0.0], microscope[first_weight:first_layer]])),
            brightness=np.exp(np.concatenate([[0.0], microscope[first_layer : first_layer + self.layer_count - 1]])),
            exponents=exponents,
            damping=np.exp(microscope[len(ABERRATIONS) : first_weight] @ exponents),
            semiangle=float(np.clip(microscope[-1], *SEMIANGLES)) if free else self.optics.semiangle,
        )

    def _overlap(self, semiangle: float) -> ApertureOverlap:
        return _cached_overlap(self.g.tobytes(), self.wavelength, float(semiangle))


@dataclass(frozen=True)
class _Parts:
    """Microscope parameters by meaning; `starts`: where aberrations end, weights and brightnesses begin."""

    starts: tuple[int, int, int]
    weights: FloatArray
    brightness: FloatArray
    exponents: FloatArray
    damping: FloatArray
    semiangle: float


@lru_cache(maxsize=16)
def _cached_overlap(g: bytes, wavelength: float, semiangle: float) -> ApertureOverlap:
    gx, gy = np.frombuffer(g).reshape(-1, 2).T
    return ApertureOverlap(gx, gy, wavelength, semiangle)


def _object(scatterer: Scatterer, g: FloatArray, optics: Optics) -> FloatArray:
    """Object transfer of an atom, or of what two atoms on one column scatter together, at abs(g), shape (n,)."""
    microscope = Microscope(
        voltage_eV=optics.voltage_eV,
        semiangle=optics.semiangle,
        detector_inner=optics.inner,
        detector_outer=optics.outer,
    )
    return scatterer.transfer(g, microscope, {})
