"""Samples drawn by a plan: harmonics as a window of an image would give them, with their slips."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from picostem.dataset.bank import Bank
from picostem.dataset.corruption import (
    blur,
    contamination,
    gaussian,
    hole,
    missing_atoms,
    otherwise,
    partial_layer,
    poisson,
    scan_jitter,
    texture,
)
from picostem.dataset.outlier import Kind, draw_kinds, substituted
from picostem.dataset.plan import Corruptions, Plan
from picostem.dataset.stack import amplitudes, mean_intensity, waves
from picostem.dataset.window import Window, turned_windows
from picostem.errors import UsageError
from picostem.structure.lattice import reduced, shortest_length

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Single = NDArray[np.float32]
SingleComplex = NDArray[np.complex64]

BATCH = 128  # samples at once, in one orientation of the lattice
SHARED = 16  # samples of one microscope among them
ROTATIONS = 8  # orientations of the lattice in the pixels
ECLIPSED = 0.25  # Å; all layers nearer than this to each other look like one
MEMORY = 0.5  # of a row's displacement on the one before
TWINS = 0.2  # of the fits of a microscope, take defocus and astigmatism for their opposites
FIT_ERROR = (0.02, 0.3)  # of fitted parameters, over the standard deviations of their prior
DIRT = (2.0, 12.0)  # Å over which dirt varies
AMORPHOUS = (0.6, 2.5)  # Å over which an amorphous film varies
GRAIN = (0.05, 0.5)  # contrast of an amorphous film, rms over its mean


@dataclass(frozen=True)
class Samples:
    """Windows with known slips.

    Attributes:
        amplitudes: harmonics, fractions of the beam, the lattice anywhere in the window, shape (k, n).
        noise: root mean square of an amplitude's noise as `Evidence.noise_power` states it: that of a pixel over the
            window's side in pixels; shape (k,).
        slips: of each layer relative to the one below, fractions of the cell from 0 to below 1, shape (k, s, 2).
        factors: of the layers, as a fit would have them, shape (k, layers, n).
        conditions: of the microscope, as in `Bank`, shape (k, 3).
        outlier: whether it is no such stack, and the slips mean nothing, shape (k,).
    """

    amplitudes: SingleComplex
    noise: Single
    slips: FloatArray
    factors: SingleComplex
    conditions: Single
    outlier: BoolArray

    def __len__(self) -> int:
        return len(self.noise)


def concatenate(parts: list[Samples]) -> Samples:
    """The samples of all parts, in order."""
    return Samples(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Samples)})


def draw(plan: Plan, bank: Bank, rng: np.random.Generator, count: int, other: Bank | None = None) -> Samples:
    """Samples of a plan.

    Args:
        bank: of the plan's stack. other: of another material, for outliers.

    Raises:
        UsageError: the bank is of another stack, or there is nothing to draw.
    """
    if (bank.layers, bank.antiparallel) != (plan.layers, plan.antiparallel) or count < 1:
        raise UsageError(
            f"a plan of {plan.layers} layers (antiparallel: {plan.antiparallel}) needs their bank, and a sample or "
            f"more; got {bank.layers} (antiparallel: {bank.antiparallel}) and {count}: build the bank of plan.stack()"
        )
    windows = turned_windows(bank.hk, bank.reciprocal, plan.window_A, ROTATIONS)
    sizes = [min(BATCH, count - start) for start in range(0, count, BATCH)]
    return concatenate([_batch(plan, bank, windows[rng.integers(ROTATIONS)], rng, size, other) for size in sizes])


def draw_slips(plan: Plan, bank: Bank, rng: np.random.Generator, count: int) -> FloatArray:
    """Slips as the plan wants them, shape (count, layers - 1, 2); no parallel layers that are all eclipsed."""
    cell = reduced(bank.cell)
    steps = np.inf if plan.step_A is None else np.rint(np.linalg.norm(bank.cell, axis=1) / plan.step_A)
    found = np.empty((0, bank.layers - 1, 2))
    while len(found) < count:
        slips = rng.random((2 * count, bank.layers - 1, 2))
        if plan.step_A is not None:
            slips = np.floor(slips * steps) / steps
        apart = shortest_length(np.cumsum(slips, axis=1) @ bank.cell, cell).max(axis=1)
        found = np.concatenate([found, slips[(apart >= ECLIPSED) | plan.antiparallel]])
    return found[:count]


@dataclass(frozen=True)
class _Seen:
    """Windows before they are recorded: amplitudes of the stacks and of their lower layers alone, and both means."""

    whole: SingleComplex
    lower: SingleComplex
    mean: Single
    lower_mean: Single


def _batch(plan: Plan, bank: Bank, window: Window, rng: np.random.Generator, count: int, other: Bank | None) -> Samples:
    index = np.repeat(rng.integers(len(bank), size=-(-count // SHARED)), SHARED)[:count]
    kinds = draw_kinds(count, plan.outliers, rng)
    amount = _amounts(plan.corruptions, count, rng)
    slips = draw_slips(plan, bank, rng, count)
    cells = window.area / abs(np.linalg.det(bank.cell))
    occupancy = missing_atoms((bank.layers, bank.atoms), amount["vacancies"], cells, rng)
    occupancy[kinds == Kind.ONE_LAYER, 1:] = 0
    seen = _seen(bank, index, slips, occupancy, amount["partial_layer"] > 0)
    factors = _fitted(bank, index, rng)
    if plan.step_A is None:
        which = rng.integers(len(bank.orientations), size=count)
        lower, _ = bank.orientations.apply(bank.hk, seen.lower, slips, which)
        whole, slips = bank.orientations.apply(bank.hk, seen.whole, slips, which)
        factors = bank.orientations.turned(bank.hk, factors, which)
        seen = replace(seen, whole=whole, lower=lower)
    seen = replace(seen, whole=substituted(seen.whole, kinds, other, rng))
    placed = blur(waves(bank.hk, rng.random((count, 2))), bank.hk @ bank.reciprocal, amount["blur"])
    placed *= otherwise(seen.whole.shape, amount["model"], rng)
    seen = replace(seen, whole=seen.whole * placed, lower=seen.lower * placed)
    least, most = np.log(plan.dose)
    electrons = np.exp(rng.uniform(least, most, count)) * window.sampling**2
    found, sigma = _recorded(seen, window, amount, kinds, electrons, rng)
    return Samples(
        amplitudes=found,
        noise=(sigma / window.side).astype(np.float32),
        slips=slips,
        factors=factors,
        conditions=bank.conditions[index],
        outlier=kinds != Kind.STACK,
    )


def _fitted(bank: Bank, index: IntArray, rng: np.random.Generator) -> SingleComplex:
    """Layer factors as fits of the microscope would have them, (k, layers, n): each off by a share of the prior."""
    likely = bank.factors[index, (rng.random(len(index)) < TWINS).astype(np.int64)]
    least, most = np.log(FIT_ERROR)
    share = np.exp(rng.uniform(least, most, len(index)))
    off = share[:, None] * rng.standard_normal((len(index), likely.shape[1] - 1))
    return np.asarray(likely[:, 0] + np.einsum("kp,kpln->kln", off.astype(np.float32), likely[:, 1:]))


def _amounts(corruptions: Corruptions, count: int, rng: np.random.Generator) -> dict[str, FloatArray]:
    """How much each sample suffers, by name, shape (count,) each; 0 where it does not."""
    return {
        name: most * rng.random(count) * (rng.random(count) < share)
        for name, (share, most) in corruptions.as_dict().items()
    }


def _seen(bank: Bank, index: IntArray, slips: FloatArray, occupancy: Single, partial: BoolArray) -> _Seen:
    """Stacks, and their lowest layer alone where `partial`, under the microscopes of `index`."""
    whole = np.zeros((len(index), len(bank.hk)), dtype=np.complex64)
    lower, mean, lower_mean = np.zeros_like(whole), np.zeros(len(index), np.float32), np.zeros(len(index), np.float32)
    bottom = occupancy.copy()
    bottom[:, 1:] = 0
    for start in range(0, len(index), SHARED):
        rows, one = np.arange(start, min(start + SHARED, len(index))), int(index[start])
        whole[rows] = amplitudes(bank, one, slips[rows], occupancy[rows])
        mean[rows] = mean_intensity(bank, one, occupancy[rows])
        lower_mean[rows] = mean_intensity(bank, one, bottom[rows])
        some = rows[partial[rows]]
        if len(some):
            lower[some] = amplitudes(bank, one, slips[some], bottom[some])
    return _Seen(whole, lower, mean, lower_mean)


def _recorded(
    seen: _Seen,
    window: Window,
    amount: dict[str, FloatArray],
    kinds: IntArray,
    electrons: FloatArray,
    rng: np.random.Generator,
) -> tuple[SingleComplex, FloatArray]:
    """Amplitudes with their noise, (k, n), and the noise of a pixel, (k,).

    Windows that suffer in real space, or are amorphous, are rendered; the noise of the others is that of their mean.
    """
    in_pixels = ("hole", "partial_layer", "contamination", "absorption", "jitter")
    rendered = np.any([amount[name] > 0 for name in in_pixels], axis=0) | (kinds == Kind.AMORPHOUS)
    more = np.hypot(1, amount["read_noise"])
    sigma = np.sqrt(np.maximum(seen.mean, 0) / electrons) * more
    found = seen.whole + window.noise(sigma.astype(np.float32), rng)
    if rendered.any():
        part = _Seen(*(getattr(seen, f.name)[rendered] for f in fields(_Seen)))
        chosen = {name: values[rendered] for name, values in amount.items()}
        patches = _suffered(part, window, chosen, kinds[rendered] == Kind.AMORPHOUS, rng)
        counting = np.sqrt(np.maximum(patches.mean(axis=(1, 2)), 0) / electrons[rendered])
        patches = poisson(patches, electrons[rendered], rng)
        read = chosen["read_noise"] > 0
        patches[read] = gaussian(patches[read], (counting * chosen["read_noise"])[read], rng)
        found[rendered], sigma[rendered] = window.extract(patches), counting * more[rendered]
    return found, sigma


def _suffered(
    seen: _Seen, window: Window, amount: dict[str, FloatArray], amorphous: BoolArray, rng: np.random.Generator
) -> Single:
    """Pixels of windows that suffer, without noise, shape (k, side, side)."""
    landing = scan_jitter(window.side, amount["jitter"] / window.sampling, MEMORY, rng)
    patches = window.render(seen.whole, seen.mean)
    shaken = amount["jitter"] > 0
    if shaken.any():
        patches[shaken] = window.render(seen.whole[shaken], seen.mean[shaken], landing[shaken])
    cut = amount["partial_layer"] > 0
    if cut.any():
        without = window.render(seen.lower[cut], seen.lower_mean[cut], landing[cut])
        patches[cut] = partial_layer(patches[cut], without, amount["partial_layer"][cut], rng)
    for row in np.nonzero(amorphous)[0]:
        length = rng.uniform(*AMORPHOUS) / window.sampling
        grain = texture(1, window.side, length, rng)[0]
        patches[row] += (rng.uniform(*GRAIN) * seen.mean[row] * grain).astype(np.float32)
    dirty = (amount["contamination"] > 0) | (amount["absorption"] > 0)
    if dirty.any():
        length = np.exp(rng.uniform(*np.log(DIRT))) / window.sampling
        taken = (amount["contamination"][dirty], amount["absorption"][dirty])
        patches[dirty] = contamination(patches[dirty], *taken, length, rng)
    pierced = amount["hole"] > 0
    if pierced.any():
        patches[pierced] = hole(patches[pierced], amount["hole"][pierced], rng)
    return patches
