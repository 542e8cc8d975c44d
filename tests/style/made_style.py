"""Small style folders whose networks do what is known, built without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from picostem.style.picture import Picture
from picostem.style.weights import ATTRIBUTE, CARD, GENERATOR, Exemplar, StyleCard

onnx = pytest.importorskip("onnx", reason="builds networks with the extra train")
from onnx import TensorProto, numpy_helper  # noqa: E402
from onnx import helper as helper  # noqa: E402

SIDES = ["rows", "columns"]
EXEMPLARS = (Exemplar("first", (0.25, 0.5), 100.0, 300.0, 0.12), Exemplar("second", (-0.5, 0.0)))


def card(**changes: Any) -> StyleCard:
    """A card of a style of two numbers with noise."""
    values: dict[str, Any] = {
        "name": "made",
        "material": "ReS2",
        "pixel_size_A": 0.12,
        "pixel_range_A": (0.1, 0.15),
        "receptive_field_px": 8,
        "attribute_size": 2,
        "takes_noise": True,
        "exemplars": EXEMPLARS,
    }
    return StyleCard(**values | changes)


def picture(rows: int = 48, columns: int = 64, pixel_size: float = 0.12, seed: int = 0) -> Picture:
    """Smooth random greys from 0 to 1."""
    from scipy import ndimage

    data = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((rows, columns)), 3, mode="reflect")
    data = (data - data.min()) / (data.max() - data.min())
    return Picture(data.astype(np.float32), pixel_size, 0.0, 1.0, "picture")


def simple() -> Any:
    """image = content + a0 + a1 noise."""
    nodes = [
        helper.make_node("Split", ["attribute"], ["a0", "a1"], axis=1, num_outputs=2),
        helper.make_node("Mul", ["a1", "noise"], ["grain"]),
        helper.make_node("Add", ["content", "a0"], ["shifted"]),
        helper.make_node("Add", ["shifted", "grain"], ["image"]),
    ]
    return model(nodes, ["content", "attribute", "noise"], ["image"])


def convolutions() -> Any:
    """Convolutions at full and half size and back, zeros beyond the borders, noise added; it reaches 6 pixels far."""
    rng = np.random.default_rng(5)
    shapes = {"w1": (2, 1, 5, 5), "w2": (2, 2, 3, 3), "w3": (1, 2, 3, 3), "wn": (1, 1, 3, 3)}
    weights = {name: rng.standard_normal(shape).astype(np.float32) / 3 for name, shape in shapes.items()}
    weights |= {"scales": np.array([1, 1, 2, 2], np.float32)}
    nodes = [
        helper.make_node("Conv", ["content", "w1"], ["c1"], pads=[2] * 4),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Resize", ["c2", "", "scales"], ["wide"], mode="nearest"),
        helper.make_node("Conv", ["wide", "w3"], ["c3"], pads=[1] * 4),
        helper.make_node("Conv", ["noise", "wn"], ["grain"], pads=[1] * 4),
        helper.make_node("ReduceSum", ["attribute"], ["sum"]),
        helper.make_node("Add", ["c3", "sum"], ["shifted"]),
        helper.make_node("Add", ["shifted", "grain"], ["image"]),
    ]
    return model(nodes, ["content", "attribute", "noise"], ["image"], weights)


def encoder() -> Any:
    """mean = (m, 2 m), m the mean grey; log_variance = -mean."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["flat"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["flat", "factors"], ["mean"]),
        helper.make_node("Neg", ["mean"], ["log_variance"]),
    ]
    return model(nodes, ["image"], ["mean", "log_variance"], {"factors": np.array([[1, 2]], np.float32)}, opset=17)


def model(
    nodes: list[Any],
    inputs: list[str],
    outputs: list[str],
    weights: dict[str, Any] | None = None,
    opset: int = 18,
    domain: str = "",
) -> Any:
    """An ONNX model of these nodes."""

    def value(name: str) -> Any:
        shape = [1, 2] if name in ("attribute", "mean", "log_variance") else [1, 1, *SIDES]
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    tensors = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(nodes, "made", list(map(value, inputs)), list(map(value, outputs)), tensors)
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def write_style(folder: Path, generator: Any = None, of: StyleCard | None = None) -> Path:
    """A style folder with these parts."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD).write_text(json.dumps((of or card()).as_dict()))
    (folder / GENERATOR).write_bytes((generator or simple()).SerializeToString())
    (folder / ATTRIBUTE).write_bytes(encoder().SerializeToString())
    return folder
