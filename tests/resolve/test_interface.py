"""Domains and boundaries on maps made by hand, and the line between two simulated stackings."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.resolve.interface import FineGrid, boundary_line, find_domains, fine_grids
from picostem.resolve.lattice import power_spectrum
from picostem.resolve.orient import Setting, fit_setting
from picostem.resolve.stacking import Stackings

from .made import BOUNDARY, MOS2, OPTICS, OTHER_SLIP, PIXEL_SIZE, RES2, SLIP, centred, make_lattice, two_halves

FloatArray = NDArray[np.float64]
PAIR = Stackings((RES2, RES2))


def two_sided(rows: int = 6, cols: int = 9, border: int = 5) -> FloatArray:
    """Slips of a grid whose stacking changes at a column; in between, all signs and lattice vectors."""
    rng = np.random.default_rng(0)
    slips = np.where((np.arange(cols) < border)[None, :, None], SLIP, OTHER_SLIP) * np.ones((rows, cols, 2))
    slips = slips * rng.choice([-1, 1], (rows, cols, 1)) + rng.integers(-1, 2, (rows, cols, 2)) @ RES2.cell
    return (slips + rng.normal(0, 0.01, slips.shape)).reshape(-1, 1, 2)


class TestDomains:
    ok = np.ones(54, dtype=bool)

    def test_like_slips_belong_together_the_most_first(self) -> None:
        labels = find_domains(two_sided(), self.ok, (6, 9), PAIR).reshape(6, 9)
        assert (labels[:, :5] == 0).all()
        assert (labels[:, 5:] == 1).all()
        other = find_domains(two_sided(border=3), self.ok, (6, 9), PAIR).reshape(6, 9)
        assert (other[:, :3] == 1).all()

    def test_windows_that_cannot_be_trusted_are_left_out(self) -> None:
        ok = self.ok.copy()
        ok[7] = False
        labels = find_domains(two_sided(), ok, (6, 9), PAIR)
        assert labels[7] == -1
        assert (labels[ok] >= 0).all()

    def test_a_stray_window_is_no_domain(self) -> None:
        slips = two_sided(border=9)
        slips[20] = OTHER_SLIP
        labels = find_domains(slips, self.ok, (6, 9), PAIR)
        assert labels[20] == -1
        assert labels.max() == 0

    def test_one_stacking_in_two_places_is_one_domain(self) -> None:
        slips = two_sided(border=9).reshape(6, 9, 2)
        slips[:, 4] = OTHER_SLIP
        labels = find_domains(slips.reshape(-1, 1, 2), self.ok, (6, 9), PAIR).reshape(6, 9)
        assert (labels[:, [0, 1, 2, 3, 5, 6, 7, 8]] == 0).all()
        assert (labels[:, 4] == 1).all()

    def test_smooth_variation_is_one_domain(self) -> None:
        slips = SLIP + np.arange(54)[:, None] % 9 * np.array([0.1, 0.0])
        assert (find_domains(slips[:, None], self.ok, (6, 9), PAIR) == 0).all()

    def test_of_one_window_and_of_none(self) -> None:
        assert find_domains(SLIP[None, None], np.ones(1, bool), (1, 1), PAIR).tolist() == [0]
        assert (find_domains(two_sided(), ~self.ok, (6, 9), PAIR) == -1).all()


class TestFineGrids:
    starts = (np.arange(6) * 80, np.arange(9) * 80)
    setting: Any = SimpleNamespace(lattice=make_lattice(MOS2))

    def test_cover_the_boundary_alone(self) -> None:
        labels = find_domains(two_sided(), np.ones(54, bool), (6, 9), PAIR)
        (grid,) = fine_grids(labels, self.starts, self.setting)
        assert grid.domains == (0, 1)
        rows, cols = grid.starts
        assert (cols[0], cols[-1]) == (4 * 80, 5 * 80)
        assert (rows[0], rows[-1]) == (0, 400)
        step = np.diff(cols) * PIXEL_SIZE
        assert step.max() <= 1.2  # Å; 1 Å is asked for, in whole pixels
        assert step.min() > 0.5

    def test_across_windows_that_could_not_be_resolved(self) -> None:
        ok = np.ones((6, 9), dtype=bool)
        ok[:, 4:6] = False
        labels = find_domains(two_sided(), ok.ravel(), (6, 9), PAIR)
        (grid,) = fine_grids(labels, self.starts, self.setting)
        assert (grid.starts[1][0], grid.starts[1][-1]) == (3 * 80, 6 * 80)

    def test_are_wider_where_the_boundary_is_long(self) -> None:
        labels = find_domains(two_sided(), np.ones(54, bool), (6, 9), PAIR)
        wide = (self.starts[0] * 40, self.starts[1] * 40)
        (grid,) = fine_grids(labels, wide, self.setting)
        assert len(grid.starts[0]) * len(grid.starts[1]) < 4400  # 4000 and rounding up

    def test_one_domain_has_no_boundary(self) -> None:
        assert fine_grids(np.zeros(54, dtype=int), self.starts, self.setting) == []
        assert fine_grids(np.full(54, -1), self.starts, self.setting) == []


@pytest.fixture(scope="module")
def setting() -> Setting:
    data = centred(two_halves())
    return fit_setting(data, power_spectrum(data), make_lattice(RES2), (RES2, RES2), 20.0, OPTICS)


class TestBoundaryLine:
    slips = np.array([SLIP, OTHER_SLIP])[:, None] @ np.linalg.inv(RES2.cell)

    def line(self, setting: Setting, slips: FloatArray) -> FloatArray:
        cols = np.arange(120, 240, 6)
        grid = FineGrid((np.arange(0, 113, 14), cols), (0, 1))
        return boundary_line(centred(two_halves()), setting, grid, slips) * setting.lattice.pixel_size

    def test_lies_where_both_explain_alike(self, setting: Setting) -> None:
        line = self.line(setting, self.slips)
        assert np.sqrt(np.mean((line[:, 0] - BOUNDARY) ** 2)) < 3  # Å; as asked of boundaries
        assert np.ptp(line[:, 1]) > 10
        # signs and order of the slips do not matter
        again = self.line(setting, -self.slips[::-1])
        assert np.sqrt(np.mean((again[:, 0] - BOUNDARY) ** 2)) < 3

    def test_is_nowhere_if_one_explains_all(self, setting: Setting) -> None:
        worse = np.array([self.slips[0], self.slips[0] + 0.4])
        cols = np.arange(0, 60, 10)
        grid = FineGrid((np.arange(0, 100, 20), cols), (0, 1))
        line = boundary_line(centred(two_halves()), setting, grid, worse)
        assert line.shape == (0, 2)
