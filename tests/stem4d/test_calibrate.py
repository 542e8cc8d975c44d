"""Disks drawn with known centres, radii and planes; what has no edge is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.errors import DataError, UsageError
from picostem.stem4d.calibrate import find_descan, find_disk, with_centre, with_descan, with_round_disk
from picostem.stem4d.scan import Detector, Scan4D

Pattern = NDArray[np.float64]


def disk(
    centre: tuple[float, float] = (31.3, 29.6),
    radius: float = 16.0,
    shape: tuple[int, int] = (64, 60),
    stretch: Any = ((1.0, 0.0), (0.0, 1.0)),
    oversampling: int = 8,
) -> Pattern:
    """1 inside |stretch @ d| < radius, 0.05 outside, averaged over each pixel."""
    n = oversampling
    fine = [(np.arange(size * n) + 0.5) / n - 0.5 for size in shape]
    d = np.stack(np.meshgrid(*fine, indexing="ij"), axis=-1) - centre
    inside = np.linalg.norm(d @ np.array(stretch), axis=-1) < radius
    return 0.05 + 0.95 * inside.reshape(shape[0], n, shape[1], n).mean((1, 3))


@pytest.mark.parametrize("radius", [5.0, 9.5, 16.0, 24.0])
def test_a_drawn_disk(radius: float) -> None:
    found = find_disk(disk(radius=radius))
    assert found.centre == pytest.approx((31.3, 29.6), abs=0.02)  # 120 rays, each within some hundredths of a pixel
    assert found.radius == pytest.approx(radius, abs=0.05)


def test_the_error_is_that_of_the_scatter() -> None:
    """30 drawings of 5 electrons in a pixel of the disk; their spread is known to 13 %."""
    rng = np.random.default_rng(1)
    found = [find_disk(rng.poisson(5 * disk()).astype(float)) for _ in range(30)]
    met = np.std([one.centre for one in found], axis=0)
    told = np.mean([one.error for one in found], axis=0)
    assert np.mean([one.centre for one in found], axis=0) == pytest.approx((31.3, 29.6), abs=0.05)
    assert met == pytest.approx(told, rel=0.4)
    assert met.max() < 0.15


def test_what_the_disk_shows_does_not_pull_its_centre() -> None:
    """Half of it at 60 %: the centre of mass moves by 1.6 pixels."""
    pattern = disk()
    pattern[:, 30:] *= 0.6
    assert abs(np.average(np.indices(pattern.shape)[1], weights=pattern) - 29.6) > 1
    assert find_disk(pattern).centre == pytest.approx((31.3, 29.6), abs=0.05)


def test_a_masked_beam_stop() -> None:
    pattern, mask = disk(), np.ones((64, 60), bool)
    mask[28:34, :30] = False
    pattern[~mask] = 40.0
    assert find_disk(pattern, mask).centre == pytest.approx((31.3, 29.6), abs=0.05)


def test_an_ellipse_becomes_round() -> None:
    """Pixels stretched by 6 % along a slanted axis."""
    stretch = np.array([[1.02, 0.03], [0.03, 0.97]])
    pattern = disk(stretch=stretch)
    found = find_disk(pattern, ellipse=True)
    assert found.centre == pytest.approx((31.3, 29.6), abs=0.02)
    assert found.shape == pytest.approx(stretch / 16, rel=0.01, abs=2e-4)
    scan = with_round_disk(Scan4D.of(np.tile(pattern, (2, 2, 1, 1))), found)
    old = Detector.plain((64, 60)).matrix
    assert np.linalg.det(scan.detector.matrix) == pytest.approx(np.linalg.det(old))
    assert scan.detector.centre == found.centre
    rim = scan.detector.matrix @ np.linalg.inv(stretch)  # of the circle that was stretched
    assert rim.T @ rim == pytest.approx(np.eye(2) / np.linalg.det(stretch), abs=0.01)


def test_pixels_that_are_known_not_to_be_square_are_not_stretched_twice() -> None:
    pattern = disk(stretch=[[1.0, 0.0], [0.0, 0.8]], radius=14)
    scan = Scan4D.of(np.tile(pattern, (2, 2, 1, 1)))
    matrix = np.array([[0.0, 0.8], [-1.0, 0.0]])
    known = replace(scan, detector=replace(scan.detector, matrix=matrix))
    again = with_round_disk(known, find_disk(pattern, ellipse=True))
    assert again.detector.matrix == pytest.approx(matrix, abs=0.01)


def spot(width: float) -> Pattern:
    rows, columns = np.indices((64, 60))
    return np.asarray(np.exp(-((rows - 31) ** 2 + (columns - 30) ** 2) / (2 * width**2)))


@pytest.mark.parametrize(
    "pattern",
    [
        np.ones((64, 60)),
        np.zeros((64, 60)),
        np.full((64, 60), np.nan),
        np.random.default_rng(0).poisson(5.0, (64, 60)).astype(float),
        spot(12.0),
        disk(radius=2.0),
        disk(centre=(2.0, 29.0)),
        disk(radius=60.0),
        np.maximum(disk(centre=(31.0, 18.0)), disk(centre=(31.0, 40.0))),
    ],
    ids=["constant", "zero", "nan", "noise", "gaussian", "tiny", "cut off", "larger than the detector", "two disks"],
)
def test_what_has_no_edge_is_refused(pattern: Pattern) -> None:
    with pytest.raises(DataError, match="no bright disk whose edge can be measured"):
        find_disk(pattern)


PLANE = np.array([[20.4, 0.15, -0.04], [18.7, 0.02, 0.1]])


def moving(plane: NDArray[Any], shape: tuple[int, int]) -> Scan4D:
    """Poisson counts, 20 in a pixel of the disk."""
    rng = np.random.default_rng(2)
    centres = [plane @ (1, i, j) for i in range(shape[0]) for j in range(shape[1])]
    patterns = [rng.poisson(20 * disk(tuple(c), 9.0, (44, 42), oversampling=4)) for c in centres]
    return Scan4D.of(np.array(patterns, np.uint16).reshape(*shape, 44, 42))


def test_descan_is_the_plane_that_was_drawn() -> None:
    scan = moving(PLANE, (16, 12))
    found = find_descan(scan, 4)
    assert found.tiles == 16
    assert found.matrix == pytest.approx(PLANE, abs=0.1)
    assert np.all(np.abs(found.matrix - PLANE) < 4 * found.error + 1e-3)
    assert found.matrix[:, 1:] == pytest.approx(PLANE[:, 1:], abs=0.01)
    flat = with_descan(scan, found)
    expected = [PLANE @ (1, i, j) for i in range(16) for j in range(12)]
    assert flat.centres() == pytest.approx(np.array(expected), abs=0.15)
    assert flat.detector.centre == pytest.approx(PLANE @ (1, 7.5, 5.5), abs=0.05)


def test_one_part_gone_wrong_does_not_tilt_the_plane() -> None:
    scan = moving(PLANE, (16, 12))
    data = scan.data.copy()
    data[:4, :3] = np.roll(data[:4, :3], 4, axis=-1)
    data[12:, 9:] = 3  # no disk there
    found = find_descan(replace(scan, data=data), 4)
    assert found.tiles == 15
    assert found.matrix[:, 1:] == pytest.approx(PLANE[:, 1:], abs=0.015)


def test_a_line_says_nothing_of_the_other_direction() -> None:
    found = find_descan(moving(PLANE, (1, 12)), 4)
    assert found.matrix[:, 1].tolist() == [0, 0]
    assert found.matrix[:, 2] == pytest.approx(PLANE[:, 2], abs=0.03)


def test_descan_without_disks_is_refused() -> None:
    with pytest.raises(DataError, match="found in 0 of 4 parts"):
        find_descan(Scan4D.of(np.ones((4, 4, 20, 20))), 2)
    with pytest.raises(UsageError, match="2 tiles"):
        find_descan(Scan4D.of(np.ones((4, 4, 20, 20))), 1)


def test_with_centre() -> None:
    scan = replace(Scan4D.of(np.ones((2, 2, 9, 9))), descan=np.ones((2, 3)))
    moved = with_centre(scan, (3.25, 4.5))
    assert np.all(moved.centres() == (3.25, 4.5))
    assert moved.detector.matrix is scan.detector.matrix
