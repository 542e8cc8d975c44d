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


def window(invariants: Invariants, seed: int = 0, count: int = 4) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    amplitudes = rng.standard_normal((count, len(invariants.hk), 2)) @ (1, 1j)
    return amplitudes, rng.uniform(0.01, 0.1, count), rng.uniform(0.3, 2, (count, 3))


@pytest.mark.parametrize("invariants", [INVARIANTS, MANY], ids=["MoS2", "ReS2"])
def test_neither_place_nor_unit_matters(invariants: Invariants) -> None:
    amplitudes, noise, conditions = window(invariants)
    place = np.random.default_rng(1).uniform(-50, 50, (4, 2))
    moved = 3e4 * amplitudes * np.exp(-2j * np.pi * place @ invariants.hk.T)
    expected = invariants(amplitudes, noise, conditions)
    assert expected.shape == (4, invariants.size)
    # single precision of numbers below 1; ln(noise) is below 8
    np.testing.assert_allclose(invariants(moved, 3e4 * noise, conditions), expected, atol=2e-6)


def test_everything_else_matters() -> None:
    """Opposite phases, a mirror of the crystal, change features; so do noise and the microscope."""
    amplitudes, noise, conditions = window(INVARIANTS)
    first = INVARIANTS(amplitudes, noise, conditions)
    for other in (
        INVARIANTS(amplitudes.conj(), noise, conditions),
        INVARIANTS(amplitudes, 2 * noise, conditions),
        INVARIANTS(amplitudes, noise, conditions + 0.1),
    ):
        assert np.abs(other - first).max() > 0.05  # of numbers up to 1


def test_slow_oracle() -> None:
    amplitudes, noise, conditions = window(INVARIANTS, count=1)
    c = {tuple(hk): complex(value) for hk, value in zip(HK.tolist(), amplitudes[0], strict=True)}
    c |= {(-h, -k): value.conjugate() for (h, k), value in c.items()}
    total = sum(abs(c[tuple(hk)]) ** 2 for hk in HK.tolist()) ** 0.5
    both = np.concatenate([HK, -HK]).tolist()
    products = [c[tuple(both[i])] * c[tuple(both[j])] * c[tuple(both[k])] for i, j, k in INVARIANTS.triples]
    scaled = [cmath.rect(abs(p) ** (1 / 3) / total, cmath.phase(p)) for p in products]
    expected = [abs(c[tuple(hk)]) / total for hk in HK.tolist()]
    expected += [p.real for p in scaled] + [p.imag for p in scaled] + [np.log(noise[0] / total), *conditions[0]]
    found = INVARIANTS(amplitudes, noise, conditions)
    np.testing.assert_allclose(found[0], expected, atol=1e-6)  # single precision


def test_triples_of_two_shells() -> None:
    """Triangles of equal sides: one of each shell; and each (11) from two of (10)."""
    both = np.concatenate([HK, -HK])
    lengths = np.linalg.norm(both @ np.linalg.inv(CELL).T, axis=1)
    sides = np.round(np.sort(lengths[INVARIANTS.triples] / lengths[0], axis=1) ** 2).astype(int).tolist()
    assert sides == [[1, 1, 1]] + [[1, 1, 3]] * 3 + [[3, 3, 3]]
    assert (both[INVARIANTS.triples].sum(axis=1) == 0).all()


def test_the_lowest_are_taken() -> None:
    few = Invariants.lowest(HK, CELL, 3)
    assert few.triples.tolist() == INVARIANTS.triples[:3].tolist()
    assert len(MANY.triples) == 300
    lengths = np.linalg.norm(MANY.hk @ RES2.reciprocal, axis=1)[MANY.triples % len(MANY.hk)].sum(axis=1)
    assert (np.diff(lengths) > -1e-8).all()  # they are compared to nine digits


def test_a_window_without_anything() -> None:
    features = INVARIANTS(np.zeros((1, len(HK))), [0.1], [[1, 1, 1]])
    assert features.tolist() == [[0.0] * (INVARIANTS.size - 3) + [1.0] * 3]


def test_bad_input() -> None:
    made = draw(np.random.default_rng(0), 3)
    with pytest.raises(UsageError, match=r"amplitudes \(k, 6\).*got \(3, 5\)"):
        INVARIANTS(made.amplitudes[:, :5], made.noise, made.conditions)
    with pytest.raises(UsageError, match=r"conditions \(k, 3\).*\(3, 2\)"):
        INVARIANTS(made.amplitudes, made.noise, made.conditions[:, :2])
    with pytest.raises(UsageError, match=r"noise \(k,\)"):
        INVARIANTS(made.amplitudes, 0.1, made.conditions)
    for noise in (np.zeros(3), np.full(3, np.nan)):
        with pytest.raises(DataError, match="noise positive"):
            INVARIANTS(made.amplitudes, noise, made.conditions)
    with pytest.raises(DataError, match="finite"):
        INVARIANTS(made.amplitudes * np.nan, made.noise, made.conditions)
    with pytest.raises(UsageError, match="sum to zero"):
        Invariants(HK, np.array([[0, 1, 2]]))
    with pytest.raises(UsageError, match="of the 6 reflections"):
        Invariants(HK, np.array([[0, 1, 12]]))
    with pytest.raises(UsageError, match=r"got \(6, 1\)"):
        Invariants(HK[:, :1], INVARIANTS.triples)
