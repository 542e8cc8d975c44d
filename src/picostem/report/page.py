"""The page of a result: one file that opens anywhere, without network or scripts."""

from __future__ import annotations

import base64
import math
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from picostem.physics import DEGREE, NM
from picostem.report.contents import FILES, written_files
from picostem.report.definitions import DEFINITIONS, LIMITS
from picostem.report.meaning import meaning
from picostem.report.page_tables import all_tables
from picostem.report.recipe import command_line, python_code
from picostem.report.registry import moire_period, own_lattices
from picostem.report.stacking import cell_model, resolved_stack
from picostem.report.words import headline, printable, status_counts, symbol
from picostem.resolve.result import SCHEMA

if TYPE_CHECKING:
    from picostem.resolve.result import Interface, Result

TEMPLATE = files("picostem.report") / "page.html.j2"


def render_page(result: Result, picture: bytes) -> str:
    """The page as HTML.

    Args:
        picture: the figure as a WebP file.
    """
    return fill(
        name=printable(result.image.name),
        verdict=result.verdict,
        head=headline(result),
        finding=_unbroken(headline(result).finding),
        tiles=_tiles(result),
        meaning=[printable(sentence) for sentence in meaning(result)],
        reason=printable(result.reason or ""),
        picture=picture,
        description=_description(result),
        tables=all_tables(result),
        settings=_settings(result),
        command=printable(command_line(result) or ""),
        code=python_code(result),
        files=_files(result),
        definitions=DEFINITIONS,
        limits=LIMITS,
        version=result.version,
        schema=SCHEMA,
        seconds=result.seconds.get("total", sum(result.seconds.values())),
    )


def fill(*, picture: bytes, **values: Any) -> str:
    """The page with a figure, a WebP file, and what else its template names."""
    from jinja2 import Environment, StrictUndefined

    # Everything that comes from outside is escaped by the template.
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text("utf-8"))
    return template.render(figure=base64.b64encode(picture).decode("ascii"), **values)


def _tiles(result: Result) -> list[tuple[str, str, str]]:
    """The numbers that say how far to trust the result: name, value, unit or remark."""
    tiles = []
    for interface in result.interfaces if result.verdict in ("slip", "twist") else ():
        tiles += _interface_tiles(result, interface)
    if result.quality is not None:
        tiles.append(("Misfit χ²", f"{result.quality.chi2_reduced:.2f}", "per degree of freedom"))
        tiles.append(("Explained", f"{100 * result.quality.explained:.1f} %", "of the Bragg power"))
    if result.map is not None:
        counts = status_counts(result)
        tiles.append(("Map", f"{counts.get('ok', 0)} / {len(result.map)}", "windows ok"))
    return tiles


def _interface_tiles(result: Result, interface: Interface) -> list[tuple[str, str, str]]:
    name = (
        "" if len(result.interfaces) == 1 else " " + symbol(result, "θ" if own_lattices(interface) else "D", interface)
    )
    if own_lattices(interface):
        period = moire_period(result, interface)
        tiles = [(f"Error{name}", f"{interface.twist_sigma / DEGREE:.4f}°", "one σ")]
        if interface.twist_bound > 0:
            tiles.append((f"Physical limit{name}", f"{interface.twist_bound / DEGREE:.4f}°", "Cramér-Rao"))
        return [*tiles, (f"Moiré{name}", f"{period / NM:.2f}" if math.isfinite(period) else "none", "nm, period")]
    return [
        (f"Error{name}", f"{interface.slip_sigma:.4f}", "Å, one σ"),
        (f"Physical limit{name}", f"{interface.slip_bound:.4f}", "Å, Cramér-Rao"),
        (f"Equivalents{name}", str(len(interface.equivalents)), "slips, one image"),
    ]


def _unbroken(text: str) -> str:
    """Numbers with their errors and units, which a line may only end between."""
    for pair in (" ± ", " Å", "D = ", "θ = ", "twisted "):
        text = text.replace(pair, pair.replace(" ", "\N{NO-BREAK SPACE}"))
    return text


def _description(result: Result) -> str:
    """What the figure shows, for those who cannot see it."""
    head = headline(result)
    return printable(" ".join(["Figure:", head.subject, head.finding, head.fractions, *head.facts]))


def _settings(result: Result) -> list[tuple[str, str]]:
    shown = {None: "not given"}
    return [(name, printable(str(shown.get(value, value)))) for name, value in result.settings.as_dict().items()]  # type: ignore[call-overload]


def _files(result: Result) -> list[tuple[str, str]]:
    listed = {name: FILES[name] for name in written_files(result)}
    if "stack.cif" in listed:
        listed["stack.cif"] = f"the resolved model, {cell_model(resolved_stack(result.layers)).note}"
    return list(listed.items())
