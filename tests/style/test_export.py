from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from picostem.errors import OutputError  # noqa: E402
from picostem.style import export  # noqa: E402
from picostem.style.export import export_style  # noqa: E402
from picostem.style.network import NetworkConfig, StyleNetwork, receptive_field  # noqa: E402
from picostem.style.transfer import Attribute, Style  # noqa: E402
from picostem.style.weights import StyleCard, read_card  # noqa: E402
from tests.style.made_style import card as made_card  # noqa: E402
from tests.style.made_style import picture  # noqa: E402

SMALL = NetworkConfig(base=4, residual=1, attribute=2, norm="none", output="linear", noise="additive", grain=4)
LINEAR = replace(SMALL, imaging="linear")
FILES = {"generator.onnx", "attribute.onnx", "style.json", "README.md"}


def network_of(config: NetworkConfig) -> StyleNetwork:
    torch.manual_seed(7)
    return StyleNetwork(config)


def card_of(config: NetworkConfig) -> StyleCard:
    reach = receptive_field(config) if config.norm == "none" else 0
    few = {} if config.attribute == 2 else {"exemplars": ()}
    noisy = config.noise != "none"
    return made_card(receptive_field_px=reach, attribute_size=config.attribute, takes_noise=noisy, **few)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[StyleNetwork, Path]:
    network = network_of(SMALL).train()
    return network, export_style(network, card_of(SMALL), tmp_path_factory.mktemp("styles") / "made")


def by_torch(network: StyleNetwork, content: Any, attribute: Any, noise: Any) -> Any:
    with torch.no_grad():
        image = network.eval().translate(
            *(torch.as_tensor(np.asarray(one)[None]) for one in (content, attribute, noise))
        )
    return image.numpy()[0, 0]


def test_onnx_says_what_torch_says(exported: tuple[StyleNetwork, Path]) -> None:
    """At sizes that it was not traced with; single precision in another order leaves 1e-5."""
    network, folder = exported
    style = Style.load(folder, threads=1)
    for shape in ((48, 100), (96, 32)):
        content = picture(*shape)
        noise = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
        vector = np.array([0.3, -1.2], np.float32)
        expected = by_torch(network, content.data[None], vector, noise[None])
        styled = style.apply(content, Attribute("x", tuple(vector.tolist())), np.random.default_rng(1))
        np.testing.assert_allclose(styled, expected, atol=1e-4)
        with torch.no_grad():
            mean, _ = network.attribute_y(torch.as_tensor(content.data[None, None]))
        np.testing.assert_allclose(style.attribute_of(content).vector, mean[0].numpy(), atol=1e-4)


@pytest.mark.parametrize("config", [SMALL, LINEAR], ids=["free", "linear"])
def test_tiles_agree_with_the_whole_image(tmp_path: Path, config: NetworkConfig) -> None:
    network = network_of(config)
    with torch.no_grad():
        for name, weight in network.generate_y.imaging.named_parameters():
            if name.startswith("slow"):
                weight.normal_(generator=torch.Generator().manual_seed(1))  # fresh, they are too weak to show
    style = Style.load(export_style(network, card_of(config), tmp_path / "style"), threads=1)
    content, attribute = picture(420, 260), style.exemplar("second")
    whole = style.apply(content, attribute, np.random.default_rng(2), tile=512)
    tiled = style.apply(content, attribute, np.random.default_rng(2), tile=64)
    np.testing.assert_allclose(tiled, whole, atol=1e-4)  # single precision, sums of up to some hundred terms


def test_the_network_is_left_as_it_was(exported: tuple[StyleNetwork, Path]) -> None:
    network = network_of(SMALL).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    export_style(network, card_of(SMALL), exported[1].parent / "again")
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_the_folder_holds_all_and_nothing_else(exported: tuple[StyleNetwork, Path]) -> None:
    folder = exported[1]
    assert {path.name for path in folder.iterdir()} == FILES
    assert read_card(folder) == card_of(SMALL)
    assert "# Style made" in (folder / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    "config",
    [
        replace(SMALL, norm="instance", output="tanh", noise="none"),
        replace(SMALL, attribute=0),
        replace(SMALL, attribute=0, noise="none"),
        LINEAR,
        replace(LINEAR, attribute=0),
    ],
    ids=["as published", "no attribute", "content alone", "linear", "linear, no attribute"],
)
def test_other_kinds_of_network(tmp_path: Path, config: NetworkConfig) -> None:
    network = network_of(config)
    style = Style.load(export_style(network, card_of(config), tmp_path / "style"), threads=1)
    content = picture(52, 64)
    vector = (0.5,) * config.attribute
    noise = np.random.default_rng(1).standard_normal((52, 64), dtype=np.float32)
    expected = by_torch(network, content.data[None], np.array(vector, np.float32), noise[None])
    styled = style.apply(content, Attribute("x", vector), np.random.default_rng(1))
    np.testing.assert_allclose(styled, expected, atol=1e-4)  # single precision, norms included


class TestPlace:
    def test_a_style_is_replaced(self, tmp_path: Path) -> None:
        folder = export_style(network_of(SMALL), card_of(SMALL), tmp_path / "style")
        export_style(network_of(SMALL), replace(card_of(SMALL), name="new"), folder)
        assert read_card(folder).name == "new"
        assert [path.name for path in tmp_path.iterdir()] == ["style"]

    def test_other_folders_and_files_are_not(self, tmp_path: Path) -> None:
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
        (tmp_path / "file").write_bytes(b"x")
        for name in ("photos", "file"):
            with pytest.raises(OutputError, match="is there and no style folder"):
                export_style(network_of(SMALL), card_of(SMALL), tmp_path / name)
        assert (tmp_path / "photos" / "a.jpg").exists()

    @pytest.mark.parametrize("there", [False, True])
    def test_an_interrupt_leaves_what_was_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
    ) -> None:
        folder = tmp_path / "style"
        if there:
            export_style(network_of(SMALL), card_of(SMALL), folder)

        def interrupted(*arguments: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(export, "model_card", interrupted)
        with pytest.raises(KeyboardInterrupt):
            export_style(network_of(SMALL), replace(card_of(SMALL), name="new"), folder)
        assert [path.name for path in tmp_path.iterdir()] == (["style"] if there else [])
        assert not there or read_card(folder).name == "made"
