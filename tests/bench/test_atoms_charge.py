"""The case of charge around sites: what is drawn, and scores of a small scan."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.bench.atoms_charge import charged_surface, correlation, measure


def test_the_surface_is_as_noisy_as_it_says() -> None:
    still, noisy = (charged_surface(noise, 96, np.random.default_rng(0)).heights for noise in (0.0, 0.5))
    added = np.clip(noisy - still, *np.quantile(noisy - still, [0.005, 0.995]))  # without streaks; the tilt is in both
    row, col = np.mgrid[:96, :96].reshape(2, -1)
    plane = np.column_stack([row, col, np.ones(row.size)])
    surface = still.ravel() - plane @ np.linalg.lstsq(plane, still.ravel(), rcond=None)[0]
    # 96 rows' offsets and the slow part of 1/f noise are few draws, and streaks are in the surface
    assert added.std() / surface.std() == pytest.approx(0.5, rel=0.3)


def test_correlation_knows_directions() -> None:
    a = np.array([1.0 + 0j, 1j, -1.0, -1j])
    assert correlation(a, 3 * a + 2) == pytest.approx(1)
    assert correlation(a, -a) == pytest.approx(-1)
    assert correlation(a, 1j * a) == pytest.approx(0)


def test_scores() -> None:
    report = measure((0.1, 0.6), side=128, seed=3)
    low, high = report.scores
    assert min(low.sites, high.sites) > 80
    assert low.dipole > 0.97 and low.quadrupole > 0.95
    assert high.dipole < low.dipole and high.quadrupole < low.quadrupole
    assert low.dipole > low.moments_dipole
    for one in report.scores:
        assert one.within > 0.87  # of 400 components or so, 95 %
    assert report.as_dict()["scores"][1]["noise"] == 0.6
    assert report.tables()[0].text().count("\n") == 3
