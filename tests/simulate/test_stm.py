"""Drawn scanning tunnelling images: what single sites, tips, edges and noise look like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from picostem.errors import UsageError
from picostem.simulate.stm import (
    Sites,
    Step,
    StmSettings,
    Tip,
    lattice_places,
    scan_surface,
    site_shape,
    with_noise,
)

POINT = Tip(width=0.0)
SHAPE, PIXEL = (81, 101), 0.4
EMPTY = np.empty(0)
NONE = Sites(np.empty((0, 2)), EMPTY, EMPTY, EMPTY, np.empty((0, 1), complex), np.empty(0, int))


def sites(x: float = 0.0, y: float = 0.0, height: float = 1.0, lobes: tuple[complex, ...] = (0,)) -> Sites:
    one = np.ones(1)
    return Sites(np.array([[x, y]]), height * one, 1.5 * one, 0 * one, np.array([lobes], complex), np.array([3]))


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_a_site_is_where_and_what_it_says() -> None:
    scan = scan_surface(sites(4.0, 8.0), POINT, StmSettings(), SHAPE, PIXEL, rng())
    assert scan.place[0] == pytest.approx([40 - 20, 50 + 10])  # y is up, rows go down
    assert scan.heights[20, 60] == pytest.approx(1.0, abs=1e-4)  # of the spline
    assert scan.heights[20, 65] == pytest.approx(np.exp(-((2.0 / 1.5) ** 2) / 2), abs=1e-4)
    assert scan.sites.state.tolist() == [3]


@pytest.mark.parametrize(("order", "angle"), [(1, 0.0), (1, 90.0), (2, 90.0), (3, 30.0), (3, 90.0)])
def test_lobes_point_where_they_say(order: int, angle: float) -> None:
    lobes = np.zeros(3, complex)
    lobes[order - 1] = 0.3 * np.exp(1j * order * np.deg2rad(angle))
    around = np.deg2rad(np.arange(0.0, 360.0, 5.0))
    value = site_shape(np.stack([np.cos(around), np.sin(around)]), 0.0, lobes)
    top = around[np.isclose(value, value.max())]
    expected = np.deg2rad(angle + 360 / order * np.arange(order)) % (2 * np.pi)
    assert np.sort(np.rad2deg(top)) == pytest.approx(np.sort(np.rad2deg(expected)))
    assert value.max() == pytest.approx(np.exp(-0.5) * 1.3)


def test_a_rim_is_lowest_in_the_middle() -> None:
    u = np.stack([np.array([0.0, 1.0, 3.0]), np.zeros(3)])
    middle, rim, outside = site_shape(u, 1.0, np.zeros(1, complex))
    assert outside < middle == 1.0 < rim == pytest.approx(2 * np.exp(-0.5))


def test_a_blunt_tip_widens_a_gaussian_and_its_dipole() -> None:
    scan = scan_surface(sites(lobes=(0.2j,)), Tip(width=0.8), StmSettings(), SHAPE, PIXEL, rng())
    wide = np.hypot(1.5, 0.8)
    up = np.arange(40, -41, -1) * PIXEL / wide
    expected = (1.5 / wide) ** 2 * np.exp(-(up**2) / 2) * (1 + 0.2 * 1.5 / wide * up)
    assert scan.heights[:, 50] == pytest.approx(expected, abs=1e-4)


def test_an_oblong_tip_is_long_along_its_direction() -> None:
    tip = Tip(width=0.5, elongation=3.0, direction=np.pi / 2)  # along y
    heights = scan_surface(sites(), tip, StmSettings(), SHAPE, PIXEL, rng()).heights
    assert heights[45, 50] > 1.2 * heights[40, 55]


def test_a_second_apex_shows_the_surface_again() -> None:
    tip = Tip(width=0.3, further=((6.0, 0.0, 1.0),))
    low, high = (scan_surface(sites(height=h), tip, StmSettings(), SHAPE, PIXEL, rng()).heights for h in (0.01, 8.0))
    blunt = 1.5**2 / (1.5**2 + 0.3**2)
    assert low[40, [50, 65]] == pytest.approx(0.005 * blunt, rel=0.02)  # each apex half of the current: the mean
    assert high[40, [50, 65]] == pytest.approx(8 * blunt - np.log(2) / 2, abs=0.05)  # the nearer apex takes it all


def test_steps_rise_and_the_tip_keeps_their_height() -> None:
    settings = StmSettings(steps=(Step(2.0, direction=0.0, distance=4.0),))
    heights = scan_surface(NONE, Tip(further=((2.0, 1.0, 0.4),)), settings, SHAPE, PIXEL, rng()).heights
    assert heights[:, :40] == pytest.approx(0.0, abs=1e-4)
    assert heights[:, 85:] == pytest.approx(2.0, abs=1e-4)


def test_drift_moves_sites_to_where_the_scan_meets_them() -> None:
    settings = StmSettings(drift=((1.05, 0.1), (-0.02, 0.97)))
    scan = scan_surface(sites(6.0, -5.0), POINT, settings, SHAPE, PIXEL, rng())
    row, col = np.unravel_index(scan.heights.argmax(), SHAPE)
    assert scan.place[0] == pytest.approx([row, col], abs=0.75)
    x, y = (scan.place[0, 1] - 50) * PIXEL, (40 - scan.place[0, 0]) * PIXEL
    assert np.asarray(settings.drift) @ [x, y] == pytest.approx([6.0, -5.0])


def test_noise_has_the_size_and_order_it_says() -> None:
    flat = scan_surface(NONE, POINT, StmSettings(), (256, 256), PIXEL, rng())
    assert np.all(flat.heights == 0)
    white = with_noise(flat, StmSettings(noise=0.1), rng()).heights
    assert white.std() == pytest.approx(0.1, rel=0.02)  # 65536 draws: 0.3 %
    rows = with_noise(flat, StmSettings(line_offset=0.1), rng()).heights
    assert np.all(np.ptp(rows, axis=1) == 0) and rows[:, 0].std() == pytest.approx(0.1, rel=0.2)  # 256 draws
    pink = with_noise(flat, StmSettings(pink=0.1), rng()).heights.astype(float)
    assert pink.std() == pytest.approx(0.1, rel=1e-4)
    power = np.mean(np.abs(np.fft.rfft(pink - pink.mean(axis=1, keepdims=True), axis=1)) ** 2, axis=0)
    slope = np.polyfit(np.log(np.arange(4, 64)), np.log(power[4:64]), 1)[0]
    assert slope == pytest.approx(-1, abs=0.2)  # leakage of the row's ends makes it a little flatter or steeper
    streaks = with_noise(flat, StmSettings(streaks=0.5, streak_height=1.0, streak_length=5.0), rng()).heights
    assert np.mean(streaks != 0) == pytest.approx(0.5 * 5 / 256, rel=0.4)  # 128 streaks of random length
    tilted = with_noise(flat, StmSettings(tilt=(0.01, -0.02)), rng()).heights
    assert np.diff(tilted, axis=1) == pytest.approx(0.01 * PIXEL, abs=1e-5)
    assert np.diff(tilted, axis=0) == pytest.approx(0.02 * PIXEL, abs=1e-5)


def test_one_kind_of_noise_does_not_change_another_and_seeds_decide() -> None:
    flat = scan_surface(NONE, POINT, StmSettings(), SHAPE, PIXEL, rng())
    both = StmSettings(noise=0.1, line_offset=0.2)
    parts = [with_noise(flat, one, rng()).heights for one in (replace(both, noise=0), replace(both, line_offset=0))]
    together = with_noise(flat, both, rng()).heights
    assert together == pytest.approx(sum(parts), abs=1e-6)
    assert np.array_equal(together, with_noise(flat, both, rng()).heights)
    assert not np.array_equal(together, with_noise(flat, both, np.random.default_rng(8)).heights)


def test_lattice_places() -> None:
    place = lattice_places(np.array([[2.0, 0.0], [1.0, 2.0]]), (8.0, 4.0))
    assert len(place) == 5 + 4 + 4  # rows at y = 0 and ±2, of x even and odd
    assert np.all(np.abs(place) <= [4, 2])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Tip(elongation=0.5),
        lambda: Tip(decay=0.0),
        lambda: StmSettings(noise=-1.0),
        lambda: StmSettings(pink=np.nan),
        lambda: StmSettings(streak_length=0.0),
        lambda: StmSettings(drift=((1.0, 1.0), (1.0, 1.0))),
        lambda: replace(sites(), width=np.zeros(1)),
        lambda: replace(sites(), height=np.ones(2)),
        lambda: scan_surface(sites(), POINT, StmSettings(), SHAPE, 0.0, rng()),
    ],
)
def test_bad_input(make: Callable[[], object]) -> None:
    with pytest.raises(UsageError):
        make()
