"""Windows of made-up bilayers: a hexagonal lattice with the harmonics of its first shells, whose layers are alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picostem.infer.card import NetCard
from picostem.infer.features import Invariants
from picostem.infer.torus import Torus
from picostem.structure import load_monolayer
from picostem.structure.lattice import reflections

LAYER = load_monolayer("MoS2")
CELL = np.array(LAYER.cell)
HK = reflections(LAYER.reciprocal, 0.65)
"""Two shells: (10) and (11), three reflections each of the half plane."""

TWO = Torus.of((LAYER, LAYER))
THREE = Torus.of((LAYER, LAYER, LAYER))
INVARIANTS = Invariants.lowest(HK, CELL)


@dataclass(frozen=True, eq=False)
class Made:
    amplitudes: NDArray[Any]
    noise: NDArray[Any]
    slips: NDArray[Any]
    factors: NDArray[Any]
    conditions: NDArray[Any]
    outlier: NDArray[np.bool_]


def reads(torus: Torus) -> Invariants:
    """What networks for its stackings read."""
    return Invariants.lowest(HK, CELL, torus.interfaces + 1)


def draw(rng: np.random.Generator, count: int, layers: int = 2, outliers: float = 0.1) -> Made:
    """Every layer gives each harmonic of a shell the same amplitude; outliers are noise, their slips no numbers."""
    slips = rng.random((count, layers - 1, 2))
    positions = np.concatenate([np.zeros((count, 1, 2)), np.cumsum(slips, axis=1)], axis=1)
    waves = np.exp(-2j * np.pi * np.einsum("klx,nx->kln", positions, HK)).sum(axis=1)
    shell = np.where(np.arange(len(HK)) < 3, 1.0, rng.uniform(0.4, 0.7, (count, 1)))
    moved = np.exp(-2j * np.pi * rng.random((count, 2)) @ HK.T)
    noise = rng.uniform(0.02, 0.05, count)
    outlier = rng.random(count) < outliers
    grain = rng.standard_normal((count, len(HK), 2)) @ (1, 1j) / np.sqrt(2) * noise[:, None]
    clean = np.where(outlier[:, None], 0, shell * waves * moved)
    slips[outlier] = np.nan
    conditions = np.tile([0.27, 1.2, 2.0], (count, 1))
    factors = np.tile(shell[:, None], (1, layers, 1)).astype(np.complex64)
    return Made((clean + grain).astype(np.complex64), noise, slips, factors, conditions, outlier)


def card(torus: Torus = TWO, **changes: Any) -> NetCard:
    """A card for networks that read what `reads` says."""
    return NetCard.of("made", "MoS2", False, 20.0, torus, reads(torus), **changes)
