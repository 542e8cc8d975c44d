"""Style folders: the networks of one learned style with their card, found by name or place.

A folder holds `generator.onnx`, `attribute.onnx`, `style.json` (the card) and `README.md` (the same for people). Those
that come with the package are looked for by the name of their folder in `SHIPPED`.
"""

from __future__ import annotations

import json
from pathlib import Path

from picostem.errors import DataError, FileError, UsageError
from picostem.style.card import FORMAT, Exemplar, StyleCard, model_card

__all__ = [
    "ATTRIBUTE",
    "CARD",
    "FORMAT",
    "GENERATOR",
    "README",
    "Exemplar",
    "StyleCard",
    "generator_inputs",
    "model_card",
    "read_card",
    "shipped_styles",
    "style_folder",
]

CARD, GENERATOR, ATTRIBUTE, README = "style.json", "generator.onnx", "attribute.onnx", "README.md"
SHIPPED = Path(__file__).parent / "shipped"
MAX_CARD_BYTES = 1_000_000


def shipped_styles() -> tuple[str, ...]:
    """Names of the styles that come with the package, sorted."""
    return tuple(sorted(path.parent.name for path in SHIPPED.glob(f"*/{CARD}")))


def style_folder(name_or_folder: str | Path) -> Path:
    """The folder of a style: one that comes with the package, by name, or any other, by path.

    A shipped name goes before a folder of that name here; `./NAME` is always the folder.

    Raises:
        UsageError: neither a shipped style nor a folder.
        DataError: a folder or file that is no style folder.
    """
    text = str(name_or_folder)
    if text in shipped_styles():
        return SHIPPED / text
    folder = Path(text).expanduser()
    if (folder / CARD).is_file():
        return folder
    if folder.exists():
        raise DataError(
            f"{text}: not a style folder: it has no {CARD}; give the folder that `picostem style train` wrote"
        )
    known = ", ".join(shipped_styles()) or "none"
    raise UsageError(f"no style {text!r}: give the name of a shipped style ({known}) or a style folder")


def read_card(folder: Path) -> StyleCard:
    """The card of a style folder.

    Raises:
        DataError: `style.json` is missing, too large, no JSON, or no card of this format.
    """
    path = folder / CARD
    try:
        if path.stat().st_size > MAX_CARD_BYTES:
            raise FileError(f"{path}: larger than a style card can be ({MAX_CARD_BYTES} bytes)")
        values = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror}); is it a style folder?") from error
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: no JSON ({error}): copy the style again") from error
    return StyleCard.from_dict(values, str(path))


def generator_inputs(card: StyleCard) -> tuple[str, ...]:
    """Names of the inputs that a style's generator has, in order."""
    attribute = ("attribute",) if card.attribute_size else ()
    return ("content", *attribute, *(("noise",) if card.takes_noise else ()))
