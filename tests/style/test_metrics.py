"""Measures of likeness: known answers, symmetries, what they must and must not see, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from picostem.errors import ImageError, UsageError
from picostem.style.baseline import with_equal_noise, with_matched_greys
from picostem.style.frechet import Features, frechet_distance, patch_features, shrunk
from picostem.style.histogram import (
    BINS,
    PSEUDOCOUNT,
    grey_divergence,
    histogram,
    line_profiles,
    mean_roughness,
    peak_signal_to_noise,
    roughness,
)
from picostem.style.metrics import COMPARES, common, floor, score
from picostem.style.picture import Picture
from picostem.style.spectrum import (
    QUANTUM,
    autocorrelation,
    autocorrelation_distance,
    directional_distance,
    levels,
    noise_variance,
    power,
    radial,
    spectrum_distance,
)

FloatArray = NDArray[np.float64]
PX = 0.12


def picture(data: FloatArray, pixel_size: float = PX, name: str = "made") -> Picture:
    """A picture of these values as they are."""
    return Picture(data.astype(np.float32), pixel_size, 0.0, 1.0, name)


def atoms(side: int = 256, pixel_size: float = PX, height: float = 0.6) -> FloatArray:
    """A square crystal of Gaussian columns, 3.1 Å apart, turned by 20°; from 0.2 to about 0.2 + height."""
    y, x = np.mgrid[:side, :side] * pixel_size
    u, v = x * np.cos(0.35) + y * np.sin(0.35), y * np.cos(0.35) - x * np.sin(0.35)
    wave = [np.exp(8 * (np.cos(2 * np.pi * one / 3.1) - 1)) for one in (u, v)]
    return np.asarray(0.2 + height * wave[0] * wave[1])


def noise(shape: tuple[int, int], seed: int, smooth: float | tuple[float, float] = 0.0) -> FloatArray:
    """Normal noise of unit variance, smoothed over some pixels (rows, columns)."""
    white = np.random.default_rng(seed).standard_normal(shape)
    grains = ndimage.gaussian_filter(white, smooth, mode="wrap")
    return np.asarray(grains / grains.std())


def test_divergence_of_two_greys_is_that_of_the_formula() -> None:
    """Shares 1/4 and 3/4 against 1/2 and 1/2, and no other values."""
    n = 400_000
    p, q = np.repeat([0.0, 1.0], [n // 4, 3 * n // 4]), np.repeat([0.0, 1.0], [n // 2, n // 2])
    expected = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    # the pseudocounts of 32 bins are 4e-5 of all
    assert grey_divergence(p, q) == pytest.approx(expected, abs=1e-4)
    assert grey_divergence(p, p) == 0.0


def test_divergence_is_that_of_greys_normalised_and_not_symmetric() -> None:
    rng = np.random.default_rng(1)
    p, q = rng.beta(2, 5, 50_000), rng.beta(2, 2, 50_000)
    assert grey_divergence(p, q) == pytest.approx(grey_divergence(7 * p - 3, 0.1 * q + 2), abs=1e-12)
    assert abs(grey_divergence(p, q) - grey_divergence(q, p)) > 0.02  # 0.30 and 0.33


def test_bias_of_the_divergence_is_as_documented() -> None:
    """(BINS - 1)/n between samples of one distribution: the mean of 200 pairs, whose standard error is 2 %."""
    rng, n = np.random.default_rng(2), 4000
    ends = [0.0, 1.0]
    found = [grey_divergence(*(np.r_[ends, rng.random(n - 2)] for _ in range(2))) for _ in range(200)]
    assert np.mean(found) == pytest.approx((BINS - 1) / n, rel=0.1)


def test_empty_bins_hold_the_pseudocount() -> None:
    shares = histogram(np.array([0.0, 1.0, 1.0]))
    assert shares[5] == pytest.approx(PSEUDOCOUNT / (3 + BINS * PSEUDOCOUNT))
    assert shares.sum() == pytest.approx(1)


def test_roughness_of_known_curves() -> None:
    """A full sine wave: 2/pi of its amplitude; a square wave: its amplitude; a triangle: half of it."""
    x = (np.arange(10_000) + 0.5) / 10_000
    assert roughness(0.5 + 0.5 * np.sin(2 * np.pi * x)) == pytest.approx(1 / np.pi, abs=1e-6)
    assert roughness((x < 0.5).astype(float)) == pytest.approx(0.5)
    assert roughness(x) == pytest.approx(0.25, abs=1e-6)


def test_profiles_are_averaged_over_one_angstrom_and_normalised() -> None:
    data = np.random.default_rng(3).random((50, 70))
    lines = line_profiles(picture(data, 0.25), axis=0)
    assert lines.shape == (12, 70)  # 4 rows each, 2 left over
    by_hand = data[4:8].astype(np.float32).astype(float).mean(axis=0)
    np.testing.assert_allclose(lines[1], (by_hand - by_hand.min()) / np.ptp(by_hand), atol=1e-12)
    assert line_profiles(picture(data, 0.25), axis=1).shape == (17, 50)
    assert mean_roughness(picture(data)) == pytest.approx(mean_roughness(picture(data.T)))


def test_constant_line_is_flat() -> None:
    data = np.zeros((40, 40))
    data[20:] = np.linspace(0, 1, 40)
    lines = line_profiles(picture(data, 1.0), axis=0)
    assert not lines[:20].any()
    assert np.ptp(lines[25]) == 1


def test_psnr_of_a_known_error() -> None:
    """An error of 0.1 everywhere: 20 dB."""
    data = np.random.default_rng(4).random((40, 40))
    assert peak_signal_to_noise(data, data + 0.1) == pytest.approx(20)
    assert peak_signal_to_noise(data, data) == math.inf


@pytest.mark.parametrize("pixel_size", [0.05, 0.12])
def test_density_integrates_to_the_variance_whatever_the_pixel(pixel_size: float) -> None:
    """White noise of standard deviation 0.1: 0.01 px² at all frequencies, with the rounding of 8 bit."""
    spectrum = power(picture(0.1 * noise((256, 256), 5), pixel_size))
    _, density = radial(spectrum)
    expected = (0.01 + QUANTUM**2 / 12) * pixel_size**2
    # 5 %: the innermost ring holds some tens of frequencies, but the median of all rings does not depend on it
    assert np.median(density) == pytest.approx(expected, rel=0.05)


def test_radial_spectrum_is_that_of_a_slow_sum() -> None:
    """Every frequency of the whole plane, of a complex transform, looked at one by one."""
    made = picture(atoms(90) + 0.05 * noise((90, 90), 6))
    window = np.outer(np.hanning(92)[1:-1], np.hanning(92)[1:-1])
    data = made.data.astype(float)
    whole = np.fft.fft2(window * (data - np.average(data, weights=window)))
    density = (np.abs(whole) ** 2 / np.sum(window**2) + QUANTUM**2 / 12) * PX**2
    g = np.hypot(*np.meshgrid(np.fft.fftfreq(90, PX), np.fft.fftfreq(90, PX)))
    for middle, found in zip(*radial(power(made)), strict=True):
        inside = (g >= middle - 0.05 - 1e-12) & (g < middle + 0.05 - 1e-12)
        assert found == pytest.approx(density[inside].mean(), rel=1e-9)


def test_frequencies_beyond_a_blur_are_decades_lower() -> None:
    """Noise blurred by s pixels has exp(-(2 pi s g)²) of its power: the rms of that in decades."""
    white = noise((256, 256), 7)
    blurred = np.fft.ifft2(ndimage.fourier_gaussian(np.fft.fft2(white), 0.6)).real
    first, second = power(picture(white)), power(picture(blurred))
    g = radial(first)[0] * PX
    expected = np.sqrt(np.mean(((2 * np.pi * 0.6 * g) ** 2 / math.log(10)) ** 2))
    # 2 %: the rings are wide
    assert spectrum_distance(first, second) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("smooth", [0.0, 1.2])
def test_noise_between_the_peaks_of_a_crystal_is_measured(smooth: float) -> None:
    """To 6 %, as documented: correlated noise sits where the peaks are."""
    data = atoms() + 0.07 * noise((256, 256), 8, smooth)
    assert math.sqrt(noise_variance(power(picture(data)))) == pytest.approx(0.07, rel=0.06)


def test_noise_of_a_perfect_crystal_is_next_to_nothing() -> None:
    """What the window leaves beside the peaks: below a tenth of the noise of an experiment, 0.07."""
    assert math.sqrt(noise_variance(power(picture(atoms())))) < 0.007


def test_correlation_of_smoothed_noise_is_a_wider_gaussian() -> None:
    """Noise smoothed by s has the correlation exp(-r²/(4 s²)), here at lags of 1, 2 and 3 pixels along x."""
    found = autocorrelation(power(picture(0.1 * noise((400, 400), 9, 1.5))))
    c = len(found) // 2
    assert found[c, c] == 1
    # 0.03: of 160 000 pixels some 5 600 are independent, whose correlation scatters by 0.013; the rest is rounding
    np.testing.assert_allclose(found[c, c + 1 : c + 4], np.exp(-(np.arange(1, 4) ** 2) / 9), atol=0.03)


def test_a_lattice_does_not_show_in_the_correlation_of_the_noise() -> None:
    clean, grainy = (0.05 * noise((256, 256), 10, 0.8) + part for part in (0.5, atoms()))
    # 0.03: three times the scatter of correlations of 65 536 pixels, some 10 000 of them independent
    assert autocorrelation_distance(power(picture(clean)), power(picture(grainy))) < 0.03


def test_direction_is_seen_where_the_radial_spectrum_is_blind() -> None:
    """Noise that is smooth along rows against the same along columns: a quarter turn apart."""
    across = 0.1 * noise((256, 256), 11, (0.0, 1.0))
    first, second = power(picture(across)), power(picture(across.T.copy()))
    assert spectrum_distance(first, second) < 1e-6  # rounding: the rings hold the same numbers
    assert directional_distance(first, second) > 0.5  # decades; 0.13 is what half of an experiment gives


def test_levels_do_not_see_peaks() -> None:
    clean, _ = levels(power(picture(0.05 * noise((256, 256), 12))))
    crystal, _ = levels(power(picture(0.05 * noise((256, 256), 12) + atoms())))
    ratio = np.log10(crystal / clean)
    # 0.1 decades: a median moves by less than a quarter while peaks are less than a tenth of a cell's frequencies;
    # in a few innermost cells, which hold a dozen frequencies, they are more
    assert np.nanquantile(np.abs(ratio), 0.9) < 0.1
    assert np.nanmax(np.abs(ratio[12:])) < 0.05  # beyond 3 1/Å are no peaks, and little of what the window spreads


def test_frechet_distance_of_known_gaussians() -> None:
    """Equal up to a shift: its square. Commuting covariances: the squared difference of the standard deviations."""
    eye = np.eye(3)
    assert frechet_distance(Features(np.zeros(3), eye), Features(np.array([1.0, 2, 2]), eye)) == pytest.approx(9)
    narrow, wide = Features(np.zeros(3), np.diag([1.0, 4, 9])), Features(np.zeros(3), np.diag([4.0, 4, 1]))
    assert frechet_distance(narrow, wide) == pytest.approx(1 + 0 + 4)
    assert frechet_distance(wide, narrow) == pytest.approx(5)


def test_shrinkage_keeps_the_trace_and_ends_at_a_multiple_of_one() -> None:
    covariance = np.cov(np.random.default_rng(13).standard_normal((6, 50)))
    few, many = shrunk(covariance, 5), shrunk(covariance, 10**9)
    assert np.trace(few) == pytest.approx(np.trace(covariance))
    np.testing.assert_allclose(many, covariance, atol=1e-6)  # 1/n of it is left
    np.testing.assert_allclose(shrunk(2 * np.eye(4), 10), 2 * np.eye(4))


def test_patches_see_noise_that_grows_with_brightness() -> None:
    """Shot noise against noise of the same mean spectrum that is the same everywhere: only the patches differ."""
    clean, grain = atoms(384) - 0.15, noise((384, 384), 14)
    even = clean + 0.07 * grain
    shot = clean + 0.07 * grain * np.sqrt(clean / clean.mean())
    again = clean + 0.07 * noise((384, 384), 15)
    seen, unseen = (
        frechet_distance(*(patch_features(picture(one), np.random.default_rng(0)) for one in (even, other)))
        for other in (shot, again)
    )
    assert seen > 5 * unseen  # 0.16 and 0.007
    assert spectrum_distance(power(picture(even)), power(picture(shot))) < 0.05  # decades, the floor of experiments


def test_equal_pictures_are_alike() -> None:
    one = picture(atoms() + 0.05 * noise((256, 256), 16))
    found = score(one, one)
    values = {key: getattr(found.likeness, key) for key in COMPARES if key != "psnr"}
    # 1e-6: square roots of a matrix by its eigenvalues, in double precision, of features up to 5
    assert values == pytest.approx(dict.fromkeys(values, 0.0), abs=1e-6)
    assert found.as_dict()["psnr"] is None
    assert found.likeness.psnr == math.inf


def test_score_of_two_draws_is_below_that_of_another_noise() -> None:
    """The same crystal with fresh noise of the same kind, and with white noise as strong."""
    reference = picture(atoms() + 0.06 * noise((256, 256), 17, 1.0))
    again = score(picture(atoms() + 0.06 * noise((256, 256), 18, 1.0)), reference).likeness
    white = score(picture(atoms() + 0.06 * noise((256, 256), 19)), reference).likeness
    for key in ("spectrum", "spectrum_directional", "noise_autocorrelation", "frechet"):
        assert getattr(white, key) > 2 * getattr(again, key), key


def test_floor_grows_where_an_image_differs_from_place_to_place() -> None:
    """Noise that is the same everywhere against noise that grows from left to right."""
    grain = 0.06 * noise((256, 256), 20)
    even = floor(picture(atoms() + grain))
    uneven = floor(picture(atoms() + grain * np.linspace(0.2, 1.8, 256)))
    assert even.psnr is None
    for key in ("d_kl", "spectrum", "frechet"):
        assert getattr(uneven, key) > 3 * getattr(even, key), key
    assert 0 < even.spectrum < 0.15  # decades: half the rings hold a hundred frequencies and more


def test_pixel_sizes_are_brought_to_the_coarser_one() -> None:
    """One field sampled at 0.06 and 0.12 Å: alike once they are compared at 0.12 Å."""
    fine, coarse = picture(atoms(512, 0.06), 0.06, "fine"), picture(atoms(256, 0.12), 0.12)
    one, other = common(fine, coarse)
    assert one.pixel_size == other.pixel_size == 0.12
    assert one.data.shape == other.data.shape == (256, 256)
    found = score(fine, coarse)
    assert found.likeness.psnr is None
    assert found.likeness.d_kl < 1e-3  # bins of 2000 pixels each, some of which fall on the other side of an edge
    assert found.pixel_size == 0.12


def test_fields_are_cropped_to_what_both_have() -> None:
    found = score(picture(atoms(200)[:150]), picture(atoms(180)))
    assert found.shape == (150, 180)
    assert found.likeness.psnr is None


def test_gaussian_noise_has_the_variance_of_the_reference() -> None:
    reference = picture(0.5 * atoms() + 0.08 * noise((256, 256), 21, 1.0))
    clean = picture(atoms())
    noisy = with_equal_noise(clean, reference, np.random.default_rng(0))
    wanted, found = (math.sqrt(noise_variance(power(one))) for one in (reference, noisy))
    assert found == pytest.approx(wanted, rel=0.03)  # the noise of the window beside the peaks, 0.007 squared
    assert (noisy.data.min(), noisy.data.max()) == (0, 1)


def test_matched_greys_beat_every_other_amount_of_noise() -> None:
    clean = picture(atoms())
    reference = with_equal_noise(clean, picture(0.05 * noise((256, 256), 22)), np.random.default_rng(1))
    greys = reference.data.astype(np.float64)
    best = grey_divergence(greys, with_matched_greys(clean, reference, np.random.default_rng(2)).data.astype(float))
    for amount in (0.01, 0.1, 0.5):
        assert best < grey_divergence(greys, atoms() + amount * noise((256, 256), 2))


@pytest.mark.parametrize("data", [np.zeros((64, 64)), atoms(20)])
def test_what_cannot_be_compared_is_refused(data: FloatArray) -> None:
    with pytest.raises(ImageError, match=r"made: .*(too few|all pixels)"):
        score(picture(data), picture(atoms(64)))


def test_negative_seed_is_refused() -> None:
    with pytest.raises(UsageError, match="seed"):
        score(picture(atoms(64)), picture(atoms(64)), seed=-1)


def test_document_names_what_every_measure_compares() -> None:
    document = score(picture(atoms(128)), picture(atoms(128) + 0.1 * noise((128, 128), 23))).as_dict()
    assert set(COMPARES) == set(document["compares"])
    assert set(COMPARES) <= set(document)
    assert set(document["floor"]) == set(COMPARES) - {"psnr"}
    assert document["shape_rows_cols"] == [128, 128]
