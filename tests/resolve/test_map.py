"""The map: its scatter against its errors, domains and their means."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.resolve.map import Mapping, _likely_slips, inflated
from picostem.resolve.settings import Settings
from picostem.resolve.stacking import Stackings

from .made import KNOWN, PIXEL_SIZE, RES2, SLIP, fitted, make_lattice

FloatArray = NDArray[np.float64]
PAIR = Stackings((RES2, RES2))
COVARIANCE = np.array([[4e-4, 1e-4], [1e-4, 2e-4]])


def made(slips: FloatArray, grid: tuple[int, int], stride_nm: float = 2.0) -> Any:
    """A mapping of windows of 2 nm with these slips, all of one domain."""
    count = len(slips)
    mapping: Any = Mapping.__new__(Mapping)
    mapping.slips = slips[:, None]
    mapping.labels = np.zeros(count, dtype=int)
    mapping.starts = (np.arange(grid[0]), np.arange(grid[1]))
    mapping.settings = Settings("ReS2", stride_nm=stride_nm)
    mapping.stackings = PAIR
    mapping.typical = 1.0
    mapping.setting = SimpleNamespace(window=round(20 / PIXEL_SIZE), lattice=make_lattice(RES2))
    mapping.coarse = SimpleNamespace(
        covariance=np.tile(COVARIANCE, (count, 1, 1)), chi2=np.ones(count), source=np.zeros(count, dtype=int)
    )
    return mapping


def noise(count: int, factor: float = 1.0, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).multivariate_normal((0, 0), factor * COVARIANCE, count)


class TestScatter:
    grid = (30, 30)

    def test_pure_noise_is_not_inflated(self) -> None:
        # some 600 triples: the median of chi² varies by 6 %; below 1 is set to 1
        assert 1 <= made(SLIP + noise(900), self.grid).scatter() < 1.15

    def test_excess_is_measured(self) -> None:
        for factor in (2.0, 9.0):
            assert made(SLIP + noise(900, factor), self.grid).scatter() == pytest.approx(factor, rel=0.2)

    def test_smooth_variation_is_no_scatter(self) -> None:
        rows, cols = np.divmod(np.arange(900), 30)
        slope = np.stack([0.05 * cols, 0.03 * rows - 0.02 * cols], axis=1)
        assert made(SLIP + slope + noise(900), self.grid).scatter() < 1.15

    def test_signs_and_lattice_vectors_do_not_matter(self) -> None:
        rng = np.random.default_rng(1)
        slips = (SLIP + noise(900)) * rng.choice([-1, 1], (900, 1)) + rng.integers(-1, 2, (900, 2)) @ RES2.cell
        assert made(slips, self.grid).scatter() == pytest.approx(made(SLIP + noise(900), self.grid).scatter())

    def test_overlapping_windows_are_taken_a_width_apart(self) -> None:
        """Each window is the mean of those around it: neighbours are alike, those two strides apart are not."""
        fine = noise(62 * 62).reshape(62, 62, 2)
        sums = fine[:-1, :-1] + fine[1:, :-1] + fine[:-1, 1:] + fine[1:, 1:]
        slips = SLIP + sums[:60, :60].reshape(-1, 2) / 2
        # 3600 windows, a quarter of them disjoint
        assert made(slips, (60, 60), stride_nm=1.0).scatter() == pytest.approx(1, abs=0.15)

    def test_the_odd_defect_does_not_count(self) -> None:
        slips = SLIP + noise(900)
        slips[::97] += 0.8
        assert made(slips, self.grid).scatter() < 1.3  # a tenth of the triples touch one

    def test_few_windows_tell_nothing(self) -> None:
        assert made(SLIP + noise(4, 100.0), (2, 2)).scatter() == 1

    def test_lines_across_a_boundary_are_left_out(self) -> None:
        mapping = made(SLIP + noise(900), self.grid)
        right = np.arange(900) % 30 >= 15
        mapping.slips[right] += 1.5
        mapping.labels[right] = 1
        assert mapping.scatter() < 1.2


def test_scatter_of_a_simulated_image_is_one() -> None:
    data, setting = fitted()
    mapping = Mapping(data, setting, Settings("ReS2", stride_nm=0.5, **KNOWN), None)  # type: ignore[arg-type]
    assert len(mapping.slips) == len(mapping.starts[0]) * len(mapping.starts[1])
    assert (mapping.labels == 0).all()
    assert mapping.scatter() < 1.5
    assert PAIR.distance(mapping.main_slip(), SLIP[None]) < 0.02
    assert mapping.typical == pytest.approx(setting.fit.chi2_reduced, rel=0.2)
    (slip_map,) = mapping.finish(SLIP[None], None)
    assert slip_map.interface == 1
    assert len(slip_map) == len(mapping.slips)
    assert "domains" in repr(slip_map)
    np.testing.assert_allclose(slip_map.slip, np.broadcast_to(SLIP, slip_map.slip.shape), atol=0.1)
    # pixels and Å of one place
    rows, cols = data.shape
    np.testing.assert_allclose(slip_map.position[:, 0], (slip_map.col - (cols - 1) / 2) * setting.lattice.pixel_size)
    np.testing.assert_allclose(slip_map.position[:, 1], ((rows - 1) / 2 - slip_map.row) * setting.lattice.pixel_size)
    # overlapping windows share their electrons: the mean is no surer than from disjoint ones
    (domain,) = slip_map.domains
    naive = np.linalg.inv(np.linalg.inv(slip_map.covariance).sum(axis=0))
    assert (np.linalg.eigvalsh(domain.slip_covariance - 4 * naive) > 0).all()


@pytest.mark.parametrize(
    ("sources", "told", "doubted"),
    [([0, 0, 0, 1], False, False), ([1, 1, 0, 0], True, False), ([1, 1, 2, 2], True, False), ([2] * 4, True, True)],
)
def test_who_says_what_the_largest_domain_is(sources: list[int], told: bool, doubted: bool) -> None:
    """The first three windows are of the largest domain."""
    mapping = made(np.tile(SLIP, (4, 1)), (2, 2))
    source = np.array(sources)
    mapping.coarse = SimpleNamespace(source=source, take=lambda index: SimpleNamespace(source=source[index]))
    mapping.labels = np.array([0, 0, 0, 1])
    assert (mapping.told(), mapping.doubted()) == (told, doubted)


def test_poor_windows_are_less_certain() -> None:
    four = np.tile(COVARIANCE, (4, 1, 1))
    # the last one's slip is a network's, and so is its covariance, which needs no correction
    fits: Any = SimpleNamespace(covariance=four, chi2=np.array([0.5, 1.5, 4.0, 9.0]), source=np.array([0, 0, 0, 1]))
    for typical, factors in ((0.8, (1.0, 1.5, 4.0, 1.0)), (2.0, (2.0, 2.0, 4.0, 1.0))):
        np.testing.assert_allclose(inflated(fits, typical), np.array(factors)[:, None, None] * COVARIANCE)


def test_likely_slips_are_each_named_once() -> None:
    cell = RES2.cell
    slips = np.array([SLIP, SLIP + (0.05, 0.0), -SLIP + cell[0], SLIP + (0.6, 0.4)])
    setting: Any = SimpleNamespace(
        model=SimpleNamespace(cell=cell),
        fit=SimpleNamespace(state=SimpleNamespace(slips=(slips @ np.linalg.inv(cell))[:, None])),
    )
    found = _likely_slips(setting, PAIR) @ cell
    assert len(found) == 2
    assert (PAIR.distance(found, np.array([SLIP, slips[3]])[:, None]) < 1e-6).all()
