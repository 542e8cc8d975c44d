"""Measure again, and write the tables of the README's section "How good it is".

    python scripts/update_readme.py [FOLDER] [--no-speed]

FOLDER holds images with their truth (default examples/images).
"""

from __future__ import annotations

import sys
from pathlib import Path

from picostem.bench import speed, stack
from picostem.bench.ask import Given
from picostem.bench.table import Table

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
COLUMNS = ("image", "task", "verdict", "right", "branch", "orientation", "s")


def main(arguments: list[str]) -> None:
    """Replace what stands between the marks."""
    folders = [argument for argument in arguments if not argument.startswith("-")]
    folder = Path(folders[0]) if folders else ROOT / "examples" / "images"
    images, *kinds, _ = stack.measure(folder, Given()).tables()
    tables = [chosen(images, COLUMNS), *kinds]
    if "--no-speed" not in arguments:
        tables.append(speed.table(speed.measure(speed.FULL)))
    readme = ROOT / "README.md"
    text = readme.read_text("utf-8")
    before, after = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
    middle = "\n\n".join(table.markdown() for table in tables)
    readme.write_text(f"{before}\n\n{middle}\n\n{after}", "utf-8")


def chosen(table: Table, columns: tuple[str, ...]) -> Table:
    """The table with these columns only."""
    index = [table.head.index(column) for column in columns]
    return Table(table.title, columns, tuple(tuple(row[i] for i in index) for row in table.rows))


if __name__ == "__main__":
    main(sys.argv[1:])
