"""Sites of a scan as a table: all of them, with heights, errors and vacancies, whatever the rows and terraces do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from picostem.atoms.scanned import match
from picostem.atoms.sites import find_sites, flat_scan
from picostem.atoms.survey import survey
from picostem.errors import ImageError
from picostem.image import Acquisition, Image
from picostem.simulate.stm import Sites, Step, StmScan, StmSettings, Tip, lattice_places, scan_surface

SPACING, PIXEL, HEIGHT, WIDTH, BLUNT = 4.0, 0.4, 0.3, 0.95, 0.4
TIP = Acquisition(tip=True)


def scan(settings: StmSettings, missing: int = 0) -> StmScan:
    """A square lattice turned by 0.3 rad, 128² pixels, with the sites nearest to the middle missing."""
    turn = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    place = lattice_places(SPACING * turn, (70.0, 70.0)) + 0.4
    place = place[np.argsort(np.hypot(*place.T))[missing:]]
    n = len(place)
    sites = Sites(
        place, np.full(n, HEIGHT), np.full(n, WIDTH), np.zeros(n), np.zeros((n, 1), complex), np.zeros(n, int)
    )
    return scan_surface(sites, Tip(width=BLUNT), settings, (128, 128), PIXEL, np.random.default_rng(4))


def image(made: StmScan) -> Image:
    return Image(made.heights, acquisition=TIP).with_pixel_size(PIXEL, "file")


def inside(place: np.ndarray[tuple[int, int]], margin: float = 5.0) -> np.ndarray[tuple[int]]:
    return np.all((place > margin) & (place < 127 - margin), axis=1)


NOISY = StmSettings(noise=0.012, pink=0.018, line_offset=0.05, streaks=0.1, streak_height=0.1, tilt=(0.02, 0.01))
"""Half of the surface's own rms, 0.045 Å."""


def test_all_sites_with_their_errors() -> None:
    made = scan(NOISY)
    table = find_sites(flat_scan(image(made)))
    place = np.column_stack([table.row, table.col])
    mine, true = match(place, made.place, 0.35 * SPACING / PIXEL)
    assert np.isin(np.flatnonzero(inside(made.place)), true).all()
    assert np.isin(np.flatnonzero(inside(place)), mine).all()
    kept = inside(made.place[true])
    error = (place[mine] - made.place[true])[kept]
    stated = np.sqrt(np.diagonal(table.covariance, axis1=1, axis2=2))[mine][kept]
    assert np.sqrt(np.mean(error**2)) < 0.4  # of 10 pixels between neighbours
    assert 0.85 < np.mean(np.abs(error) < 1.96 * stated) <= 1  # 95 % of 200 coordinates, less what rows' offsets do
    assert len(np.unique(table.width)) == 1 and table.pixel_size == (PIXEL, PIXEL)


def test_height_is_that_of_the_image() -> None:
    made = scan(StmSettings(noise=0.002))
    table = find_sites(flat_scan(image(made)))
    # crests and troughs of the image: neighbours overlap, so that less than the blunted site's height is left of it
    seen = float(np.quantile(made.heights, 0.995) - np.quantile(made.heights, 0.005))
    assert np.median(table.intensity) == pytest.approx(seen, rel=0.25)  # a Gaussian of a quarter of the spacing


def test_a_missing_site_is_a_vacancy() -> None:
    made = scan(NOISY, missing=1)
    full = scan(NOISY)
    gone = full.place[np.argmin(np.hypot(*(full.sites.place).T))]
    found = survey([image(made)])
    vacancies = np.column_stack([found.found.vacancies.row, found.found.vacancies.col])
    assert np.hypot(*(vacancies - gone).T).min() < 2.0  # pixels
    assert len(vacancies) <= 2 and found.recording is None
    assert found.image.notes[-1] == "rows, slopes and terraces are levelled"


def test_a_step_keeps_the_sites_away_from_it() -> None:
    # twice the distance between neighbours away from the edge, which runs up and down
    made = scan(replace(NOISY, steps=(Step(2.0, 0.1, 2.0),)))
    table = find_sites(flat_scan(image(made)))
    far = np.abs(made.place[:, 1] - 63.5 - 5.0) > 20
    true = match(np.column_stack([table.row, table.col]), made.place, 3.5)[1]
    assert np.mean(np.isin(np.flatnonzero(inside(made.place) & far), true)) > 0.97


def test_images_of_electrons_stay_as_they_are() -> None:
    plain = Image(scan(NOISY).heights)
    assert flat_scan(plain) is plain


def test_noise_has_no_sites() -> None:
    noise = np.random.default_rng(0).standard_normal((96, 96)).astype(np.float32)
    assert len(find_sites(flat_scan(Image(noise, acquisition=TIP)))) < 3


def test_bad_scans() -> None:
    with pytest.raises(ImageError, match="show no lattice"):
        flat_scan(Image(np.zeros((8, 8), np.float32), acquisition=TIP))
    with pytest.raises(ImageError, match="NaN"):
        flat_scan(Image(np.full((64, 64), np.nan, np.float32), acquisition=TIP))
