"""The truth about stacks whose layers have lattices of their own, against the atoms that were imaged."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from picostem.image import Image
from picostem.physics import DEGREE
from picostem.simulate import AcquisitionSettings, Microscope
from picostem.simulate.truth import Placement, describe
from picostem.structure import Stack, image_from_crystal, load_monolayer

RES2, MOS2, WSE2 = (load_monolayer(name) for name in ("ReS2", "MoS2", "WSe2"))
MICROSCOPE = Microscope.from_lab_units(voltage_kV=60, semiangle_mrad=31.5, detector_mrad=(49.5, 120))
STACKS = {
    "twist": Stack.bilayer(MOS2, (0.7, 0.3), 14.1 * DEGREE),
    "flipped": Stack.bilayer(RES2, (0.7, 0.3), 100 * DEGREE, RES2.flipped()),
    "aligned, flipped": Stack.bilayer(RES2, (0.7, 0.3), 0.0, RES2.flipped()),
    "antiparallel": Stack.bilayer(MOS2, (0.7, 0.3), 0.0, MOS2.turned()),
    "hetero": Stack.bilayer(MOS2, (-0.2, 0.9), 0.0, WSE2),
    "twisted trilayer": Stack.of([MOS2, WSE2, RES2], [(1.0, 0.4), (-0.8, 2.0)], [0.2, -0.5]),
    "four": Stack.of([MOS2] * 4, [(1.0, 0.4)] * 3, [0.1] * 3),
}
TASKS = {
    "twist": "twist",
    "flipped": "twist",
    "aligned, flipped": "twist",
    "antiparallel": "slip",
    "hetero": "twist",
    "twisted trilayer": "twisted trilayer",
    "four": "stack",
}
MATERIALS = {"flipped": "ReS2", "antiparallel": "MoS2", "hetero": "MoS2/WSe2", "twisted trilayer": "MoS2/WSe2/ReS2"}


PLACED = Placement(0.7, True, (1.0, -2.0))


def truth_of(stack: Stack, placement: Placement = PLACED) -> dict[str, Any]:
    settings = AcquisitionSettings(drift=((1.002, -0.003), (0.001, 0.997)))
    image = Image(np.ones((40, 50), np.float32), name="one").with_pixel_size(0.2, "user")
    return describe(stack, MICROSCOPE, settings, image, placement)


def placed(truth: dict[str, Any], index: int) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    """Symbols and positions (image frame) of one cell of a layer: the listed structure, put where the truth says."""
    layer, first = truth["layers"][index], truth["layer1"]
    entry = truth["structures"][layer["structure"]]
    gamma = entry["gamma"] * DEGREE
    cell = np.array([[entry["a"], 0], [entry["b"] * np.cos(gamma), entry["b"] * np.sin(gamma)]])
    atoms = np.array([atom[1:3] for atom in entry["atoms"]]) @ cell
    crystal = image_from_crystal(first["rotation_deg"] * DEGREE, first["mirrored"])
    middle = crystal @ layer["position_cart_A"] + first["origin_image_A"]
    own = image_from_crystal(layer["rotation_deg"] * DEGREE, layer["mirrored"])
    return np.array([atom[0] for atom in entry["atoms"]]), atoms @ own.T + middle


@pytest.mark.parametrize("name", STACKS)
def test_task_and_material(name: str) -> None:
    truth = truth_of(STACKS[name])
    assert json.loads(json.dumps(truth)) == truth
    assert truth["task"] == TASKS[name]
    assert truth["material"] == MATERIALS.get(name, "ReS2" if "flipped" in name else "MoS2")


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("name", STACKS)
def test_every_layer_lies_where_its_atoms_are(name: str, mirrored: bool) -> None:
    """Independent: the truth's structures, turned and moved as it says, against the atoms of the stack itself."""
    stack, placement = STACKS[name], Placement(0.7, mirrored, (1.0, -2.0))
    truth = truth_of(stack, placement)
    atoms = stack.atoms(0.7, mirrored, (1.0, -2.0), (30.0, 30.0))
    for index, layer in enumerate(truth["layers"]):
        symbols, points = placed(truth, index)
        rows = np.array(layer["rows_image_A"])
        imaged = atoms[atoms.arrays["layer"] == index + 1]
        for symbol, point in zip(symbols, points, strict=True):
            same = np.array(imaged.get_chemical_symbols()) == symbol
            steps = (imaged.positions[same, :2] - point) @ np.linalg.inv(rows)
            off = np.abs(steps - np.round(steps)) @ np.abs(rows)
            assert off.max(axis=1).min() < 1e-9  # rounding: this site is among them, whole cells away


@pytest.mark.parametrize("name", STACKS)
def test_interfaces_say_what_the_stack_was_made_of(name: str) -> None:
    stack, truth = STACKS[name], truth_of(STACKS[name])
    assert [(entry["lower"], entry["upper"]) for entry in truth["interfaces"]] == [
        (k, k + 1) for k in range(1, len(stack.layers))
    ]
    for k, entry in enumerate(truth["interfaces"]):
        np.testing.assert_allclose(entry["slip_cart_A"], stack.slips[k], atol=1e-12)  # rounding
        np.testing.assert_allclose(entry["slip_frac"] @ stack.layers[k].monolayer.cell, stack.slips[k], atol=1e-12)
        assert entry["twist_deg"] * DEGREE == pytest.approx(stack.twists[k])
        assert entry["twist_seen_in_image_deg"] == -entry["twist_deg"]  # mirrored


def test_a_flipped_layer_shows_its_other_side() -> None:
    lower, upper = truth_of(STACKS["flipped"])["layers"]
    assert (lower["flipped"], lower["mirrored"]) == (False, True)
    assert (upper["flipped"], upper["mirrored"]) == (True, False)
    assert list(truth_of(STACKS["flipped"])["structures"]) == ["ReS2"]


def test_different_monolayers_of_one_name_are_told_apart() -> None:
    larger = replace(MOS2, cell=MOS2.cell * 1.01, positions=MOS2.positions * 1.01)
    truth = truth_of(Stack.bilayer(MOS2, (0, 0), 0.0, larger))
    assert list(truth["structures"]) == ["MoS2", "MoS2, layer 2"]
    assert truth["structures"]["MoS2, layer 2"]["a"] == pytest.approx(1.01 * 3.16)
    assert truth["material"] == "MoS2"


@given(st.floats(-3, 3), st.booleans(), st.floats(-3, 3))
def test_apparent_rows_are_the_rows_seen_through_the_drift(rotation: float, mirrored: bool, twist: float) -> None:
    truth = truth_of(Stack.bilayer(MOS2, (0.1, 0.2), twist), Placement(rotation, mirrored))
    drift = np.array(truth["acquisition"]["drift_matrix_specimen_from_scan"])
    for layer in truth["layers"]:
        seen, rows = np.array(layer["rows_apparent_A"]), np.array(layer["rows_image_A"])
        np.testing.assert_allclose(seen @ drift.T, rows, atol=1e-12)  # rounding
        a = layer["rows_image_A"][0]
        turn = (np.degrees(np.arctan2(a[1], a[0])) - layer["rotation_deg"]) / 360
        assert turn == pytest.approx(round(turn), abs=1e-9)  # a lies along the rotation, mirrored or not
