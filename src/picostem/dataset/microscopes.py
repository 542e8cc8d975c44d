"""A stack as microscopes drawn from the prior of `StackModel` would see it: that model taken apart by atoms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from picostem.dataset.bank import Bank
from picostem.dataset.orientation import Orientations
from picostem.errors import UsageError
from picostem.physics import KV, MRAD
from picostem.resolve.evidence import HARMONIC_LIMIT
from picostem.resolve.model import Optics, StackModel
from picostem.resolve.settings import DETECTOR
from picostem.simulate.column import Scatterer, scatterers
from picostem.simulate.microscope import Microscope
from picostem.structure.lattice import reflections
from picostem.structure.monolayer import Monolayer

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.int64]
SingleComplex = NDArray[np.complex64]
Progress = Callable[[int, int], None]
Beam = tuple[float, float, tuple[float, float]]
"""Voltage in kV, semiangle in mrad, inner and outer half angle of the detector in mrad."""
Term = tuple[tuple[int, ...], Scatterer, FloatArray]

VOLTAGES_KV = (60.0, 80.0, 200.0, 300.0)
SEMIANGLES_MRAD = (18.0, 35.0)
INNER = (1.2, 2.7)  # half angle of the detector's inner edge over the semiangle
BLUR = (0.01, 0.2)  # Å²; variance of source size and vibration
ROUND = 0.9  # of the blur's variance: how much of it may be one way only
DROPPED = 0.005  # of the amplitudes' root sum of squares: what the columns of the kernels that are left out add up to
PILOT = 16  # microscopes that decide which columns are left out


def build(
    layers: tuple[Monolayer, ...],
    count: int,
    rng: np.random.Generator,
    microscope: Beam | None = None,
    progress: Progress | None = None,
) -> Bank:
    """A bank of microscopes, its parameters drawn from the prior of `StackModel`.

    Args:
        layers: from the beam's entrance on; one layer several times, or it and `turned()`.
        count: of the microscopes.
        rng: draws voltage, semiangle and detector, unless `microscope` gives them, aberrations, blur and brightness.
        microscope: that it is.
        progress: called with the number of microscopes done and in all.

    Raises:
        UsageError: fewer than two layers, of different atoms, or no microscope.
    """
    if len(layers) < 2 or any(layer.symbols != layers[0].symbols for layer in layers) or count < 1:
        raise UsageError(
            f"a bank takes two layers or more of the same atoms, and a microscope or more; got "
            f"{len(layers)} of {', '.join(layer.name for layer in layers)} and {count}: change the layers or the count"
        )
    hk = reflections(layers[0].reciprocal, HARMONIC_LIMIT)
    terms = [_terms(layer) for layer in layers]
    sites, kernels, fitted, conditions = [], [], [], []
    q = np.empty((0, 2), dtype=np.int64)
    columns: slice | IntArray = slice(None)
    for done in range(1, count + 1):
        optics = _optics(rng) if microscope is None else _given(*microscope)
        factors, kernel, q, fits = _seen(layers, hk, terms, optics, rng)
        fitted.append(fits)
        sites.append(factors)
        kernels.append(kernel[..., columns])
        inner = optics.inner / optics.semiangle
        conditions.append([optics.voltage_eV / (300 * KV), optics.semiangle / (25 * MRAD), inner])
        if done == min(PILOT, count):
            columns = _strongest(np.array(kernels), np.array(sites))
            kernels = [one[..., columns] for one in kernels]
        if progress is not None:
            progress(done, count)
    whole = np.array(sites)
    return Bank(
        material=layers[0].name,
        antiparallel=any(layer != layers[0] for layer in layers),
        cell=np.array(layers[0].cell),
        hk=hk,
        pairs=np.array([members for members, _, _ in terms[0] if len(members) > 1], dtype=np.int64).reshape(-1, 2),
        sites=np.ascontiguousarray(whole[..., :-1]),
        mean=np.ascontiguousarray(whole[..., -1].real),
        q=q[columns],
        kernels=np.array(kernels),
        factors=np.array(fitted),
        conditions=np.array(conditions, dtype=np.float32),
        orientations=Orientations.of(layers, hk),
    )


def _seen(
    layers: tuple[Monolayer, ...], hk: IntArray, terms: list[list[Term]], optics: Optics, rng: np.random.Generator
) -> tuple[SingleComplex, SingleComplex, IntArray, SingleComplex]:
    """What one microscope sees: factors of the terms at hk and at 0, (layers, terms, n + 1), kernels and their q; and
    what fits make layer factors of, (2, 1 + p, layers, n)."""
    with_mean = np.concatenate([hk, np.zeros((1, 2), dtype=np.int64)])
    model = StackModel.build(layers, with_mean, np.eye(2), optics)
    parameters = _parameters(model, rng)
    cross = model.with_cross_terms(parameters).cross_terms
    kernels = np.array([term.kernel[:-1] for term in cross]) * (model.unit / layers[0].area)
    factors = _site_factors(model, parameters, terms)
    fits = np.array([_answers(model, one)[..., :-1] for one in (parameters, _twin(model, parameters))])
    return factors.astype(np.complex64), kernels.astype(np.complex64), cross[0].q, fits.astype(np.complex64)


def _optics(rng: np.random.Generator) -> Optics:
    semiangle = rng.uniform(*SEMIANGLES_MRAD)
    inner = semiangle * rng.uniform(*INNER)
    return _given(float(rng.choice(VOLTAGES_KV)), semiangle, (inner, max(DETECTOR[1] * semiangle, 1.5 * inner)))


def _given(voltage_kV: float, semiangle_mrad: float, detector_mrad: tuple[float, float]) -> Optics:
    inner, outer = detector_mrad
    if not (voltage_kV > 0 and 0 < semiangle_mrad < inner < outer):
        raise UsageError(
            f"expected a voltage above 0 kV and 0 < semiangle < inner < outer (annular dark field), got {voltage_kV:g} "
            f"kV, {semiangle_mrad:g}, {inner:g} and {outer:g} mrad: check their order and units"
        )
    return Optics(voltage_kV * KV, semiangle_mrad * MRAD, 0.0, inner * MRAD, outer * MRAD, "user")


def _parameters(model: StackModel, rng: np.random.Generator) -> FloatArray:
    """Microscope parameters from the prior; the blur is flat within BLUR, and positive every way."""
    prior = model.prior
    values = prior.mean + prior.sigma * rng.standard_normal(len(prior.mean))
    first = prior.names.index("variance")
    values[first] = rng.uniform(*BLUR)
    one_way = np.hypot(*values[first + 1 : first + 3])
    values[first + 1 : first + 3] /= max(1.0, one_way / (ROUND * values[first]))
    return np.asarray(values)


def _answers(model: StackModel, parameters: FloatArray) -> ComplexArray:
    """Layer factors at parameters, and what a standard deviation of the prior of each changes, (1 + p, layers, n)."""
    value, slope = model.layer_factors(parameters)
    return np.concatenate([value[None], slope * model.prior.sigma[:, None, None]])


def _twin(model: StackModel, parameters: FloatArray) -> FloatArray:
    """The parameters on the other side of focus, astigmatism with them: the image is almost the same."""
    found = parameters.copy()
    found[0] = 2 * model.prior.mean[0] - found[0]
    found[1:3] *= -1
    return found


def _terms(layer: Monolayer) -> list[Term]:
    """What scatters on its own: the atoms in their order, then pairs on one column; indices, scatterer, position."""
    found: list[Term] = []
    for i, symbol in enumerate(layer.symbols):
        ((scatterer, position),) = scatterers((symbol,), layer.positions[[i]], layer.cell)
        found.append(((i,), scatterer, position[0]))
    for j in range(len(layer.symbols)):
        for i in range(j):
            two = (layer.symbols[i], layer.symbols[j])
            for scatterer, position in scatterers(two, layer.positions[[i, j]], layer.cell):
                if len(scatterer.symbols) > 1:
                    found.append(((i, j), scatterer, position[0]))
    return found


def _site_factors(model: StackModel, parameters: FloatArray, terms: list[list[Term]]) -> ComplexArray:
    """Layer factors of each term alone, fractions of the beam, shape (layers, terms, n).

    Layer factors are linear in structure factors and first moments: the answers to ones in place of either are weights.
    """
    optics = model.optics
    beam = Microscope(optics.voltage_eV, optics.semiangle, optics.inner, optics.outer)
    answers = np.empty((2, len(model.species), *model.factors.shape[1::2]), dtype=complex)
    for moment, species in np.ndindex(answers.shape[:2]):
        ones = np.zeros_like(model.factors)
        ones[moment, :, species] = 1
        answers[moment, species] = replace(model, factors=ones).layer_factors(parameters)[0]
    length = np.linalg.norm(model.g, axis=1)
    strength = {scatterer: scatterer.transfer(length, beam, {}) for layer in terms for _, scatterer, _ in layer}
    found = np.empty((len(terms), len(terms[0]), len(length)), dtype=complex)
    for i, layer in enumerate(terms):
        for j, (_, scatterer, position) in enumerate(layer):
            flat, tilted = answers[:, model.species.index(scatterer.symbols[0]), i]
            wave = np.exp(-2j * np.pi * model.hk @ np.linalg.inv(model.cell).T @ position[:2])
            found[i, j] = strength[scatterer] * wave * (flat + position[2] * tilted)
    return np.asarray(found / abs(np.linalg.det(model.cell)))


def _strongest(kernels: SingleComplex, sites: SingleComplex) -> IntArray:
    """Columns of the kernels, (m, pairs, n, k), without the weakest, which add up to DROPPED of the amplitudes."""
    total = np.sum(np.abs(sites[..., :-1].sum(axis=2)) ** 2, axis=(1, 2))
    share = np.mean(np.sum(np.abs(kernels) ** 2, axis=(1, 2)) / total[:, None], axis=0)
    weakest = np.argsort(share)
    left_out = np.cumsum(share[weakest]) < DROPPED**2
    return np.asarray(np.sort(weakest[~left_out]), dtype=np.int64)
