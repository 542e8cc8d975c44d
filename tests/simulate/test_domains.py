"""Twist domains: the atoms against what the truth says of the place where they lie."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from picostem.errors import UsageError
from picostem.image import Image
from picostem.physics import DEGREE
from picostem.simulate import AcquisitionSettings, Microscope, TwistDomains, simulate_specimen, simulate_stack
from picostem.simulate.domains import true_twists
from picostem.structure import Stack, load_monolayer, rotation_matrix

MOS2 = load_monolayer("MoS2")
TWISTS = (9.8 * DEGREE, 11.8 * DEGREE)
DOMAINS = TwistDomains(MOS2, MOS2, TWISTS, side=40.0, slip=(0.4, 1.1))
FAST = Microscope.from_lab_units(voltage_kV=60, semiangle_mrad=31.5, detector_mrad=(49.5, 120), source_fwhm_A=0.6)
PLACED: dict[str, Any] = {"rotation": 0.6, "mirrored": True, "origin": (3.0, -5.0)}
DRIFT = ((1.01, 0.005), (-0.004, 0.99))  # larger than any microscope's, so that forgetting it shows


def simulated(**options: Any) -> tuple[Image, dict[str, Any]]:
    settings = options.pop("settings", AcquisitionSettings(dose=4e4, drift=DRIFT))
    return simulate_specimen(
        DOMAINS, FAST, settings, (300, 320), 0.3, np.random.default_rng(1), **{**PLACED, **options}
    )


def local_twist(atoms: Any, points: np.ndarray, radius: float, **placed: Any) -> np.ndarray:
    """Twist (rad, as seen) of the upper layer's metal lattice about each point: the phase of its sixth-order bonds."""
    upper = atoms[(atoms.arrays["layer"] == 2) & (atoms.numbers == 42)].positions[:, :2]
    tree = cKDTree(upper)
    found = []
    for point in points:
        near = upper[tree.query_ball_point(point, radius)]
        pairs = cKDTree(near).query_pairs(1.2 * MOS2.cell[0, 0], output_type="ndarray")
        bonds = near[pairs[:, 1]] - near[pairs[:, 0]]
        found.append(np.angle(np.exp(6j * np.arctan2(bonds[:, 1], bonds[:, 0])).mean()) / 6)
    return np.array(found)


class TestAtoms:
    def test_each_triangle_is_a_lattice_of_its_twist(self) -> None:
        """Known answer: the middles of triangles, from the tiling itself and not from the function under test."""
        atoms = DOMAINS.atoms(extent=(240.0, 240.0))
        corners = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)])
        rows = 40.0 * np.array([[1, 0], [0.5, np.sqrt(3) / 2]])
        for share, twist in ((1 / 3, TWISTS[0]), (2 / 3, TWISTS[1])):
            measured = local_twist(atoms, (corners + share) @ rows, radius=9.0)
            np.testing.assert_allclose(measured, twist, atol=1e-9)  # rounding: each triangle is a perfect lattice

    def test_equal_twists_are_a_perfect_stack(self) -> None:
        same = TwistDomains(MOS2, MOS2, (0.2, 0.2), 30.0, (0.4, 1.1))
        theirs = Stack.bilayer(MOS2, (0.4, 1.1), 0.2).atoms(0.6, True, (3.0, -5.0), (50.0, 60.0))
        ours = same.atoms(0.6, True, (3.0, -5.0), (50.0, 60.0))
        np.testing.assert_allclose(ours.positions, theirs.positions, atol=1e-9)  # rounding
        np.testing.assert_allclose(ours.cell, theirs.cell, atol=1e-9)  # rounding
        np.testing.assert_allclose(np.ravel(ours.get_celldisp()), np.ravel(theirs.get_celldisp()), atol=1e-9)
        assert ours.get_chemical_formula() == theirs.get_chemical_formula()

    def test_no_atom_moves_further_than_a_corner_of_its_triangle(self) -> None:
        rigid = DOMAINS.stack.atoms(extent=(100.0, 100.0))
        moved = DOMAINS.atoms(extent=(100.0, 100.0))
        reach = 40 / np.sqrt(3) * np.sin(1.0 * DEGREE)
        inner = np.abs(rigid.positions[:, :2]).max(axis=1) < 48
        distance, _ = cKDTree(moved.positions).query(rigid.positions[inner])
        # A sulfur's cell may lie in the triangle while it itself reaches 1.9 Å out of it.
        assert distance.max() < reach + 1.9 * np.sin(1.0 * DEGREE)
        assert distance.max() > 0.8 * reach

    def test_the_lower_layer_and_the_number_of_atoms_stay(self) -> None:
        rigid, moved = (thing.atoms(extent=(90.0, 90.0)) for thing in (DOMAINS.stack, DOMAINS))
        for atoms in (rigid, moved):
            assert np.abs(atoms.positions[:, :2]).max() <= 45
        lower = [atoms[atoms.arrays["layer"] == 1].positions for atoms in (rigid, moved)]
        np.testing.assert_array_equal(*lower)
        # Only cells on the rim, some 4 * 90 / 3.2, may go in or out.
        assert len(moved) == pytest.approx(len(rigid), abs=40)

    def test_a_mirrored_placement_mirrors_the_atoms(self) -> None:
        plain, mirrored = DOMAINS.atoms(extent=(60.0, 60.0)), DOMAINS.atoms(mirrored=True, extent=(60.0, 60.0))
        distance, _ = cKDTree(mirrored.positions * [1, -1, 1]).query(plain.positions)
        assert np.mean(distance < 1e-9) > 0.99  # all but atoms exactly on the rim

    @pytest.mark.parametrize("side", [0.0, -3.0, np.nan])
    def test_a_side_that_is_not_positive_is_refused(self, side: float) -> None:
        with pytest.raises(UsageError, match="side of the domains"):
            TwistDomains(MOS2, MOS2, TWISTS, side)


class TestTruth:
    def test_it_is_json_and_scorable(self) -> None:
        image, truth = simulated()
        assert json.loads(json.dumps(truth)) == truth
        assert (truth["task"], truth["material"]) == ("twist domains", "MoS2")
        assert truth["domain_twists_deg"] == pytest.approx([9.8, 11.8])
        assert truth["domains"]["twists_seen_in_image_deg"] == pytest.approx([-9.8, -11.8])
        assert truth["twist_deg"] == pytest.approx(10.8)
        assert truth["simulated"] == "picostem, linear imaging"
        assert image.data.shape == (300, 320)

    def test_it_says_what_the_atoms_do_wherever_one_looks(self) -> None:
        """Independent: twists measured from bonds of the imaged atoms, at points of the drifted scan."""
        truth = simulated()[1]
        points = np.random.default_rng(2).uniform(-30, 30, (800, 2))
        twists, away = true_twists(truth, points)
        specimen = points @ np.array(DRIFT).T
        clear = away > 8.0
        assert 20 < clear.sum() < 400
        measured = local_twist(DOMAINS.atoms(**PLACED, extent=(120.0, 120.0)), specimen[clear], radius=6.5)
        as_seen = 0.6 - twists[clear]  # mirrored: the image shows the opposite twist
        off = (measured - as_seen + 30 * DEGREE) % (60 * DEGREE) - 30 * DEGREE
        np.testing.assert_allclose(off, 0, atol=1e-9)  # rounding: no bond crosses a boundary
        assert {round(t / DEGREE, 6) for t in twists} == {9.8, 11.8}

    @given(st.tuples(st.floats(-300, 300), st.floats(-300, 300)), st.integers(-3, 3), st.integers(-3, 3))
    def test_it_repeats_with_the_tiling(self, point: tuple[float, float], i: int, j: int) -> None:
        truth = TRUTH
        rows = np.array(truth["domains"]["tiling_rows_image_A"]) @ np.linalg.inv(DRIFT).T  # as the scan shows them
        here, there = (np.array(point), np.array(point) + [i, j] @ rows)
        (a, da), (b, db) = true_twists(truth, here), true_twists(truth, there)
        assert da == pytest.approx(db, abs=1e-9)  # rounding
        assert a == b or da < 1e-9

    def test_the_distance_is_that_to_the_nearest_other_twist(self) -> None:
        """Slow oracle: search around each point in all directions."""
        still = simulated(settings=AcquisitionSettings(dose=4e4))[1]
        points = np.random.default_rng(3).uniform(-60, 60, (40, 2))
        twists, away = true_twists(still, points)
        angles = np.arange(0, 2 * np.pi, 1 * DEGREE)
        circle = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
        # 0.99 and 1.01: 1° steps find a straight boundary within 1.5e-4 of its distance.
        for factor, crossed in ((0.99, False), (1.01, True)):
            around, _ = true_twists(still, points[:, None] + factor * away[:, None, None] * circle)
            np.testing.assert_array_equal((around != twists[:, None]).any(axis=1), crossed)

    def test_inside_and_outside_agree_on_the_twist(self) -> None:
        crystal = np.random.default_rng(4).uniform(-50, 50, (50, 2))
        still = simulated(settings=AcquisitionSettings(dose=4e4))[1]
        image = crystal @ np.diag([1, -1]) @ rotation_matrix(0.6).T + [3.0, -5.0]
        np.testing.assert_allclose(true_twists(still, image)[0], DOMAINS.twist(crystal), atol=1e-12)  # rounding


TRUTH = simulated()[1]


def test_a_stack_given_as_a_specimen_has_the_same_image() -> None:
    """Two ways to one image: the Fourier series of endless layers, and the sum over the domains' atoms."""
    same = TwistDomains(MOS2, MOS2, (0.2, 0.2), 30.0, (0.4, 1.1))
    still = AcquisitionSettings(dose=1e12)
    one, _ = simulate_specimen(same, FAST, still, (80, 80), 0.2, np.random.default_rng(0), **PLACED)
    two, _ = simulate_stack(same.stack, FAST, still, (80, 80), 0.2, np.random.default_rng(0), **PLACED)
    # Noise of 4e10 electrons per pixel is below 1e-3 of the signal; tails beyond the margin hold 1 % of the beam.
    assert np.abs(one.data / two.data.mean() - two.data / two.data.mean()).max() < 0.02


@pytest.mark.slow
def test_multislice_takes_specimens_too() -> None:
    pytest.importorskip("abtem")
    from picostem.simulate import MultisliceSettings

    coarse = MultisliceSettings(configurations=1, slice_thickness=4.0, window=8.0, scan_step=0.9)
    settings = AcquisitionSettings(dose=1e7)
    options: dict[str, Any] = {**PLACED, "name": "one"}
    slow, truth = simulate_specimen(
        DOMAINS,
        FAST,
        settings,
        (40, 40),
        0.25,
        np.random.default_rng(0),
        engine="multislice",
        multislice=coarse,
        **options,
    )
    fast, _ = simulate_specimen(DOMAINS, FAST, settings, (40, 40), 0.25, np.random.default_rng(0), **options)
    assert truth["simulated"] == "picostem, abTEM multislice"
    assert truth["specimen"]["frozen_phonon_configs"] == 1
    # One configuration and a small window: the same atoms, but for a tenth of the contrast and more.
    assert np.corrcoef(slow.data.ravel(), fast.data.ravel())[0, 1] > 0.9
