"""Trained networks for patches into folders, which need no torch."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import torch

from picostem.errors import UsageError
from picostem.infer.export import traced
from picostem.infer.folder import write_files
from picostem.infer.patch_card import PatchCard
from picostem.infer.patch_network import PatchNetwork
from picostem.infer.patch_predict import CARD


def export_patch_net(network: PatchNetwork, card: PatchCard, folder: Path) -> PatchCard:
    """Write a trained network and its card, all or nothing; a network for patches that is there is replaced.

    Returns:
        the card, with the hash of the network.

    Raises:
        UsageError: the card is of another network.
        OutputError: the folder is a file, holds other things than a network, or cannot be written.
    """
    if network.config.outputs != card.labels.size:
        raise UsageError(f"expected the card of a network of {network.config.outputs} outputs, got {card.labels.size}")
    content = patch_onnx_of(network, card.side)
    card = replace(card, sha256=hashlib.sha256(content).hexdigest())
    write_files(folder, CARD, card.as_dict(), content)
    return card


def patch_onnx_of(network: PatchNetwork, side: int) -> bytes:
    """The network as an ONNX file: `patches` (b, 1, side, side) to `labels` (b, outputs), for any b."""
    return traced(network, torch.zeros(2, 1, side, side), "patches", ["labels"])
