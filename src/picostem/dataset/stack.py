"""Harmonics of stacks with any slips, and with atoms missing, from a bank of microscopes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from picostem.dataset.bank import Bank

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Single = NDArray[np.float32]
SingleComplex = NDArray[np.complex64]


def amplitudes(bank: Bank, index: int, slips: FloatArray, occupancy: Single | None = None) -> SingleComplex:
    """c(h) of stacks seen by one microscope, layer 1 at the origin, fractions of the beam, shape (k, n).

    Args:
        bank, index: the microscope.
        slips: of each layer relative to the one below, fractions of the cell, shape (k, layers - 1, 2).
        occupancy: share of each atom's sites that are filled, shape (k, layers, atoms); None for all of them. What
            layers do together is thinned by both layers' mean.
    """
    positions = np.cumsum(np.concatenate([np.zeros_like(slips[:, :1]), slips], axis=1), axis=1)
    total = np.zeros((len(slips), len(bank.hk)), dtype=np.complex64)
    turned = [waves(bank.hk, positions[:, layer]) for layer in range(bank.layers)]
    for layer, wave in enumerate(turned):
        if occupancy is None:
            total += wave * bank.sites[index, layer].sum(axis=0)
        else:
            total += wave * (_of_terms(bank, occupancy[:, layer]) @ bank.sites[index, layer])
    order = [(lower, upper) for upper in range(1, bank.layers) for lower in range(upper)]
    for kernel, (lower, upper) in zip(bank.kernels[index], order, strict=True):
        between = waves(bank.q, positions[:, upper] - positions[:, lower]) @ kernel.T
        if occupancy is not None:
            between *= occupancy[:, [lower, upper]].mean(axis=2).prod(axis=1)[:, None]
        total += turned[lower] * between
    return total


def mean_intensity(bank: Bank, index: int, occupancy: Single) -> Single:
    """Mean of the images, fraction of the beam, shape (k,); what layers do together is left out.

    occupancy: shape (k, layers, atoms).
    """
    terms = np.stack([_of_terms(bank, occupancy[:, layer]) for layer in range(bank.layers)], axis=1)
    return np.asarray(np.einsum("klt,lt->k", terms, bank.mean[index]))


def waves(vectors: IntArray, at: FloatArray) -> SingleComplex:
    """exp(-2 pi i v . r) for lattice vectors v, (n, 2), at positions r in fractions, (k, 2); shape (k, n)."""
    factors = []
    for axis, first in enumerate(vectors.min(axis=0)):
        steps = np.arange(first, vectors[:, axis].max() + 1)
        table = np.exp(-2j * np.pi * (at[:, axis, None] % 1.0) * steps).astype(np.complex64)
        factors.append(np.take(table, vectors[:, axis] - first, axis=1))
    return np.asarray(factors[0] * factors[1])


def _of_terms(bank: Bank, occupancy: Single) -> Single:
    """Occupancy of atoms, (k, atoms), and of pairs of them, which are there where both are."""
    both = occupancy[:, bank.pairs[:, 0]] * occupancy[:, bank.pairs[:, 1]]
    return np.concatenate([occupancy, both], axis=1)
