"""`picostem train`: from a material or from scenes to a network, and `picostem resolve` with it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from ase.build import bulk

from tests.cli.conftest import OPTICS, RES2, Run

pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("onnx")

from picostem.atoms.settings import AtomSettings
from picostem.infer.patch_settings import PRESETS
from tests.infer.made_recipe import TINY

COMMAND = ("train", "stacking", "--steps", "120", "--microscopes", "1", *OPTICS, "--device", "cpu")


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
    assert (card["name"], card["training"]["licence"], card["training"]["settings"]["steps"]) == ("trained", "CC0", 120)
    assert Path("trained/training.png").read_bytes().startswith(b"\x89PNG")
    ended = picostem("resolve", simulated[0], *RES2, "--engine", "hybrid", "--net", "trained/net", "--out", "found")
    assert ended.code == 0, ended.err
    found = json.loads(Path("found/result.json").read_text("utf-8"))
    assert found["fit"]["engine"] == "hybrid"
    assert found["settings"]["net"] == "trained/net"
    assert set(pq.read_table("found/map.parquet")["engine"].to_pylist()) <= {"fit", "net"}
    assert "--engine hybrid --net trained/net" in Path("found/report.html").read_text("utf-8")


def test_atoms(picostem: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = AtomSettings(batch=2, side=32, validation=2, width=4, blocks=1)
    monkeypatch.setattr("picostem.atoms.settings.AtomSettings", lambda: tiny)
    bulk("Cu", "fcc", a=3.6, cubic=True).write("Cu.cif")
    command = ("train", "atoms", "--out", "trained", "--steps", "2", "--device", "cpu", "--threads", "1")
    ended = picostem(*command, "--cif", "Cu.cif", "--licence", "CC0")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("trained/net: f1 0.")
    card = json.loads(Path("trained/net/atoms.json").read_text("utf-8"))
    assert (card["name"], card["training"]["licence"], card["training"]["plan"]["crystals"]) == (
        "trained",
        "CC0",
        ["Cu.cif"],
    )
    ended = picostem(*command, "--cif", "none.cif", "--fresh")
    assert ended.code != 0 and "none.cif" in ended.complaint


def test_atoms_of_own_images(picostem: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = AtomSettings(batch=2, side=112, validation=2, width=4, blocks=1)
    monkeypatch.setattr("picostem.atoms.settings.AtomSettings", lambda: tiny)
    own = Path("own")
    own.mkdir()
    image = np.random.default_rng(0).poisson(20.0, (96, 112)).astype(np.float32)
    for name in "abcd":
        np.save(own / f"{name}.npy", image)
        (own / f"{name}.csv").write_text("row,col,class\n20,30,W\n40,41,S2\n", "utf-8")
    command = ("train", "atoms", "--out", "trained", "--steps", "1", "--device", "cpu", "--threads", "1")
    ended = picostem(*command, "--examples", "own", "--classes")
    assert ended.code == 0, ended.err
    assert "on examples that it has not seen" in ended.out
    card = json.loads(Path("trained/net/atoms.json").read_text("utf-8"))
    assert card["classes"] == ["S2", "W"] and card["training"]["settings"]["side"] < 112  # what the images hold
    (own / "d.npy").unlink()
    (own / "d.csv").unlink()
    ended = picostem(*command, "--examples", "own", "--examples-share", "1", "--fresh")
    assert "on examples that it has learned from" in ended.out
    (own / "a.csv").write_text("x,y\n1,2\n", "utf-8")
    ended = picostem(*command, "--examples", "own", "--fresh")
    assert ended.code == 1 and "a.csv: expected columns row and col" in ended.complaint
    ended = picostem(*command, "--examples-share", "1", "--fresh")
    assert ended.code == 2 and "give that folder, too" in ended.complaint


def test_twists(picostem: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is drawn, trained and measured is in tests of `infer`; that all of it comes to an end is here."""
    tiny = replace(PRESETS["rings"].settings, batch=2, validation=8, width=0.25)
    monkeypatch.setitem(PRESETS, "rings", replace(PRESETS["rings"], settings=tiny))
    monkeypatch.setattr("picostem.infer.patch_learn.JUDGED", 8)
    ended = picostem(
        *COMMAND, "--material", "MoS2", "--task", "twist", "--out", "trained", "--steps", "2", "--window", "3"
    )
    assert ended.code == 0, ended.err
    assert ended.out.startswith("trained/net: MoS2, twist, windows of 3 nm\n  as trained: error ")
    assert "95 % are off by less than" in ended.out
    assert {path.name for path in Path("trained").iterdir()} >= {"net", "training.jsonl", "training.png"}


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
        (("--material", "MoS2", "--task", "twist", "--network", "windows"), "take rings, ted-gen, ted-gen-small"),
        (("--material", "MoS2", "--source", "styled:any"), "has no styles"),
        (("--material", "MoS2", "--network", "rings"), "tells no slip"),
        (("--material", "MoS2", "--task", "twist", "--window", "0.1"), "side is 3; expected 16"),
        (("--material", "MoS2", "--network", "ted-gen", "--source", "slow"), "no source 'slow'"),
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
