"""Trained networks into files: a net folder, which needs no torch, and weights that can be trained further."""

from __future__ import annotations

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
from picostem.onnx_file import traced
from picostem.version import VERSION

FORM = "picostem.stacking-weights/1"


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
