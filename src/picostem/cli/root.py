"""The `picostem` command: its subcommands, and how each way of ending becomes an exit code.

0    done (a verdict "unresolved" is an answer, too)
1    the data cannot be used or the result cannot be written; of several files, at least one
2    the request is wrong
130  interrupted
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from picostem.cli import atoms, batch, bench, catalog, resolve, show, simulate, stem4d, style, train
from picostem.cli.failure import explain, say, silence_stdout, wants_traceback
from picostem.errors import PicostemError
from picostem.version import VERSION

app = typer.Typer(
    help="Atomic structure at van der Waals interfaces from one electron-microscope image, with error bars.",
    rich_markup_mode=None,  # importing rich would double the time that --help takes
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("resolve")(resolve.resolve)
app.command("batch")(batch.batch)
app.command("atoms")(atoms.atoms)
app.command("4d")(stem4d.stem4d)
app.command("simulate", cls=simulate.SimulateCommand)(simulate.simulate)
app.command("materials")(show.materials)
app.command("info")(show.info)
app.add_typer(catalog.app, name="catalog")
app.add_typer(style.app, name="style")
app.add_typer(train.app, name="train")
app.add_typer(bench.app, name="bench")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"picostem {VERSION}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options that stand before the command; they act by their callbacks."""


def main() -> NoReturn:
    """Run the command line and leave Python with its exit code."""
    # Nearly all that is alive belongs to modules and is no garbage: to look through it again and again while they are
    # imported, and once more at the end, would take 0.3 s.
    gc.set_threshold(50_000)
    code = run(sys.argv[1:])
    gc.freeze()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command; whatever goes wrong is said in one line on standard error. Returns the exit code.

    The environment variable PICOSTEM_TRACEBACK=1 shows where an unforeseen error came from instead.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # Å and ± on a terminal that knows neither
    try:
        outcome = app(args=list(arguments) or ["--help"], prog_name="picostem", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        silence_stdout()
        return 1
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except (PicostemError, typer.TyperException) as error:
        say(explain(error))
        return error.exit_code
    except Exception as error:
        if wants_traceback():
            raise
        say(explain(error))
        silence_stdout()
        return 1
    code = outcome if isinstance(outcome, int) else 0
    return _interrupted() if code == 130 else code


def _interrupted() -> int:
    say("interrupted; nothing half-written is left")
    return 130
