"""The keys beside the figure's panels: pairs of a word and what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from picostem.physics import DEGREE, KV, MRAD, NM
from picostem.report.panel_map import domain_name, typical_sigma
from picostem.report.panel_twist import moire_period
from picostem.report.words import fixed, formula, status_counts, with_error

if TYPE_CHECKING:
    from picostem.resolve.result import Result

Lines = list[tuple[str, str]]

MAX_DOMAINS = 5
"""Listed beside the map; the largest come first."""


def map_key(result: Result) -> Lines:
    """What the panels of a slip show, the most important first."""
    slip_map = result.map
    assert slip_map is not None
    counts = status_counts(result)
    others = ", ".join(f"{n} {name}" for name, n in counts.items() if name != "ok")
    lines = [
        ("Windows", f"{slip_map.window / NM:.3g} nm wide, {slip_map.stride / NM:.3g} nm apart"),
        ("", f"{counts.get('ok', 0)} ok" + (f"; hatched: {others}" if others else "")),
        ("Error", f"{typical_sigma(slip_map):.3f} Å a window (line on the bar)"),
        ("Spread", f"{result.interfaces[0].slip_spread:.3f} Å beyond the errors"),
    ]
    domains = slip_map.domains if len(slip_map.domains) > 1 else ()
    for index, domain in enumerate(domains[:MAX_DOMAINS]):
        x, y = (fixed(float(v), 3) for v in domain.slip)
        lines.append((f"Domain {domain_name(index)}", f"({x}, {y}) Å, {100 * domain.share:.0f} %"))
    if len(domains) > MAX_DOMAINS:
        lines.append(("", f"and {len(domains) - MAX_DOMAINS} more"))
    return [
        *lines,
        *_probe(result),
        ("Arrows", "deviation from D, image frame"),
        ("Ellipses", "95 %: solid a mean, dashed one window"),
        ("Circles", f"the {len(result.interfaces[0].equivalents)} slips that give this image"),
    ]


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


def twist_key(result: Result) -> Lines:
    """What follows from a twist."""
    lines = []
    for i, layer in enumerate(result.layers):
        a, b = np.linalg.norm(layer.rows, axis=1)
        name = formula(layer.monolayer.name)
        lines.append((f"Layer {i + 1}", f"{name}, a = {a:.3f} Å, b = {b:.3f} Å as measured"))
        lines.append(("", f"turned by {fixed(layer.rotation / DEGREE, 2)}° in the image"))
    period = moire_period(result.layers[0], result.layers[1])
    lines.append(("Moiré", f"period {period / NM:.2f} nm" if np.isfinite(period) else "none"))
    return lines + _probe(result)


def plain_key(result: Result) -> Lines:
    """What was looked for where nothing was found."""
    rows, cols = result.image.data.shape
    size = result.image.pixel_size
    lines = [
        ("Looked for", formula(result.settings.material)),
        ("Image", f"{rows} × {cols} pixels"),
        ("Pixel size", "unknown" if size is None else f"{size[1]:.4g} Å, from the {result.image.pixel_size_source}"),
    ]
    return lines + [("Note", note) for note in result.image.notes]
