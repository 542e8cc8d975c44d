"""What a verdict says and what it leaves open, in sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from picostem.physics import NM
from picostem.report.quantities import twist_degrees
from picostem.report.registry import antiparallel, moire_period, own_lattices
from picostem.report.words import other_twists

if TYPE_CHECKING:
    from picostem.resolve.result import Interface, Result


def meaning(result: Result) -> list[str]:
    """What the verdict says and what it leaves open."""
    if result.verdict in ("slip", "twist") and result.interfaces:
        said = [sentence for interface in result.interfaces for sentence in _interface(result, interface)]
        return said + _whole(result)
    return [result.reason[:1].upper() + result.reason[1:].rstrip(".") + "."] if result.reason else []


def _interface(result: Result, interface: Interface) -> list[str]:
    return _twist(result, interface) if own_lattices(interface) else _slip(interface)


def _whole(result: Result) -> list[str]:
    said = []
    if len(result.layers) > 2:
        said.append(
            "In projection, three layers show their positions but not their order: which of them lies between the "
            "others shows only through the focus."
        )
    domains = max((len(one.domains) for one in result.maps), default=0)
    if domains > 1:
        what = "twist" if any(own_lattices(i) for i in result.interfaces) else "stacking"
        said.append(f"The image holds {domains} domains of different {what}; they are listed below.")
    return said


def _slip(interface: Interface) -> list[str]:
    length = float(np.linalg.norm(interface.slip))
    turned = ", and turned by 60°, as in 2H crystals (antiparallel, H)" if antiparallel(interface) else ""
    said = [
        f"Layer {interface.upper} is shifted against layer {interface.lower} by {length:.3f} Å{turned}; the components "
        f"are along layer {interface.lower}'s a and across it."
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
    return said


def _twist(result: Result, interface: Interface) -> list[str]:
    turned = (
        f"Layer {interface.upper} is turned against layer {interface.lower} by {twist_degrees(interface)}, "
        "counter-clockwise as seen in the crystal frame."
    )
    period = moire_period(result, interface)
    moire = f" and repeats every {period / NM:.2f} nm (moiré)" if math.isfinite(period) else ""
    said = [turned, f"The two lattices have no common slip: their registry changes from place to place{moire}."]
    others = other_twists(result, interface)
    if others:
        said.append(
            f"Undecided: the image does not exclude {others.removeprefix('also ')}. Such twists have the same lattices "
            "and differ in the orientation of a layer's own atoms."
        )
    return said
