"""What windows are made to suffer, against what was asked."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.bench.curves_spoil import DOSE, Step, dose_for, joined, psnr_of, recorded, tiles
from picostem.image import Image

PIXEL, SIDE = 0.125, 40


def clean(rows: int = 4 * SIDE, cols: int = 3 * SIDE) -> Image:
    """A row of waves of contrast 0.8 about 0.01 of the beam."""
    wave = 0.01 * (1 + 0.8 * np.sin(2 * np.pi * np.arange(cols) / 8))
    return Image(np.tile(wave, (rows, 1)).astype(np.float32)).with_pixel_size(PIXEL, "user")


def fractions(step: Step, seed: int = 0, image: Image | None = None) -> np.ndarray:
    """Counts of a recording over the electrons of a pixel."""
    found, dose = recorded(image or clean(), step, SIDE, np.random.default_rng(seed))
    return np.asarray(found.data / (dose * PIXEL**2))


def test_tiles_and_back() -> None:
    data = np.arange(6 * 4, dtype=np.float32).reshape(6, 4)
    parts = tiles(data, 2)
    assert parts.shape == (6, 2, 2)
    assert parts[1].tolist() == [[2, 3], [6, 7]]
    assert np.array_equal(joined(parts, data.shape), data)


@pytest.mark.parametrize("psnr", [30.0, 7.0])
def test_the_dose_gives_the_peak_signal_to_noise_ratio_that_was_asked_for(psnr: float) -> None:
    image = clean(400, 400)
    dose = dose_for(image.data, PIXEL, psnr)
    assert psnr_of(image.data, PIXEL, dose) == pytest.approx(psnr, abs=1e-4)
    squared = np.mean((fractions(Step("noise", psnr), image=image) - image.data) ** 2)
    # 160,000 pixels: their mean square to some 0.5 %, that is 0.02 dB; four of those
    assert 10 * np.log10(0.016**2 / squared) == pytest.approx(psnr, abs=0.1)


def test_nothing_suffers_but_from_electrons() -> None:
    found, dose = recorded(clean(), Step("none"), SIDE, np.random.default_rng(0))
    assert dose == DOSE
    counts = found.data
    assert np.array_equal(counts, np.rint(counts))
    assert counts.mean() == pytest.approx(0.01 * DOSE * PIXEL**2, rel=0.02)  # 1.2e5 electrons: 0.3 %


@pytest.mark.parametrize("share", [0.05, 0.25])
def test_each_window_has_a_hole_of_that_share(share: float) -> None:
    found = tiles(fractions(Step("hole", share), image=flat()).astype(np.float32), SIDE)
    lost = 1 - found.mean(axis=(1, 2)) / 0.2
    # electrons: 1600 pixels of 81 counts, 0.3 % each; a hole that reaches a little beyond the window: a tenth of it
    assert np.all(np.abs(lost - share) < 0.1 * share + 0.012)
    assert len({int(window.argmin()) for window in found}) == len(found)


def test_each_window_has_dirt_of_that_strength() -> None:
    found = tiles(fractions(Step("contamination", 2.0), image=flat()).astype(np.float32), SIDE)
    smooth = found.reshape(-1, SIDE // 5, 5, SIDE // 5, 5).mean(axis=(2, 4)) / 0.2
    # from 1 where there is none to 3 where it is thickest, less what means of 5 pixels level out
    assert np.all(np.abs(smooth.min(axis=(1, 2)) - 1) < 0.2)
    assert np.all(np.abs(smooth.max(axis=(1, 2)) - 3) < 0.25)


def test_recordings_repeat_and_differ() -> None:
    step = Step("hole", 0.1)
    assert np.array_equal(fractions(step), fractions(step))
    assert not np.array_equal(fractions(step), fractions(step, seed=1))


def test_an_image_is_cut_to_whole_windows() -> None:
    found, _ = recorded(clean(4 * SIDE + 7, 2 * SIDE + 39), Step("none"), SIDE, np.random.default_rng(0))
    assert found.data.shape == (4 * SIDE, 2 * SIDE)


def flat() -> Image:
    """0.2 of the beam everywhere."""
    return Image(np.full((4 * SIDE, 3 * SIDE), 0.2, dtype=np.float32)).with_pixel_size(PIXEL, "user")
