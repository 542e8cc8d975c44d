"""The noise of an image, and whitened harmonics that vary independently by one: against Monte Carlo."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.resolve.evidence import gather
from picostem.resolve.lattice import power_spectrum
from picostem.resolve.noise import Noise, Whitener, align, measure_noise
from picostem.resolve.window import extract_harmonics

from .made import MOS2, PIXEL_SIZE, crystal_image, make_lattice

FloatArray = NDArray[np.float64]

LATTICE = make_lattice(MOS2)
COUNTS = 12.0
"""Mean electrons per pixel."""


def clean_counts(side: int = 340) -> FloatArray:
    """A crystal between half and five times its mean; nothing beyond 1.1 1/Å, as a probe has it."""
    image = crystal_image(MOS2, LATTICE, (side, side), 0.1) + 1.0
    return image * COUNTS / image.mean()


def recorded(
    rng: np.random.Generator, gain: float = 1.0, offset: float = 0.0, read: float = 0.0
) -> NDArray[np.float32]:
    counts = rng.poisson(clean_counts()) + rng.normal(0, read, (340, 340))
    return (gain * counts + offset).astype(np.float32)


def noise_of(data: NDArray[np.float32]) -> Noise:
    return measure_noise(data, power_spectrum(data), PIXEL_SIZE)


class TestMeasuredNoise:
    # 22 groups of 5000 pixels each: variances to 2 %, over a range of 2 in intensity; 0.04 of kappa times the mean
    precision = 0.12

    @pytest.mark.parametrize(("gain", "offset"), [(1.0, 0.0), (7.0, 0.0), (1.0, 30.0), (0.2, -1.0)])
    def test_poisson_noise_grows_with_the_signal(self, gain: float, offset: float) -> None:
        noise = noise_of(recorded(np.random.default_rng(1), gain, offset))
        assert noise.slope * gain * COUNTS == pytest.approx(1, abs=self.precision)
        assert noise.mean == pytest.approx(gain * COUNTS + offset, rel=1e-2)  # Poisson error of the mean: 1e-3

    def test_read_noise_does_not(self) -> None:
        data = clean_counts() + np.random.default_rng(2).normal(0, 6, (340, 340))
        assert noise_of(data.astype(np.float32)).slope * COUNTS < self.precision

    def test_their_sum_lies_between(self) -> None:
        noise = noise_of(recorded(np.random.default_rng(3), read=np.sqrt(COUNTS)))
        assert noise.slope * COUNTS == pytest.approx(0.5, abs=self.precision)

    def test_level_is_the_variance(self) -> None:
        noise = noise_of(recorded(np.random.default_rng(4), gain=3.0))
        assert noise.spectrum.noise_at(np.array([0.2, 0.1])) == pytest.approx(9 * COUNTS, rel=0.1)  # as in test_lattice


class TestWhitener:
    window, draws = 96, 60

    def whitened(self, slope_factor: float = 1.0) -> NDArray[np.complex128]:
        """Whitened noise of 9 windows in many recordings, shape (9 draws, 2n): complex, variance one if all is well."""
        rng = np.random.default_rng(5)
        clean = clean_counts()
        starts = (np.array([0, 110, 230]), np.array([5, 117, 240]))
        measured = noise_of(recorded(rng) - np.float32(COUNTS))
        noise = Noise(measured.spectrum, measured.slope * slope_factor, measured.mean)
        noiseless = gather((clean - COUNTS).astype(np.float32), noise, LATTICE, self.window, starts)
        found = []
        for _ in range(self.draws):
            data = (rng.poisson(clean) - COUNTS).astype(np.float32)
            here = extract_harmonics(data, LATTICE.reciprocal, noiseless.harmonics.hk, self.window, starts)
            observation = noiseless.whitener.observe(here)
            error = here.amplitudes - noiseless.harmonics.amplitudes
            x = observation.whiten(error[:, None])[:, 0]
            half = x.shape[1] // 2
            found.append(x[:, :half] + 1j * x[:, half:])
        return np.concatenate(found)

    def test_whitened_poisson_noise_has_unit_covariance(self) -> None:
        x = self.whitened()
        power = np.mean(np.abs(x) ** 2)
        # 540 · 36 numbers; the level, from the quartiles between strong peaks 27 bins apart, is up to 15 % too high
        assert 0.85 < power < 1.05
        covariance = x.T @ x.conj() / len(x) / power
        off = covariance - np.eye(x.shape[1])
        # each element of a sample covariance of 540 draws varies by 1/sqrt(540) = 0.043
        assert np.sqrt(np.mean(np.abs(off) ** 2)) < 1.15 / np.sqrt(len(x))
        assert np.abs(off).max() < 5 / np.sqrt(len(x))

    def test_which_takes_the_dependence_on_intensity(self) -> None:
        x = self.whitened(slope_factor=0.0)
        covariance = x.T @ x.conj() / len(x) / np.mean(np.abs(x) ** 2)
        assert np.sqrt(np.mean(np.abs(covariance - np.eye(x.shape[1])) ** 2)) > 1.5 / np.sqrt(len(x))

    def test_squared_length_counts_the_data(self) -> None:
        """2n complex numbers, each conjugate to another: chi² of 2n real data."""
        x = self.whitened()
        chi2 = np.sum(np.abs(x) ** 2, axis=1) / np.mean(np.abs(x) ** 2)
        n = x.shape[1]
        # real and imaginary parts of one number are one datum: the variance would be n if all 2n were independent
        assert chi2.var() == pytest.approx(2 * n, rel=0.25)  # of 540 draws: 4 sigma

    def test_dark_places_do_not_make_the_variance_negative(self) -> None:
        data = recorded(np.random.default_rng(6)) - np.float32(COUNTS)
        noise = noise_of(data)
        steep = Noise(noise.spectrum, 30 * noise.slope, noise.mean)
        starts = (np.array([0]), np.array([0]))
        evidence = gather(data, steep, LATTICE, self.window, starts)
        white = evidence.observation.whiten(evidence.harmonics.amplitudes[:, None])
        assert np.isfinite(white).all()

    def test_alike_in_a_moved_crystal(self) -> None:
        """The coupling of the noise moves with the lattice."""
        data = recorded(np.random.default_rng(7)) - np.float32(COUNTS)
        noise = noise_of(data)
        starts = (np.array([40]), np.array([40]))
        lengths = []
        for shift in ((0, 0), (3, -5)):
            moved = np.roll(data, shift, axis=(0, 1))
            where = (starts[0] + shift[0], starts[1] + shift[1])
            evidence = gather(moved, noise, LATTICE, self.window, where)
            lengths.append(np.sum(evidence.observation.whiten(evidence.harmonics.amplitudes[:, None]) ** 2))
        assert lengths[1] == pytest.approx(
            lengths[0], rel=1e-4
        )  # float32 sums; alignment to a quarter of a cell's 1/16


def test_align_finds_the_shift() -> None:
    clean = (clean_counts() - COUNTS).astype(np.float32)
    starts = (np.array([20]), np.array([20]))
    noise = noise_of(recorded(np.random.default_rng(8)))
    harmonics = gather(clean, noise, LATTICE, 96, starts).harmonics
    for shift in ((0.25, 0.5), (0.125, 0.8125), (0.0, 0.0)):
        pattern = harmonics.amplitudes[0] * np.exp(2j * np.pi * harmonics.hk @ shift)
        found = align(harmonics, pattern)[0]
        assert np.abs((found - shift + 0.5) % 1 - 0.5).max() < 1e-9  # these shifts lie on the grid of 1/16 and finer


def test_one_whitener_serves_other_windows() -> None:
    data = recorded(np.random.default_rng(9)) - np.float32(COUNTS)
    noise = noise_of(data)
    near, far = (np.array([0]), np.array([0])), (np.array([200]), np.array([210]))
    first = gather(data, noise, LATTICE, 96, near)
    second = gather(data, noise, LATTICE, 96, far, first.whitener)
    own = gather(data, noise, LATTICE, 96, far)
    assert second.whitener is first.whitener
    assert isinstance(own.whitener, Whitener)
    lengths = [np.sum(e.observation.whiten(e.harmonics.amplitudes[:, None]) ** 2) for e in (second, own)]
    # both patterns come from a window of the same crystal with 3 % of noise
    assert lengths[0] == pytest.approx(lengths[1], rel=0.1)
