"""Evidence of windows: which reflections and tiles, and what share of their power a model explains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picostem.resolve.estimate import predict
from picostem.resolve.evidence import HARMONIC_LIMIT, gather, harmonics_of, tile_starts
from picostem.resolve.lattice import power_spectrum
from picostem.resolve.noise import measure_noise

from .made import MOS2, PIXEL_SIZE, RES2, fitted, make_lattice


def test_harmonics_are_within_the_limit_and_the_image() -> None:
    fine, coarse = make_lattice(RES2, 0.1), make_lattice(RES2, 0.6)
    assert np.linalg.norm(harmonics_of(fine) @ RES2.reciprocal, axis=1).max() <= HARMONIC_LIMIT
    # half a disc of pi 1.1² over the reciprocal cell's area
    assert len(harmonics_of(fine)) == pytest.approx(np.pi * HARMONIC_LIMIT**2 * RES2.area / 2, rel=0.05)
    assert np.abs(harmonics_of(coarse) @ coarse.reciprocal).max() < 0.5
    assert 0 < len(harmonics_of(coarse)) < len(harmonics_of(fine))


@given(st.tuples(st.integers(50, 900), st.integers(50, 900)), st.integers(40, 200), st.integers(1, 30))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_tiles_are_few_and_reach_the_borders(shape: tuple[int, int], window: int, limit: int) -> None:
    rows, cols = tile_starts(shape, window, limit)
    assert 1 <= len(rows) * len(cols) <= limit
    for starts, length in ((rows, shape[0]), (cols, shape[1])):
        assert starts[-1] <= max(0, length - window)
        # a single tile is in the middle, several begin at the border
        assert starts[0] == (0 if len(starts) > 1 else max(0, length - window) // 2)
        assert (np.diff(starts) >= 0.5 * window).all()


def test_thinned_tiles_still_span_the_image() -> None:
    rows, cols = tile_starts((1000, 1000), 100, 9)
    assert len(rows) == len(cols) == 3
    assert rows[-1] == cols[-1] == 900


class TestExplained:
    data, setting = fitted()
    evidence = setting.evidence

    def test_the_fit_explains_nearly_all(self) -> None:
        # 25 000 e/Å²: what is left is noise, and subtracted
        assert self.evidence.explained(predict(self.setting.model, self.setting.fit.state)) > 0.99

    def test_nothing_explains_nothing_and_the_data_all(self) -> None:
        amplitudes = self.evidence.harmonics.amplitudes
        assert self.evidence.explained(np.zeros_like(amplitudes)) == 0
        assert self.evidence.explained(amplitudes) == 1

    def test_half_the_amplitude_leaves_a_quarter(self) -> None:
        share = self.evidence.explained(self.evidence.harmonics.amplitudes / 2)
        assert share == pytest.approx(0.75, abs=0.01)  # noise is 1 % of the power

    def test_without_signal_nothing_is_explained(self) -> None:
        dark = replace(self.evidence, noise_power=self.evidence.noise_power * 1e9)
        assert dark.explained(self.evidence.harmonics.amplitudes) == 0

    def test_signal_stands_above_the_noise(self) -> None:
        assert (self.evidence.signal_to_noise > 20).all()


def test_noise_alone_has_a_signal_of_one() -> None:
    data = np.random.default_rng(1).normal(0, 2, (400, 400)).astype(np.float32)
    noise = measure_noise(data, power_spectrum(data), PIXEL_SIZE)
    starts = (np.array([0, 130, 260]), np.array([0, 130, 260]))
    evidence = gather(data, noise, make_lattice(MOS2), 128, starts)
    # 9 windows of 18 complex numbers: 8 %; the level to 10 %
    assert evidence.signal_to_noise.mean() == pytest.approx(1, abs=0.35)
    assert evidence.signal_to_noise.shape == (9,)
    np.testing.assert_allclose(evidence.noise_power, 4 / 128**2, rtol=0.2)
    null = np.sum(evidence.observation.whiten(evidence.harmonics.amplitudes[:, None]) ** 2)
    assert null / (9 * 36) == pytest.approx(1, abs=0.35)
