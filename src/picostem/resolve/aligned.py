"""The answer for layers that share a lattice: interfaces and layers of a result from the slips that were fitted."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from picostem.resolve.bound import calibrated
from picostem.resolve.combine import CommonSlip
from picostem.resolve.orient import Setting
from picostem.resolve.result import Alternative, Interface, ResolvedLayer, SlipMap
from picostem.structure.equivalence import SlipEquivalence, canonical_twist
from picostem.structure.lattice import shortest
from picostem.structure.monolayer import Monolayer
from picostem.structure.stack import rotation_matrix
from picostem.structure.symmetry import projection, symmetry

FloatArray = NDArray[np.float64]

CHI2_95 = 5.99  # chi² of two degrees of freedom that 95 % of all draws stay below


def antiparallel_twist(monolayer: Monolayer) -> tuple[float, FloatArray]:
    """The canonical twist of the layer turned by 180°, and what to add to its slip to have that of the twisted layer.

    The turned layer is the twisted one, moved: R(180°) P = R(twist) (W P), and W P = P - t for the operation (W, t) of
    the layer, so that R(180°) P + D = R(twist) P + D - R(twist) t. Both vanish where the origin is on the axis of W.
    """
    twist = float(canonical_twist(np.pi, monolayer))
    step = rotation_matrix(np.pi - twist)
    operations = symmetry(projection(monolayer)).operations
    operation = min(operations, key=lambda one: float(np.abs(one.matrix - step).max()))
    return twist, -rotation_matrix(twist) @ operation.shift


def interfaces(common: CommonSlip, slips: FloatArray, setting: Setting) -> tuple[Interface, ...]:
    """The registry of each pair of neighbouring layers.

    Args:
        slips: the shortest of those fitted, Å, shape (s, 2).
    """
    model, (first, *_) = setting.model, setting.model.layers
    covariance = common.inflated
    if all(layer is first for layer in model.layers):
        twist, shift = 0.0, np.zeros(2)
        equivalents = model.stackings.equivalents(slips)
    else:
        twist, shift = antiparallel_twist(first)
        equivalents = SlipEquivalence(first, twist=twist).equivalents(slips[0] + shift)[:, None]
    return tuple(
        Interface(
            lower=k + 1,
            upper=k + 2,
            slip=shortest(slip + shift, model.stackings.cell),
            slip_frac=shortest(slip + shift, model.stackings.cell) @ np.linalg.inv(model.cell),
            slip_covariance=calibrated(covariance[2 * k : 2 * k + 2, 2 * k : 2 * k + 2], model.wavelength),
            slip_bound=float(common.bound[k]),
            slip_spread=float(common.spread[k]),
            equivalents=_distinct(equivalents[:, k]),
            twist=twist,
        )
        for k, slip in enumerate(slips)
    )


def reaching_zero(hidden: Interface) -> Interface:
    """The interface with a covariance whose 95 % region reaches from the slip to none.

    Near 0 an image depends on the slip's square: a fit is drawn away from 0, and its Fisher information there says
    nothing about smaller slips. Where one layer explains the image, they are all possible.
    """
    return replace(hidden, slip_covariance=hidden.slip_covariance + np.outer(hidden.slip, hidden.slip) / CHI2_95)


def _distinct(vectors: FloatArray) -> FloatArray:
    return vectors[np.sort(np.unique(np.round(vectors, 6), axis=0, return_index=True)[1])]


def layers(setting: Setting, origin: FloatArray, found: tuple[Interface, ...]) -> tuple[ResolvedLayer, ...]:
    """The layers as they lie in the image.

    Args:
        origin: of layer 1, fractions of a and b.
        found: the interfaces between them.
    """
    lattice, monolayer = setting.lattice, setting.model.layers[0]
    rows = lattice.rows * lattice.pixel_size
    inverse = np.linalg.inv(lattice.cell)
    near = origin - np.rint(origin)
    hand = -1 if lattice.mirrored else 1
    positions = itertools.accumulate((i.slip for i in found), initial=np.zeros(2))
    twists = itertools.accumulate((i.twist for i in found), initial=0.0)
    return tuple(
        ResolvedLayer(
            monolayer=monolayer,
            rotation=lattice.rotation + hand * twist,
            mirrored=lattice.mirrored,
            rows=lattice.cell @ rotation_matrix(twist).T @ inverse @ rows,
            position=position,
            origin=(near + position @ inverse) @ rows,
        )
        for position, twist in zip(positions, twists, strict=True)
    )


def moved(slip_map: SlipMap, shift: FloatArray) -> SlipMap:
    """The map with all slips moved by a constant, Å."""
    domains = tuple(replace(domain, slip=domain.slip + shift) for domain in slip_map.domains)
    return replace(slip_map, slip=slip_map.slip + shift, domains=domains)


def other_orders(common: CommonSlip) -> tuple[Alternative, ...]:
    """Other orders of like layers along the beam, which hardly differ in projection, with what they cost."""
    found = []
    for order, cost in common.other_orders.items():
        if len(order) == 2:
            name, detail = "the layers in the opposite order along the beam", "slip of opposite sign"
        else:
            name = f"the layers in the order {', '.join(str(k + 1) for k in order)} along the beam"
            detail = "the same set of positions"
        found.append(Alternative(name, cost, detail))
    return tuple(found)
