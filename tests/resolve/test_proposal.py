"""Windows of which a network says something: alone, beside the fit, and where the fit does not hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.resolve import windows
from picostem.resolve.combine import told_slip
from picostem.resolve.evidence import Evidence
from picostem.resolve.proposal import Proposal, Source
from picostem.resolve.window import window_starts
from picostem.resolve.windows import UNTRUSTED, WindowFits, fit_grid, typical_chi2
from picostem.structure import SlipEquivalence

from .made import RES2, SLIP, fitted

FloatArray = NDArray[np.float64]

TRUE = SLIP @ np.linalg.inv(RES2.cell)
WRONG = TRUE + 0.5  # a fit does not find its way back from there
COVARIANCE = np.array([[4e-4, 1e-4], [1e-4, 2e-4]])
FIXED = SlipEquivalence(RES2, frame_fixed=True)


@dataclass(frozen=True)
class Says:
    """Says the same of every window."""

    slips: FloatArray
    weights: tuple[float, ...] = (1.0,)
    alone: bool = False
    trusts: Callable[[FloatArray], NDArray[np.bool_]] = lambda centres: np.ones(len(centres), dtype=bool)

    def __call__(self, evidence: Evidence) -> Proposal:
        centres = evidence.harmonics.centres
        count, modes = len(centres), np.atleast_2d(self.slips)
        slips = np.tile(modes[:, None], (count, 1, 1, 1))
        return Proposal(
            slips, np.tile(self.weights, (count, 1)), np.tile(COVARIANCE, (count, 1, 1)), self.trusts(centres)
        )


def asked(says: Says, likely: FloatArray = TRUE, data: Any = None, **options: Any) -> WindowFits:
    image, setting = fitted()
    rows, cols = image.shape
    starts = (window_starts(rows, setting.window, 40), window_starts(cols - 20, setting.window, 40))
    given = image if data is None else data
    return fit_grid(given, setting, likely[None, None], starts, proposer=says, **options)


@cache
def spoiled() -> NDArray[np.float32]:
    """The image with a coarse random texture, as strong as the lattice, on its left quarter."""
    data = fitted()[0].copy()
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(data.shape[0] // 4 + 1, data.shape[1] // 4 + 1))
    texture = np.kron(coarse, np.ones((4, 4)))[: data.shape[0], : data.shape[1]]
    quarter = data.shape[1] // 4
    data[:, :quarter] += (data.std() * texture)[:, :quarter].astype(np.float32)
    return data


class TestAlone:
    def test_its_slip_and_covariance_stand(self) -> None:
        found = asked(Says(TRUE, alone=True), likely=WRONG)
        np.testing.assert_array_equal(found.slips[:, 0], np.tile(TRUE, (len(found.slips), 1)))
        np.testing.assert_array_equal(found.covariance, np.tile(COVARIANCE, (len(found.slips), 1, 1)))
        assert (found.source == Source.NET).all()
        assert (found.status(1.0) == "ok").all()

    def test_place_scale_and_information_are_those_of_the_fit(self) -> None:
        told = asked(Says(TRUE, alone=True))
        fit = asked(Says(TRUE))
        assert (fit.source == Source.FIT).all()
        # the true slip instead of the fitted one costs 2 in chi² on average, of some 130
        np.testing.assert_allclose(told.chi2, fit.chi2, rtol=0.15)
        np.testing.assert_allclose(told.amplitude, fit.amplitude, rtol=0.02)
        np.testing.assert_allclose(told.fisher, fit.fisher, rtol=0.1, atol=1e-6)
        np.testing.assert_array_equal(fit.fisher, fit.covariance)

    def test_it_may_doubt(self) -> None:
        found = asked(Says(TRUE, alone=True, trusts=lambda centres: centres[:, 0] > 0))
        status = found.status(1.0)
        assert set(status[found.centres[:, 0] > 0]) == {"ok"}
        assert set(status[found.centres[:, 0] <= 0]) == {"untrusted"}

    def test_a_wrong_slip_is_its_own_fault(self) -> None:
        """Its chi² shows it; whether the slip is believed is for the network to say."""
        found = asked(Says(WRONG, alone=True))
        assert (found.chi2 > 2).all()
        assert "untrusted" not in found.status(0.1)


class TestBeside:
    def test_its_modes_are_starts(self) -> None:
        """The likely slip is wrong, and no other is tried: the second mode leads to the truth."""
        stuck = asked(Says(WRONG), likely=WRONG, only_these=True)
        assert (FIXED.distance(stuck.slips[:, 0] @ RES2.cell, SLIP) > 0.3).all()
        found = asked(Says(np.array([WRONG, TRUE + 0.01]), (0.9, 0.1)), likely=WRONG, only_these=True)
        # 0.03 Å: four standard deviations
        assert FIXED.distance(found.slips[:, 0] @ RES2.cell, SLIP).max() < 0.03
        assert (found.source == Source.FIT).all()
        unlikely = asked(Says(np.array([WRONG, TRUE]), (0.99, 0.01)), likely=WRONG, only_these=True)
        np.testing.assert_allclose(unlikely.chi2, stuck.chi2)

    def test_where_the_fit_is_good_the_network_changes_nothing(self) -> None:
        with_it, without = asked(Says(WRONG)), asked(None)  # type: ignore[arg-type]
        # its start is in another basin, which is left where it fits worse
        for name in WindowFits.__dataclass_fields__:
            np.testing.assert_allclose(getattr(with_it, name), getattr(without, name), err_msg=name)

    def test_its_word_stands_where_the_model_does_not_hold(self) -> None:
        bound = UNTRUSTED * max(typical_chi2(fitted()[1]), 1.0)
        lost = asked(None, data=spoiled())  # type: ignore[arg-type]
        assert 0.1 < np.mean(lost.chi2 > bound) < 0.7
        found = asked(Says(TRUE), data=spoiled())
        told = found.source == Source.NET
        np.testing.assert_array_equal(told, lost.chi2 > bound)
        np.testing.assert_array_equal(found.slips[told, 0], np.tile(TRUE, (told.sum(), 1)))
        np.testing.assert_array_equal(found.covariance[told], np.tile(COVARIANCE, (told.sum(), 1, 1)))
        assert (found.status(1.0)[told] != "untrusted").all()
        np.testing.assert_array_equal(found.slips[~told], lost.slips[~told])

    def test_windows_that_neither_knows(self) -> None:
        found = asked(Says(TRUE, trusts=lambda centres: np.zeros(len(centres), dtype=bool)), data=spoiled())
        lost = asked(None, data=spoiled())  # type: ignore[arg-type]
        assert (found.source == Source.FIT).all()
        np.testing.assert_array_equal(found.status(1.0), lost.status(1.0))
        assert (found.status(1.0) == "untrusted").any()


@pytest.mark.parametrize("alone", [False, True])
def test_batches_do_not_show(monkeypatch: pytest.MonkeyPatch, alone: bool) -> None:
    says = Says(TRUE + 0.01, alone=alone)
    whole = asked(says, data=spoiled())
    monkeypatch.setattr(windows, "BATCH", 3)
    parts = asked(says, data=spoiled())
    for name in WindowFits.__dataclass_fields__:
        # the same windows in the same order; matrix products of other sizes round differently
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-4, atol=1e-5, err_msg=name)


class TestToldSlip:
    """The mean of what a network says of windows side by side."""

    def windows(self, slips: FloatArray) -> WindowFits:
        """A row of windows that do not overlap."""
        count, side = len(slips), fitted()[1].window
        one = asked(Says(TRUE, alone=True)).take(np.arange(count) * 0)
        centres = np.stack([np.arange(count) * float(side), np.zeros(count)], axis=1)
        return replace(one, centres=centres, slips=(slips @ np.linalg.inv(RES2.cell))[:, None])

    def test_windows_that_agree_may_be_wrong_together(self) -> None:
        common = told_slip(fitted()[1], self.windows(np.tile(SLIP, (9, 1))))
        assert FIXED.distance(common.slip[0], SLIP) < 1e-9
        np.testing.assert_allclose(common.inflated, COVARIANCE)
        np.testing.assert_array_equal(common.spread, 0)

    def test_windows_that_scatter_as_they_say_are_independent(self) -> None:
        drawn = np.random.default_rng(0).multivariate_normal(SLIP, COVARIANCE, 400)
        common = told_slip(fitted()[1], self.windows(drawn))
        # r is 1 within 5 %, the deviation of the scatter of 400 windows: C (0.05 + 1 / 400)
        assert (np.diag(common.covariance) < np.diag(COVARIANCE) * (3 * 0.05 + 1 / 400)).all()
        assert FIXED.distance(common.slip[0], SLIP) < 4 * np.sqrt(np.trace(COVARIANCE) / 400)
        assert common.spread[0] < 0.4 * np.sqrt(np.trace(COVARIANCE))

    def test_more_scatter_than_they_say_is_a_spread(self) -> None:
        drawn = np.random.default_rng(1).multivariate_normal(SLIP, 5 * COVARIANCE, 400)
        common = told_slip(fitted()[1], self.windows(drawn))
        # the variance beyond that which they say, four times it, is known to 7 %
        assert common.spread[0] == pytest.approx(2 * np.sqrt(np.trace(COVARIANCE)), rel=0.15)

    def test_the_bound_is_that_of_all_windows(self) -> None:
        made = self.windows(np.tile(SLIP, (9, 1)))
        common = told_slip(fitted()[1], made)
        np.testing.assert_allclose(common.bound, np.sqrt(np.trace(made.fisher[0]) / 9), rtol=1e-6)

    def test_orders_of_the_layers_are_compared(self) -> None:
        """Half of the windows have the layers the other way round; the tiles say which way is right."""
        setting = fitted()[1]
        mixed = np.where(np.arange(8)[:, None] % 2, SLIP, -SLIP + RES2.cell[0])
        common = told_slip(setting, self.windows(mixed))
        assert list(common.other_orders) == [(1, 0)]
        assert common.other_orders[(1, 0)] >= 0
        assert SlipEquivalence(RES2).distance(common.slip[0], SLIP) < 1e-9
        assert common.fit.chi2_reduced < 1.5
        np.testing.assert_allclose(
            common.fit.state.slips @ RES2.cell, np.tile(common.slip, (len(common.fit.chi2), 1, 1))
        )

    def test_far_from_what_the_tiles_show_all_of_them_count(self) -> None:
        far = SLIP + (1.5, 1.5)
        common = told_slip(fitted()[1], self.windows(np.tile(far, (3, 1))))
        assert len(common.fit.chi2) == len(fitted()[1].fit.chi2)
        assert common.fit.chi2_reduced > 2
