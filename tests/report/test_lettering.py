"""Room that text takes, against what matplotlib draws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from picostem.report.lettering import shortened, text_width, with_glyphs, wrapped
from picostem.report.palette import FAMILY

LATIN = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)


@pytest.mark.parametrize("bold", [False, True])
@pytest.mark.parametrize("text", ["WWWWWWWWWW", "iiiiiiiiii", "D = (0.620 ± 0.004, 1.250 ± 0.005) Å", "ReS₂ bilayer"])
def test_widths_are_those_that_are_drawn(text: str, bold: bool) -> None:
    figure = Figure(dpi=300)
    weight = "bold" if bold else "normal"
    drawn = figure.text(0, 0, text, size=20, family=FAMILY, weight=weight, parse_math=False)
    inches = drawn.get_window_extent(FigureCanvasAgg(figure).get_renderer()).width / 300
    # The drawn box leaves out the blank beside the first and last letter, a tenth of an em (0.28 inches) at most each,
    # and kerning narrows the line a little.
    assert inches <= text_width(text, 20, bold) * 1.01 <= inches * 1.02 + 0.056


def test_letters_that_the_font_lacks_become_boxes() -> None:
    assert with_glyphs("ReS₂ Å χ² 图\n") == "ReS₂ Å χ² □□"


@given(LATIN, st.floats(0.5, 4.0))
def test_shortened_text_fits_and_begins_alike(text: str, width: float) -> None:
    short = shortened(text, width, 10)
    assert text_width(short, 10) <= width
    if short != text:
        assert short.endswith(" …")
        assert text.startswith(short[:-2])


@given(LATIN, st.floats(1.0, 4.0))
def test_wrapped_lines_fit_and_hold_all_words(text: str, width: float) -> None:
    lines = wrapped(text, width, 10)
    assert all(text_width(line, 10) <= width for line in lines)
    if all(text_width(word, 10) <= width for word in text.split()):
        assert " ".join(lines) == " ".join(text.split())
