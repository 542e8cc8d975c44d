"""A result in some lines for the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from picostem.physics import DEGREE, KV, MRAD
from picostem.report.contents import written_files
from picostem.report.quantities import degrees, fixed, strain_percent, with_error
from picostem.report.registry import own_lattices
from picostem.report.words import headline, symbol

if TYPE_CHECKING:
    from picostem.resolve.result import Domain, FittedMicroscope, Interface, Result

INDENT = "  "


def summarise(result: Result, file: Path, folder: Path | None) -> str:
    """The result of one file; `folder` is where its files are, None if none were written."""
    head = headline(result)
    join = " " if head.fractions.startswith("=") else ", "
    finding = join.join(filter(None, (head.finding, head.fractions)))
    lines = [f"{file}: {head.subject}", finding, result.reason or "", "; ".join(head.facts)]
    lines += [*_strains(result), *_domains(result), *_orientation(result), *_pixel_size(result)]
    lines += [_microscope(result.microscope)] if result.microscope else []
    lines += [f"note: {note}" for note in result.image.notes]
    seconds = f"{result.seconds.get('total', 0.0):.1f} s"
    lines.append(f"{seconds}; {folder}: {', '.join(written_files(result))}" if folder is not None else seconds)
    return f"\n{INDENT}".join(line.strip() for line in lines if line.strip())


def _domains(result: Result) -> list[str]:
    return [
        f"domain {i + 1}{_of(result, interface)}: {100 * domain.share:.0f} % of the windows, "
        f"{_value(result, interface, domain)}"
        for interface, one in zip(result.interfaces, result.maps, strict=False)
        for i, domain in enumerate(one.domains if len(one.domains) > 1 else ())
    ]


def _of(result: Result, interface: Interface) -> str:
    return "" if len(result.interfaces) == 1 else f" of layers {interface.lower} and {interface.upper}"


def _value(result: Result, interface: Interface, domain: Domain) -> str:
    if own_lattices(interface):
        return f"{symbol(result, 'θ', interface)} = {degrees(domain.twist, domain.twist_sigma)}"
    error = float(np.sqrt(np.trace(domain.slip_covariance)))
    x, y = (fixed(float(v), 3) for v in domain.slip)
    return f"{symbol(result, 'D', interface)} = ({x}, {y}) ± {error:.3f} Å"


def _strains(result: Result) -> list[str]:
    said = [(interface, strain_percent(interface)) for interface in result.interfaces]
    return [f"strain{_of(result, interface)}: {strain}" for interface, strain in said if strain]


def _orientation(result: Result) -> list[str]:
    if not result.layers:
        return []
    first = result.layers[0]
    hand = "mirrored" if first.mirrored else "not mirrored"
    turns = [f"{fixed(layer.rotation / DEGREE % 360, 2)}°" for layer in result.layers]
    # Layers that lie alike are named once.
    alike = len(set(turns)) == 1
    return [f"orientation: a at {turns[0] if alike else ', '.join(turns)} from the rows, {hand}"]


def _pixel_size(result: Result) -> list[str]:
    size, lattice = result.image.pixel_size, result.pixel_size_lattice
    if size is None:
        return []
    shown = f"{size[0]:.5g}" if size[0] == size[1] else f"{size[0]:.5g} × {size[1]:.5g}"
    source = {"file": "from the file", "user": "as given", "lattice": "from the lattice"}
    line = f"pixel size: {shown} Å, {source[result.image.pixel_size_source or 'lattice']}"
    measured = lattice is not None and result.image.pixel_size_source != "lattice"
    return [line + (f"; the lattice says {lattice:.5g} Å" if measured else "")]


def _microscope(m: FittedMicroscope) -> str:
    source = {"file": "from the file", "user": "as given", "fitted": "fitted"}[m.source]
    optics = f"{m.voltage_eV / KV:g} kV, {with_error(m.semiangle / MRAD, m.semiangle_sigma / MRAD, 1)} mrad ({source})"
    return (
        f"microscope: {optics}, defocus {with_error(m.defocus, m.defocus_sigma)} Å, "
        f"astigmatism {with_error(m.C12, m.C12_sigma)} Å at {fixed(m.phi12 / DEGREE % 180, 0)}°, "
        f"coma {with_error(m.C21, m.C21_sigma)} Å at {fixed(m.phi21 / DEGREE % 360, 0)}°, "
        f"source {with_error(m.source_fwhm, m.source_fwhm_sigma)} Å"
    )
