"""The resolved model as atoms: the stack that a result describes, its periodic cell and a piece of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from picostem.errors import StructureError, UsageError
from picostem.physics import DEGREE
from picostem.structure import Layer, Stack
from picostem.structure.supercell import commensurate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from picostem.resolve.result import ResolvedLayer

PIECE = 40.0
"""Å, side of the finite piece: several cells of any layer, few enough atoms (some thousands) for any viewer."""

MAX_ATOMS, MAX_STRAIN = 1500, 0.01
"""Of a supercell: what electronic-structure programs can take, and a mismatch that both layers can share."""

GAP = 10.0
"""Å of empty space around a piece that stands in a cell, so that nobody takes the cell for the crystal's."""


def resolved_stack(layers: Sequence[ResolvedLayer]) -> Stack:
    """The stack in layer 1's crystal frame, with the spacings of the bulk crystals.

    With M = diag(1, -1) if layer 1 is mirrored, layer k's twist t follows from R(rotation_k) = R(rotation_1) M R(t) M,
    and a layer of the other hand is one turned upside down.
    """
    first, z = layers[0], 0.0
    stacked = []
    for i, layer in enumerate(layers):
        monolayer = layer.monolayer if layer.mirrored == first.mirrored else layer.monolayer.flipped()
        if i:
            z += (layers[i - 1].monolayer.layer_spacing + monolayer.layer_spacing) / 2
        twist = (layer.rotation - first.rotation) * (-1.0 if first.mirrored else 1.0)
        # Within half a turn of 0, as it is read.
        twist = float(np.remainder(twist + np.pi, 2 * np.pi) - np.pi)
        stacked.append(Layer(monolayer, (float(layer.position[0]), float(layer.position[1])), twist, z))
    return Stack(tuple(stacked))


def crystal_piece(stack: Stack, side: float = PIECE) -> Atoms:
    """A square piece of the stack in layer 1's crystal frame."""
    return stack.atoms(extent=(side, side))


@dataclass(frozen=True)
class CellModel:
    """The model as one cell of a file, and what it is, in words."""

    atoms: Atoms
    note: str


@lru_cache(maxsize=4)
def cell_model(stack: Stack) -> CellModel:
    """One cell of the stack, a supercell that two twisted layers share, or else a piece in empty space."""
    try:
        return CellModel(stack.unit_cell(), "one periodic cell")
    except UsageError:
        pass
    if len(stack.layers) == 2:
        try:
            return _supercell(stack)
        except StructureError:
            pass
    piece = crystal_piece(stack)
    piece.center(vacuum=GAP)
    piece.set_celldisp((0.0, 0.0, 0.0))
    why = f"no common cell of up to {MAX_ATOMS} atoms was found" if len(stack.layers) == 2 else "no common lattice"
    return CellModel(piece, f"a piece in empty space: the layers have {why}")


def _supercell(stack: Stack) -> CellModel:
    lower, upper = stack.layers
    cell = commensurate(lower.monolayer, upper.monolayer, upper.twist, max_strain=MAX_STRAIN, max_atoms=MAX_ATOMS)
    off = abs(cell.twist - upper.twist) / DEGREE
    strain = 100 * float(np.abs(cell.strain).max())
    note = (
        f"a periodic supercell of {cell.count} atoms with a twist of {cell.twist / DEGREE:.3f}°, {off:.3f}° off, and a "
        f"mismatch of {strain:.2f} %, which each layer takes half of"
    )
    return CellModel(cell.stack_atoms(upper.position, spacing=upper.z), note)
