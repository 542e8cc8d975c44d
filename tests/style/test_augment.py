"""Random patches: their scale is known, they lie inside, and they are what the picture shows there."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.errors import DataError, UsageError
from picostem.physics import DEGREE
from picostem.style.augment import MEAN_CROP, AugmentSettings, augment
from picostem.style.picture import Picture

PIXEL = 0.1


def picture_of(data: Any) -> Picture:
    return Picture(np.asarray(data, dtype=np.float32), PIXEL, 10.0, 250.0, "one")


def waves(side: int, period: float, angle: float = 0.3) -> Picture:
    """A plane wave from 0 to 1, period in Å."""
    y, x = np.mgrid[:side, :side] * PIXEL
    return picture_of(0.5 + 0.5 * np.cos(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period))


def frequency(data: NDArray[np.float32]) -> tuple[float, float]:
    """(row, column) frequency of the strongest wave, 1/pixel, from a parabola through the log of a padded spectrum."""
    window = np.outer(*(np.hanning(n) ** 2 for n in data.shape))
    size = 8 * len(data)
    power = np.log(np.abs(np.fft.fft2((data - data.mean()) * window, (size, size))) + 1e-12)
    peak = np.unravel_index(np.argmax(power), power.shape)
    found = []
    for axis in range(2):
        before, at, after = (power[tuple((p + s * (a == axis)) % size for a, p in enumerate(peak))] for s in (-1, 0, 1))
        index = peak[axis] + 0.5 * (before - after) / (before - 2 * at + after)
        found.append((index + size / 2) % size - size / 2)
    return found[0] / size, found[1] / size


@pytest.mark.parametrize("of", [MEAN_CROP, 300.0, 1024.0])
def test_waves_keep_their_period_in_angstrom(of: float) -> None:
    source, rng = waves(400, 1.3), np.random.default_rng(0)
    settings = AugmentSettings(128, of=of)
    sizes = []
    for _ in range(5):
        patch = augment(source, settings, rng)
        period = patch.pixel_size / np.hypot(*frequency(patch.data))
        assert period == pytest.approx(1.3, rel=1e-3)  # of 128 pixels: a twentieth of a pixel in ten periods
        sizes.append(patch.pixel_size)
    low, high = 462 / of * PIXEL, 612 / of * PIXEL
    assert low <= min(sizes) < max(sizes) <= high


def test_nothing_to_do_returns_the_picture() -> None:
    data = np.random.default_rng(1).random((64, 64))
    settings = AugmentSettings(64, rotation_deg=0.0, crop=(1.0, 1.0), of=1.0, flips=False)
    patch = augment(picture_of(data), settings, np.random.default_rng(0))
    assert np.abs(patch.data - data).max() < 1e-5  # float32 through the spline's coefficients and back
    assert (patch.pixel_size, patch.black, patch.white, patch.name) == (PIXEL, 10.0, 250.0, "one")


def test_flips_alone_mirror_the_picture_along_each_axis() -> None:
    data = np.random.default_rng(1).random((33, 33)).astype(np.float32)
    settings = AugmentSettings(33, rotation_deg=0.0, crop=(1.0, 1.0), of=1.0)
    rng, seen = np.random.default_rng(0), set()
    for _ in range(40):  # one of the four missing: 4 (3/4)^40 = 4e-5; seeded
        found = augment(picture_of(data), settings, rng).data
        cases = [data, data[::-1], data[:, ::-1], data[::-1, ::-1]]
        matching = [index for index, case in enumerate(cases) if np.abs(found - case).max() < 1e-5]
        assert len(matching) == 1
        seen.add(matching[0])
    assert seen == {0, 1, 2, 3}


def test_crops_never_reach_outside() -> None:
    """A linear ramp stays one under any affine map; reading beyond its edge would bend it."""
    side = 190
    y, x = np.mgrid[:side, :side] / (side - 1)
    source = picture_of(0.5 * x + 0.5 * y)
    rng = np.random.default_rng(2)
    settings = AugmentSettings(96)
    rows, columns = np.mgrid[:96, :96]
    design = np.stack([np.ones(96 * 96), rows.ravel(), columns.ravel()], axis=1)
    for _ in range(60):
        patch = augment(source, settings, rng).data
        plane, *_ = np.linalg.lstsq(design, patch.ravel().astype(float), rcond=None)
        # 0.002: the bend of the spline at the border, a third of the ramp's step of 0.5/189 per pixel; one pixel
        # outside would show as twice that step.
        assert np.abs(design @ plane - patch.ravel()).max() < 0.002


def test_every_rotation_up_to_the_largest_is_drawn() -> None:
    source, rng = waves(400, 1.3, angle=0.0), np.random.default_rng(3)
    settings = AugmentSettings(128, rotation_deg=30.0, flips=False)
    angles = []
    for _ in range(60):
        row, column = frequency(augment(source, settings, rng).data)
        angles.append(np.arctan2(row, column) if column > 0 else np.arctan2(-row, -column))
    assert 25 * DEGREE < max(angles) < 30.1 * DEGREE  # none in the last 5 of 60 degrees: (55/60)^60 = 0.5 %; seeded
    assert -30.1 * DEGREE < min(angles) < -25 * DEGREE


def test_shrinking_filters_what_the_patch_cannot_show() -> None:
    """Noise shrunk by 4 keeps about a sixteenth of its variance; picked pixel by pixel it would keep all."""
    source = picture_of(np.random.default_rng(4).random((600, 600)))
    settings = AugmentSettings(100, rotation_deg=0.0, crop=(4.0, 4.0), of=1.0)
    patch = augment(source, settings, np.random.default_rng(0))
    # Gaussian of 0.43 sqrt(15) pixels: variance left 1/(4 pi sigma²) = 2.9 %.
    assert patch.data.var() / source.data.var() == pytest.approx(1 / (4 * np.pi * 0.43**2 * 15), rel=0.15)


def test_seeds_decide() -> None:
    source, settings = waves(300, 1.3), AugmentSettings(96)
    one, same, other = (augment(source, settings, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(one.data, same.data)
    assert one.pixel_size == same.pixel_size != other.pixel_size


def test_a_patch_of_128_pixels_takes_less_than_10_ms() -> None:
    source, settings, rng = waves(512, 1.3), AugmentSettings(128), np.random.default_rng(0)
    seconds = []
    for _ in range(15):
        start = time.perf_counter()
        augment(source, settings, rng)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.01


def test_too_small_a_picture_is_said() -> None:
    with pytest.raises(DataError, match="do not fit into 100 × 100 pixels"):
        augment(waves(100, 1.3), AugmentSettings(128), np.random.default_rng(0))


@pytest.mark.parametrize(
    "wrong",
    [{"patch": 1}, {"of": 0.0}, {"crop": (2.0, 1.0)}, {"crop": (0.0, 1.0)}, {"rotation_deg": -1.0}],
)
def test_settings_that_mean_nothing_are_refused(wrong: Any) -> None:
    with pytest.raises(UsageError):
        AugmentSettings(**{"patch": 64} | wrong)


def test_greys_above_one_are_kept() -> None:
    """Simulations normalised by their mean have some; cut off, the brightest columns would be flat."""
    rows, columns = np.indices((256, 256)) - 127.5
    bright = 1.4 * np.exp(-(rows**2 + columns**2) / (2 * 40.0**2))
    picture = Picture(bright.astype(np.float32), 0.08, 0.0, 1.0, "bright")
    settings = AugmentSettings(patch=128, of=MEAN_CROP)
    found = [augment(picture, settings, np.random.default_rng(seed)).data.max() for seed in range(8)]
    assert max(found) > 1.3
    assert max(found) <= bright.max() + 1e-6  # single precision
