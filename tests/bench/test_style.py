"""Figures of a style: content simulated again, columns matched, slips against labels, reports and their tables."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.bench.style import Experiments, StyleReport, ablation_table, measure, read_experiments
from picostem.bench.style_content import BORDER, resolved, resolved_atoms, simulated_again
from picostem.bench.style_kept import GAUSSIAN, STYLED, Kept, SlipKept, kept_table, slip_kept
from picostem.bench.style_likeness import LikenessReport, likeness
from picostem.bench.style_peaks import Matched, columns, match_columns
from picostem.bench.style_structure import structure_kept
from picostem.errors import DataError, UsageError
from picostem.image import Image
from picostem.resolve.result import Result
from picostem.simulate import AcquisitionSettings, simulate_stack, write_simulation
from picostem.structure import Stack, load_monolayer
from picostem.style.picture import Picture
from picostem.style.pool import PUBLISHED_MICROSCOPE, simulate_pool
from picostem.style.transfer import Attribute, Style
from tests.bench.made_style import write_style

FloatArray = NDArray[np.float64]
PX = 0.12
DOSE = AcquisitionSettings(dose=3e4)


def micrograph(mirrored: bool = False, seed: int = 0) -> tuple[Image, dict[str, object]]:
    """A bilayer of ReS2 as the published microscope would record it, 31 Å wide."""
    stack = Stack.bilayer(load_monolayer("ReS2"), (1.2, 1.9))
    rng = np.random.default_rng(seed)
    frame = {"rotation": 0.7, "mirrored": mirrored, "origin": (0.4, -0.9)}
    return simulate_stack(stack, PUBLISHED_MICROSCOPE, DOSE, (256, 260), PX, rng, **frame)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def found() -> Result:
    return resolved(micrograph()[0], "ReS2")


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A style that adds white noise of 6 % of the range."""
    return write_style(tmp_path_factory.mktemp("styles") / "straight", 0.06)


def dots(positions: FloatArray, heights: FloatArray, side: int = 200) -> Picture:
    """Columns 1 Å wide at positions (row, column) in pixels."""
    y, x = np.mgrid[:side, :side]
    data = np.zeros((side, side))
    for (row, column), height in zip(positions, heights, strict=True):
        data += height * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 3.5**2))
    return Picture(data.astype(np.float32), PX, 0.0, 1.0, "dots")


def grid(step: int = 24) -> FloatArray:
    """Positions on a square grid well inside 200 pixels, 2.9 Å apart."""
    axis = np.arange(28.0, 173.0, step)
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)


@pytest.mark.parametrize("mirrored", [False, True])
def test_content_simulated_again_is_what_was_imaged(mirrored: bool) -> None:
    """Against the noise-free image of the true stack: correlation 0.99, where one shifted by 0.2 Å has 0.95."""
    image, _ = micrograph(mirrored)
    again = simulated_again(resolved(image, "ReS2"), PX, (256, 260))
    clean = simulate_stack(
        Stack.bilayer(load_monolayer("ReS2"), (1.2, 1.9)),
        PUBLISHED_MICROSCOPE,
        AcquisitionSettings(dose=1e9),
        (256, 260),
        PX,
        np.random.default_rng(0),
        rotation=0.7,
        mirrored=mirrored,
        origin=(0.4, -0.9),
    )[0]
    assert np.corrcoef(again.data.ravel(), clean.data.ravel())[0, 1] > 0.985
    assert again.data.shape == clean.data.shape
    assert again.pixel_size == PX


def test_atoms_of_a_resolved_stack_fill_the_field_with_its_border(found: Result) -> None:
    """As many as two layers of 12 atoms in each cell have there, to a cell's width at the edge."""
    field = (30.0, 20.0)
    atoms = resolved_atoms(found.layers, field)
    area = (field[0] + 2 * BORDER) * (field[1] + 2 * BORDER)
    cell = abs(np.linalg.det(found.layers[0].rows))
    assert len(atoms) == pytest.approx(24 * area / cell, rel=0.02)
    assert np.ptp(atoms.positions[:, 2]) == pytest.approx(6.1 + 3.2, abs=0.6)  # one layer's spacing and thickness


def test_what_cannot_be_resolved_is_refused() -> None:
    noise = np.random.default_rng(3).random((256, 256)).astype(np.float32)
    with pytest.raises(DataError, match="no model to simulate again"):
        resolved(Image(noise, (PX, PX), "user", "grains"), "ReS2")


def test_equal_images_have_equal_columns() -> None:
    places = grid()
    one = dots(places, np.full(len(places), 1.0))
    matched = match_columns(one, one)
    assert (matched.count, matched.invented, matched.lost) == (len(places), 0, 0)
    assert matched.displacement < 1e-12  # Å: the greys are fitted, which rounds
    np.testing.assert_allclose(columns(one.data.astype(float), PX), places, atol=1e-4)


def test_a_column_that_is_missing_or_added_is_counted() -> None:
    places = grid()
    heights = np.full(len(places), 1.0)
    clean = dots(places, heights)
    fewer, more = heights.copy(), np.r_[heights, 0.9]
    fewer[20] = 0.2
    assert match_columns(dots(places, fewer), clean).lost == 1
    assert match_columns(dots(places, fewer), clean).invented == 0
    between = places[20] + 12.0
    added = match_columns(dots(np.r_[places, between[None]], more), clean)
    assert (added.invented, added.lost) == (1, 0)


def test_columns_moved_by_a_known_distance() -> None:
    """0.2 Å to the right, by 5/3 of a pixel: the parabola through three pixels is right to 0.005 Å."""
    places = grid()
    heights = np.full(len(places), 1.0)
    moved = match_columns(dots(places + (0, 0.2 / PX), heights), dots(places, heights))
    assert moved.displacement == pytest.approx(0.2, abs=0.005)
    assert moved.mean_displacement == pytest.approx(0.2, abs=0.005)
    assert (moved.lost, moved.invented) == (0, 0)


def test_noise_and_another_contrast_neither_add_nor_take_columns() -> None:
    """Crystals of ReS2 at the noise of an experiment, 7 % of the range: 200 columns and more in each of 3."""
    for one in simulate_pool("ReS2", 3, pixel_size=PX, extent=36.0, seed=5):
        noise = np.random.default_rng(6).standard_normal(one.picture.data.shape)
        grainy = replace(one.picture, data=(0.6 * one.picture.data + 0.2 + 0.6 * 0.07 * noise).astype(np.float32))
        matched = match_columns(grainy, one.picture)
        assert matched.count > 50
        assert (matched.lost, matched.invented) == (0, 0)
        assert 0 < matched.displacement < 0.1  # Å


def test_columns_of_different_grids_are_refused() -> None:
    one = dots(grid(), np.ones(len(grid())))
    with pytest.raises(DataError, match="one shape and pixel size"):
        match_columns(replace(one, pixel_size=0.1), one)
    with pytest.raises(DataError, match="image of atoms"):
        match_columns(one, replace(one, data=np.zeros_like(one.data)))


def test_slip_against_its_label() -> None:
    """0.03 Å: what images of this size and dose are resolved to; a wrong label is off by what it was moved."""
    image, truth = micrograph(seed=7)
    kept = slip_kept(image, dict(truth), PUBLISHED_MICROSCOPE)
    assert kept.error is not None
    assert kept.error < 0.03
    wrong = json.loads(json.dumps(truth))
    wrong["slip"]["D_cart_A"][0] += 0.5
    off = slip_kept(image, wrong, PUBLISHED_MICROSCOPE).error
    assert off == pytest.approx(0.5, abs=0.05)


def test_slip_that_is_not_found_has_no_error() -> None:
    _, truth = micrograph()
    noise = np.random.default_rng(3).random((128, 128)).astype(np.float32)
    assert slip_kept(Image(noise, (PX, PX), "user"), dict(truth)) == SlipKept(None, None)
    with pytest.raises(UsageError, match="task 'twist'"):
        slip_kept(Image(noise, (PX, PX), "user"), {**truth, "task": "twist"})


def test_totals_of_slips_and_columns() -> None:
    slips = (SlipKept(0.01, 0.002), SlipKept(None, None), SlipKept(0.03, 0.004))
    kept = Kept("made", slips, (Matched(10, 1, 0, 0.3, 0.0), Matched(20, 0, 2, 0.4, 0.0)))
    totals = kept.totals()
    assert (totals["slips"], totals["not_found"]) == (3, 1)
    assert totals["median_error_A"] == pytest.approx(0.02)
    assert totals["error_95_A"] == pytest.approx(0.029)
    assert (totals["columns"], totals["invented"], totals["lost"]) == (30, 1, 2)
    assert totals["displacement_rms_A"] == pytest.approx(np.sqrt(0.125))
    table = kept_table([replace(kept, apart=(0.001, 0.003))])
    cells = dict(zip(table.head, table.rows[0], strict=True))
    assert (cells["slips"], cells["not found"], cells["median Å"]) == ("3", "1", "0.0200")
    assert cells["95 % from Gaussian's Å"] == "0.0029"


def test_totals_where_nothing_was_found() -> None:
    totals = Kept("made", (SlipKept(None, None),), ()).totals()
    assert totals["not_found"] == 1
    assert totals["median_error_A"] is totals["displacement_rms_A"] is None


@pytest.fixture(scope="module")
def report(straight: Path) -> LikenessReport:
    return likeness(replace(micrograph()[0], name="shot"), "ReS2", Style.load(straight))


def test_likeness_puts_the_style_beside_noise(report: LikenessReport) -> None:
    """The style adds white noise, as the micrograph has: it is far more like it than the noise-free image."""
    scores = report.scores
    assert list(scores) == ["noise-free", "Gaussian, same noise", "Gaussian, same greys", "styled"]
    assert report.styled.spectrum < 0.25 * scores["noise-free"].likeness.spectrum
    assert scores["Gaussian, same greys"].likeness.d_kl <= scores["Gaussian, same noise"].likeness.d_kl
    assert not report.held_out
    gain = scores["Gaussian, same noise"].likeness.spectrum / report.styled.spectrum
    assert report.gain["Gaussian, same noise"] == pytest.approx(gain)


def test_likeness_as_document_and_table(report: LikenessReport) -> None:
    document = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert document["image"] == document["style_from"] == "shot"
    assert set(document["scores"]) == set(report.scores)
    table = report.table()
    assert [row[0] for row in table.rows] == [*report.scores, "halves of the experiment"]
    assert all(len(row) == len(table.head) for row in table.rows)


def test_style_of_one_image_scored_on_another(straight: Path) -> None:
    other = replace(micrograph(seed=9)[0], name="other")
    held = likeness(replace(micrograph()[0], name="shot"), "ReS2", Style.load(straight), other)
    assert held.held_out
    assert (held.name, held.style_from) == ("shot", "other")
    assert "style from other" in held.table().title


def test_measure_without_structure(straight: Path, tmp_path: Path) -> None:
    image, truth = micrograph()
    tif, _ = write_simulation(tmp_path, "shot", image, truth)
    found = measure(straight, read_experiments([tif], [tif], None), count=0)
    assert [one.held_out for one in found.likeness] == [False, True]
    assert found.kept == ()
    assert len(found.tables()) == 2
    totals = found.totals()
    assert totals["d_kl"] == found.likeness[0].styled.d_kl
    assert totals["median_error_A"] is None


def test_ablation_is_mean_and_spread_over_trainings(report: LikenessReport) -> None:
    def made(error: float) -> StyleReport:
        kept = Kept(STYLED, (SlipKept(error, 0.001),), (Matched(9, 0, 1, 0.02, 0.0),))
        return StyleReport("one", (report,), (kept,))

    table = ablation_table({"whole": [made(0.01), made(0.03)], "plain": [made(0.02)]})
    columns_of = dict(zip(table.head, zip(*table.rows, strict=True), strict=True))
    assert columns_of["variant"] == ("whole", "plain")
    assert columns_of["median Å"] == ("0.0200 ± 0.0141", "0.0200")
    assert columns_of["lost"] == ("1.0 ± 0.0", "1.0")


def test_no_images_or_attributes_are_refused(straight: Path) -> None:
    with pytest.raises(UsageError, match="experimental image"):
        Experiments(())
    with pytest.raises(UsageError, match="attribute"):
        structure_kept("ReS2", straight, [], count=1, pixel_size=PX, extent=30.0)


@pytest.mark.slow
def test_structure_is_kept_by_a_style_that_only_adds_noise(straight: Path) -> None:
    """Median 0.01 Å, as asked of a learned style; both kinds of image have the same noise."""
    done: list[tuple[int, int]] = []
    kinds = structure_kept(
        "ReS2",
        straight,
        [Attribute("made", (0.5,))],
        count=6,
        pixel_size=PX,
        extent=40.0,
        progress=lambda _, one, count: done.append((one, count)),
    )
    assert [kind.name for kind in kinds] == [STYLED, GAUSSIAN]
    assert done[-1] == (6, 6)
    assert len(kinds[0].apart) == 6
    assert max(kinds[0].apart) < 0.03  # both have the same content and as much noise: some of the bound, 0.003 Å
    for kind in kinds:
        totals = kind.totals()
        assert totals["not_found"] == totals["invented"] == totals["lost"] == 0
        assert totals["median_error_A"] is not None
        assert totals["median_error_A"] < 0.01
