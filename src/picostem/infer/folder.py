"""Net folders: one trained network with its card, found by name or place, and written all at once.

A folder holds `network.onnx` and its card: `net.json`, or `patch.json` of a network for patches. Those that come with
the package are looked for by the name of their folder in `SHIPPED`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from picostem.errors import DataError, UsageError
from picostem.infer.card import NetCard
from picostem.infer.patch_card import PatchCard
from picostem.net_folder import NETWORK, check_network, read_json
from picostem.net_folder import write_folder as write_files

CARD, PATCH_CARD = "net.json", "patch.json"
SHIPPED = Path(__file__).parent / "shipped"


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
    card = NetCard.from_dict(read_json(folder / CARD), str(folder / CARD))
    check_network(folder, CARD, card.sha256)
    return card


def read_patch_card(folder: Path) -> PatchCard:
    """The same of the folder of a network for patches, and its `patch.json`; raises `DataError` as that does."""
    card = PatchCard.from_dict(read_json(folder / PATCH_CARD), str(folder / PATCH_CARD))
    check_network(folder, PATCH_CARD, card.sha256)
    return card


Card = TypeVar("Card", bound=NetCard | PatchCard)


def write_folder(folder: Path, card: Card, network: bytes) -> Card:
    """Write a net folder as `picostem.net_folder.write_folder` does, the card under the name of its kind."""
    return write_files(folder, CARD if isinstance(card, NetCard) else PATCH_CARD, card, network)


def rewrite_card(folder: Path, card: Card) -> Card:
    """Give the network of a folder another card: calibrated, or with figures; returns it with the network's hash.

    Raises:
        DataError: as `read_card` and `write_folder` do.
    """
    _ = read_card(folder) if isinstance(card, NetCard) else read_patch_card(folder)
    return write_folder(folder, card, (folder / NETWORK).read_bytes())
