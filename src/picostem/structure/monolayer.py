"""Monolayers: the atoms of one layer of a van der Waals crystal, in its own frame.

Crystal frame: a along +x, b at +gamma (counter-clockwise), z relative to the layer's mid-plane.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from picostem.errors import StructureError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Monolayer:
    """One layer of a van der Waals crystal; two are equal when their atoms, cell and spacing are.

    Attributes:
        cell: shape (2, 2), rows a and b in Å, a along +x, b at +gamma.
        symbols: chemical symbol of each site.
        positions: shape (sites, 3), Cartesian Å in the crystal frame, z relative to the layer's mid-plane.
        layer_spacing: distance from mid-plane to mid-plane in the bulk, Å.
        source: where cell and positions come from.
        note: what else a reader should know.

    Raises:
        StructureError: the cell is not right-handed with a along +x, or the numbers are not finite or do not match.
    """

    name: str
    cell: FloatArray
    symbols: tuple[str, ...]
    positions: FloatArray
    layer_spacing: float
    source: str
    note: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "cell", _frozen(self.cell))
        object.__setattr__(self, "positions", _frozen(self.positions))
        object.__setattr__(self, "symbols", tuple(self.symbols))
        self._check()

    def _check(self) -> None:
        cell, positions = self.cell, self.positions
        if cell.shape != (2, 2) or positions.shape != (len(self.symbols), 3) or not self.symbols:
            raise StructureError(
                f"{self.name}: expected a (2, 2) cell and one (x, y, z) per symbol, got a {cell.shape} cell and "
                f"{positions.shape} positions for {len(self.symbols)} symbols"
            )
        if not (np.isfinite(cell).all() and np.isfinite(positions).all()):
            raise StructureError(f"{self.name}: cell and positions must be finite")
        if not (np.isfinite(self.layer_spacing) and self.layer_spacing > 0):
            raise StructureError(f"{self.name}: the layer spacing must be positive, got {self.layer_spacing} Å")
        # 1e-9: rounding of cos and sin in double precision, relative to the length of a.
        if not (cell[0, 0] > 0 and abs(cell[0, 1]) <= 1e-9 * cell[0, 0] and cell[1, 1] > 0):
            raise StructureError(f"{self.name}: a must lie along +x and b above it (rows a, b), got {cell.tolist()}")

    def _content(self) -> tuple[object, ...]:
        return (self.symbols, self.cell.tobytes(), self.positions.tobytes(), self.layer_spacing)

    def __eq__(self, other: object) -> bool:
        return self._content() == other._content() if isinstance(other, Monolayer) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._content())

    @property
    def scaled(self) -> FloatArray:
        """In-plane fractional coordinates, shape (sites, 2)."""
        return np.asarray(self.positions[:, :2] @ np.linalg.inv(self.cell))

    @property
    def area(self) -> float:
        """Area of the cell, Å²."""
        return float(np.linalg.det(self.cell))

    @property
    def reciprocal(self) -> FloatArray:
        """Rows a*, b* with a_i · a*_j = delta_ij (no 2 pi), shape (2, 2), 1/Å."""
        return np.asarray(np.linalg.inv(self.cell).T)

    @property
    def thickness(self) -> float:
        """Height from the lowest to the highest nucleus, Å."""
        return float(np.ptp(self.positions[:, 2]))

    def flipped(self) -> Monolayer:
        """The layer turned upside down about a: (x, y, z) -> (x, -y, -z), with b chosen again so that a · b <= 0."""
        turned = self.positions * (1.0, -1.0, -1.0)
        (a, _), (b_x, b_y) = self.cell
        # -b of the turned cell has x component -b_x; the lattice row that brings it into (-a, 0] keeps gamma >= 90°.
        # 1e-9: rounding of cos(90°), so that a rectangular cell stays one.
        cell = np.array([[a, 0.0], [-b_x - a * np.ceil(-b_x / a - 1e-9), b_y]])
        return replace(self, cell=cell, positions=turned, note=f"{self.note} (turned upside down)".strip())

    def turned(self) -> Monolayer:
        """The layer rotated by 180° in the plane, (x, y, z) -> (-x, -y, z), on the same cell.

        Above a 2H layer that is the antiparallel (H) one, whose twist of 60° is a lattice symmetry away.
        """
        note = f"{self.note} (rotated by 180° in the plane)".strip()
        return replace(self, positions=self.positions * (-1.0, -1.0, 1.0), note=note)


def _frozen(values: ArrayLike) -> FloatArray:
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array
