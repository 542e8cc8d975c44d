"""Windows of relaxed moirés, scored against slips that are known."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.bench.case import Case
from picostem.bench.field import FIELD, FieldAnswer, score
from picostem.physics import DEGREE
from picostem.resolve.result import SlipMap
from picostem.simulate.slip_field import SlipField, true_slips
from picostem.simulate.truth import Placement
from picostem.structure import RelaxedMoire, load_monolayer
from tests.bench.made import FloatArray, case, layer, result, slip_map

MOS2 = load_monolayer("MoS2")
MOIRE = RelaxedMoire(MOS2, MOS2, 1.2 * DEGREE, amplitude=0.2)
POSITIONS = np.random.default_rng(3).uniform(-100, 100, (40, 2))
NOISE = 0.01 * np.random.default_rng(4).standard_normal((40, 2))
"""Å, as large as the windows state."""


@pytest.fixture(scope="module")
def truth() -> Case:
    told = {key: value for key, value in SlipField(MOIRE).truth(Placement()).items() if key != "task"}
    made = case("slip field", ("MoS2", "MoS2"), (1.2,), **told)
    made.truth["acquisition"] = {"drift_matrix_specimen_from_scan": np.eye(2).tolist()}
    made.truth["layer1"] |= {"origin_image_A": [0.0, 0.0]}
    return made


@pytest.fixture(scope="module")
def slips(truth: Case) -> FloatArray:
    """True slips of the windows, modulo the lower lattice, Å."""
    return true_slips(truth.truth, POSITIONS).registry @ MOS2.cell


def answer(truth: Case, windows: SlipMap) -> FieldAnswer | None:
    return score(result("twist", (layer("MoS2"), layer("MoS2")), (), maps=(windows,)), truth)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("turn", [0, 120])
def test_lattice_sign_and_symmetry_are_one_for_the_whole_image(
    truth: Case, slips: FloatArray, sign: int, turn: int
) -> None:
    rng = np.random.default_rng(7)
    angle = turn * DEGREE
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    found = sign * slips @ rotation.T + rng.integers(-3, 4, slips.shape) @ MOS2.cell + NOISE
    scored = answer(truth, slip_map(found, POSITIONS))
    assert scored is not None
    assert scored.error == pytest.approx(np.sqrt(np.mean(np.sum(NOISE**2, axis=1))))
    assert scored.sigma == pytest.approx(0.01 * np.sqrt(2))
    assert scored.resolved == 1.0
    # 40 draws: standard deviations of 7 % and 3.4 %; three of them.
    assert scored.inside_68 == pytest.approx(0.683, abs=0.22)
    assert scored.inside_95 == pytest.approx(0.95, abs=0.1)


def test_a_sign_that_changes_within_the_image_is_an_error(truth: Case, slips: FloatArray) -> None:
    signs = np.where(np.arange(len(slips)) < 20, 1, -1)[:, None]
    scored = answer(truth, slip_map(signs * slips, POSITIONS))
    assert scored is not None
    assert scored.worst > 0.5  # Å: random slips and their opposites
    assert scored.apart == pytest.approx(0.0, abs=1e-6)


def test_the_rigid_slip_is_off_by_the_displacement(truth: Case) -> None:
    rigid = RelaxedMoire(MOS2, MOS2, MOIRE.twist)
    told = {**truth.truth, "slip_field": SlipField(rigid).truth(Placement())["slip_field"]}
    scored = answer(truth, slip_map(true_slips(told, POSITIONS).registry @ MOS2.cell, POSITIONS))
    assert scored is not None
    # Three sines of 0.2 Å along directions 120° apart: a mean square of 3/2 of one's; 40 places tell it to a fifth.
    assert scored.error == pytest.approx(0.2 * np.sqrt(3 / 2), rel=0.2)


def test_windows_that_are_not_resolved(truth: Case, slips: FloatArray) -> None:
    status = np.array(["ok"] * 30 + ["unresolved"] * 10)
    scored = answer(truth, slip_map(slips, POSITIONS, status=status))
    assert scored is not None
    assert (scored.count, scored.resolved) == (40, 0.75)
    assert answer(truth, slip_map(slips, POSITIONS, status=np.array(["vacuum"] * 40))) is None
    assert score(result("unresolved"), truth) is None


def test_totals_and_table() -> None:
    scored = [
        ("a", FieldAnswer(9, 1.0, 0.03, 0.02, 0.05, 0.03, 0.03, 0.7, 0.9)),
        ("b", FieldAnswer(9, 0.5, 0.04, 0.02, 0.05, 0.04, 0.02, 0.5, 0.7)),
    ]
    totals = FIELD.totals(scored)
    assert totals["rms_error_A"] == pytest.approx(np.sqrt((9 + 16) / 2) / 100)
    assert totals["rms_error_over_stated"] == pytest.approx(np.sqrt((1 + 4) / 2))
    assert totals["windows_resolved"] == pytest.approx(0.75)
    assert FIELD.totals([])["rms_error_A"] is None
    (table,) = FIELD.tables(scored)
    assert table.rows[0] == ("a", "9", "100 %", "0.0300", "0.0200", "0.0500", "0.0300", "0.0300", "70 %", "90 %")
