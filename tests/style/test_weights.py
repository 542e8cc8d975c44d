from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picostem import onnx_file
from picostem.errors import DataError, FileError, UsageError
from picostem.onnx_file import open_network
from picostem.style import weights
from picostem.style.transfer import Style
from picostem.style.weights import (
    ATTRIBUTE,
    CARD,
    GENERATOR,
    Exemplar,
    StyleCard,
    model_card,
    read_card,
    shipped_styles,
    style_folder,
)
from tests.style.made_style import EXEMPLARS, card, convolutions, helper, model, onnx, simple, write_style


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_style(tmp_path / "style")


def changed(folder: Path, **changes: Any) -> Path:
    """The style with other values in its card; None takes a value away."""
    values = json.loads((folder / CARD).read_text()) | changes
    (folder / CARD).write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
    return folder


class TestFinding:
    def test_shipped_styles_go_before_folders(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(weights, "SHIPPED", tmp_path / "shipped")
        for name in ("res2", "mos2"):
            write_style(tmp_path / "shipped" / name)
        monkeypatch.chdir(tmp_path)
        write_style(tmp_path / "res2")
        assert shipped_styles() == ("mos2", "res2")
        assert style_folder("res2") == tmp_path / "shipped" / "res2"
        assert style_folder("./res2").resolve() == tmp_path / "res2"
        with pytest.raises(UsageError, match=r"no style 'ws2'.*\(mos2, res2\)"):
            style_folder("ws2")

    def test_a_name_reaches_no_other_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(weights, "SHIPPED", tmp_path / "shipped" / "inner")
        write_style(tmp_path / "shipped" / "secret")
        monkeypatch.chdir(tmp_path)
        with pytest.raises(UsageError, match="no style '../secret'"):
            style_folder("../secret")

    def test_a_folder_or_file_that_is_no_style(self, tmp_path: Path) -> None:
        (tmp_path / "file.txt").write_text("hello")
        for path in (tmp_path, tmp_path / "file.txt"):
            with pytest.raises(DataError, match="not a style folder"):
                style_folder(path)


class TestCard:
    def test_comes_back_as_it_was(self, folder: Path) -> None:
        assert read_card(folder) == card()
        assert read_card(folder).exemplar("second") == EXEMPLARS[1]

    def test_greys_of_the_content_come_back_and_are_the_range_unless_said(self, tmp_path: Path) -> None:
        folder = write_style(tmp_path / "style", of=card(greys="mean"))
        assert read_card(folder) == card(greys="mean")
        assert read_card(changed(folder, greys=None)) == card(greys="range") == card()

    def test_exemplars_by_name(self) -> None:
        with pytest.raises(UsageError, match="no exemplar 'third'; it has: first, second"):
            card().exemplar("third")

    def test_readme_says_what_it_is(self) -> None:
        text = model_card(card(licence="Apache-2.0", credit="someone", figures={"D_KL": 0.01}, training={"seed": 3}))
        for part in (
            "# Style made",
            "0.1 to 0.15 Å",
            "first, second",
            "Apache-2.0",
            "someone",
            "| D_KL | 0.01 |",
            "seed: 3",
        ):
            assert part in text

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"format": "picostem.style/2"}, "expected a style card of format 'picostem.style/1', found"),
            ({"format": None}, "found None"),
            ({"name": None}, r"lacks \['name'\]"),
            ({"colour": "red"}, r"unknown \['colour'\]"),
            ({"pixel_size_A": "0.1"}, "pixel_size_A should be int or float"),
            ({"pixel_size_A": -0.1}, "must be positive and in order"),
            ({"pixel_range_A": [0.2, 0.1]}, "must be positive and in order"),
            ({"pixel_range_A": [0.2]}, "should be two numbers"),
            ({"pixel_size_A": float("nan")}, "should be finite"),
            ({"attribute_size": True}, "attribute_size should be int"),
            ({"attribute_size": 10**9}, "negative or huge"),
            ({"attribute_size": 3}, "should have 3 finite numbers"),
            ({"takes_noise": 1}, "takes_noise should be bool"),
            ({"greys": "bright"}, "greys must be range or mean, got 'bright'"),
            ({"greys": 1}, "greys should be str"),
            ({"exemplars": ["first"]}, "an exemplar should be dict"),
            ({"exemplars": [{"name": "x", "attribute": [1, "2"]}]}, "attribute should be int or float"),
            ({"exemplars": [{"name": "x"}]}, r"exemplars: lacks \['attribute'\]"),
            ({"exemplars": [{"name": "x", "attribute": [1, 2], "black": 3}]}, "two different grey values, or none"),
            ({"exemplars": [{"name": "x", "attribute": [1, 2], "black": 3, "white": 3}]}, "two different grey values"),
        ],
    )
    def test_damaged_cards_are_refused(self, folder: Path, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(DataError, match=message):
            read_card(changed(folder, **changes))

    @pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b"[" * 100_000])
    def test_what_is_no_card(self, folder: Path, content: bytes) -> None:
        (folder / CARD).write_bytes(content)
        with pytest.raises(DataError, match=r"style\.json"):
            read_card(folder)

    def test_a_card_that_is_too_large_is_not_read(self, folder: Path) -> None:
        (folder / CARD).write_bytes(b" " * (weights.MAX_CARD_BYTES + 1))
        with pytest.raises(FileError, match="larger than"):
            read_card(folder)

    def test_grey_values_may_be_unknown(self) -> None:
        assert (
            StyleCard.from_dict(card(exemplars=(Exemplar("x", (0.0, 1.0)),)).as_dict(), "here").exemplars[0].black
            is None
        )


def outside() -> Any:
    """A network whose weights lie in another file."""
    network = convolutions()
    tensor = network.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret.bin")
    return network


def hidden_outside() -> Any:
    """The same in a constant, inside a node."""
    constant = onnx.TensorProto(dims=[1], data_type=1, name="k", data_location=onnx.TensorProto.EXTERNAL)
    constant.external_data.add(key="location", value="/etc/passwd")
    nodes = [
        helper.make_node("Constant", [], ["k"], value=constant),
        helper.make_node("Add", ["content", "k"], ["image"]),
    ]
    return model(nodes, ["content"], ["image"])


def custom() -> Any:
    node = helper.make_node("Shell", ["content"], ["image"], domain="evil.ops")
    return model([node], ["content"], ["image"], domain="evil.ops")


def looping() -> Any:
    branch = helper.make_graph([], "branch", [], [])
    node = helper.make_node("If", ["content"], ["image"], then_branch=branch, else_branch=branch)
    return model([node], ["content"], ["image"])


def with_function() -> Any:
    network = simple()
    node = helper.make_node("Neg", ["x"], ["y"])
    network.functions.append(helper.make_function("own", "f", ["x"], ["y"], [node], [helper.make_opsetid("", 18)]))
    return network


class TestNetworks:
    @pytest.mark.parametrize(
        ("network", "message"),
        [
            (outside, "weights in another file"),
            (hidden_outside, "weights in another file"),
            (custom, "operations of 'evil.ops'"),
            (looping, "control flow"),
            (with_function, "functions of its own"),
        ],
    )
    def test_what_reaches_out_of_the_file_is_refused(self, tmp_path: Path, network: Any, message: str) -> None:
        (tmp_path / "x.onnx").write_bytes(network().SerializeToString())
        with pytest.raises(DataError, match=message):
            open_network(tmp_path / "x.onnx")

    def test_field_numbers_are_those_of_the_format(self) -> None:
        """Against onnx's own description: every field that holds a message to be walked is walked."""
        messages = {
            "model": "ModelProto",
            "graph": "GraphProto",
            "node": "NodeProto",
            "attribute": "AttributeProto",
            "sparse": "SparseTensorProto",
            "tensor": "TensorProto",
        }
        kinds = {name: kind for kind, name in messages.items()} | {
            "FunctionProto": "function",
            "TrainingInfoProto": "training",
        }
        for kind, name in messages.items():
            expected = {
                field.number: "control" if (kind, field.message_type.name) == ("attribute", "GraphProto") else to
                for field in getattr(onnx, name).DESCRIPTOR.fields
                if field.message_type is not None and (to := kinds.get(field.message_type.name))
            }
            extra = {"node": {7: "domain"}, "tensor": {13: "external", 14: "location"}}.get(kind, {})
            assert onnx_file._PARTS[kind] == expected | extra, kind

    @pytest.mark.parametrize("content", [b"", b"pickle", b"\x80\x04\x95", b"\x3a\xff\xff\xff\xff\x0f", b"\xff" * 40])
    def test_what_is_no_network(self, folder: Path, content: bytes) -> None:
        (folder / GENERATOR).write_bytes(content)
        with pytest.raises(DataError, match=r"generator\.onnx"):
            Style.load(folder)

    def test_any_cut_or_changed_file_is_an_error_or_runs(self, folder: Path) -> None:
        whole = convolutions().SerializeToString()
        rng = np.random.default_rng(0)
        for _ in range(30):
            damaged = bytearray(whole[: rng.integers(1, len(whole))] if rng.random() < 0.5 else whole)
            damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
            (folder / GENERATOR).write_bytes(damaged)
            try:
                Style.load(folder)
            except DataError as error:
                assert "generator.onnx" in str(error)  # noqa: PT017

    @pytest.mark.parametrize("name", [GENERATOR, ATTRIBUTE])
    def test_missing_files(self, folder: Path, name: str) -> None:
        (folder / name).unlink()
        with pytest.raises(DataError, match=f"{name}: cannot be read"):
            Style.load(folder)

    def test_a_network_that_does_not_fit_its_card(self, folder: Path) -> None:
        with pytest.raises(
            DataError, match="not a style's network: expected .*'attribute', 'content'.* found .*'noise'"
        ):
            Style.load(changed(folder, takes_noise=False))

    def test_a_file_that_is_too_large_is_not_read(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(onnx_file, "MAX_BYTES", 100)
        with pytest.raises(DataError, match="larger than"):
            Style.load(folder)
