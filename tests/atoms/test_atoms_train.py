"""Training of the network that finds atoms: it learns, goes on where it was stopped, and is told what is true."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picostem.atoms.predict import AtomNet, Detections
from picostem.atoms.scene import draw_scene
from picostem.atoms.settings import AtomSettings, ScenePlan
from picostem.errors import DataError, UsageError
from picostem.image import Image
from picostem.training import CHECKPOINT, HISTORY, read_history

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("onnx")

from picostem.atoms.train import Patch, compared, drawing, learn_atoms, mirrored, one_step, patch_of, start  # noqa: E402

PLAN = ScenePlan(pixel_A=(0.15, 0.25), counts=(500, 2000), extent_A=14)
TINY = AtomSettings(steps=4, batch=2, side=32, validation=3, validate_every=2, width=4, blocks=1, warm_up=1)


def learned(folder: Path, settings: AtomSettings = TINY, **options: Any) -> Any:
    return learn_atoms(settings, PLAN, folder, name="made", **{"device": "cpu", "threads": 1} | options)


class TestPatches:
    def test_truth_goes_with_the_picture(self) -> None:
        """The mean picture around atoms is a peak in the middle, whatever the scale."""
        rng = np.random.default_rng(0)
        middle = []
        for _ in range(40):
            patch = patch_of(draw_scene(rng, PLAN), TINY, rng)
            assert patch.data.shape == (32, 32)
            for row, column in np.rint(patch.place[patch.sure]).astype(int):
                if 4 <= row < 28 and 4 <= column < 28:
                    middle.append(patch.data[row - 4 : row + 5, column - 4 : column + 5])
        assert len(middle) > 50
        peak = np.mean(middle, axis=0)
        assert np.unravel_index(peak.argmax(), peak.shape) == (4, 4)

    def test_mirrored_truth_goes_with_the_picture(self) -> None:
        """Each atom keeps its grey level, whichever way the scene is turned."""
        rng = np.random.default_rng(1)
        scene = draw_scene(rng, PLAN)
        level = scene.data[tuple(np.rint(scene.place).astype(int).T)]
        seen = set()
        for _ in range(20):
            other = mirrored(scene, rng)
            assert np.array_equal(other.data[tuple(np.rint(other.place).astype(int).T)], level)
            seen.add(tuple((other.place[0] == scene.place[0]).tolist()))
        assert len(seen) == 4

    def test_scenes_must_be_larger(self) -> None:
        rng = np.random.default_rng(0)
        with pytest.raises(UsageError, match="draw larger ones"):
            patch_of(draw_scene(rng, PLAN, (20, 20)), TINY, rng)

    def test_other_processes_draw_the_same(self) -> None:
        with drawing(TINY, PLAN, 0) as alone, drawing(TINY, PLAN, 1) as together:
            one, other = np.random.default_rng(3), np.random.default_rng(3)
            for count in (2, 2, 3):  # another number is not what was drawn ahead
                expected, found = alone(one, count), together(other, count)
                assert [np.array_equal(a.data, b.data) for a, b in zip(expected, found, strict=True)] == [True] * count
            assert one.bit_generator.state == other.bit_generator.state


class TestScores:
    def patch(self, place: list[list[float]], sure: list[bool]) -> Patch:
        nothing: Any = None
        kind = np.zeros(len(sure), dtype=np.int64)
        return Patch(nothing, np.array(place).reshape(-1, 2), kind, np.array(sure, dtype=bool), nothing)

    def found(self, *place: tuple[float, float]) -> Detections:
        count = len(place)
        return Detections(np.array(place).reshape(-1, 2), np.ones(count), np.zeros(count, dtype=np.intp))

    def test_hits_misses_and_inventions(self) -> None:
        patch = self.patch([[5, 5], [5, 15], [15, 5]], [True, True, True])
        counts, squares = compared(self.found((5, 6), (5, 7), (15, 5), (20, 20)), patch)
        assert counts == (2, 1, 2)  # of two near one atom, the nearer is it
        assert squares == pytest.approx(1)

    def test_wrong_class_is_a_miss_and_an_invention(self) -> None:
        patch = replace(self.patch([[5, 5], [15, 15]], [True, True]), kind=np.array([0, 3]))
        assert compared(self.found((5, 5), (15, 15)), patch)[0] == (1, 1, 1)

    def test_unsure_atoms_count_neither_way(self) -> None:
        patch = self.patch([[5, 5], [15, 15]], [True, False])
        assert compared(self.found((5, 5), (15, 16)), patch)[0] == (1, 0, 0)
        assert compared(self.found((5, 5)), patch)[0] == (1, 0, 0)

    def test_nothing_there_or_found(self) -> None:
        assert compared(self.found(), self.patch([[5, 5]], [True]))[0] == (0, 1, 0)
        assert compared(self.found((5, 5)), self.patch([], []))[0] == (0, 0, 1)


class TestTraining:
    def test_learns(self) -> None:
        """The loss of the same patches falls, from that of a network that says that atoms are rare."""
        settings = replace(TINY, steps=60, learning_rate=3e-3, warm_up=5)
        with drawing(settings, PLAN, 0) as draw:
            learning = start(draw, settings, 0, "cpu")
            patches = draw(learning.rng, 2)
        losses = [one_step(learning, patches)["loss"] for _ in range(60)]
        assert losses[-1] < 0.7 * losses[0]

    def test_from_scenes_to_atoms_of_an_image(self, tmp_path: Path) -> None:
        card = learned(tmp_path, licence="CC0", seed=1)
        assert card.training["licence"] == "CC0" and card.training["settings"]["steps"] == 4
        assert card.figures["scenes"].keys() == {"recall", "precision", "f1", "rms_A"}
        rows = read_history(tmp_path / HISTORY)
        assert ["validation_f1" in row for row in rows] == [False, True, False, True]
        image = Image(draw_scene(np.random.default_rng(0), PLAN).data).with_pixel_size(0.2, "user")
        found = AtomNet.load(tmp_path / "net", threads=1).look(image).detections(threshold=1e-3)
        assert np.all((found.score > 1e-3) & (found.score < 1))

    def test_goes_on_where_it_was_stopped(self, tmp_path: Path) -> None:
        def stop(step: int, steps: int, figures: dict[str, float]) -> None:
            if step == 2:
                raise KeyboardInterrupt

        whole = learned(tmp_path / "whole")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("picostem.training.MINUTES", 0.0)
            with pytest.raises(KeyboardInterrupt):
                learned(tmp_path / "cut", progress=stop)
        assert (tmp_path / "cut" / CHECKPOINT).exists()
        assert learned(tmp_path / "cut").sha256 == whole.sha256
        assert learned(tmp_path / "other", seed=1).sha256 != whole.sha256

    def test_classes(self, tmp_path: Path) -> None:
        card = learned(tmp_path, replace(TINY, classes=6, steps=1))
        assert card.classes == ("single", "stack", "depleted", "vacancy", "dopant", "adatom")
        with pytest.raises(UsageError, match="expected 1 class of atoms or 6"):
            learned(tmp_path / "two", replace(TINY, classes=2))

    def test_refusals(self, tmp_path: Path) -> None:
        learned(tmp_path, replace(TINY, steps=1))
        with pytest.raises(UsageError, match="another training: settings differ"):
            learned(tmp_path, replace(TINY, steps=2))
        with pytest.raises(UsageError, match="cannot be used: take auto or cpu"):
            learned(tmp_path / "gpu", device="nonsense")
        (tmp_path / CHECKPOINT).write_bytes(b"x" * 99)
        with pytest.raises(DataError):
            learned(tmp_path, replace(TINY, steps=1))

    def test_losses_that_are_not_finite(self) -> None:
        with drawing(TINY, PLAN, 0) as draw:
            learning = start(draw, TINY, 0, "cpu")
            patches = [replace(patch, data=np.full_like(patch.data, np.nan)) for patch in draw(learning.rng, 1)]
        with pytest.raises(DataError, match="diverged at step 1"):
            one_step(learning, patches)
