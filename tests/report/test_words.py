"""Numbers with their errors, and the sentences of each verdict."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from picostem.report.meaning import meaning
from picostem.report.quantities import (
    decimals,
    fixed,
    formula,
    in_brackets,
    slip_cartesian,
    slip_fractions,
    strain_percent,
    twist_degrees,
    with_error,
)
from picostem.report.words import headline, looked_for, other_twists, printable, specimen, status_counts
from picostem.resolve.result import Alternative, Interface, Result
from picostem.resolve.settings import Settings


@pytest.mark.parametrize(
    ("sigma", "places"),
    [(0.0042, 3), (0.0034, 4), (0.0036, 3), (0.012, 3), (0.04, 2), (2.0, 1), (4.0, 0), (60.0, 0), (1e-5, 6)],
)
def test_errors_keep_one_or_two_digits(sigma: float, places: int) -> None:
    assert decimals(sigma) == places


@pytest.mark.parametrize("sigma", [0.0, np.nan, np.inf, -1.0])
def test_a_number_without_error_has_three_decimals(sigma: float) -> None:
    assert with_error(1.23456, sigma) == "1.235"
    assert in_brackets(1.23456, sigma) == "1.235"


@given(st.floats(1e-6, 1e3))
def test_the_printed_error_is_the_error_within_its_rounding(sigma: float) -> None:
    places = decimals(sigma)
    # One digit from 3.55 on (0.5 in 3.55 is 14 %), two below (0.05 in 1 is 5 %), and whole numbers from 3.55 upwards.
    assert abs(round(sigma, places) - sigma) <= 0.15 * sigma


@pytest.mark.parametrize(
    ("value", "sigma", "plain", "bracketed"),
    [
        (0.62, 0.004, "0.620 ± 0.004", "0.620(4)"),
        (-1.25, 0.0123, "−1.250 ± 0.012", "−1.250(12)"),
        (12.0, 4.0, "12 ± 4", "12(4)"),
        (0.2, 0.00996, "0.200 ± 0.010", "0.200(10)"),
    ],
)
def test_known_numbers(value: float, sigma: float, plain: str, bracketed: str) -> None:
    assert with_error(value, sigma) == plain
    assert in_brackets(value, sigma) == bracketed


def test_zero_has_no_sign() -> None:
    assert fixed(-0.0001, 3) == "0.000"
    assert fixed(-0.001, 3) == "−0.001"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("ReS2", "ReS₂"),
        ("MoS2", "MoS₂"),
        ("Cr2Ge2Te6", "Cr₂Ge₂Te₆"),
        ("sample 12", "sample 12"),
        ("2H-MoS2", "2H-MoS2"),
    ],
)
def test_only_formulas_get_subscripts(name: str, shown: str) -> None:
    assert formula(name) == shown


def test_both_components_of_a_slip_have_the_decimals_of_the_better_one(slip_result: Result) -> None:
    interface = replace(slip_result.interfaces[0], slip_covariance=np.diag([0.0012, 0.04]) ** 2)
    assert slip_cartesian(interface) == "(0.6200 ± 0.0012, 1.2500 ± 0.0400) Å"


def fractions_of(interface: Interface, cell: np.ndarray[tuple[int, int], np.dtype[np.float64]], *slip: float) -> str:
    vector = np.array(slip)
    return slip_fractions(replace(interface, slip=vector, slip_frac=vector @ np.linalg.inv(cell)), cell)


def test_fractions_are_signed_sums(slip_result: Result) -> None:
    cell = np.array([[4.0, 0.0], [0.0, 5.0]])
    interface = replace(slip_result.interfaces[0], slip_covariance=np.diag([0.02, 0.05]) ** 2)
    assert fractions_of(interface, cell, 1.0, 2.5) == "0.250(5) a + 0.500(10) b"
    assert fractions_of(interface, cell, -1.0, -2.5) == "−0.250(5) a − 0.500(10) b"


def test_errors_of_fractions_are_those_of_drawn_slips(slip_result: Result) -> None:
    cell = slip_result.layers[0].monolayer.cell
    interface = slip_result.interfaces[0]
    drawn = np.random.default_rng(2).multivariate_normal(interface.slip, interface.slip_covariance, 100_000)
    expected = (drawn @ np.linalg.inv(cell)).std(axis=0)
    shown = [float(part.split("(")[1].split(")")[0]) * 1e-4 for part in slip_fractions(interface, cell).split("+")]
    # Half a unit of the last digit printed, and 0.2 % of the drawn deviation.
    np.testing.assert_allclose(shown, expected, atol=0.5e-4 + 2e-6)


def test_a_twist_is_in_degrees(twist_result: Result) -> None:
    assert twist_degrees(twist_result.interfaces[0]) == "4.200° ± 0.012°"


def test_headline_of_a_slip(slip_result: Result) -> None:
    head = headline(slip_result)
    assert head.subject == "ReS₂ bilayer"
    assert head.finding == "D = (0.620 ± 0.004, 1.250 ± 0.005) Å"
    assert head.fractions.startswith("= 0.204")
    facts = " ".join(head.facts)
    for fact in ("0.0064 Å", "bound 0.0048 Å", "χ² 1.14", "96.8 %", "58 of 64 windows"):
        assert fact in facts


def test_headline_says_how_many_windows_are_a_network_s(slip_result: Result) -> None:
    one = slip_result.maps[0]
    told = np.where(np.arange(len(one)) < 20, "net", "fit")
    answered = int(np.sum(one.status[:20] == "ok"))
    assert (
        f"{answered} of them by the network" in headline(replace(slip_result, maps=(replace(one, engine=told),))).facts
    )
    for none in (None, np.full(len(one), "fit")):
        assert "network" not in " ".join(headline(replace(slip_result, maps=(replace(one, engine=none),))).facts)


def test_headline_of_two_interfaces_numbers_them(slip_result: Result) -> None:
    first = slip_result.interfaces[0]
    second = replace(first, lower=2, upper=3, slip=-first.slip, slip_frac=-first.slip_frac)
    layers = (*slip_result.layers, slip_result.layers[1])
    head = headline(replace(slip_result, layers=layers, interfaces=(first, second)))
    assert head.subject == "ReS₂ trilayer"
    assert "D₁₂ = (0.620" in head.finding
    assert "D₂₃ = (−0.620" in head.finding
    assert head.fractions.startswith("D₁₂ = 0.204")
    assert "error 0.0064, 0.0064 Å (1σ), bound 0.0048, 0.0048 Å" in head.facts


def test_headlines_of_the_other_verdicts(
    twist_result: Result, monolayer_result: Result, unresolved_result: Result
) -> None:
    assert headline(twist_result).subject == "MoS₂ bilayer"
    assert headline(twist_result).finding == "twisted 4.200° ± 0.012°"
    assert headline(monolayer_result).subject == "MoS₂ monolayer"
    assert headline(monolayer_result).finding == ""
    assert headline(unresolved_result).subject == "MoS₂"
    assert headline(unresolved_result).finding == "not resolved"


def test_headlines_of_twists(
    twist_domain_result: Result, field_result: Result, hetero_result: Result, twisted_trilayer_result: Result
) -> None:
    head = headline(twist_domain_result)
    assert head.finding == "twisted 4.200° ± 0.006°"
    # a/(2 sin(2.1°)) = 13.65 a; exp(2.2/2) = 3.0.
    assert head.fractions == "moiré period 4.31 nm;  also 55.800° (odds 1 : 3)"
    assert head.facts[0] == "error 0.0060° (1σ), bound 0.0042°"
    assert headline(field_result).fractions == "moiré period 1.29 nm;  also 45.900°"
    assert headline(hetero_result).subject == "MoS₂ / WSe₂ bilayer"
    three = headline(twisted_trilayer_result)
    assert three.subject == "MoS₂ trilayer"
    assert three.finding == "D₁₂ = (0.400 ± 0.004, 1.100 ± 0.005) Å;  θ₂₃ = 4.200° ± 0.006°"
    assert three.fractions.startswith("D₁₂ = 0.3276(17) a + 0.4020(18) b;  moiré period 4.31 nm")


def test_headline_of_antiparallel_layers(antiparallel_result: Result) -> None:
    assert headline(antiparallel_result).finding == "antiparallel (H), D = (0.400 ± 0.004, 1.100 ± 0.005) Å"


@pytest.mark.parametrize(
    ("delta", "odds"), [(2.2, "1 : 3"), (0.0, "1 : 1"), (-2.2, "3 : 1"), (5.0, "1 : 12"), (90.0, "1 : 1000")]
)
def test_odds_of_another_twist(twist_domain_result: Result, delta: float, odds: str) -> None:
    assert twist_domain_result.quality is not None
    quality = replace(
        twist_domain_result.quality, alternatives=(Alternative("one layer", 1.0), Alternative("twist 55.8°", delta))
    )
    result = replace(twist_domain_result, quality=quality)
    assert other_twists(result, result.interfaces[0]) == f"also 55.800° (odds {odds})"


def test_no_other_twist_is_no_words(field_result: Result) -> None:
    decided = replace(field_result.interfaces[0], twist_alternatives=np.zeros(0))
    assert other_twists(field_result, decided) == ""
    assert "Undecided" not in " ".join(meaning(replace(field_result, interfaces=(decided,))))
    assert "Undecided: the image does not exclude 45.900°." in " ".join(meaning(field_result))


def test_strains_are_in_percent(field_result: Result) -> None:
    interface = field_result.interfaces[0]
    assert strain_percent(interface) == "xx 0.210(30), yy −0.130(30), xy −0.040(30) %"
    assert strain_percent(replace(interface, strain=None)) == ""


@pytest.mark.parametrize(
    ("material", "shown"),
    [
        ("ReS2", "ReS₂"),
        ("MoS2/WSe2", "MoS₂ / WSe₂"),
        ("MoS2/graphene", "MoS₂ / graphene"),
        ("data/MoS2", "MoS₂"),
        ("/home/me/new phase.cif", "new phase.cif"),
    ],
)
def test_what_was_looked_for(material: str, shown: str) -> None:
    assert looked_for(material) == shown


def test_meaning_of_three_layers_and_of_antiparallel_ones(
    trilayer_result: Result, antiparallel_result: Result, twist_domain_result: Result
) -> None:
    three = " ".join(meaning(trilayer_result))
    assert "Layer 3 is shifted against layer 2" in three
    assert "not their order" in three
    assert "2 domains of different stacking" in three
    assert "antiparallel, H" in " ".join(meaning(antiparallel_result))
    assert "2 domains of different twist" in " ".join(meaning(twist_domain_result))


def test_two_materials_are_both_named(slip_result: Result) -> None:
    lower, upper = slip_result.layers
    upper = replace(upper, monolayer=replace(upper.monolayer, name="WSe2"))
    assert specimen(replace(slip_result, layers=(lower, upper))) == "ReS₂ / WSe₂ bilayer"


def test_a_material_from_a_file_goes_by_the_files_name(unresolved_result: Result) -> None:
    settings = Settings(material="/home/me/structures/new phase.cif")
    assert specimen(replace(unresolved_result, settings=settings)) == "new phase.cif"


def test_equivalents_are_explained(slip_result: Result) -> None:
    text = " ".join(meaning(slip_result))
    assert "1.395 Å" in text  # |(0.62, 1.25)|
    assert "one other slip gives the same image" in text
    assert "1.3 times the least" in text  # 0.0064 / 0.0048
    alone = replace(slip_result.interfaces[0], equivalents=slip_result.interfaces[0].slip[None])
    assert "No other slip" in " ".join(meaning(replace(slip_result, interfaces=(alone,))))


def test_domains_are_counted(domain_result: Result) -> None:
    assert "2 domains" in " ".join(meaning(domain_result))


def test_a_reason_becomes_a_sentence(unresolved_result: Result) -> None:
    assert meaning(unresolved_result) == ["No lattice of MoS2 stands out of the noise."]
    assert meaning(replace(unresolved_result, reason=None)) == []


def test_status_counts_start_with_the_most_frequent(slip_result: Result, twist_result: Result) -> None:
    counts = status_counts(slip_result)
    assert next(iter(counts)) == "ok"
    assert sum(counts.values()) == 64
    assert status_counts(twist_result) == {}


def test_printable_marks_what_cannot_be_shown() -> None:
    assert printable("a\nb\x1b[31m\udc80é") == "a�b�[31m�é"
