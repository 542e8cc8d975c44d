"""Displacements of images and images moved by parts of a pixel, against images that are known everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picostem.files.registration import EDGE, Comparison, common_box, moved_part

SHAPE = (90, 110)
DRIFTS = st.tuples(st.floats(-9, 9), st.floats(-9, 9)).map(np.array)


def landscape(drift: np.ndarray, shape: tuple[int, int] = SHAPE, seed: int = 1) -> np.ndarray:
    """A sum of 40 waves of 5 to 20 pixels in all directions, seen by an image with this drift, on a high offset."""
    rng = np.random.default_rng(seed)
    k, turn = rng.uniform(0.05, 0.2, 40), rng.uniform(0, 2 * np.pi, 40)
    row, column = np.mgrid[: shape[0], : shape[1]] - np.asarray(drift)[:, None, None]
    waves = (row[..., None] * np.cos(turn) + column[..., None] * np.sin(turn)) * k + rng.uniform(0, 1, 40)
    return (100 + np.cos(2 * np.pi * waves).sum(axis=-1)).astype(np.float32)


@settings(deadline=None, max_examples=25)
@given(DRIFTS)
def test_displacement_is_found(drift: np.ndarray) -> None:
    compare = Comparison(SHAPE, 15.0, 0.25)
    found, correlation = compare.displacement(
        compare.spectrum(landscape(np.zeros(2))), compare.spectrum(landscape(drift))
    )
    # windows that do not move along pull by some 1 % of the drift; what lies near alike is not pulled (next test)
    np.testing.assert_allclose(found, drift, atol=0.02 + 0.03 * np.abs(drift).max())
    assert 0.6 < correlation < 1.001


@settings(deadline=None, max_examples=25)
@given(DRIFTS)
def test_small_displacements_are_exact(drift: np.ndarray) -> None:
    compare = Comparison(SHAPE, 15.0, 0.25)
    one, other = (compare.spectrum(landscape(d)) for d in (np.zeros(2), drift / 90))
    found, _ = compare.displacement(one, other)
    back, _ = compare.displacement(other, one)
    np.testing.assert_allclose(found, drift / 90, atol=0.005)  # 3 % of 0.1 pixel, as above
    np.testing.assert_allclose(back, -found, atol=1e-4)  # float32


def test_equal_images_correlate_to_one() -> None:
    for shape in (SHAPE, (91, 110), (97, 101)):
        compare = Comparison(shape, 15.0, 0.25)
        spectrum = compare.spectrum(landscape(np.zeros(2), shape))
        found, correlation = compare.displacement(spectrum, spectrum)
        assert correlation == pytest.approx(1, abs=1e-5)  # float32
        np.testing.assert_allclose(found, 0, atol=1e-5)


def test_the_limit_is_kept() -> None:
    compare = Comparison(SHAPE, 4.0, 0.25)
    found, _ = compare.displacement(*(compare.spectrum(landscape(np.array(d))) for d in ((0, 0), (8, 0))))
    assert np.linalg.norm(found) < 4 + np.sqrt(2)  # a pixel within the limit, and up to one further in each direction


def test_of_equal_maxima_the_nearest() -> None:
    """A perfect lattice of 12 pixels that moved by 5 may as well have moved by -7."""
    compare = Comparison((96, 96), 20.0, 0.25)
    row, column = np.mgrid[:96, :96]
    one, other = (np.cos(np.pi * (row - d) / 6) + np.cos(np.pi * column / 6) for d in (0, 5))
    found, _ = compare.displacement(*(compare.spectrum(x.astype(np.float32)) for x in (one, other)))
    np.testing.assert_allclose(found, [5, 0], atol=0.1)


@pytest.mark.parametrize("fading", [0.2, 1.0])
def test_noise_correlates_as_little_as_chance_allows(fading: float) -> None:
    rng = np.random.default_rng(7)
    compare = Comparison(SHAPE, 15.0, 0.25, fading)
    spectra = [compare.spectrum(rng.normal(size=SHAPE).astype(np.float32)) for _ in range(60)]
    pairs = zip(spectra[::2], spectra[1::2], strict=True)
    highest = [compare.displacement(one, other)[1] for one, other in pairs]
    # the highest of some 700 / 8 independent places is 2.5 to 3.5 standard deviations, of which `chance` is five
    assert max(highest) < compare.chance
    assert np.median(highest) == pytest.approx(0.55 * compare.chance, rel=0.2)


def test_background_does_not_count() -> None:
    compare = Comparison(SHAPE, 15.0, 0.25)
    slope = np.linspace(0, 300, SHAPE[1], dtype=np.float32)
    drift = np.array([1.3, -2.6])
    found, _ = compare.displacement(*(compare.spectrum(landscape(d) + slope) for d in (np.zeros(2), drift)))
    np.testing.assert_allclose(found, drift, atol=0.1)  # 3 % of 2.6 pixels, as above


def test_an_empty_image_correlates_with_nothing() -> None:
    compare = Comparison(SHAPE, 15.0, 0.25)
    _, correlation = compare.displacement(
        compare.spectrum(landscape(np.zeros(2))), compare.spectrum(np.full(SHAPE, 3, np.float32))
    )
    assert abs(correlation) < 1e-6


@settings(deadline=None, max_examples=25)
@given(DRIFTS)
def test_moved_part_shows_the_reference(drift: np.ndarray) -> None:
    box = common_box(SHAPE, np.array([[0, 0], drift]))
    top, bottom, left, right = box
    found = moved_part(landscape(drift), drift, box)
    difference = found - landscape(np.zeros(2))[top:bottom, left:right]
    # contrast: 40 waves of amplitude 1, rms 4.5. Inside, the sinc's cut tails leave 1 %; at the image's border, beyond
    # which it knows nothing, the mirrored continuation has a kink.
    assert np.abs(difference[8:-8, 8:-8]).max() < 0.05
    assert np.sqrt(np.mean(difference**2)) < 0.1


def test_no_ringing_at_a_border() -> None:
    """A steep ramp jumps where a Fourier transform repeats it; the interpolation must not show that."""
    ramp = np.tile(np.linspace(0, 1000, 110, dtype=np.float32), (90, 1))
    found = moved_part(ramp, np.array([0.0, 0.5]), (0, 90, 0, 109))
    expected = ramp[:, :109] + (ramp[0, 1] - ramp[0, 0]) / 2
    # half a step of the ramp at the mirror's kink; a jump of 1000 would ring by 90
    assert np.abs(found - expected).max() < 2.5
    assert np.abs(found - expected)[:, EDGE:-EDGE].max() < 0.1


def test_whole_pixels_are_moved_exactly_and_noise_stays_white() -> None:
    noise = np.random.default_rng(3).normal(50, 5, (256, 256)).astype(np.float32)
    whole = moved_part(noise, np.array([3.0, -2.0]), (0, 250, 2, 256))
    np.testing.assert_allclose(whole, noise[3:253, 0:254], atol=1e-4)  # float32
    half = moved_part(noise, np.array([0.5, 0.5]), (0, 255, 0, 255)) - 50
    # the standard deviation of 255² values is known to 0.3 %; Nyquist's row and column, 2 / 256 of the power, are lost
    assert half.std() == pytest.approx(5, rel=0.015)
    assert abs(np.mean(half[:, 1:] * half[:, :-1])) / 25 < 0.015  # 1 / 255 is its standard deviation


def test_common_box() -> None:
    drifts = np.array([[0, 0], [2.4, -3.0], [-0.2, 5.5]])
    # rows r with 0 <= r + d <= 89 for d from -0.2 to 2.4, columns with 0 <= c + d <= 109 for d from -3 to 5.5
    assert common_box(SHAPE, drifts) == (1, 87, 3, 104)
    assert common_box(SHAPE, np.zeros((3, 2))) == (0, 90, 0, 110)
    far = common_box(SHAPE, np.array([[0, 0], [200.0, 0]]))
    assert far[1] <= far[0]
