"""The page: complete, self-contained, and safe with whatever a file is called."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image as Picture

from picostem.report.contents import written_files
from picostem.report.page import render_page
from picostem.report.recipe import python_code
from picostem.report.save import save_result
from picostem.resolve.result import Alternative, Result
from picostem.resolve.settings import Settings

EVIL = "<script>alert('x')</script>\"'><img src=//evil.example/x.png onerror=alert(1)>&amp;"
VOID = {"meta", "img", "br", "hr", "link"}


class Reader(HTMLParser):
    """Collects tags, attributes and text; notes tags that are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


def words(page: str) -> str:
    """The page's text with single, ordinary spaces."""
    return " ".join(" ".join(read(page).text).split())


def test_pages_are_well_formed(any_result: Result) -> None:
    reader = read(render_page(any_result, b"picture"))
    assert reader.wrong == []
    assert reader.open == []
    assert [tag for tag, _ in reader.tags].count("h1") == 1
    images = [attributes for tag, attributes in reader.tags if tag == "img"]
    assert all(attributes.get("alt") for attributes in images)


def test_pages_need_nothing_from_elsewhere(any_result: Result) -> None:
    page = render_page(any_result, b"picture")
    reader = read(page)
    assert not {tag for tag, _ in reader.tags} & {"script", "link", "iframe", "object", "base", "form"}
    sources = [attributes.get("src") or "" for tag, attributes in reader.tags if tag == "img"]
    assert all(source.startswith("data:image/webp;base64,") for source in sources)
    links = {attributes.get("href") for tag, attributes in reader.tags if tag == "a"}
    assert links == set(written_files(any_result))
    style = page[page.index("<style>") : page.index("</style>")]
    assert not re.search(r"url\(|@import|expression", style)
    assert "default-src 'none'" in page


def test_the_page_holds_the_figure(slip_result: Result, tmp_path: Path) -> None:
    save_result(slip_result, tmp_path)
    page = (tmp_path / "report.html").read_text("utf-8")
    encoded = re.search(r'src="data:image/webp;base64,([^"]+)"', page)
    assert encoded is not None
    assert Picture.open(io.BytesIO(base64.b64decode(encoded.group(1)))).width == 2400


def test_the_verdict_of_a_slip(slip_result: Result) -> None:
    text = words(render_page(slip_result, b""))
    for part in (
        "ReS₂ bilayer",
        "D = (0.620 ± 0.004, 1.250 ± 0.005) Å",
        "a + 0.2193(9) b",
        "one other slip gives the same image",
        "300 kV (fitted)",
        "22.00 ± 0.30 mrad",
        "12 ± 4 Å",
        "1.140",
        "96.80 %",
        "Instead: monolayer Δχ² = 8123.0 (one layer of ReS2)",
        "data/flake 3.dm4",
        "256 rows × 256 columns",
        "0.12 Å, from the file",
        "3.072 nm × 3.072 nm",
        "(0.620, 1.250); (−0.620, −1.250) Å",
        "picostem 1.2.3 · picostem.result/1",
    ):
        assert part in text


def test_the_verdict_of_a_twist(twist_domain_result: Result) -> None:
    text = words(render_page(twist_domain_result, b""))
    for part in (
        "MoS₂ bilayer twisted 4.200° ± 0.006°",
        "also 55.800° (odds 1 : 3)",
        "Physical limit 0.0042° Cramér-Rao",
        "Moiré period 4.312 nm",
        "Strain of the upper layer xx 0.210(30), yy −0.130(30), xy −0.040(30) %",
        "Twist Error (1σ) Share",
        "A 4.200° 0.0080°",
        "B 6.000° 0.0080°",
        "a periodic supercell of 1092 atoms with a twist of 4.275°, 0.075° off, and a mismatch of 0.84 %",
    ):
        assert part in text


def test_the_verdict_of_three_layers(trilayer_result: Result, twisted_trilayer_result: Result) -> None:
    text = words(render_page(trilayer_result, b""))
    for part in (
        "D₁₂ = (0.620 ± 0.004, 1.250 ± 0.005) Å; D₂₃ = (−1.400 ± 0.004, 0.900 ± 0.005) Å",
        "Interface 1/2",
        "Interface 2/3",
        "Domains of interface 1/2",
        "Domains of interface 2/3",
        "Error D₁₂",
        "Error D₂₃",
    ):
        assert part in text
    text = words(render_page(twisted_trilayer_result, b""))
    assert "Moiré θ₂₃" in text
    assert "a piece in empty space: the layers have no common lattice" in text


def test_antiparallel_layers_and_two_materials(antiparallel_result: Result, hetero_result: Result) -> None:
    assert "60.00°, with one lattice (antiparallel, H)" in words(render_page(antiparallel_result, b""))
    text = words(render_page(hetero_result, b""))
    assert "Lower layer MoS₂" in text
    assert "Upper layer WSe₂" in text
    assert "--material MoS2/WSe2" in text


def test_a_monolayer_says_what_a_second_layer_could_hide(monolayer_result: Result, slip_result: Result) -> None:
    hidden = replace(monolayer_result, interfaces=slip_result.interfaces)
    text = words(render_page(hidden, b""))
    assert "If there were a second layer" in text
    assert "(0.620 ± 0.004, 1.250 ± 0.005) Å" in text


def test_domains_are_listed(domain_result: Result, slip_result: Result) -> None:
    text = words(render_page(domain_result, b""))
    assert "(1.900, −0.350) Å" in text
    assert "Domains" in text
    assert "Centre in the image" not in words(render_page(slip_result, b""))


def test_reasons_are_given(monolayer_result: Result, unresolved_result: Result, twist_result: Result) -> None:
    for result in (monolayer_result, unresolved_result, twist_result):
        assert result.reason is not None
        assert result.reason in words(render_page(result, b""))
    assert "not resolved" in words(render_page(unresolved_result, b""))
    assert "a periodic supercell of 1092 atoms" in words(render_page(twist_result, b""))


def test_the_recipe_is_on_the_page(slip_result: Result) -> None:
    changed = replace(slip_result, settings=Settings(material="ReS2", window_nm=2.5))
    text = words(render_page(changed, b""))
    assert "--window 2.5" in text
    assert " ".join(python_code(changed).split()) in text
    assert "window_nm 2.5" in text
    assert "voltage_kV not given" in text


def test_hostile_names_are_escaped_everywhere(slip_result: Result) -> None:
    layer = slip_result.layers[0]
    renamed = replace(layer, monolayer=replace(layer.monolayer, name=EVIL))
    assert slip_result.quality is not None
    hostile = replace(
        slip_result,
        reason=EVIL,
        version=EVIL,
        image=replace(slip_result.image, name=EVIL, path=Path(EVIL), notes=(EVIL,)),
        settings=Settings(material=EVIL),
        layers=(renamed, renamed),
        quality=replace(slip_result.quality, alternatives=(Alternative(EVIL, 1.0, EVIL),)),
    )
    page = render_page(hostile, b"picture")
    reader = read(page)
    assert reader.wrong == []
    assert "script" not in {tag for tag, _ in reader.tags}
    assert sum(tag == "img" for tag, _ in reader.tags) == 1
    assert not any("onerror" in attributes for _, attributes in reader.tags)
    assert EVIL in "".join(reader.text)


def test_names_with_control_characters_and_half_characters(slip_result: Result, tmp_path: Path) -> None:
    image = replace(slip_result.image, name="a\x00\x1b\n\udc80", path=Path("b\x1b\n\udc80"))
    save_result(replace(slip_result, image=image), tmp_path)
    page = (tmp_path / "report.html").read_bytes().decode("utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f\udc80]", page)


@pytest.mark.parametrize("rule", ["prefers-color-scheme: dark", "@media print", "max-width: 640px"])
def test_the_page_adapts(slip_result: Result, rule: str) -> None:
    assert rule in render_page(slip_result, b"")
