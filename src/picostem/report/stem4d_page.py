"""The page of `picostem 4d`: one file that opens anywhere, in the layout of a resolved image's page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from picostem.physics import DEGREE
from picostem.report.page import fill
from picostem.report.page_tables import Table
from picostem.report.words import Headline, printable
from picostem.stem4d.analysis import SCHEMA, ExploreSettings
from picostem.version import VERSION

if TYPE_CHECKING:
    from picostem.stem4d.analysis import Analysis, Learned

DEFINITIONS = (
    ("Frame", "x to the right and y up in the scan; angles counter-clockwise from x."),
    ("Centre of mass", "Σ I p / Σ I over a pattern's pixels, from the optic axis, with its error by shot noise."),
    ("Phase", "The map whose gradient over 2π is the centre of mass (integrated DPC), a plane of descan taken off."),
    ("Orientation of order m", "−arg T_m / m of the pattern's angular harmonic T_m, modulo 360°/m; coloured by it."),
    ("Strength of order m", "|T_m| over the counts, what noise adds to it taken off; rings weigh up to 1."),
    ("Breaking", "Root of the power in all harmonics that the symmetry forbids, over the counts, noise taken off."),
    ("Latents z", "What the autoencoder tells of a pattern beside its orientation; 1 is the spread of the prior."),
    ("Angle", "The pattern's orientation against the template of its latents, modulo 360°/n of the declared symmetry."),
    (
        "Nats",
        "How much a latent tells, and by how much patterns are likelier with an orientation than round.",
    ),
    ("ρ, mutual information", "Spearman's rank correlation; what one map tells of another, 0 where nothing."),
)
LIMITS = (
    "Errors are those of shot noise: they hold for electrons counted one by one, or with electrons per count given.",
    "A uniform field looks like descan; where a plane is taken off, it goes with it.",
    "Latents and clusters describe what differs between patterns, whatever the cause: thickness, dirt and drift too.",
    "The phase is the specimen's only where that is thin; a longer period than the scan is not seen.",
)


def render_page(analysis: Analysis, picture: bytes, files: Mapping[str, str]) -> str:
    """The page as HTML.

    Args:
        picture: the figure as a WebP file. files: what lies in the folder, and what each file holds.
    """
    scan = analysis.scan
    size = f"{scan.shape[0]} × {scan.shape[1]} patterns of {scan.detector.shape[0]} × {scan.detector.shape[1]} pixels"
    tables = [_data(analysis), _autoencoder(analysis), _maps(analysis), _agreement(analysis)]
    notes = Table("Notes", [(f"{k}", printable(note)) for k, note in enumerate(analysis.notes, 1)])
    return fill(
        name=printable(scan.name),
        verdict="4d",
        head=Headline("4D-STEM", "", size, ()),
        finding="",
        tiles=_tiles(analysis),
        meaning=[],
        reason="",
        picture=picture,
        description=f"Figure: mean pattern and maps of {printable(scan.name)}, {size}",
        tables=[table for table in (*tables, notes) if table.rows],
        settings=[(name, _setting(value)) for name, value in asdict(analysis.settings).items()],
        command="",
        code=_code(analysis),
        files=list(files.items()),
        definitions=DEFINITIONS,
        limits=LIMITS,
        version=VERSION,
        schema=SCHEMA,
        seconds=analysis.seconds,
    )


def _setting(value: object) -> str:
    return "not given" if value is None else printable(str(value))


def _tiles(analysis: Analysis) -> list[tuple[str, str, str]]:
    """The numbers that say how far to trust the maps: name, value, unit or remark."""
    tiles = []
    if analysis.com is not None:
        electrons = analysis.settings.electrons_per_count * float(np.median(analysis.com.counts))
        error = analysis.com.error * (analysis.scan.detector.mrad or 1.0)
        tiles.append(("Electrons", f"{electrons:.4g}", "in a pattern, median"))
        tiles.append(
            ("Error of the CoM", f"{np.nanmedian(error):.2g}", f"{analysis.momentum_unit}, one σ by shot noise")
        )
    if analysis.learned is not None:
        found, alarms = analysis.learned.found, analysis.learned.alarms
        tiles.append(("Error of the angle", f"{np.median(found.angle_sigma) / DEGREE:.2g}°", "one σ, autoencoder"))
        tiles.append(("Latents tell", f"{sum(alarms.latents):.2g}", "nats on average"))
        tiles.append(("Orientation gains", f"{alarms.angle:.2g}", "nats on average"))
        tiles.append(("Clusters", str(len(np.unique(analysis.learned.clusters))), "of the latents"))
    return tiles


def _data(analysis: Analysis) -> Table:
    scan, detector = analysis.scan, analysis.scan.detector
    rows = [
        ("Numbers", f"{scan.data.dtype}, {'counts' if analysis.counted else 'no counts: negative ones among them'}")
    ]
    step = "unknown" if scan.step_A is None else f"{scan.step_A[0]:.4g} Å × {scan.step_A[1]:.4g} Å (row, column)"
    rows.append(("Step of the scan", step))
    row, column = detector.centre
    rows.append(("Optic axis", f"row {row:.2f}, column {column:.2f}"))
    if analysis.disk is not None:
        rows.append(("Bright disk", f"radius {analysis.disk.radius:.2f} pixels"))
    pixel = float(np.sqrt(abs(np.linalg.det(np.asarray(detector.matrix)))))
    calibrated = detector.unit != "px"
    rows.append(("Detector pixel", f"{pixel:.5g} {detector.unit}" if calibrated else "not calibrated"))
    if detector.voltage_eV is not None:
        rows.append(("Voltage", f"{detector.voltage_eV / 1e3:g} kV"))
    if analysis.rotation is not None:
        flip = ", flipped" if analysis.rotation.flip else ""
        rows.append(
            ("Scan rotation", f"{analysis.rotation.angle / DEGREE:.1f} ± {analysis.rotation.error / DEGREE:.1f}°{flip}")
        )
    rows.append(("Outermost ring", f"{analysis.harmonics.radii[-1]:.4g} {detector.unit}"))
    return Table("Data", rows)


def _maps(analysis: Analysis) -> Table:
    rows = []
    for name, values in analysis.maps().items():
        known = values[np.isfinite(values)]
        if values.dtype.kind == "f" and len(known):
            rows.append((name, *(f"{one:.3g}" for one in np.quantile(known, (0.05, 0.5, 0.95)))))
    return Table("Maps", rows, ("column", "5 %", "median", "95 %"), "As in maps.parquet, over all positions.")


def _autoencoder(analysis: Analysis) -> Table:
    if analysis.learned is None:
        return Table("Autoencoder", [])
    learned: Learned = analysis.learned
    alarms, found = learned.alarms, learned.found
    rows: list[tuple[str, str]] = [("Likelihood", learned.model.settings.likelihood)]
    for k, (nats, active) in enumerate(zip(alarms.latents, alarms.active, strict=True)):
        rows.append((f"z{k}", f"{nats:.2f} nats, {'active' if active else 'not active'}"))
    rows.append(("Angle", f"typical σ {np.median(found.angle_sigma) / DEGREE:.2g}°, gains {alarms.angle:.2f} nats"))
    sizes = np.bincount(learned.clusters)
    rows.append(("Clusters", ", ".join(str(one) for one in sizes)))
    return Table("Autoencoder", rows, note="; ".join(alarms.warnings))


def _agreement(analysis: Analysis) -> Table:
    rows = [(one.latent, one.map, f"{one.rho:+.3f}", f"{one.information:.3f}") for one in analysis.agreements]
    return Table("Latents against maps", rows, ("latent", "map", "ρ", "nats"))


def _code(analysis: Analysis) -> str:
    """Python that does the same, and that reads what lies in the folder."""
    usual = ExploreSettings()
    asked = {name: value for name, value in asdict(analysis.settings).items() if value != getattr(usual, name)}
    settings = ", ".join(f"{name}={value!r}" for name, value in asked.items())
    lines = [
        "from picostem.files.scan4d import read_scan",
        "from picostem.stem4d.analysis import ExploreSettings",
        "from picostem.stem4d.explore import analyse",
        "",
        f"scan = read_scan(...)  # {printable(analysis.scan.name)}",
        f"maps = analyse(scan, ExploreSettings({settings})).maps()",
        "",
        "import pandas",
        "",
        'table = pandas.read_parquet("maps.parquet")',
    ]
    if analysis.learned is not None:
        lines += ["", "from picostem.stem4d.model import RVAE", "", 'model = RVAE.load("model.safetensors")']
    return "\n".join(lines)
