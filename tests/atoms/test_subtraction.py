"""The lattice taken off an image: what is left of a perfect one, and planted defects."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.atoms.subtraction import subtract_lattice
from picostem.errors import ImageError, UsageError
from picostem.image import Image
from tests.atoms.made import image

FloatArray = NDArray[np.float64]

SHAPE = (190, 230)
BRIGHT = 60.0  # counts at the top of an atom
SIGMA = 2.6


def honeycomb() -> FloatArray:
    """Sites of two sublattices, 11.3 pixels apart and turned by 17°, beyond the border too."""
    angle = np.radians(17) + np.radians([0, 60])
    basis = 19.6 * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    steps = np.stack(np.meshgrid(*[np.arange(-30, 31)] * 2), axis=-1).reshape(-1, 2)
    place = np.concatenate([steps @ basis, steps @ basis + basis.sum(axis=0) / 3]) + 40.3
    return place[np.all((place > -12) & (place < np.array(SHAPE) + 12), axis=1)]


def mean_counts(place: FloatArray, height: FloatArray) -> FloatArray:
    rows, cols = np.ogrid[: SHAPE[0], : SHAPE[1]]
    total = np.full(SHAPE, 10.0)
    for (row, col), top in zip(place, height, strict=True):
        total += (
            top * np.exp(-((rows - row) ** 2)[:, :] / (2 * SIGMA**2)) * np.exp(-((cols - col) ** 2) / (2 * SIGMA**2))
        )
    return total


def inner(place: FloatArray, count: int) -> FloatArray:
    """Numbers of sites far from the border and from each other."""
    far = np.flatnonzero(np.all((place > 25) & (place < np.array(SHAPE) - 26), axis=1))
    chosen: list[int] = []
    for one in np.random.default_rng(5).permutation(far):
        if all(np.hypot(*(place[one] - place[other])) > 40 for other in chosen):
            chosen.append(int(one))
    return np.array(chosen[:count])


class TestPerfectLattice:
    def test_nothing_is_left_up_to_the_border(self) -> None:
        place = honeycomb()
        counts = mean_counts(place, np.full(len(place), BRIGHT))
        left = subtract_lattice(image(counts)).difference
        assert np.abs(left).max() < 0.03 * np.ptp(counts)  # in a corner, where reflections leak most
        assert left.std() < 0.002 * np.ptp(counts)

    def test_noise_is_left_as_it_was(self) -> None:
        """As much at the border as in the middle, and no defect in it."""
        place = honeycomb()
        counts = mean_counts(place, np.full(len(place), BRIGHT))
        noisy = np.random.default_rng(0).poisson(counts)
        found = subtract_lattice(image(noisy))
        assert len(found.defects) == 0
        share = found.difference.var() / counts.mean()
        assert 0.9 < share < 1.05  # the noise at the lattice's frequencies goes, reflections that it hides stay
        border = np.ones(SHAPE, dtype=bool)
        border[8:-8, 8:-8] = False
        assert found.difference[border].var() / counts[border].mean() == pytest.approx(share, rel=0.08)  # 6000 pixels


class TestDefects:
    def planted(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Counts, and places and signs of three sites without an atom, two with a brighter one, one atom between."""
        place = honeycomb()
        chosen = inner(place, 5)
        height = np.full(len(place), BRIGHT)
        height[chosen[:3]] = 0
        height[chosen[3:]] = 2 * BRIGHT
        between = place[inner(place, 6)[5]] + [0, 5.6]
        noisy = np.random.default_rng(1).poisson(mean_counts(np.vstack([place, between]), np.append(height, BRIGHT)))
        return noisy.astype(float), np.vstack([place[chosen], between]), np.array([-1, -1, -1, 1, 1, 1])

    def test_each_is_found_with_its_sign_and_nothing_else(self) -> None:
        counts, true, sign = self.planted()
        defects = subtract_lattice(image(counts)).defects
        assert len(defects) == 6
        found = np.column_stack([defects.row, defects.col])
        nearest = np.argmin(np.linalg.norm(found[:, None] - true, axis=-1), axis=1)
        assert sorted(nearest) == list(range(6))
        assert np.linalg.norm(found - true[nearest], axis=1).max() < 2.0  # a pixel, and its noise
        assert np.array_equal(defects.sign, sign[nearest])
        assert np.all((defects.area > np.pi * SIGMA**2) & (defects.area < np.pi * (4 * SIGMA) ** 2))
        assert np.all(np.diff(defects.score) <= 0)

    def test_grey_levels_do_not_matter(self) -> None:
        counts, _, _ = self.planted()
        one, other = subtract_lattice(image(counts)), subtract_lattice(image(0.01 * counts - 7))
        assert np.array_equal(one.defects.row, other.defects.row)
        assert other.difference == pytest.approx(
            0.01 * one.difference, abs=0.001
        )  # single precision, and weights: spread 0.05

    def test_two_side_by_side_stay_two(self) -> None:
        place = honeycomb()
        first = inner(place, 1)[0]
        second = np.argsort(np.linalg.norm(place - place[first], axis=1))[1]
        height = np.full(len(place), BRIGHT)
        height[[first, second]] = 0
        defects = subtract_lattice(image(np.random.default_rng(3).poisson(mean_counts(place, height)))).defects
        assert len(defects) == 2 and np.all(defects.sign == -1)


def noise() -> FloatArray:
    return np.random.default_rng(2).standard_normal(SHAPE)


class TestRefusals:
    def test_no_lattice(self) -> None:
        with pytest.raises(ImageError, match="no lattice"):
            subtract_lattice(Image(noise().astype(np.float32)))

    @pytest.mark.parametrize("threshold", [0.0, -1.0, np.nan])
    def test_threshold(self, threshold: float) -> None:
        place = honeycomb()
        with pytest.raises(UsageError, match="above 0"):
            subtract_lattice(image(mean_counts(place, np.ones(len(place)))), threshold)
