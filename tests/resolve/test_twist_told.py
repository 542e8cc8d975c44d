"""Twists of a network beside those of the fit: whose windows are, and the twist of the image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from picostem.resolve.result import Domain, Interface, SlipMap
from picostem.resolve.twist_map import curvature_error, local_strain, twist_domains
from picostem.resolve.twist_told import ToldTwists, told_interface, with_told

from .test_twist_map import made_by_hand

TWIST = np.radians(14.0)
SIDE = 40.0
STRIDE = 10.0


def told(twist: list[float], trusted: list[bool]) -> ToldTwists:
    """With an error of 0.1°; degrees."""
    sigma = np.where(np.isfinite(twist), 0.1, np.nan)
    return ToldTwists(np.radians(twist), np.radians(sigma), np.array(trusted), SIDE)


class TestWindows:
    FITTED = made_by_hand(
        (1, 6),
        twist=np.radians([14.0, 14.0, 3.0, 3.0, 3.0, 14.0]),
        chi2=np.array([1.0, 1.0, 5.0, 5.0, 1.0, 1.0]),
        scale=np.array([1.0, 1.0, 1.0, 1.0, 0.1, 1.0]),
    )
    TOLD = told([14.2, 40.0, 14.2, 40.0, 14.2, np.nan], [True, False, True, False, True, False])

    def test_the_networks_alone(self) -> None:
        found = with_told(self.FITTED, self.TOLD, alone=True)
        assert found.engine.tolist() == ["net", "net", "net", "net", "fit", "fit"]
        assert found.status.tolist() == ["ok", "untrusted", "ok", "untrusted", "vacuum", "ok"]
        np.testing.assert_allclose(np.degrees(found.twist), [14.2, 40.0, 14.2, 40.0, 3.0, 14.0])
        assert np.degrees(found.twist_sigma[:4]) == pytest.approx(0.1)
        assert found.twist_sigma[5] == self.FITTED.twist_sigma[5]

    def test_the_networks_where_the_fit_does_not_hold(self) -> None:
        found = with_told(self.FITTED, self.TOLD, alone=False)
        assert found.engine.tolist() == ["fit", "fit", "net", "fit", "fit", "fit"]
        assert found.status.tolist() == ["ok", "ok", "ok", "untrusted", "vacuum", "ok"]
        np.testing.assert_allclose(np.degrees(found.twist), [14.0, 14.0, 14.2, 3.0, 3.0, 14.0])

    @pytest.mark.parametrize("alone", [False, True])
    def test_a_registry_that_the_fit_does_not_hold_for_is_none(self, alone: bool) -> None:
        found = with_told(self.FITTED, self.TOLD, alone)
        unknown = np.isnan(found.registry).all(axis=1)
        assert unknown.tolist() == np.isnan(found.covariance).all(axis=(1, 2)).tolist()
        assert unknown.tolist() == [False, False, True, alone, False, False]

    def test_what_comes_of_the_others_registry_is_as_it_was(self) -> None:
        """A slope, of which a window in the middle is missing."""
        bend = np.linspace(-1, 1, 25)[:, None] ** 2 * np.ones(2)
        whole = made_by_hand((5, 5), registry=bend, twist=np.full(25, TWIST))
        spoiled = replace(whole, status=np.where(np.arange(25) == 12, "untrusted", "ok"))
        known = told([14.0] * 25, [True] * 25)
        found = with_told(spoiled, known, alone=False)
        assert found.status[12] == "ok" and twist_domains(found)[12] == 0
        cell = np.eye(2)
        assert curvature_error(found, cell, 20.0, 10.0) == curvature_error(spoiled, cell, 20.0, 10.0)
        np.testing.assert_array_equal(local_strain(found, cell, cell), local_strain(spoiled, cell, cell))


class TestInterface:
    INTERFACE = Interface(1, 2, np.zeros(2), np.zeros(2), np.eye(2), 0.1, 0.0, np.zeros((1, 2)), twist=1.0)

    @staticmethod
    def slip_map(twist: np.ndarray, sigma: float = 1e-3, **changes: Any) -> SlipMap:
        n = len(twist)
        zero = np.zeros(n)
        values: dict[str, Any] = {
            "row": zero,
            "col": zero,
            "position": np.zeros((n, 2)),
            "slip": np.zeros((n, 2)),
            "covariance": np.zeros((n, 2, 2)),
            "chi2": zero,
            "status": np.full(n, "ok"),
            "fine": zero > 0,
            "window": 20.0,
            "stride": STRIDE,
            "grid": (1, n),
            "twist": twist,
            "twist_sigma": np.full(n, sigma),
            "engine": np.full(n, "net"),
        }
        return SlipMap(**{**values, **changes})

    def test_errors_that_all_windows_share_stay(self) -> None:
        """Of 64 windows, four patches: what scatters averages out, what is common does not."""
        n = 64
        common, sigma = 0.8e-3, 1e-3
        offs = np.where(np.arange(n) % 2, 1, -1) * np.sqrt(sigma**2 - common**2)
        found = told_interface(self.INTERFACE, self.slip_map(TWIST + offs), SIDE, alone=True)
        assert found.twist == pytest.approx(TWIST)
        assert found.twist_sigma == pytest.approx(np.sqrt(common**2 + (sigma**2 - common**2) / 4))
        assert found.twist_spread == 0
        same = told_interface(self.INTERFACE, self.slip_map(np.full(n, TWIST)), SIDE, alone=True)
        assert same.twist_sigma == pytest.approx(sigma)

    def test_twists_that_scatter_more_than_their_errors(self) -> None:
        offs = np.where(np.arange(64) % 2, 3e-3, -3e-3)
        found = told_interface(self.INTERFACE, self.slip_map(TWIST + offs), SIDE, alone=True)
        assert found.twist_sigma == pytest.approx(3e-3 / 2)
        assert found.twist_spread == pytest.approx(np.sqrt(8) * 1e-3)

    def test_sure_windows_count_most(self) -> None:
        sigma = np.array([1e-3, 2e-3])
        found = told_interface(
            self.INTERFACE, self.slip_map(np.array([0.1, 0.11]), twist_sigma=sigma), SIDE, alone=True
        )
        assert found.twist == pytest.approx(0.102)

    def test_the_largest_domain(self) -> None:
        twist = np.array([0.1, 0.1, 0.1, 0.4, 0.4])
        parts = [Domain(np.array(i), np.zeros(2), np.eye(2), np.zeros(2), 0.5) for i in ([3, 4], [0, 1, 2])]
        found = told_interface(self.INTERFACE, self.slip_map(twist, domains=tuple(parts)), SIDE, alone=True)
        assert found.twist == pytest.approx(0.4)

    def test_beside_the_fit_most_windows_are_needed(self) -> None:
        engine = np.array(["net", "net", "fit", "fit"])
        some = self.slip_map(np.array([0.1, 0.1, 0.2, 0.2]), engine=engine)
        assert told_interface(self.INTERFACE, some, SIDE, alone=False) is self.INTERFACE
        assert told_interface(self.INTERFACE, some, SIDE, alone=True).twist == pytest.approx(0.1)
        most = self.slip_map(np.array([0.1, 0.1, 0.1, 0.2]), engine=np.array(["net", "net", "net", "fit"]))
        assert told_interface(self.INTERFACE, most, SIDE, alone=False).twist == pytest.approx(0.1)

    def test_none_of_the_networks(self) -> None:
        some = self.slip_map(np.array([0.1, 0.2]), engine=None)
        assert told_interface(self.INTERFACE, some, SIDE, alone=True) is self.INTERFACE
        doubted = self.slip_map(np.array([0.1, 0.2]), status=np.array(["untrusted", "untrusted"]))
        assert told_interface(self.INTERFACE, doubted, SIDE, alone=True) is self.INTERFACE
