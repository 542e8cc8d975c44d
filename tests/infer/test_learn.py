"""From a material to the folder of a network: what is written, gone on with, and refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("safetensors")

from picostem.dataset.bank import load
from picostem.dataset.samples import draw
from picostem.errors import DataError, UsageError
from picostem.infer.card import NetCard
from picostem.infer.folder import read_card
from picostem.infer.learn import Recipe
from picostem.infer.predict import StackingNet
from picostem.training import read_history

from .made_recipe import TINY, learned, tiny

Learned = tuple[Path, NetCard]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    folder = tmp_path_factory.mktemp("learned")
    return folder, learned(tiny(), folder, licence="CC0")


def test_the_folder_and_the_card(done: Learned) -> None:
    folder, card = done
    names = {path.name for path in folder.iterdir() if not path.name.startswith("bank-")}
    assert names == {"checkpoint.safetensors", "training.jsonl", "network.safetensors", "net"}
    assert read_card(folder / "net") == card
    assert (card.name, card.material, card.layers, card.antiparallel, card.window_A) == ("tiny", "MoS2", 2, False, 20)
    assert card.training["licence"] == "CC0"
    assert card.training["settings"] == TINY.as_dict()
    assert card.calibration.windows > 200
    assert set(card.figures) == {"as trained", "perfect crystals"}
    assert card.figures["perfect crystals"]["windows"] == 300
    assert len(read_history(folder / "training.jsonl")) == TINY.steps


def test_limits_are_those_of_the_samples(done: Learned) -> None:
    least, most = np.array(done[1].limits)
    np.testing.assert_allclose(least[1:], most[1:])  # one microscope
    np.testing.assert_allclose(least[1:], [1, 21.3 / 25, 39 / 21.3], rtol=1e-6)  # single precision
    assert least[0] < most[0] < 0


def test_it_is_judged_by_microscopes_that_it_has_not_seen(done: Learned) -> None:
    banks = [load(path) for path in done[0].glob("bank-*.npz")]
    assert sorted(bank.material for bank in banks) == ["MoS2", "MoS2", "ReS2"]
    one, other = (bank.sites for bank in banks if bank.material == "MoS2")
    assert not any((np.abs(a - b) < 1e-6).all() for a in one for b in other)


def test_the_network_answers(done: Learned) -> None:
    folder, _ = done
    bank = next(bank for bank in map(load, folder.glob("bank-*.npz")) if bank.material == "MoS2")
    made = draw(tiny().plan, bank, np.random.default_rng(0), 50)
    found = StackingNet.load(folder / "net", threads=1).predict(
        made.amplitudes, made.noise, made.factors, made.conditions
    )
    assert found.modes.shape == (50, 2, 1, 2)


def test_what_was_stopped_goes_on_to_the_same_end(done: Learned, tmp_path: Path) -> None:
    def stop(stage: str, step: int, steps: int) -> None:
        if stage.startswith("loss") and step == 7:
            import signal

            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        learned(tiny(), tmp_path, progress=stop, licence="CC0")
    assert len(read_history(tmp_path / "training.jsonl")) == 7
    assert not (tmp_path / "net").exists()
    banks = {path: path.stat().st_mtime_ns for path in tmp_path.glob("bank-*.npz")}
    card = learned(tiny(), tmp_path, licence="CC0")
    assert card == done[1]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("bank-*.npz")} == banks


def test_a_damaged_bank_is_made_again(done: Learned, tmp_path: Path) -> None:
    for path in done[0].glob("bank-*.npz"):
        (tmp_path / path.name).write_bytes(path.read_bytes()[:100])
    assert learned(tiny(), tmp_path, licence="CC0").sha256 == done[1].sha256


@pytest.mark.parametrize(
    "other",
    [tiny(seed=1), tiny(window_A=25.0), tiny(3), replace(tiny(), beam=None), tiny(material="WS2")],
    ids=["seed", "window", "microscopes", "beam", "material"],
)
def test_another_training_in_the_same_folder(done: Learned, other: Recipe) -> None:
    with pytest.raises(UsageError, match="differ: take another folder, or start anew"):
        learned(other, done[0])


@pytest.mark.parametrize(("changes", "layers"), [({"layers": 3}, 3), ({"antiparallel": True}, 2)])
def test_other_stacks(tmp_path: Path, changes: dict[str, object], layers: int) -> None:
    card = learned(tiny(settings=replace(TINY, steps=90), **changes), tmp_path)
    assert (card.layers, card.antiparallel) == (layers, "antiparallel" in changes)
    assert card.torus.interfaces == layers - 1


def test_a_training_too_short_to_be_calibrated(tmp_path: Path) -> None:
    with pytest.raises((DataError, UsageError), match=r"train it longer|draw more"):
        learned(tiny(), tmp_path, judged=60)
    assert not (tmp_path / "net").exists()


def test_bad_recipes() -> None:
    with pytest.raises(UsageError, match="a microscope or more"):
        tiny(0)
