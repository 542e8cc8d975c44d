"""A result in words: numbers with their errors, the headline, and what the verdict means."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from picostem.physics import DEGREE

if TYPE_CHECKING:
    from picostem.resolve.result import Interface, Result

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclass(frozen=True)
class Headline:
    """What stands on top of figure and page: the specimen, the numbers or the reason, and how far to trust them."""

    subject: str
    finding: str
    fractions: str
    facts: tuple[str, ...]


def formula(name: str) -> str:
    """A chemical formula with its subscripts; any other name as it is."""
    return name.translate(_SUBSCRIPTS) if re.fullmatch(r"([A-Z][a-z]?\d*)+", name) else name


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


def twist_degrees(interface: Interface) -> str:
    """`4.200° ± 0.012°`."""
    sigma = interface.twist_sigma / DEGREE
    text = fixed(interface.twist / DEGREE, decimals(sigma)) + "°"
    return f"{text} ± {sigma:.{decimals(sigma)}f}°" if sigma > 0 else text


def specimen(result: Result) -> str:
    """`ReS₂ bilayer`, `MoS₂ / WSe₂ bilayer`, or the material that was looked for."""
    # A material given by its file goes by the file's name.
    names = [formula(layer.monolayer.name) for layer in result.layers] or [formula(Path(result.settings.material).name)]
    kind = {1: "monolayer", 2: "bilayer", 3: "trilayer"}.get(len(result.layers), f"stack of {len(names)} layers")
    if not result.layers:
        return names[0]
    return f"{names[0] if len(set(names)) == 1 else ' / '.join(names)} {kind}"


def headline(result: Result) -> Headline:
    """The headline of any verdict."""
    subject, facts = specimen(result), _facts(result)
    if result.verdict == "slip" and result.interfaces:
        cells = [result.layers[i.lower - 1].monolayer.cell for i in result.interfaces]
        finding = ";  ".join(f"{_symbol(result, 'D', i)} = {slip_cartesian(i)}" for i in result.interfaces)
        fractions = ";  ".join(slip_fractions(i, cell) for i, cell in zip(result.interfaces, cells, strict=True))
        return Headline(subject, finding, "= " + fractions, facts)
    if result.verdict == "twist" and result.interfaces:
        finding = ";  ".join(f"{_symbol(result, 'θ', i)} = {twist_degrees(i)}" for i in result.interfaces)
        return Headline(f"Twisted {subject}", finding, "", facts)
    return Headline(subject, "not resolved" if result.verdict == "unresolved" else "", "", facts)


def _symbol(result: Result, letter: str, interface: Interface) -> str:
    return letter if len(result.interfaces) == 1 else f"{letter}{str(interface.lower).translate(_SUBSCRIPTS)}"


def _facts(result: Result) -> tuple[str, ...]:
    facts = []
    if result.verdict == "slip" and result.interfaces:
        interface = result.interfaces[0]
        facts.append(f"error {interface.slip_sigma:.4f} Å (1σ), bound {interface.slip_bound:.4f} Å")
    if result.quality is not None:
        facts.append(f"χ² {result.quality.chi2_reduced:.2f} per degree of freedom")
        facts.append(f"{100 * result.quality.explained:.1f} % of the Bragg power explained")
    if result.map is not None:
        ok = int(np.count_nonzero(result.map.status == "ok"))
        facts.append(f"{ok} of {len(result.map)} windows of {result.map.window / 10:.3g} nm")
    return tuple(facts)


def status_counts(result: Result) -> dict[str, int]:
    """How many windows of the map have each status, the most frequent first."""
    if result.map is None:
        return {}
    names, counts = np.unique(result.map.status, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {str(names[i]): int(counts[i]) for i in order}


def meaning(result: Result) -> list[str]:
    """What the verdict says and what it leaves open, in sentences."""
    if result.verdict == "slip" and result.interfaces:
        return [sentence for i in result.interfaces for sentence in _slip_meaning(result, i)]
    if result.verdict == "twist" and result.interfaces:
        return [sentence for i in result.interfaces for sentence in _twist_meaning(result, i)]
    return [result.reason[:1].upper() + result.reason[1:].rstrip(".") + "."] if result.reason else []


def _slip_meaning(result: Result, interface: Interface) -> list[str]:
    length = float(np.linalg.norm(interface.slip))
    said = [
        f"Layer {interface.upper} is shifted against layer {interface.lower} by {length:.3f} Å; the components are "
        f"along layer {interface.lower}'s a and across it."
    ]
    others = len(interface.equivalents) - 1
    if others > 0:
        noun = "one other slip gives" if others == 1 else f"{others} other slips give"
        said.append(
            f"In projection, {noun} the same image, because the layers can be exchanged or seen through the crystal's "
            "symmetry; the shortest of them stands for all."
        )
    else:
        said.append("No other slip gives the same image.")
    ratio = interface.slip_sigma / interface.slip_bound if interface.slip_bound > 0 else math.nan
    if math.isfinite(ratio):
        said.append(f"Its error is {ratio:.2g} times the least that the electrons counted allow (Cramér-Rao bound).")
    if result.map is not None and len(result.map.domains) > 1:
        said.append(f"The image holds {len(result.map.domains)} domains of different stacking; they are listed below.")
    return said


def _twist_meaning(result: Result, interface: Interface) -> list[str]:
    return [
        f"Layer {interface.upper} is turned against layer {interface.lower} by {twist_degrees(interface)}, "
        "counter-clockwise as seen in the crystal frame.",
        "Lattices that are turned against each other have no common slip: the registry changes from place to place.",
    ]


def printable(text: str) -> str:
    """Text of one line, with a mark in place of what cannot be shown (control characters, halves of characters)."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
