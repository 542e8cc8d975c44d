"""An image of the windows' harmonics is the image that they came from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from picostem.resolve.evidence import harmonics_of
from picostem.resolve.synthesis import synthesise
from picostem.resolve.window import extract_harmonics, window_starts
from picostem.resolve.windows import WindowFits

from .made import RES2, make_lattice, plane_waves

LATTICE = make_lattice(RES2)
HK = harmonics_of(LATTICE)
WINDOW = 100


def fits_of(image: np.ndarray, stride: int) -> WindowFits:
    """Windows whose model is what was measured."""
    starts = tuple(window_starts(n, WINDOW, stride) for n in image.shape)
    h = extract_harmonics(image.astype(np.float32), LATTICE.reciprocal, HK, WINDOW, (starts[0], starts[1]))
    count = len(h.mean)
    none, nothing = np.zeros(count), np.zeros((count, 2, 2))
    source = np.zeros(count, dtype=int)
    return WindowFits(
        h.centres, np.zeros((count, 1, 2)), nothing, none, none, none, h.amplitudes, h.mean, nothing, source
    )


@pytest.mark.parametrize(("shape", "stride"), [((200, 200), 100), ((181, 237), 50), ((100, 130), 50), ((150, 300), 40)])
def test_known_waves_come_back(shape: tuple[int, int], stride: int) -> None:
    rng = np.random.default_rng(0)
    amplitudes = rng.normal(size=len(HK)) + 1j * rng.normal(size=len(HK))
    image = plane_waves(shape, HK @ LATTICE.reciprocal, amplitudes, 5.0)
    again = synthesise(shape, LATTICE.reciprocal, HK, fits_of(image, stride), WINDOW)
    assert again.shape == shape
    assert again.dtype == np.float32
    np.testing.assert_allclose(again, image, atol=2e-3)  # single precision: 6e-8 of 70 waves' phases of 100 rad


def test_windows_are_blended_smoothly() -> None:
    """Two windows of different means: the image goes from one to the other without a step, and nowhere beyond."""
    image = plane_waves((100, 150), HK @ LATTICE.reciprocal, np.zeros(len(HK), complex), 1.0)
    fits = fits_of(image, 50)
    assert len(fits.mean) == 2
    fits = replace(fits, mean=np.array([0.0, 1.0]), predicted=np.zeros((2, len(HK)), complex))
    line = synthesise((100, 150), LATTICE.reciprocal, HK, fits, WINDOW)[50]
    assert (line[:50] == 0).all()
    assert line[-49:] == pytest.approx(1)
    assert (np.diff(line) >= -1e-6).all()  # float32
    assert np.diff(line).max() < 0.1


def test_what_no_window_covers_stays_dark() -> None:
    fits = fits_of(np.ones((100, 100)), 100)
    wide = synthesise((100, 300), LATTICE.reciprocal, HK, fits, WINDOW)
    assert (wide[:, :100] == 0).all()
    assert wide[:, 100:200] == pytest.approx(1, abs=1e-4)
    assert (wide[:, 200:] == 0).all()
