"""Training: it does the same again from the same seed, and goes on where it was stopped."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picostem.errors import DataError, UsageError
from picostem.infer.torus import Torus
from picostem.infer.training_settings import TrainingSettings

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from picostem.infer.learning import FORM, start  # noqa: E402
from picostem.infer.network import Perceptron  # noqa: E402
from picostem.infer.train import one_step, train, validate  # noqa: E402
from picostem.training import CHECKPOINT, HISTORY, read_history, read_state  # noqa: E402  # noqa: E402
from tests.infer.made_samples import INVARIANTS, LAYER, THREE, TWO, Made, draw  # noqa: E402
from tests.infer.made_training import DATA, TINY, trained  # noqa: E402


def same(a: Perceptron, b: Perceptron) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_three_layers_learn(tmp_path: Path) -> None:
    settings = replace(TINY, steps=60, batch=64, learning_rate=3e-3, width=32)
    losses: list[float] = []

    def made(rng: np.random.Generator, count: int) -> Made:
        return draw(rng, count, layers=3)

    trained(tmp_path, settings, torus=THREE, draw=made, progress=lambda a, b, row: losses.append(row["slips"]))
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.5


def test_a_seed_says_everything(tmp_path: Path) -> None:
    first, again, other = (trained(tmp_path / str(i), TINY, seed) for i, seed in enumerate((0, 0, 1)))
    assert same(first, again)
    assert not same(first, other)
    assert not first.training


def test_the_global_generators_are_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    trained(tmp_path, replace(TINY, steps=1))
    assert torch.equal(torch.rand(3), expected)


def test_an_interrupted_training_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole")

    def interrupt(now: int, steps: int, figures: dict[str, float]) -> None:
        if now == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "cut", progress=interrupt)
    seen: list[int] = []
    resumed = trained(tmp_path / "cut", progress=lambda now, *_: seen.append(now))
    assert seen == [4, 5, 6]
    assert same(whole, resumed)
    assert (tmp_path / "cut" / HISTORY).read_text() == (tmp_path / "whole" / HISTORY).read_text()
    trained(tmp_path / "cut", progress=lambda now, *_: seen.append(now))
    assert seen == [4, 5, 6]  # a finished one is only read
    trained(tmp_path / "cut", resume=False, progress=lambda now, *_: seen.append(now))
    assert seen == [4, 5, 6, 1, 2, 3, 4, 5, 6]


def test_checkpoints_come_while_it_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picostem.training.MINUTES", 0.0)
    there: list[bool] = []
    trained(tmp_path, progress=lambda *_: there.append((tmp_path / CHECKPOINT).exists()))
    assert there == [True] * 6


def test_history(tmp_path: Path) -> None:
    seen: list[dict[str, float]] = []
    trained(tmp_path, progress=lambda now, steps, figures: seen.append({"step": now, **figures}))
    rows = read_history(tmp_path / HISTORY)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    errors = {"validation_slips", "validation_trust", "mean_error_A", "median_error_A"}
    assert [errors <= row.keys() for row in rows] == [False, False, False, True, False, True]
    assert rows == [{name: round(value, 6) for name, value in row.items()} for row in seen]


@pytest.mark.parametrize("change", ["settings", "seed", "data", "reads"])
def test_the_checkpoint_of_another_training_is_refused(tmp_path: Path, change: str) -> None:
    trained(tmp_path, replace(TINY, steps=1))
    other: dict[str, Any] = {"settings": replace(TINY, steps=1)}
    if change == "reads":
        few = replace(INVARIANTS, triples=INVARIANTS.triples[:2])
        with pytest.raises(UsageError, match="another training: reads differ"):
            train(draw, few, TWO, replace(TINY, steps=1), tmp_path, seed=0, data=DATA, device="cpu")
        return
    other |= {"settings": {"settings": TINY}, "seed": {"seed": 2}, "data": {"data": {"made": 2}}}[change]
    with pytest.raises(UsageError, match=f"another training: {change} differ"):
        trained(tmp_path, **other)


def test_a_damaged_checkpoint(tmp_path: Path) -> None:
    trained(tmp_path, replace(TINY, steps=1))
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes().replace(b'\\"step\\": 1', b'\\"pets\\": 1'))
    identity = json.loads(json.dumps({"settings": replace(TINY, steps=1).as_dict(), "seed": 0, "data": DATA}))
    identity["reads"] = {"hk": INVARIANTS.hk.tolist(), "triples": INVARIANTS.triples.tolist()}
    with pytest.raises(DataError, match="damaged.*start the training anew"):
        read_state(start(draw, INVARIANTS, TWO, replace(TINY, steps=1), 0, "cpu"), path, identity, FORM)


def test_which_equivalent_is_the_label_does_not_matter(tmp_path: Path) -> None:
    """Two trainings whose labels are D and -D are one, to rounding of single precision in 6 steps of 1e-3."""

    def opposite(rng: np.random.Generator, count: int) -> Made:
        made = draw(rng, count)
        return replace(made, slips=1 - made.slips)

    one, other = trained(tmp_path / "a"), trained(tmp_path / "b", draw=opposite)
    for p, q in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, q, atol=1e-5, rtol=0)
    different = Torus.of((LAYER, LAYER.turned()))
    one = trained(tmp_path / "c", torus=different)
    other = trained(tmp_path / "d", torus=different, draw=opposite)
    assert not all(torch.allclose(p, q, atol=1e-4) for p, q in zip(one.parameters(), other.parameters(), strict=True))


def test_every_part_moves_in_a_step_and_none_when_validated() -> None:
    learning = start(draw, INVARIANTS, TWO, TINY, 0, "cpu")
    parts = dict(learning.network.named_parameters()) | {f"mean.{k}": v for k, v in learning.mean.named_parameters()}
    before = {name: p.detach().clone() for name, p in parts.items()}
    validate(learning)
    assert all(torch.equal(p, before[name]) for name, p in parts.items())
    one_step(learning, draw(np.random.default_rng(0), 32))
    assert [name for name, p in parts.items() if torch.equal(p, before[name])] == []


def test_validation_samples_are_not_trained_on(tmp_path: Path) -> None:
    drawn: list[Made] = []

    def remembered(rng: np.random.Generator, count: int) -> Made:
        drawn.append(draw(rng, count))
        return drawn[-1]

    trained(tmp_path, draw=remembered)
    assert [len(made.noise) for made in drawn] == [64] + [32] * 6
    noise = [value for made in drawn for value in made.noise]
    assert len(set(noise)) == len(noise)


def test_rates() -> None:
    settings = TrainingSettings(steps=100, warm_up=10, learning_rate=1.0)
    rates = [settings.rate(step) for step in range(100)]
    assert rates[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert rates[10:] == pytest.approx(np.arange(90, 0, -1) / 90)
    assert TrainingSettings(steps=4, warm_up=0).rate(0) == TrainingSettings().learning_rate


def test_divergence_is_said_and_not_saved(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="diverged at step"):
        trained(tmp_path, replace(TINY, learning_rate=1e30, clip=1e30))
    assert not (tmp_path / CHECKPOINT).exists()


def test_bad_input(tmp_path: Path) -> None:
    def only_outliers(rng: np.random.Generator, count: int) -> Made:
        return draw(rng, count, outliers=1.1)

    with pytest.raises(UsageError, match="not all outliers"):
        trained(tmp_path, draw=only_outliers)
    with pytest.raises(UsageError, match=r"slips of shape \(64, 2, 2\).*got \(64, 1, 2\)"):
        trained(tmp_path, torus=THREE)
    with pytest.raises(UsageError, match="'tpu9' cannot be used"):
        trained(tmp_path, device="tpu9")
    assert not list(tmp_path.iterdir())
    for wrong in ({"steps": 0}, {"validation": 1}, {"clip": 0.0}, {"averaged": 1.0}, {"outlier_weight": -1.0}):
        with pytest.raises(UsageError, match="expected"):
            replace(TINY, **wrong)
