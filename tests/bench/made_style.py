"""A style made by hand, whose generator is a straight line with noise, so that what it does is known; and an image."""

from __future__ import annotations

import functools
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from picostem.bench.style_content import resolved
from picostem.image import Image
from picostem.resolve.result import Result
from picostem.simulate import AcquisitionSettings, simulate_stack
from picostem.structure import Stack, load_monolayer
from picostem.style.card import FORMAT, StyleCard
from picostem.style.pool import PUBLISHED_MICROSCOPE

GAIN, OFFSET = 0.6, 0.15
"""Of the greys of a styled image, over those of its content."""

PX = 0.12
DOSE = AcquisitionSettings(dose=3e4)


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


def micrograph(mirrored: bool = False, seed: int = 0) -> tuple[Image, dict[str, object]]:
    """A bilayer of ReS2 as the published microscope would record it, 31 Å wide."""
    stack = Stack.bilayer(load_monolayer("ReS2"), (1.2, 1.9))
    rng = np.random.default_rng(seed)
    frame = {"rotation": 0.7, "mirrored": mirrored, "origin": (0.4, -0.9)}
    return simulate_stack(stack, PUBLISHED_MICROSCOPE, DOSE, (256, 260), PX, rng, **frame)  # type: ignore[arg-type]


@functools.cache
def shot() -> Result:
    """What is found in the micrograph, named so."""
    return resolved(replace(micrograph()[0], name="shot"), "ReS2")
