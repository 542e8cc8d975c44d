"""Counting, electronics and scan distortion: their statistics, their order and their independence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from picostem.errors import UsageError
from picostem.simulate import AcquisitionSettings, Microscope, acquire, simulate_periodic
from picostem.simulate.acquisition import clean_shape, landing_points, smooth_field
from picostem.structure import Stack, load_monolayer

FLAT = np.full((200, 210), 0.004, dtype=np.float32)
QUIET = AcquisitionSettings(dose=1e5)
DRIFT = ((1.004, -0.012), (0.007, 0.991))
MICROSCOPE = Microscope.from_lab_units(
    voltage_kV=300, semiangle_mrad=21.3, detector_mrad=(39, 97), C12_A=10, C21_A=80, source_fwhm_A=0.5
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_counts_are_poisson_with_read_noise() -> None:
    settings = replace(QUIET, read_noise=1.5)
    image = acquire(FLAT, FLAT.shape, 0.2, settings, rng())
    expected = 0.004 * 1e5 * 0.2**2  # 16 electrons per pixel
    standard_error = np.sqrt((expected + 1.5**2) / FLAT.size)
    assert image.mean() == pytest.approx(expected, abs=4 * standard_error)  # 4 sigma
    # A variance of n samples has a relative error of about sqrt(2/n) = 0.7 %.
    assert image.var() == pytest.approx(expected + 1.5**2, rel=0.03)


def test_gain_and_offset_come_last() -> None:
    plain = acquire(FLAT, FLAT.shape, 0.2, replace(QUIET, read_noise=0.3), rng())
    scaled = acquire(FLAT, FLAT.shape, 0.2, replace(QUIET, read_noise=0.3, gain=12.5, offset=5000.0), rng())
    np.testing.assert_allclose(scaled, 12.5 * plain + 5000, rtol=1e-6)  # float32
    assert scaled.dtype == np.float32


def test_a_seed_gives_one_image_and_another_seed_another() -> None:
    settings = AcquisitionSettings(dose=1e5, read_noise=0.2, contamination=0.3, jitter=0.02)
    clean = np.random.default_rng(9).random(clean_shape((40, 50), settings)).astype(np.float32)
    one, same, other = (acquire(clean, (40, 50), 0.2, settings, rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_counting_does_not_depend_on_what_the_scan_drew() -> None:
    """Scan noise, background and counts come from streams of their own."""
    settings = replace(QUIET, jitter=0.05)
    flat = np.full(clean_shape((60, 60), settings), 0.004, dtype=np.float32)
    still, shaken = (acquire(flat, (60, 60), 0.2, s, rng(1)) for s in (QUIET, settings))
    assert np.mean(still == shaken) > 0.99  # a flat image looks the same wherever the beam lands, but for rounding


def test_perfect_scan_takes_the_pixels_as_they_are() -> None:
    clean = np.arange(9 * 11, dtype=np.float32).reshape(9, 11)
    loud = replace(QUIET, dose=1e12)
    image = acquire(clean, (9, 11), 1e-3, loud, rng()) / (1e12 * 1e-6)
    np.testing.assert_allclose(image, clean, atol=6 * np.sqrt(99 / 1e6))  # 6 sigma of the counts
    middle = acquire(clean, (5, 7), 1e-3, loud, rng()) / (1e12 * 1e-6)
    np.testing.assert_allclose(middle, clean[2:-2, 2:-2], atol=6 * np.sqrt(99 / 1e6))


def test_oversampled_image_is_thinned() -> None:
    clean = np.add.outer(100.0 * np.arange(13), np.arange(17)).astype(np.float32)
    image = acquire(clean, (5, 7), 1e-3, replace(QUIET, dose=1e12), rng(), oversampling=2) / 1e6
    np.testing.assert_allclose(image, clean[2:-2:2, 2:-2:2], atol=6 * np.sqrt(1300 / 1e6))  # 6 sigma of the counts


def test_drifted_image_shows_the_lattice_through_the_inverse_matrix() -> None:
    layer = load_monolayer("ReS2")
    settings = AcquisitionSettings(dose=1e12, drift=DRIFT)
    shape, pixel_size, oversampling = (90, 80), 0.2, 2
    field = clean_shape(shape, settings, oversampling)
    clean = simulate_periodic(Stack.of([layer]), MICROSCOPE, field, pixel_size / oversampling, rotation=0.3)
    image = acquire(clean, shape, pixel_size, settings, rng(), oversampling) / (1e12 * pixel_size**2)
    x, y = landing_points(shape, settings, rng())
    exact = np.array(
        [
            simulate_periodic(Stack.of([layer]), MICROSCOPE, (1, 1), 1.0, rotation=0.3, origin=(-px, -py))[0, 0]
            for px, py in zip(pixel_size * x.ravel()[::97], pixel_size * y.ravel()[::97], strict=True)
        ]
    )
    # Scan point p samples T p. The spline's error is stated as 0.2 % of the contrast; counts add 6 sigma = 6e-6.
    np.testing.assert_allclose(image.ravel()[::97], exact, atol=2e-3 * clean.std() + 1e-5)
    corner = np.array([39.5, 44.5])
    np.testing.assert_allclose([x[0, -1], y[0, -1]], np.array(DRIFT) @ corner)


def test_scan_noise_has_the_stated_size_and_memory() -> None:
    settings = AcquisitionSettings(jitter=0.05, jitter_memory=0.8, line_offset=0.2, line_jitter=0.07)
    x, y = landing_points((400, 500), settings, rng(5))
    dx = x - (np.arange(500) - 249.5)
    dy = y - (199.5 - np.arange(400))[:, None]
    lines = dx.mean(axis=1)
    within = dx - lines[:, None]
    # 400 lines fix a standard deviation to 1/sqrt(800) = 3.5 %: three sigma of that.
    assert lines.std() == pytest.approx(0.2, rel=0.11)
    assert dy[:, 0].std() == pytest.approx(0.07, rel=0.11)
    assert (dy == dy[:, :1]).all()
    assert within.std() == pytest.approx(0.05, rel=0.03)  # 200,000 pixels with a memory of 5: 0.5 %
    neighbours = np.mean(within[:, 1:] * within[:, :-1]) / within.var()
    assert neighbours == pytest.approx(0.8, abs=0.01)
    # Independent draws: correlations of 400 pairs are below 3/sqrt(400).
    assert abs(np.corrcoef(lines, dy[:, 0])[0, 1]) < 0.15


def test_the_clean_image_is_large_enough_for_the_scan() -> None:
    settings = AcquisitionSettings(drift=((1.05, 0.1), (-0.08, 0.97)), jitter=0.3, line_offset=0.5, line_jitter=0.4)
    for oversampling in (1, 3):
        rows, columns = clean_shape((120, 90), settings, oversampling)
        for seed in range(20):
            x, y = landing_points((120, 90), settings, rng(seed))
            assert np.abs(x).max() * oversampling < (columns - 1) / 2 - 3  # the spline's reach
            assert np.abs(y).max() * oversampling < (rows - 1) / 2 - 3


def test_an_infinite_dose_leaves_no_noise() -> None:
    clean = np.asarray(rng(3).random((9, 11)), dtype=np.float32)
    settings = AcquisitionSettings(dose=np.inf, gain=-2.0, offset=5.0)
    assert settings.is_noise_free
    np.testing.assert_array_equal(acquire(clean, (9, 11), 0.2, settings, rng()), 5 - 2 * clean)
    loud = acquire(clean, (9, 11), 0.2, replace(QUIET, dose=1e14), rng()) / (1e14 * 0.04)
    # Poisson: a relative error of 1/sqrt(4e12 clean), the darkest pixel some 1e-3; float32 leaves 1e-7.
    np.testing.assert_allclose(loud, clean, rtol=1e-4)


def test_a_clean_image_that_is_too_small_is_refused() -> None:
    with pytest.raises(UsageError, match="clean_shape"):
        acquire(FLAT, FLAT.shape, 0.2, replace(QUIET, drift=DRIFT), rng())
    with pytest.raises(UsageError, match="clean_shape"):
        acquire(FLAT, (201, 210), 0.2, QUIET, rng())


def test_contamination_adds_a_smooth_background() -> None:
    settings = replace(QUIET, dose=1e12, contamination=0.5, contamination_length=2.0)
    added = acquire(FLAT, FLAT.shape, 0.2, settings, rng()) / (1e12 * 0.04) / 0.004 - 1
    assert added.max() == pytest.approx(0.5, abs=1e-3)  # counting error of 1.6e8 electrons
    assert added.min() == pytest.approx(0, abs=1e-3)
    # Over one pixel, a tenth of its length, it changes by little.
    assert np.abs(np.diff(added, axis=0)).max() < 0.1


def test_smooth_field_spans_zero_to_one() -> None:
    field = smooth_field((64, 50), 6.0, rng())
    assert field.shape == (64, 50)
    assert (field.min(), field.max()) == (0, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dose": 0.0}, "dose"),
        ({"dose": np.nan}, "dose"),
        ({"read_noise": -1.0}, "noise"),
        ({"jitter": np.inf}, "noise"),
        ({"jitter_memory": 1.0}, "jitter_memory"),
        ({"gain": 0.0}, "gain"),
        ({"offset": np.nan}, "offset"),
        ({"dose": np.inf, "read_noise": 0.1}, "read noise is in counts"),
        ({"contamination_length": 0.0}, "contamination_length"),
        ({"drift": ((1.0, 1.0), (1.0, 1.0))}, "drift"),
        ({"drift": ((1.0, 0.0),)}, "drift"),
    ],
)
def test_impossible_settings_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(QUIET, **change)  # type: ignore[arg-type]
