"""Tables as plain text and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A table of short strings; every row has as many cells as the head."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def text(self) -> str:
        """Aligned columns, the first to the left and numbers to the right."""
        lines = [self.head, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.head))]
        left = [i == 0 or not any(_is_number(row[i]) for row in self.rows) for i in range(len(self.head))]

        def line(cells: Sequence[str]) -> str:
            padded = (c.ljust(w) if to_left else c.rjust(w) for c, w, to_left in zip(cells, widths, left, strict=True))
            return "  ".join(padded).rstrip()

        return "\n".join([self.title, line(self.head), *map(line, self.rows)])

    def markdown(self) -> str:
        """A table of GitHub's Markdown, under its title in bold."""
        rule = "|".join(["---"] * len(self.head))
        rows = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (self.head, *self.rows)]
        return "\n".join([f"**{self.title}**", "", rows[0], f"|{rule}|", *rows[1:]])


def number(value: float | None, digits: int) -> str:
    """A number with so many decimals, a dash for None."""
    return "–" if value is None else f"{value:.{digits}f}"


def percent(share: float | None) -> str:
    """A share in whole per cent, a dash for None."""
    return "–" if share is None else f"{100 * share:.0f} %"


def yes(value: bool | None) -> str:
    """The answer to a question, a dash for None."""
    return {None: "–", True: "yes", False: "no"}[value]


def _is_number(cell: str) -> bool:
    return cell[:1].isdigit() or (cell[:1] in "-−" and cell[1:2].isdigit())
