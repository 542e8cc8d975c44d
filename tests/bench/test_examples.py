"""The example images, which are multislice simulations, against their truth."""

from __future__ import annotations

from pathlib import Path

import pytest

from picostem.bench.ask import Given
from picostem.bench.stack import Row, measure

IMAGES = Path(__file__).parents[2] / "examples" / "images"

if not IMAGES.is_dir():
    pytest.skip("not run from the repository", allow_module_level=True)


@pytest.fixture(scope="module")
def rows() -> dict[str, Row]:
    return {row.name: row for row in measure(IMAGES, Given()).rows}


def test_every_verdict_and_orientation_is_right(rows: dict[str, Row]) -> None:
    assert len(rows) == 4
    assert all(row.right and row.orientation for row in rows.values())


@pytest.mark.parametrize(("name", "count"), [("ReS2_bilayer", 1), ("ReS2_boundary", 2)])
def test_slips_are_within_their_errors(rows: dict[str, Row], name: str, count: int) -> None:
    estimates = rows[name].score.estimates
    assert len(estimates) == count
    for estimate in estimates:
        assert estimate.error < 3 * estimate.sigma  # the trace of two dimensions: a chance of 1e-4 each
        assert estimate.sigma < 0.01  # Å: what the documents promise for such a dose


@pytest.mark.parametrize("name", ["ReS2_bilayer", "ReS2_boundary"])
def test_windows_hold_what_they_state(rows: dict[str, Row], name: str) -> None:
    windows = rows[name].score.windows
    assert windows is not None
    # 95 % are promised; the 15 or more windows overlap, so that few of them are independent draws.
    assert windows.inside_95 > 0.75
    assert windows.error < 0.02  # Å; the bound of a window is 0.007


def test_the_boundary_is_where_it_was_made(rows: dict[str, Row]) -> None:
    distance = rows["ReS2_boundary"].score.boundary
    assert distance is not None
    assert distance < 2.5  # Å: the width over which one stacking goes over into the other
