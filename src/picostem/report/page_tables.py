"""The tables of the page: image, interfaces, domains, fit and microscope."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from picostem.physics import DEGREE, KV, MRAD, NM
from picostem.report.key import MAX_DOMAINS
from picostem.report.panel_map import domain_name
from picostem.report.quantities import (
    degrees,
    fixed,
    formula,
    slip_cartesian,
    slip_fractions,
    strain_percent,
    twist_degrees,
    with_error,
)
from picostem.report.registry import antiparallel, layers_of, moire_period, own_lattices
from picostem.report.words import other_twists, printable, status_counts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from picostem.resolve.result import Domain, FittedMicroscope, Interface, Result


@dataclass(frozen=True)
class Table:
    """A table of the page: a title, column heads (none for pairs of name and value), rows, and a line below."""

    title: str
    rows: Sequence[tuple[str, ...]]
    heads: tuple[str, ...] = ()
    note: str = ""


def all_tables(result: Result) -> list[Table]:
    """The tables of a result that have something to say."""
    tables = [_image(result), *_interfaces(result), *_domains(result), _quality(result), _microscope(result)]
    return [table for table in tables if table.rows]


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
    if result.verdict == "monolayer":
        return [_hidden(result, interface) for interface in result.interfaces]
    return [_interface(result, interface) for interface in result.interfaces]


def _hidden(result: Result, interface: Interface) -> Table:
    """The slip that a second layer could have without being seen."""
    rows = [
        ("Slip D, Cartesian", slip_cartesian(interface)),
        ("Slip D, fractions", slip_fractions(interface, result.layers[0].monolayer.cell)),
        ("Cramér-Rao bound", f"{interface.slip_bound:.4f} Å"),
    ]
    return Table("If there were a second layer", rows, note="The slip, nearly eclipsed, that would look most alike.")


def _interface(result: Result, interface: Interface) -> Table:
    lower, upper = layers_of(result, interface)
    rows = [
        ("Lower layer", _layer_words(result, interface.lower)),
        ("Upper layer", _layer_words(result, interface.upper)),
    ]
    rows += _twist_rows(result, interface) if own_lattices(interface) else _slip_rows(result, interface)
    spacing = (lower.monolayer.layer_spacing + upper.monolayer.layer_spacing) / 2
    rows.append(("Layer distance in the model", f"{spacing:.3f} Å, the bulk crystal's"))
    title = "Interface" if len(result.interfaces) == 1 else f"Interface {interface.lower}/{interface.upper}"
    return Table(title, rows)


def _slip_rows(result: Result, interface: Interface) -> list[tuple[str, str]]:
    cov = interface.slip_covariance
    hand = " (antiparallel, H)" if antiparallel(interface) else ""
    return [
        ("Slip D, Cartesian", slip_cartesian(interface)),
        ("Slip D, fractions", slip_fractions(interface, layers_of(result, interface)[0].monolayer.cell)),
        ("Covariance", f"xx {cov[0, 0]:.2e}, xy {cov[0, 1]:.2e}, yy {cov[1, 1]:.2e} Å²".replace("-", "−")),
        ("Cramér-Rao bound", f"{interface.slip_bound:.4f} Å"),
        ("Spread between windows", f"{interface.slip_spread:.4f} Å beyond their errors"),
        ("Equivalent slips", "; ".join(_pair(slip) for slip in interface.equivalents) + " Å"),
        ("Twist", f"{fixed(interface.twist / DEGREE, 2)}°, with one lattice{hand}"),
    ]


def _twist_rows(result: Result, interface: Interface) -> list[tuple[str, str]]:
    period, strain = moire_period(result, interface), strain_percent(interface)
    rows = [("Twist θ", twist_degrees(interface))]
    if interface.twist_bound > 0:
        rows.append(("Cramér-Rao bound", f"{interface.twist_bound / DEGREE:.5f}°"))
    others = other_twists(result, interface)
    rows.append(("Undecided" if others else "Other twists", others or "none that the image does not exclude"))
    rows.append(("Moiré period", f"{period / NM:.3f} nm" if np.isfinite(period) else "none"))
    if interface.moire is not None:
        vectors = "; ".join(_pair(vector / NM) for vector in interface.moire)
        rows.append(("Moiré vectors, crystal frame", f"{vectors} nm"))
    words = f"{strain}, beyond what the materials imply" if strain else "not measured"
    return [*rows, ("Strain of the upper layer", words)]


def _layer_words(result: Result, number: int) -> str:
    layer = result.layers[number - 1]
    hand = ", seen mirrored" if layer.mirrored else ""
    return f"{formula(layer.monolayer.name)}, a at {fixed(layer.rotation / DEGREE, 2)}° in the image{hand}"


def _pair(vector: np.ndarray[tuple[int], np.dtype[np.float64]]) -> str:
    return f"({fixed(float(vector[0]), 3)},\N{NO-BREAK SPACE}{fixed(float(vector[1]), 3)})"


def _domains(result: Result) -> list[Table]:
    tables = []
    for interface, one in zip(result.interfaces, result.maps, strict=False):
        if len(one.domains) > 1:
            own = own_lattices(interface)
            rows = [_domain(index, domain, own) for index, domain in enumerate(one.domains)]
            beyond = f"The figure lists the first {MAX_DOMAINS}." if len(rows) > MAX_DOMAINS else ""
            heads = ("", "Twist" if own else "Slip", "Error (1σ)", "Share", "Centre in the image")
            title = "Domains" if len(result.maps) == 1 else f"Domains of interface {interface.lower}/{interface.upper}"
            tables.append(Table(title, rows, heads, beyond))
    return tables


def _domain(index: int, domain: Domain, own: bool) -> tuple[str, ...]:
    place, share = f"{_pair(domain.centre / NM)} nm", f"{100 * domain.share:.0f} %"
    if own:
        error = f"{domain.twist_sigma / DEGREE:.4f}°"
        return domain_name(index), degrees(domain.twist, domain.twist_sigma).split(" ±")[0], error, share, place
    sigma = float(np.sqrt(np.trace(domain.slip_covariance)))
    return domain_name(index), f"{_pair(domain.slip)} Å", f"{sigma:.4f} Å", share, place


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
