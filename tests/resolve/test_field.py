"""Images made ready for a fit in real space: what becomes of waves and of noise, and parts that are cut out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import fft

from picostem.resolve.field import BAND, LEAST_VARIANCE, OVERSAMPLING, Field
from picostem.resolve.lattice import Spectrum, power_spectrum
from picostem.resolve.noise import Noise, measure_noise

from .made import plane_waves
from .made_twisted import flat_noise

FloatArray = NDArray[np.float64]

EDGE = 8
"""Samples at the border: the cosine transform continues a wave by its mirror image, whose kink the band cuts off."""


def wave_at(field: Field, g: FloatArray, amplitude: complex) -> FloatArray:
    """2 Re c exp(2 pi i g.r) at the field's samples."""
    phase = field.x * g[0] + field.y[:, None] * g[1]
    return np.asarray(2 * (amplitude * np.exp(2j * np.pi * phase)).real)


def inside(values: FloatArray) -> FloatArray:
    return values[EDGE:-EDGE, EDGE:-EDGE]


def red_spectrum() -> Spectrum:
    """Noise that falls off with the frequency, by a factor of 50 up to the corner of the band."""
    radii = np.linspace(0, 0.71, 200)
    return Spectrum(np.ones((8, 8)), radii, 0.02 + np.exp(-((radii / 0.15) ** 2)))


@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    pixel_size=st.floats(0.03, 0.3),
    extent=st.tuples(st.floats(20, 32), st.floats(20, 32)),
    length=st.floats(0.08, 0.7),
    angle=st.floats(-3.1, 3.1),
    red=st.booleans(),
)
def test_a_wave_becomes_response_times_itself(
    pixel_size: float, extent: tuple[float, float], length: float, angle: float, red: bool
) -> None:
    """Of any direction, whatever the resampling; extent in Å, length in units of the highest frequency kept."""
    shape = (round(extent[0] / pixel_size), round(extent[1] / pixel_size))
    g = length * min(BAND * pixel_size, 0.45) * np.array([np.cos(angle), np.sin(angle)])
    amplitude = 3.0 * np.exp(0.7j)
    data = plane_waves(shape, g[None], np.array([amplitude])).astype(np.float32)
    noise = Noise(red_spectrum(), 0.0, 0.0) if red else flat_noise(4.0)
    field = Field.of(data, noise, pixel_size)
    expected = wave_at(field, g, amplitude * field.response(g))
    # the kink at the border spreads over the spectrum, and its part beyond the band is lost: a few per cent of the
    # wave near the border, less inside; and the noise is not the same at all its frequencies
    error = inside(field.values - expected)
    assert np.sqrt(np.mean(error**2)) < 0.03 * np.sqrt(np.mean(expected**2))


class TestResponse:
    def test_is_one_over_the_noise_without_resampling(self) -> None:
        data = np.zeros((120, 120), dtype=np.float32)
        field = Field.of(data, flat_noise(4.0), 0.4)  # as coarse as the band needs
        assert field.values.shape == data.shape
        assert field.response(np.array([0.1, 0.2])) == pytest.approx(0.5)

    def test_grows_with_the_pixels_that_are_joined(self) -> None:
        """Fewer samples, each of noise as strong as a pixel's: a wave must be the stronger."""
        field = Field.of(np.zeros((300, 400), dtype=np.float32), flat_noise(), 0.1)
        ratio = 300 * 400 / field.values.size
        assert ratio > 9
        np.testing.assert_allclose(field.response(np.zeros((5, 2))), np.sqrt(ratio))

    def test_follows_the_noise_spectrum(self) -> None:
        field = Field.of(np.zeros((200, 200), dtype=np.float32), Noise(red_spectrum(), 0.0, 0.0), 0.1)
        g = np.array([[0.02, 0.0], [0.0, -0.1], [0.08, 0.06]])
        np.testing.assert_allclose(field.response(g), field.gain / np.sqrt(red_spectrum().noise_at(g)))
        assert field.response(g[1]) == pytest.approx(field.response(g[2]))  # the same radius


def test_samples_cover_the_image() -> None:
    field = Field.of(np.zeros((300, 401), dtype=np.float32), flat_noise(), 0.1)
    assert field.shape == (300, 401)
    assert field.values.shape == field.weight.shape == (len(field.y), len(field.x))
    down, across = field.spacing
    assert across == pytest.approx(401 / len(field.x))
    assert down == pytest.approx(300 / len(field.y))
    # half a sample of room at each border; y points up
    np.testing.assert_allclose([field.x[0], field.x[-1]], [(across - 401) / 2, (401 - across) / 2])
    np.testing.assert_allclose([field.y[0], field.y[-1]], [(300 - down) / 2, (down - 300) / 2])
    # finer than what the band needs, by the oversampling but for rounding to whole numbers
    assert 0.1 * across == pytest.approx(1 / (2 * BAND * OVERSAMPLING), rel=0.01)


class TestNoise:
    rng = np.random.default_rng(11)

    def coefficients(self, field: Field, kept: float) -> FloatArray:
        """Cosine coefficients of what is kept; radius in units of samples of the field."""
        found = fft.dctn(field.values.astype(np.float64), norm="ortho")
        rows, cols = (np.arange(n) / n for n in found.shape)
        return found[np.hypot(rows[:, None], cols) < kept]

    def test_white_noise_has_unit_variance_at_all_frequencies(self) -> None:
        data = self.rng.normal(0, 3, (500, 500)).astype(np.float32)
        field = Field.of(data, flat_noise(9.0), 0.12)
        kept = 1 / OVERSAMPLING
        values = self.coefficients(field, 0.97 * kept)  # 3 %: the grid's sides are rounded
        # n independent numbers: their mean square has a standard deviation of sqrt(2 / n), mean of sqrt(1 / n)
        assert np.mean(values**2) == pytest.approx(1, abs=4 * np.sqrt(2 / len(values)))
        assert np.mean(values) == pytest.approx(0, abs=4 / np.sqrt(len(values)))
        # so many numbers of their own make the samples: their mean square is less than one by that share
        assert field.independent == pytest.approx(np.pi / 4 * kept**2, rel=0.03)
        share = field.independent * (1 + 4 * np.sqrt(2 / field.values.size / field.independent) * np.array([-1, 1]))
        assert share[0] < field.values.var() < share[1]

    def test_coloured_noise_is_made_white(self) -> None:
        spectrum = red_spectrum()
        radius = np.hypot(fft.fftfreq(512)[:, None], fft.rfftfreq(512))
        level = np.sqrt(np.exp(np.interp(radius, spectrum.radii, np.log(spectrum.noise))))
        data = fft.irfft2(fft.rfft2(self.rng.normal(0, 1, (512, 512))) * level, (512, 512)).astype(np.float32)
        field = Field.of(data, Noise(spectrum, 0.0, 0.0), 0.1)
        for inner, outer in ((0.0, 0.2), (0.2, 0.5), (0.5, 0.8)):
            ring = np.setdiff1d(self.coefficients(field, outer), self.coefficients(field, inner))
            # 4 sigma of the mean square; 1 % for the seam of the periodic noise, which the mirror image has not
            assert np.mean(ring**2) == pytest.approx(1, abs=4 * np.sqrt(2 / len(ring)) + 0.01)

    def test_measured_noise_serves_as_well(self) -> None:
        data = self.rng.normal(0, 3, (512, 512)).astype(np.float32)
        field = Field.of(data, measure_noise(data, power_spectrum(data), 0.1), 0.1)
        # 20 %: what the levels of single rings of the spectrum are measured to, see test_lattice; several rings' mean
        assert field.values.var() == pytest.approx(field.independent, rel=0.1)
        # white noise does not grow with the intensity, whose variance a fit finds to a few per cent
        assert np.abs(field.weight - 1).max() < 0.1

    def test_the_weight_evens_out_counting_noise(self) -> None:
        """Stripes of 20 to 180 electrons a pixel, over many pixels each."""
        row = 100 + 80 * np.cos(2 * np.pi * (np.arange(480) + 0.5) / 240)
        expected = np.tile(row, (480, 1))
        noise = flat_noise(100.0, slope=1 / 100)
        made = [
            Field.of((image - 100).astype(np.float32), noise, 0.1)
            for image in (self.rng.poisson(expected).astype(float), expected)
        ]
        difference = made[0].values - made[1].values
        bright = made[1].values[0] > 0.7 * made[1].values.max()
        dark = made[1].values[0] < 0.7 * made[1].values.min()
        bare = [difference[:, part].var() for part in (bright, dark)]
        assert bare[0] > 3 * bare[1]
        even = [(difference * made[0].weight)[:, part].var() / made[0].independent for part in (bright, dark)]
        # 40 columns of 126 samples, of which 0.6 are independent: 1.8 %; the dark ones' weight is cut at LEAST_VARIANCE
        assert even[0] == pytest.approx(1, abs=0.08)
        assert 0.6 < even[1] < 1.08


class TestWeight:
    def test_is_one_where_the_intensity_is_the_mean_one(self) -> None:
        field = Field.of(np.zeros((100, 100), dtype=np.float32), flat_noise(slope=0.3), 0.2)
        np.testing.assert_allclose(field.weight, 1)

    def test_knows_that_the_noise_was_measured_at_another_mean(self) -> None:
        """Noise measured where the image is brighter by 2 than on the average, where it is 1 - 0.1 · 2 of that."""
        field = Field.of(np.zeros((100, 100), dtype=np.float32), flat_noise(slope=0.1, mean=2.0), 0.2)
        np.testing.assert_allclose(field.weight, 1 / np.sqrt(0.8), rtol=1e-6)  # float32

    def test_is_bounded_in_the_dark(self) -> None:
        data = np.full((100, 100), -50.0, dtype=np.float32)
        data[:, 50:] = 50
        field = Field.of(data, flat_noise(slope=1.0), 0.2)
        np.testing.assert_allclose(field.weight.max(), 1 / np.sqrt(LEAST_VARIANCE), rtol=1e-6)  # float32
        assert field.weight.min() == pytest.approx(1 / np.sqrt(51), rel=0.1)  # the band's ringing at the step: 9 %


class TestCut:
    g = np.array([0.031, -0.052])

    def whole(self) -> Field:
        data = plane_waves((300, 340), self.g[None], np.array([2.0 + 0j])).astype(np.float32)
        return Field.of(data, flat_noise(slope=0.01), 0.1)

    def test_holds_the_samples_about_its_centre(self) -> None:
        field = self.whole()
        part = field.cut((40.0, -55.0), 90.0)
        rows = [i for i, y in enumerate(field.y) if abs(y + 55) < 45]
        cols = [i for i, x in enumerate(field.x) if abs(x - 40) < 45]
        np.testing.assert_array_equal(part.values, field.values[np.ix_(rows, cols)])
        np.testing.assert_array_equal(part.weight, field.weight[np.ix_(rows, cols)])
        np.testing.assert_allclose(part.x, field.x[cols] - 40)
        np.testing.assert_allclose(part.y, field.y[rows] + 55)
        assert part.shape == field.shape
        assert part.independent == field.independent

    def test_shows_the_same_wave_from_another_origin(self) -> None:
        part = self.whole().cut((40.0, -55.0), 90.0)
        turned = 2.0 * np.exp(2j * np.pi * self.g @ [40.0, -55.0])
        expected = wave_at(part, self.g, turned * part.response(self.g))
        # as for the whole image, well inside it
        np.testing.assert_allclose(part.values, expected, atol=0.02 * np.abs(expected).max())

    def test_cuts_add_up(self) -> None:
        twice = self.whole().cut((20.0, 10.0), 150.0).cut((-30.0, 5.0), 60.0)
        once = self.whole().cut((-10.0, 15.0), 60.0)
        np.testing.assert_array_equal(twice.values, once.values)
        np.testing.assert_allclose(twice.x, once.x, atol=1e-9)  # rounding

    def test_ends_at_the_border_of_the_image(self) -> None:
        field = self.whole()
        assert field.cut((0.0, 0.0), 1e4).values.shape == field.values.shape
        corner = field.cut((170.0, 150.0), 100.0)
        assert 0 < corner.values.size < field.cut((0.0, 0.0), 100.0).values.size / 3
        assert field.cut((1000.0, 0.0), 100.0).values.size == 0


def test_a_small_image_keeps_some_samples() -> None:
    field = Field.of(np.zeros((20, 30), dtype=np.float32), flat_noise(), 0.02)
    assert field.values.shape == (8, 8)
