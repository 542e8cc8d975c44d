"""Patches from harmonics: beside windows, the fast simulation and single atoms."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.dataset.patch_render import rendered, slid, turned, vacancies
from picostem.dataset.plan import Plan
from picostem.dataset.stack import amplitudes, mean_intensity, waves
from picostem.dataset.window import Window
from picostem.simulate.incoherent import simulate_periodic
from picostem.simulate.microscope import Microscope
from picostem.structure import Stack
from picostem.structure.stack import rotation_matrix
from tests.dataset.made import MOS2, bank_of, steady_bank, without_kernels

SIDE, PIXEL = 60, 0.36
ONE = np.zeros(1, dtype=np.int64)
WHOLE = np.ones(1)


@pytest.mark.parametrize(("material", "layers"), [("MoS2", 2), ("ReS2", 3)])
def test_the_same_as_a_window(material: str, layers: int) -> None:
    """Equal but for the rounding of single precision, some 1e-7 of each of 140 waves."""
    rng = np.random.default_rng(0)
    bank = bank_of(material, layers)
    slips, origin, angle = rng.random((1, layers - 1, 2)), rng.random((1, 2)), 0.3
    window = Window.build(bank.hk, bank.reciprocal, SIDE * PIXEL, angle, PIXEL)
    full = np.ones((1, layers, bank.atoms), dtype=np.float32)
    expected = window.render(amplitudes(bank, 1, slips) * waves(bank.hk, origin), mean_intensity(bank, 1, full))
    found = rendered(bank, slid(slips, ONE + 1, np.array([angle]), WHOLE, origin), SIDE, PIXEL)
    np.testing.assert_allclose(found, expected, atol=1e-5 * expected.max())


def test_scale() -> None:
    """A crystal twice as large shows every second pixel what the other shows, about the same centre (odd side)."""
    bank = steady_bank()
    slips, origin = np.array([[[0.2, 0.3]]]), np.array([[0.1, 0.6]])
    small, large = (
        rendered(bank, slid(slips, ONE, np.zeros(1), WHOLE * scale, origin), side, 0.2)[0]
        for scale, side in ((1.0, 41), (2.0, 81))
    )
    np.testing.assert_allclose(large[::2, ::2], small, atol=1e-5 * small.max())  # rounding of single precision


def test_layers_at_a_twist() -> None:
    """As the fast simulation has them, whose microscope differs in its blur and aberrations only."""
    twist, angle = np.radians(7.0), 0.4
    slip, origin = np.array([0.7, 1.1]), np.array([0.4, -0.3])
    microscope = Microscope.from_lab_units(
        voltage_kV=200, semiangle_mrad=24, detector_mrad=(40, 200), source_fwhm_A=0.7
    )
    expected = simulate_periodic(
        Stack.bilayer(MOS2, slip, twist), microscope, (SIDE, SIDE), PIXEL, rotation=angle, origin=tuple(origin)
    )
    start = rotation_matrix(angle).T @ origin
    own = [MOS2.cell, MOS2.cell @ rotation_matrix(twist).T]
    places = np.array([start @ np.linalg.inv(own[0]), (start + slip) @ np.linalg.inv(own[1])])
    scene = turned(np.array([twist]), ONE, np.array([angle]), WHOLE, places[None])
    found = rendered(steady_bank(), scene, SIDE, PIXEL)[0]
    # the blurs that both may have, 0.01 to 0.2 Å², leave correlations of 0.97 and more; a wrong twist or place, 0.5
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.97
    other = rendered(
        steady_bank(), turned(-np.array([twist]), ONE, np.array([angle]), WHOLE, places[None]), SIDE, PIXEL
    )
    assert np.corrcoef(other.ravel(), expected.ravel())[0, 1] < 0.8


def test_no_twist_is_no_twist() -> None:
    """Two layers that do nothing together are the same picture on one lattice and on two."""
    bank = without_kernels(bank_of())
    places = np.array([[[0.2, 0.1], [0.5, 0.9]]])
    angle = np.array([0.2])
    one = slid(np.diff(places, axis=1), ONE, angle, WHOLE, places[:, 0])
    a, b = (rendered(bank, scene, SIDE, PIXEL) for scene in (one, turned(np.zeros(1), ONE, angle, WHOLE, places)))
    np.testing.assert_allclose(a, b, atol=1e-5 * a.max())  # rounding of single precision


@pytest.mark.parametrize("material", ["MoS2", "ReS2"])
@pytest.mark.parametrize("twist", [0.0, 0.1])
def test_all_atoms_missing_leave_nothing(material: str, twist: float) -> None:
    bank = without_kernels(bank_of(material))
    places = np.array([[[0.2, 0.1], [0.5, 0.9]]])
    scene = turned(np.array([twist]), ONE, np.array([0.2]), WHOLE, places)
    whole = rendered(bank, scene, SIDE, PIXEL)
    layers = Plan(material).stack()
    taken = vacancies(bank, layers, scene, WHOLE, SIDE, PIXEL, np.random.default_rng(0))
    np.testing.assert_allclose(taken, whole, atol=1e-5 * whole.max())  # rounding of single precision


def test_vacancies_are_places_and_take_their_share() -> None:
    rng = np.random.default_rng(0)
    bank = without_kernels(bank_of())
    layers = Plan("MoS2").stack()
    count = 40
    scene = slid(
        np.tile([[[0.3, 0.3]]], (count, 1, 1)), np.zeros(count, int), np.zeros(count), np.ones(count),
        rng.random((count, 2)),
    )  # fmt: skip
    whole = rendered(bank, scene, SIDE, PIXEL)
    taken = vacancies(bank, layers, scene, np.full(count, 0.05), SIDE, PIXEL, rng)
    # 53 cells of 6 atoms in each of 40 patches: 5 % of them varies by 0.3 %, and by 2 of that as Mo counts more
    assert taken.sum() / whole.sum() == pytest.approx(0.05, abs=0.01)
    untouched = np.abs(taken) < 1e-3 * whole.max()
    assert 0.5 < untouched.mean() < 0.95  # most of the picture is as it was
    assert (taken[~untouched] > -0.1 * whole.max()).all()  # ripples of the cut-off series at most
    none = vacancies(bank, layers, scene, np.zeros(count), SIDE, PIXEL, rng)
    assert not none.any()
