"""Folders of networks: `network.onnx` and its card, a JSON file, written all at once and checked when they are read."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from picostem.errors import DataError, FileError, OutputError

NETWORK = "network.onnx"
MAX_CARD_BYTES = 1_000_000
NUMBER = (int, float)


class AnyCard(Protocol):
    """A dataclass with the field `sha256`."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as in its file."""


Card = TypeVar("Card", bound=AnyCard)


def read_json(path: Path) -> Any:
    """A card's JSON, as it is; raises `DataError` where there is none, or one too large."""
    try:
        if path.stat().st_size > MAX_CARD_BYTES:
            raise FileError(f"{path}: larger than a network's card can be ({MAX_CARD_BYTES} bytes)")
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise FileError(f"{path.parent}: cannot be read ({error.strerror}); is it the folder of a network?") from error
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: no JSON ({error}): copy the network again") from error


def check_network(folder: Path, card: str, sha256: str) -> None:
    """Raises `DataError` if the folder's network is not the one of a card with this hash."""
    try:
        found = hashlib.sha256((folder / NETWORK).read_bytes()).hexdigest()
    except OSError as error:
        raise FileError(f"{folder}: cannot be read ({error.strerror}); is it the folder of a network?") from error
    if found != sha256:
        raise DataError(f"{folder}: {NETWORK} is not the file that {card} belongs to: copy the network again")


def write_folder(folder: Path, name: str, card: Card, network: bytes) -> Card:
    """Write a net folder, all of it or nothing; a net folder of the same kind that is there is replaced.

    Args:
        folder: its place.
        name: of the card's file.
        card: of the network.
        network: the contents of network.onnx.

    Returns:
        the card, with the hash of the network.

    Raises:
        OutputError: the folder is a file, holds other things than a network, or cannot be written.
    """
    card = replace(card, sha256=hashlib.sha256(network).hexdigest())
    if folder.exists() and not (folder.is_dir() and ((folder / name).is_file() or not any(folder.iterdir()))):
        raise OutputError(f"cannot write a network to {folder}: it is there and holds something else; take another")
    part = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    old = part.with_name(f"{part.name}.old")
    try:
        part.mkdir(parents=True)
        (part / NETWORK).write_bytes(network)
        (part / name).write_text(json.dumps(card.as_dict(), indent=1, allow_nan=False) + "\n", "utf-8")
        if folder.exists():
            os.replace(folder, old)
        os.replace(part, folder)
    except OSError as error:
        raise OutputError(f"cannot write a network to {folder}: {error.strerror}; choose another place") from error
    finally:
        if old.exists() and not folder.exists():
            os.replace(old, folder)
        for rest in (part, old):
            shutil.rmtree(rest, ignore_errors=True)
    return card


def as_document(card: Any, form: str) -> dict[str, Any]:
    """A card, a dataclass, as plain values."""
    return {"format": form, **json.loads(json.dumps(asdict(card), allow_nan=False))}


def read_document(values: Any, form: str, kinds: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The fields of a card's JSON, checked; raises `DataError` for another format, or as `checked` does."""
    if not isinstance(values, dict) or values.get("format") != form:
        found = values.get("format") if isinstance(values, dict) else type(values).__name__
        raise DataError(
            f"{where}: expected a network's card of format {form!r}, found {found!r}: train the network again, "
            "or use the version of picostem that wrote it"
        )
    return checked({key: value for key, value in values.items() if key != "format"}, kinds, where)


def checked(values: dict[str, Any], kinds: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The values, if they are all that is needed, nothing else, and of the right kinds."""
    if values.keys() != kinds.keys():
        missing, unknown = sorted(kinds.keys() - values.keys()), sorted(values.keys() - kinds.keys())
        raise DataError(f"{where}: lacks {missing or 'nothing'}, and has unknown {unknown or 'nothing'}")
    for key, kind in kinds.items():
        _check_kind(values[key], kind, f"{where}: {key}")
    return values


def numbers(values: Any, whole: bool, where: str) -> Any:
    """Nested lists of numbers as tuples."""
    if isinstance(values, list):
        return tuple(numbers(value, whole, where) for value in values)
    _check_kind(values, int if whole else NUMBER, where)
    return values


def _check_kind(value: Any, kind: Any, what: str) -> None:
    """True is no number, and a number is finite."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    right = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
    if not right or (isinstance(value, NUMBER) and not abs(value) < 1e100):
        expected = " or ".join(one.__name__ for one in kinds)
        raise DataError(f"{what} should be {expected} and finite, is {value!r:.60}: the card is damaged")


def nested(values: Any) -> Any:
    """Lists as tuples, however deep."""
    return tuple(map(nested, values)) if isinstance(values, list) else values
