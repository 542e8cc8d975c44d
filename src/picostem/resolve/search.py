"""Coarse search for where the layers are: every slip on a grid over the cell, every origin by a Fourier transform.

For a template m(h; D) the origin t enters as exp(-2 pi i h . t), so that the correlation with the measured harmonics
over all origins is one inverse Fourier transform. Its best value over the template's norm is the drop in weighted
misfit that this slip brings.

More than two layers have too many stackings for a grid. They are built layer by layer: to a template T that explains
the harmonics c in part, a layer Q is added at any place u, all at once by two transforms,

    gain(u) = [<T, c> + <Q_u, c>]² / [<T, T> + <Q, Q> + 2 <T, Q_u>],     Q_u(h) = Q(h) exp(-2 pi i h . u),

one scale for both. The stackings that gain most go on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from picostem.resolve.estimate import Fit, State, better_of, fit_windows
from picostem.resolve.evidence import Evidence
from picostem.resolve.model import StackModel
from picostem.resolve.stacking import Stackings

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.int64]

SLIP_STEP = 0.28  # Å; half the distance over which the fit's basin of attraction reaches
MODEL_ERROR = 0.05  # share of each harmonic's power that a default microscope may get wrong
SEEDS = 4  # windows from which stackings of three and more layers are built
KEPT = 24  # stackings that each of them proposes
TRIES = 6  # stackings that are fitted in a window
APART = 0.4  # Å; proposals that differ by less are one


@dataclass(frozen=True)
class Coarse:
    """Result of the coarse search.

    Attributes:
        slips: the stackings tried, fractions of a and b, shape (m, interfaces, 2).
        explained: share of its weighted power that each explains in each window, shape (windows, m).
        origins: best origin of each window at each, shape (windows, m, 2).
        scales: the scale that goes with it, shape (windows, m).
    """

    slips: FloatArray
    explained: FloatArray
    origins: FloatArray
    scales: FloatArray

    def best_common(self, count: int, apart: float = 0.08) -> list[int]:
        """The slips that explain most of all windows together and lie at least `apart` (of a cell) from each other."""
        chosen: list[int] = []
        total = self.explained.sum(axis=0)
        for i in np.argsort(total)[::-1]:
            distance = [np.abs((self.slips[i] - self.slips[j] + 0.5) % 1 - 0.5).max(initial=0.0) for j in chosen]
            if min(distance, default=1.0) > apart:
                chosen.append(int(i))
            if len(chosen) == count:
                break
        return chosen

    def state(self, microscope: FloatArray, choice: IntArray) -> State:
        """The parameters of all windows when window w has the stacking `choice[w]`."""
        w = np.arange(len(choice))
        return State(microscope, self.scales[w, choice], self.origins[w, choice], self.slips[choice])


def slip_grid(cell: FloatArray) -> FloatArray:
    """Slips in fractions of a and b that cover the cell in steps of about SLIP_STEP, shape (m, 2)."""
    counts = np.ceil(np.linalg.norm(cell, axis=1) / SLIP_STEP).astype(int)
    a, b = np.meshgrid(*(np.arange(n) / n for n in counts), indexing="ij")
    return np.stack([a.ravel(), b.ravel()], axis=1)


def coarse_search(
    model: StackModel,
    microscope: FloatArray,
    amplitudes: ComplexArray,
    noise: FloatArray,
    slips: FloatArray | None = None,
    zoom: int = 1,
) -> Coarse:
    """Try every stacking with the microscope given.

    Args:
        model: of the layers.
        microscope: parameters in the order of the model's prior.
        amplitudes: measured harmonics, shape (windows, n).
        noise: their noise power, shape (n,).
        slips: fractions of a and b, shape (m, interfaces, 2); if left out, a grid over the cell for two layers, those
            that some of the windows propose for more.
        zoom: how many times finer than need be the origins are sampled.
    """
    factors = model.layer_factors(microscope)[0]
    weight = 1 / (noise + MODEL_ERROR * np.abs(amplitudes) ** 2)
    if slips is None:
        slips = _all_stackings(model, factors, amplitudes, weight)
    return _correlate(model.hk, _templates(model.hk, factors, slips), slips, amplitudes, weight, zoom)


def _templates(hk: IntArray, factors: ComplexArray, slips: FloatArray) -> ComplexArray:
    """Harmonics of stackings (m, interfaces, 2) at unit scale with layer 1 at the origin, shape (m, n)."""
    total = np.repeat(factors[:1], len(slips), axis=0)
    for layer, position in zip(factors[1:], np.moveaxis(np.cumsum(slips, axis=1), 1, 0), strict=True):
        total = total + layer * np.exp(-2j * np.pi * position @ hk.T)
    return total


def _correlate(
    hk: IntArray, template: ComplexArray, slips: FloatArray, amplitudes: ComplexArray, weight: FloatArray, zoom: int
) -> Coarse:
    norm = weight @ (np.abs(template) ** 2).T
    power = np.sum(weight * np.abs(amplitudes) ** 2, axis=1)
    size = zoom * _size(hk)
    origins, scales = np.empty((*norm.shape, 2)), np.empty(norm.shape)
    gain = np.empty(norm.shape)
    for w in range(len(amplitudes)):
        correlation = _over_all_places(hk, np.conj(template) * (amplitudes[w] * weight[w]), size)
        best = correlation.argmax(axis=1)
        value = np.maximum(correlation[np.arange(len(template)), best], 0)
        origins[w] = np.stack([best // size, best % size], axis=1) / size
        scales[w] = value / norm[w]
        gain[w] = value**2 / norm[w]
    return Coarse(slips, gain / power[:, None], origins, scales)


def placed(
    model: StackModel, microscope: FloatArray, amplitudes: ComplexArray, noise: FloatArray, slips: FloatArray
) -> State:
    """The parameters of windows whose slips are known, (windows, interfaces, 2): where each lies best, and its scale.

    Other arguments as in `coarse_search`.
    """
    factors = model.layer_factors(microscope)[0]
    weight = 1 / (noise + MODEL_ERROR * np.abs(amplitudes) ** 2)
    template = _templates(model.hk, factors, slips)
    size = _size(model.hk)
    correlation = _over_all_places(model.hk, np.conj(template) * amplitudes * weight, size)
    best = correlation.argmax(axis=1)
    value = np.maximum(correlation.max(axis=1), 0).astype(np.float64)
    origin = np.stack([best // size, best % size], axis=1) / size
    return State(microscope, value / np.sum(weight * np.abs(template) ** 2, axis=1), origin, slips)


def _size(hk: IntArray) -> int:
    """The power of two that holds all reflections and their opposites."""
    return 1 << int(2 * np.abs(hk).max()).bit_length()


def _over_all_places(hk: IntArray, products: ComplexArray, size: int) -> NDArray[np.float32]:
    """Re sum over h of products(h) exp(2 pi i h . u) at all u of a size × size grid, shape (m, size²)."""
    grid = np.zeros((len(products), size, size), dtype=np.complex64)
    grid[:, hk[:, 0] % size, hk[:, 1] % size] = products
    return np.asarray(np.fft.ifft2(grid).real.reshape(len(products), -1) * size**2, dtype=np.float32)


def _all_stackings(
    model: StackModel, factors: ComplexArray, amplitudes: ComplexArray, weight: FloatArray
) -> FloatArray:
    """Stackings to try, fractions of a and b, shape (m, interfaces, 2)."""
    if model.layer_count == 1:
        return np.zeros((1, 0, 2))
    pairs = slip_grid(model.cell)[:, None]
    if model.layer_count == 2:
        return pairs
    chosen = np.unique(np.linspace(0, len(amplitudes) - 1, SEEDS).astype(int))
    start = _correlate(model.hk, _templates(model.hk, factors[:2], pairs), pairs, amplitudes[chosen], weight[chosen], 1)
    stackings = Stackings(model.layers)
    found = [
        _extended(model, factors, amplitudes[w], weight[w], start.origins[i], stackings) for i, w in enumerate(chosen)
    ]
    every = np.concatenate(found)
    return np.asarray(every[stackings.distinct(every @ model.cell, APART)])


def _extended(
    model: StackModel,
    factors: ComplexArray,
    amplitudes: ComplexArray,
    weight: FloatArray,
    origins: FloatArray,
    stackings: Stackings,
) -> FloatArray:
    """Stackings of all layers that one window proposes: pairs at their best origins, extended layer by layer."""
    hk = model.hk
    size = 2 * _size(hk)
    places = np.stack([origins, origins + slip_grid(model.cell)], axis=1)
    for layer in factors[2:]:
        waves = np.exp(-2j * np.pi * places @ hk.T)
        template = np.sum(factors[: places.shape[1]] * waves, axis=1)
        have = (np.conj(template) @ (weight * amplitudes)).real[:, None]
        more = _over_all_places(hk, (np.conj(layer) * weight * amplitudes)[None], size)
        norm = (np.abs(template) ** 2 @ weight + np.abs(layer) ** 2 @ weight)[:, None]
        both = _over_all_places(hk, template * weight * np.conj(layer), size)
        gain = np.maximum(have + more, 0) ** 2 / (norm + 2 * both)
        best = gain.argmax(axis=1)
        added = np.stack([best // size, best % size], axis=1) / size
        ranked = np.argsort(-gain[np.arange(len(best)), best])
        places = np.concatenate([places, added[:, None]], axis=1)[ranked]
    slips = np.diff(places, axis=1)
    return np.asarray(slips[stackings.distinct(slips[: 8 * KEPT] @ model.cell, APART)[:KEPT]])


def fit_each(
    model: StackModel,
    evidence: Evidence,
    microscope: FloatArray,
    microscope_covariance: FloatArray,
    slips: FloatArray | None = None,
) -> Fit:
    """Fit each window from that of the slips (of all, if None) that explains it best, with the microscope fixed.

    Three and more layers have many stackings that a coarse search cannot tell apart: several are tried.
    """
    search = coarse_search(model, microscope, evidence.harmonics.amplitudes, evidence.noise_power, slips)
    tries = 1 if model.layer_count < 3 else TRIES
    best: Fit | None = None
    for choice in np.argsort(-search.explained, axis=1, kind="stable").T[:tries]:
        start = search.state(microscope, choice)
        fit = fit_windows(model, evidence.observation, start, microscope_covariance)
        best = fit if best is None else better_of(best, fit, np.ones(len(choice), dtype=bool))
    assert best is not None
    return best


def fit_at(
    model: StackModel,
    evidence: Evidence,
    microscope: FloatArray,
    microscope_covariance: FloatArray,
    slips: FloatArray,
    *,
    held: bool,
) -> Fit:
    """Fit each window from slips of its own, (windows, interfaces, 2), or with these slips, the microscope fixed."""
    start = placed(model, microscope, evidence.harmonics.amplitudes, evidence.noise_power, slips)
    return fit_windows(model, evidence.observation, start, microscope_covariance, held=held)
