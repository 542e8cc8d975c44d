"""Windows of images with known stackings, by networks for patches that say what they are told to say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picostem.bench.case import load_cases
from picostem.bench.patches import PatchScore, as_dict, measure, tables, totals, true_label
from picostem.bench.patches_figure import draw_errors, save_errors
from picostem.dataset.patch_plan import PatchPlan
from picostem.errors import DataError
from picostem.infer.patch_card import PatchCard
from picostem.infer.patch_labels import Labels
from picostem.infer.patch_predict import PatchNet
from picostem.physics import DEGREE
from picostem.simulate import AcquisitionSettings, Microscope, simulate_stack, write_simulation
from picostem.structure import Stack, load_monolayer

MOS2 = load_monolayer("MoS2")
TWIST = Labels.of((MOS2, MOS2), "twist", "waves")
SLIP = Labels.of((MOS2, MOS2), "slip", "waves")
SHIFT = np.array([0.2, 0.45])


class Says:
    """Stands for a session that says one label of every patch."""

    def __init__(self, labels: Labels, label: Any) -> None:
        self.numbers = labels.targets(np.array([label], dtype=np.float64))

    def run(self, names: list[str], feed: dict[str, Any]) -> list[np.ndarray]:
        return [np.repeat(self.numbers, len(feed["patches"]), axis=0)]


def net(task: Any, label: Any, material: str = "MoS2") -> PatchNet:
    labels = TWIST if task == "twist" else SLIP
    plan = PatchPlan(material, task, side=32, rotation_deg=180 if task == "twist" else 3)
    return PatchNet(PatchCard.of("made", plan, labels), Says(labels, label), labels)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two twists, one of them in an image smaller than a window, and one slip."""
    where = tmp_path_factory.mktemp("cases")
    microscope = Microscope.from_lab_units(voltage_kV=80, semiangle_mrad=30, detector_mrad=(50, 200))
    stacks = {
        "twist": (Stack.bilayer(MOS2, (0, 0), 73 * DEGREE), 200),
        "small": (Stack.bilayer(MOS2, (0, 0), 20 * DEGREE), 64),
        "slip": (Stack.bilayer(MOS2, SHIFT @ MOS2.cell), 200),
    }
    for name, (stack, side) in stacks.items():
        rng = np.random.default_rng(0)
        image, truth = simulate_stack(
            stack, microscope, AcquisitionSettings(), (side, side), 0.15, rng, rotation=0.4, mirrored=True, name=name
        )
        write_simulation(where, name, image, truth)
    return where


def test_twists(folder: Path) -> None:
    """73° of a crystal with a period of 120° look like 47°."""
    (score,) = measure(folder, net("twist", [47.5 * DEGREE]), 9.0)
    assert (score.name, score.true) == ("twist", pytest.approx(47))
    assert score.error == pytest.approx(np.full(9, 0.5), rel=1e-3)  # windows of 11.5 Å in 30 Å, three to a side
    assert score.sure == pytest.approx(1, abs=1e-3)


def test_slips(folder: Path) -> None:
    cases = {case.name: case for case in load_cases(folder)}
    label = true_label(cases["slip"], SLIP)
    assert SLIP.distance(label[None], SHIFT[None]) == pytest.approx(0, abs=1e-6)
    (score,) = measure(folder, net("slip", SHIFT + [0.1, 0.0]))
    assert score.name == "slip" and score.true is None
    assert score.error == pytest.approx(np.full(len(score.error), 0.1 * np.linalg.norm(MOS2.cell[0])), rel=1e-3)


def test_sums_and_table() -> None:
    """Every image counts alike, however many windows it has."""
    many = PatchScore("many", np.zeros(9), np.ones(9), 10.0)
    few = PatchScore("few", np.full(1, 2.0), np.full(1, 0.5), 20.0)
    found = totals([many, few], TWIST)
    assert (found["mean_error_deg"], found["within_1_deg"], found["sure"]) == (1.0, 0.5, 0.5)
    images, together = tables([many, few], TWIST)
    assert images.rows[1] == ("few", "20.000", "1", "2.000", "2.000", "0 %")
    assert ("mean error deg", "1.000") in together.rows
    document = json.loads(json.dumps(as_dict([many, few], TWIST), allow_nan=False))
    assert document["images"][1] == {"name": "few", "true_deg": 20.0, "error": [2.0], "sure": [0.5]}
    assert document["totals"]["mean_error_deg"] == 1.0


def test_the_figure_gives_every_image_the_same_weight(tmp_path: Path) -> None:
    """Nine windows off by nothing, drawn at the least error there is, and one off by 0.2°, are half of it each."""
    many = PatchScore("many", np.zeros(9), np.ones(9), 10.0)
    few = PatchScore("few", np.full(1, 0.2), np.ones(1), 20.0)
    shares, below = draw_errors([many, few], TWIST).axes
    drawn: list[Any] = list(shares.patches)
    bars = [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in drawn if bar.get_height() > 0]
    assert [height for *_, height in bars] == pytest.approx([50, 50])
    assert bars[0][0] == pytest.approx(1e-4) and bars[1][0] < 0.2 < sum(bars[1][:2])
    assert np.asarray(below.get_lines()[0].get_ydata())[[8, 9]] == pytest.approx([50, 100])
    assert np.asarray(shares.get_lines()[0].get_xdata()) == pytest.approx(0.1)  # the mean
    save_errors([few], SLIP, tmp_path / "errors.png")
    assert (tmp_path / "errors.png").read_bytes()[:4] == b"\x89PNG"


def test_nothing_to_measure(folder: Path) -> None:
    with pytest.raises(DataError, match="no images of twist of WS2"):
        measure(folder, net("twist", [0.1], "WS2"))
