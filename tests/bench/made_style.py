"""A style made by hand, whose generator is a straight line with noise: what it does to an image is known."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from picostem.style.card import FORMAT, StyleCard

GAIN, OFFSET = 0.6, 0.15
"""Of the greys of a styled image, over those of its content."""


def write_style(folder: Path, noise: float, pixel_size: float = 0.12) -> Path:
    """A style folder: image = GAIN content + OFFSET + noise × standard normal; its attribute is the image's mean."""
    onnx = pytest.importorskip("onnx")
    h, one = onnx.helper, onnx.TensorProto.FLOAT
    field, numbers = [1, 1, "rows", "columns"], [1, 1]

    def value(name: str, shape: list[int | str]) -> object:
        return h.make_tensor_value_info(name, one, shape)

    def constant(name: str, number: float) -> object:
        return onnx.numpy_helper.from_array(np.array(number, dtype=np.float32), name)

    nodes = [
        h.make_node("Mul", ["content", "gain"], ["scaled"]),
        h.make_node("Mul", ["noise", "sigma"], ["grain"]),
        h.make_node("Add", ["scaled", "grain"], ["grainy"]),
        h.make_node("Sub", ["attribute", "attribute"], ["nothing"]),
        h.make_node("ReduceSum", ["nothing"], ["zero"], keepdims=0),
        h.make_node("Add", ["offset", "zero"], ["lifted"]),
        h.make_node("Add", ["grainy", "lifted"], ["image"]),
    ]
    constants = [constant("gain", GAIN), constant("sigma", noise), constant("offset", OFFSET)]
    inputs = [value("content", field), value("attribute", numbers), value("noise", field)]
    generator = h.make_graph(nodes, "generator", inputs, [value("image", field)], constants)
    mean = [
        h.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        h.make_node("Flatten", ["pooled"], ["mean"]),
        h.make_node("Sub", ["mean", "mean"], ["log_variance"]),
    ]
    outputs = [value("mean", numbers), value("log_variance", numbers)]
    encoder = h.make_graph(mean, "attribute", [value("image", field)], outputs)
    folder.mkdir(parents=True, exist_ok=True)
    for name, graph in (("generator", generator), ("attribute", encoder)):
        model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, str(folder / f"{name}.onnx"))
    card = StyleCard("straight", "ReS2", pixel_size, (pixel_size / 1.2, pixel_size * 1.2), 4, 1, True)
    text = json.dumps({"format": FORMAT} | asdict(card))
    (folder / "style.json").write_text(text, "utf-8")
    return folder
