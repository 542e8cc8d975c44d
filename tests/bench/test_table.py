"""Tables as text and Markdown."""

from __future__ import annotations

import pytest

from picostem.bench.table import Table, number, percent, yes

TABLE = Table("Speeds", ("what", "value", "note"), (("long name", "1.25", "a|b"), ("x", "−10.5", "")))


def test_text_aligns_words_left_and_numbers_right() -> None:
    assert TABLE.text().splitlines() == [
        "Speeds",
        "what       value  note",
        "long name   1.25  a|b",
        "x          −10.5",
    ]


def test_markdown_escapes_bars() -> None:
    assert TABLE.markdown().splitlines() == [
        "**Speeds**",
        "",
        "| what | value | note |",
        "|---|---|---|",
        "| long name | 1.25 | a\\|b |",
        "| x | −10.5 |  |",
    ]


def test_empty_table() -> None:
    assert Table("None", ("a", "b"), ()).text() == "None\na  b"


@pytest.mark.parametrize(("value", "shown"), [(1.23456, "1.235"), (None, "–"), (-0.5, "-0.500")])
def test_number(value: float | None, shown: str) -> None:
    assert number(value, 3) == shown


def test_shares_and_answers() -> None:
    assert (percent(0.954), percent(None)) == ("95 %", "–")
    assert (yes(True), yes(False), yes(None)) == ("yes", "no", "–")
