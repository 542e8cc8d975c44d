"""From images to tables: how many atoms, where, in which units; and images that have none or cannot be used."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.spatial import cKDTree

from picostem.atoms.find import find_atoms, fit_atoms
from picostem.atoms.table import AtomTable
from picostem.errors import ImageError, UsageError
from picostem.image import Image
from tests.atoms.made import FloatArray, expected, grid, image

ROUND = np.diag([4.0, 4.0])


def _counts(
    place: FloatArray, intensity: float, shape: tuple[int, int], seed: int = 1, background: float = 1.0
) -> FloatArray:
    mean = expected(place, np.full(len(place), intensity), ROUND, shape, background)
    return np.random.default_rng(seed).poisson(mean).astype(float)


def _distances(table: AtomTable, place: FloatArray) -> FloatArray:
    return cKDTree(np.column_stack([table.row, table.col])).query(place)[0]


@pytest.mark.parametrize("pixel_size", [0.15, None])
def test_all_atoms_of_a_lattice_and_no_others(pixel_size: float | None) -> None:
    place, shape = grid(9, 14, 13.0, np.random.default_rng(2))
    table = find_atoms(image(_counts(place, 400.0, shape), pixel_size))
    assert len(table) == len(place)
    assert _distances(table, place).max() < 1.0
    # 126 peaks of 400 counts: the common width to 1/sqrt(4 · 50 400), 0.2 %
    assert table.width[0] == pytest.approx(2.0, rel=0.02)
    assert table.chi2.mean() == pytest.approx(1.0, abs=0.1)
    assert table.intensity.mean() == pytest.approx(400.0, rel=0.02)
    assert table.background.mean() == pytest.approx(1.0, abs=0.1)


def test_scattered_atoms() -> None:
    rng = np.random.default_rng(3)
    place = rng.uniform(10, 190, (40, 2))
    place = place[[all(np.hypot(*(p - q)) > 9 for q in place[:k]) for k, p in enumerate(place)]]
    table = find_atoms(image(_counts(place, 500.0, (200, 200))))
    assert len(table) == len(place)
    assert _distances(table, place).max() < 1.0


def test_dumbbells_stay_two() -> None:
    """0.8 Å apart at 0.16 Å per pixel, peaks of 0.75 Å full width at half height."""
    middle, shape = grid(6, 7, 22.0, np.random.default_rng(4))
    place = np.concatenate([middle - [0, 2.5], middle + [0, 2.5]])
    table = find_atoms(image(_counts(place, 2000.0, shape), 0.16))
    assert len(table) == len(place)
    assert _distances(table, place).max() < 1.0


def test_noise_holds_no_atoms() -> None:
    found = [
        len(find_atoms(image(np.random.default_rng(seed).poisson(5.0, (160, 200)).astype(float)))) for seed in range(5)
    ]
    assert sum(found) <= 3  # 0.1 false ones per image are allowed for each width that is tried


def test_gain_and_offset_do_not_matter() -> None:
    place, shape = grid(8, 9, 14.0, np.random.default_rng(5))
    counts = _counts(place, 400.0, shape, background=4.0)
    plain, scaled = find_atoms(image(counts)), find_atoms(image(37.0 * counts + 5000))
    assert len(plain) == len(scaled) == len(place)
    # gain and offset are read off the noise to some per cent: the weights change a little, the places by less
    sigma = np.sqrt(plain.covariance[:, 0, 0])
    assert np.abs((plain.row - scaled.row) / sigma).max() < 0.5
    assert scaled.intensity.mean() == pytest.approx(37 * plain.intensity.mean(), rel=0.02)
    assert np.median(np.sqrt(scaled.covariance[:, 0, 0]) / sigma) == pytest.approx(1, abs=0.15)


def test_noise_alike_everywhere() -> None:
    place, shape = grid(9, 9, 14.0, np.random.default_rng(6))
    clean = expected(place, np.full(len(place), 500.0), ROUND, shape, 10.0)
    table = find_atoms(image(clean + np.random.default_rng(7).normal(0, 1.5, shape)))
    assert len(table) == len(place)
    z = (table.row - place[cKDTree(place).query(np.column_stack([table.row, table.col]))[1], 0]) / np.sqrt(
        table.covariance[:, 0, 0]
    )
    assert 0.8 < z.std() < 1.25  # 81 coordinates: 8 % is a deviation


def test_units_and_frame() -> None:
    place, shape = grid(6, 9, 14.0, np.random.default_rng(8))
    counts = _counts(place, 600.0, shape)
    table = find_atoms(Image(counts.astype(np.float32), (0.15, 0.16), "user"))
    np.testing.assert_allclose(table.col, (shape[1] - 1) / 2 + table.x_A / 0.16)
    np.testing.assert_allclose(table.row, (shape[0] - 1) / 2 - table.y_A / 0.15)
    columns = table.columns()
    np.testing.assert_allclose(columns["cov_xx_A2"], table.covariance[:, 1, 1] * 0.16**2)
    np.testing.assert_allclose(columns["cov_xy_A2"], -table.covariance[:, 0, 1] * 0.15 * 0.16)


def test_without_a_calibration_there_are_no_lengths() -> None:
    place, shape = grid(5, 6, 14.0, np.random.default_rng(9))
    table = find_atoms(image(_counts(place, 600.0, shape), None))
    assert len(table) == len(place)
    assert np.all(np.isnan(table.x_A)) and np.all(np.isfinite(table.covariance))


def test_fine_pixels_are_binned_and_places_mapped_back() -> None:
    place, shape = grid(4, 5, 48.0, np.random.default_rng(10))
    mean = expected(place, np.full(20, 3000.0), np.diag([64.0, 64.0]), shape, 0.5)
    table = find_atoms(image(np.random.default_rng(11).poisson(mean).astype(float), 0.04))
    assert len(table) == 20
    # σ/√counts is 0.15 pixels
    assert _distances(table, place).max() < 0.7
    assert table.width[0] == pytest.approx(8.0, rel=0.03)


def test_start_positions_are_refined_and_none_added() -> None:
    place, shape = grid(6, 6, 14.0, np.random.default_rng(12))
    counts = _counts(place, 500.0, shape)
    empty = np.array([[7.0, 7.0]])
    table = fit_atoms(image(counts), np.concatenate([place[:30] + 0.5, empty]))
    assert len(table) == 30
    assert _distances(table, place[:30]).max() < 1.0


@pytest.mark.parametrize("place", [np.zeros((3, 3)), np.array([[5.0, 900.0]]), np.array([[np.nan, 3.0]])])
def test_places_that_cannot_be(place: FloatArray) -> None:
    with pytest.raises(UsageError, match="shape"):
        fit_atoms(image(np.random.default_rng(1).poisson(5.0, (64, 64)).astype(float)), place)


def _spoilt(kind: str) -> FloatArray:
    data = np.random.default_rng(13).normal(100, 5, (64, 64))
    if kind == "NaN":
        data[3, 4] = np.nan
    elif kind == "clipped":
        data = np.minimum(data, 98)
    elif kind == "pixels are 7":
        data[:] = 7
    elif kind == "at least":
        data = data[:10]
    else:
        data = data[:0]
    return data


@pytest.mark.parametrize("kind", ["NaN", "clipped", "pixels are 7", "at least", "empty"])
def test_images_that_cannot_be_used(kind: str) -> None:
    with pytest.raises(ImageError, match=kind):
        find_atoms(image(_spoilt(kind)))


def test_a_table_is_frozen() -> None:
    place, shape = grid(4, 4, 14.0, np.random.default_rng(14))
    table = find_atoms(image(_counts(place, 500.0, shape)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        table.row = table.col  # type: ignore[misc]
