"""The lines that `picostem resolve` prints for each kind of result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from picostem.cli.summary import summarise
from picostem.resolve.result import Result
from tests.report.made import make_poor_result, make_result
from tests.report.made_stacks import make_antiparallel, make_trilayer, make_twisted, make_twisted_trilayer


def lines(result: Result) -> list[str]:
    """The summary without files, its lines without indent."""
    return [line.strip() for line in summarise(result, Path("a.tif"), None).splitlines()]


def test_a_twist_with_domains() -> None:
    said = lines(make_twisted((4.2, 6.0), pixels=300))
    assert said[0] == "a.tif: MoS₂ bilayer"
    assert said[1] == "twisted 4.200° ± 0.006°, moiré period 4.31 nm;  also 55.800° (odds 1 : 3)"
    assert said[2].startswith("error 0.0060° (1σ), bound 0.0042°; χ²")
    assert "strain: xx 0.210(30), yy −0.130(30), xy −0.040(30) %" in said
    assert any(line.startswith("domain 1: ") and line.endswith("θ = 4.200° ± 0.008°") for line in said)
    assert any(line.startswith("domain 2: ") and line.endswith("θ = 6.000° ± 0.008°") for line in said)
    # 0.3 rad and 4.2° more.
    assert "orientation: a at 17.19°, 21.39° from the rows, not mirrored" in said


def test_three_layers() -> None:
    said = lines(make_trilayer(pixels=200))
    assert said[0] == "a.tif: ReS₂ trilayer"
    assert said[1].startswith("D₁₂ = (0.620 ± 0.004, 1.250 ± 0.005) Å;  D₂₃ = (−1.400 ± 0.004, 0.900 ± 0.005) Å")
    assert any("of layers 1 and 2: " in line and "D₁₂ = (0.820, 1.350) ± " in line for line in said)
    assert any("of layers 2 and 3: " in line and "D₂₃ = (−0.900, 0.600) ± " in line for line in said)
    assert "orientation: a at 17.19° from the rows, not mirrored" in said


def test_a_twisted_trilayer() -> None:
    said = lines(make_twisted_trilayer())
    assert "θ₂₃ = 4.200° ± 0.006°" in said[1]
    assert any(line.startswith("strain of layers 2 and 3: xx") for line in said)


def test_antiparallel_layers() -> None:
    assert lines(make_antiparallel())[1].startswith("antiparallel (H), D = (0.400 ± 0.004, 1.100 ± 0.005) Å")


def test_two_materials() -> None:
    assert lines(make_twisted((2.0,), ("MoS2", "WSe2"), pixels=300))[0] == "a.tif: MoS₂ / WSe₂ bilayer"


def test_one_layer_with_what_could_hide() -> None:
    hidden = replace(make_poor_result("monolayer"), interfaces=make_result(pixels=64).interfaces)
    said = lines(hidden)
    assert said[0] == "a.tif: MoS₂ monolayer"
    assert said[1].startswith("one layer explains all of the image")
    assert not any(line.startswith("D = ") for line in said)


def test_a_slip_has_no_twist() -> None:
    said = " ".join(lines(make_result(pixels=128)))
    assert "D = (0.620 ± 0.004, 1.250 ± 0.005) Å = 0.2047(8) a + 0.2193(9) b" in said
    assert "twist" not in said
    assert "strain" not in said
