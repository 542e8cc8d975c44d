"""Orientation, hand and branch of layers that lie in the image in known ways."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.bench.orientation import branch, hand_right, nearest_order, orientation_right, twist_error
from picostem.physics import DEGREE
from picostem.structure import load_monolayer
from tests.bench.made import ROTATION, case, interface, layer, result

TWO = ("MoS2", "MoS2")
RES2 = ("ReS2", "ReS2")


@pytest.mark.parametrize(
    ("name", "rotation", "mirrored", "right"),
    [
        ("ReS2", 31.0, False, True),
        ("ReS2", 30.0 + 180, False, True),  # seen from above, ReS2 has a twofold axis only
        ("ReS2", 30.0 + 120, False, False),
        ("ReS2", 30.0, True, False),
        ("MoS2", 30.0 + 120, False, True),
        ("MoS2", 30.0 + 60, False, False),
        ("MoS2", 30.0 + 60, True, True),  # a mirror line lies 30° from a
    ],
)
def test_orientation(name: str, rotation: float, mirrored: bool, right: bool) -> None:
    assert orientation_right(layer(name, rotation, mirrored), case("slip", (name, name))) is right


@pytest.mark.parametrize(("rotation", "right"), [(30.0, True), (40.0, True), (20.0, False)])
def test_the_upper_layer_may_have_been_taken_for_the_lower_one(rotation: float, right: bool) -> None:
    assert orientation_right(layer("MoS2", rotation), case("twist", TWO, (10.0,))) is right


def test_a_mirrored_image_turns_the_other_way() -> None:
    truth = case("twist", TWO, (10.0,), mirrored=True)
    assert orientation_right(layer("MoS2", 20.0, True), truth)
    assert not orientation_right(layer("MoS2", 40.0, True), truth)


def test_the_upper_layer_of_another_structure_is_not_the_lower_one() -> None:
    assert not orientation_right(layer("MoS2", 40.0), case("twist", ("MoS2", "WSe2"), (10.0,)))


def test_a_layer_upside_down_is_the_listed_one_mirrored() -> None:
    truth = case("twist", RES2, (10.0,), flipped=(0,))
    upside_down = layer("ReS2", monolayer=load_monolayer("ReS2").flipped())
    assert orientation_right(upside_down, truth)
    assert orientation_right(layer("ReS2", mirrored=True), truth)
    assert not orientation_right(layer("ReS2"), truth)


@pytest.mark.parametrize(
    ("found", "alternatives", "expected"),
    [
        (10.3, (), "right"),
        (-10.3, (), "right"),  # which layer is the lower one cannot be seen
        (130.0, (), "right"),
        (50.2, (), "wrong"),
        (70.0, (), "wrong"),
        (25.0, (), "neither"),
        (50.2, (9.9,), "undecided"),
    ],
)
def test_branch_of_2h_layers(found: float, alternatives: tuple[float, ...], expected: str) -> None:
    answer = result("twist", (layer("MoS2"), layer("MoS2")), (interface(found, 0.1, alternatives),))
    assert branch(answer, case("twist", TWO, (10.0,))) == expected


@pytest.mark.parametrize(
    ("twist", "found", "expected"), [(0.0, 60.0, "wrong"), (60.0, 60.0, "right"), (0.0, 0.0, "right")]
)
def test_branch_of_aligned_layers(twist: float, found: float, expected: str) -> None:
    answer = result("slip", (layer("MoS2"), layer("MoS2")), (interface(found),))
    assert branch(answer, case("slip", TWO, (twist,))) == expected


def test_layers_with_a_twofold_axis_and_those_half_way_have_no_branch() -> None:
    found = result("twist", (layer("ReS2"), layer("ReS2")), (interface(10.0, 0.1),))
    assert branch(found, case("twist", RES2, (10.0,))) is None
    half_way = result("twist", (layer("MoS2"), layer("MoS2")), (interface(29.8, 0.1),))
    assert branch(half_way, case("twist", TWO, (30.2,))) is None


def test_other_layers_than_there_are_have_no_branch() -> None:
    assert branch(result("monolayer", (layer("MoS2"),), (interface(0.0),)), case("twist", TWO, (10.0,))) is None
    assert branch(result("unresolved"), case("twist", TWO, (10.0,))) is None


def test_domains_are_each_within_reach_of_their_mean() -> None:
    answer = result("twist", (layer("MoS2"), layer("MoS2")), (interface(11.7, 0.1),))
    assert branch(answer, case("twist domains", TWO, (10.8,), domain_twists_deg=[9.8, 11.8])) == "right"
    assert branch(answer, case("twist", TWO, (10.0,))) == "neither"


@pytest.mark.parametrize(("mirrored", "right"), [(True, True), (False, False)])
def test_hand_of_an_upper_layer_upside_down(mirrored: bool, right: bool) -> None:
    truth = case("twist", RES2, (10.0,), flipped=(1,))
    answer = result("twist", (layer("ReS2"), layer("ReS2", 40.0, mirrored)), (interface(10.0, 0.1),))
    assert hand_right(answer, truth, 0) is right
    assert branch(answer, truth) == (None if right else "wrong")


def test_layers_that_are_their_own_mirror_image_have_no_hand() -> None:
    answer = result("twist", (layer("MoS2"), layer("MoS2", 40.0, True)), (interface(10.0, 0.1),))
    assert hand_right(answer, case("twist", TWO, (10.0,)), 0)


@pytest.mark.parametrize(("stated", "error"), [((10.2, ()), 0.2), ((49.9, (10.05,)), 0.05), ((-109.7, ()), 0.3)])
def test_error_of_the_nearest_stated_twist(stated: tuple[float, tuple[float, ...]], error: float) -> None:
    found = interface(stated[0], 0.1, stated[1])
    assert twist_error(found, case("twist", TWO, (10.0,)), 0) / DEGREE == pytest.approx(error, abs=1e-9)


def test_layers_of_a_heterobilayer_are_not_exchanged() -> None:
    # MoS2 and WSe2 have mirror lines, so that θ and -θ look the same, but 130° is only 10° by a threefold axis.
    truth = case("twist", ("MoS2", "WSe2"), (10.0,))
    errors = [twist_error(interface(found, 0.1), truth, 0) / DEGREE for found in (-10.0, 130.0, 50.0)]
    assert errors[1:] == pytest.approx([0.0, 40.0], abs=1e-9)


@pytest.mark.parametrize(
    ("found", "error"),
    [((10.0, -15.0), 0.0), ((-5.0, 15.0), 0.0), ((15.0, -10.0), 0.0), ((10.0, 15.0), 10.0)],
)
def test_three_layers_may_lie_in_any_order(found: tuple[float, float], error: float) -> None:
    # True turns 0, 10, -5: in the orders (1, 2, 3), (1, 3, 2) and (3, 2, 1). The last one is none of them, the
    # nearest is (2, 1, 3) seen from the other side, with twists of 10° and 5°.
    truth = case("twisted trilayer", ("MoS2",) * 3, (10.0, -15.0))
    answer = result("twist", (layer("MoS2"),) * 3, tuple(interface(t, 0.1) for t in found))
    near = nearest_order(answer, truth)
    total = sum(twist_error(one, near, k) for k, one in enumerate(answer.interfaces)) / DEGREE
    assert total == pytest.approx(error, abs=1e-9)


def test_layers_of_other_structures_keep_their_places() -> None:
    truth = case("twisted trilayer", ("MoS2", "WSe2", "MoS2"), (10.0, -15.0))
    answer = result("twist", (layer("MoS2"),) * 3, (interface(15.0), interface(-10.0)))
    names = [one["structure"] for one in nearest_order(answer, truth).truth["layers"]]
    assert names == ["MoS2", "WSe2", "MoS2"]


def test_matrices_agree_with_the_stated_rotation() -> None:
    first, second = case("twist", TWO, (10.0,), mirrored=True).matrices
    assert np.linalg.det(first) == pytest.approx(-1)
    # seen mirrored, the upper layer's a is turned by 10° the other way
    assert np.degrees(np.arctan2(second[1, 0], second[0, 0])) == pytest.approx(ROTATION - 10)
