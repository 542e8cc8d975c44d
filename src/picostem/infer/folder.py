"""Net folders: one trained network with its card, found by name or place, and written all at once.

A folder holds `network.onnx` and its card: `net.json`, or `patch.json` of a network for patches. Those that come with
the package are looked for by the name of their folder in `SHIPPED`.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from picostem.errors import DataError, FileError, OutputError, UsageError
from picostem.infer.card import NetCard
from picostem.infer.patch_card import PatchCard

CARD, PATCH_CARD, NETWORK = "net.json", "patch.json", "network.onnx"
SHIPPED = Path(__file__).parent / "shipped"
MAX_CARD_BYTES = 1_000_000


def shipped_nets(*cards: str) -> tuple[str, ...]:
    """Names of the networks that come with the package and have one of some cards, CARD if none is given; sorted."""
    return tuple(sorted(path.parent.name for card in cards or (CARD,) for path in SHIPPED.glob(f"*/{card}")))


def net_folder(name_or_folder: str | Path, *cards: str) -> Path:
    """The folder of a network: one that comes with the package, by name, or any other, by path.

    A shipped name goes before a folder of that name here; `./NAME` is always the folder.

    Args:
        cards: one of which the folder should have, CARD if none is given.

    Raises:
        UsageError: neither a shipped network nor a folder.
        DataError: a folder or file that is no net folder.
    """
    text, cards = str(name_or_folder), cards or (CARD,)
    if text in shipped_nets(*cards):
        return SHIPPED / text
    folder = Path(text).expanduser()
    if any((folder / card).is_file() for card in cards):
        return folder
    if folder.exists():
        need = " or ".join(cards)
        raise DataError(f"{text}: not the folder of a network: it has no {need}; give the one that training wrote")
    known = ", ".join(shipped_nets(*cards)) or "none"
    raise UsageError(f"no network {text!r}: give the name of a shipped one ({known}) or its folder")


def is_patch_net(folder: Path) -> bool:
    """Whether the network of a net folder reads patches."""
    return (folder / PATCH_CARD).is_file()


def read_card(folder: Path) -> NetCard:
    """The card of a net folder whose network is the one that the card was written for.

    Raises:
        DataError: a file is missing, `net.json` is no card of this format, or the network is another one.
    """
    card = NetCard.from_dict(_read(folder / CARD), str(folder / CARD))
    _check_network(folder, CARD, card.sha256)
    return card


def read_patch_card(folder: Path) -> PatchCard:
    """The same of the folder of a network for patches, and its `patch.json`; raises `DataError` as that does."""
    card = PatchCard.from_dict(_read(folder / PATCH_CARD), str(folder / PATCH_CARD))
    _check_network(folder, PATCH_CARD, card.sha256)
    return card


def _read(path: Path) -> Any:
    """A card's JSON, as it is; raises `DataError` where there is none, or one too large."""
    try:
        if path.stat().st_size > MAX_CARD_BYTES:
            raise FileError(f"{path}: larger than a network's card can be ({MAX_CARD_BYTES} bytes)")
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise FileError(f"{path.parent}: cannot be read ({error.strerror}); is it the folder of a network?") from error
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: no JSON ({error}): copy the network again") from error


def _check_network(folder: Path, card: str, sha256: str) -> None:
    """Raises `DataError` if the folder's network is not the one of a card with this hash."""
    try:
        found = hashlib.sha256((folder / NETWORK).read_bytes()).hexdigest()
    except OSError as error:
        raise FileError(f"{folder}: cannot be read ({error.strerror}); is it the folder of a network?") from error
    if found != sha256:
        raise DataError(f"{folder}: {NETWORK} is not the file that {card} belongs to: copy the network again")


Card = TypeVar("Card", bound=NetCard | PatchCard)


def write_folder(folder: Path, card: Card, network: bytes) -> Card:
    """Write a net folder, all of it or nothing; a net folder of the same kind that is there is replaced.

    Args:
        folder: its place.
        card: of the network.
        network: the contents of network.onnx.

    Returns:
        the card, with the hash of the network.

    Raises:
        OutputError: the folder is a file, holds other things than a network, or cannot be written.
    """
    card = replace(card, sha256=hashlib.sha256(network).hexdigest())
    name = CARD if isinstance(card, NetCard) else PATCH_CARD
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


def rewrite_card(folder: Path, card: Card) -> Card:
    """Give the network of a folder another card: calibrated, or with figures; returns it with the network's hash.

    Raises:
        DataError: as `read_card` and `write_folder` do.
    """
    _ = read_card(folder) if isinstance(card, NetCard) else read_patch_card(folder)
    return write_folder(folder, card, (folder / NETWORK).read_bytes())
