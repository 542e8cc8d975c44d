"""Scores of twists by hand."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.bench.twist import TWIST, TwistAnswer, score
from tests.bench.made import case, interface, layer, result

LAYERS = (layer("MoS2"), layer("MoS2", 40.0))
TRUTH = case("twist", ("MoS2", "MoS2"), (10.0,))


def answer(found: float, sigma: float = 0.1, alternatives: tuple[float, ...] = ()) -> TwistAnswer:
    scored = score(result("twist", LAYERS, (interface(found, sigma, alternatives),)), TRUTH)
    assert scored is not None
    return scored


def test_one_twist_by_hand() -> None:
    (estimate,) = answer(-10.15).estimates
    assert (estimate.true, estimate.found) == (pytest.approx(10.0), pytest.approx(-10.15))
    assert estimate.error == pytest.approx(0.15)
    assert estimate.sigma == pytest.approx(0.1)
    assert estimate.bound == pytest.approx(0.05)
    assert (estimate.inside_68, estimate.inside_95) == (False, True)


def test_a_wrong_branch_is_outside_and_one_that_is_left_open_is_not() -> None:
    wrong, open_ = answer(49.98), answer(49.98, alternatives=(10.05,))
    assert wrong.branch == "wrong"
    assert wrong.estimates[0].error == pytest.approx(39.98)
    assert not wrong.estimates[0].inside_95
    assert open_.branch == "undecided"
    assert open_.estimates[0].error == pytest.approx(0.05)
    assert open_.estimates[0].inside_68


@pytest.mark.parametrize("verdict", ["slip", "monolayer", "unresolved"])
def test_other_verdicts_have_no_twist(verdict: str) -> None:
    assert score(result(verdict, LAYERS, (interface(10.0, 0.1),)), TRUTH) is None
    assert score(result("twist", LAYERS[:1]), TRUTH) is None


def test_stated_ranges_hold_what_they_state() -> None:
    draws = 10 + 0.1 * np.random.default_rng(4).standard_normal(1000)
    estimates = [answer(float(draw)).estimates[0] for draw in draws]
    # 1000 draws: standard deviations of 1.5 % and 0.7 %; four of them.
    assert np.mean([e.inside_68 for e in estimates]) == pytest.approx(0.683, abs=0.06)
    assert np.mean([e.inside_95 for e in estimates]) == pytest.approx(0.95, abs=0.03)


def test_totals_by_hand() -> None:
    scored = [("a", answer(10.1)), ("b", answer(10.2)), ("c", answer(50.0)), ("d", answer(50.0, alternatives=(10.0,)))]
    totals = TWIST.totals(scored)
    assert totals["twists"] == 4
    assert totals["mean_error_deg"] == pytest.approx(0.1)  # of 0.1, 0.2 and 0: the wrong branch is counted apart
    assert totals["worst_error_deg"] == pytest.approx(0.2)
    assert totals["rms_error_over_bound"] == pytest.approx(np.sqrt((2**2 + 4**2 + 0) / 3))
    assert totals["twists_inside_95"] == pytest.approx(0.5)  # 0.2 is two standard deviations
    assert (totals["branch_decided"], totals["branch_wrong"], totals["branch_undecided"]) == (3, 1, 1)
    assert TWIST.totals([])["mean_error_deg"] is None


def test_the_two_interfaces_of_a_twisted_trilayer() -> None:
    truth = case("twisted trilayer", ("MoS2",) * 3, (10.0, -15.0))
    found = (interface(15.1, 0.1), interface(-10.0, 0.1))  # the layers in the opposite order
    scored = score(result("twist", (layer("MoS2"),) * 3, found), truth)
    assert scored is not None
    assert [e.error for e in scored.estimates] == pytest.approx([0.1, 0.0], abs=1e-9)
    (table,) = TWIST.tables([("t", scored)])
    assert [line.split()[0] for line in table.text().splitlines()[2:]] == ["t", "-10.000"]


def test_an_interface_without_bound() -> None:
    scored = score(result("twist", LAYERS, (interface(10.0, 0.1, twist_bound=0.0),)), TRUTH)
    assert scored is not None
    assert scored.estimates[0].bound is None
    assert TWIST.totals([("a", scored)])["rms_error_over_bound"] is None
    (table,) = TWIST.tables([("a", scored)])
    assert table.rows[0][5:7] == ("–", "–")
