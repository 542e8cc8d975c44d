"""Each loss: known values."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from picostem.style import loss

EXACT = 1e-6
"""Relative: single precision, few operations."""


def close(value: torch.Tensor, expected: float) -> None:
    assert float(value) == pytest.approx(expected, rel=EXACT, abs=EXACT)


def test_greys_differ_by_how_far_they_must_be_moved() -> None:
    """0.1 brighter counts 0.2, on the published scale, wherever the pixels lie."""
    image = torch.rand((2, 1, 16, 16), generator=torch.Generator().manual_seed(1))
    shuffled = image.flatten(1)[:, torch.randperm(256, generator=torch.Generator().manual_seed(2))].reshape(image.shape)
    assert loss.greys_difference(shuffled, image) == 0
    assert float(loss.greys_difference(shuffled + 0.1, image)) == pytest.approx(0.2, rel=1e-5)  # single precision
    # quantiles of even greys lie symmetrically about one half, as all greys do; of 256 of them to some percent
    assert float(loss.greys_difference(shuffled, 0.5 * image)) == pytest.approx(float(image.mean()), rel=0.05)


def test_the_brightest_greys_count() -> None:
    """The brightest of a thousand pixels, moved by 1: on the mean they would count 2/1000."""
    image = torch.linspace(0, 1, 4096).reshape(1, 1, 64, 64)
    moved = image + (image > 1 - 2e-3).float()
    assert float(loss.greys_difference(moved, image)) > 2 * 0.01


def test_differences_count_on_the_published_scale_of_greys() -> None:
    black, white = torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4)
    close(loss.difference(black, white), 2.0)
    close(loss.consistency(black, white, white, 0.75 * white), 2.5)


@pytest.mark.parametrize(
    ("kind", "fooled", "apart"),
    [
        ("bce", math.log1p(math.exp(-2)), math.log1p(math.exp(-2)) + math.log1p(math.exp(-3))),
        ("hinge", -2.0, 0.0),
        ("least-squares", 1.0, 1.0 + 9.0),
    ],
)
def test_adversarial_values(kind: loss.Adversarial, fooled: float, apart: float) -> None:
    two, minus_three = torch.full((2, 1, 3, 3), 2.0), torch.full((2, 1, 3, 3), -3.0)
    close(loss.fool([two], kind), fooled)
    close(loss.fool([two, two], kind), 2 * fooled)
    close(loss.tell_apart([two], [minus_three], kind), apart)


def test_hinge_counts_what_is_on_the_wrong_side() -> None:
    close(loss.tell_apart([torch.tensor([0.5, -1.0])], [torch.tensor([-0.5, 2.0])], "hinge"), 1.25 + 1.75)


def test_content_is_confused_best_where_nothing_is_known() -> None:
    unknown, known = torch.zeros(2, 1), torch.full((2, 1), 4.0)
    close(loss.confuse_content(unknown, unknown), 2 * math.log(2))
    assert loss.confuse_content(known, -known) > 2 * loss.confuse_content(unknown, unknown)
    close(loss.tell_content(known, -known), 2 * math.log1p(math.exp(-4)))


def test_divergence_against_integration() -> None:
    """Of N(μ, σ²) from N(0, 1), by the trapezoid rule, which is exact to rounding for such functions."""
    mean, deviation = 0.7, 0.4
    z = np.linspace(-8, 8, 4001)
    p = np.exp(-(((z - mean) / deviation) ** 2) / 2) / (deviation * math.sqrt(2 * math.pi))
    q = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    inside = p > 0
    expected = float(np.trapezoid(p[inside] * np.log(p[inside] / q[inside]), z[inside]))
    found = loss.divergence(torch.tensor([[mean]]), torch.tensor([[2 * math.log(deviation)]]))
    assert float(found) == pytest.approx(expected, rel=1e-5)  # single precision, terms that nearly cancel
    close(loss.divergence(torch.zeros(3, 2), torch.zeros(3, 2)), 0.0)


def test_small_terms() -> None:
    close(loss.content_size(torch.full((1, 2, 2, 2), 3.0)), 9.0)
    close(loss.latent_error(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 0.0]])), 1.5)
    image, other = torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.25)
    close(loss.sameness(image, other, torch.zeros(1, 2), torch.ones(1, 2)), 1 / (0.5 + 1e-5))
    close(loss.sameness(image, image, torch.zeros(1, 2), torch.ones(1, 2)), 1e5)
