"""A result in some lines for the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from picostem.physics import DEGREE, KV, MRAD
from picostem.report.contents import written_files
from picostem.report.words import fixed, headline, with_error

if TYPE_CHECKING:
    from picostem.resolve.result import FittedMicroscope, Result

INDENT = "  "


def summarise(result: Result, file: Path, folder: Path | None) -> str:
    """The result of one file; `folder` is where its files are, None if none were written."""
    head = headline(result)
    lines = [f"{file}: {head.subject}", f"{head.finding} {head.fractions}", result.reason or "", "; ".join(head.facts)]
    lines += [*_domains(result), *_orientation(result), *_pixel_size(result)]
    lines += [_microscope(result.microscope)] if result.microscope else []
    lines += [f"note: {note}" for note in result.image.notes]
    seconds = f"{result.seconds.get('total', 0.0):.1f} s"
    lines.append(f"{seconds}; {folder}: {', '.join(written_files(result))}" if folder is not None else seconds)
    return f"\n{INDENT}".join(line.strip() for line in lines if line.strip())


def _domains(result: Result) -> list[str]:
    if result.map is None or len(result.map.domains) < 2:
        return []
    return [
        f"domain {i + 1}: {100 * domain.share:.0f} % of the windows, D = "
        f"({fixed(domain.slip[0], 3)}, {fixed(domain.slip[1], 3)}) ± "
        f"{float(np.sqrt(np.trace(domain.slip_covariance))):.3f} Å"
        for i, domain in enumerate(result.map.domains)
    ]


def _orientation(result: Result) -> list[str]:
    if not result.layers:
        return []
    first = result.layers[0]
    hand = "mirrored" if first.mirrored else "not mirrored"
    return [f"orientation: a at {fixed(first.rotation / DEGREE % 360, 2)}° from the rows, {hand}"]


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
