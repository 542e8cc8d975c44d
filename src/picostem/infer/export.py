"""Trained networks into files: a net folder, which needs no torch, and weights that can be trained further."""

from __future__ import annotations

import tempfile
import warnings
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from torch import nn

from picostem import checkpoint
from picostem.errors import DataError, UsageError
from picostem.infer.card import NetCard
from picostem.infer.folder import write_folder
from picostem.infer.mixture import Outputs
from picostem.infer.network import NetworkConfig, Perceptron
from picostem.infer.patch_card import PatchCard
from picostem.infer.patch_network import PatchNetwork
from picostem.infer.patch_twist import TwistNetwork
from picostem.version import VERSION

OPSET = 17
"""ONNX operators of 2022: any onnxruntime since 1.12 runs them."""

FORM = "picostem.stacking-weights/1"

_EXPECTED = (
    (DeprecationWarning, "You are using the legacy TorchScript-based ONNX export", ""),
    (DeprecationWarning, "The feature will be removed", r"torch\.onnx\."),  # of its own calls
)
"""Warnings of torch's tracing exporter that say nothing of the network: category, message and module."""


def export_net(network: Perceptron, card: NetCard, folder: Path) -> NetCard:
    """Write the net folder of a trained network, all of it or nothing; a net folder that is there is replaced.

    Returns:
        the card, with the hash of the network.

    Raises:
        UsageError: the card is of another network.
        OutputError: the folder is a file, holds other things than a network, or cannot be written.
    """
    config = network.config
    if (config.features, config.interfaces) != (card.invariants.size, card.torus.interfaces):
        raise UsageError(
            f"expected the card of a network of {config.features} features and {config.interfaces} slips, got that of "
            f"{card.invariants.size} and {card.torus.interfaces}"
        )
    return write_folder(folder, card, onnx_of(network))


def export_patch_net(network: PatchNetwork | TwistNetwork, card: PatchCard, folder: Path) -> PatchCard:
    """Write a trained network and its card, all or nothing; a network for patches that is there is replaced.

    The ONNX file takes `patches`, as the card reads them, to `labels` (b, outputs), for any b.

    Returns:
        the card, with the hash of the network.

    Raises:
        UsageError: the card is of another network.
        OutputError: the folder is a file, holds other things than a network, or cannot be written.
    """
    if network.outputs != card.labels.size:
        raise UsageError(f"expected the card of a network of {network.outputs} outputs, got {card.labels.size}")
    example = card.read(np.zeros((2, card.side, card.side)))
    return write_folder(folder, card, traced(network, torch.from_numpy(example), "patches", ["labels"]))


def onnx_of(network: Perceptron) -> bytes:
    """The network as an ONNX file: `features` (b, features) to the fields of `Outputs`, for any b.

    The scales of the features are in it.
    """
    example = torch.randn(2, network.config.features)
    return traced(_Traced(network), example, "features", list(Outputs._fields))


def traced(network: nn.Module, example: torch.Tensor, reads: str, says: list[str]) -> bytes:
    """A network as an ONNX file, for any number of windows, the first axis of what it reads and of all that it says.

    Args:
        network: a copy of it is traced, not in training.
        example: of its input, two windows or more.
        reads, says: names of input and outputs.
    """
    checkpoint.require("onnx")
    still = deepcopy(network).cpu().eval()
    with torch.no_grad(), warnings.catch_warnings(), tempfile.TemporaryDirectory() as place:
        path = Path(place) / "network.onnx"
        for category, message, module in _EXPECTED:
            warnings.filterwarnings("ignore", message, category, module)
        torch.onnx.export(
            still,
            (example,),
            str(path),
            input_names=[reads],
            output_names=says,
            dynamic_axes={name: {0: "windows"} for name in (reads, *says)},
            opset_version=OPSET,
            dynamo=False,  # the exporter that traces: twenty times faster here than its successor
        )
        return path.read_bytes()


def halved(content: bytes) -> bytes:
    """An ONNX file with its matrices in half precision, off by 1/2048 of each number at most; it computes as before."""
    checkpoint.require("onnx")
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(content)
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        name, half = tensor.name, numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT))
    for node in reversed(casts):
        model.graph.node.insert(0, node)
    return bytes(model.SerializeToString())


class _Traced(nn.Module):
    """A network whose answer is a plain tuple."""

    def __init__(self, network: Perceptron) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.network(features))


def save_network(network: Perceptron, path: Path) -> None:
    """The weights as safetensors, with the network's sizes in the same file; raises `OutputError`."""
    checkpoint.save(path, network.state_dict(), {"network": network.config.as_dict(), "version": VERSION}, FORM)


def load_network(path: Path) -> Perceptron:
    """A network that `save_network` wrote.

    Raises:
        DataError: the file is missing, damaged, or holds something else.
    """
    tensors, document = checkpoint.load(path, FORM)
    try:
        network = Perceptron(NetworkConfig.from_dict(document["network"]))
    except (KeyError, TypeError, UsageError) as error:
        raise DataError(f"{path} is damaged: {error}: take it from where it came once more") from error
    checkpoint.restore(network, tensors, str(path))
    return network
