"""Truth of the dumbbells that are drawn, and scores of a small movie."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.atoms.dumbbells import find_dumbbells
from picostem.atoms.follow import follow
from picostem.bench.atoms_dumbbells import CELL, TURN, Crystal, measure, recorded, score, true_values
from picostem.errors import DataError
from picostem.physics import DEGREE
from tests.atoms.made import expected


def test_perfect_silicon() -> None:
    crystal = Crystal.perfect(2, 96)
    length, angle, asymmetry = crystal.value.reshape(-1, 3).T
    assert length == pytest.approx(CELL / 4)
    assert angle == pytest.approx(90 * DEGREE + TURN)
    assert np.all(asymmetry == 0)
    place = crystal.ends[:, 0].reshape(-1, 2)
    near = np.sort(np.linalg.norm(place - place[len(place) // 4], axis=1))
    assert near[1:3] == pytest.approx([CELL / 4, CELL * np.sqrt(3) / 4])  # of silicon's bonds, one lies in the plane


def test_changes_and_a_defect_are_what_they_say() -> None:
    crystal = Crystal.perfect(1, 96)
    shape = crystal.apart.shape[:2]
    changed = crystal.changed(np.full(shape, 0.2), np.full(shape, 0.1)).value
    assert changed[..., 0] == pytest.approx(np.full(shape, CELL / 4 + 0.2))
    assert changed[..., 1] == pytest.approx(np.full(shape, 90 * DEGREE + TURN + 0.1))
    hit = crystal.disturbed(np.zeros((1, 2)))
    assert int(np.sum(hit.atoms)) == int(np.sum(crystal.atoms)) - 2
    moved = np.linalg.norm(hit.ends - crystal.ends, axis=-1)
    assert moved.max() < 0.5 + 1e-9
    assert moved[np.linalg.norm(crystal.ends, axis=-1) > 10].max() < 0.125 + 1e-9


def test_an_image_holds_one_electron_per_column_and_unit_of_dose() -> None:
    image = Crystal.perfect(1, 96).images(96)[0]
    columns = (96 * 0.16) ** 2 * 4 * np.sqrt(2) / CELL**2
    assert image.sum() == pytest.approx(columns, rel=0.03)  # of 45, some are cut by the border


def test_truth_of_what_is_found() -> None:
    perfect = Crystal.perfect(2, 96)
    longer = np.array([[0.0], [0.1]]) * np.ones(perfect.apart.shape[:2])
    crystal = perfect.changed(longer, longer)
    images = recorded(crystal.images(96), 3000.0, np.random.default_rng(0))
    found = find_dumbbells(follow(images))
    true = true_values(found, crystal, images[0])
    inner = np.all(np.abs(np.column_stack([found.row, found.col]) - 47.5) < 36, axis=1)
    assert inner.sum() > 20
    # 0.03 Å and 0.03 rad: tails of the peaks, which the fit's Gaussians do not have
    assert np.median(np.abs(found.value - true)[inner], axis=0) == pytest.approx([0, 0, 0], abs=0.03)


def test_scores() -> None:
    report = measure((500.0,), frames=5, side=112, seed=1)
    assert [(one.movie, one.quantity) for one in report.scores] == [
        (movie, quantity) for movie in ("random", "defect") for quantity in ("length", "angle", "asymmetry")
    ]
    length, angle = report.scores[:2]
    assert 0.05 < length.smallest < 0.12  # Å; errors of 0.05 at 300 electrons go with the root
    for one in (length, angle):
        assert one.false is not None and one.false < 0.12  # of 100 or more at rest; 0.046 by chance
        assert one.found is not None and one.found > 0.6  # of few
        assert one.rms == pytest.approx(1.0, abs=0.35)
    assert report.tables()[0].text().count("\n") == 7
    assert report.as_dict()["scores"][0]["dose"] == 500.0


def test_images_without_dumbbells() -> None:
    place = np.stack(np.mgrid[:5, :5], axis=-1).reshape(-1, 2) * 16.0 + 16
    lone = np.stack([expected(place, np.ones(25), np.eye(2) * 6, (96, 96), 0.0)] * 2)
    with pytest.raises(DataError, match="more electrons"):
        score("lone atoms", 500.0, Crystal.perfect(2, 96), recorded(lone, 500.0, np.random.default_rng(0)))
