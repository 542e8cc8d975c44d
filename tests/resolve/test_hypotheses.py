"""Two or three layers, parallel or antiparallel: on simulated images and on fits whose numbers are set by hand."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.resolve.hypotheses import (
    ANTIPARALLEL,
    CLEAR_GAIN,
    PARALLEL,
    THREE,
    Hypothesis,
    _lacking,
    _third_is_there,
    alternatives,
    antiparallel,
    fit_hypotheses,
)
from picostem.resolve.lattice import power_spectrum
from picostem.resolve.orient import Setting, fit_setting
from picostem.simulate import AcquisitionSettings, simulate_stack
from picostem.structure import SlipEquivalence, Stack, load_monolayer

from .made import MICROSCOPE, MOS2, OPTICS, PIXEL_SIZE, RES2, ROTATION, fitted, make_lattice
from .test_select import with_fit, with_parameter

FloatArray = NDArray[np.float64]
SLIPS = np.array([[1.2, 1.9], [-2.1, 0.6]])


@cache
def pair_fitted_to(stack: Stack, dose: float = 2.6e4) -> Setting:
    """Two parallel layers fitted to a simulated stack."""
    image, _ = simulate_stack(
        stack,
        MICROSCOPE,
        AcquisitionSettings(dose=dose),
        (336, 336),
        PIXEL_SIZE,
        np.random.default_rng(1),
        rotation=ROTATION,
    )
    data = image.data - image.data.mean()
    layer = stack.layers[0].monolayer
    lattice = make_lattice(layer)
    return fit_setting(data, power_spectrum(data), lattice, (layer, layer), 20.0, OPTICS)


def test_layers_with_a_two_fold_axis_have_no_antiparallel_stacking() -> None:
    assert antiparallel(RES2) is None
    assert antiparallel(load_monolayer("graphene")) is None
    turned = antiparallel(MOS2)
    assert turned is not None
    np.testing.assert_allclose(turned.positions[:, :2], -MOS2.positions[:, :2])


class TestThree:
    stack = Stack.of([RES2] * 3, list(SLIPS))

    def test_are_found_where_two_explain_too_little(self) -> None:
        found = fit_hypotheses([pair_fitted_to(self.stack)], "auto", (OPTICS,))
        assert [h.name for h in found] == [THREE, PARALLEL]
        three = found[0].setting
        distance = three.model.stackings.distance(three.fit.state.slips @ RES2.cell, SLIPS)
        assert distance.max() < 0.1  # Å, of each window: 4 σ
        assert three.explained > 0.99
        (rival,) = alternatives(found)
        assert rival.delta_chi2 > 1000

    def test_are_not_sought_where_two_are_there(self) -> None:
        found = fit_hypotheses([fitted()[1]], "auto", (OPTICS,))
        assert [(h.name, h.settled) for h in found] == [(PARALLEL, True)]

    def test_number_can_be_told(self) -> None:
        for layers, count in (("2", 2), ("3", 3)):
            found = fit_hypotheses([pair_fitted_to(self.stack)], layers, (OPTICS,))  # type: ignore[arg-type]
            assert found[0].setting.model.layer_count == count

    def test_never_win_over_two_that_are_there(self) -> None:
        """They always fit a little better or strain the microscope."""
        found = fit_hypotheses([fitted()[1]], "3", (OPTICS,))
        two = fit_hypotheses([fitted()[1]], "2", (OPTICS,))[0]
        assert found[0].name == THREE
        assert not _third_is_there(two, found[0])

    def test_must_gain_clearly(self) -> None:
        setting = fitted()[1]
        two = Hypothesis(PARALLEL, with_fit(setting, chi2=setting.fit.chi2 + 0.9 * CLEAR_GAIN), settled=True)
        three = Hypothesis(THREE, setting, settled=True)
        assert not _third_is_there(two, three)
        two = Hypothesis(PARALLEL, with_fit(setting, chi2=setting.fit.chi2 + 1.1 * CLEAR_GAIN), settled=True)
        assert _third_is_there(two, three)
        # one poor window of four is a defect or a boundary, not a layer
        odd = np.where(np.arange(len(setting.fit.chi2)) == 0, 50 * CLEAR_GAIN, 0.0)
        assert not _third_is_there(Hypothesis(PARALLEL, with_fit(setting, chi2=setting.fit.chi2 + odd)), three)
        unlike = Hypothesis(THREE, with_parameter(setting, "log brightness 2", 0.9))
        assert not _third_is_there(two, unlike)

    def test_are_sought_where_layers_are_unlike(self) -> None:
        setting = fitted()[1]
        assert not _lacking(Hypothesis(PARALLEL, setting, settled=True))
        assert _lacking(Hypothesis(PARALLEL, setting, settled=False))
        assert _lacking(Hypothesis(PARALLEL, with_parameter(setting, "log brightness 2", -0.4), settled=True))
        assert _lacking(Hypothesis(PARALLEL, with_fit(setting, chi2=setting.fit.chi2 * 4), settled=True))


class TestAntiparallel:
    @pytest.mark.parametrize("turned", [False, True])
    def test_is_told_from_parallel(self, turned: bool) -> None:
        upper = MOS2.turned() if turned else MOS2
        slip = np.array([0.9, 1.4])
        found = fit_hypotheses([pair_fitted_to(Stack.of([MOS2, upper], [slip]))], "auto", (OPTICS,))
        assert found[0].name == (ANTIPARALLEL if turned else PARALLEL)
        assert {h.name for h in found} == {ANTIPARALLEL, PARALLEL}
        (rival,) = alternatives(found)
        assert rival.delta_chi2 > 100
        assert rival.detail == ""
        setting = found[0].setting
        slips = setting.fit.state.slips[:, 0] @ MOS2.cell
        equivalence = SlipEquivalence(MOS2, twist=np.pi if turned else 0.0)
        # the stack may be described with either layer first
        distances = [equivalence.distance(s * slips, slip).max() for s in (1, -1)]
        assert min(distances) < 0.1  # Å: the linear image lacks the interference that the fit looks for

    def test_is_not_believed_where_both_fit_alike(self) -> None:
        """Where nothing tells them apart the parallel one stands, and the other is called undecided."""
        best = Hypothesis(PARALLEL, fitted()[1], settled=True)
        other = replace(best, name=ANTIPARALLEL, setting=with_fit(best.setting, chi2=best.setting.fit.chi2 - 1.0))
        (rival,) = alternatives([best, other])
        assert rival.delta_chi2 == pytest.approx(-len(best.setting.fit.chi2))
        assert rival.detail == "undecided"
