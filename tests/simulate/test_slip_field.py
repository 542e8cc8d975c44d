"""Relaxed moirés as specimens: the plain numbers of the truth against the object and against the atoms."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from picostem.image import Image
from picostem.physics import DEGREE
from picostem.simulate import AcquisitionSettings, Microscope, SlipField, simulate_specimen
from picostem.simulate.slip_field import true_slips
from picostem.simulate.truth import Placement
from picostem.structure import RelaxedMoire, load_monolayer

MOS2, WSE2 = load_monolayer("MoS2"), load_monolayer("WSe2")
FAST = Microscope.from_lab_units(voltage_kV=60, semiangle_mrad=31.5, detector_mrad=(49.5, 120), source_fwhm_A=0.6)
DRIFT = ((1.01, 0.005), (-0.004, 0.99))  # larger than any microscope's, so that forgetting it shows
PLACED: dict[str, Any] = {"rotation": 0.6, "mirrored": True, "origin": (3.0, -5.0)}
MOIRES = {
    "equal": RelaxedMoire(MOS2, MOS2, 2 * DEGREE, (0.4, 1.1), 0.2),
    "shared": RelaxedMoire(MOS2, MOS2, 3 * DEGREE, (0.4, 1.1), 0.15, share=0.5),
    "crest": RelaxedMoire(MOS2, MOS2, 58 * DEGREE, (0.4, 1.1), 0.15, crest=(0.0, 1.82)),
    "hetero": RelaxedMoire(MOS2, WSE2, 1 * DEGREE, (-0.3, 0.2), 0.1),
}


def simulated(moire: RelaxedMoire, side: int = 40) -> tuple[Image, dict[str, Any]]:
    settings = AcquisitionSettings(dose=4e4, drift=DRIFT)
    return simulate_specimen(SlipField(moire), FAST, settings, (side, side), 0.3, np.random.default_rng(1), **PLACED)


TRUTHS = {name: simulated(moire)[1] for name, moire in MOIRES.items()}


@pytest.mark.parametrize("name", MOIRES)
def test_the_truth_is_json_and_says_what_is_asked(name: str) -> None:
    truth = TRUTHS[name]
    assert json.loads(json.dumps(truth)) == truth
    assert truth["task"] == "slip field"
    assert truth["material"] == ("MoS2/WSe2" if name == "hetero" else "MoS2")
    assert truth["twist_deg"] == pytest.approx(truth["slip_field"]["twist_deg"])
    assert truth["slip_field"]["amplitude_A"] == MOIRES[name].amplitude


@pytest.mark.parametrize("name", MOIRES)
def test_its_numbers_give_the_slip_of_the_object(name: str) -> None:
    """Slow way round: from the scan to the specimen to the crystal by hand, then the object itself."""
    crystal = np.random.default_rng(2).uniform(-80, 80, (50, 2))
    specimen = crystal @ Placement(**PLACED).matrix.T + PLACED["origin"]
    scan = np.linalg.solve(DRIFT, specimen.T).T
    found = true_slips(TRUTHS[name], scan)
    np.testing.assert_allclose(found.slip, MOIRES[name].slip(crystal), atol=1e-9)  # rounding
    np.testing.assert_allclose(found.registry, MOIRES[name].registry(crystal), atol=1e-9)  # rounding


@pytest.mark.parametrize("name", MOIRES)
def test_the_atoms_show_that_slip(name: str) -> None:
    """Independent: a metal atom of the upper layer, less its slip, falls on the extended lower lattice near it."""
    moire, placement = MOIRES[name], Placement(**PLACED)
    atoms = SlipField(moire).atoms(**PLACED, extent=(80.0, 80.0))
    crystal = (atoms.positions[:, :2] - PLACED["origin"]) @ placement.matrix
    metal = np.isin(atoms.numbers, (42, 74))
    lower, upper = (crystal[metal & (atoms.arrays["layer"] == index)] for index in (1, 2))
    scan = np.linalg.solve(DRIFT, (upper @ placement.matrix.T + PLACED["origin"]).T).T
    # The registry of a place less than half a cell from a lattice point of the upper layer: the share of a lower cell
    # by which it lies off the lower lattice's points.
    registry = true_slips(TRUTHS[name], scan).registry
    off = registry - np.round(registry)
    inner = np.abs(upper - upper.mean(axis=0)).max(axis=1) < 25
    predicted = upper - off @ moire.lower.cell
    nearest, _ = cKDTree(lower).query(predicted[inner])
    # Within half a cell, strains of up to 2 pi A |G| 3 (a tenth) and lattices 4 % apart are all that is neglected.
    assert np.median(nearest) < 0.1
    wrong, _ = cKDTree(lower).query((upper + off @ moire.lower.cell)[inner])
    assert np.median(wrong) > 0.4


@given(st.tuples(st.floats(-200, 200), st.floats(-200, 200)), st.integers(-2, 2), st.integers(-2, 2))
def test_the_registry_repeats_with_the_moire(point: tuple[float, float], i: int, j: int) -> None:
    truth = TRUTHS["equal"]
    rows = np.array(truth["slip_field"]["moire_rows_A"]) @ Placement(**PLACED).matrix.T @ np.linalg.inv(DRIFT).T
    here = true_slips(truth, point).registry
    there = true_slips(truth, np.array(point) + [i, j] @ rows).registry
    steps = there - here
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-8)  # rounding of points 300 Å away
    assert (i, j) == (0, 0) or np.any(np.round(steps))


def test_relaxation_changes_the_image() -> None:
    rigid = RelaxedMoire(MOS2, MOS2, 2 * DEGREE, (0.4, 1.1))
    relaxed, still = simulated(MOIRES["equal"], 100)[0].data, simulated(rigid, 100)[0].data
    # Same seed, so noise is nearly the same draw: what differs are the places of atoms.
    assert np.corrcoef(relaxed.ravel(), still.ravel())[0, 1] < 0.99
    again = simulated(RelaxedMoire(MOS2, MOS2, 2 * DEGREE, (0.4, 1.1), 0.0), 100)[0].data
    np.testing.assert_array_equal(again, still)
