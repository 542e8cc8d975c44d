"""Figures of a style: slips against labels, likeness, reports and their tables."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from picostem.bench.style import Experiments, StyleReport, ablation_table, measure, read_experiments
from picostem.bench.style_kept import GAUSSIAN, STYLED, Kept, SlipKept, kept_table, slip_kept
from picostem.bench.style_likeness import LikenessReport, compare
from picostem.bench.style_peaks import Matched
from picostem.bench.style_structure import structure_kept
from picostem.errors import UsageError
from picostem.image import Image
from picostem.simulate import write_simulation
from picostem.style.pool import PUBLISHED_MICROSCOPE
from picostem.style.transfer import Attribute, Style
from tests.bench.made_style import PX, micrograph, shot, write_style


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A style that adds white noise of 6 % of the range."""
    return write_style(tmp_path_factory.mktemp("styles") / "straight", 0.06)


def test_slip_against_its_label(monkeypatch: pytest.MonkeyPatch) -> None:
    """0.03 Å: what images of this size and dose are resolved to; a wrong label is off by what it was moved."""
    image, truth = micrograph()
    kept = slip_kept(image, dict(truth), PUBLISHED_MICROSCOPE)
    assert kept.error is not None
    assert kept.error < 0.03
    known = shot()
    monkeypatch.setattr("picostem.pipeline.resolve_with", lambda *_: known)
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


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every image is the micrograph, and resolved at once."""
    known = shot()
    monkeypatch.setattr("picostem.pipeline.resolve_with", lambda *_: known)


@pytest.fixture(scope="module")
def report(straight: Path) -> LikenessReport:
    return compare(shot(), Style.load(straight))


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
    held = compare(shot(), Style.load(straight), other)
    assert held.held_out
    assert (held.name, held.style_from) == ("shot", "other")
    assert "style from other" in held.table().title


@pytest.mark.usefixtures("instant")
def test_measure_without_structure(straight: Path, tmp_path: Path) -> None:
    """One image to learn from, and the same held out: its own style is scored on it, and the learned one."""
    tif, _ = write_simulation(tmp_path, "shot", *micrograph())
    found = measure(straight, read_experiments([tif], [tif], None), count=0)
    own, held = found.likeness
    assert (own.held_out, held.held_out) == (False, True)
    assert found.kept == ()
    assert len(found.tables()) == 2
    totals = found.totals()
    assert totals["d_kl"] == own.styled.d_kl
    assert totals["median_error_A"] is None


def test_ablation_is_mean_and_spread_over_trainings(report: LikenessReport) -> None:
    def made(error: float) -> dict[str, float | int | None]:
        kept = Kept(STYLED, (SlipKept(error, 0.001),), (Matched(9, 0, 1, 0.02, 0.0),))
        return StyleReport("one", (report,), (kept,)).totals()

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
