"""Relaxed moirés as specimens: the truth about a slip that changes from place to place.

In layer 1's crystal frame, with r in Å,

    D(r) = D0 + r (F - 1) + A sum_j e_j sin(2 pi (G_j · r + phase_j))

(vectors are rows): `picostem.structure.relaxed.RelaxedMoire.slip`, written with plain numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from picostem.physics import DEGREE
from picostem.simulate.truth import Placement
from picostem.structure import RelaxedMoire, Stack
from picostem.structure.moire import matched

FloatArray = NDArray[np.float64]

_EQUATION = (
    "row vectors in layer 1's crystal frame, A: D(r) = D0_cart_A + r gradient + amplitude_A sum_j directions[j] "
    "sin(2 pi (reciprocal_per_A[j].r + phases_turns[j])); r = inv(R(rotation) M) (T p - origin) for scan point p; D is "
    "continuous, and meant modulo upper_rows_A; registry = D inv(upper_rows_A), in cells"
)


class TrueSlip(NamedTuple):
    """The slip at some points, layer 1's crystal frame, Å, and the same as (Da, Db) of cell vectors; each (..., 2).

    Both are continuous. The slip is meant modulo the upper lattice; the registry, times layer 1's cell, is the slip
    modulo the lower one.
    """

    slip: FloatArray
    registry: FloatArray


@dataclass(frozen=True)
class SlipField:
    """A relaxed moiré for `simulate_specimen`."""

    moire: RelaxedMoire

    @cached_property
    def stack(self) -> Stack:
        """The rigid layers: what the moiré is without displacements."""
        moire = self.moire
        return Stack.bilayer(moire.lower, moire.slip_at_origin, moire.twist, moire.upper)

    def atoms(self, rotation: float, mirrored: bool, origin: tuple[float, float], extent: tuple[float, float]) -> Atoms:
        """The relaxed atoms of a field of the image frame, as `Stack.atoms`."""
        return self.moire.atoms(rotation, mirrored, origin, extent)

    def truth(self, placement: Placement) -> dict[str, Any]:
        """Keys task ("slip field") and slip_field, which `true_slips` reads; the placement stands in layer1."""
        moire = self.moire
        lower, upper = matched(moire.lower.cell, self.stack.layers[1].cell)
        low, up = (_three(np.asarray(np.linalg.inv(rows).T)) for rows in (lower, upper))
        mean = low + up
        steps = np.rint(moire.lower.cell @ np.linalg.inv(lower))
        return {
            "task": "slip field",
            "slip_field": {
                "twist_deg": moire.twist / DEGREE,
                "D0_cart_A": list(moire.slip_at_origin),
                "gradient": (np.linalg.inv(lower) @ upper - np.eye(2)).tolist(),
                "amplitude_A": moire.amplitude,
                "directions": (mean / np.linalg.norm(mean, axis=1, keepdims=True)).tolist(),
                "reciprocal_per_A": (low - up).tolist(),
                "phases_turns": (up @ np.subtract(moire.slip_at_origin, moire.crest)).tolist(),
                "crest_cart_A": list(moire.crest),
                "share_of_lower_layer": moire.share,
                "moire_rows_A": moire.vectors.tolist(),
                "lower_rows_A": moire.lower.cell.tolist(),
                "upper_rows_A": (steps @ upper).tolist(),
                "equation": _EQUATION,
            },
        }


def _three(g: FloatArray) -> FloatArray:
    """The three shortest reciprocal vectors, one of each pair, from two of them that are."""
    return np.array([g[0], g[1], -g[0] - g[1]])


def true_slips(truth: Mapping[str, Any], points: ArrayLike) -> TrueSlip:
    """The slip at points (..., 2) of an image with a slip field, x right and y up from the image's centre, Å."""
    field, first = truth["slip_field"], truth["layer1"]
    placement = Placement(first["rotation_deg"] * DEGREE, first["mirrored"], tuple(first["origin_image_A"]))
    drift = np.array(truth["acquisition"]["drift_matrix_specimen_from_scan"])
    specimen = np.asarray(points, dtype=np.float64) @ drift.T
    r = (specimen - placement.origin) @ placement.matrix  # orthogonal: its transpose is its inverse
    waves = np.sin(2 * np.pi * (r @ np.array(field["reciprocal_per_A"]).T + field["phases_turns"]))
    slip = field["D0_cart_A"] + r @ np.array(field["gradient"])
    slip = slip + field["amplitude_A"] * waves @ np.array(field["directions"])
    return TrueSlip(slip, slip @ np.linalg.inv(field["upper_rows_A"]))
