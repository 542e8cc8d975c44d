"""Units as files write them: nm, µm, Å, pm, m, `1/nm`, mrad, '' and None; lengths become Å.

The spellings are pint's, plus those that microscope programs write and pint reads otherwise: `A` (ampere to pint),
`px` (a length on a screen), `n_m` (Berkeley EMD), `micron`, `nm-1`.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from numbers import Real
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pint

Dimension = Literal["length", "reciprocal", "angle", "energy", "time", "none"]

LARGEST_PIXEL = 1.0e4
"""Å. 1 µm is 25 400 dots per inch: a larger number is the resolution of a printer, or a diffraction pattern whose
1/m was taken for m, not the pixel of a micrograph."""

SMALLEST_PIXEL = 1.0e-3
"""Å. 20 000 such pixels would show 20 Å: a smaller number was written in another unit than it says."""

_DIMENSIONS: dict[str, Dimension] = {"length": "length", "wavenumber": "reciprocal", "energy": "energy", "time": "time"}
_SPELLINGS = {
    "A": "Å",
    "Angstrom": "Å",
    "Angstroms": "Å",
    "micron": "μm",
    "microns": "μm",
    "um": "μm",
    "px": "pixel",
}
_USUAL: dict[str, tuple[Dimension, float]] = {
    "pm": ("length", 0.01),
    "Å": ("length", 1.0),
    "nm": ("length", 10.0),
    "μm": ("length", 1e4),
    "mm": ("length", 1e7),
    "m": ("length", 1e10),
    "1/nm": ("reciprocal", 1.0),
    "1/Å": ("reciprocal", 1.0),
    "mrad": ("angle", 1.0),
    "eV": ("energy", 1.0),
    "s": ("time", 1.0),
    "pixel": ("none", 1.0),
}
"""What nearly all files say, answered without pint, which takes 0.2 s to load."""

_PLAIN_UNIT = re.compile(r"(1 ?/ ?)?[A-Za-zÅμ°]{1,12}(\^-[1-9])?")
"""What is handed to pint. Anything longer is no unit, and powers of powers could keep pint busy for ever."""


def dimension(units: object) -> Dimension:
    """What a unit measures; 'none' if it is empty, unknown, a pixel or a count."""
    return _parse(units)[0] if isinstance(units, str) else "none"


def pixel_size(scale: object, units: object) -> float | None:
    """Size of a pixel in Å, or None where the axis is not calibrated.

    Not calibrated are: no unit of length, a scale that is no number, a scale of exactly 1 (what programs write when
    they know nothing, whatever the unit), and a result outside SMALLEST_PIXEL to LARGEST_PIXEL.
    """
    if not isinstance(units, str) or dimension(units) != "length" or not isinstance(scale, Real) or scale == 1:
        return None
    size = float(scale) * _parse(units)[1]
    return size if SMALLEST_PIXEL <= size <= LARGEST_PIXEL else None


def angstroms(units: str) -> float | None:
    """Å in one of a unit, or None if it is no unit of length."""
    found, factor = _parse(units)
    return factor if found == "length" else None


@cache
def _registry() -> pint.UnitRegistry[float]:
    import pint

    return pint.UnitRegistry()


@cache
def _parse(units: str) -> tuple[Dimension, float]:
    """The dimension, and for lengths the factor to Å (1 for all others)."""
    plain = _plain(units)
    if plain in _USUAL:
        return _USUAL[plain]
    if not _PLAIN_UNIT.fullmatch(plain):
        return "none", 1.0
    import pint

    try:
        quantity = 1.0 * _registry().parse_units(plain)
    except pint.PintError:  # unknown
        return "none", 1.0
    for name, found in _DIMENSIONS.items():
        if quantity.check(f"[{name}]"):
            return found, float(quantity.to("angstrom").magnitude) if found == "length" else 1.0
    return ("angle" if str(quantity.to_root_units().units) == "radian" else "none"), 1.0


def _plain(units: str) -> str:
    """One spelling for each: one Å and one μ, `[n_m]` and `\\u00B5m` unpacked, `nm-1` as `nm^-1`."""
    text = unicodedata.normalize("NFKC", re.sub(r"\\u00[bB]5", "μ", units))
    text = text.replace("\u2212", "-").strip().strip("[]").replace("_", "")
    text = re.sub(r"(?<=[A-Za-zÅμ])(?:\*\*)?(-[0-9])$", r"^\1", text)
    return re.sub(r"[A-Za-zÅμ°]+", lambda word: _SPELLINGS.get(word[0], word[0]), text)
