"""The keys beside the figure's panels: pairs of a word and what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from picostem.physics import DEGREE, KV, MRAD, NM
from picostem.report.panel_map import domain_name, typical_sigma
from picostem.report.quantities import degrees, fixed, formula, strain_percent, twist_degrees, with_error
from picostem.report.registry import antiparallel, moire_period, own_lattices
from picostem.report.words import looked_for, other_twists, status_counts, symbol

if TYPE_CHECKING:
    from picostem.resolve.result import Domain, Interface, Result, SlipMap

Lines = list[tuple[str, str]]

MAX_DOMAINS = 5
"""Listed beside the map; the largest come first."""


def slip_key(result: Result) -> Lines:
    """What the panels of slips show, the most important first."""
    lines = _windows(result)
    for interface, one in zip(result.interfaces, result.maps, strict=False):
        name = "" if len(result.interfaces) == 1 else symbol(result, "D", interface)
        lines += [
            (name or "Error", f"{typical_sigma(one):.3f} Å a window (line on the bar)"),
            ("" if name else "Spread", f"{interface.slip_spread:.3f} Å beyond the errors"),
            *_domains(one, own=False),
        ]
        if antiparallel(interface):
            lines.append(("" if name else "Order", "antiparallel (H): turned by 60°"))
    lines += [*_probe(result), ("Arrows", "on the map: deviation from D, image frame")]
    if len(result.interfaces) > 1:
        return lines
    many = len(result.interfaces[0].equivalents)
    circles = ("Circles", f"the {many} slips that give this image" if many > 1 else "the only slip of this image")
    return [*lines, ("Ellipses", "95 %: solid a mean, dashed one window"), circles]


def twist_key(result: Result) -> Lines:
    """What follows from a twist, and what the panels show."""
    lines = []
    for interface in result.interfaces:
        lines += _twisted(result, interface) if own_lattices(interface) else _aligned(result, interface)
    lines += _windows(result)
    for interface, one in zip(result.interfaces, result.maps, strict=False):
        lines += _domains(one, own=own_lattices(interface))
    lines += _layers(result)
    if any(own_lattices(interface) for interface in result.interfaces):
        lines.append(("Outline", "one cell of the moiré, from AA to AA"))
    return lines + _probe(result)


def _twisted(result: Result, interface: Interface) -> Lines:
    lines = [(symbol(result, "θ", interface), f"{twist_degrees(interface)} (1σ)")]
    if interface.twist_bound > 0:
        lines.append(("", f"bound {interface.twist_bound / DEGREE:.4f}° (Cramér-Rao)"))
    others = other_twists(result, interface)
    if others:
        lines.append(("", f"undecided: {others}"))
    period = moire_period(result, interface)
    lines.append(("Moiré", f"period {period / NM:.2f} nm" if np.isfinite(period) else "none"))
    strain = strain_percent(interface)
    return lines + ([("Strain", strain)] if strain else [])


def _aligned(result: Result, interface: Interface) -> Lines:
    x, y = (fixed(float(v), 3) for v in interface.slip)
    hand = "; antiparallel (H)" if antiparallel(interface) else ""
    return [(symbol(result, "D", interface), f"({x}, {y}) Å{hand}")]


def _windows(result: Result) -> Lines:
    slip_map = result.map
    if slip_map is None:
        return []
    counts = status_counts(result)
    others = ", ".join(f"{n} {name}" for name, n in counts.items() if name != "ok")
    return [
        ("Windows", f"{slip_map.window / NM:.3g} nm wide, {slip_map.stride / NM:.3g} nm apart"),
        ("", f"{counts.get('ok', 0)} ok" + (f"; hatched: {others}" if others else "")),
    ]


def _domains(slip_map: SlipMap, own: bool) -> Lines:
    domains = slip_map.domains if len(slip_map.domains) > 1 else ()
    lines = [
        (f"Domain {domain_name(index)}", f"{domain_value(domain, own)}, {100 * domain.share:.0f} %")
        for index, domain in enumerate(domains[:MAX_DOMAINS])
    ]
    return lines + ([("", f"and {len(domains) - MAX_DOMAINS} more")] if len(domains) > MAX_DOMAINS else [])


def domain_value(domain: Domain, own: bool) -> str:
    """The twist of a domain of layers with lattices of their own, the slip of others."""
    if own:
        return degrees(domain.twist, domain.twist_sigma)
    x, y = (fixed(float(v), 3) for v in domain.slip)
    return f"({x}, {y}) Å"


def _layers(result: Result) -> Lines:
    lines = []
    for i, layer in enumerate(result.layers):
        a, b = np.linalg.norm(layer.rows, axis=1)
        turn = fixed(layer.rotation / DEGREE, 2)
        lines.append((f"Layer {i + 1}", f"{formula(layer.monolayer.name)}, {a:.3f} × {b:.3f} Å, a at {turn}°"))
    return lines


def _probe(result: Result) -> Lines:
    """The microscope, as known or fitted."""
    m = result.microscope
    if m is None:
        return []
    c12, c21 = (f"{n} {with_error(v, s)} Å" for n, v, s in (("C12", m.C12, m.C12_sigma), ("C21", m.C21, m.C21_sigma)))
    return [
        ("Probe", f"{m.voltage_eV / KV:.4g} kV, {m.semiangle / MRAD:.1f} mrad ({m.source})"),
        ("", f"defocus {with_error(m.defocus, m.defocus_sigma)} Å"),
        ("", f"{c12}, {c21}"),
    ]


def plain_key(result: Result) -> Lines:
    """What was looked for where nothing was found."""
    rows, cols = result.image.data.shape
    size = result.image.pixel_size
    lines = [
        ("Looked for", looked_for(result.settings.material)),
        ("Image", f"{rows} × {cols} pixels"),
        ("Pixel size", "unknown" if size is None else f"{size[1]:.4g} Å, from the {result.image.pixel_size_source}"),
    ]
    return lines + [("Note", note) for note in result.image.notes]
