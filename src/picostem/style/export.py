"""Trained networks into a style folder: ONNX files that need no torch, and the card."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picostem.errors import OutputError, UsageError
from picostem.style.weights import ATTRIBUTE, CARD, GENERATOR, README, StyleCard, generator_inputs, model_card

if TYPE_CHECKING:
    from torch import Tensor, nn

OPSET = 17
"""ONNX operators of 2022, the first that have all of torch's: any onnxruntime since 1.12 runs them."""

_EXPECTED = (
    (DeprecationWarning, "You are using the legacy TorchScript-based ONNX export", ""),
    (DeprecationWarning, "The feature will be removed", r"torch\.onnx\."),  # of its own calls
    (UserWarning, "Constant folding - Only steps=1", r"torch\.onnx\."),  # in the padding of convolutions
    (UserWarning, "ONNX export mode is set to .* 'instance_norm' is set to train=True", r"torch\.onnx\."),
    (Warning, "Converting a tensor to a Python boolean", r"torch\.nn\."),  # checks of shapes in instance norms
)
"""Warnings of torch's tracing exporter that say nothing of the networks here: category, message and module."""

_SIDE = (64, 72)  # of the pictures that the networks are traced with; every size is possible afterwards


def export_style(network: nn.Module, card: StyleCard, folder: Path) -> Path:
    """Write the style folder of a trained network, all of it or nothing; a style folder that is there is replaced.

    Args:
        network: with `translate(x, attribute, noise)` and `attribute_y(y)` as `picostem.style.network.StyleNetwork`
            has them; it is left in the mode and on the device that it was in.
        card: of the style.
        folder: its place.

    Returns:
        the folder.

    Raises:
        UsageError: torch is missing.
        OutputError: the folder is a file, holds other things than a style, or cannot be written.
    """
    if folder.exists() and not (folder.is_dir() and ((folder / CARD).is_file() or not any(folder.iterdir()))):
        raise OutputError(f"cannot write a style to {folder}: it is there and no style folder; give another place")
    part = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    old = part.with_name(f"{part.name}.old")
    try:
        part.mkdir(parents=True)
        _write_networks(network, card, part)
        (part / CARD).write_text(json.dumps(card.as_dict(), indent=1, allow_nan=False) + "\n", "utf-8")
        (part / README).write_text(model_card(card), "utf-8")
        if folder.exists():
            os.replace(folder, old)
        os.replace(part, folder)
    except OSError as error:
        raise OutputError(f"cannot write a style to {folder}: {error.strerror}; choose another place") from error
    finally:
        if old.exists() and not folder.exists():
            os.replace(old, folder)
        for rest in (part, old):
            shutil.rmtree(rest, ignore_errors=True)
    return folder


def _write_networks(network: nn.Module, card: StyleCard, folder: Path) -> None:
    torch, generator, encoder = _wrapped(network, card)
    rows, columns = _SIDE
    picture = torch.rand(1, 1, rows, columns)
    shaped = {"content": picture, "attribute": torch.zeros(1, card.attribute_size), "noise": torch.randn_like(picture)}
    names = generator_inputs(card)
    with _at_rest(network):
        _write(generator, [shaped[name] for name in names], names, ("image",), folder / GENERATOR)
        if card.attribute_size:
            _write(encoder, [picture], ("image",), ("mean", "log_variance"), folder / ATTRIBUTE)


def _wrapped(network: Any, card: StyleCard) -> tuple[Any, nn.Module, nn.Module]:
    """torch, and the two functions of a network that are exported, as modules of their own."""
    try:
        import torch
    except ModuleNotFoundError as error:
        raise UsageError('exporting a style needs torch: pip install "picostem[train]"') from error
    names = generator_inputs(card)

    class Translate(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *inputs: Tensor) -> Tensor:
            given = dict(zip(names, inputs, strict=True))
            attribute = given.get("attribute", given["content"].new_zeros((1, 0)))
            image: Tensor = self.network.translate(given["content"], attribute, given.get("noise"))
            return image

    class Encode(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
            mean, log_variance = self.network.attribute_y(image)
            return mean, log_variance

    return torch, Translate(), Encode()


@contextlib.contextmanager
def _at_rest(network: nn.Module) -> Iterator[None]:
    """The network on the CPU and not in training, for the duration of a block."""
    training, device = network.training, next(network.parameters()).device
    network.eval().cpu()
    try:
        yield
    finally:
        network.train(training).to(device)


def _write(
    module: nn.Module, inputs: list[Tensor], names: tuple[str, ...], outputs: tuple[str, ...], path: Path
) -> None:
    """A module as an ONNX file whose images may have any rows and columns."""
    import torch

    sides = {2: "rows", 3: "columns"}
    axes = {name: sides for name in (*names, *outputs) if name in ("content", "noise", "image")}
    with torch.no_grad(), warnings.catch_warnings():
        for category, message, place in _EXPECTED:
            warnings.filterwarnings("ignore", message, category, place)
        torch.onnx.export(
            module.eval(),
            tuple(inputs),
            str(path),
            input_names=list(names),
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,  # the exporter that traces: twenty times faster here than its successor
        )
