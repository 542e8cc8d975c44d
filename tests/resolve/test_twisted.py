"""Layers with lattices of their own: the twist, its branch and sign, the strain, and readings of other kinds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from picostem.resolve.lattice import Lattice, power_spectrum
from picostem.resolve.twisted import (
    Twisted,
    aligned_cost,
    explained,
    lattice_power,
    merged,
    nearest_way,
    other_side,
    same_twist,
    turned_about,
    with_third_layer,
)
from picostem.structure import Monolayer, Stack, image_from_crystal, twist_distance
from picostem.structure.stack import rotation_matrix

from .made import MOS2, OPTICS, PIXEL_SIZE, RES2, ROTATION, centred, make_lattice, simulated
from .made_bilayers import (
    DRIFT,
    WSE2,
    FloatArray,
    Made,
    fitted_from_truth,
    found,
    imaged,
    known,
    look,
    stretched,
)
from .made_twisted import clean_image, recorded

Layers = tuple[Monolayer, Monolayer]

ALIKE, UNLIKE = (MOS2, MOS2), (MOS2, WSE2)
HETERO = Made(MOS2, 3.0, WSE2)
STRETCHED = Made(MOS2, 14.0, stretched(MOS2, 1.01, 1.0))


def error(twisted: Twisted, made: Made) -> float:
    """Error of the twist up to what projection cannot tell, rad."""
    return float(twist_distance(twisted.best.twist, np.radians(made.twist), made.lower, made.upper))


def seen(twisted: Twisted) -> float:
    """The twist as the image shows it, rad: of mirrored crystals the opposite one."""
    return -twisted.best.twist if twisted.best.lattices[0].mirrored else twisted.best.twist


class TestTwist:
    @pytest.mark.parametrize(
        ("made", "layers"),
        [(Made(MOS2, degrees), ALIKE) for degrees in (14.0, 45.9, 2.0, 58.5)] + [(HETERO, UNLIKE)],
        ids=lambda value: f"{value.twist}" if isinstance(value, Made) else value[1].name,
    )
    def test_within_three_standard_deviations_of_the_right_branch(self, made: Made, layers: Layers) -> None:
        twisted = found(made, layers)
        assert twisted.best.twist_sigma < np.radians(0.03)  # 34 Å in which an atom's row is placed to 0.01 Å
        assert error(twisted, made) < 3 * twisted.best.twist_sigma
        assert twisted.explained > 0.98

    @pytest.mark.slow
    @pytest.mark.parametrize("upper", [RES2, RES2.flipped()], ids=["equal", "turned over"])
    def test_pseudohexagonal_layers(self, upper: Monolayer) -> None:
        """Six settings and two hands of each layer have nearly the same peaks."""
        made = Made(RES2, 40.0, upper)
        twisted = found(made, (RES2, RES2))
        one, other = (lattice.mirrored for lattice in twisted.best.lattices)
        assert (one != other) == (upper is not RES2)
        assert error(twisted, made) < 3 * twisted.best.twist_sigma

    def test_other_branch_is_listed_with_its_cost(self) -> None:
        twisted = found(Made(MOS2, 14.0), ALIKE)
        costs = [twisted.cost(reading) for reading in twisted.others]
        assert costs == sorted(costs)
        # 14° and 46° have the same peaks and differ in the sulphur's place; nothing undecided at this dose
        assert costs[0] > 1000
        assert twist_distance(twisted.others[0].twist, np.radians(46.0), MOS2) < np.radians(0.1)
        assert not any(same_twist(r, twisted.best, ALIKE) for r in twisted.others)
        assert twisted.cost(twisted.best) == twisted.evidence(twisted.best) == 0
        assert 0 < twisted.evidence(twisted.others[0]) <= costs[0] + 1e-6

    def test_pixel_size_is_found(self) -> None:
        lattices = found(Made(MOS2, 14.0), ALIKE).best.fitted_lattices
        # 34 Å of lattice placed to 0.02 Å
        assert [one.pixel_size for one in lattices] == pytest.approx([PIXEL_SIZE] * 2, rel=1e-3)

    def test_known_pixel_size_says_the_same(self) -> None:
        made = Made(MOS2, 14.0)
        told, free = look(imaged(made), ALIKE, PIXEL_SIZE), found(made, ALIKE)
        assert told is not None
        # the same electrons: where the search started is all that differs
        assert error(told, Made(MOS2, float(np.degrees(free.best.twist)))) < 0.1 * free.best.twist_sigma

    def test_nothing_in_noise(self) -> None:
        noise = np.random.default_rng(2).poisson(20, (220, 220)).astype(np.float32)
        assert look(replace(imaged(HETERO), data=noise), ALIKE) is None


class TestFrames:
    """Unlike layers cannot be exchanged, so that the sign of their twist is seen."""

    def test_sign(self) -> None:
        assert seen(found(HETERO, UNLIKE)) == pytest.approx(np.radians(3.0), abs=np.radians(0.06))  # 3 σ

    def test_mirrored_image_shows_the_opposite_twist(self) -> None:
        image = imaged(HETERO)
        turned = look(replace(image, data=np.ascontiguousarray(image.data[:, ::-1])), UNLIKE)
        assert turned is not None
        before = found(HETERO, UNLIKE)
        # the same electrons; 0.3: the samples of the field are other ones
        assert seen(turned) == pytest.approx(-seen(before), abs=0.3 * before.best.twist_sigma)

    def test_mirrored_crystal_keeps_its_twist(self) -> None:
        """In its own frame; the image shows the opposite one."""
        made = replace(HETERO, mirrored=True)
        twisted = found(made, UNLIKE)
        assert seen(twisted) == pytest.approx(-np.radians(3.0), abs=np.radians(0.06))  # 3 σ
        assert error(twisted, made) < 3 * twisted.best.twist_sigma

    def test_turned_image_has_the_same_twist(self) -> None:
        image = imaged(HETERO)
        turned = look(replace(image, data=np.ascontiguousarray(np.rot90(image.data))), UNLIKE)
        assert turned is not None
        before = found(HETERO, UNLIKE)
        assert seen(turned) == pytest.approx(seen(before), abs=0.3 * before.best.twist_sigma)  # the same electrons
        # and the points of the first lattice, up to a symmetry of the crystal, turn with the pixels
        expected = before.best.fitted_lattices[0].rows @ rotation_matrix(np.pi / 2).T
        steps = turned.best.fitted_lattices[0].rows @ np.linalg.inv(expected)
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)

    def test_common_distortion_cancels(self) -> None:
        made = replace(HETERO, drift=DRIFT)
        twisted = found(made, UNLIKE)
        assert twisted.best.fitted_lattices[0].distortion > 1.04
        assert error(twisted, made) < 3 * twisted.best.twist_sigma
        (strain,) = twisted.best.tie.strains(twisted.best.fit.placement.reciprocals)
        assert np.abs(strain).max() < 0.0015  # 4 σ of 3.5e-4; the distortion is 25 times that

    def test_layers_lie_on_the_crystal(self) -> None:
        """Lattices in the image, up to a symmetry of each: their points are the true ones."""
        for lattice, layer in zip(found(HETERO, UNLIKE).best.fitted_lattices, HETERO.stack.layers, strict=True):
            true = layer.cell @ image_from_crystal(ROTATION, False).T / PIXEL_SIZE
            steps = lattice.rows @ np.linalg.inv(true)
            np.testing.assert_allclose(steps, np.rint(steps), atol=2e-3)  # 34 Å of lattice placed to 0.02 Å, twice
            assert abs(round(np.linalg.det(steps))) == 1


def strain_in_image(twisted: Twisted) -> FloatArray:
    """Strain of the second lattice relative to the first one, image frame."""
    best = twisted.best
    frame = best.lattices[0].orthogonal
    return np.asarray(frame @ best.tie.strains(best.fit.placement.reciprocals)[0] @ frame.T)


class TestStrain:
    def test_of_a_stretched_layer(self) -> None:
        """1 % along the upper layer's a; seen from the other layer, if the layers were exchanged, -1 %."""
        twisted = found(STRETCHED, ALIKE)
        frame = image_from_crystal(ROTATION, False) @ rotation_matrix(np.radians(14.0))
        expected = frame @ np.diag([0.01, 0.0]) @ frame.T
        sign = np.sign(np.trace(strain_in_image(twisted)))
        # 4 σ of 3.5e-4, and second order: (0.01)²/2; the prior, of 0.005, pulls by (3.5e-4/0.005)² of it
        np.testing.assert_allclose(strain_in_image(twisted), sign * expected, atol=1.5e-3)
        assert error(twisted, STRETCHED) < 3 * twisted.best.twist_sigma

    def test_none_where_there_is_none(self) -> None:
        for made, layers in ((Made(MOS2, 14.0), ALIKE), (HETERO, UNLIKE)):
            assert (
                np.abs(strain_in_image(found(made, layers))).max() < 1.5e-3
            )  # 4 σ, though the materials differ by 4 %


class TestFittedFromTheTruth:
    """Without the search, where it is known which reading is right."""

    twisted = known(MOS2, 14.0)

    def test_twist_of_each_pair(self) -> None:
        best = self.twisted.best
        assert best.twist == best.twist_of(best.fit, 0, 1)
        assert best.twist_of(best.fit, 1, 0) == pytest.approx(-best.twist)
        assert best.twist_sigma_of(best.fit, 1, 0) == pytest.approx(best.twist_sigma)
        assert abs(best.twist - np.radians(14.0)) < 3 * best.twist_sigma

    def test_spread_over_draws_is_the_standard_deviation(self) -> None:
        stack = Stack.bilayer(MOS2, (0.9, 1.4), np.radians(14.0))
        clean, rng = clean_image(stack, 200), np.random.default_rng(12)
        readings = [fitted_from_truth(stack, recorded(clean, rng)) for _ in range(24)]
        off = np.array([(r.twist - np.radians(14.0)) / r.twist_sigma for r in readings])
        assert abs(off.mean()) < 3 / np.sqrt(24)
        assert np.sqrt(np.mean(off**2)) == pytest.approx(1.0, abs=0.45)  # 3 standard deviations of 24 draws' rms

    def test_all_is_explained(self) -> None:
        assert explained(self.twisted.field, self.twisted.best) == self.twisted.explained > 0.99
        best, place = self.twisted.best, self.twisted.best.fit.placement
        faint = replace(best, fit=replace(best.fit, placement=replace(place, scale=place.scale / 2)))
        # a quarter of the power: the squares of the waves
        ratio = lattice_power(self.twisted.field, faint) / lattice_power(self.twisted.field, best)
        assert ratio == pytest.approx(0.25, rel=1e-3)

    def test_residual_beyond_noise_is_missed(self) -> None:
        best = self.twisted.best
        poor = replace(best, fit=replace(best.fit, chi2=best.fit.chi2 + 0.5 * lattice_power(self.twisted.field, best)))
        power = lattice_power(self.twisted.field, poor) * poor.fit.chi2_reduced
        # chi² of 1 to what the degrees of freedom and the draw leave: 2 % of the samples
        missed = 0.5 * lattice_power(self.twisted.field, best)
        assert explained(self.twisted.field, poor) == pytest.approx(power / (power + missed), abs=0.02)

    def test_merged_where_first_reflections_are_near(self) -> None:
        """Their distance is 2 sin(twist/2)/(a cos 30°), five elements of 1/50 Å at 15.6°."""
        for degrees, together in ((2.0, True), (15.0, True), (16.5, False), (25.0, False)):
            twisted = known(MOS2, degrees)
            assert merged(twisted.best, twisted.field) == together

    def test_other_side_of_focus(self) -> None:
        model = self.twisted.best.model
        mine = model.prior.mean + np.arange(1.0, len(model.prior.mean) + 1)
        other = other_side(model, mine)
        np.testing.assert_allclose(other_side(model, other), mine)
        assert other[0] - model.prior.mean[0] == pytest.approx(-1)
        np.testing.assert_allclose(other[1:3], -mine[1:3])
        np.testing.assert_array_equal(other[3:], mine[3:])

    def test_readings_of_one_twist(self) -> None:
        one, near, far = known(MOS2, 14.0).best, known(MOS2, 14.0, side=300).best, known(MOS2, 2.0, side=280).best
        assert same_twist(one, near, ALIKE)
        assert not same_twist(one, far, ALIKE)


class TestNearestWay:
    @pytest.mark.parametrize("degrees", [0.0, 120.0, 240.0])
    @pytest.mark.parametrize("twist", [0.0, 3.0, -20.0])
    def test_symmetry_of_the_layer_is_taken_off(self, degrees: float, twist: float) -> None:
        first = make_lattice(MOS2)
        turned = make_lattice(MOS2, rotation=ROTATION + np.radians(twist + degrees))
        way = nearest_way(turned, first, MOS2)
        assert not way.mirrored
        assert way.rotation - first.rotation == pytest.approx(np.radians(twist), abs=1e-9)

    def test_hand_of_the_first(self) -> None:
        first = make_lattice(MOS2, mirrored=True)
        assert nearest_way(make_lattice(MOS2), first, MOS2).mirrored

    def test_layer_without_symmetry_is_turned_half_round_at_most(self) -> None:
        first = make_lattice(RES2)
        way = nearest_way(make_lattice(RES2, rotation=ROTATION + np.radians(170.0)), first, RES2)
        assert way.rotation - first.rotation == pytest.approx(np.radians(-10.0), abs=1e-9)


class TestOneLatticeOrTwo:
    def cost(self, made: Made | None, lattice: Lattice) -> tuple[Twisted, float]:
        """The quick look about a lattice, and what two layers on that lattice cost over it."""
        data = centred(simulated((0.9, 1.4), material="MoS2") if made is None else imaged(made))
        quick = turned_about(data, power_spectrum(data), ALIKE, lattice, OPTICS)
        assert quick is not None
        positions = np.array([[0.0, 0.0], [0.9, 1.4] @ np.linalg.inv(MOS2.cell)])
        return quick, aligned_cost(quick, ALIKE, lattice, positions)

    def test_small_twist_found_as_one_lattice(self) -> None:
        quick, cost = self.cost(Made(MOS2, 2.0), make_lattice(MOS2, rotation=ROTATION + np.radians(1.0)))
        assert cost > 1000
        assert abs(abs(quick.best.twist) - np.radians(2.0)) < 3 * quick.best.twist_sigma

    def test_aligned_layers(self) -> None:
        quick, cost = self.cost(None, make_lattice(MOS2))
        # a twist that is free lowers chi² by one or two of itself; nothing more is gained
        assert cost < 20
        assert abs(quick.best.twist) < 5 * quick.best.twist_sigma


class TestThreeLayers:
    @pytest.mark.parametrize("twists", [(0.0, 14.0), (14.0, 9.0)], ids=["two share a lattice", "three lattices"])
    def test_third_layer(self, twists: tuple[float, float]) -> None:
        stack = Stack.of([MOS2] * 3, [(0.9, 1.4), (0.3, -1.0)], [np.radians(t) for t in twists])
        counts = np.random.default_rng(3).poisson(clean_image(stack, 320)).astype(np.float32)
        two = look(replace(imaged(HETERO), data=counts), ALIKE)
        assert two is not None
        three = with_third_layer(two, MOS2)
        assert three.explained > max(two.explained, 0.98)
        # the order of like layers along the beam is not asked for: their angles are, as a set up to sign and 120°
        true = np.cumsum([0.0, *np.radians(twists)])
        turns = [three.best.layer_lattice(i).rotation for i in range(3)]
        gaps = [twist_distance(turns[i] - turns[k], 0.0, MOS2) for i, k in ((0, 1), (0, 2), (1, 2))]
        expected = [twist_distance(true[i] - true[k], 0.0, MOS2) for i, k in ((0, 1), (0, 2), (1, 2))]
        np.testing.assert_allclose(sorted(gaps), sorted(expected), atol=np.radians(0.1))  # 4 σ
