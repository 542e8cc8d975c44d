"""Patches of stacks, each at its own place, angle and scale, from harmonics; with atoms missing one by one.

    I(r) = mean + 2 Re sum over layers l and h of c_l(h) exp(2 pi i g_l(h) . r),    g_l(h) = R(angle_l) B h / scale,

r in Å from the patch's centre, x right and y up, B h a reflection, and c with the layer where it lies. Layers on one
lattice share their g, so that c is the stack's. Layers at a twist have lattices of their own, and nothing that they do
together is in the model. Each then sees the microscope in its own frame, so that its astigmatism turns with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from picostem.dataset.bank import Bank
from picostem.dataset.stack import amplitudes, mean_intensity, waves
from picostem.simulate.synthesis import pixel_axes
from picostem.structure.monolayer import Monolayer

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Single = NDArray[np.float32]
SingleComplex = NDArray[np.complex64]


@dataclass(frozen=True, eq=False)
class Scene:
    """Where the layers of k stacks lie in their patches.

    Attributes:
        index: the microscope of each, shape (k,).
        angles: of each layer's crystal frame in the patch, counter-clockwise, rad, shape (k, layers).
        positions: of each layer's origin, fractions of its own cell, shape (k, layers, 2).
        scale: of the crystal in the patch, shape (k,).
        shared: whether the layers share a lattice and a microscope that sees them together.
    """

    index: IntArray
    angles: FloatArray
    positions: FloatArray
    scale: FloatArray
    shared: bool

    def __len__(self) -> int:
        return len(self.index)


def slid(slips: FloatArray, index: IntArray, angle: FloatArray, scale: FloatArray, origin: FloatArray) -> Scene:
    """Layers on one lattice, which starts at `origin`, fractions, (k, 2); slips: shape (k, layers - 1, 2)."""
    positions = np.concatenate([origin[:, None], origin[:, None] + np.cumsum(slips, axis=1)], axis=1)
    return Scene(index, np.repeat(angle[:, None], positions.shape[1], axis=1), positions, scale, shared=True)


def turned(twist: FloatArray, index: IntArray, angle: FloatArray, scale: FloatArray, positions: FloatArray) -> Scene:
    """Two layers, the upper one turned by `twist`, rad, (k,).

    Layers anywhere in their cells, `positions` (k, 2, 2), are patches anywhere in a moiré: moving over one period of it
    runs through all pairs of places alike.
    """
    return Scene(index, np.stack([angle, angle + twist], axis=1), positions, scale, shared=False)


def rendered(bank: Bank, scene: Scene, side: int, pixel_A: float) -> Single:
    """Patches without noise, fractions of the beam, shape (k, side, side)."""
    full = np.ones((1, bank.layers, bank.atoms), dtype=np.float32)
    patches = np.empty((len(scene), side, side), dtype=np.float32)
    for row, index in enumerate(scene.index):
        one = int(index)
        g, c = _waves_of(bank, scene, row)
        mean = mean_intensity(bank, one, full)
        patches[row] = synthesised(g, c[None], mean, side, pixel_A)[0]
    return patches


def synthesised(g: FloatArray, c: SingleComplex, mean: Single, side: int, pixel_A: float) -> Single:
    """Pictures of several sets of amplitudes of the same waves, shape (m, side, side).

    g: 1/Å, shape (n, 2). c: shape (m, n). mean: shape (m,).
    """
    x, y = pixel_axes((side, side), pixel_A)
    across = np.exp(2j * np.pi * np.outer(g[:, 0], x)).astype(np.complex64)
    down = np.exp(2j * np.pi * np.outer(y, g[:, 1])).astype(np.complex64)
    left = down * c[:, None]
    parts = np.concatenate([left.real, -left.imag], axis=2).reshape(-1, 2 * len(g))
    patches = (parts @ np.concatenate([across.real, across.imag])).reshape(len(c), side, side)
    return np.asarray(2 * patches + mean[:, None, None])


def _waves_of(bank: Bank, scene: Scene, row: int) -> tuple[FloatArray, SingleComplex]:
    """Frequencies in the patch, 1/Å, (n, 2), and amplitudes, (n,), of one stack."""
    one, positions = int(scene.index[row]), scene.positions[row]
    if scene.shared:
        slips = np.diff(positions, axis=0)[None]
        whole = amplitudes(bank, one, slips) * waves(bank.hk, positions[:1])
        return _frequencies(bank, scene, row, 0), whole[0]
    layers = range(bank.layers)
    parts = [waves(bank.hk, positions[[i]])[0] * bank.sites[one, i].sum(axis=0) for i in layers]
    return np.concatenate([_frequencies(bank, scene, row, i) for i in layers]), np.concatenate(parts)


def _frequencies(bank: Bank, scene: Scene, row: int, layer: int) -> FloatArray:
    """Of a layer's reflections in the patch, 1/Å, shape (n, 2)."""
    return np.asarray(bank.hk @ _reciprocal(bank, scene, row, layer))


def _reciprocal(bank: Bank, scene: Scene, row: int, layer: int) -> FloatArray:
    """Rows a*, b* of a layer in the patch, 1/Å."""
    angle = scene.angles[row, layer]
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.asarray(bank.reciprocal @ turn / scene.scale[row])


def vacancies(
    bank: Bank,
    layers: tuple[Monolayer, ...],
    scene: Scene,
    share: FloatArray,
    side: int,
    pixel_A: float,
    rng: np.random.Generator,
) -> Single:
    """What missing atoms take away from patches, fractions of the beam, shape (k, side, side).

    The picture of one atom is that of all its copies, cut off half way to the next ones: all copies together are whole.

    Args:
        layers: those that the bank was built of.
        share: the probability that an atom is missing, shape (k,).
    """
    taken = np.zeros((len(scene), side, side), dtype=np.float32)
    for row in np.flatnonzero(share > 0):
        for number, layer in enumerate(layers):
            taken[row] += _taken(bank, layer, number, scene, int(row), float(share[row]), side, pixel_A, rng)
    return taken


def _taken(
    bank: Bank,
    layer: Monolayer,
    number: int,
    scene: Scene,
    row: int,
    share: float,
    side: int,
    pixel_A: float,
    rng: np.random.Generator,
) -> Single:
    """What the missing atoms of one layer take away from one patch."""
    one, position = int(scene.index[row]), scene.positions[row, number]
    reciprocal = _reciprocal(bank, scene, row, number)
    x, y = pixel_axes((side, side), pixel_A)
    where = np.stack(np.broadcast_arrays(x[None], y[:, None]), axis=-1) @ reciprocal.T - position
    wave = waves(bank.hk, position[None])
    terms = synthesised(bank.hk @ reciprocal, wave * bank.sites[one, number], bank.mean[one, number], side, pixel_A)
    sites = layer.positions[:, :2] @ np.linalg.inv(layer.cell) % 1.0
    missing = _Missing(where, share, len(sites), rng)
    masks = [missing.around(site, ((atom, np.zeros(2, dtype=np.int64)),)) for atom, site in enumerate(sites)]
    for a, b in bank.pairs:
        step = np.rint(sites[a] - sites[b])
        middle = (sites[a] + sites[b] + step) / 2
        masks.append(missing.around(middle, ((a, np.zeros(2, dtype=np.int64)), (b, step.astype(np.int64)))))
    return np.asarray(np.einsum("tyx,tyx->yx", np.array(masks, dtype=np.float32), terms))


class _Missing:
    """Which atoms of one layer are missing in the cells that a patch shows."""

    def __init__(self, where: FloatArray, share: float, atoms: int, rng: np.random.Generator) -> None:
        """where: the pixels, fractions of the cell, shape (side, side, 2)."""
        self._where = where
        self._low = np.floor(where.min(axis=(0, 1))).astype(np.int64) - 3  # sites and steps reach 2 cells, rounding 1
        count = np.ceil(where.max(axis=(0, 1))).astype(np.int64) + 4 - self._low
        self._table = rng.random((atoms, *count)) < share

    def around(self, site: FloatArray, members: tuple[tuple[int, IntArray], ...]) -> BoolArray:
        """Pixels next to a copy of a site, of whose atoms one or more are missing, shape (side, side).

        members: atoms, and how many cells further on than the site's own they count.
        """
        cell = np.rint(self._where - site).astype(np.int64) - self._low
        gone = [self._table[atom, cell[..., 0] + step[0], cell[..., 1] + step[1]] for atom, step in members]
        return np.asarray(np.any(gone, axis=0))
