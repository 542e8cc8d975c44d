"""How two layers lie on each other: with one lattice or two, their moiré, and where it begins in the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from picostem.physics import DEGREE
from picostem.structure.lattice import reduced, shortest
from picostem.structure.moire import beat_period, beats, moire_vectors

if TYPE_CHECKING:
    from picostem.resolve.result import Interface, ResolvedLayer, Result

FloatArray = NDArray[np.float64]


def own_lattices(interface: Interface) -> bool:
    """Whether the two layers have lattices of their own, so that a twist was measured and no slip is common."""
    return interface.twist_sigma > 0


def antiparallel(interface: Interface) -> bool:
    """Whether layers of one lattice lie as in 2H: turned by 60° or, which looks alike, 180°."""
    # 0.1°: such a twist is exact but for rounding.
    off = np.remainder(interface.twist / DEGREE, 120.0) - 60.0
    return not own_lattices(interface) and abs(float(off)) < 0.1


def image_from_layer(layer: ResolvedLayer) -> FloatArray:
    """Matrix that takes a vector of the layer's crystal frame into the image, as measured, for column vectors."""
    return np.asarray((np.linalg.inv(layer.monolayer.cell) @ layer.rows).T)


def upper_lattice(lower: ResolvedLayer, upper: ResolvedLayer) -> FloatArray:
    """Reduced rows of the upper layer's lattice in the lower one's crystal frame, Å, shape (2, 2).

    A local slip of layers with lattices of their own is meant modulo this (`picostem.structure.relaxed`).
    """
    return reduced(np.asarray(upper.rows @ np.linalg.inv(image_from_layer(lower)).T))


def layers_of(result: Result, interface: Interface) -> tuple[ResolvedLayer, ResolvedLayer]:
    """The lower and the upper layer of an interface."""
    return result.layers[interface.lower - 1], result.layers[interface.upper - 1]


def moire_period(result: Result, interface: Interface) -> float:
    """Shortest distance after which the registry repeats, Å, infinite for equal lattices.

    As the result says; where it does not, from the lattices as measured in the image.
    """
    if interface.moire is not None:
        return float(np.linalg.norm(reduced(interface.moire), axis=1).min())
    lower, upper = layers_of(result, interface)
    return beat_period(lower.rows, upper.rows)


def coincidence(lower: ResolvedLayer, upper: ResolvedLayer) -> FloatArray | None:
    """The place nearest to the image's centre where the origins of both lattices coincide (AA), Å, shape (2,).

    There the phases of each beat, G = g_lower - g_upper, are equal: G · r = g_lower · o_lower - g_upper · o_upper
    modulo 1, with the layers' origins o. None where the layers have no moiré cell.
    """
    rows = moire_vectors(lower.rows, upper.rows)
    if rows is None:
        return None
    beat = beats(lower.rows, upper.rows)
    finer, coarser = sorted((lower, upper), key=lambda layer: abs(float(np.linalg.det(layer.rows))))
    # `beats` starts from the reduced reciprocal vectors of the smaller cell, the lower one's if they are equal.
    g_finer = reduced(np.asarray(np.linalg.inv(finer.rows).T))
    g_coarser = g_finer - beat if finer is lower else g_finer + beat
    phases = g_finer @ finer.origin - g_coarser @ coarser.origin
    place = np.linalg.solve(beat, phases if finer is lower else -phases)
    return shortest(np.asarray(place, dtype=np.float64), reduced(rows))
