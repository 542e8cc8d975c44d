"""What windows of real images suffer: atoms gone, holes, dirt, a layer that ends, noise, a beam that lands elsewhere.

Patches are windows of images in fractions of the beam, shape (k, side, side), float32; lengths in them are in pixels.
Nothing here moves the lattice or the layers, so that slips stay what they are; `Orientations` turns both.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import signal

FloatArray = NDArray[np.float64]
Single = NDArray[np.float32]
SingleComplex = NDArray[np.complex64]

EDGE = 2.0  # pixels over which a hole or a layer's edge goes from 0 to 1


def missing_atoms(shape: tuple[int, int], share: FloatArray, cells: float, rng: np.random.Generator) -> Single:
    """Occupancy of windows in which each atom is missing with a probability, shape (k, layers, atoms).

    Args:
        shape: layers, and atoms of a layer's cell.
        share: the probability, shape (k,).
        cells: of the lattice in a window, rounded.
    """
    whole = max(1, round(cells))
    present = np.broadcast_to(1 - share[:, None, None], (len(share), *shape))
    return np.asarray(rng.binomial(whole, present) / whole, dtype=np.float32)


def blur(amplitudes: SingleComplex, g: FloatArray, variance: FloatArray) -> SingleComplex:
    """Amplitudes, (k, n), of images blurred by Gaussians: times exp(-2 pi² v g²).

    g: frequencies, shape (n, 2), and variance: shape (k,), in matching units.
    """
    damping = np.exp(-2 * np.pi**2 * np.outer(variance, np.sum(g**2, axis=1)))
    return np.asarray(amplitudes * damping.astype(np.float32))


def otherwise(shape: tuple[int, int], rms: FloatArray, rng: np.random.Generator) -> SingleComplex:
    """Factors on amplitudes, (k, n), that the simulation gets wrong, each by its own complex Gaussian share.

    rms: of those shares, shape (k,).
    """
    shares = rng.standard_normal((*shape, 2), dtype=np.float32) @ np.array([1, 1j], dtype=np.complex64)
    return np.asarray(1 + shares * (rms / math.sqrt(2)).astype(np.float32)[:, None])


def scan_jitter(side: int, rms: FloatArray, memory: float, rng: np.random.Generator) -> Single:
    """Where the beam lands in each row, off its place, for `Window.render`, shape (k, side, 2), pixels.

    Args:
        rms: of x and of y, pixels, shape (k,).
        memory: coefficient of a row's displacement on the row before, 0 (independent) to below 1.
    """
    drawn = rng.standard_normal((len(rms), side, 2)) * math.sqrt(1 - memory**2)
    drawn[:, 0] /= math.sqrt(1 - memory**2)  # the first row starts from the stationary distribution
    rows = signal.lfilter([1.0], [1.0, -memory], drawn, axis=1)
    return np.asarray(rows * rms[:, None, None], dtype=np.float32)


def hole(patches: Single, share: FloatArray, rng: np.random.Generator) -> Single:
    """Patches with a round hole that takes a share of the window, shape (k,), centred anywhere in it, at most.

    Where a hole reaches beyond the window's border it takes less. The vacuum in it scatters nothing.
    """
    count, side = len(patches), patches.shape[1]
    radius = side * np.sqrt(share / np.pi)
    x, y = _from(rng.uniform(-side / 2, side / 2, (count, 2)), side)
    distance = np.sqrt(x[:, None, :] ** 2 + y[:, :, None] ** 2)
    return np.asarray(patches * _beyond(distance - radius[:, None, None].astype(np.float32)))


def partial_layer(patches: Single, without: Single, share: FloatArray, rng: np.random.Generator) -> Single:
    """Patches in which the upper layers end at a straight edge, in any direction.

    Args:
        without: the same windows without these layers.
        share: of the window that lies beyond the edge, shape (k,).
    """
    count, side = len(patches), patches.shape[1]
    angle = rng.uniform(0, 2 * np.pi, count)
    along = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    x, y = _from(np.zeros((count, 2)), side)
    depth = along[:, :1, None] * x[:, None, :] + along[:, 1:, None] * y[:, :, None]
    beyond = np.sort(depth.reshape(count, -1), axis=1)
    place = np.clip((share * side**2).astype(np.int64), 0, side**2 - 1)
    edge = beyond[np.arange(count), place]
    return np.asarray(without + (patches - without) * _beyond(depth - edge[:, None, None]))


def contamination(
    patches: Single, added: FloatArray, absorbed: FloatArray, length: float, rng: np.random.Generator
) -> Single:
    """Patches with dirt on them: I (1 - absorbed field) + added field mean(I), of a smooth random field from 0 to 1.

    Args:
        added, absorbed: where the dirt is thickest, shape (k,).
        length: pixels over which its thickness varies.
    """
    field = texture(len(patches), patches.shape[1], length, rng)
    low, high = field.min(axis=(1, 2), keepdims=True), field.max(axis=(1, 2), keepdims=True)
    field = (field - low) / (high - low)
    mean = patches.mean(axis=(1, 2)) * added
    kept = 1 - absorbed[:, None, None].astype(np.float32) * field
    return np.asarray(patches * kept + mean[:, None, None].astype(np.float32) * field)


def texture(count: int, side: int, length: float, rng: np.random.Generator) -> Single:
    """Gaussian random fields of variance 1 and correlation exp(-r²/(4 length²)), shape (count, side, side).

    length: pixels. White noise on a grid of that length, which reaches 3 of it beyond the borders, spread by Gaussians.
    """
    reach = side / 2 + 3 * length
    nodes = np.linspace(-reach, reach, math.ceil(2 * reach / length) + 1)
    spread = np.exp(-(((np.arange(side) - (side - 1) / 2)[:, None] - nodes) ** 2) / (2 * length**2))
    spread = (spread / np.sqrt(np.sum(spread**2, axis=1, keepdims=True))).astype(np.float32)
    return np.asarray(spread @ rng.standard_normal((count, len(nodes), len(nodes)), dtype=np.float32) @ spread.T)


def poisson(patches: Single, electrons: FloatArray, rng: np.random.Generator) -> Single:
    """Patches as counted, in fractions of the beam: each pixel with the variance I / electrons.

    A normal deviate stands for the count: an amplitude is a sum over thousands of pixels.

    electrons: of the beam per pixel, shape (k,).
    """
    sigma = np.sqrt(np.maximum(patches, 0) / electrons[:, None, None].astype(np.float32))
    return np.asarray(patches + sigma * rng.standard_normal(patches.shape, dtype=np.float32))


def gaussian(patches: Single, sigma: FloatArray, rng: np.random.Generator) -> Single:
    """Patches with white noise of standard deviations sigma, shape (k,), added."""
    drawn = rng.standard_normal(patches.shape, dtype=np.float32)
    return np.asarray(patches + sigma[:, None, None].astype(np.float32) * drawn)


def _from(points: FloatArray, side: int) -> tuple[Single, Single]:
    """Offsets of the pixels from points (k, 2) that are given from the window's centre; columns and rows, (k, side)."""
    axis = np.arange(side) - (side - 1) / 2
    x, y = (axis - points[:, i : i + 1] for i in (0, 1))
    return x.astype(np.float32), y.astype(np.float32)


def _beyond(distance: Single) -> Single:
    """1 on the one side of an edge, 0 on the other, 1/2 on it, smooth over EDGE pixels."""
    ramp = np.clip(distance / np.float32(EDGE) + np.float32(0.5), 0, 1)
    return np.asarray(ramp * ramp * (3 - 2 * ramp))
