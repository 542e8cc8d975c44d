"""`picostem bench`: how well and how fast it works, measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from picostem.cli.document import STDOUT, write_document

if TYPE_CHECKING:
    from picostem.bench.table import Table

app = typer.Typer(help="Measure how well and how fast it works.", rich_markup_mode=None)


@app.command("slip")
def slip(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Images NAME.tif with their truth NAME.json.")],
    unknown_microscope: Annotated[
        bool, typer.Option("--unknown-microscope", help="Leave voltage, semiangle and detector to be found.")
    ] = False,
    unknown_pixel_size: Annotated[
        bool, typer.Option("--unknown-pixel-size", help="Leave the pixel size to be found.")
    ] = False,
    json: Annotated[str | None, typer.Option(metavar="FILE", help="Write JSON there (- is standard output).")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")] = False,
) -> None:
    """Resolve images whose truth is known, and compare."""
    from picostem.bench import slip as bench
    from picostem.cli.watch import watch

    with watch() as progress:
        report = bench.measure(folder, bench.Given(not unknown_pixel_size, not unknown_microscope), progress.begin)
        progress.pause()
    _deliver(report.as_dict(), report.tables(), json, markdown)


@app.command("speed")
def speed(
    json: Annotated[str | None, typer.Option(metavar="FILE", help="Write JSON there (- is standard output).")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Small images: to see that it works.")] = False,
) -> None:
    """Measure speed and memory on this machine."""
    from picostem.bench import speed as bench

    figures = bench.measure(bench.QUICK if quick else bench.FULL)
    _deliver(bench.as_dict(figures), [bench.table(figures)], json, markdown)


def _deliver(document: dict[str, Any], tables: list[Table], json: str | None, markdown: bool) -> None:
    """Print the tables; write the JSON, and then the tables only if standard output is free."""
    if json is not None:
        write_document(document, json)
    if json != STDOUT:
        typer.echo("\n\n".join(table.markdown() if markdown else table.text() for table in tables))
