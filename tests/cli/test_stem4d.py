"""`picostem 4d`: scans in, maps out; what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from picostem.simulate.toy4d import Toy
from tests.cli.conftest import Run

FILES = {"maps.parquet", "maps.hspy", "figure.png", "report.html", "result.json"}


def write_toy(name: str, seed: int = 1) -> np.ndarray:
    """8 × 8 patterns of 24² in a file; returns their angles."""
    toy, rng = Toy(size=24, electrons=2e4), np.random.default_rng(seed)
    angles, strengths = toy.draw(64, rng)
    data = toy.patterns(angles, strengths, rng).reshape(8, 8, 24, 24).astype(np.uint16)
    if name.endswith(".raw"):
        data.tofile(name)
    else:
        np.save(name, data)
    return angles


def test_maps_of_a_raw_file(picostem: Run) -> None:
    angles = write_toy("toy.raw")
    shape = ("--shape", 8, 8, 24, 24, "--dtype", "uint16")
    ended = picostem("4d", "toy.raw", *shape, "--step", 0.5, "--no-network", "--json", "-", "--out", "there")
    assert ended.code == 0, ended.err
    document = json.loads(ended.out)
    assert document["scan"]["shape"] == [8, 8, 24, 24] and document["scan"]["step_A"] == [0.5, 0.5]
    assert {path.name for path in Path("there").iterdir()} == FILES
    table = parquet.read_table("there/maps.parquet").to_pydict()
    off = np.angle(np.exp(1j * (np.radians(table["orientation_1_deg"]) - angles)))
    assert np.degrees(np.sqrt(np.mean(off**2))) < 5
    assert "8 × 8 patterns of 24 × 24 pixels" in ended.err


def test_training_is_kept_and_taken_up(picostem: Run) -> None:
    pytest.importorskip("torch")
    write_toy("toy.npy")
    ended = picostem("4d", "toy.npy", "--steps", 10, "--symmetry", 3, "--latent", 1)
    assert ended.code == 0, ended.err
    assert {path.name for path in Path("toy.4d").iterdir()} == FILES | {"model.safetensors", "training"}
    first = json.loads(Path("toy.4d/result.json").read_text("utf-8"))
    assert first["settings"]["symmetry"] == 3 and len(first["autoencoder"]["latents_nats"]) == 1
    assert len(Path("toy.4d/training/training.jsonl").read_text("utf-8").splitlines()) == 10
    assert picostem("4d", "toy.npy", "--steps", 10, "--symmetry", 3, "--latent", 1).code == 0
    again = json.loads(Path("toy.4d/result.json").read_text("utf-8"))
    assert again["autoencoder"] == first["autoencoder"]


def test_several_scans_of_which_one_is_bad(picostem: Run) -> None:
    write_toy("good.npy")
    np.save("image.npy", np.ones((64, 64)))
    ended = picostem("4d", "good.npy", "image.npy", "--no-network", "--out", "all", "--json", "found.json")
    assert ended.code == 1
    assert "image.npy: no data set with four axes" in ended.complaint
    assert len(json.loads(Path("found.json").read_text("utf-8"))) == 1
    assert {path.name for path in Path("all").iterdir()} == {"good.4d"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.ones((64, 64)), "no data set with four axes"),
        (np.ones((8, 8, 24, 24), np.uint8), "all patterns are alike"),
        (np.ones((3, 4, 24, 24), np.uint8), "16 or more are needed"),
    ],
)
def test_data_that_tell_nothing(picostem: Run, data: np.ndarray, words: str) -> None:
    np.save("scan.npy", data)
    ended = picostem("4d", "scan.npy", "--json", "found.json")
    assert ended.code == 1
    assert words in ended.complaint
    assert not Path("found.json").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--symmetry", 0), "--symmetry"),
        (("--step", 0), "--step is 0"),
        (("--voltage", -60), "--voltage is -60"),
        (("--radius", -1), "radius is -1"),
        (("--radius", 99), "expected a radius on the detector"),
        (("--latent", 0), "describes nothing"),
        (("--electrons-per-count", 0), "electrons_per_count is positive"),
        (("--dtype", "uint16"), "leave dtype out"),
        (("--dataset", "nothing"), "no data set"),
        (("--likelihood", "normal"), "--likelihood"),
    ],
)
def test_bad_request(picostem: Run, arguments: tuple[str | int, ...], words: str) -> None:
    write_toy("toy.npy")
    ended = picostem("4d", "toy.npy", "--no-network", *map(str, arguments))
    assert ended.code == 2
    assert words in ended.complaint
    assert not Path("toy.4d").exists()
