"""Numbers with their errors, and formulas, as text."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np

from picostem.physics import DEGREE

if TYPE_CHECKING:
    from picostem.resolve.result import Interface

SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def formula(name: str) -> str:
    """A chemical formula with its subscripts; any other name as it is."""
    return name.translate(SUBSCRIPTS) if re.fullmatch(r"([A-Z][a-z]?\d*)+", name) else name


def decimals(sigma: float) -> int:
    """Decimal places that an error asks for: two digits of it up to 35, one beyond (the rule of the PDG)."""
    if not (math.isfinite(sigma) and sigma > 0):
        return 3
    exponent = math.floor(math.log10(sigma))
    # 3.55: what the rule rounds to 35.
    return max(0, -exponent + (1 if sigma / 10**exponent < 3.55 else 0))


def fixed(value: float, places: int) -> str:
    """A number with so many decimals and a proper minus sign; no sign on zero."""
    text = f"{value:.{places}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def with_error(value: float, sigma: float, places: int | None = None) -> str:
    """`1.234 ± 0.005`; without the error where there is none."""
    places = decimals(sigma) if places is None else places
    if not (math.isfinite(sigma) and sigma > 0):
        return fixed(value, places)
    return f"{fixed(value, places)} ± {sigma:.{places}f}"


def in_brackets(value: float, sigma: float) -> str:
    """`1.234(5)`: the error in units of the last digit."""
    places = decimals(sigma)
    if not (math.isfinite(sigma) and sigma > 0):
        return fixed(value, places)
    digits = round(sigma * 10**places)
    return f"{fixed(value, places)}({digits})"


def slip_cartesian(interface: Interface) -> str:
    """`(0.620 ± 0.004, 1.250 ± 0.005) Å`."""
    sigma = np.sqrt(np.diag(interface.slip_covariance))
    places = max(decimals(float(s)) for s in sigma)
    x, y = (with_error(float(v), float(s), places) for v, s in zip(interface.slip, sigma, strict=True))
    return f"({x}, {y}) Å"


def slip_fractions(interface: Interface, cell: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> str:
    """`0.2047(9) a + 0.2193(8) b`, a and b the rows of `cell`."""
    inverse = np.linalg.inv(cell)
    sigma = np.sqrt(np.diag(inverse.T @ interface.slip_covariance @ inverse))
    first, second = (in_brackets(abs(float(v)), float(s)) for v, s in zip(interface.slip_frac, sigma, strict=True))
    signs = ["−" if v < 0 else "+" for v in interface.slip_frac]
    return f"{'−' if signs[0] == '−' else ''}{first} a {signs[1]} {second} b"


def degrees(twist: float, twist_sigma: float) -> str:
    """`4.200° ± 0.012°`, both numbers in rad."""
    sigma = twist_sigma / DEGREE
    text = fixed(twist / DEGREE, decimals(sigma)) + "°"
    return f"{text} ± {sigma:.{decimals(sigma)}f}°" if math.isfinite(sigma) and sigma > 0 else text


def twist_degrees(interface: Interface) -> str:
    """`4.200° ± 0.012°`."""
    return degrees(interface.twist, interface.twist_sigma)


def strain_percent(interface: Interface) -> str:
    """`xx 0.52(4), yy −0.52(4), xy 0.00(4) %`; empty where it is not known."""
    if interface.strain is None:
        return ""
    (xx, xy), (_, yy) = 100 * interface.strain
    sigma = 100 * interface.strain_sigma
    return (
        ", ".join(f"{name} {in_brackets(float(v), sigma)}" for name, v in (("xx", xx), ("yy", yy), ("xy", xy))) + " %"
    )
