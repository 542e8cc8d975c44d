"""Twist domains: two layers of which the upper is divided into triangles that are turned in turn by two angles.

Rotational relaxation makes such domains in moiré crystals. Each triangle turns rigidly about its own centre, away from
a lattice that all share, so that no atom moves further than (side/√3) |twist 2 - twist 1|/2. As a test: two angles
close together (9.8° and 11.8°) in fields too small for a Fourier transform.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from picostem.errors import UsageError
from picostem.physics import DEGREE
from picostem.simulate.truth import Placement
from picostem.structure import Monolayer, Stack, rotation_matrix

FloatArray = NDArray[np.float64]

_TRIANGLES = np.array([[1.0, 0.0], [0.5, np.sqrt(0.75)]])
_RULE = (
    "scan point p (x right, y up, A) shows specimen point r = T p, T = acquisition.drift_matrix_specimen_from_scan; "
    "(u, v) = (r - tiling_origin_image_A) inv(tiling_rows_image_A); where u and v, less their whole parts, add up to "
    "less than 1, the first twist holds, elsewhere the second"
)


@dataclass(frozen=True)
class TwistDomains:
    """Equilateral triangles, tiled without gaps, in which the upper layer has one of two twists.

    Attributes:
        lower, upper: the layers.
        twists: rad, in triangles that stand on a side and in those that stand on a corner (layer 1's frame).
        side: of a triangle, Å.
        slip: of the lattice that the triangles are turned from (twisted by the mean), layer 1's frame, Å.

    Raises:
        UsageError: the side is not positive.
    """

    lower: Monolayer
    upper: Monolayer
    twists: tuple[float, float]
    side: float
    slip: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if not (np.isfinite(self.side) and self.side > 0):
            raise UsageError(f"the side of the domains is {self.side} Å; expected more than nothing")

    @cached_property
    def stack(self) -> Stack:
        """Both layers at the mean twist."""
        return Stack.bilayer(self.lower, self.slip, sum(self.twists) / 2, self.upper)

    @property
    def tiling(self) -> FloatArray:
        """Lattice of the triangles in layer 1's crystal frame, rows in Å, shape (2, 2); a corner lies at the origin."""
        return self.side * _TRIANGLES

    def twist(self, points: ArrayLike) -> FloatArray:
        """Twist (rad) at points (..., 2) of layer 1's crystal frame, Å."""
        return np.asarray(self.twists)[_triangle(points, self.tiling)[1]]

    def atoms(
        self,
        rotation: float = 0.0,
        mirrored: bool = False,
        origin: tuple[float, float] = (0.0, 0.0),
        extent: tuple[float, float] = (50.0, 50.0),
    ) -> Atoms:
        """The atoms of a rectangular field of the image frame; arguments, value and errors as `Stack.atoms`.

        A cell of the upper layer belongs to the triangle that its origin lay in before the turn.
        """
        reach = self.side * abs(self.twists[1] - self.twists[0])  # further than any atom moves
        wide = (extent[0] + 2 * reach, extent[1] + 2 * reach)
        atoms = self.stack.atoms(rotation, mirrored, origin, wide)
        frame = Placement(rotation, mirrored, origin).matrix
        upper = atoms.arrays["layer"] == 2
        crystal = (atoms.positions[upper, :2] - origin) @ frame
        turned = self._turned(crystal, atoms.arrays["site"][upper])
        atoms.positions[upper, :2] = turned @ frame.T + origin
        half = np.asarray(extent) / 2
        inside = ((atoms.positions[:, :2] >= -half) & (atoms.positions[:, :2] < half)).all(axis=1)
        kept: Atoms = atoms[inside]
        box = kept.cell.array.copy()
        box[:2, :2] = np.diag(2 * half)
        kept.set_cell(box)
        kept.set_celldisp([*-half, *np.ravel(kept.get_celldisp())[2:]])
        return kept

    def _turned(self, points: FloatArray, sites: NDArray[np.int64]) -> FloatArray:
        """Where atoms of the mean lattice lie, each turned with its cell's triangle about that triangle's centre."""
        layer = self.stack.layers[1]
        cells = points - (layer.positions[sites, :2] - layer.position)
        centre, kind = _triangle(cells, self.tiling)
        result = np.empty_like(points)
        for index, twist in enumerate(self.twists):
            here = kind == index
            turn = rotation_matrix(twist - layer.twist)
            result[here] = (points[here] - centre[here]) @ turn.T + centre[here]
        return result

    def truth(self, placement: Placement) -> dict[str, Any]:
        """Keys task ("twist domains"), domain_twists_deg and domains, which `true_twists` reads."""
        twists = [twist / DEGREE for twist in self.twists]
        return {
            "task": "twist domains",
            "domain_twists_deg": twists,
            "domains": {
                "shape": "equilateral triangles, each turned about its own centre away from the mean twist",
                "side_A": self.side,
                "twists_deg": twists,
                "twists_seen_in_image_deg": [-t if placement.mirrored else t for t in twists],
                "tiling_rows_image_A": (self.tiling @ placement.matrix.T).tolist(),
                "tiling_origin_image_A": list(placement.origin),
                "rule": _RULE,
            },
        }


def _triangle(points: ArrayLike, tiling: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
    """Centre (..., 2) and kind (..., 0 or 1) of the triangle that each point (..., 2) lies in, in the same frame."""
    corner, within = np.divmod(np.asarray(points, dtype=np.float64) @ np.linalg.inv(tiling), 1)
    kind = (within.sum(axis=-1) >= 1).astype(np.int64)
    centre = (corner + (1 + kind[..., None]) / 3) @ tiling
    return centre, kind


def true_twists(truth: Mapping[str, Any], points: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Twist and distance from the nearest domain boundary at points of an image with twist domains.

    Args:
        truth: of an image, with the keys of `TwistDomains.truth`.
        points: where, (..., 2), x right and y up from the image's centre, Å.

    Returns:
        twists in layer 1's crystal frame, rad, and distances, Å, each of shape (...).
    """
    domains = truth["domains"]
    tiling, drift = (
        np.array(domains["tiling_rows_image_A"]),
        np.array(truth["acquisition"]["drift_matrix_specimen_from_scan"]),
    )
    specimen = np.asarray(points, dtype=np.float64) @ drift.T - domains["tiling_origin_image_A"]
    _, kind = _triangle(specimen, tiling)
    u, v = np.moveaxis(specimen @ np.linalg.inv(tiling), -1, 0)
    # The boundaries are the lines where u, v or u + v is whole, a triangle's height apart.
    away = np.min([np.abs(w - np.round(w)) for w in (u, v, u + v)], axis=0)
    twists = np.array(domains["twists_deg"]) * DEGREE
    return twists[kind], away * domains["side_A"] * np.sqrt(0.75)
