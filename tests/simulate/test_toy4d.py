"""Toy patterns: where their arcs point, what is counted, and what of their angle can be known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from picostem.errors import UsageError
from picostem.simulate.toy4d import Toy

FloatArray = NDArray[np.float64]
DISC, ARCS = Toy(), Toy("three-fold")


def centre_of_mass(patterns: FloatArray) -> FloatArray:
    """x + iy, pixels, x right and y up."""
    x = np.arange(patterns.shape[-1]) - (patterns.shape[-1] - 1) / 2
    return (patterns * (x - 1j * x[:, None])).sum(axis=(-1, -2)) / patterns.sum(axis=(-1, -2))


def wrapped(angle: FloatArray, period: float) -> FloatArray:
    return (angle + period / 2) % period - period / 2


@pytest.mark.parametrize(("angle", "row", "col"), [(0, 31.5, 48), (np.pi / 2, 15, 31.5), (-3 * np.pi / 4, 43, 20)])
def test_the_arc_is_where_the_angle_says(angle: float, row: float, col: float) -> None:
    pattern = DISC.clean(angle, 3.0)
    top = np.argwhere(pattern >= pattern.max() * (1 - 1e-9)).mean(axis=0)
    assert top == pytest.approx([row, col], abs=1.0)  # the brightest pixel or pair of pixels


@pytest.mark.parametrize("angle", np.linspace(-3, 3, 7))
def test_the_centre_of_mass_lies_in_the_arcs_direction(angle: float) -> None:
    # Smooth on the scale of a pixel: sampling turns it by less than 0.1°.
    assert wrapped(np.angle(centre_of_mass(DISC.clean(angle, 2.0))) - angle, 2 * np.pi) == pytest.approx(0, abs=2e-3)


def test_three_arcs_have_no_first_harmonic_and_come_again_after_120_degrees() -> None:
    pattern = ARCS.clean(0.3, 2.0)
    assert abs(centre_of_mass(pattern)) < 1e-5  # sampling; the noise of 1e4 electrons is 0.1
    np.testing.assert_allclose(ARCS.clean(0.3 + 2 * np.pi / 3, 2.0), pattern, rtol=1e-9)  # rounding
    assert np.abs(ARCS.clean(0.3 + np.pi / 3, 2.0) / pattern - 1).max() > 1


def test_electrons_are_counted() -> None:
    toy = Toy(electrons=500.0)
    assert toy.clean(1.0, 2.0).sum() == pytest.approx(500)
    patterns = toy.patterns(np.full(400, 1.0), np.full(400, 2.0), np.random.default_rng(0))
    assert patterns.shape == (400, 64, 64)
    assert patterns.dtype.kind == "u"
    # Poisson: the mean of 400 totals scatters by sqrt(500/400), their variance by sqrt(2/400) of the mean: 4 sigma.
    assert patterns.sum(axis=(1, 2)).mean() == pytest.approx(500, abs=4.5)
    assert patterns.sum(axis=(1, 2)).var() == pytest.approx(500, rel=0.29)
    np.testing.assert_array_equal(patterns, toy.patterns([1.0] * 400, [2.0] * 400, np.random.default_rng(0)))


@pytest.mark.parametrize("toy", [DISC, ARCS], ids=["asymmetric", "three-fold"])
@pytest.mark.parametrize("strength", [1.0, 3.0])
def test_the_bound_is_that_of_derivatives_by_differences(toy: Toy, strength: float) -> None:
    h, clean = 1e-5, toy.clean(0.7, strength)
    slopes = [
        (toy.clean(0.7 + h, strength) - toy.clean(0.7 - h, strength)) / (2 * h),
        (toy.clean(0.7, strength + h) - toy.clean(0.7, strength - h)) / (2 * h),
    ]
    information = [[np.sum(one * other / clean) for other in slopes] for one in slopes]
    assert toy.bound(0.7, strength) == pytest.approx(np.linalg.inv(information)[0, 0] ** 0.5, rel=1e-6)  # O(h²)


def test_a_maximum_likelihood_step_reaches_the_bound_and_the_centre_of_mass_does_not() -> None:
    rng = np.random.default_rng(1)
    angles, strengths = DISC.draw(300, rng)
    patterns = DISC.patterns(angles, strengths, rng)
    bounds = np.array([DISC.bound(*one) for one in zip(angles, strengths, strict=True)])
    steps, h = np.empty(300), 1e-5
    for i, (angle, strength) in enumerate(zip(angles, strengths, strict=True)):
        slope = (DISC.clean(angle + h, strength) - DISC.clean(angle - h, strength)) / (2 * h)
        clean = DISC.clean(angle, strength)
        steps[i] = np.sum(slope * (patterns[i] / clean - 1)) / np.sum(slope**2 / clean)
    assert (steps / bounds).std() == pytest.approx(1, abs=4 / 600**0.5)  # 4 sigma of 300 draws
    errors = wrapped(np.angle(centre_of_mass(patterns)) - angles, 2 * np.pi)
    assert 0.3 < np.degrees(bounds.mean()) < 1.0  # 0.54
    assert 2.0 < np.degrees(np.abs(errors).mean()) < 4.0  # 2.8; its error alone is 0.12


def test_the_centre_of_mass_of_three_arcs_is_at_chance() -> None:
    rng = np.random.default_rng(2)
    angles, strengths = ARCS.draw(600, rng)
    found = np.angle(centre_of_mass(ARCS.patterns(angles, strengths, rng)))
    errors = np.degrees(np.abs(wrapped(found - angles, 2 * np.pi / 3)))
    assert errors.mean() == pytest.approx(30, abs=4 * 60 / 12**0.5 / 600**0.5)  # evenly spread over 60°: 4 sigma
    assert np.degrees(ARCS.bound(0.2, 2.5)) < 0.5


def test_draws_fill_their_ranges() -> None:
    angles, strengths = Toy(strengths=(2.0, 3.0)).draw(4000, np.random.default_rng(0))
    assert abs(np.exp(1j * angles).mean()) < 4 / 4000**0.5  # 4 sigma
    assert (strengths.min(), strengths.max()) == pytest.approx((2, 3), abs=0.01)


@pytest.mark.parametrize(
    "bad", [{"kind": "two-fold"}, {"size": 4}, {"strengths": (2, 1)}, {"strengths": (-2, 1)}, {"electrons": 0}]
)
def test_impossible_toys_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="expected"):
        Toy(**bad)
