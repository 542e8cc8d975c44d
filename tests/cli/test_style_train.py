"""`picostem style train`: from images to a style folder, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from picostem.simulate import Microscope, simulate_stack, write_simulation
from picostem.simulate.acquisition import AcquisitionSettings
from picostem.structure import Stack, load_monolayer
from picostem.style.augment import AugmentSettings
from picostem.style.presets import CPU, PRESETS
from tests.cli.conftest import Run

pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("onnx")

import torch

from tests.style.made_network import SMALL

TINY = replace(
    CPU,
    network=SMALL,
    augment=AugmentSettings(patch=32, crop=(500.0, 560.0)),
    steps=2,
    extent=14.0,
    simulations=8,
    nearest=3,
)
"""As preset `cpu`; seconds instead of an hour."""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Preset `cpu` is TINY."""
    monkeypatch.setitem(PRESETS, "cpu", TINY)


@pytest.fixture(scope="module")
def micrograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A noisy image of a bilayer, with its pixel size."""
    stack = Stack.bilayer(load_monolayer("ReS2"), (1.2, 1.9))
    microscope = Microscope.from_lab_units(voltage_kV=300, semiangle_mrad=21.3, detector_mrad=(39, 200))
    image, truth = simulate_stack(
        stack, microscope, AcquisitionSettings(dose=5e4), (150, 150), 0.1, np.random.default_rng(0), name="scan"
    )
    return write_simulation(tmp_path_factory.mktemp("micrographs"), "scan", image, truth)[0]


@pytest.mark.usefixtures("quick")
def test_from_an_image_to_a_style(picostem: Run, micrograph: Path) -> None:
    options = ("--material", "ReS2", "--out", "learned", "--seed", "3", "--licence", "CC0", "--device", "cpu")
    ended = picostem("style", "train", micrograph, *options)
    assert ended.code == 0, ended.err
    assert "from 1 images and 3 simulations" in ended.out
    folder = Path("learned")
    names = {path.name for path in folder.iterdir()}
    assert names == {"checkpoint.safetensors", "training.jsonl", "samples", "training.png", "style"}

    from picostem.style.transfer import Style

    style = Style.load(folder / "style")
    assert style.card.name == "learned"
    assert style.card.licence == "CC0"
    assert style.card.training["steps"] == 2
    assert [one.name for one in style.card.exemplars] == ["scan"]


@pytest.mark.usefixtures("quick")
def test_exported_networks_are_those_trained(picostem: Run, micrograph: Path) -> None:
    """The generator without torch gives what the network gives, from the same content, attribute and noise."""
    from picostem.style.state import read_state, start
    from picostem.style.weights import read_card

    assert picostem("style", "train", micrograph, "--material", "ReS2", "--out", "learned").code == 0
    import onnxruntime

    session = onnxruntime.InferenceSession("learned/style/generator.onnx", providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    content, noise = rng.random((1, 1, 64, 48), np.float32), rng.standard_normal((1, 1, 64, 48)).astype(np.float32)
    attribute = np.array([read_card(Path("learned/style")).exemplars[0].attribute], np.float32)
    (image,) = session.run(["image"], {"content": content, "attribute": attribute, "noise": noise})

    from picostem import checkpoint
    from picostem.style.state import FORM

    training = start(TINY, 0, "cpu")
    _, document = checkpoint.load(Path("learned/checkpoint.safetensors"), FORM)
    read_state(training, Path("learned/checkpoint.safetensors"), document["identity"])
    with torch.no_grad():
        expected = training.mean.translate(*(torch.from_numpy(each) for each in (content, attribute, noise)))
    np.testing.assert_allclose(image, expected.numpy(), atol=1e-5)  # single precision, sums in another order


@pytest.mark.usefixtures("quick")
def test_own_simulations_and_pixel_sizes(picostem: Run, micrograph: Path, tmp_path: Path) -> None:
    assert picostem("simulate", "ReS2", "--size", "150", "--pixel-size", "0.1", "--out", "pool/one.tif").code == 0
    options = (
        "--material",
        "ReS2",
        "--out",
        "learned",
        "--simulations",
        "pool",
        "--pixel-size",
        "0.11",
        "--steps",
        "1",
    )
    ended = picostem("style", "train", micrograph, *options)
    assert ended.code == 0, ended.err
    assert "from 1 images and 1 simulations" in ended.out


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--preset", "fast"), "no preset 'fast'; expected paper or cpu"),
        (("--pixel-size", "0.1", "--pixel-size", "0.2"), "--pixel-size is given 2 times for 1 images"),
        (("--simulations", "nowhere"), "--simulations nowhere: no tif files there"),
        (("--material", "Unobtainium"), "Unobtainium"),
    ],
)
def test_wrong_requests(picostem: Run, micrograph: Path, options: tuple[str, ...], complaint: str) -> None:
    ended = picostem("style", "train", micrograph, "--material", "ReS2", "--out", "learned", *options)
    assert ended.code == 2
    assert complaint in ended.complaint


@pytest.mark.usefixtures("quick")
def test_another_seed_in_the_same_folder(picostem: Run, micrograph: Path) -> None:
    command = ("style", "train", micrograph, "--material", "ReS2", "--out", "learned", "--steps", "1")
    assert picostem(*command).code == 0
    ended = picostem(*command, "--seed", "1")
    assert ended.code == 2
    assert "seed differ" in ended.complaint
    assert picostem(*command, "--seed", "1", "--fresh").code == 0


def test_missing_packages(picostem: Run, micrograph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picostem.checkpoint.find_spec", lambda name: None if name == "torch" else object())
    ended = picostem("style", "train", micrograph, "--material", "ReS2", "--out", "learned")
    assert ended.code == 2
    assert 'training needs torch: pip install "picostem[train]"' in ended.complaint
