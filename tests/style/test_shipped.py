"""Styles that come with the program: whole, small, credited, and keeping the structure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import picostem.style
from picostem.bench.style_kept import slip_kept
from picostem.bench.style_peaks import match_columns
from picostem.image import Image
from picostem.style.picture import prepare
from picostem.style.pool import PUBLISHED_MICROSCOPE, simulate_pool
from picostem.style.transfer import Style
from picostem.style.weights import shipped_styles

FOLDER = Path(picostem.style.__file__).parent / "shipped"


@pytest.mark.parametrize("name", shipped_styles())
def test_shipped_styles_say_what_they_are(name: str) -> None:
    card = Style.load(name, threads=1).card
    assert card.name == name
    assert card.licence and card.credit and card.figures and card.exemplars
    assert {"preset", "seed", "steps", "command"} <= card.training.keys()
    assert "|" in (FOLDER / name / "README.md").read_text("utf-8")
    assert sum(file.stat().st_size for file in (FOLDER / name).iterdir()) < 20e6


def test_slips_and_columns_survive_the_style() -> None:
    """Four slips; benchmarks hold 200. 0.03 Å is four times the bound of such images, 95 % of them lie below it."""
    style = Style.load("ReS2-300kV", threads=1)
    for index, one in enumerate(simulate_pool("ReS2", 4, pixel_size=0.08, extent=40.0, seed=11)):
        attribute = style.exemplar(style.card.exemplars[index % len(style.card.exemplars)].name)
        data = style.apply(one.picture, attribute, np.random.default_rng(index))
        kept = slip_kept(Image(data, (0.08, 0.08), "user", "styled"), one.truth, PUBLISHED_MICROSCOPE)
        assert kept.error is not None and kept.error < 0.03
        columns = match_columns(prepare(Image(data, (0.08, 0.08), "user", "styled")), one.picture)
        assert (columns.invented, columns.lost) == (0, 0)
