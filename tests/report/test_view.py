"""Cutting, binning and scaling images for display, and the noise that residuals are measured by."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from picostem.report.view import View, detail_of, grey_limits, noise_level, noise_slope, pixel_size, residual, whole
from picostem.resolve.result import Result


def numbered(rows: int, cols: int) -> View:
    """A view whose pixel values are their numbers, 0.5 Å wide and 2 Å high each, with its corner at (-3, 7)."""
    data = np.arange(rows * cols, dtype=np.float32).reshape(rows, cols)
    return View(data, (-3.0, -3.0 + 0.5 * cols, 7.0 - 2.0 * rows, 7.0))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(2, 12))
def test_binning_is_the_mean_of_blocks(rows: int, cols: int, limit: int) -> None:
    view = numbered(rows, cols)
    small = view.binned(limit)
    step = -(-max(rows, cols) // limit)
    if step == 1 or min(rows, cols) < step:
        assert small is view
        return
    m, n = small.data.shape
    assert (m, n) == (rows // step, cols // step)
    oracle = [
        [view.data[step * i : step * i + step, step * j : step * j + step].mean() for j in range(n)] for i in range(m)
    ]
    # Rounding of float32 sums of up to 40² values below 1600.
    np.testing.assert_allclose(small.data, oracle, rtol=1e-5)
    # The pixels that are kept stay where they are: the upper left corner, and the size of a pixel times the step.
    assert (small.extent[0], small.extent[3]) == (view.extent[0], view.extent[3])
    assert small.width == pytest.approx(0.5 * step * n)
    assert small.extent[3] - small.extent[2] == pytest.approx(2.0 * step * m)


@given(st.floats(-20, 20), st.floats(-20, 20), st.integers(1, 12))
def test_a_cut_lies_within_the_image_where_it_says(x: float, y: float, side: int) -> None:
    view = View(np.arange(12 * 16, dtype=np.float32).reshape(12, 16), (-8.0, 8.0, -6.0, 6.0))
    part = view.cut(np.array([x, y]), float(side))
    left, right, bottom, top = part.extent
    assert part.data.shape == (side, side)
    assert -8 <= left < right <= 8
    assert -6 <= bottom < top <= 6
    # With pixels of 1 Å, the first pixel's number follows from the corner of the extent.
    assert part.data[0, 0] == (6 - top) * 16 + (left + 8)
    if side / 2 <= x + 8 <= 16 - side / 2:
        # Cuts begin at whole pixels.
        assert abs((left + right) / 2 - x) <= 0.5 + 1e-9


def test_a_cut_larger_than_the_image_is_the_image() -> None:
    view = numbered(4, 6)
    assert view.cut(np.zeros(2), 1e3).extent == view.extent


def test_the_whole_image_is_centred_and_measured_by_the_lattice(slip_result: Result) -> None:
    assert slip_result.image.pixel_size == (0.12, 0.12)
    # 256 pixels.
    np.testing.assert_allclose(whole(slip_result).extent, np.array([-1, 1, -1, 1]) * 15.36)
    stretched = replace(slip_result, pixel_size_lattice=0.125)
    np.testing.assert_allclose(whole(stretched).extent, np.array([-1, 1, -1, 1]) * 16.0)


def test_pixel_size_without_lattice_or_calibration(unresolved_result: Result) -> None:
    assert pixel_size(unresolved_result) == (1.0, 1.0)
    calibrated = replace(unresolved_result, image=unresolved_result.image.with_pixel_size((0.1, 0.2), "file"))
    assert pixel_size(calibrated) == (0.1, 0.2)


def test_the_detail_avoids_windows_that_are_not_ok(slip_result: Result) -> None:
    assert slip_result.map is not None
    centre, side = detail_of(slip_result)
    assert np.linalg.norm(centre) == pytest.approx(np.linalg.norm(slip_result.map.position, axis=1).min())
    nearest = np.linalg.norm(slip_result.map.position - centre, axis=1).argmin()
    status = slip_result.map.status.copy()
    status[nearest] = "untrusted"
    moved, _ = detail_of(replace(slip_result, maps=(replace(slip_result.map, status=status),)))
    assert np.linalg.norm(moved - centre) > 1
    # Six cells of ReS2, 36.5 Å² each.
    assert side == pytest.approx(6 * np.sqrt(slip_result.layers[0].monolayer.area))


def test_the_detail_shows_the_interfaces_stacking(domain_result: Result) -> None:
    assert domain_result.map is not None
    other = domain_result.map.domains[1]
    shown = replace(domain_result.interfaces[0], slip=other.slip)
    centre, _ = detail_of(replace(domain_result, interfaces=(shown,)))
    distance = np.linalg.norm(domain_result.map.position - centre, axis=1)
    # 0.1 Å: eight standard deviations of a window, a twentieth of the distance between the domains.
    assert np.linalg.norm(domain_result.map.slip[distance.argmin()] - other.slip) < 0.1


def test_the_detail_of_a_twist_is_any_window_that_is_ok(field_result: Result) -> None:
    (one,) = field_result.maps
    centre, side = detail_of(field_result)
    ok = one.position[one.status == "ok"]
    assert np.linalg.norm(centre) == pytest.approx(np.linalg.norm(ok, axis=1).min())
    # Six cells of MoS2.
    assert side == pytest.approx(6 * np.sqrt(field_result.layers[0].monolayer.area))


def test_the_detail_of_three_layers_suits_both_interfaces(trilayer_result: Result) -> None:
    lower, upper = trilayer_result.maps
    centre, _ = detail_of(trilayer_result)
    nearest = np.linalg.norm(upper.position - centre, axis=1).argmin()
    status = upper.status.copy()
    status[nearest] = "untrusted"
    moved, _ = detail_of(replace(trilayer_result, maps=(lower, replace(upper, status=status))))
    # Where only the upper interface is lost, another window is shown.
    assert np.linalg.norm(moved - centre) > 1


def test_grey_limits_leave_out_outliers() -> None:
    data = np.random.default_rng(1).normal(100, 1, (300, 300)).astype(np.float32)
    data[0, 0], data[-1, -1] = 1e6, -1e6
    low, high = grey_limits(data)
    # 0.3 and 99.7 % of a normal distribution are at 2.75 σ; 0.2: their statistical error from 10^5 values, times four.
    np.testing.assert_allclose((low, high), (97.25, 102.75), atol=0.2)


def test_grey_limits_of_a_constant_image_differ() -> None:
    low, high = grey_limits(np.full((40, 40), 3.0, dtype=np.float32))
    assert low < high


@pytest.mark.parametrize("shape", [(256, 256), (300, 211), (700, 640)])
def test_noise_level_of_white_noise(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(4).normal(5, 2.5, shape).astype(np.float32)
    # The median of n |FT|² has a relative error of 1.44/sqrt(n), a window makes neighbours alike and doubles it, and
    # the square root halves it: three times that of 30 000.
    assert noise_level(noise) == pytest.approx(2.5, rel=0.025)


def test_noise_level_does_not_see_a_lattice() -> None:
    noise = np.random.default_rng(5).normal(0, 1, (256, 256))
    y, x = np.mgrid[:256, :256]
    lattice = 4 * np.cos(2 * np.pi * (0.071 * x + 0.022 * y)) + 4 * np.cos(2 * np.pi * (0.013 * x + 0.083 * y))
    assert lattice.std() > 3
    # As without a lattice, and the coefficients next to its four spots, 0.3 % of their rings.
    assert noise_level((noise + lattice).astype(np.float32)) == pytest.approx(1.0, rel=0.02)


def test_noise_slope_of_counted_electrons_is_one_over_the_mean() -> None:
    rng = np.random.default_rng(6)
    y, x = np.mgrid[:400, :400]
    expected = (12 + 10 * np.sin(x / 5) * np.sin(y / 6)).astype(np.float32)
    counted = (3 * rng.poisson(expected)).astype(np.float32) + 50
    simulated = 3 * expected + 50
    # Variance 9 N at an intensity of 3 N + 50: slope 3 over the mean variance 9 · 12. 5 %: 160 000 squares of which
    # each is uncertain by 140 %, and their spread in N.
    assert noise_slope(counted - simulated, simulated) == pytest.approx(3 / (9 * 12), rel=0.05)


def test_noise_slope_of_constant_noise_is_nothing() -> None:
    rng = np.random.default_rng(7)
    expected = (12 + 10 * np.sin(np.arange(400) / 5) * np.ones((400, 1))).astype(np.float32)
    noise = rng.normal(0, 1, (400, 400)).astype(np.float32)
    # 1/12 for counted electrons; 0.002 is three standard errors of a slope of 160 000 squares over a range of 20.
    assert noise_slope(noise, expected) < 0.002


def test_the_residual_of_a_perfect_model_is_white_with_unit_variance(slip_result: Result) -> None:
    values = residual(slip_result).data
    bright = slip_result.simulated is not None and slip_result.simulated > np.median(slip_result.simulated)
    # 256² pixels, not binned. 0.03: errors of noise level and slope, 1 % and 5 %.
    assert values.std() == pytest.approx(1.0, abs=0.03)
    assert values[bright].std() == pytest.approx(1.0, abs=0.05)
    assert values[~np.asarray(bright)].std() == pytest.approx(1.0, abs=0.05)


def test_the_residual_shows_a_missing_atom_column(slip_result: Result) -> None:
    assert slip_result.simulated is not None
    data = slip_result.image.data.copy()
    data[100:108, 60:68] -= 0.5 * slip_result.simulated.max()
    image = replace(slip_result.image, data=data)
    values = residual(replace(slip_result, image=image)).data
    assert values[100:108, 60:68].mean() < -2


def test_an_image_that_is_its_own_model_has_no_residual(slip_result: Result) -> None:
    perfect = replace(slip_result, simulated=slip_result.image.data)
    assert not residual(perfect).data.any()
