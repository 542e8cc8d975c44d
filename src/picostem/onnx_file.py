"""Networks as ONNX files: written, and opened only if they hold nothing but numbers and standard operations.

The file is walked as what it is, a tree of protocol-buffer messages (onnx.proto3 of ONNX IR version 3 and later),
before onnxruntime sees it. Refused are weights kept in other files, operations that are not of the ONNX standard,
functions, and control flow: no network here has any of them, and they are how a model file reaches out of itself.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

from picostem import checkpoint
from picostem.errors import DataError, FileError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from torch import Tensor, nn

OPSET = 17
"""ONNX operators of 2022: any onnxruntime since 1.12 runs them."""

_EXPECTED = (
    (DeprecationWarning, "You are using the legacy TorchScript-based ONNX export", ""),
    (DeprecationWarning, "The feature will be removed", r"torch\.onnx\."),  # of its own calls
)
"""Warnings of torch's tracing exporter that say nothing of the network: category, message and module."""

WINDOWS = {0: "windows"}
"""Axes of any length where a network reads one window after the other."""

MAX_BYTES = 1 << 30
STANDARD = (b"", b"ai.onnx")

_PARTS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute", 7: "domain"},
    "attribute": {5: "tensor", 6: "control", 10: "tensor", 11: "control", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external", 14: "location"},
}
"""Which field of a message holds which other one; what is not listed cannot reach out."""

_FORBIDDEN = {
    "function": "functions of its own",
    "training": "a training graph",
    "control": "control flow",
    "external": "weights in another file",
}


def traced(
    network: nn.Module, example: Tensor, reads: str, says: list[str], axes: Mapping[int, str] = WINDOWS
) -> bytes:
    """A network as an ONNX file, for inputs and outputs of any length along some of their axes.

    Args:
        network: a copy of it is traced, not in training.
        example: of its input, two windows or more.
        reads, says: names of input and outputs. axes: those of any length, with names for them.
    """
    checkpoint.require("onnx")
    import torch

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
            dynamic_axes={name: dict(axes) for name in (reads, *says)},
            opset_version=OPSET,
            dynamo=False,  # the exporter that traces: twenty times faster here than its successor
        )
        return path.read_bytes()


def open_network(path: Path, threads: int = 0) -> InferenceSession:
    """An onnxruntime session of a network that has been checked; `threads` 0 takes all cores.

    Raises:
        DataError: the file is missing, too large, damaged, or reaches out of itself.
    """
    content = _content(path)
    try:
        _check(memoryview(content), "model", str(path))
    except (IndexError, ValueError) as error:
        raise FileError(f"{path}: no ONNX file, or a damaged one: copy the network again") from error
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no common base of their own
        reason = " ".join(str(error).split())[:160]
        raise FileError(
            f"{path}: cannot be run ({reason}): copy the network again, or train and export it anew"
        ) from error


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise FileError(f"{path}: larger than a network here can be ({MAX_BYTES >> 20} MiB)")
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror}): its folder needs it; copy it again") from error


def _check(message: memoryview, kind: str, where: str) -> None:
    parts = _PARTS[kind]
    for number, value in _fields(message):
        part = parts.get(number)
        if part in _FORBIDDEN or (part == "location" and value != 0):
            raise DataError(f"{where}: has {_FORBIDDEN.get(part or '', _FORBIDDEN['external'])}, which none here needs")
        if part == "domain" and (isinstance(value, int) or bytes(value) not in STANDARD):
            name = value if isinstance(value, int) else bytes(value[:60]).decode("utf-8", "replace")
            raise DataError(f"{where}: has operations of {name!r}; networks here have those of the ONNX standard alone")
        if part in _PARTS:
            if isinstance(value, int):
                raise ValueError(f"{part} is no message")
            _check(value, part, where)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field: an integer, or the bytes of text, message or packed numbers."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if kind not in (1, 2, 5):
            raise ValueError(f"wire type {kind}")
        size = 8 if kind == 1 else 4
        if kind == 2:
            size, at = _varint(message, at)
        if at + size > len(message):
            raise ValueError("a field is cut off")
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than ten bytes")
