"""`picostem train stacking`: from a material to a network, and `picostem resolve` with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import OPTICS, RES2, Run

pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("onnx")

from tests.infer.made_recipe import TINY

COMMAND = ("train", "stacking", "--steps", "30", "--microscopes", "1", *OPTICS, "--device", "cpu")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of seconds: small, and judged by few windows."""
    monkeypatch.setattr("picostem.infer.training_settings.TrainingSettings", lambda: TINY)
    monkeypatch.setattr("picostem.infer.learn.JUDGED", 300)
    monkeypatch.setattr("picostem.infer.learn.FEWEST", 1)


def test_from_a_material_to_a_result(picostem: Run, simulated: tuple[Path, dict[str, Any]]) -> None:
    ended = picostem(*COMMAND, "--material", "ReS2", "--out", "trained", "--licence", "CC0")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("trained/net: ReS2, 2 layers, windows of 2 nm\n  as trained: error ")
    assert "perfect crystals: error" in ended.out
    card = json.loads(Path("trained/net/net.json").read_text("utf-8"))
    assert (card["name"], card["training"]["licence"], card["training"]["settings"]["steps"]) == ("trained", "CC0", 30)
    ended = picostem("resolve", simulated[0], *RES2, "--engine", "hybrid", "--net", "trained/net", "--out", "found")
    assert ended.code == 0, ended.err
    found = json.loads(Path("found/result.json").read_text("utf-8"))
    assert found["fit"]["engine"] == "hybrid"
    assert found["settings"]["net"] == "trained/net"
    assert set(pq.read_table("found/map.parquet")["engine"].to_pylist()) <= {"fit", "net"}
    assert "--engine hybrid --net trained/net" in Path("found/report.html").read_text("utf-8")


@pytest.mark.parametrize(("task", "layers", "antiparallel"), [("trilayer", 3, False), ("antiparallel", 2, True)])
def test_tasks(picostem: Run, task: str, layers: int, antiparallel: bool) -> None:
    ended = picostem(*COMMAND, "--material", "MoS2", "--task", task, "--name", "it", "--out", "trained")
    assert ended.code == 0, ended.err
    card = json.loads(Path("trained/net/net.json").read_text("utf-8"))
    assert (card["name"], card["layers"], card["antiparallel"]) == ("it", layers, antiparallel)


def test_another_seed_in_the_same_folder(picostem: Run) -> None:
    command = (*COMMAND, "--material", "MoS2", "--out", "trained")
    assert picostem(*command).code == 0
    ended = picostem(*command, "--seed", "1")
    assert ended.code == 2
    assert "seed differ" in ended.complaint
    assert picostem(*command, "--seed", "1", "--fresh").code == 0


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--material", "Unobtainium"), "Unobtainium"),
        (("--material", "MoS2", "--task", "twist"), "twist"),
        (("--material", "ReS2", "--task", "antiparallel"), "is the same layer"),
        (("--material", "MoS2", "--window", "0.1"), "window_A is 1"),
        (("--material", "MoS2", "--steps", "0"), "greater than or equal to 1"),
        (("--material", "MoS2", "--device", "abacus"), "device 'abacus' cannot be used"),
    ],
)
def test_wrong_requests(picostem: Run, options: tuple[str, ...], complaint: str) -> None:
    ended = picostem(*COMMAND, "--out", "trained", *options)
    assert ended.code == 2
    assert complaint in ended.complaint


@pytest.mark.parametrize("given", [("--voltage", "80"), ("--semiangle", "30"), ("--detector", "50", "200")])
def test_half_a_microscope(picostem: Run, given: tuple[str, ...]) -> None:
    ended = picostem("train", "stacking", "--material", "MoS2", "--out", "trained", *given)
    assert ended.code == 2
    assert "give all of them, or none" in ended.complaint


def test_missing_packages(picostem: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picostem.checkpoint.find_spec", lambda name: None if name == "torch" else object())
    ended = picostem(*COMMAND, "--material", "MoS2", "--out", "trained")
    assert ended.code == 2
    assert 'training needs torch: pip install "picostem[train]"' in ended.complaint


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--engine", "net", "--net", "nowhere"), "no network 'nowhere'"),
        (("--net", "nowhere"), "--net nowhere is not asked by --engine fit"),
        (("--engine", "network"), "network"),
    ],
)
def test_networks_that_cannot_be_asked(
    picostem: Run, image_file: Path, options: tuple[str, ...], complaint: str
) -> None:
    ended = picostem("resolve", image_file, *RES2, *options)
    assert ended.code in (1, 2)
    assert complaint in ended.complaint
