"""The page of a result: one file that opens anywhere, without network or scripts."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from picostem.physics import DEGREE, KV, MRAD, NM
from picostem.report.contents import FILES, written_files
from picostem.report.key import MAX_DOMAINS
from picostem.report.panel_map import domain_name
from picostem.report.panel_twist import moire_period
from picostem.report.recipe import command_line, python_code
from picostem.report.stacking import periodic_cell, resolved_stack
from picostem.report.words import (
    fixed,
    formula,
    headline,
    meaning,
    printable,
    slip_cartesian,
    slip_fractions,
    status_counts,
    twist_degrees,
    with_error,
)
from picostem.resolve.result import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from picostem.resolve.result import FittedMicroscope, Interface, Result

TEMPLATE = files("picostem.report") / "page.html.j2"


@dataclass(frozen=True)
class Table:
    """A table of the page: a title, column heads (none for pairs of name and value), rows, and a line below."""

    title: str
    rows: Sequence[tuple[str, ...]]
    heads: tuple[str, ...] = ()
    note: str = ""


def render_page(result: Result, picture: bytes) -> str:
    """The page as HTML.

    Args:
        picture: the figure as a WebP file.
    """
    from jinja2 import Environment, StrictUndefined

    # Everything that comes from outside is escaped by the template.
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text("utf-8"))
    tables = [_image(result), *_interfaces(result), *_domains(result), _quality(result), _microscope(result)]
    return template.render(
        name=printable(result.image.name),
        verdict=result.verdict,
        head=headline(result),
        finding=_unbroken(headline(result).finding),
        tiles=_tiles(result),
        meaning=[printable(sentence) for sentence in meaning(result)],
        reason=printable(result.reason or ""),
        figure=base64.b64encode(picture).decode("ascii"),
        description=_description(result),
        tables=[table for table in tables if table.rows],
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


def _tiles(result: Result) -> list[tuple[str, str, str]]:
    """The numbers that say how far to trust the result: name, value, unit or remark."""
    tiles = []
    if result.verdict == "slip" and result.interfaces:
        interface = result.interfaces[0]
        tiles.append(("Error", f"{interface.slip_sigma:.4f}", "Å, one σ"))
        tiles.append(("Physical limit", f"{interface.slip_bound:.4f}", "Å, Cramér-Rao"))
        tiles.append(("Equivalents", str(len(interface.equivalents)), "slips, one image"))
    if result.verdict == "twist" and result.interfaces:
        period = moire_period(result.layers[0], result.layers[1])
        tiles.append(("Error", f"{result.interfaces[0].twist_sigma / DEGREE:.3f}°", "one σ"))
        tiles.append(("Moiré", f"{period / NM:.2f}" if np.isfinite(period) else "none", "nm, period"))
    if result.quality is not None:
        tiles.append(("Misfit χ²", f"{result.quality.chi2_reduced:.2f}", "per degree of freedom"))
        tiles.append(("Explained", f"{100 * result.quality.explained:.1f} %", "of the Bragg power"))
    if result.map is not None:
        counts = status_counts(result)
        tiles.append(("Map", f"{counts.get('ok', 0)} / {len(result.map)}", "windows ok"))
    return tiles


def _unbroken(text: str) -> str:
    """Numbers with their errors and units, which a line may only end between."""
    for pair in (" ± ", " Å", "D = ", "θ = "):
        text = text.replace(pair, pair.replace(" ", "\N{NO-BREAK SPACE}"))
    return text


def _description(result: Result) -> str:
    """What the figure shows, for those who cannot see it."""
    head = headline(result)
    return printable(" ".join(["Figure:", head.subject, head.finding, head.fractions, *head.facts]))


def _image(result: Result) -> Table:
    image, size = result.image, result.image.pixel_size
    rows = [("File", printable(str(image.path or image.name)))]
    rows.append(("Pixels", f"{image.data.shape[0]} rows × {image.data.shape[1]} columns"))
    if size is not None:
        both = f"{size[0]:.5g} Å" if size[0] == size[1] else f"{size[0]:.5g} Å × {size[1]:.5g} Å (row, column)"
        rows.append(("Pixel size", f"{both}, from the {image.pixel_size_source}"))
        height, width = image.data.shape[0] * size[0] / NM, image.data.shape[1] * size[1] / NM
        rows.append(("Field", f"{width:.4g} nm × {height:.4g} nm"))
    else:
        rows.append(("Pixel size", "unknown"))
    if result.pixel_size_lattice is not None:
        rows.append(("Pixel size by the lattice", f"{result.pixel_size_lattice:.5g} Å"))
    rows += [("Note", printable(note)) for note in image.notes]
    return Table("Image", rows)


def _interfaces(result: Result) -> list[Table]:
    return [_interface(result, interface) for interface in result.interfaces]


def _interface(result: Result, interface: Interface) -> Table:
    lower, upper = (result.layers[i - 1] for i in (interface.lower, interface.upper))
    rows = [
        ("Lower layer", _layer_words(result, interface.lower)),
        ("Upper layer", _layer_words(result, interface.upper)),
    ]
    if result.verdict == "slip":
        cov = interface.slip_covariance
        rows += [
            ("Slip D, Cartesian", slip_cartesian(interface)),
            ("Slip D, fractions", slip_fractions(interface, lower.monolayer.cell)),
            ("Covariance", f"xx {cov[0, 0]:.2e}, xy {cov[0, 1]:.2e}, yy {cov[1, 1]:.2e} Å²".replace("-", "−")),
            ("Cramér-Rao bound", f"{interface.slip_bound:.4f} Å"),
            ("Spread between windows", f"{interface.slip_spread:.4f} Å beyond their errors"),
            ("Equivalent slips", "; ".join(_pair(slip) for slip in interface.equivalents) + " Å"),
        ]
    rows.append(("Twist", twist_degrees(interface)))
    spacing = (lower.monolayer.layer_spacing + upper.monolayer.layer_spacing) / 2
    rows.append(("Layer distance in the model", f"{spacing:.3f} Å, the bulk crystal's"))
    title = "Interface" if len(result.interfaces) == 1 else f"Interface {interface.lower}/{interface.upper}"
    return Table(title, rows)


def _layer_words(result: Result, number: int) -> str:
    layer = result.layers[number - 1]
    hand = ", seen mirrored" if layer.mirrored else ""
    return f"{formula(layer.monolayer.name)}, a at {fixed(layer.rotation / DEGREE, 2)}° in the image{hand}"


def _pair(vector: np.ndarray[tuple[int], np.dtype[np.float64]]) -> str:
    return f"({fixed(float(vector[0]), 3)},\N{NO-BREAK SPACE}{fixed(float(vector[1]), 3)})"


def _domains(result: Result) -> list[Table]:
    domains = result.map.domains if result.map is not None else ()
    if len(domains) < 2:
        return []
    rows = []
    for index, domain in enumerate(domains):
        sigma = float(np.sqrt(np.trace(domain.slip_covariance)))
        place = f"{_pair(domain.centre / NM)} nm"
        share = f"{100 * domain.share:.0f} %"
        rows.append((domain_name(index), f"{_pair(domain.slip)} Å", f"{sigma:.4f} Å", share, place))
    beyond = f"The figure lists the first {MAX_DOMAINS}." if len(rows) > MAX_DOMAINS else ""
    return [Table("Domains", rows, ("", "Slip", "Error (1σ)", "Share", "Centre in the image"), beyond)]


def _quality(result: Result) -> Table:
    if result.quality is None:
        return Table("Fit", [])
    quality = result.quality
    rows = [
        ("Engine", quality.engine),
        ("χ² per degree of freedom", f"{quality.chi2_reduced:.3f}"),
        ("Bragg power explained", f"{100 * quality.explained:.2f} %"),
    ]
    for status, count in status_counts(result).items():
        rows.append((f"Windows {status}", str(count)))
    for other in quality.alternatives:
        detail = f" ({other.detail})" if other.detail else ""
        rows.append((f"Instead: {other.hypothesis}", f"Δχ² = {fixed(other.delta_chi2, 1)}{detail}"))
    note = "Δχ²: how much worse the other reading fits (negative: better)." if quality.alternatives else ""
    return Table("Fit", [(printable(name), printable(value)) for name, value in rows], note=note)


def _microscope(result: Result) -> Table:
    m = result.microscope
    if m is None:
        return Table("Microscope", [])
    where = {"file": "from the file", "user": "as given", "fitted": "fitted"}[m.source]
    rows = [
        ("Voltage", f"{m.voltage_eV / KV:.4g} kV ({where})"),
        ("Semiangle", f"{with_error(m.semiangle / MRAD, m.semiangle_sigma / MRAD)} mrad ({where})"),
        *_aberrations(m),
        ("Source, full width at half maximum", f"{with_error(m.source_fwhm, m.source_fwhm_sigma)} Å"),
    ]
    return Table("Microscope", rows, note="Aberrations at the mid-plane of layer 1, signs as in abTEM; errors 1σ.")


def _aberrations(m: FittedMicroscope) -> list[tuple[str, str]]:
    return [
        ("Defocus", f"{with_error(m.defocus, m.defocus_sigma)} Å"),
        ("Astigmatism C12", f"{with_error(m.C12, m.C12_sigma)} Å at {fixed(m.phi12 / DEGREE, 0)}°"),
        ("Coma C21", f"{with_error(m.C21, m.C21_sigma)} Å at {fixed(m.phi21 / DEGREE, 0)}°"),
    ]


def _settings(result: Result) -> list[tuple[str, str]]:
    shown = {None: "not given"}
    return [(name, printable(str(shown.get(value, value)))) for name, value in result.settings.as_dict().items()]  # type: ignore[call-overload]


def _files(result: Result) -> list[tuple[str, str]]:
    listed = {name: FILES[name] for name in written_files(result)}
    if "stack.cif" in listed and not periodic_cell(resolved_stack(result.layers))[1]:
        listed["stack.cif"] = "the resolved model, a piece in empty space: the layers have no common lattice"
    return list(listed.items())


DEFINITIONS = (
    ("Slip D", "translation of the upper layer relative to the lower one, in the lower layer's crystal frame, as "
     "Cartesian x, y in Å and as D = Da a + Db b."),
    ("Crystal frame", "a along +x, b at the angle γ counter-clockwise from it."),
    ("Image frame", "x to the right, y up, origin at the image's centre; column = (columns − 1)/2 + x/pixel size, "
     "row = (rows − 1)/2 − y/pixel size."),
    ("From crystal to image", "r = R(rotation) · M · r_crystal + origin, M = diag(1, −1) if it is seen mirrored."),
    ("Twist θ", "rotation of the upper layer relative to the lower one, counter-clockwise in the crystal frame; for "
     "2H layers 0° is parallel (R), 60° antiparallel (H)."),
    ("Equivalent slips", "stackings that give the same projected image: identical layers can be exchanged (D and −D), "
     "lattice vectors can be added, and the layer's own symmetry acts on D."),
    ("Error", "1σ from the Fisher information of the fit, widened where the residual is larger than the noise. The "
     "single number is the square root of the covariance's trace. Ellipses hold 95 %."),
    ("χ²", "squared misfit of the lattice harmonics over their noise, per degree of freedom; 1 for a perfect model."),
    ("Window status", "ok; edge (the layers fill only part of it); unresolved (too noisy); vacuum (no lattice); "
     "untrusted (the model misses more than the noise)."),
)  # fmt: skip

LIMITS = (
    "Which layer is on top shows only through the focus; the layers' distance is the bulk crystal's and not measured.",
    "The model is linear incoherent imaging of perfect layers. Holes, dirt and strong aberrations raise χ².",
    "Slips vary within a window that lies across a boundary; such windows are marked, not averaged.",
)
