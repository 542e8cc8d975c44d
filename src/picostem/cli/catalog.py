"""`picostem catalog`: results of many images in one place, asked by SQL, and their statistics."""

from __future__ import annotations

import atexit
import gc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from picostem.cli.document import STDOUT, write_document
from picostem.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

app = typer.Typer(rich_markup_mode=None)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The catalog's folder.")]
Sql = Annotated[str, typer.Argument(metavar="SQL", help="DuckDB's SQL on windows, images, defects, attached tables.")]


@app.callback()
def tidy() -> None:
    """Keep, ask and compare the results of many images."""
    # The command line freezes what is alive to end quickly; DuckDB's bindings would complain that it was never freed.
    atexit.register(gc.unfreeze)


@app.command("add")
def add(
    folder: Folder,
    results: Annotated[
        list[Path], typer.Argument(metavar="RESULT...", help="Folders that `picostem resolve` and `atoms` left.")
    ],
    session: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="At the microscope. Default: the folder that the image lay in."),
    ] = None,
) -> None:
    """Add results; those that are there already change nothing, and any number of runs may add at once."""
    from picostem.catalog import Catalog
    from picostem.cli.failure import explain, say

    added = Catalog(folder).add(results, session)
    typer.echo(f"{folder}: {added.new} added, {added.known} there already")
    for name, error in added.refused.items():
        say(explain(error, name))
    if added.refused:
        raise typer.Exit(DataError.exit_code)


@app.command("list")
def list_images(folder: Folder) -> None:
    """What the catalog holds, material by material, and the tables that queries can name."""
    from picostem.catalog import Catalog

    catalog = Catalog(folder)
    _print(
        catalog.query(
            "SELECT material, kind, count(*) AS images, sum(windows)::BIGINT AS windows, sum(defects)::BIGINT AS "
            "defects, count(DISTINCT session) AS sessions FROM images GROUP BY ALL ORDER BY ALL"
        )
    )
    typer.echo("tables: " + ", ".join(catalog.names()))


@app.command("query")
def query(
    folder: Folder,
    sql: Sql,
    rows: Annotated[int, typer.Option(min=1, metavar="N", help="Printed at most; `export` writes all.")] = 50,
) -> None:
    """Ask in SQL, and print what comes of it."""
    from picostem.catalog import Catalog

    _print(Catalog(folder).query(sql), rows)


@app.command("export")
def export(
    folder: Folder,
    target: Annotated[Path, typer.Argument(metavar="FILE.csv", help="To write.")],
    sql: Annotated[str, typer.Option("--query", metavar="SQL", help="Rows to write.")] = "SELECT * FROM windows",
) -> None:
    """Write windows, or what a query says, as CSV."""
    from picostem.catalog import Catalog

    Catalog(folder).export(target, sql)
    typer.echo(f"{target} written")


@app.command("attach")
def attach(
    folder: Folder,
    table: Annotated[Path, typer.Argument(metavar="TABLE.csv", help="A row for each image.")],
    on: Annotated[
        list[str], typer.Option(metavar="COLUMN", help="That it shares with images, as file; may be repeated.")
    ],
    name: Annotated[str | None, typer.Option(metavar="NAME", help="In queries. Default: the file's.")] = None,
) -> None:
    """Keep a table of your own beside the results, and say what in it goes with the stacking."""
    from picostem.catalog import Catalog

    catalog = Catalog(folder)
    known = catalog.attach(table, on, name)
    typer.echo(f"attached as {known}; `picostem catalog correlate {folder} {known}` compares it")


@app.command("correlate")
def correlate(
    folder: Folder,
    table: Annotated[str, typer.Argument(metavar="NAME", help="Of an attached table.")],
    rows: Annotated[int, typer.Option(min=1, metavar="N", help="Printed at most, the surest first.")] = 20,
) -> None:
    """Rank correlations of an attached table's numbers with the images' slips, twists, strains and defects."""
    from picostem.catalog import Catalog
    from picostem.catalog.correlate import correlate as compute

    found = compute(Catalog(folder), table)
    if not found:
        typer.echo("nothing to compare: fewer than 4 images match, or no column has numbers that differ")
    for one in found[:rows]:
        typer.echo(
            f"{one.column} with {one.quantity}: rank correlation {one.rho:+.2f} over {one.n} images, p {one.p:.2g} "
            f"({one.p_adjusted:.2g} for all {len(found)} pairs tried)"
        )


@app.command("pack")
def pack(folder: Folder) -> None:
    """Put many small files into large ones: queries on thousands of images become several times as fast."""
    from picostem.catalog import Catalog

    typer.echo(f"{folder}: {Catalog(folder).pack()} results packed")


@app.command("plot")
def plot(
    folder: Folder,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Figure to write: pdf, svg or png.")],
    landscape: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Energies against slip: csv (a, b, energy in eV per cell, or a, b, file of a calculation) or npz. "
            "Default: an approximation from pairs of atoms.",
        ),
    ] = None,
    material: Annotated[str | None, typer.Option("--material", "-m", help="Default: the only one.")] = None,
    twist: Annotated[
        float | None, typer.Option(metavar="DEGREES", help="0 or 60. Default: what most windows have.")
    ] = None,
    where: Annotated[str, typer.Option(metavar="SQL", help="Further condition on windows.")] = "true",
    json: Annotated[str | None, typer.Option(metavar="FILE", help="Write JSON there (- is standard output).")] = None,
) -> None:
    """Where all slips lie: on an energy landscape, as a density without the errors' blur, and as a Boltzmann plot."""
    from picostem.catalog import Catalog
    from picostem.catalog.figure import save_figure
    from picostem.catalog.landscape import load_landscape, pair_landscape
    from picostem.catalog.statistics import analyse, select

    chosen = select(Catalog(folder), material, twist, where)
    lower, upper = chosen.layers
    energies = pair_landscape(lower, upper, chosen.twist) if landscape is None else load_landscape(landscape, lower)
    found = analyse(chosen, energies)
    save_figure(found, out)
    to_stderr = json == STDOUT
    typer.echo(f"{len(chosen.slips)} windows; landscape: {energies.source}; {out} written", err=to_stderr)
    for letter, peak in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", found.peaks, strict=False):
        (x, y), (xx, yy) = peak.slip, peak.covariance.diagonal() ** 0.5
        words = f"  {letter}: ({x:.3f} ± {xx:.3f}, {y:.3f} ± {yy:.3f}) Å, {100 * peak.share:.0f} % of the windows"
        typer.echo(words, err=to_stderr)
    typer.echo(
        f"  beta = {found.fit.beta:.4g} ± {found.fit.sigma:.2g} per unit of energy ({energies.unit})", err=to_stderr
    )
    if json is not None:
        write_document(found.as_dict(), json)


def _print(table: pa.Table, most: int = 1000) -> None:
    """Rows as aligned columns."""
    head = table.column_names
    cells = [[_cell(value) for value in row.values()] for row in table.slice(0, most).to_pylist()]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    for line in (head, *cells):
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    if len(table) > most:
        typer.echo(f"... {len(table) - most} more rows (--rows, or `picostem catalog export`)")


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
