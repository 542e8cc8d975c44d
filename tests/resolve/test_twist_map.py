"""Windows of twisted layers: registry against the analytic one, domains, strain from place to place, and what is wrong.

Fits start from readings that were fitted at the truth (`made_bilayers.known`); nothing is searched for.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from picostem.resolve.field import Field
from picostem.resolve.joint import Placement, Tie, fit_joint
from picostem.resolve.locate import locate
from picostem.resolve.twist_map import (
    TwistWindows,
    curvature_error,
    fitted_status,
    local_strain,
    map_twist,
    registry_at_centre,
    twist_domains,
)
from picostem.resolve.twisted import Reading
from picostem.simulate import AcquisitionSettings, simulate_specimen
from picostem.simulate.domains import TwistDomains
from picostem.simulate.experiment import Specimen
from picostem.simulate.slip_field import SlipField
from picostem.structure import RelaxedMoire, Stack, image_from_crystal
from picostem.structure.lattice import shortest

from .made import MICROSCOPE, MOS2, PIXEL_SIZE, ROTATION
from .made_bilayers import SHIFT, SIDE, WSE2, FloatArray, fitted_from_truth, known
from .made_twisted import ORIGIN, build, clean_image, lattices_of, recorded

WINDOW, STRIDE = 166, 83
"""Pixels: 20 and 10 Å."""
FRAME = image_from_crystal(ROTATION, False)


def mapped(reading: Reading, field: Field, shape: tuple[int, int], **options: Any) -> TwistWindows:
    (windows,) = map_twist(
        field, shape, reading, options.get("window", WINDOW), options.get("stride", STRIDE), options.get("progress")
    )
    return windows


@cache
def uniform() -> TwistWindows:
    """A twist of 3° of MoS2 and WSe2, 50 Å wide."""
    twisted = known(MOS2, 3.0, WSE2)
    return mapped(twisted.best, twisted.whole, (420, 420))


def crystal_places(windows: TwistWindows, origin: FloatArray | tuple[float, float] = ORIGIN) -> FloatArray:
    """Centres in the lower layer's crystal frame, Å."""
    return np.asarray((windows.centres * PIXEL_SIZE - origin) @ FRAME)


def made_by_hand(grid: tuple[int, int], **changes: Any) -> TwistWindows:
    """Good windows 10 pixels apart with no twist, no registry and no noise, but for what is changed."""
    rows, cols = grid
    n = rows * cols
    y, x = np.meshgrid((rows - 1) / 2 - np.arange(rows), np.arange(cols) - (cols - 1) / 2, indexing="ij")
    values: dict[str, Any] = {
        "centres": 10 * np.stack([x, y], axis=-1).reshape(-1, 2),
        "grid": grid,
        "twist": np.zeros(n),
        "twist_sigma": np.full(n, 1e-4),
        "registry": np.zeros((n, 2)),
        "covariance": np.tile(np.eye(2) * 1e-4, (n, 1, 1)),
        "chi2": np.ones(n),
        "scale": np.ones(n),
        "placements": (),
        "typical": 1.0,
    }
    values |= changes
    status = fitted_status(values["twist_sigma"], values["chi2"], values["scale"])
    return TwistWindows(**{"status": status, "engine": np.full(n, "fit"), **values})


class TestCurvature:
    def test_is_what_a_straight_line_misses_in_the_middle(self) -> None:
        bend, length, stride = 0.004, 30.0, 10.0
        windows = made_by_hand((5, 6))
        registry = np.column_stack([bend / 2 * windows.centres[:, 0] ** 2, 0.3 * windows.centres[:, 1]])
        x = np.linspace(-length / 2, length / 2, 20001)
        line = np.polynomial.Polynomial.fit(x, bend / 2 * x**2, 1)
        found = curvature_error(replace(windows, registry=registry), np.eye(2), length, stride)
        # one length, known exactly, stands for the median of a normal distribution in the plane
        assert found == pytest.approx(abs(line(0.0)) / np.sqrt(2 * np.log(2)), rel=1e-3)  # 1e-3: steps of x

    def test_uniform_strain_and_twist_have_none(self) -> None:
        windows = made_by_hand((4, 4))
        registry = windows.centres @ np.array([[0.01, -0.02], [0.03, 0.005]]) + 7
        assert curvature_error(replace(windows, registry=registry), MOS2.cell, 30, 10) < 1e-9  # rounding

    def test_a_boundary_does_not_count(self) -> None:
        windows = made_by_hand((9, 9))
        registry = np.column_stack([0.1 * np.abs(windows.centres[:, 0]), 0 * windows.centres[:, 0]])
        assert curvature_error(replace(windows, registry=registry), MOS2.cell, 30, 10) < 1e-9  # rounding

    def test_needs_neighbours_that_are_trusted(self) -> None:
        assert curvature_error(made_by_hand((2, 9)), MOS2.cell, 30, 10) == 0
        assert curvature_error(made_by_hand((3, 3), chi2=np.full(9, 9.0)), MOS2.cell, 30, 10) == 0


class TestGrid:
    def test_covers_the_image(self) -> None:
        windows = uniform()
        assert windows.grid == (4, 4)
        assert len(windows.centres) == 16
        # half of 420 pixels less half a window
        np.testing.assert_allclose(windows.centres.min(axis=0), -127)
        np.testing.assert_allclose(windows.centres.max(axis=0), 127)
        # rows slowest, from the top: y falls
        assert (np.diff(windows.centres[:4, 0]) > 0).all()
        assert (np.diff(windows.centres[::4, 1]) < 0).all()

    def test_one_window_where_no_more_fit(self) -> None:
        twisted = known(MOS2, 3.0, WSE2)
        windows = mapped(twisted.best, twisted.whole, (420, 420), window=420)
        assert windows.grid == (1, 1)
        np.testing.assert_allclose(windows.centres, 0)
        assert windows.twist[0] == pytest.approx(twisted.best.twist, abs=0.3 * twisted.best.twist_sigma)  # same data

    def test_progress(self) -> None:
        said: list[tuple[int, int]] = []
        twisted = known(MOS2, 3.0, WSE2)
        mapped(twisted.best, twisted.whole, (420, 420), stride=166, progress=lambda *step: said.append(step))
        assert said == sorted(said)
        assert said[-1] == (9, 9)


class TestUniformTwist:
    def test_registry_is_the_analytic_one(self) -> None:
        windows = uniform()
        truth = RelaxedMoire(MOS2, WSE2, np.radians(3.0), SHIFT)
        found = windows.registry @ MOS2.cell
        true = truth.registry(crystal_places(windows)) @ MOS2.cell
        off = found - true
        assert np.linalg.norm(shortest(off, MOS2.cell), axis=1).max() < 0.05  # Å: 4 σ of a window
        # continuous: one lattice vector for all windows
        assert np.ptp(off, axis=0).max() < 0.1

    def test_it_runs_through_more_than_a_cell(self) -> None:
        """Else continuity says nothing: 36 Å at 3° and 4 % of mismatch."""
        assert np.ptp(uniform().registry, axis=0).max() > 0.5

    def test_twist_of_every_window(self) -> None:
        windows = uniform()
        off = np.abs(windows.twist - np.radians(3.0)) / windows.twist_sigma
        assert off.max() < 4  # 16 windows
        assert np.median(off) < 1.5
        # three times the width, 7 (window² fewer electrons, each of a shorter lever): 20 Å against 50 Å
        assert 4 < np.median(windows.twist_sigma) / known(MOS2, 3.0, WSE2).best.twist_sigma < 10

    def test_covariance_is_that_of_the_errors(self) -> None:
        windows = uniform()
        truth = RelaxedMoire(MOS2, WSE2, np.radians(3.0), SHIFT).registry(crystal_places(windows))
        off = shortest((windows.registry - truth) @ MOS2.cell, MOS2.cell)
        mahalanobis = np.einsum("ni,nij,nj->n", off, np.linalg.inv(windows.covariance), off)
        # 2 each; sixteen windows that overlap hold some six of noise of their own: 2 ± 0.8
        assert 0.5 < mahalanobis.mean() < 5

    def test_all_are_good(self) -> None:
        windows = uniform()
        assert (windows.status == "ok").all()
        np.testing.assert_allclose(windows.chi2, 1, atol=0.25)  # 660 samples: 5 %; the least quarter is 1
        np.testing.assert_array_equal(twist_domains(windows), 0)

    def test_no_strain_from_place_to_place(self) -> None:
        crystal_from_image = FRAME.T * PIXEL_SIZE
        strain = local_strain(uniform(), MOS2.cell, crystal_from_image)
        assert np.isnan(strain[[0, 3, 12, 15]]).all()  # corners: too few neighbours
        known_ones = strain[~np.isnan(strain[:, 0, 0])]
        assert len(known_ones) == 12
        assert np.abs(known_ones).max() < 3e-3  # 0.015 Å in 10 Å, averaged over six windows or more
        np.testing.assert_allclose(known_ones.mean(axis=0), 0, atol=1e-12)

    def test_registry_where_the_reading_stands(self) -> None:
        best = known(MOS2, 3.0, WSE2).best
        registry, covariance = registry_at_centre(best, best.fit)
        true = RelaxedMoire(MOS2, WSE2, np.radians(3.0), SHIFT).registry(-np.array(ORIGIN) @ FRAME)
        off = shortest((registry - true) @ MOS2.cell, MOS2.cell)
        assert off @ np.linalg.inv(covariance) @ off < 13.8  # 99.9 % of two degrees of freedom
        np.testing.assert_allclose(covariance, covariance.T, rtol=1e-9)

    def test_registry_of_exchanged_layers_is_the_opposite(self) -> None:
        best = known(MOS2, 14.0).best
        place = best.fit.placement
        turned = replace(place, positions=place.positions[::-1], reciprocals=place.reciprocals[::-1])
        swapped = replace(best, lattices=best.lattices[::-1], fit=replace(best.fit, placement=turned))
        one, other = (registry_at_centre(reading, reading.fit)[0] for reading in (best, swapped))
        np.testing.assert_allclose(one, -other, atol=1e-9)


TWISTS = (np.radians(9.8), np.radians(11.8))


@cache
def triangles() -> tuple[TwistWindows, TwistDomains]:
    """A triangle of 9.8°, 60 Å a side, about the centre of 84 Å, and parts of its neighbours of 11.8°."""
    specimen = TwistDomains(MOS2, MOS2, TWISTS, 60.0)
    field = of_specimen(specimen, 700, -FRAME @ specimen.tiling.sum(axis=0) / 3)
    part = field.cut((0.0, 0.0), 200)
    lattices = lattices_of(Stack.bilayer(MOS2, SHIFT, TWISTS[0]))
    model, tie = build((MOS2, MOS2), lattices), Tie.of(lattices, 0.005)
    reciprocals = np.array([lattice.reciprocal for lattice in lattices])
    located = locate(model, part, model.prior.mean, reciprocals, 1)[0]
    start = Placement(model.prior.mean, located.scale, located.positions, reciprocals)
    reading = Reading(lattices, model, tie, fit_joint(model, part, start, tie, free_microscope=True))
    return mapped(reading, field, (700, 700)), specimen


def of_specimen(specimen: Specimen, side: int, origin: FloatArray) -> Field:
    image, _ = simulate_specimen(
        specimen,
        MICROSCOPE,
        AcquisitionSettings(),
        (side, side),
        PIXEL_SIZE,
        np.random.default_rng(7),
        rotation=ROTATION,
        origin=(float(origin[0]), float(origin[1])),
    )
    return recorded(image.data.astype(np.float64))


class TestDomains:
    def test_two_twists_by_hand(self) -> None:
        rng = np.random.default_rng(1)
        left = np.tile(np.arange(9) < 6, 8)
        twist = np.radians(np.where(left, 9.8, 11.8)) + rng.normal(0, 1e-3, 72)
        labels = twist_domains(made_by_hand((8, 9), twist=twist, twist_sigma=np.full(72, 1e-3)))
        np.testing.assert_array_equal(labels, np.where(left, 0, 1))  # the larger one is the first

    def test_windows_across_the_boundary_belong_to_none(self) -> None:
        """Their twists are anything between."""
        twist = np.tile(np.repeat([9.8, 0.0, 11.8], [4, 1, 4]), (8, 1))
        twist[:, 4] = np.linspace(10.2, 11.4, 8)
        labels = twist_domains(made_by_hand((8, 9), twist=np.radians(twist).ravel()))
        np.testing.assert_array_equal(labels.reshape(8, 9)[:, 4], -1)
        assert set(labels[labels >= 0]) == {0, 1}

    def test_twist_that_drifts_is_one(self) -> None:
        twist = np.radians(10 + 0.4 * np.linspace(0, 1, 72))
        labels = twist_domains(made_by_hand((8, 9), twist=twist))
        assert set(labels) <= {-1, 0}
        assert np.mean(labels == 0) > 0.9

    def test_a_lone_window_is_none(self) -> None:
        twist = np.radians(np.where(np.arange(72) == 40, 14.0, 10.0))
        labels = twist_domains(made_by_hand((8, 9), twist=twist))
        assert labels[40] == -1
        assert np.count_nonzero(labels == 0) == 71

    def test_windows_that_are_not_ok_count_for_nothing(self) -> None:
        chi2 = np.where(np.arange(72) < 10, 9.0, 1.0)
        labels = twist_domains(made_by_hand((8, 9), chi2=chi2))
        np.testing.assert_array_equal(labels, np.where(np.arange(72) < 10, -1, 0))
        np.testing.assert_array_equal(twist_domains(made_by_hand((8, 9), chi2=np.full(72, 9.0))), -1)


class TestTriangles:
    def test_both_twists(self) -> None:
        windows, specimen = triangles()
        true = specimen.twist(crystal_places(windows, -FRAME @ specimen.tiling.sum(axis=0) / 3))
        labels = twist_domains(windows)
        assert set(labels[labels >= 0]) == {0, 1}
        for label in (0, 1):
            twists = np.abs(windows.twist[labels == label])
            # 0.1° of noise a window; those that reach over the boundary pull the median towards the other twist
            assert np.abs(np.median(twists) - np.array(TWISTS)).min() < np.radians(0.2)
        wrong = np.abs(np.abs(windows.twist) - true) > np.radians(1.0)
        assert np.mean(wrong[labels >= 0]) < 0.1  # those whose centre lies a few Å beyond the boundary

    def test_domain_lies_where_the_triangle_is(self) -> None:
        windows, _ = triangles()
        labels = twist_domains(windows)
        first = int(np.argmin(np.linalg.norm(windows.centres, axis=1)))
        middle = np.linalg.norm(windows.centres, axis=1) * PIXEL_SIZE < 60 / np.sqrt(12) - 10  # wholly within it
        np.testing.assert_array_equal(labels[middle], labels[first])
        assert np.abs(windows.twist[middle]) == pytest.approx(TWISTS[0], abs=np.radians(0.4))  # 4 σ


class TestStrain:
    cell, frame = MOS2.cell, FRAME.T * PIXEL_SIZE
    corners = np.isin(np.arange(42), [0, 6, 35, 41])
    """Windows with fewer than five neighbours, whose strain is not known."""

    def test_linear_registry_is_the_mean(self) -> None:
        windows = made_by_hand((6, 7))
        registry = (windows.centres @ self.frame.T) @ np.array([[0.02, 0.03], [-0.01, 0.05]]) @ np.linalg.inv(self.cell)
        strain = local_strain(replace(windows, registry=registry), self.cell, self.frame)
        np.testing.assert_allclose(strain[~self.corners], 0, atol=1e-12)
        assert np.isnan(strain[self.corners]).all()

    def test_stretch_that_grows_from_left_to_right(self) -> None:
        """D = k x²/2 along x of the crystal: strain k x, less its mean of 0."""
        windows = made_by_hand((6, 7))
        x = (windows.centres @ self.frame.T)[:, 0]
        slips = np.column_stack([1e-3 * x**2 / 2, np.zeros_like(x)])
        strain = local_strain(replace(windows, registry=slips @ np.linalg.inv(self.cell)), self.cell, self.frame)
        inside = ~((windows.centres[:, 0] % 60 == 30) | (np.abs(windows.centres[:, 1]) == 25))
        np.testing.assert_allclose(strain[inside, 0, 0], 1e-3 * x[inside], atol=1e-9)
        np.testing.assert_allclose(strain[~self.corners, 1, 1], 0, atol=1e-12)
        np.testing.assert_array_equal(strain, np.swapaxes(strain, 1, 2))

    def test_rotation_is_no_strain(self) -> None:
        windows = made_by_hand((6, 7))
        places = windows.centres @ self.frame.T
        turned = np.linalg.norm(places, axis=1)[:, None] ** 2 * 1e-5 * places @ np.array([[0.0, 1.0], [-1.0, 0.0]])
        strain = local_strain(replace(windows, registry=turned @ np.linalg.inv(self.cell)), self.cell, self.frame)
        # turns that grow outwards shear, and stretch not
        np.testing.assert_allclose(np.trace(strain[~self.corners], axis1=1, axis2=2), 0, atol=1e-9)

    def test_unknown_where_neighbours_are_missing(self) -> None:
        chi2 = np.ones(42)
        chi2[[1, 7, 8]] = 9.0  # all neighbours of the first window
        strain = local_strain(made_by_hand((6, 7), chi2=chi2), self.cell, self.frame)
        assert np.isnan(strain[[0, 1, 7, 8]]).all()
        assert not np.isnan(strain[24]).any()
        alone = local_strain(made_by_hand((1, 1)), self.cell, self.frame)
        assert np.isnan(alone).all()


@cache
def damaged_image() -> TwistWindows:
    """The left of an image of 67 Å is vacuum, and its lower right corner amorphous."""
    stack = Stack.bilayer(MOS2, SHIFT, np.radians(14.0))
    clean = clean_image(stack, 2 * SIDE)
    y, x = np.mgrid[: 2 * SIDE, : 2 * SIDE]
    rng = np.random.default_rng(3)
    spoiled = rng.uniform(0, 2 * clean.mean(), (70, 70)).repeat(8, axis=0).repeat(8, axis=1)
    expected = np.where(x < 200, 0.02 * clean.mean(), np.where((x > 380) & (y > 380), spoiled, clean))
    field = recorded(expected, rng)
    reading = fitted_from_truth(stack, field.cut((0.0, 0.0), 150))
    return mapped(reading, field, clean.shape)


class TestStatus:
    def test_by_hand(self) -> None:
        windows = made_by_hand(
            (1, 6),
            scale=np.array([1.0, 1.0, 1.0, 1.0, 0.5, 0.1]),
            chi2=np.array([1.0, 1.4, 1.0, 2.0, 1.0, 1.0]),
            twist_sigma=np.radians([0.1, 0.1, 2.0, 0.1, 0.1, 0.1]),
        )
        assert windows.status.tolist() == ["ok", "ok", "unresolved", "untrusted", "edge", "vacuum"]

    @pytest.fixture(name="damaged")
    def resolved_in_part(self) -> TwistWindows:
        return damaged_image()

    def test_vacuum_and_damage(self, damaged: TwistWindows) -> None:
        rows, cols = damaged.grid
        status = damaged.status.reshape(rows, cols)
        x = damaged.centres[:cols, 0]
        assert set(status[:, x < -190].ravel()) == {"vacuum"}  # wholly within the vacuum
        good = (damaged.centres[:, 0] > 10) & (damaged.centres[:, 1] > 0)
        assert (damaged.status[good] == "ok").all()
        assert status[-1, -1] in ("untrusted", "vacuum", "edge", "unresolved")

    def test_twist_of_the_good_ones(self, damaged: TwistWindows) -> None:
        ok = damaged.status == "ok"
        off = np.abs(damaged.twist[ok] - np.radians(14.0)) / damaged.twist_sigma[ok]
        assert np.median(off) < 2
        labels = twist_domains(damaged)
        assert np.mean(labels[ok] == 0) > 0.9
        assert (labels[~ok] == -1).all()


class TestRelaxedMoire:
    def test_slips(self) -> None:
        """Amplitude 0.15 Å in a moiré of 48 Å, of which windows of 15 Å smooth a fifth away."""
        moire = RelaxedMoire(MOS2, WSE2, np.radians(3.0), SHIFT, amplitude=0.15)
        field = of_specimen(SlipField(moire), 500, np.array(ORIGIN))
        reading = fitted_from_truth(Stack.bilayer(MOS2, SHIFT, np.radians(3.0), WSE2), field.cut((0.0, 0.0), 250))
        windows = mapped(reading, field, (500, 500), window=125, stride=62)
        places = crystal_places(windows)
        off = shortest((windows.registry - moire.registry(places)) @ MOS2.cell, MOS2.cell)
        assert (windows.status == "ok").all()
        assert np.sqrt(np.mean(np.sum(off**2, axis=1))) < 0.1
        rigid = RelaxedMoire(MOS2, WSE2, np.radians(3.0), SHIFT).registry(places)
        shift = shortest((windows.registry - rigid) @ MOS2.cell, MOS2.cell)
        u = moire.displacement(places)
        assert np.corrcoef(shift.ravel(), u.ravel())[0, 1] > 0.9  # what the relaxation did is seen
