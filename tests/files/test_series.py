"""Series of frames with a known drift: aligned, averaged, and the frames of another place left out."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from picostem.errors import FileError, ImageError, UsageError
from picostem.files import average_series, from_array, measure_drift, read_images
from picostem.image import Image
from picostem.pipeline import resolve
from picostem.simulate import AcquisitionSettings, Microscope, simulate_stack
from picostem.structure import Stack, load_monolayer

RES2 = load_monolayer("ReS2")
MICROSCOPE = Microscope.from_lab_units(
    voltage_kV=300, semiangle_mrad=21.3, detector_mrad=(39, 200), defocus_A=6, C12_A=5, source_fwhm_A=0.6
)
PIXEL_SIZE = 0.12
SLIP = (1.2, 1.9)
WALK = np.array(
    [[0, 0], [1.37, -2.25], [2.9, -3.1], [2.2, -6.7], [4.85, -7.45], [7.3, -6.2], [7.12, -9.9], [9.5, -10.33]]
)
"""Pixels; up to 3.7 from one frame to the next, 0.4 Å."""
Frames = NDArray[np.float32]


def frame(drift: Any, seed: int, dose: float = 2e4, slip: tuple[float, float] = SLIP, rotation: float = 0.7) -> Frames:
    """256 × 256 pixels of a bilayer that lies this much further down and to the right."""
    down, right = drift
    image, _ = simulate_stack(
        Stack.bilayer(RES2, slip),
        MICROSCOPE,
        AcquisitionSettings(dose=dose),
        (256, 256),
        PIXEL_SIZE,
        np.random.default_rng(seed),
        rotation=rotation,
        origin=(right * PIXEL_SIZE, -down * PIXEL_SIZE),
    )
    return np.asarray(image.data)


@cache
def series(dose: float = 2e4) -> Frames:
    return np.stack([frame(drift, seed, dose) for seed, drift in enumerate(WALK)])


def blank() -> Frames:
    return np.random.default_rng(90).poisson(1.5, (256, 256)).astype(np.float32)


def test_drift_is_known_to_a_twentieth_of_a_pixel() -> None:
    drift = measure_drift(series())
    assert drift.kept.tolist() == list(range(8))
    assert drift.dropped.tolist() == []
    error = drift.position - WALK
    # the Cramér-Rao bound of one frame is 0.015 pixels in each direction at this dose (Fisher information of a shift,
    # sum of (dI/dx)² / I), so that the rms error of eight is below 0.02; all share the error of the first frame
    assert np.sqrt(np.mean((error - error.mean(axis=0)) ** 2)) < 0.025
    assert np.abs(error).max() < 0.05 + 0.015


def test_drift_at_a_low_dose() -> None:
    drift = measure_drift(series(1000.0))
    error = drift.position - WALK
    # the bound grows as 1/sqrt(dose), to 0.066 pixels; 0.11: half as much again, for the noise of the mean and windows
    assert np.sqrt(np.mean((error - error.mean(axis=0)) ** 2)) < 0.11


@settings(deadline=None, max_examples=6)
@given(st.permutations(range(8)))
def test_the_order_of_the_frames_does_not_matter(order: list[int]) -> None:
    """Steps stay below an eighth of the side, so that all orders are series."""
    drift = measure_drift(series()[order])
    expected = WALK[order] - WALK[order[0]]
    # 0.065 as above, modulo the lattice: the largest step, 14 pixels, is far below half a lattice vector
    assert np.abs(drift.position - expected).max() < 0.065


def test_mean_shows_the_place_of_the_first_frame_with_less_noise() -> None:
    mean = average_series(series(), pixel_size=PIXEL_SIZE)
    # all frames show rows r with 0 <= r + d <= 255 for d from 0 to 9.5, columns for d from -10.33 to 0
    assert mean.data.shape == (246, 245)
    clean = frame((0, 0), 0, dose=1e9)[:246, 11:] * (2e4 / 1e9)
    noise = mean.data - clean
    # Poisson noise: variance = mean counts, an eighth of it in the mean of eight. Interpolation loses 1 % of it, wrong
    # drifts blur: 0.02 pixels at 2 pi / 22 per pixel are nothing. 2 %: 60 000 values know it to 0.6 %.
    assert np.mean(noise**2) == pytest.approx(clean.mean() / 8, rel=0.02)
    # no worse at the border than inside
    edge = np.concatenate([noise[:2].ravel(), noise[-2:].ravel(), noise[:, :2].ravel(), noise[:, -2:].ravel()])
    assert np.mean(edge**2) == pytest.approx(clean.mean() / 8, rel=0.25)  # 2000 values: 3 %, with the mirror's kink


def test_resolved_slip_is_that_of_one_image_of_the_whole_dose() -> None:
    known = {"voltage_kV": 300, "semiangle_mrad": 21.3, "detector_mrad": (39, 200), "stride_nm": 4}
    low = series(4000.0)
    mean = average_series(low, pixel_size=PIXEL_SIZE)
    same_field = np.s_[: mean.data.shape[0], 256 - mean.data.shape[1] :]
    whole = frame((0, 0), 55, 8 * 4000.0)
    images = [from_array(low[0][same_field], PIXEL_SIZE), mean, from_array(whole[same_field], PIXEL_SIZE)]
    first, averaged, single = (resolve(image, "ReS2", **known).interfaces[0] for image in images)
    for found in (first, averaged, single):
        # four standard deviations: in two dimensions 3 in 10 000 lie further off
        assert np.linalg.norm(found.equivalents - SLIP, axis=1).min() < 4 * found.slip_sigma
    # 15 %: the bound is that at the defocus, astigmatism and so on which were fitted to each image
    assert averaged.slip_bound / first.slip_bound == pytest.approx(8**-0.5, rel=0.15)
    # the error adds what the estimator owes to its model, which does not shrink: one image of that dose is the measure
    assert averaged.slip_sigma == pytest.approx(single.slip_sigma, rel=0.1)


@pytest.mark.parametrize("place", [0, 3, 8])
def test_frames_that_do_not_belong_are_dropped(place: int) -> None:
    elsewhere = {
        "nothing": blank(),
        "another grain": frame((3, 4), 91, rotation=0.95),
        "another stacking": frame((3, 4), 92, slip=(-1.6, 2.4)),
    }
    for other in elsewhere.values():
        drift = measure_drift(np.insert(series(), place, other, axis=0))
        assert drift.dropped.tolist() == [place]
        assert np.abs(drift.position - WALK).max() < 0.065  # as without it


def test_the_notes_say_what_was_done() -> None:
    frames = np.insert(series(), [2, 5], blank(), axis=0)
    image = average_series(frames, pixel_size=PIXEL_SIZE)
    # WALK ends 10.33 pixels to the left and 9.5 down, 14.03 away
    (note,) = image.notes
    assert note.startswith("the mean of 8 of 10 frames, aligned: from the first to the last they drifted -1.2")
    assert "Å to the right and -1.1" in note
    assert "at most 1.68 Å" in note or "at most 1.69 Å" in note
    assert note.endswith("; 2 frames unlike the others dropped (2, 6)")
    assert image.name == "array mean of 8 frames"
    assert (image.pixel_size, image.pixel_size_source) == ((PIXEL_SIZE, PIXEL_SIZE), "user")


def test_without_a_pixel_size_the_drift_is_in_pixels() -> None:
    (note,) = average_series(series()).notes
    assert "pixels up, at most 14.0" in note
    assert "dropped" not in note


def test_many_dropped_frames_are_not_all_named() -> None:
    rng = np.random.default_rng(2)
    noise = rng.poisson(1.5, (14, 256, 256)).astype(np.float32)
    (note,) = average_series(np.concatenate([series(), noise])).notes
    assert note.endswith("14 frames unlike the others dropped (8, 9, 10, 11, 12, 13, 14, 15, 16, 17, ...)")


def test_frames_that_cannot_be_worked_on_are_dropped() -> None:
    frames = series().copy()
    frames[0, 3, 4] = np.nan
    frames[4] = 7
    drift = measure_drift(frames)
    assert drift.dropped.tolist() == [0, 4]
    kept = [1, 2, 3, 5, 6, 7]
    assert np.abs(drift.position - (WALK[kept] - WALK[1])).max() < 0.065
    image = average_series(frames)
    assert np.isfinite(image.data).all()


def test_a_small_limit_excludes_large_steps() -> None:
    """A jump by a lattice vector, 54 pixels, cannot be told from none if it is beyond the limit."""
    turn = np.array([[np.cos(0.7), -np.sin(0.7)], [np.sin(0.7), np.cos(0.7)]])
    x, y = turn @ RES2.cell[0] / PIXEL_SIZE
    jumped = WALK + np.where(np.arange(8) < 4, 0, 1)[:, None] * [-y, x]
    frames = np.stack([frame(drift, seed) for seed, drift in enumerate(jumped)])
    assert np.abs(measure_drift(frames, max_step=8).position - WALK).max() < 0.065


class TestFiles:
    def test_a_movie(self, tmp_path: Path) -> None:
        import tifffile

        path = tmp_path / "movie.tif"
        per_nm = 10 / PIXEL_SIZE
        tifffile.imwrite(path, series(), imagej=True, resolution=(per_nm, per_nm), metadata={"unit": "nm"})
        image = average_series(path)
        assert np.array_equal(image.data, average_series(list(read_images(path))).data)
        assert (image.name, image.path) == ("movie mean of 8 frames", path)
        assert image.pixel_size == pytest.approx((PIXEL_SIZE, PIXEL_SIZE))
        assert image.pixel_size_source == "file"
        assert average_series(str(path), 0, pixel_size=0.13).pixel_size == (0.13, 0.13)

    def test_the_series_among_other_things_is_taken(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", HAADF=blank(), movie=series())
        assert average_series(tmp_path / "a.npz").name == "a movie mean of 8 frames"
        with pytest.raises(UsageError, match="a.npz: 1 image, and a mean needs a series of them"):
            average_series(tmp_path / "a.npz", "HAADF")

    def test_only_some_frames_are_in_memory(self, tmp_path: Path) -> None:
        np.save(tmp_path / "long.npy", np.tile(series()[:, :128, :128], (20, 1, 1)))
        average_series(series()[:, :128, :128])  # imports and caches
        tracemalloc.start()
        average_series(tmp_path / "long.npy")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # 160 frames are 10 MB; a frame of 128² with its edge and transforms takes some 1.5 MB
        assert peak < 3e6

    def test_progress(self) -> None:
        said: list[tuple[str, int, int]] = []
        average_series(series(), progress=lambda *given: said.append(given))
        assert said[0] == ("drift of the frames", 1, 0)
        assert max(done for _, done, _ in said) == 8


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (
            np.ones((64, 64)),
            ImageError,
            r"axes \(frame, row, column\) or is a list of images, got the shape \(64, 64\)",
        ),
        (Image(np.ones((64, 65), np.float32)), ImageError, r"got the shape \(64, 65\)"),
        (np.ones((2, 3, 64, 64)), ImageError, r"got the shape \(2, 3, 64, 64\)"),
        ([], UsageError, "series: 0 image, and a mean needs"),
        (blank()[np.newaxis], UsageError, "array frame 0: 1 image, and a mean needs a series"),
        (np.ones((3, 64, 64), complex), ImageError, "pixels must be real numbers"),
        (np.ones((3, 64, 64)), ImageError, "all pixels are 1"),
        (np.full((3, 64, 64), np.nan), ImageError, "4096 of 4096 pixels are NaN"),
        (np.ones((3, 20, 64)), ImageError, "20 × 64 pixels show no lattice"),
        ([blank(), blank()[:-1]], ImageError, r"have one shape and pixel size .* \(256, 256\), None and \(255, 256\)"),
    ],
)
def test_what_is_no_series(source: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        average_series(source)
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)


def test_frames_of_different_pixel_sizes() -> None:
    one = from_array(series()[0], 0.12)
    with pytest.raises(ImageError, match=r"\(0.12, 0.12\) and \(256, 256\), \(0.13, 0.13\)"):
        average_series([one, replace(one, pixel_size=(0.13, 0.13))])


def test_nothing_in_common() -> None:
    noise = np.random.default_rng(4).poisson(2, (5, 128, 128))
    with pytest.raises(ImageError, match=r"no two of 5 frames correlate.*--frame"):
        average_series(noise)


def test_too_far_apart() -> None:
    """An uneven surface that drifts out of the field."""
    rng = np.random.default_rng(6)
    wide = rng.normal(size=(64, 400))
    wide = np.asarray([np.convolve(row, np.hanning(9), "same") for row in wide])
    frames = np.stack([wide[:, i * 6 : i * 6 + 64] for i in range(12)])
    with pytest.raises(ImageError, match=r"share 63 × 0 pixels, at least 32 on a side are needed: average fewer"):
        average_series(frames)


@pytest.mark.parametrize("step", [0, -1.0, float("nan")])
def test_limits_that_are_none(step: float) -> None:
    with pytest.raises(UsageError, match="max_step is .*; expected pixels, more than 0"):
        measure_drift(series(), max_step=step)


def test_files_without_images(tmp_path: Path) -> None:
    np.savez(tmp_path / "line.npz", spectrum=np.ones(50))
    with pytest.raises(ImageError, match="line.npz: not a real-space image .*spectrum or profile"):
        average_series(tmp_path / "line.npz")
    with pytest.raises(FileError, match="no such file"):
        average_series(tmp_path / "none.dm4")


def test_a_spectrum_image(write_dm: Any) -> None:
    cube = np.ones((6, 40, 48), np.float32)
    path = write_dm({"EELS": cube}, 4, scales=(0.5, 0.2, 0.2), units=("eV", "nm", "nm"))
    with pytest.raises(ImageError, match="spectrum image.*give it the ADF image that was recorded along with it"):
        average_series(path)


def test_no_drift_has_no_sign() -> None:
    (note,) = average_series(np.stack([series()[0]] * 3)).notes
    assert "0.00 pixels to the right and 0.00 pixels up, at most 0.00 pixels" in note
    assert "-0.00" not in note
