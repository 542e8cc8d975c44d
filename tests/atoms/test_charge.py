"""Asymmetry of sites, read from drawn scans."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from picostem.atoms.charge import MOST, fit_charges, moments, read_charges
from picostem.atoms.scanned import SiteLattice, match
from picostem.errors import ImageError
from picostem.simulate.stm import Sites, StmScan, StmSettings, Tip, lattice_places, scan_surface

SPACING, PIXEL, SIDE = 4.0, 0.4, 96
WIDTH, BLUNT = 1.0, 0.5
ROUND = Tip(width=BLUNT)
NOISE = StmSettings(noise=0.004, pink=0.008, line_offset=0.01, tilt=(0.002, 0.001))


def scan(dipole: float, quadrupole: float, settings: StmSettings = NOISE, tip: Tip = ROUND) -> StmScan:
    """Random asymmetries of these rms sizes on a square lattice."""
    rng = np.random.default_rng(4)
    place = lattice_places(SPACING * np.eye(2), (60.0, 60.0))
    n, one = len(place), np.ones(len(place))
    chance = (rng.standard_normal((n, 2)) + 1j * rng.standard_normal((n, 2))) / np.sqrt(2)
    lobes = np.array([dipole, quadrupole]) * chance
    sites = Sites(place, 0.3 * one, WIDTH * one, 0 * one, lobes, np.zeros(n, int))
    return scan_surface(sites, tip, settings, (SIDE, SIDE), PIXEL, rng)


def rho(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float(np.vdot(a, b).real / np.sqrt(np.vdot(a, a).real * np.vdot(b, b).real))


def test_planted_asymmetry_is_read_with_its_errors() -> None:
    drawn = scan(0.2, 0.12)
    found = read_charges(drawn.heights, 1.05 * SPACING / PIXEL)
    mine, true = match(found.place, drawn.place, 4.0)
    assert len(mine) == len(found.place) > 40
    blunted = WIDTH / np.hypot(WIDTH, BLUNT)
    for order, read, sigma in ((1, found.dipole, found.dipole_sigma), (2, found.quadrupole, found.quadrupole_sigma)):
        planted = drawn.sites.lobes[true, order - 1] * blunted**order
        assert rho(read[mine], planted) > 0.95
        assert np.vdot(planted, read[mine]).real / np.vdot(planted, planted).real == pytest.approx(1, abs=0.2)
        pull = (read[mine] - planted + planted.mean()) / sigma[mine]
        # 60 sites of two components; the width is known to a tenth, which is in the error of the scale alone
        assert np.sqrt(np.mean(np.abs(pull) ** 2) / 2) == pytest.approx(1, abs=0.4)


def test_what_all_sites_share_is_not_theirs() -> None:
    tip = Tip(width=BLUNT, elongation=1.5, direction=0.4, further=((1.0, 0.5, 0.25),))
    drawn = scan(0.0, 0.0, tip=tip)
    found = read_charges(drawn.heights, SPACING / PIXEL)
    for read, sigma in ((found.dipole, found.dipole_sigma), (found.quadrupole, found.quadrupole_sigma)):
        assert np.abs(read).max() < 0.1  # the second apex alone gives each a dipole of 0.2
        assert np.all(np.abs(read) < 4 * np.sqrt(2) * sigma)


def test_streaks_and_offsets_of_rows_hardly_matter() -> None:
    lattice = SiteLattice(np.eye(2) * SPACING / PIXEL, np.full(2, (SIDE - 1) / 2), (SIDE, SIDE))
    quiet = fit_charges(scan(0.2, 0.1).heights, lattice)
    rough = replace(NOISE, line_offset=0.2, streaks=0.2, streak_height=0.5)
    loud = fit_charges(scan(0.2, 0.1, rough).heights, lattice)
    assert rho(quiet.dipole, loud.dipole) > 0.95
    assert rho(quiet.quadrupole, loud.quadrupole) > 0.93


def test_moments_see_the_same_less_clearly() -> None:
    drawn = scan(0.2, 0.12)
    lattice = SiteLattice(np.eye(2) * SPACING / PIXEL, np.full(2, (SIDE - 1) / 2), (SIDE, SIDE))
    place, dipole, quadrupole = moments(drawn.heights, lattice)
    mine, true = match(place, drawn.place, 2.0)
    assert rho(dipole[mine], drawn.sites.lobes[true, 0]) > 0.8
    assert rho(quadrupole[mine], drawn.sites.lobes[true, 1]) > 0.6
    assert len(mine) == len(fit_charges(drawn.heights, lattice).place)


@pytest.mark.parametrize("spacing", [60.0, SIDE / np.sqrt(MOST) / 1.5])
def test_too_few_and_too_many_sites(spacing: float) -> None:
    lattice = SiteLattice(np.eye(2) * spacing, np.full(2, SIDE / 2), (SIDE, SIDE))
    with pytest.raises(ImageError, match="part"):
        fit_charges(np.zeros((SIDE, SIDE)), lattice)
