"""Columns of two images matched: what is missing, added or moved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.bench.style_peaks import columns, match_columns
from picostem.errors import DataError
from picostem.style.picture import Picture
from picostem.style.pool import simulate_pool
from tests.bench.made_style import PX

FloatArray = NDArray[np.float64]


def dots(positions: FloatArray, heights: FloatArray, side: int = 200) -> Picture:
    """Columns 1 Å wide at positions (row, column) in pixels."""
    y, x = np.mgrid[:side, :side]
    data = np.zeros((side, side))
    for (row, column), height in zip(positions, heights, strict=True):
        data += height * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 3.5**2))
    return Picture(data.astype(np.float32), PX, 0.0, 1.0, "dots")


def grid(step: int = 24) -> FloatArray:
    """Positions on a square grid well inside 200 pixels, 2.9 Å apart."""
    axis = np.arange(28.0, 173.0, step)
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)


def test_equal_images_have_equal_columns() -> None:
    places = grid()
    one = dots(places, np.full(len(places), 1.0))
    matched = match_columns(one, one)
    assert (matched.count, matched.invented, matched.lost) == (len(places), 0, 0)
    assert matched.displacement < 1e-12  # Å: the greys are fitted, which rounds
    np.testing.assert_allclose(columns(one.data.astype(float), PX), places, atol=1e-4)


def test_a_column_that_is_missing_or_added_is_counted() -> None:
    places = grid()
    heights = np.full(len(places), 1.0)
    clean = dots(places, heights)
    fewer, more = heights.copy(), np.r_[heights, 0.9]
    fewer[20] = 0.2
    assert match_columns(dots(places, fewer), clean).lost == 1
    assert match_columns(dots(places, fewer), clean).invented == 0
    between = places[20] + 12.0
    added = match_columns(dots(np.r_[places, between[None]], more), clean)
    assert (added.invented, added.lost) == (1, 0)


def test_columns_moved_by_a_known_distance() -> None:
    """0.2 Å to the right, by 5/3 of a pixel: the parabola through three pixels is right to 0.005 Å."""
    places = grid()
    heights = np.full(len(places), 1.0)
    moved = match_columns(dots(places + (0, 0.2 / PX), heights), dots(places, heights))
    assert moved.displacement == pytest.approx(0.2, abs=0.005)
    assert moved.mean_displacement == pytest.approx(0.2, abs=0.005)
    assert (moved.lost, moved.invented) == (0, 0)


def test_noise_and_another_contrast_neither_add_nor_take_columns() -> None:
    """Crystals of ReS2 at the noise of an experiment, 7 % of the range: 200 columns and more in each of 3."""
    for one in simulate_pool("ReS2", 3, pixel_size=PX, extent=36.0, seed=5):
        noise = np.random.default_rng(6).standard_normal(one.picture.data.shape)
        grainy = replace(one.picture, data=(0.6 * one.picture.data + 0.2 + 0.6 * 0.07 * noise).astype(np.float32))
        matched = match_columns(grainy, one.picture)
        assert matched.count > 50
        assert (matched.lost, matched.invented) == (0, 0)
        assert 0 < matched.displacement < 0.1  # Å


def test_columns_of_different_grids_are_refused() -> None:
    one = dots(grid(), np.ones(len(grid())))
    with pytest.raises(DataError, match="one shape and pixel size"):
        match_columns(replace(one, pixel_size=0.1), one)
    with pytest.raises(DataError, match="image of atoms"):
        match_columns(one, replace(one, data=np.zeros_like(one.data)))
