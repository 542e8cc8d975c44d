"""How much room text takes, so that it can be cut or wrapped before it is drawn."""

from __future__ import annotations

from functools import lru_cache

from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ft2font import FT2Font

from picostem.report.palette import FAMILY

_EM = 1000.0
_POINTS = 72.0
"""Per inch."""


def with_glyphs(text: str) -> str:
    """The text with a box in place of what the font does not have (a file's name can be in any script)."""
    return "".join(c if c.isprintable() and ord(c) in _charmap() else "\N{WHITE SQUARE}" for c in text)


def text_width(text: str, size: float, bold: bool = False) -> float:
    """Width in inches of a line of text, size in points; kerning, which narrows it, left out."""
    return sum(_advance(c, bold) for c in text) * size / _POINTS


def shortened(text: str, width: float, size: float, bold: bool = False) -> str:
    """The text, or as much of it as fits into so many inches with an ellipsis."""
    if text_width(text, size, bold) <= width:
        return text
    end = " …"
    room = width - text_width(end, size, bold)
    while text and text_width(text, size, bold) > room:
        text = text[:-1]
    return text.rstrip() + end


def wrapped(text: str, width: float, size: float) -> list[str]:
    """Lines that fit into so many inches, broken between words; a word that is wider is cut short."""
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(joined, size) <= width:
            lines[-1] = joined
        else:
            lines.append(shortened(word, width, size))
    return lines


def _font(bold: bool) -> FT2Font:
    return get_font(findfont(FontProperties(family=[FAMILY], weight="bold" if bold else "normal")))


@lru_cache(maxsize=1)
def _charmap() -> frozenset[int]:
    return frozenset(_font(False).get_charmap())


@lru_cache(maxsize=4096)
def _advance(letter: str, bold: bool) -> float:
    """Over the size of the font."""
    font = _font(bold)
    # Pixels as large as points; FreeType counts in 64ths of them.
    font.set_size(_EM, _POINTS)
    return float(font.load_char(ord(letter)).horiAdvance / 64 / _EM)
