"""Networks for twists that say what they are made to say, without training."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from picostem.dataset.patch_plan import PatchPlan
from picostem.infer.folder import write_folder
from picostem.infer.patch_card import PatchCard
from picostem.infer.patch_labels import Labels
from picostem.physics import DEGREE

PLAN = PatchPlan("MoS2", task="twist", side=32, pixel_A=0.4, rotation_deg=180.0)
LABELS = Labels.of(PLAN.stack(), "twist", "density")
TRAINING = {"plan": PLAN.as_dict(), "microscopes": 1, "seed": 0, "licence": ""}
CARD_OF = PatchCard.of("made", PLAN, LABELS, training=TRAINING)
EXTENT = CARD_OF.extent_A
NOTHING = -30.0
"""ln of a weight that does not count."""


def numbers(twist: float, sigma: float, beside: float | None = None) -> np.ndarray:
    """What a network says that takes one twist, degrees, for the likeliest; and another one, for half as likely."""
    period = LABELS.unit[0, 0] / DEGREE
    count = LABELS.size // 3
    weights = np.full(count, NOTHING)
    means, sigmas = np.zeros(count), np.full(count, np.log(sigma / period))
    weights[0], means[0] = 0.0, twist / period
    if beside is not None:
        weights[:2] = np.log(2 / 3), np.log(1 / 3)
        means[1] = beside / period
    return np.concatenate([weights, means, sigmas]).astype(np.float32)


def written(folder: Path, said: np.ndarray, card: PatchCard = CARD_OF) -> Path:
    """The folder of a network that says the same of all patches."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("ReduceMean", ["patches"], ["means"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Reshape", ["means", "column"], ["each"]),
        helper.make_node("Mul", ["each", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "said"], ["labels"]),
    ]
    given = {"column": np.array([-1, 1]), "zero": np.zeros((1, 1), np.float32), "said": said[None]}
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("patches", TensorProto.FLOAT, ["b", 1, card.side, card.side])],
        [helper.make_tensor_value_info("labels", TensorProto.FLOAT, ["b", len(said)])],
        [numpy_helper.from_array(values, name) for name, values in given.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    write_folder(folder, card, model.SerializeToString())
    return folder
