"""From a material to a network for patches, in steps of seconds: rings, pixels, styles, and on where it was stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picostem.dataset.patch_samples import draw
from picostem.errors import DataError, UsageError
from picostem.image import Image
from picostem.infer.patch_card import PatchCard
from picostem.infer.patch_settings import PRESETS, PatchPreset
from picostem.structure import Stack
from tests.dataset.made import BEAM, MOS2, bank_of, write_image

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("onnx")

from picostem.infer.patch_learn import PatchRecipe, learn_patches, summary  # noqa: E402
from picostem.infer.patch_predict import PatchNet  # noqa: E402

QUICK: dict[str, Any] = {"steps": 2, "batch": 4, "validation": 8, "validate_every": 2, "width": 0.25}


def quick(name: str, **changes: Any) -> PatchPreset:
    """A preset with small patches and few of them."""
    return replace(PRESETS[name], side=48, settings=replace(PRESETS[name].settings, **QUICK | changes))


RINGS = quick("rings")
RECIPE = PatchRecipe(RINGS.plan("MoS2", "twist"), RINGS.settings, 1, BEAM)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picostem.infer.patch_learn.JUDGED", 12)
    monkeypatch.setattr("picostem.infer.patch_learn.POOL", 12)
    monkeypatch.setattr("picostem.infer.learn.FEWEST", 1)


def learned(folder: Path, recipe: PatchRecipe = RECIPE, **options: Any) -> PatchCard:
    return learn_patches(recipe, folder, **{"name": "it", "device": "cpu", "threads": 1} | options)


def test_from_a_material_to_twists(tmp_path: Path) -> None:
    said: list[str] = []
    card = learned(tmp_path, progress=lambda stage, done, total: said.append(stage))
    net = PatchNet.load(tmp_path / "net", threads=1)
    assert net.card == card
    assert card.any_orientation and card.task == "twist" and card.form == "density"
    assert {"microscopes", "errors"} < set(said)
    for figures in (card.figures["as trained"], card.figures["perfect crystals"]):
        assert figures["patches"] == 12
        assert 0 <= figures["mean_error_deg"] <= 60 and 0 <= figures["sure"] <= 1
    samples = draw(RECIPE.plan, bank_of("MoS2"), np.random.default_rng(0), 5)
    twists, sure = net.predict(samples.patches)
    assert twists.shape == (5, 1) and sure.shape == (5,)
    assert twists.min() >= 0 and np.rad2deg(twists.max()) <= 60
    image = Image(np.tile(samples.patches[0], (2, 2)), (0.36, 0.36), "user", "image")
    assert net.map(image, coarse_A=5.0, fine_A=None).labels.shape == (16, 1)
    again = learned(tmp_path)
    assert again.sha256 == card.sha256  # nothing was left to do
    with pytest.raises(UsageError, match="seed differ"):
        learned(tmp_path, replace(RECIPE, seed=1))


def test_from_multislice_images(tmp_path: Path) -> None:
    """Patches of a folder's images; the same command goes on with the same images only."""
    for index in range(3):
        write_image(tmp_path / "images", f"{index}", Stack.bilayer(MOS2, np.array([index / 3, 0.1]) @ MOS2.cell))
    small = quick("ted-gen-small")
    plan = small.plan("MoS2", "slip", source=f"multislice:{tmp_path / 'images'}")
    recipe = PatchRecipe(plan, small.settings, 1, BEAM)
    card = learned(tmp_path / "net", recipe)
    assert card.figures["perfect crystals"]["patches"] == 12
    assert len(card.training["images"]) == 64
    write_image(tmp_path / "images", "3", Stack.bilayer(MOS2, (0.5, 0.1)))
    with pytest.raises(UsageError, match="data differ"):
        learned(tmp_path / "net", recipe)


def test_the_file_says_what_the_network_says(tmp_path: Path) -> None:
    from picostem.infer.export import export_patch_net
    from picostem.infer.patch_labels import Labels
    from picostem.infer.patch_learn import _reads
    from picostem.infer.patch_train import start

    plan, bank = RECIPE.plan, bank_of("MoS2")
    labels = Labels.of(plan.stack(), "twist", "density")
    read = _reads(plan, labels, bank)
    network = start(lambda rng, n: draw(plan, bank, rng, n), labels, RINGS.settings, 0, "cpu", read).network
    export_patch_net(network, PatchCard.of("made", plan, labels, read), tmp_path / "net")
    patches = draw(plan, bank, np.random.default_rng(1), 3).patches
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(read(patches))).numpy()
    # single precision in another order
    np.testing.assert_allclose(PatchNet.load(tmp_path / "net").numbers(patches), expected, atol=1e-4)


def test_pixels_on_a_grid_of_slips(tmp_path: Path) -> None:
    small = quick("ted-gen-small", width=0.0625)
    card = learned(tmp_path, PatchRecipe(small.plan("MoS2", "slip", step_A=0.4), small.settings, 1, BEAM))
    assert card.training["plan"]["step_A"] == 0.4 and not card.polar and not card.any_orientation
    assert {"mean_error_A", "error_95_A"} <= card.figures["as trained"].keys()


def test_patches_in_a_style(tmp_path: Path) -> None:
    from tests.style.made_style import card, write_style

    style = write_style(tmp_path / "made", of=card(pixel_range_A=(0.1, 0.4)))
    recipe = replace(RECIPE, plan=replace(RECIPE.plan, source=f"styled:{style}"))
    assert learned(tmp_path / "out", recipe).training["plan"]["source"] == f"styled:{style}"


def test_what_errors_add_up_to() -> None:
    from picostem.infer.patch_labels import Labels

    labels = Labels.of(RECIPE.plan.stack(), "twist", "density")
    found = summary(np.array([0.05, 0.05, 0.2, 30.0]), np.array([1.0, 1.0, 0.95, 0.5]), labels)
    assert (found["within_1_deg"], found["within_0.1_deg"], found["sure"]) == (0.75, 0.5, 0.75)
    assert found["sure_mean_error_deg"] == pytest.approx(0.1) and found["sure_within_1_deg"] == 1
    assert summary(np.ones(2), np.zeros(2), labels)["sure_mean_error_deg"] is None


def test_bad_input() -> None:
    with pytest.raises(UsageError, match="a microscope or more"):
        replace(RECIPE, microscopes=0)
    with pytest.raises(UsageError, match="tells no slip"):
        RINGS.plan("MoS2", "slip")
    with pytest.raises(UsageError, match="positive clip"):
        replace(RINGS.settings, clip=0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reciprocal": [[1.0]]}, "card is damaged"),
        ({"orbits": [[[1.5, 0]]]}, "orbits should be int"),
        ({"triples": [[[[1, 0], [1, 0], [1, 0]]]]}, "card is damaged: three reflections"),
        ({"colour": []}, "unknown"),
    ],
)
def test_bad_cards(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    from picostem.infer.patch_labels import Labels
    from picostem.infer.patch_learn import _reads

    labels = Labels.of(RECIPE.plan.stack(), "twist", "density")
    card = PatchCard.of("made", RECIPE.plan, labels, _reads(RECIPE.plan, labels, bank_of("MoS2")))
    values = card.as_dict()
    assert PatchCard.from_dict(values, "here") == card
    with pytest.raises(DataError, match=message):
        PatchCard.from_dict(values | {"polar": values["polar"] | change}, "here")
