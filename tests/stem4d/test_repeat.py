"""What repeats over a scan: lattice vectors, and positions that differ from their like in other cells."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.stem4d.repeat import lattice_vectors, unrepeated, unusual

FloatArray = NDArray[np.float64]

VECTORS = np.array([[0.4, 7.9], [6.9, 3.6]])  # rows and columns of positions, oblique and not whole


def maps(noise: float, seed: int = 0, defect: float = 0.0) -> FloatArray:
    """Two maps of a crystal on 48 × 60 positions, the second with another phase; a defect in the middle."""
    rng = np.random.default_rng(seed)
    place = np.stack(np.indices((48, 60)), axis=-1).astype(float)
    u, v = np.moveaxis(place @ np.linalg.inv(VECTORS), -1, 0)
    wave = [np.cos(2 * np.pi * (u + a)) + np.cos(2 * np.pi * v) + np.cos(2 * np.pi * (u - v - a)) for a in (0.0, 0.3)]
    spot = defect * np.exp(-np.sum((place - (24, 30)) ** 2, axis=-1) / 2)
    return np.stack(wave, axis=-1) + spot[..., None] + rng.normal(0, noise, (48, 60, 2))


@pytest.mark.parametrize("noise", [0.0, 1.0, 3.0])
def test_lattice_is_found(noise: float) -> None:
    found = lattice_vectors(maps(noise))
    assert found is not None
    steps = found @ np.linalg.inv(VECTORS)
    assert steps == pytest.approx(np.rint(steps), abs=0.015 + 0.01 * noise)
    assert abs(np.linalg.det(np.rint(steps))) == 1


@pytest.mark.parametrize("seed", range(6))
def test_noise_has_no_lattice(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(size=(40, 40, 2))
    assert lattice_vectors(noise) is None and unusual(noise) is None


def test_constant_maps_have_none() -> None:
    assert lattice_vectors(np.ones((20, 20, 1))) is None


def test_a_perfect_crystal_leaves_nothing() -> None:
    left = unrepeated(maps(0.0), VECTORS)
    inner = np.isfinite(left).all(axis=2)
    assert inner.mean() > 0.9
    assert np.abs(left[inner]).max() < 0.05  # of waves of 3: interpolation


def test_a_defect_weaker_than_the_cell_stands_out() -> None:
    crystal = maps(0.3, defect=1.0)
    found = unusual(crystal)
    assert found is not None
    assert np.unravel_index(int(np.nanargmax(found)), found.shape) == pytest.approx((24, 30), abs=1)
    assert np.nanmax(found) > 6
    plain = np.abs(crystal - crystal.mean(axis=(0, 1))).sum(axis=2)
    assert plain[24, 30] < np.quantile(plain, 0.99)  # in the maps themselves it is nothing special
    without = unusual(maps(0.3))
    assert without is not None and np.nanmax(without) < 5.5
