"""The case of scans: what is drawn, and scores of a small one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from picostem.bench.atoms_stm import HEIGHT, SURFACES, measure, scanned_surface


def test_a_surface_as_it_says() -> None:
    surface = replace(SURFACES["square"], side=96)
    made = scanned_surface(surface, 0.0, np.random.default_rng(1))
    expected = (96 * surface.pixel_size / 3.9) ** 2 * 0.97
    here = np.all((made.place > -0.5) & (made.place < 95.5), axis=1).sum()
    assert here == pytest.approx(expected, rel=0.15)  # 72 sites, of which some are missing, and the drift
    assert made.sites.height.max() < 1.3 * HEIGHT and made.heights.shape == (96, 96)


def test_steps_raise_the_surface() -> None:
    surface = replace(SURFACES["two steps"], side=96)
    made = scanned_surface(surface, 0.0, np.random.default_rng(1))
    assert np.ptp(made.heights) > 2.0  # Å, of a step of 2.1


def test_scores() -> None:
    report = measure(("square",), (0.5,), seeds=1, seed=3)
    (score,) = report.scores
    assert score.sites > 200
    assert score.recall > 0.97 and score.precision > 0.97
    assert score.rms_px < 0.5 and score.rms_A == pytest.approx(score.rms_px * 0.35)
    assert score.row_inside > 0.8 and score.col_inside > 0.8
    assert report.as_dict()["scores"][0]["surface"] == "square"
    assert report.tables()[0].text().count("\n") == 2
