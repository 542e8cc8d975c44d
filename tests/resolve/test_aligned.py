"""Interfaces and layers of a result, from slips that are known."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.resolve.aligned import CHI2_95, antiparallel_twist, interfaces, layers, moved, other_orders, reaching_zero
from picostem.resolve.combine import CommonSlip
from picostem.resolve.result import Domain, SlipMap
from picostem.structure import Monolayer, SlipEquivalence, image_from_crystal, load_monolayer
from picostem.structure.lattice import shortest
from picostem.structure.stack import rotation_matrix

from .made import MOS2, RES2, ROTATION, make_lattice, make_model

FloatArray = NDArray[np.float64]
SLIPS = np.array([[1.2, 1.9], [-2.1, 0.6]])


def common(slips: FloatArray, orders: dict[tuple[int, ...], float] | None = None) -> CommonSlip:
    """What was fitted, with errors of 0.01, 0.02, ... Å along each axis and reduced chi² of 2."""
    count = slips.size
    sigma = 0.01 * np.arange(1, count + 1)
    fit: Any = SimpleNamespace(chi2_reduced=2.0)
    bound = np.full(len(slips), 0.01)
    return CommonSlip(fit, slips, np.diag(sigma**2), bound, 0 * bound, orders or {}, np.array([0.3, 0.2]))


def setting(stack: tuple[Monolayer, ...], mirrored: bool = False) -> Any:
    model = replace(make_model(2, stack[0]), layers=stack)
    return SimpleNamespace(model=model, lattice=make_lattice(stack[0], mirrored=mirrored))


def off_axis(material: Monolayer) -> Monolayer:
    """The layer with its origin somewhere else."""
    return replace(material, positions=material.positions + (0.7, -0.4, 0.0))


def test_hidden_slip_reaches_zero() -> None:
    (found, _) = interfaces(common(SLIPS / 5), SLIPS / 5, setting((RES2,) * 3))
    wide = reaching_zero(found)
    assert found.slip @ np.linalg.solve(found.slip_covariance, found.slip) > 100
    # 2e-2: the fit's own variance along the slip adds to that
    assert wide.slip @ np.linalg.solve(wide.slip_covariance, wide.slip) == pytest.approx(CHI2_95, rel=2e-2)
    across = np.array([-found.slip[1], found.slip[0]])
    assert across @ wide.slip_covariance @ across == pytest.approx(across @ found.slip_covariance @ across)


class TestThreeLayers:
    found = interfaces(common(SLIPS), SLIPS, setting((RES2,) * 3))

    def test_one_interface_between_neighbours(self) -> None:
        assert [(i.lower, i.upper) for i in self.found] == [(1, 2), (2, 3)]
        for i, slip in zip(self.found, SLIPS, strict=True):
            np.testing.assert_allclose(i.slip, slip)
            np.testing.assert_allclose(i.slip_frac @ RES2.cell, slip)
            assert i.twist == 0

    def test_each_has_its_own_errors(self) -> None:
        first, second = (np.sqrt(np.diag(i.slip_covariance)) for i in self.found)
        # twice the variance, and 0.2 wavelengths of 0.0197 Å at 300 kV
        np.testing.assert_allclose(first**2, 2 * np.array([0.01, 0.02]) ** 2 + 0.00394**2, rtol=1e-3)
        np.testing.assert_allclose(second**2, 2 * np.array([0.03, 0.04]) ** 2 + 0.00394**2, rtol=1e-3)

    def test_equivalents_are_the_slips_between_any_two_layers(self) -> None:
        vectors = [SLIPS[0], SLIPS[1], SLIPS[0] + SLIPS[1]]
        for i in self.found:
            assert len(i.equivalents) == 6  # either sign of three
            for vector in vectors:
                for sign in (1, -1):
                    off = np.linalg.norm(shortest(i.equivalents - sign * vector, RES2.cell), axis=1)
                    assert off.min() < 1e-6

    def test_layers_lie_where_the_slips_say(self) -> None:
        stack = setting((RES2,) * 3)
        placed = layers(stack, np.array([0.3, 0.2]), self.found)
        np.testing.assert_allclose([x.position for x in placed], [[0, 0], SLIPS[0], SLIPS.sum(axis=0)])
        frame = image_from_crystal(ROTATION, False)
        for layer in placed:
            np.testing.assert_allclose(layer.origin, frame @ (np.array([0.3, 0.2]) @ RES2.cell + layer.position))
            np.testing.assert_allclose(layer.rows, RES2.cell @ frame.T)

    def test_orders_are_named(self) -> None:
        told = other_orders(common(SLIPS, {(2, 1, 0): 3.0, (0, 2, 1): 50.0}))
        assert [(a.hypothesis, a.delta_chi2) for a in told] == [
            ("the layers in the order 3, 2, 1 along the beam", 3.0),
            ("the layers in the order 1, 3, 2 along the beam", 50.0),
        ]
        (only,) = other_orders(common(SLIPS[:1], {(1, 0): 4.0}))
        assert only.hypothesis == "the layers in the opposite order along the beam"


class TestAntiparallel:
    @pytest.mark.parametrize("material", [MOS2, off_axis(MOS2), load_monolayer("WSe2")])
    def test_the_turned_layer_is_the_twisted_one_moved(self, material: Monolayer) -> None:
        twist, shift = antiparallel_twist(material)
        assert twist == pytest.approx(np.pi / 3)
        slip = np.array([0.4, 0.9])
        turned = material.turned().positions[:, :2] + slip
        twisted = material.positions[:, :2] @ rotation_matrix(twist).T + slip + shift
        for symbol in set(material.symbols):
            chosen = [s == symbol for s in material.symbols]
            gaps = shortest(turned[chosen][:, None] - twisted[chosen][None], material.cell)
            assert np.linalg.norm(gaps, axis=-1).min(axis=1).max() < 0.01  # Å: rounding of published coordinates

    @pytest.mark.parametrize("mirrored", [False, True])
    def test_layers_and_interface(self, mirrored: bool) -> None:
        slip = np.array([[0.4, 0.9]])
        stack = setting((MOS2, MOS2.turned()), mirrored)
        (found,) = interfaces(common(slip), slip, stack)
        assert found.twist == pytest.approx(np.pi / 3)
        np.testing.assert_allclose(found.slip, slip[0], atol=1e-5)  # Å: coordinates of six digits
        assert len(found.equivalents) == SlipEquivalence(MOS2, twist=np.pi / 3).count
        lower, upper = layers(stack, np.zeros(2), (found,))
        assert upper.rotation - lower.rotation == pytest.approx((-1 if mirrored else 1) * np.pi / 3)
        # the same lattice, other vectors of it
        steps = upper.rows @ np.linalg.inv(lower.rows)
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)
        np.testing.assert_allclose(upper.rows, MOS2.cell @ image_from_crystal(upper.rotation, mirrored).T, atol=1e-6)


def test_a_moved_map_keeps_all_but_its_slips() -> None:
    none = np.zeros(2)
    one = SlipMap(
        none, none, np.zeros((2, 2)), np.ones((2, 2)), np.zeros((2, 2, 2)), none, np.array(["ok"] * 2), none > 0,
        20.0, 10.0, (1, 2), (Domain(np.arange(2), np.ones(2), np.eye(2), none, 1.0),),
    )  # fmt: skip
    after = moved(one, np.array([0.5, -1.0]))
    np.testing.assert_allclose(after.slip, [[1.5, 0.0]] * 2)
    np.testing.assert_allclose(after.domains[0].slip, [1.5, 0.0])
    assert after.grid == one.grid
