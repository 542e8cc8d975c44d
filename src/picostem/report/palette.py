"""Colours and lettering of the figure, for light paper, and readable with any kind of colour vision."""

from __future__ import annotations

from typing import Any

LAYERS = ("#E8590C", "#1C7ED6", "#2B8A3E")
"""Of layers 1, 2, 3: orange, blue, green; apart for deuteranopes and protanopes, also on grey."""

DOMAINS = ("#3B528B", "#D1495B", "#2A9D8F", "#E9A23B", "#7B5EA7", "#6C757D", "#8C5A2B", "#52B2CF")
"""Of the domains A, B, ..."""

INK, FAINT, RULE, PAPER = "#1B1F24", "#5C6670", "#C9CFD6", "#FFFFFF"
"""Text, secondary text, thin lines, background."""

WARNING = "#B54708"
"""Headline where nothing was found."""

BLANK = "#E9ECEF"
"""Ground of a map where there is no window."""

MAGNITUDE, SIGNED = "viridis", "RdBu_r"
"""Colour maps of lengths and of signed differences."""

DIRECTIONS = ("#D98200", "#8FA03A", "#3FA7C4", "#2459C9", "#1B1464", "#5B1A4E")
"""From +x counter-clockwise in equal steps, and round again."""

DPI = 150

FAMILY = "DejaVu Sans"
"""Comes with matplotlib, so that the figure looks the same everywhere."""

STYLE: Any = {
    "font.family": FAMILY,
    "font.size": 9.0,
    "text.color": INK,
    "text.usetex": False,
    "text.parse_math": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.titlesize": 10.0,
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
    "axes.facecolor": PAPER,
    "figure.facecolor": PAPER,
    "figure.dpi": DPI,
    "hatch.linewidth": 0.6,
    "image.interpolation": "auto",
    "lines.solid_capstyle": "round",
    "path.simplify": True,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
}
"""What the figure sets of matplotlib's parameters, on top of matplotlib's own defaults."""
