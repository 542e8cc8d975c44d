"""Training: it learns, does so again from the same seed, and goes on where it was stopped."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from picostem.errors import DataError, UsageError
from picostem.style.picture import Picture
from picostem.style.presets import ABLATIONS, CPU, Preset

pytest.importorskip("torch")
pytest.importorskip("safetensors")

import torch

from picostem.style.augment import AugmentSettings
from picostem.style.describe import describe
from picostem.style.network import StyleNetwork
from picostem.style.state import Training, read_state, start, write_state
from picostem.style.train import SAMPLES, one_step, train
from picostem.training import CHECKPOINT, HISTORY, History, read_history
from tests.style.made_network import SMALL

TINY = replace(
    CPU,
    name="tiny",
    network=SMALL,
    augment=AugmentSettings(patch=32, crop=(500.0, 560.0)),
    batch=2,
    steps=6,
    averaged=0.5,
)


def atoms(seed: int, noisy: bool, side: int = 96) -> Picture:
    """Gaussian atoms on a square lattice at a random origin; an experiment has background, grain and dimmer atoms."""
    rng = np.random.default_rng(seed)
    row, column = np.indices((side, side)) + rng.uniform(0, 12, 2)[:, None, None]
    clean = np.exp(-(((row % 12 - 6) ** 2 + (column % 12 - 6) ** 2) / 8))
    data = 0.2 + 0.5 * clean + 0.08 * rng.standard_normal(clean.shape) if noisy else clean
    return Picture(
        np.clip(data, 0, 1).astype(np.float32), CPU.pixel_size, 0.0, 1.0, f"{'real' if noisy else 'made'} {seed}"
    )


SIMULATED = [atoms(seed, False) for seed in range(3)]
EXPERIMENTAL = [atoms(seed, True) for seed in (7, 8)]


def trained(folder: Path, preset: Preset = TINY, seed: int = 0, **options: object) -> StyleNetwork:
    return train(SIMULATED, EXPERIMENTAL, preset, folder, seed=seed, **{"samples_every": 0, "device": "cpu"} | options)


def same(a: StyleNetwork, b: StyleNetwork) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


class StoppedError(Exception):
    """What ends a training from outside in these tests."""


def stop_at(step: int) -> Callable[[int, int, dict[str, float]], None]:
    def progress(now: int, steps: int, losses: dict[str, float]) -> None:
        if now == step:
            raise StoppedError

    return progress


def test_a_seed_says_everything(tmp_path: Path) -> None:
    preset = replace(TINY, steps=3)
    first, again, other = (trained(tmp_path / str(i), preset, seed) for i, seed in enumerate((0, 0, 1)))
    assert same(first, again)
    assert not same(first, other)


def test_the_global_generators_are_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    trained(tmp_path, replace(TINY, steps=1))
    assert torch.equal(torch.rand(3), expected)


def test_an_interrupted_training_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole")

    def interrupt(now: int, steps: int, losses: dict[str, float]) -> None:
        if now == 4:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "cut", progress=interrupt)
    seen: list[int] = []
    resumed = trained(tmp_path / "cut", progress=lambda now, steps, losses: seen.append(now))
    assert seen == [5, 6]
    assert same(whole, resumed)
    assert (tmp_path / "cut" / HISTORY).read_text() == (tmp_path / "whole" / HISTORY).read_text()


def test_a_killed_training_goes_on_from_its_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps after the checkpoint are lost and made again, in the history, too."""
    whole = trained(tmp_path / "whole")
    monkeypatch.setattr("picostem.style.train.MINUTES", 0.0)
    written: list[int] = []

    def write_once(*arguments: object) -> None:
        if not written:
            write_state(*arguments)
        written.append(1)

    monkeypatch.setattr("picostem.style.train.write_state", write_once)
    with pytest.raises(StoppedError):
        trained(tmp_path / "cut", progress=stop_at(4))
    monkeypatch.setattr("picostem.style.train.write_state", write_state)
    seen: list[int] = []
    resumed = trained(tmp_path / "cut", progress=lambda now, steps, losses: seen.append(now))
    assert seen == [2, 3, 4, 5, 6]
    assert same(whole, resumed)
    assert [row["step"] for row in read_history(tmp_path / "cut" / HISTORY)] == [1, 2, 3, 4, 5, 6]


def test_a_finished_training_is_only_read(tmp_path: Path) -> None:
    first = trained(tmp_path)

    def never(*_: object) -> None:
        raise AssertionError

    assert same(first, trained(tmp_path, progress=never))
    steps: list[int] = []
    trained(tmp_path, resume=False, progress=lambda now, *_: steps.append(now))
    assert steps == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "seed"),
        ({"preset": replace(TINY, learning_rate=2e-3)}, "preset"),
        ({"simulated": SIMULATED[:2]}, "pictures"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path, change: dict[str, object], named: str) -> None:
    call = {"simulated": SIMULATED, "preset": TINY, "seed": 0, "samples_every": 0}
    train(experimental=EXPERIMENTAL, folder=tmp_path, **call)
    with pytest.raises(UsageError, match=f"{named} differ: take another folder"):
        train(experimental=EXPERIMENTAL, folder=tmp_path, **call | change)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    training = start(TINY, 0, "cpu")
    write_state(training, tmp_path / "a", {})
    content = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(content.replace(b'\\"step\\": 0', b'\\"pets\\": 0'))
    with pytest.raises(DataError, match="damaged.*start the training anew"):
        read_state(start(TINY, 0, "cpu"), tmp_path / "a", {})


def test_it_learns_the_grey_values(tmp_path: Path) -> None:
    """The experiment's mean grey comes three times nearer than that of the simulations; so few steps teach no more."""
    network = trained(tmp_path, replace(TINY, steps=120, learning_rate=4e-3, constant=0.8))
    x = torch.from_numpy(TINY.content(SIMULATED)[0].data)[None, None]
    y = torch.from_numpy(EXPERIMENTAL[0].data)[None, None]
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        styled = network.translate(x, network.attribute_y(y)[0], noise)
    assert abs(styled.mean() - y.mean()) < abs(x.mean() - y.mean()) / 3
    rows = read_history(tmp_path / HISTORY)
    early, late = ([row["self_reconstruction"] for row in part] for part in (rows[:10], rows[-10:]))
    assert np.mean(late) < 0.5 * np.mean(early)


def test_every_part_moves_in_a_step() -> None:
    training = start(replace(TINY, content_every=1, averaged=0.0), 0, "cpu")
    parts = {f"network.{name}": p for name, p in training.network.named_parameters()}
    parts |= {f"judges.{name}": p for name, p in training.judges.named_parameters()}
    before = {name: p.detach().clone() for name, p in parts.items()}
    one_step(training, SIMULATED, EXPERIMENTAL, 6)
    assert [name for name, p in parts.items() if torch.equal(p, before[name])] == []
    assert same(training.mean, training.network)  # nothing is remembered with `averaged` 0


def test_the_content_judge_moves_every_third_step() -> None:
    training = start(replace(TINY, content_every=3), 0, "cpu")
    moved = []
    for _ in range(6):
        before = [parameter.detach().clone() for parameter in training.judges.content.parameters()]
        one_step(training, SIMULATED, EXPERIMENTAL, 6)
        now = training.judges.content.parameters()
        moved.append(not all(torch.equal(a, b) for a, b in zip(before, now, strict=True)))
    assert moved == [True, False, False, True, False, False]


@pytest.mark.parametrize("name", ABLATIONS)
def test_ablations_train(tmp_path: Path, name: str) -> None:
    losses: dict[str, float] = {}
    network = trained(tmp_path, replace(ABLATIONS[name](TINY), steps=2), progress=lambda *a: losses.update(a[2]))
    assert ("consistency" in losses) == (name in ("no-selection", "no-augmentation"))
    if name == "cyclegan":
        assert set(losses) == {"cross_reconstruction", "adversarial", "judge_x", "judge_y"}
        assert network.config.attribute == 0


def test_samples_and_history(tmp_path: Path) -> None:
    from PIL import Image

    trained(tmp_path, replace(TINY, steps=3), samples_every=2)
    assert [path.name for path in sorted((tmp_path / SAMPLES).iterdir())] == ["000002.png", "000003.png"]
    with Image.open(tmp_path / SAMPLES / "000003.png") as image:
        assert image.size == (6 * 36, 3 * 36)  # a border of 4 pixels
    rows = read_history(tmp_path / HISTORY)
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert {"judge_x", "consistency", "latent", "spectrum"} <= rows[0].keys()


def test_history_cut_by_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "h"
    path.write_text('{"step": 1, "kl": 2.0}\n{"step": 2, "k')
    assert read_history(path) == [{"step": 1, "kl": 2.0}]
    History(path, 1).close()
    assert path.read_text().splitlines() == [json.dumps({"step": 1, "kl": 2.0})]
    path.write_text("no JSON\n")
    with pytest.raises(DataError, match="line 1"):
        read_history(path)


def test_bad_input(tmp_path: Path) -> None:
    coarse = replace(SIMULATED[0], pixel_size=0.1)
    with pytest.raises(UsageError, match="0 simulated, 2 experimental"):
        train([], EXPERIMENTAL, TINY, tmp_path, seed=0)
    with pytest.raises(DataError, match=r"made 0 has 0.1 Å per pixel, preset tiny takes 0.08 Å"):
        train([coarse], EXPERIMENTAL, TINY, tmp_path, seed=0)
    with pytest.raises(UsageError, match="multiple of 4 pixels, got 30"):
        trained(tmp_path, replace(TINY, augment=AugmentSettings(patch=30)))
    with pytest.raises(DataError, match="do not fit"):
        trained(tmp_path, replace(TINY, augment=AugmentSettings(patch=128)))
    with pytest.raises(UsageError, match="'tpu9' cannot be used"):
        trained(tmp_path, device="tpu9")


def test_partners_are_drawn_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one partner each, every batch of simulations is that of its experiments."""
    from picostem.style import train as loop

    drawn: list[list[str]] = []
    batch = loop._batch

    def spied(training: Training, pictures: list[Picture]) -> torch.Tensor:
        drawn.append([picture.name for picture in pictures])
        return batch(training, pictures)

    monkeypatch.setattr(loop, "_batch", spied)
    trained(tmp_path, replace(TINY, steps=8), partners=[[2], [0]])
    belongs = {"real 7": "made 2", "real 8": "made 0"}
    simulations, experiments = drawn[::2], drawn[1::2]
    assert len(experiments) == 8
    assert simulations == [[belongs[name] for name in names] for names in experiments]
    assert {name for names in experiments for name in names} == set(belongs)


@pytest.mark.parametrize("partners", [[[0]], [[0], []], [[0], [3]]])
def test_partners_that_are_none_are_refused(tmp_path: Path, partners: list[list[int]]) -> None:
    with pytest.raises(UsageError, match="at least one for each of the 2 experimental"):
        trained(tmp_path, partners=partners)


def test_divergence_is_said_and_not_saved(tmp_path: Path) -> None:
    trained(tmp_path, replace(TINY, steps=1))
    content = (tmp_path / CHECKPOINT).read_bytes()
    wild = replace(TINY, learning_rate=1e30, steps=4)
    with pytest.raises(DataError, match="diverged at step"):
        trained(tmp_path, wild, resume=False)
    assert (tmp_path / CHECKPOINT).read_bytes() == content


def test_card() -> None:
    network = start(TINY, 0, "cpu").network
    card = describe(network, SIMULATED, EXPERIMENTAL, TINY, 3, "lattice", "made")
    assert card.pixel_range_A == pytest.approx((0.08 * 500 / 537, 0.08 * 560 / 537))
    assert [one.name for one in card.exemplars] == ["real 7", "real 8"]
    assert card.training["seed"] == 3 and card.training["steps"] == 6
    assert card.takes_noise and card.attribute_size == 3 and card.receptive_field_px > 0
    assert card.greys == TINY.greys == "mean"
    bare = ABLATIONS["cyclegan"](replace(TINY, greys="range"))
    card = describe(start(bare, 0, "cpu").network, SIMULATED, EXPERIMENTAL, bare, 3, "lattice", "made")
    assert card.exemplars == ()
    assert card.greys == "range"


def test_simulations_by_their_mean_have_no_unit(tmp_path: Path) -> None:
    """The same electrons counted in another unit train the same network; by their range another."""
    brighter = [replace(picture, white=700.0) for picture in SIMULATED]
    preset = replace(TINY, steps=2, greys="mean")
    one = trained(tmp_path / "one", preset)
    other = train(brighter, EXPERIMENTAL, preset, tmp_path / "other", seed=0, samples_every=0, device="cpu")
    for p, q in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, q, atol=1e-4, rtol=0)  # of steps of 1e-3; Adam enlarges what float32 rounds
    assert not same(one, trained(tmp_path / "range", replace(preset, greys="range")))
