"""Weights of networks in files: safetensors, with what they belong to as JSON in the same file; nothing is unpickled.

The file's metadata hold one entry, `picostem`: {"format": NAME/VERSION, ...}, settings and provenance as the network
at hand needs them. So a file says what it is, and reading one cannot run code.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from picostem.errors import DataError, FileError, OutputError, UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

ENTRY = "picostem"
PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How torch.save and pickle begin."""

Tensors = dict[str, "Tensor"]
Document = dict[str, Any]


def save(path: Path, tensors: Mapping[str, Tensor], document: Mapping[str, Any], form: str) -> None:
    """Write tensors and a document of plain values, completely or not at all.

    form: what the file is, such as "picostem.style-training/1".

    Raises:
        OutputError: the file cannot be written.
    """
    writer, _ = _safetensors()
    text = json.dumps({"format": form, **document}, allow_nan=False)
    # Each in memory of its own, or safetensors refuses layers that are shared; channels-last is not contiguous.
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    content = writer(whole, {ENTRY: text})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            beside.write_bytes(content)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}; choose another place") from error


def load(path: Path, form: str) -> tuple[Tensors, Document]:
    """Read what `save` wrote.

    Raises:
        FileError: missing, a pickle, damaged, or not of this format.
    """
    _, reader = _safetensors()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error
    if content.startswith(PICKLES):
        raise FileError(
            f"{path} is a pickle, which can run any program when it is read: if you trust it, convert it to safetensors"
        )
    document = _document(path, content, form)
    try:
        return reader(content), document
    except Exception as error:  # safetensors raises its own, and torch several
        raise FileError(f"{path} is damaged: {error}: take it from where it came once more") from error


def _document(path: Path, content: bytes, form: str) -> Document:
    """The JSON entry of the header: 8 bytes for its length, then a JSON object."""
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        document = json.loads(header["__metadata__"][ENTRY])
        found = document["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise FileError(f"{path} is not a file of picostem's weights; expected format {form}") from error
    if found != form:
        raise FileError(f"{path} has format {found}; expected {form}: another kind or version of picostem's files")
    return {name: value for name, value in document.items() if name != "format"}


def restore(module: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    """Put weights into a network: exactly its own names and shapes; `what` they are, for messages.

    Raises:
        DataError: names missing or unknown, or shapes that differ.
    """
    state = module.state_dict()
    missing, unknown = sorted(set(state) - set(tensors)), sorted(set(tensors) - set(state))
    if missing or unknown:
        raise DataError(
            f"{what}: {_named('missing', missing)}, {_named('unknown', unknown)}: "
            "they are of a network with other settings: build it from those stored with the weights"
        )
    for name, tensor in state.items():
        if tensor.shape != tensors[name].shape:
            raise DataError(
                f"{what}: {name} has shape {tuple(tensors[name].shape)}, expected {tuple(tensor.shape)}: "
                "they are of a network with other settings: build it from those stored with the weights"
            )
    module.load_state_dict(dict(tensors))


def _named(word: str, names: list[str]) -> str:
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} {word}" + (f" ({shown})" if names else "")


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    """The tensors under names that begin with `prefix.`."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def under(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    """Those tensors whose names begin with `prefix.`, without it."""
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def optimiser_tensors(optimiser: Optimizer) -> Tensors:
    """The state of an optimiser, named NUMBER OF PARAMETER.NAME; its settings are not among them."""
    state = optimiser.state_dict()["state"]
    return {f"{index}.{name}": value for index, values in state.items() for name, value in values.items()}


def restore_optimiser(optimiser: Optimizer, tensors: Mapping[str, Tensor], what: str) -> None:
    """The inverse of `optimiser_tensors`, for an optimiser of the same parameters.

    Raises:
        DataError: states of parameters that it does not have, or of another shape.
    """
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        known = index.isdecimal() and int(index) < len(parameters)
        if not known or tensor.shape not in ((), parameters[int(index)].shape):
            raise DataError(f"{what}: state {name} does not belong to this network: start the training anew")
        state.setdefault(int(index), {})[key] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def require(*packages: str) -> None:
    """Say what to install where packages are missing that only the training of networks needs.

    Raises:
        UsageError: naming them.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise UsageError(f'training needs {", ".join(missing)}: pip install "picostem[train]"')


def _safetensors() -> tuple[Any, Any]:
    require("torch", "safetensors")
    from safetensors.torch import load, save

    return save, load
