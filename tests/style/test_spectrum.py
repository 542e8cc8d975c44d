"""Measures of spectra: known answers, and what they must and must not see."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

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
from tests.style.made_crystal import PX, atoms, noise, picture


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
