"""Densities of twists: known peaks, probabilities, and twists that look the same."""

from __future__ import annotations

import numpy as np
import pytest

from picostem.dataset.patch_plan import PatchPlan
from picostem.errors import UsageError
from picostem.infer.patch_density import Density
from picostem.infer.patch_labels import Labels
from picostem.physics import DEGREE
from tests.infer.made_patches import PLAN

LAYERS = PatchPlan("MoS2", "twist").stack()
LABELS = Labels.of(LAYERS, "twist", "density")


def made(*modes: tuple[float, float, float]) -> Density:
    """One density: weight, mean and standard deviation of each Gaussian."""
    return Density(*(np.array([part]) for part in zip(*modes, strict=True)))


def test_numbers_come_back() -> None:
    density = made((0.25, 0.1, 0.01), (0.75, 0.3, 0.02))
    numbers = np.concatenate([np.log(density.weights), density.means, np.log(density.sigmas)], axis=1)
    again = Density.of(numbers)
    for name in ("weights", "means", "sigmas"):
        np.testing.assert_allclose(getattr(again, name), getattr(density, name))


def test_the_peak_is_that_of_the_density_and_not_of_the_weights() -> None:
    assert made((0.4, 0.1, 0.001), (0.6, 0.3, 0.05)).peaks() == pytest.approx(0.1, abs=1e-6)
    # two equal Gaussians within 2 σ have one peak, half way between them
    assert made((0.5, 0.2, 0.01), (0.5, 0.21, 0.01)).peaks() == pytest.approx(0.205, abs=1e-6)
    assert made((1.0, -0.02, 0.01)).peaks() == pytest.approx(0.02)
    assert made((1.0, 0.52, 0.01)).peaks() == pytest.approx(0.48)


def test_all_of_it_lies_between_none_and_half() -> None:
    density = made((0.3, 0.0, 0.01), (0.2, 0.25, 0.03), (0.5, 0.498, 0.005))
    ends = np.zeros(1), np.full(1, 0.5)
    assert density.within(*ends) == pytest.approx(1)
    assert made((1.0, 0.25, 0.01)).within(np.array([0.24]), np.array([0.26])) == pytest.approx(0.6827, abs=1e-4)
    # what is beyond an end is the twist on the other side of it
    assert made((1.0, 0.0, 0.01)).within(np.array([-0.01]), np.array([0.01])) == pytest.approx(0.6827, abs=1e-4)


def test_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    density = Density(rng.dirichlet(np.ones(5), 7), 0.5 * rng.random((7, 5)), 0.01 + 0.02 * rng.random((7, 5)))
    whole = density.peaks()
    monkeypatch.setattr("picostem.infer.patch_density.ROWS", 3)
    np.testing.assert_array_equal(density.peaks(), whole)


def test_labels_as_densities() -> None:
    assert LABELS.size == 3 * 121  # twists of MoS2 from 0 to 60° in halves of a degree
    targets = LABELS.targets(np.array([[10.0], [-10.0], [130.0], [115.0]]) * DEGREE)
    np.testing.assert_allclose(targets[:, 0], np.array([10, 10, 10, 5]) / 120, atol=1e-7)
    numbers = np.full((2, LABELS.size), np.log(0.5 / 120))
    numbers[:, :121] = -30.0
    numbers[:, 121:242] = np.linspace(0, 0.5, 121)
    numbers[0, 40] = 0.0
    numbers[1, [4, 116]] = np.log([0.7, 0.3])  # 2° or 58°
    twists, sure = LABELS.decoded(numbers)
    np.testing.assert_allclose(twists[:, 0] / DEGREE, [20, 2], atol=1e-6)
    np.testing.assert_allclose(sure, np.array([1, 0.7]) * 0.9545, atol=1e-3)  # 2 σ


def test_densities_are_of_twists() -> None:
    with pytest.raises(UsageError, match="densities are of twists"):
        Labels.of(PLAN.stack(), "slip", "density")
