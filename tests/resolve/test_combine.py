"""One slip from all windows: weighted means by hand, uniform and smoothly varying stackings."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from picostem.pipeline import resolve
from picostem.resolve.combine import _mean_and_spread, common_slip
from picostem.resolve.result import Result
from picostem.simulate import AcquisitionSettings, simulate_stack
from picostem.structure import Layer, SlipEquivalence, Stack

from .made import KNOWN, MICROSCOPE, PIXEL_SIZE, RES2, ROTATION, SLIP, fitted

FIXED = SlipEquivalence(RES2, frame_fixed=True)


def test_mean_is_weighted_and_spread_is_what_errors_do_not_explain() -> None:
    slips = np.array([[0.0, 0.0], [0.3, 0.0]])
    covariances = np.array([np.eye(2) * 0.01, np.eye(2) * 0.02])
    mean, spread = _mean_and_spread(slips, covariances)
    np.testing.assert_allclose(mean, [0.1, 0.0])
    # mean square (0.01 + 0.04) / 2, less the mean trace 0.03: nothing is left
    assert spread == 0
    mean, spread = _mean_and_spread(slips, covariances / 100)
    np.testing.assert_allclose(mean, [0.1, 0.0])
    assert spread == pytest.approx(np.sqrt(0.025 - 0.0003))


class TestUniform:
    def test_one_slip_for_all_tiles(self) -> None:
        data, setting = fitted()
        common = common_slip(data, setting, SLIP[None])
        assert common.fit.common_slip
        assert common.spread == [0]
        error = FIXED.distance(common.slip[0], SLIP)
        assert error < 4 * np.sqrt(np.trace(common.covariance))
        # four tiles: half the error of one
        single = np.trace(RES2.cell.T @ setting.fit.slip_covariance[0] @ RES2.cell)
        assert np.trace(common.covariance) == pytest.approx(single / len(setting.fit.chi2), rel=0.4)
        assert list(common.other_orders) == [(1, 0)]
        assert common.other_orders[(1, 0)] >= 0
        np.testing.assert_allclose(common.bound, np.sqrt(np.trace(common.covariance)))

    def test_tiles_of_the_opposite_order_are_turned_round(self) -> None:
        """Some tiles may have taken the layers the other way round, which costs next to nothing."""
        from picostem.resolve.orient import reordered

        data, setting = fitted()
        state = setting.fit.state
        half = np.arange(len(state.scale)) % 2 == 0
        turned = reordered(setting.model, state, (1, 0))[1]
        mixed = replace(
            state,
            origin=np.where(half[:, None], turned.origin, state.origin),
            slips=np.where(half[:, None, None], turned.slips, state.slips),
        )
        common = common_slip(data, replace(setting, fit=replace(setting.fit, state=mixed)), SLIP[None])
        assert common.spread == [0]
        assert FIXED.distance(common.slip[0], SLIP) < 4 * np.sqrt(np.trace(common.covariance))


STRAIN = 0.004


@cache
def strained() -> Result:
    """The upper layer stretched by 0.4 % along x of its crystal frame: the slip grows with the place."""
    stretched = replace(RES2, cell=RES2.cell * (1 + STRAIN), positions=RES2.positions * (1 + STRAIN))
    stack = Stack((Layer(RES2), Layer(stretched, (float(SLIP[0]), float(SLIP[1])), 0.0, RES2.layer_spacing)))
    image, _ = simulate_stack(
        stack,
        MICROSCOPE,
        AcquisitionSettings(dose=1e5),
        (500, 500),
        PIXEL_SIZE,
        np.random.default_rng(2),
        rotation=ROTATION,
    )
    return resolve(image, "ReS2", **KNOWN)


class TestVarying:
    def test_spread_is_that_of_the_stacking(self) -> None:
        (interface,) = strained().interfaces
        assert strained().verdict == "slip"
        # nine tiles 20 Å apart, D = D0 + 0.004 r: rms 0.004 · 20 Å · sqrt(2/3) per axis
        assert interface.slip_spread == pytest.approx(STRAIN * 20 * np.sqrt(4 / 3), rel=0.2)
        equivalence = SlipEquivalence(RES2)
        # the mean over the field, whose centre is at the origin
        assert equivalence.distance(interface.slip, SLIP) < 0.03

    def test_map_follows_it(self) -> None:
        """The upper layer's atoms stand 0.4 % further out: in the image frame, the slip grows like 0.004 r."""
        from picostem.structure import image_from_crystal

        slip_map, layer = strained().map, strained().layers[0]
        assert slip_map is not None
        assert len(slip_map.domains) == 1
        in_image = slip_map.slip @ image_from_crystal(layer.rotation, layer.mirrored).T
        design = np.column_stack([np.ones(len(slip_map)), slip_map.position])
        gradient = np.linalg.lstsq(design, in_image, rcond=None)[0][1:]
        # of either order of the layers; half of it is taken by the mean lattice, which both layers share alike
        np.testing.assert_allclose(np.abs(np.diag(gradient)), STRAIN, rtol=0.1)
        np.testing.assert_allclose(gradient[[0, 1], [1, 0]], 0, atol=0.1 * STRAIN)
