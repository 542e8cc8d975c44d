"""A result in words: what it is of, the headline, and what is undecided."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from picostem.physics import DEGREE, NM
from picostem.report.quantities import (
    SUBSCRIPTS,
    decimals,
    fixed,
    formula,
    slip_cartesian,
    slip_fractions,
    twist_degrees,
)
from picostem.report.registry import antiparallel, moire_period, own_lattices
from picostem.structure import material_names

if TYPE_CHECKING:
    from picostem.resolve.result import Interface, Result

_ODDS = 1000.0
"""Largest odds that are told as such."""


@dataclass(frozen=True)
class Headline:
    """What stands on top of figure and page: the specimen, the numbers or the reason, and how far to trust them."""

    subject: str
    finding: str
    fractions: str
    facts: tuple[str, ...]


def other_twists(result: Result, interface: Interface) -> str:
    """`also 45.897° (odds 1 : 3)`: the twists that the image does not exclude; empty if there are none."""
    if not len(interface.twist_alternatives):
        return ""
    said = []
    for twist in interface.twist_alternatives:
        text = fixed(float(twist) / DEGREE, decimals(interface.twist_sigma / DEGREE)) + "°"
        odds = _odds(result, float(twist))
        said.append(text if odds is None else f"{text} (odds {odds})")
    return "also " + " or ".join(said)


def _odds(result: Result, twist: float) -> str | None:
    """`1 : 3` of another twist against the stated one, exp(-delta chi²/2); None if no reading is `twist 45.9°`."""
    if result.quality is None:
        return None
    for other in result.quality.alternatives:
        named = re.search(r"twist\D*(\d+(?:\.\d+)?)\s*°", other.hypothesis)
        # 0.06°: as many digits as such a name gives.
        if named and abs(float(named.group(1)) - abs(twist / DEGREE)) < 0.06:
            ratio = math.exp(min(abs(other.delta_chi2) / 2, 50.0))
            shown = f"{ratio:.0f}" if ratio >= 9.5 else f"{ratio:.1f}".removesuffix(".0")
            shown = shown if ratio < _ODDS else f"{_ODDS:.0f}"
            return f"1 : {shown}" if other.delta_chi2 >= 0 else f"{shown} : 1"
    return None


def specimen(result: Result) -> str:
    """`ReS₂ bilayer`, `MoS₂ / WSe₂ bilayer`, or the material that was looked for."""
    names = [formula(layer.monolayer.name) for layer in result.layers]
    kind = {1: "monolayer", 2: "bilayer", 3: "trilayer"}.get(len(names), f"stack of {len(names)} layers")
    if not names:
        return looked_for(result.settings.material)
    return f"{names[0] if len(set(names)) == 1 else ' / '.join(names)} {kind}"


def looked_for(material: str) -> str:
    """`ReS₂`, `MoS₂ / WSe₂`; a material given by its file goes by the file's name."""
    pieces = material.split("/")
    # Folders are not named as formulas or materials are.
    if all(formula(piece) != piece or piece in material_names() for piece in pieces):
        return " / ".join(formula(piece) for piece in pieces)
    return formula(Path(material).name)


def headline(result: Result) -> Headline:
    """The headline of any verdict."""
    subject, facts = specimen(result), _facts(result)
    if result.verdict in ("slip", "twist") and result.interfaces:
        finding = ";  ".join(_finding(result, interface) for interface in result.interfaces)
        return Headline(subject, finding, _below(result), facts)
    return Headline(subject, "not resolved" if result.verdict == "unresolved" else "", "", facts)


def _finding(result: Result, interface: Interface) -> str:
    alone = len(result.interfaces) == 1
    if own_lattices(interface):
        return ("twisted " if alone else f"{symbol(result, 'θ', interface)} = ") + twist_degrees(interface)
    hand = "antiparallel (H), " if antiparallel(interface) else ""
    return f"{hand}{symbol(result, 'D', interface)} = {slip_cartesian(interface)}"


def _below(result: Result) -> str:
    """The second line: slips in units of a and b, moiré periods and twists that are not excluded."""
    said = []
    for interface in result.interfaces:
        if own_lattices(interface):
            period = moire_period(result, interface)
            said.append(f"moiré period {period / NM:.2f} nm" if math.isfinite(period) else "no moiré")
            said += filter(None, [other_twists(result, interface)])
        else:
            name = "" if len(result.interfaces) == 1 else symbol(result, "D", interface) + " "
            cell = result.layers[interface.lower - 1].monolayer.cell
            said.append(f"{name}= {slip_fractions(interface, cell)}")
    return ";  ".join(said)


def symbol(result: Result, letter: str, interface: Interface) -> str:
    """`D`, or `D₁₂` where there are more interfaces than one."""
    number = f"{interface.lower}{interface.upper}".translate(SUBSCRIPTS)
    return letter if len(result.interfaces) == 1 else letter + number


def _facts(result: Result) -> tuple[str, ...]:
    facts = _errors(result) if result.verdict in ("slip", "twist") else []
    if result.quality is not None:
        facts.append(f"χ² {result.quality.chi2_reduced:.2f} per degree of freedom")
        facts.append(f"{100 * result.quality.explained:.1f} % of the Bragg power explained")
    if result.map is not None:
        ok = result.map.status == "ok"
        facts.append(f"{np.count_nonzero(ok)} of {len(result.map)} windows of {result.map.window / NM:.3g} nm")
        if result.map.engine is not None and (told := np.count_nonzero(ok & (result.map.engine == "net"))):
            facts.append(f"{told} of them by the network")
    return tuple(facts)


def _errors(result: Result) -> list[str]:
    """Error and bound of slips and of twists; of several interfaces in their order."""
    facts = []
    for own, unit in ((False, " Å"), (True, "°")):
        group = [interface for interface in result.interfaces if own_lattices(interface) == own]
        sigmas = [i.twist_sigma / DEGREE if own else i.slip_sigma for i in group]
        bounds = [i.twist_bound / DEGREE if own else i.slip_bound for i in group]
        if group:
            error, bound = (", ".join(f"{value:.4f}" for value in values) for values in (sigmas, bounds))
            facts.append(f"error {error}{unit} (1σ)" + (f", bound {bound}{unit}" if all(bounds) else ""))
    return facts


def status_counts(result: Result, index: int = 0) -> dict[str, int]:
    """How many windows of a map have each status, the most frequent first."""
    if index >= len(result.maps):
        return {}
    names, counts = np.unique(result.maps[index].status, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {str(names[i]): int(counts[i]) for i in order}


def printable(text: str) -> str:
    """Text of one line, with a mark in place of what cannot be shown (control characters, halves of characters)."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
