"""Pairs of lattices in the power spectra of simulated images, and what counts as the same lattice."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from picostem.resolve.lattice import Lattice, Spectrum, power_spectrum
from picostem.resolve.pair import Pair, find_pairs, same_points, settings_like
from picostem.simulate import AcquisitionSettings, simulate_stack
from picostem.structure import Monolayer, Stack, load_monolayer, rotation_matrix
from picostem.structure.lattice import reflections

from .made import MICROSCOPE, MOS2, PIXEL_SIZE, RES2, make_lattice
from .made_twisted import lattices_of

FloatArray = NDArray[np.float64]

WSE2 = load_monolayer("WSe2")
SIDE = 420
"""Pixels, 5 nm."""
DRIFT = ((1.03, 0.02), (-0.01, 0.98))
"""Specimen from scan: stretches 5 % apart."""
quick = settings(derandomize=True, deadline=None, max_examples=30)


@cache
def imaged(
    layers: tuple[Monolayer, Monolayer],
    twist: float,
    rotation: float = 0.4,
    mirrored: bool = False,
    distorted: bool = True,
) -> tuple[Spectrum, tuple[Lattice, ...]]:
    """The spectrum of an image of twisted layers (twist in degrees), and their true lattices."""
    stack = Stack.bilayer(layers[0], (0.7, 1.3), np.radians(twist), layers[1])
    drift = DRIFT if distorted else ((1.0, 0.0), (0.0, 1.0))
    image, _ = simulate_stack(
        stack,
        MICROSCOPE,
        AcquisitionSettings(drift=drift),
        (SIDE, SIDE),
        PIXEL_SIZE,
        np.random.default_rng(1),
        rotation=rotation,
        mirrored=mirrored,
    )
    data = image.data - np.float32(image.data.mean(dtype=np.float64))
    return power_spectrum(data), lattices_of(stack, rotation, mirrored, np.linalg.inv(drift))


def basis_of(lattice: Lattice, like: Lattice) -> FloatArray | None:
    """The vectors of a lattice that are those of another one's basis, if they generate it."""
    steps = np.rint(like.rows @ np.linalg.inv(lattice.rows))
    return np.asarray(steps @ lattice.rows) if abs(round(float(np.linalg.det(steps)))) == 1 else None


def turn_between(one: FloatArray, other: FloatArray) -> float:
    """Rotation that takes one basis nearest to another, rad."""
    change = (np.linalg.inv(one) @ other).T
    return float(np.arctan2(change[1, 0] - change[0, 1], change[0, 0] + change[1, 1]))


def off_truth(pair: Pair, truth: tuple[Lattice, ...]) -> tuple[float, float]:
    """Largest error of a basis vector of both lattices, as a share of it, and of the angle between them, rad."""
    found = [basis_of(lattice, true) for lattice, true in zip(pair.lattices, truth, strict=True)]
    bases = [basis for basis in found if basis is not None]
    if len(bases) < len(found):
        return np.inf, np.inf
    errors = [
        np.linalg.norm(basis - true.rows, axis=1) / np.linalg.norm(true.rows, axis=1)
        for basis, true in zip(bases, truth, strict=True)
    ]
    twist = turn_between(bases[0], bases[1]) - turn_between(truth[0].rows, truth[1].rows)
    return float(np.max(errors)), abs(twist)


def best_off(pairs: list[Pair], truth: tuple[Lattice, ...], alike: bool) -> tuple[float, float]:
    """The same for the pair nearest to the truth; like layers may be exchanged."""
    orders = (truth, truth[::-1]) if alike else (truth,)
    return min(off_truth(pair, order) for pair, order in itertools.product(pairs, orders))


FLIPPED = RES2.flipped()
CASES = [((MOS2, MOS2), 7.0), ((MOS2, MOS2), 21.8), ((RES2, RES2), 11.0), ((RES2, FLIPPED), 11.0), ((MOS2, WSE2), 8.0)]
NAMES = ["MoS2 7", "MoS2 21.8", "ReS2 11", "ReS2 flipped 11", "MoS2/WSe2 8"]
TO_VECTOR, TO_ANGLE = 0.012, np.radians(0.4)
"""The search steps by a fifth of a resolution element at 0.6 1/Å, 0.4° in 5 nm, and moves a vector by as much at most;
peaks that are refined are placed better."""


@pytest.mark.parametrize("pixel_size", [None, PIXEL_SIZE], ids=["unknown scale", "known scale"])
@pytest.mark.parametrize(("layers", "twist"), CASES, ids=NAMES)
def test_lattices_are_found(layers: tuple[Monolayer, Monolayer], twist: float, pixel_size: float | None) -> None:
    """Under a distortion of 5 %; a layer that is turned over is looked for as what it is usually."""
    spectrum, truth = imaged(layers, twist)
    asked = (layers[0], layers[0]) if layers[1].symbols == layers[0].symbols else layers
    pairs = find_pairs(spectrum, asked, pixel_size, SIDE, 4)
    vector, angle = best_off(pairs, truth, asked[0] == asked[1])
    assert vector < TO_VECTOR
    assert angle < TO_ANGLE
    assert all(pair.lattices[k].cell is asked[k].cell for pair in pairs for k in (0, 1))


@pytest.mark.parametrize(("layers", "twist"), [CASES[0], CASES[2], CASES[4]], ids=[NAMES[0], NAMES[2], NAMES[4]])
def test_the_best_pair_is_the_true_one(layers: tuple[Monolayer, Monolayer], twist: float) -> None:
    spectrum, truth = imaged(layers, twist, distorted=False)
    pairs = find_pairs(spectrum, layers, PIXEL_SIZE, SIDE, 4)
    vector, angle = best_off(pairs[:1], truth, layers[0] == layers[1])
    assert vector < TO_VECTOR
    assert angle < TO_ANGLE


def test_pairs_come_best_first_and_differ() -> None:
    spectrum, _ = imaged((MOS2, WSE2), 8.0)
    pairs = find_pairs(spectrum, (MOS2, WSE2), PIXEL_SIZE, SIDE, 6)
    scores = [pair.score for pair in pairs]
    assert scores == sorted(scores, reverse=True)
    assert 2 <= len(pairs) <= 6
    for one, other in itertools.combinations(pairs, 2):
        assert not all(same_points(a, b) for a, b in zip(one.lattices, other.lattices, strict=True))
    assert find_pairs(spectrum, (MOS2, WSE2), PIXEL_SIZE, SIDE, 1)[0].score == scores[0]


def test_layers_may_be_named_in_either_order() -> None:
    spectrum, truth = imaged((MOS2, WSE2), 8.0)
    one, other = (find_pairs(spectrum, asked, PIXEL_SIZE, SIDE, 1)[0] for asked in ((MOS2, WSE2), (WSE2, MOS2)))
    assert other.score == pytest.approx(one.score)
    assert all(same_points(a, b) for a, b in zip(one.lattices, other.lattices[::-1], strict=True))
    assert off_truth(other, truth[::-1])[0] < TO_VECTOR


@settings(derandomize=True, deadline=None, max_examples=3)
@given(turn=st.floats(-3.1, 3.1), mirrored=st.booleans())
def test_turning_the_image_turns_the_lattices(turn: float, mirrored: bool) -> None:
    _, reference = imaged((MOS2, MOS2), 7.0, distorted=False)
    spectrum, _ = imaged((MOS2, MOS2), 7.0, rotation=0.4 + turn, mirrored=mirrored, distorted=False)
    flip = np.diag([1.0, -1.0 if mirrored else 1.0])
    change = rotation_matrix(0.4 + turn) @ flip @ rotation_matrix(-0.4)
    turned = tuple(Lattice(lattice.rows @ change.T, lattice.cell) for lattice in reference)
    vector, angle = best_off(find_pairs(spectrum, (MOS2, MOS2), PIXEL_SIZE, SIDE, 4), turned, alike=True)
    assert vector < TO_VECTOR
    assert angle < TO_ANGLE


class TestBadInput:
    def test_no_peaks_no_pairs(self) -> None:
        noise = np.random.default_rng(3).normal(0, 1, (300, 300)).astype(np.float32)
        for size in (None, PIXEL_SIZE):
            assert find_pairs(power_spectrum(noise), (MOS2, WSE2), size, 300, 4) == []

    def test_a_blank_image_has_no_pairs(self) -> None:
        blank = np.zeros((128, 128), dtype=np.float32)
        assert find_pairs(power_spectrum(blank), (MOS2, MOS2), None, 128, 4) == []

    def test_no_pairs_are_wanted(self) -> None:
        spectrum, _ = imaged((MOS2, MOS2), 7.0)
        assert find_pairs(spectrum, (MOS2, MOS2), None, SIDE, 0) == []


class TestSamePoints:
    @quick
    @given(st.integers(-3, 3), st.integers(-3, 3), st.booleans(), st.floats(-3.1, 3.1))
    def test_other_bases_have_the_same_points(self, m: int, n: int, swap: bool, rotation: float) -> None:
        lattice = make_lattice(RES2, rotation=rotation)
        basis = np.array([[1, m], [n, 1 + m * n]])
        other = Lattice((basis[::-1] if swap else basis) @ lattice.rows, lattice.cell)
        assert same_points(other, lattice)
        assert same_points(lattice, other)

    def test_sublattices_have_not(self) -> None:
        lattice = make_lattice(MOS2)
        double = Lattice(np.diag([2.0, 1.0]) @ lattice.rows, lattice.cell)
        assert not same_points(double, lattice)
        assert not same_points(lattice, double)

    @pytest.mark.parametrize(("angle", "same"), [(0.0, True), (0.3, True), (3.0, False), (60.0, True), (30.0, False)])
    def test_of_turned_hexagons(self, angle: float, same: bool) -> None:
        """0.3° move a point by 0.005 of a cell vector, which is less than the 0.01 that count."""
        one, other = make_lattice(MOS2, rotation=0.2), make_lattice(MOS2, rotation=0.2 + np.radians(angle))
        assert same_points(one, other) == same


class TestSettings:
    def test_of_a_layer_with_mirror_lines_are_two(self) -> None:
        """Any basis of its hexagonal lattice shows it as it is or turned by 180°, which is not the same."""
        found = settings_like(make_lattice(MOS2), MOS2)
        assert len(found) == 2
        change = np.linalg.inv(found[0].image_from_crystal) @ found[1].image_from_crystal
        np.testing.assert_allclose(np.abs(change @ change.T), np.eye(2), atol=1e-3)

    @quick
    @given(st.sampled_from(["ReS2", "MoS2", "1T'-MoTe2", "ReSe2"]), st.floats(-3.1, 3.1), st.booleans())
    def test_share_their_peaks(self, name: str, rotation: float, mirrored: bool) -> None:
        layer = load_monolayer(name)
        lattice = make_lattice(layer, rotation=rotation, mirrored=mirrored)
        found = settings_like(lattice, layer)
        assert found[0] is lattice
        hk = reflections(layer.reciprocal, 0.6)
        for other in found[1:]:
            # the same lattice of points, described otherwise
            index = hk @ other.reciprocal @ lattice.rows.T
            np.testing.assert_allclose(index, np.rint(index), atol=1e-9)
            # a like crystal: its cell is strained by 6 % at most
            assert other.pixel_size == pytest.approx(lattice.pixel_size)
            assert other.distortion < 1.07

    def test_of_rhenium_disulphide_are_known(self) -> None:
        """Its nearly hexagonal cell can lie in six ways, each of both hands; half a turn of them shows it as it is."""
        found = settings_like(make_lattice(RES2), RES2)
        assert len(found) == 6
        hands = [lattice.mirrored for lattice in found]
        assert hands.count(True) == hands.count(False) == 3
        assert hands == sorted(hands)  # those of the same hand first
        turns = [lattice.rotation - found[0].rotation for lattice in found[:3]]
        # thirds of half a turn, to what the cell is off a hexagonal one
        off = np.remainder(np.array(turns), np.pi / 3)
        assert np.minimum(off, np.pi / 3 - off).max() < np.radians(2)

    def test_do_not_depend_on_where_one_begins(self) -> None:
        found = settings_like(make_lattice(RES2), RES2)
        again = settings_like(found[1], RES2)
        assert len(again) == len(found)
        assert again[0] is found[1]
