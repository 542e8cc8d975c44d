"""Stacks whose layers have lattices of their own: plane waves at all their reciprocal vectors.

The image is s * sum over waves w of A_w exp(2 pi i sum over layers l of n_wl . (B_l r - t_l)), B_l the reciprocal
lattice of layer l in the image (rows a*, b*), t_l its position in fractions, n_wl whole numbers. A layer's own waves
have n_wl = h for that layer and 0 for the others, and the amplitudes of `StackModel`; what two layers do together makes
waves with whole numbers of both.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from picostem.resolve.lattice import Lattice
from picostem.resolve.model import Optics, Prior, StackModel
from picostem.structure.lattice import reflections
from picostem.structure.monolayer import Monolayer

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.int64]

WEAKEST = 2e-3  # of the strongest wave's amplitude: waves of two layers together that are left out


@dataclass(frozen=True)
class WaveModel:
    """Amplitudes of the waves of some layers.

    Attributes:
        parts: the model of each layer by itself.
        lattice_of: which lattice each layer has, shape (layers,).
        orders: n_wl, shape (waves, layers, 2).
        prior: of the microscope's parameters: aberrations, blur, weights of the species of each material after its
            strongest, log brightness of the layers after the first, semiangle if it is free.
        cross: amplitudes of the last waves, of what two layers do together, at the microscope they were computed for.
    """

    parts: tuple[StackModel, ...]
    lattice_of: tuple[int, ...]
    orders: IntArray
    prior: Prior
    cross: ComplexArray = field(default_factory=lambda: np.zeros(0, dtype=complex))

    @classmethod
    def build(
        cls,
        layers: tuple[Monolayer, ...],
        lattices: tuple[Lattice, ...],
        lattice_of: tuple[int, ...],
        optics: Optics,
        limit: float,
        upside_down: bool = False,
    ) -> WaveModel:
        """The model of layers in the order of the beam, each a layer spacing behind the one before.

        Args:
            layers: their structures. lattices: in the image. lattice_of: which of them each layer has.
            optics: the microscope. limit: of the frequencies, 1/Å.
            upside_down: whether the beam meets the last layer first.
        """
        heights = np.cumsum([0.0, *((a.layer_spacing + b.layer_spacing) / 2 for a, b in itertools.pairwise(layers))])
        heights = heights[-1] - heights if upside_down else heights
        parts, orders = [], []
        for index, (layer, z) in enumerate(zip(layers, heights, strict=True)):
            lattice = lattices[lattice_of[index]]
            hk = reflections(layer.reciprocal, limit)
            hk = hk[np.max(np.abs(hk @ lattice.reciprocal), axis=1) < 0.48]
            parts.append(replace(StackModel.build((layer,), hk, lattice.orthogonal, optics), heights=(float(z),)))
            order = np.zeros((len(hk), len(layers), 2), dtype=np.int64)
            order[:, index] = hk
            orders.append(order)
        return cls(tuple(parts), lattice_of, np.concatenate(orders), _prior(parts))

    def reciprocal(self, reciprocals: FloatArray) -> FloatArray:
        """Frequencies of the waves, cycles per pixel, shape (waves, 2), of reciprocal lattices (lattices, 2, 2)."""
        return np.asarray(np.einsum("wla,lax->wx", self.orders, reciprocals[list(self.lattice_of)]))

    def amplitudes(self, microscope: FloatArray) -> tuple[ComplexArray, ComplexArray]:
        """A_w, shape (waves,), and dA_w/d(microscope), shape (p, waves)."""
        value, slope = [], []
        brightness = self._place("log brightness 2")
        for index, part in enumerate(self.parts):
            places = self._places(part)
            own, own_slope = part.layer_factors(microscope[places])
            scale = self._per_area(part) * (np.exp(microscope[brightness + index - 1]) if index else 1.0)
            change = np.zeros((len(microscope), own.shape[1]), dtype=complex)
            change[places] = scale * own_slope[:, 0]
            value.append(scale * own[0])
            if index:
                change[brightness + index - 1] = value[-1]
            slope.append(change)
        none = np.zeros((len(microscope), len(self.cross)), dtype=complex)
        return np.concatenate([*value, self.cross]), np.concatenate([*slope, none], axis=1)

    def with_cross_terms(self, lattices: tuple[Lattice, ...], microscope: FloatArray) -> WaveModel:
        """The model of two layers with what they do together, as if they were aligned: for small twists.

        Near a place r of the field, layers with nearly equal lattices are aligned ones with a slip D(r); the cross-term
        K(h, q) exp(-2 pi i q . D) of aligned layers is then a wave of the orders h - q and q.

        Args:
            lattices: of the layers in the image. microscope: to compute it for, in the order of the prior.
        """
        if not self.parts[0].optics.together:
            return self
        below, above = np.argsort([part.heights[0] for part in self.parts]).tolist()
        first, second = lattices[self.lattice_of[below]], lattices[self.lattice_of[above]]
        steps = np.rint(second.rows @ np.linalg.inv(first.rows))
        lower, upper = self.parts[below].layers[0], self.parts[above].layers[0]
        planar = upper.scaled @ steps @ lower.cell
        upper = replace(upper, cell=lower.cell, positions=np.column_stack([planar, upper.positions[:, 2]]))
        part = self.parts[below]
        with_mean = np.concatenate([part.hk, np.zeros((1, 2), dtype=np.int64)])
        stack = StackModel.build((lower, upper), with_mean, part.orthogonal, part.optics)
        term = stack.with_cross_terms(self._of_stack(stack, below, above, microscope)).cross_terms[0]
        kernel = term.kernel * (self._per_area(stack) * np.exp(self._brightness(below, microscope)))
        kernel[-1] /= 2  # where h = 0, the slow brightness of the moiré, q and -q are one wave and its conjugate
        strongest = np.abs(self.amplitudes(microscope)[0]).max()
        h, q = np.nonzero(np.abs(kernel) > WEAKEST * strongest)
        orders = np.zeros((len(h), len(self.parts), 2), dtype=np.int64)
        orders[:, below] = stack.hk[h] - term.q[q]
        orders[:, above] = term.q[q] @ steps.astype(np.int64).T
        own = self.orders[: len(self.orders) - len(self.cross)]
        return replace(self, orders=np.concatenate([own, orders]), cross=kernel[h, q])

    def _of_stack(self, stack: StackModel, below: int, above: int, microscope: FloatArray) -> FloatArray:
        """The microscope's parameters in the order that a model of the two layers as an aligned stack has."""
        value = dict(zip(self.prior.names, microscope, strict=True))
        found = []
        for name in stack.prior.names:
            if name.startswith("log weight"):
                own = [value.get(f"{name} in {self.parts[i].layers[0].name}") for i in (below, above)]
                known = [weight for weight in own if weight is not None]
                found.append(float(np.mean(known)) if known else 0.0)
            elif name.startswith("log brightness"):
                found.append(self._brightness(above, microscope) - self._brightness(below, microscope))
            else:
                found.append(value[name])
        return np.array(found)

    def _per_area(self, part: StackModel) -> float:
        """Brightness of a model's harmonics, which are those of one cell, in units of the first layer's."""
        return part.unit / part.layers[0].area * self.parts[0].layers[0].area / self.parts[0].unit

    def _brightness(self, index: int, microscope: FloatArray) -> float:
        """Log brightness of a layer over the first one's."""
        return float(microscope[self.prior.names.index(f"log brightness {index + 1}")]) if index else 0.0

    def _places(self, part: StackModel) -> IntArray:
        """Where the parameters of a layer's own model stand among all."""
        names = [_own(name, part) for name in part.prior.names]
        return np.array([self.prior.names.index(name) for name in names])

    def _place(self, name: str) -> int:
        return self.prior.names.index(name) if name in self.prior.names else len(self.prior.names)


def _own(name: str, part: StackModel) -> str:
    """The name of a layer's parameter among those of all layers: weights are each material's own."""
    return f"{name} in {part.layers[0].name}" if name.startswith("log weight") else name


def _prior(parts: list[StackModel]) -> Prior:
    names: list[str] = []
    mean: list[float] = []
    sigma: list[float] = []

    def add(name: str, expected: float, deviation: float) -> None:
        if name not in names:
            names.append(name)
            mean.append(expected)
            sigma.append(deviation)

    middle = -float(np.mean([part.heights[0] for part in parts]))
    semiangle = None
    for part in parts:
        for name, expected, deviation in zip(part.prior.names, part.prior.mean, part.prior.sigma, strict=True):
            if name == "semiangle":
                semiangle = (expected, deviation)
            else:
                add(_own(name, part), middle if name == "C10" else expected, deviation)
    for index in range(1, len(parts)):
        add(f"log brightness {index + 1}", 0.0, 0.15)
    if semiangle is not None:
        add("semiangle", *semiangle)
    return Prior(tuple(names), np.array(mean), np.array(sigma))
