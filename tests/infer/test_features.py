from __future__ import annotations

import cmath
from typing import Any

import numpy as np
import pytest

from picostem.errors import DataError, UsageError
from picostem.infer.features import Invariants
from picostem.structure import load_monolayer
from picostem.structure.lattice import reflections
from tests.infer.made_samples import CELL, HK, INVARIANTS, draw

RES2 = load_monolayer("ReS2")
MANY = Invariants.lowest(reflections(RES2.reciprocal, 1.1), RES2.cell)


def window(invariants: Invariants, seed: int = 0, count: int = 4) -> tuple[Any, Any, Any, Any]:
    rng = np.random.default_rng(seed)
    amplitudes = rng.standard_normal((count, len(invariants.hk), 2)) @ (1, 1j)
    factors = rng.standard_normal((count, 2, len(invariants.hk), 2)) @ (1, 1j)
    return amplitudes, rng.uniform(0.01, 0.1, count), factors, rng.uniform(0.3, 2, (count, 3))


@pytest.mark.parametrize("invariants", [INVARIANTS, MANY], ids=["MoS2", "ReS2"])
def test_neither_place_nor_unit_matters(invariants: Invariants) -> None:
    amplitudes, noise, factors, conditions = window(invariants)
    place = np.random.default_rng(1).uniform(-50, 50, (4, 2))
    moved = 3e4 * amplitudes * np.exp(-2j * np.pi * place @ invariants.hk.T)
    expected = invariants(amplitudes, noise, factors, conditions)
    assert expected.shape == (4, invariants.size)
    found = invariants(moved, 3e4 * noise, 0.01 * factors, conditions)
    # single precision; amplitudes in terms of weak factors are some tens
    np.testing.assert_allclose(found, expected, atol=2e-5, rtol=1e-5)


def test_everything_else_matters() -> None:
    """Opposite phases, a mirror of the crystal, change features; so do noise, the layers and the microscope."""
    amplitudes, noise, factors, conditions = window(INVARIANTS)
    first = INVARIANTS(amplitudes, noise, factors, conditions)
    for other in (
        INVARIANTS(amplitudes.conj(), noise, factors, conditions),
        INVARIANTS(amplitudes, 2 * noise, factors, conditions),
        INVARIANTS(amplitudes, noise, factors[:, ::-1], conditions),
        INVARIANTS(amplitudes, noise, factors, conditions + 0.1),
    ):
        assert np.abs(other - first).max() > 0.05  # of numbers of about 1


def test_slow_oracle() -> None:
    amplitudes, noise, factors, conditions = window(INVARIANTS, count=1)
    total, power = np.linalg.norm(amplitudes), np.linalg.norm(factors)
    sigma = noise[0] / total
    half, above = [], []
    for c, first, second in zip(amplitudes[0], *factors[0], strict=True):
        measure = (first / power).conjugate() / (abs(first / power) ** 2 + sigma**2)
        half.append(complex(c / total * measure))
        above.append(complex(second / power * measure))
    x = dict(zip(map(tuple, HK.tolist()), half, strict=True))
    x |= {(-h, -k): value.conjugate() for (h, k), value in x.items()}
    both = np.concatenate([HK, -HK]).tolist()
    products = [x[tuple(both[i])] * x[tuple(both[j])] * x[tuple(both[k])] for i, j, k in INVARIANTS.triples]
    scaled = [cmath.rect(abs(p) ** (1 / 3), cmath.phase(p)) for p in products]
    expected = [abs(value) for value in half] + [p.real for p in scaled] + [p.imag for p in scaled]
    expected += [float(np.log1p((abs(q) / power / sigma) ** 2)) for q in factors[0, 0]]
    expected += [r.real for r in above] + [r.imag for r in above] + [np.log(sigma), *conditions[0]]
    found = INVARIANTS(amplitudes, noise, factors, conditions)
    np.testing.assert_allclose(found[0], expected, rtol=1e-5, atol=1e-5)  # single precision


def test_two_like_layers_are_measured_in_one_of_them() -> None:
    """1 + exp(-2 pi i h · D) and 1, in terms of one layer, whatever that looks like."""
    factors = np.repeat(window(INVARIANTS)[2][:1, :1], 2, axis=1)
    waves = np.exp(-2j * np.pi * HK @ [0.31, 0.12])
    stack = INVARIANTS(factors[:, 0] * (1 + waves), [1e-4], factors, np.ones((1, 3)))[0, : len(HK)]
    layer = INVARIANTS(factors[:, 0], [1e-4], factors, np.ones((1, 3)))[0, : len(HK)]
    np.testing.assert_allclose(stack / stack[0], np.abs(1 + waves) / abs(1 + waves[0]), rtol=1e-3)  # noise² of 1e-8
    np.testing.assert_allclose(layer / layer[0], 1, rtol=1e-3)


def test_triples_of_two_shells() -> None:
    """Triangles of equal sides: one of each shell; and each (11) from two of (10)."""
    both = np.concatenate([HK, -HK])
    lengths = np.linalg.norm(both @ np.linalg.inv(CELL).T, axis=1)
    sides = np.round(np.sort(lengths[INVARIANTS.triples] / lengths[0], axis=1) ** 2).astype(int).tolist()
    assert sides == [[1, 1, 1]] + [[1, 1, 3]] * 3 + [[3, 3, 3]]
    assert (both[INVARIANTS.triples].sum(axis=1) == 0).all()


def test_the_lowest_are_taken() -> None:
    few = Invariants.lowest(HK, CELL, count=3)
    assert few.triples.tolist() == INVARIANTS.triples[:3].tolist()
    assert len(MANY.triples) == 300
    lengths = np.linalg.norm(MANY.hk @ RES2.reciprocal, axis=1)[MANY.triples % len(MANY.hk)].sum(axis=1)
    assert (np.diff(lengths) > -1e-8).all()  # they are compared to nine digits


def test_a_window_without_anything() -> None:
    _, _, factors, _ = window(INVARIANTS, count=1)
    features = INVARIANTS(np.zeros((1, len(HK))), [0.1], factors, [[1, 1, 1]])[0]
    seen = len(HK) + 2 * len(INVARIANTS.triples)
    assert not features[:seen].any()
    assert features[-4:].tolist() == [0.0, 1.0, 1.0, 1.0]
    assert np.isfinite(features).all()


def test_bad_input() -> None:
    made = draw(np.random.default_rng(0), 3)
    c, noise, factors, known = made.amplitudes, made.noise, made.factors, made.conditions
    with pytest.raises(UsageError, match=r"amplitudes \(k, 6\).*got \(3, 5\)"):
        INVARIANTS(c[:, :5], noise, factors, known)
    with pytest.raises(UsageError, match=r"conditions \(k, 3\).*\(3, 2\)"):
        INVARIANTS(c, noise, factors, known[:, :2])
    with pytest.raises(UsageError, match=r"factors \(k, 2, 6\).*\(3, 1, 6\)"):
        INVARIANTS(c, noise, factors[:, :1], known)
    with pytest.raises(UsageError, match=r"noise \(k,\)"):
        INVARIANTS(c, 0.1, factors, known)
    for wrong in (np.zeros(3), np.full(3, np.nan)):
        with pytest.raises(DataError, match="noise positive"):
            INVARIANTS(c, wrong, factors, known)
    with pytest.raises(DataError, match="finite"):
        INVARIANTS(c * np.nan, noise, factors, known)
    with pytest.raises(DataError, match="without any factors"):
        INVARIANTS(c, noise, 0 * factors, known)
    with pytest.raises(UsageError, match="sum to zero"):
        Invariants(HK, np.array([[0, 1, 2]]))
    with pytest.raises(UsageError, match="of the 6 reflections"):
        Invariants(HK, np.array([[0, 1, 12]]))
    with pytest.raises(UsageError, match=r"got \(6, 1\)"):
        Invariants(HK[:, :1], INVARIANTS.triples)
