"""Pools of simulations: the same from the same seed, spread evenly, true to their labels."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.errors import UsageError
from picostem.physics import DEGREE
from picostem.simulate import simulate_periodic
from picostem.structure import Stack, load_monolayer
from picostem.style.pool import PUBLISHED_MICROSCOPE, Simulation, even_points, simulate_pool

SMALL: Any = {"pixel_size": 0.15, "extent": 9.0, "seed": 3}


def slips(pool: tuple[Simulation, ...]) -> NDArray[np.float64]:
    """Da, Db of each, from 0 to 1."""
    return np.array([one.truth["slip"]["D_frac"] for one in pool]) % 1


def test_equal_seeds_give_equal_pools_and_smaller_ones_are_their_beginning() -> None:
    pool, again, part = (simulate_pool("ReS2", count, **SMALL) for count in (6, 6, 4))
    for one, other in zip([*pool, *pool], [*again, *part], strict=False):
        assert np.array_equal(one.image.data, other.image.data)
        assert one.truth == other.truth
    elsewhere = simulate_pool("ReS2", 6, **SMALL | {"seed": 4})
    assert not np.array_equal(slips(pool), slips(elsewhere))


def test_every_image_is_what_its_truth_says() -> None:
    layer = load_monolayer("ReS2")
    for one in simulate_pool("ReS2", 3, **SMALL):
        truth = one.truth
        stack = Stack.bilayer(layer, truth["slip"]["D_cart_A"])
        lattice = truth["layer1"]
        frame = {"rotation": lattice["rotation_deg"] * DEGREE, "mirrored": lattice["mirrored"]}
        origin = lattice["origin_image_A"]
        expected = simulate_periodic(stack, PUBLISHED_MICROSCOPE, (60, 60), 0.15, origin=origin, together=True, **frame)
        assert np.abs(one.image.data - expected).max() < 1e-6 * expected.max()  # angles through degrees and back
        assert json.loads(json.dumps(truth))["acquisition"]["dose_e_per_A2"] is None


def test_pictures_are_the_images_normalised() -> None:
    one = simulate_pool("ReS2", 1, **SMALL)[0]
    assert one.image.pixel_size == (0.15, 0.15)
    assert one.picture.pixel_size == 0.15
    assert one.picture.data.shape == (60, 60)
    assert one.picture.black == one.image.data.min()
    assert (one.picture.data.min(), one.picture.data.max()) == (0, 1)


def test_orientations_and_hands_differ() -> None:
    pool = simulate_pool("ReS2", 20, **SMALL)
    angles = [one.truth["layer1"]["rotation_deg"] for one in pool]
    assert len(set(np.floor(np.array(angles) / 90) % 4)) == 4  # all missing one quarter: 4 (3/4)^20 = 1 %; seeded
    assert {one.truth["layer1"]["mirrored"] for one in pool} == {True, False}


@pytest.mark.parametrize("dimensions", [1, 2, 4])
def test_points_are_spread_more_evenly_than_drawn_ones(dimensions: int) -> None:
    def gap(points: NDArray[np.float64]) -> float:
        away = np.abs(points[:, None] - points[None] + 0.5) % 1 - 0.5  # on the torus
        squares = (away**2).sum(axis=-1) + 10 * np.eye(len(points))
        return float(squares.min()) ** 0.5

    points = even_points(100, dimensions, np.random.default_rng(1))
    assert points.shape == (100, dimensions)
    assert points.min() >= 0
    assert points.max() < 1
    # Published for the sequence in two dimensions: smallest gap 0.549/sqrt(n) and above; for draws it is about 0.5/n.
    assert gap(points) > 3 * gap(np.random.default_rng(2).random((100, dimensions)))


def test_golden_ratio_in_one_dimension() -> None:
    steps = np.diff(even_points(5, 1, np.random.default_rng(0))[:, 0]) % 1
    assert steps == pytest.approx((5**0.5 - 1) / 2, abs=1e-12)  # rounding


def test_a_grid_takes_each_of_its_points_once_in_a_round() -> None:
    cell = load_monolayer("MoS2").cell
    step = float(np.hypot(*cell[0])) / 3
    found = slips(simulate_pool("MoS2", 18, step=step, **SMALL))
    rounds = [{tuple(np.round(3 * point).astype(int) % 3) for point in part} for part in (found[:9], found[9:])]
    assert [len(one) for one in rounds] == [9, 9]
    assert np.abs(3 * found - np.round(3 * found)).max() < 1e-9  # rounding


def test_twists_are_taken_in_turn() -> None:
    pool = simulate_pool("MoS2", 5, twists=[10 * DEGREE, 21 * DEGREE], **SMALL)
    assert [round(one.truth["twist_deg"], 9) for one in pool] == [10, 21, 10, 21, 10]
    assert {one.truth["task"] for one in pool} == {"twist"}


def test_layers_of_two_materials_and_three_layers() -> None:
    assert simulate_pool("MoS2/WSe2", 1, **SMALL)[0].truth["material"] == "MoS2/WSe2"
    three = simulate_pool("ReS2", 2, layers=3, **SMALL)
    assert [one.truth["task"] for one in three] == ["trilayer", "trilayer"]
    steps = [one["slip_frac"] for sim in three for one in sim.truth["interfaces"]]
    assert len({tuple(np.round(step, 6)) for step in steps}) == 4


@pytest.mark.parametrize(
    ("count", "changed", "said"),
    [
        (0, {}, "at least one"),
        (1, {"pixel_size": 0.0}, "pixel size"),
        (1, {"extent": float("inf")}, "extent"),
        (1, {"step": -0.1}, "step"),
        (1, {"twists": []}, "twists are for bilayers"),
        (1, {"twists": [0.1], "layers": 3}, "twists are for bilayers"),
    ],
)
def test_what_cannot_be_simulated_is_said(count: int, changed: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        simulate_pool("ReS2", count, **SMALL | changed)
