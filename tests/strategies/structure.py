"""Hypothesis strategies for monolayers, slips and disguised crystals; seeded, so that every run draws the same."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from picostem.structure import Monolayer, Stack, load_monolayer, material_names

FloatArray = NDArray[np.float64]

seeded = settings(derandomize=True, deadline=None, max_examples=40)
"""Examples are derived from the test itself; no deadline, because continuous integration is slow at times."""

monolayers = st.sampled_from(material_names()).map(load_monolayer)

DISGUISE_GAP = 3.6
"""Å between the layers of a disguised crystal: no slip brings two tellurium atoms within 1.25 times their radii."""

angles = st.floats(-7.0, 7.0)


def vectors(limit: float = 20.0) -> st.SearchStrategy[FloatArray]:
    """A plane vector with components up to the limit, in Å."""
    component = st.floats(-limit, limit)
    return st.tuples(component, component).map(np.array)


steps = st.tuples(st.integers(-4, 4), st.integers(-4, 4)).map(lambda pair: np.array(pair, dtype=float))


@st.composite
def disguised_crystals(draw: st.DrawFn) -> tuple[Monolayer, Atoms]:
    """A built-in layer, and a crystal of it whose cell, orientation, origin and order of atoms are arbitrary."""
    monolayer = draw(monolayers)
    count = draw(st.integers(1, 3))
    slips = [draw(vectors(3.0)) for _ in range(count - 1)]
    spacing = monolayer.thickness + DISGUISE_GAP
    crystal = Stack.of([monolayer] * count, slips, spacings=[spacing] * (count - 1)).unit_cell()
    lean = draw(vectors(3.0))
    box = crystal.cell.array.copy()
    box[2] = [*lean, count * spacing]
    crystal = Atoms(crystal.numbers, positions=crystal.positions, cell=box, pbc=True)
    crystal *= draw(st.sampled_from([(1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2)]))
    shears = draw(st.lists(st.tuples(st.permutations(range(3)), st.sampled_from([-1, 1])), max_size=3))
    return monolayer, _disguised(crystal, shears, np.random.default_rng(draw(st.integers(0, 2**32))))


def _disguised(crystal: Atoms, shears: list[tuple[list[int], int]], rng: np.random.Generator) -> Atoms:
    """The same crystal: another basis of its lattice, turned, moved, its atoms shuffled and wrapped into the cell."""
    basis = np.eye(3)[rng.permutation(3)]
    for (target, source, _), sign in shears:
        basis[target] += sign * basis[source]
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn *= np.linalg.det(turn)
    order = rng.permutation(len(crystal))
    disguised = Atoms(
        crystal.numbers[order],
        positions=(crystal.positions[order] + rng.uniform(-5, 5, 3)) @ turn.T,
        cell=basis @ crystal.cell.array @ turn.T,
        pbc=True,
    )
    disguised.wrap()
    return disguised
