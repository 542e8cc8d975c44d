"""Options that take two numbers and may be given several times, which typer knows only one by one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import typer.core

from picostem.errors import UsageError

Pair = tuple[float, float]
PAIRED = ("--slip", "--slip-frac")


class PairsCommand(typer.core.TyperCommand):
    """A command whose options PAIRED read "--slip X Y" as one text, "X Y", so that they can be declared as lists."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the two words after such an option into one."""
        return super().parse_args(ctx, joined(args))


def joined(words: Sequence[str]) -> list[str]:
    """Command-line words with the two numbers after each of PAIRED in one, up to "--"; no option counts as a number."""
    result, rest = [], list(words)
    while rest and rest[0] != "--":
        result.append(rest.pop(0))
        if result[-1] in PAIRED:
            numbers = list(itertools.takewhile(lambda word: not word.startswith("--"), rest[:2]))
            result.append(" ".join(numbers))
            del rest[: len(numbers)]
    return result + rest


def pairs(option: str, values: Sequence[str]) -> list[Pair]:
    """The numbers behind each use of an option; raises `UsageError` if there are not two."""
    found = []
    for value in values:
        try:
            x, y = (float(word) for word in value.split())
        except ValueError:
            raise UsageError(f"{option} is {value!r}; expected two numbers, as in {option} 1.2 -0.7") from None
        found.append((x, y))
    return found
