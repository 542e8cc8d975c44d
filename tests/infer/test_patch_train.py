"""Training on patches: the published recipe, the same again from the same seed, and on where it was stopped."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picostem.dataset.patch_samples import PatchSamples
from picostem.dataset.patch_samples import draw as draw_patches
from picostem.errors import DataError, UsageError
from picostem.infer.patch_labels import Labels
from picostem.infer.patch_settings import PRESETS, PatchSettings, preset
from picostem.training import read_history

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from picostem.infer.patch_train import one_step, start, train, validate  # noqa: E402
from picostem.training import CHECKPOINT, HISTORY  # noqa: E402
from tests.dataset.made import bank_of  # noqa: E402
from tests.infer.made_patches import LABELS, PLAIN, draw  # noqa: E402

TINY = PatchSettings(form="waves", width=0.0625, steps=5, batch=8, warm_up=0.2, validation=16, validate_every=3)
DATA = {"made": 1}


def trained(folder: Path, settings: PatchSettings = TINY, seed: int = 0, **options: Any) -> Any:
    given = {"draw": draw, "labels": LABELS, "data": DATA, "device": "cpu"} | options
    return train(settings=settings, folder=folder, seed=seed, **given)


def same(a: Any, b: Any) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize(("labels", "most"), [(LABELS, 0.6), (PLAIN, 0.8)], ids=["waves", "plain"])
def test_it_learns(tmp_path: Path, labels: Labels, most: float) -> None:
    """Guesses are 0.87 Å off on average; 80 steps leave 0.39 to 0.48 on the torus, and 0.68 and more with a seam."""
    settings = replace(TINY, steps=80, batch=32, validation=128, validate_every=80, learning_rate=3e-3)
    trained(tmp_path, settings, labels=labels)
    assert read_history(tmp_path / HISTORY)[-1]["mean_error_A"] < most


def test_a_seed_says_everything(tmp_path: Path) -> None:
    first, again, other = (trained(tmp_path / str(i), TINY, seed) for i, seed in enumerate((0, 0, 1)))
    assert same(first, again) and not same(first, other)
    assert not first.training


def test_an_interrupted_training_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole")

    def interrupt(now: int, steps: int, figures: dict[str, float]) -> None:
        if now == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "cut", progress=interrupt)
    seen: list[int] = []
    assert same(whole, trained(tmp_path / "cut", progress=lambda now, *_: seen.append(now)))
    assert seen == [3, 4, 5]
    assert (tmp_path / "cut" / HISTORY).read_text() == (tmp_path / "whole" / HISTORY).read_text()
    trained(tmp_path / "cut", resume=False, progress=lambda now, *_: seen.append(now))
    assert seen == [3, 4, 5, 1, 2, 3, 4, 5]


def test_history(tmp_path: Path) -> None:
    trained(tmp_path)
    rows = read_history(tmp_path / HISTORY)
    errors = {"validation_loss", "mean_error_A", "median_error_A"}
    assert [errors <= row.keys() for row in rows] == [False, False, True, False, True]


@pytest.mark.parametrize("change", ["settings", "seed", "data", "maps"])
def test_the_checkpoint_of_another_training_is_refused(tmp_path: Path, change: str) -> None:
    one = replace(TINY, steps=1)
    trained(tmp_path, one)
    alone = replace(LABELS, maps=LABELS.maps[:1])
    changes: dict[str, dict[str, Any]] = {
        "settings": {"settings": TINY},
        "seed": {"seed": 2},
        "data": {"data": {"made": 2}},
        "maps": {"labels": alone},
    }
    with pytest.raises(UsageError, match=f"another training: {change} differ"):
        trained(tmp_path, **{"settings": one} | changes[change])


def test_the_checkpoint_of_another_kind_is_refused(tmp_path: Path) -> None:
    from tests.infer.made_training import trained as trained_on_harmonics

    trained_on_harmonics(tmp_path)
    with pytest.raises(DataError, match="has format picostem.stacking-training/1; expected picostem.patch-training/1"):
        trained(tmp_path)


def test_which_equivalent_is_the_label_does_not_matter(tmp_path: Path) -> None:
    """Two trainings whose labels are D and -D are one, to rounding of single precision in 5 steps of 1e-3."""

    def opposite(rng: np.random.Generator, count: int) -> PatchSamples:
        made = draw(rng, count)
        return replace(made, labels=1 - made.labels)

    for name, labels in (("waves", LABELS), ("plain", PLAIN)):
        one = trained(tmp_path / f"{name}-a", labels=labels)
        other = trained(tmp_path / f"{name}-b", labels=labels, draw=opposite)
        for p, q in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(p, q, atol=1e-4, rtol=0)


def test_every_part_moves_in_a_step_and_none_when_validated() -> None:
    learning = start(draw, LABELS, TINY, 0, "cpu")
    before = {name: p.clone() for name, p in learning.network.state_dict().items()}
    validate(learning)
    assert all(torch.equal(p, before[name]) for name, p in learning.network.state_dict().items())
    one_step(learning, draw(np.random.default_rng(0), 8))
    assert [name for name, p in learning.network.state_dict().items() if torch.equal(p, before[name])] == []


@pytest.mark.parametrize(("task", "unit"), [("slip", "A"), ("trilayer", "A"), ("twist", "deg"), ("antiparallel", "A")])
def test_every_task_trains_on_simulated_patches(tmp_path: Path, task: Any, unit: str) -> None:
    small = replace(preset("ted-gen-small"), side=32, settings=replace(TINY, steps=2, validate_every=2))
    plan = small.plan("MoS2", task)
    bank = bank_of("MoS2", 3 if task == "trilayer" else 2, task == "antiparallel")
    labels = Labels.of(plan.stack(), task, "waves")
    trained(tmp_path, small.settings, labels=labels, draw=lambda rng, count: draw_patches(plan, bank, rng, count))
    assert read_history(tmp_path / HISTORY)[-1].keys() >= {f"mean_error_{unit}", "loss"}


def test_settings() -> None:
    published = PRESETS["ted-gen"]
    assert published.settings == PatchSettings("plain", 1.0, batch=32, learning_rate=1e-3)
    assert 20 <= published.side * published.pixel_A <= 50  # published: 2 to 5 nm
    settings = PatchSettings(steps=100, warm_up=0.1, learning_rate=1.0)
    rates = [settings.rate(step) for step in range(100)]
    assert rates == pytest.approx([*np.arange(1, 11) / 10, *np.arange(90, 0, -1) / 90])
    assert preset("ted-gen-small").plan("MoS2", "slip", rotation_deg=1.0).rotation_deg == 1
    with pytest.raises(UsageError, match="no preset 'large': take one of ted-gen"):
        preset("large")
    for wrong in ({"steps": 0}, {"batch": 1}, {"learning_rate": 0.0}, {"warm_up": 2.0}, {"width": 0.0}):
        with pytest.raises(UsageError, match="expected"):
            replace(TINY, **wrong)


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"labels of shape \(16, 1\), got \(16, 2\)"):
        trained(tmp_path, labels=Labels.of(preset("ted-gen").plan("MoS2", "twist").stack(), "twist", "waves"))
    with pytest.raises(UsageError, match="'tpu9' cannot be used"):
        trained(tmp_path, device="tpu9")
    with pytest.raises(DataError, match="diverged at step"):
        trained(tmp_path, replace(TINY, learning_rate=1e30))
    assert not (tmp_path / CHECKPOINT).exists()
