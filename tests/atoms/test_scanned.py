"""Scans levelled, and their sites located and put on a lattice."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.atoms.scanned import bumps, fit_lattice, flattened, levelled, locate_sites, match, site_spacing
from picostem.errors import ImageError, UsageError
from picostem.simulate.stm import Sites, Step, StmScan, StmSettings, Tip, lattice_places, scan_surface

SPACING, PIXEL = 4.0, 0.4


def square(settings: StmSettings, side: int = 128) -> StmScan:
    place = lattice_places(SPACING * np.eye(2), (70.0, 70.0))
    n = len(place)
    sites = Sites(place, np.full(n, 0.3), np.ones(n), np.zeros(n), np.zeros((n, 1), complex), np.zeros(n, int))
    return scan_surface(sites, Tip(width=0.4), settings, (side, side), PIXEL, np.random.default_rng(2))


def test_rows_lose_what_is_theirs_and_keep_the_lattice() -> None:
    # rows of sites are rows of pixels, so that the medians of the rows are part of the lattice
    clean = square(StmSettings()).heights
    noisy = square(StmSettings(line_offset=0.03, tilt=(0.01, 0.02))).heights
    flat = levelled(noisy, SPACING / PIXEL)
    left = flat - clean
    left -= left.mean()
    # LINES sinusoids are taken to be the lattice's, with the rows' noise at their frequencies: less than half of it
    assert left.std() < 0.5 * 0.03
    assert np.ptp(flat[:, 64]) == pytest.approx(np.ptp(clean[:, 64]), rel=0.3)


def test_terraces_are_taken_off_but_for_the_seam() -> None:
    clean = square(StmSettings()).heights
    stepped = square(StmSettings(steps=(Step(2.0, 0.2),), line_offset=0.05, tilt=(0.02, 0.01))).heights
    flat = flattened(stepped, SPACING / PIXEL)
    away = np.abs(np.arange(128) - 63.5) > 40  # the edge runs up and down the middle, 13 pixels off at the border
    assert np.ptp(flat[:, away]) < 2 * np.ptp(clean)
    # rows are offset by a quarter of the corrugation, and told by 128 pixels each
    assert abs(np.median(flat[:, :20]) - np.median(flat[:, -20:])) < 0.25 * np.ptp(clean)


@pytest.mark.parametrize("steps", [(), (Step(2.0, 0.7),)])
def test_the_spacing_is_read_off_the_image(steps: tuple[Step, ...]) -> None:
    made = square(StmSettings(noise=0.03, pink=0.04, line_offset=0.05, steps=steps, drift=((1.0, 0.1), (0.05, 1.0))))
    # 13 planes in the image: reflections are known to half a pixel of the spectrum; the drift is a tenth
    assert site_spacing(made.heights) == pytest.approx(SPACING / PIXEL, rel=0.15)


def test_noise_has_no_spacing() -> None:
    assert site_spacing(np.random.default_rng(0).standard_normal((128, 128))) is None


def test_faint_sites_beside_bright_ones_are_found() -> None:
    row, col = np.mgrid[:60, :60]
    heights = sum(
        h * np.exp(-((row - 15 - 10 * i) ** 2 + (col - 15 - 10 * j) ** 2) / 8)
        for i, j, h in [(i, j, 0.3 if (i + j) % 2 else 1.0) for i in range(4) for j in range(4)]
    )
    mine, _ = match(bumps(heights, 10.0), 15.0 + 10 * np.mgrid[:4, :4].reshape(2, -1).T, 2.0)
    assert len(mine) == 16


def test_sites_and_their_lattice_are_found() -> None:
    scan = square(StmSettings(noise=0.03, pink=0.03, line_offset=0.02, drift=((1.02, 0.03), (-0.01, 0.98))))
    found = locate_sites(scan.heights, 1.1 * SPACING / PIXEL)
    inside = np.all((scan.place > 4) & (scan.place < 123), axis=1)
    mine, true = match(found, scan.place[inside], 4.0)
    assert len(mine) == inside.sum()
    lattice = fit_lattice(found, (128, 128), SPACING / PIXEL)
    places = lattice.places()
    mine, true = match(places, scan.place, 4.0)
    assert len(mine) == len(places) == np.all((scan.place > -0.5) & (scan.place < 127.5), axis=1).sum()
    # 100 or more sites, each placed to a pixel or so
    assert np.abs(places[mine] - scan.place[true]).max() < 0.5
    assert len(lattice.places(10.0)) > len(places)


def test_noise_is_no_lattice() -> None:
    noise = np.random.default_rng(0).standard_normal((128, 128))
    with pytest.raises(ImageError, match="not on a lattice"):
        fit_lattice(locate_sites(noise, 10.0), (128, 128), 10.0)


def test_a_spacing_far_off_is_refused() -> None:
    found = locate_sites(square(StmSettings()).heights, 10.0)
    with pytest.raises(ImageError, match="20 pixels apart"):
        fit_lattice(found, (128, 128), 20.0)


@pytest.mark.parametrize("spacing", [2.0, 100.0, np.nan])
def test_spacings_that_no_image_can_have(spacing: float) -> None:
    with pytest.raises(UsageError, match="pixel size"):
        locate_sites(np.zeros((64, 64)), spacing)


def test_bad_pixels() -> None:
    bad = np.zeros((64, 64))
    bad[3, 4] = np.nan
    with pytest.raises(ImageError, match="finite"):
        locate_sites(bad, 10.0)


def test_match_takes_each_once() -> None:
    mine, true = match(np.array([[0.0, 0.0], [0.4, 0.0], [9.0, 9.0]]), np.array([[0.3, 0.0], [5.0, 5.0]]), 1.0)
    assert (mine.tolist(), true.tolist()) == ([1], [0])
