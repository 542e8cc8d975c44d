"""Labels of patches as numbers and back: equivalents, order, waves, distances."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from picostem.dataset.patch_plan import PatchPlan
from picostem.errors import DataError, UsageError
from picostem.infer.patch_labels import Labels
from picostem.infer.torus import Torus
from picostem.structure import load_monolayer
from picostem.structure.equivalence import canonical_twist, trilayer_distance, twist_distance

TASKS = ("slip", "antiparallel", "trilayer", "twist")
ROUNDING = 1e-8  # turns; labels are put in order to 9 digits


def labels_of(task: Any, form: Any = "waves", material: str = "MoS2") -> Labels:
    return Labels.of(PatchPlan(material, task).stack(), task, form)


def some(labels: Labels, count: int = 50, seed: int = 0) -> np.ndarray:
    turns = np.random.default_rng(seed).random((count, labels.coordinates))
    return turns * labels.unit[0, 0] if labels.twists else turns


@pytest.mark.parametrize(
    ("task", "plain", "waves", "maps"),
    # of two like layers cosines only; of unlike ones sines too
    [("slip", 2, 6, 2), ("antiparallel", 2, 12, 1), ("trilayer", 4, 14, 6), ("twist", 1, 2, 2)],
)
def test_sizes(task: str, plain: int, waves: int, maps: int) -> None:
    assert labels_of(task, "plain").size == labels_of(task).coordinates == plain
    assert labels_of(task).size == waves
    assert len(labels_of(task).maps) == maps


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("form", ["plain", "waves"])
def test_targets_come_back_as_the_label(task: str, form: str) -> None:
    labels = labels_of(task, form)
    values = some(labels)
    targets = labels.targets(values)
    assert targets.shape == (50, labels.size)
    found, sure = labels.decoded(targets)
    # targets are in single precision: 1e-7 of a turn, 1e-6 Å, but of waves its root where they are flat
    assert labels.distance(found, values).max() < (1e-5 if form == "plain" else 1e-3)
    assert sure == pytest.approx(np.ones(50), abs=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_waves_are_alike_for_like_stackings_and_vary_alike(task: str) -> None:
    labels = labels_of(task)
    values = some(labels, 4000)
    waves = labels.waves.at(labels.equivalents(values)[:, 0])
    for one in range(1, len(labels.maps)):
        np.testing.assert_allclose(labels.waves.at(labels.equivalents(values)[:, one]), waves, atol=1e-6)
    assert waves.var(axis=0) == pytest.approx(np.full(labels.size, 0.5), rel=0.1)  # 4000 samples


@pytest.mark.parametrize("task", TASKS)
def test_equivalents_are_alike(task: str) -> None:
    labels = labels_of(task)
    values = some(labels)
    for one in labels.equivalents(values).transpose(1, 0, 2):
        back = one * (labels.unit[0, 0] if labels.twists else 1.0)
        assert labels.distance(back, values).max() < 10 * ROUNDING * labels.unit.max()
        assert labels.canonical(back) == pytest.approx(labels.canonical(values), abs=3 * ROUNDING)


def test_plain_labels_are_the_first_in_order() -> None:
    labels = labels_of("slip", "plain")
    found = labels.targets(np.array([[0.7, 0.2], [0.3, 0.8], [0.0, 0.9], [1.3, -0.2], [0.5, 0.9]]))
    expected = np.array([[0.3, 0.8], [0.3, 0.8], [0.0, 0.1], [0.3, 0.8], [0.5, 0.1]])
    np.testing.assert_allclose(found, expected, atol=1e-6)  # single precision


@pytest.mark.parametrize(("material", "period"), [("MoS2", 120.0), ("ReS2", 180.0)])
def test_twists_are_those_of_equivalence(material: str, period: float) -> None:
    labels = labels_of("twist", material=material)
    assert np.degrees(labels.unit) == pytest.approx(period)
    layer = load_monolayer(material)
    a, b = (np.random.default_rng(seed).uniform(-4, 4, (200, 1)) for seed in (0, 1))
    assert labels.distance(a, b) == pytest.approx(twist_distance(a, b, layer)[:, 0], abs=1e-7)
    assert labels.canonical(a) == pytest.approx(canonical_twist(a, layer), abs=1e-7)


def test_slips_are_those_of_torus_and_equivalence() -> None:
    labels = labels_of("trilayer", material="ReS2")
    layer = load_monolayer("ReS2")
    a, b = some(labels, 20), some(labels, 20, 1)
    torus = Torus.of((layer,) * 3)
    assert labels.distance(a, b) == pytest.approx(torus.distance(a.reshape(-1, 2, 2), b.reshape(-1, 2, 2)))

    def positions(slips: np.ndarray) -> np.ndarray:
        return np.concatenate([np.zeros((1, 2)), np.cumsum(slips.reshape(2, 2), axis=0)]) @ layer.cell

    for one in labels.equivalents(a).transpose(1, 0, 2):
        for x, y in zip(a[:3], one[:3], strict=True):
            assert trilayer_distance(positions(x), positions(y), layer).max < 1e-6  # Å; rounding


def test_no_seam() -> None:
    """Slips on both sides of a cell's border are one to the network's numbers, and are not in plain ones."""
    beside = np.array([[0.2, 0.0005], [0.2, 0.9995]])
    waves, plain = labels_of("slip").targets(beside), labels_of("slip", "plain").targets(beside)
    assert np.abs(waves[0] - waves[1]).max() < 0.01
    assert np.abs(plain[0] - plain[1]).max() > 0.9


def test_how_sure() -> None:
    labels = labels_of("slip")
    both = labels.targets(np.array([[0.1, 0.2], [0.6, 0.2]])).mean(axis=0, keepdims=True)
    assert labels.decoded(both)[1][0] < 0.8  # opposite in the first coordinate
    plain = labels_of("slip", "plain")
    assert (plain.decoded(plain.targets(both[:, :2]))[1] == 1).all()


def test_bad_input() -> None:
    eye = np.eye(2)[None]
    with pytest.raises(UsageError, match="no form of labels 'round'"):
        Labels("round", eye, np.eye(2))
    with pytest.raises(DataError, match="expected maps"):
        Labels("plain", np.zeros((0, 2, 2)), np.eye(2))
    with pytest.raises(DataError, match="expected maps"):
        Labels("plain", eye, np.eye(3))
    with pytest.raises(DataError, match="identity first"):
        Labels("plain", -eye, np.eye(2))
    with pytest.raises(DataError, match="groups of 2"):
        Labels("plain", np.eye(3)[None], np.eye(2))
