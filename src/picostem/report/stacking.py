"""The resolved model as atoms: the stack that a result describes, its periodic cell and a piece of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from picostem.errors import UsageError
from picostem.structure import Layer, Stack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from picostem.resolve.result import ResolvedLayer

PIECE = 40.0
"""Å, side of the finite piece: several cells of any layer, few enough atoms (some thousands) for any viewer."""

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


def periodic_cell(stack: Stack) -> tuple[Atoms, bool]:
    """One cell of the stack and True, or a piece in empty space and False if the layers share no lattice."""
    try:
        return stack.unit_cell(), True
    except UsageError:
        piece = crystal_piece(stack)
        piece.center(vacuum=GAP)
        piece.set_celldisp((0.0, 0.0, 0.0))
        return piece, False
